package proxyproto

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"net/netip"
	"strconv"
	"strings"
)

// A Header is what a proxy says of a connection in front of its bytes.
type Header struct {
	Version int // 1 or 2

	// Local is a connection that the proxy has made for itself, such as to see whether
	// the server is well, or of whose origin it says nothing: LOCAL of version 2, UNKNOWN
	// of 1. The addresses of the connection are those.
	Local bool

	// Source and Destination are those of the connection to the proxy: of the client, and
	// where it went. They are zero of a Local one, and where there are none (AF_UNIX,
	// AF_UNSPEC).
	Source, Destination netip.AddrPort
}

// Errors of Parse.
var (
	ErrNone      = errors.New("proxyproto: there is no preface")
	ErrMalformed = errors.New("proxyproto: the preface is malformed")
	ErrTooLong   = errors.New("proxyproto: the preface is too long")
	ErrChecksum  = errors.New("proxyproto: the checksum of the preface is wrong")
)

const (
	// maxLine is the length of the longest line of version 1, its end included.
	maxLine = len("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n")
	// maxRest bounds what follows the first 16 bytes of version 2: addresses, and what
	// proxies add of certificates. The specification allows 65535.
	maxRest = 4 << 10

	v1 = "PROXY "
	v2 = "\r\n\r\n\x00\r\nQUIT\n"

	v2Head = len(v2) + 4
)

// Parse parses the preface at the start of b (proxy-protocol.txt, sections 2.1 and 2.2)
// and returns its length. It returns 0 and a nil error when b is too short to tell; more
// than 16 bytes and 4 KiB need not be there.
func Parse(b []byte) (h Header, n int, err error) {
	switch {
	case len(b) == 0:
		return Header{}, 0, nil
	case b[0] == v1[0]:
		return parseLine(b)
	}
	return parseBinary(b)
}

// begins tells whether b begins with text, as far as it goes.
func begins(b []byte, text string) bool {
	n := min(len(b), len(text))
	return string(b[:n]) == text[:n]
}

// parseLine parses version 1 (2.1): "PROXY TCP4 192.0.2.1 192.0.2.2 4711 443\r\n".
func parseLine(b []byte) (h Header, n int, err error) {
	if !begins(b, v1) {
		return Header{}, 0, ErrNone
	}
	end := bytes.IndexByte(b[:min(len(b), maxLine)], '\n')
	switch {
	case end < 0 && len(b) >= maxLine:
		return Header{}, 0, ErrTooLong
	case end < 0:
		return Header{}, 0, nil
	case b[end-1] != '\r':
		return Header{}, 0, ErrMalformed
	}
	h.Version = 1
	words := strings.Split(string(b[len(v1):end-1]), " ")
	if words[0] == "UNKNOWN" { // whatever follows
		h.Local = true
		return h, end + 1, nil
	}
	if len(words) != 5 || words[0] != "TCP4" && words[0] != "TCP6" {
		return Header{}, 0, ErrMalformed
	}
	var good [2]bool
	h.Source, good[0] = lineAddr(words[0], words[1], words[3])
	h.Destination, good[1] = lineAddr(words[0], words[2], words[4])
	if !good[0] || !good[1] {
		return Header{}, 0, ErrMalformed
	}
	return h, end + 1, nil
}

// lineAddr parses an address and a port of version 1, in the one form that each has.
func lineAddr(family, addr, port string) (a netip.AddrPort, ok bool) {
	ip, err := netip.ParseAddr(addr)
	if err != nil || ip.Zone() != "" || ip.Is4() != (family == "TCP4") {
		return a, false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || len(port) > 1 && port[0] == '0' {
		return a, false
	}
	return netip.AddrPortFrom(ip, uint16(n)), true
}

// parseBinary parses version 2 (2.2).
func parseBinary(b []byte) (h Header, n int, err error) {
	switch {
	case !begins(b, v2):
		return Header{}, 0, ErrNone
	case len(b) > len(v2) && b[len(v2)]>>4 != 2, len(b) > len(v2) && b[len(v2)]&0xf > 1:
		return Header{}, 0, ErrMalformed // another version or command
	case len(b) < v2Head:
		return Header{}, 0, nil
	}
	family, rest := b[len(v2)+1], int(binary.BigEndian.Uint16(b[len(v2)+2:]))
	switch family {
	case 0x00, 0x11, 0x12, 0x21, 0x22, 0x31, 0x32:
	default:
		return Header{}, 0, ErrMalformed
	}
	switch n = v2Head + rest; {
	case rest > maxRest:
		return Header{}, 0, ErrTooLong
	case len(b) < n:
		return Header{}, 0, nil
	}
	h.Version = 2
	if b[len(v2)]&0xf == 0 { // what follows is to be skipped, whatever it is
		h.Local = true
		return h, n, nil
	}
	fields, ok := h.addresses(family, b[v2Head:n])
	if !ok {
		return Header{}, 0, ErrMalformed
	}
	if err := checkFields(b[:n], n-len(fields)); err != nil {
		return Header{}, 0, err
	}
	return h, n, nil
}

// addresses reads those of a family, and returns what is behind them.
func (h *Header) addresses(family byte, b []byte) (fields []byte, ok bool) {
	size := 0 // of an address
	switch family >> 4 {
	case 1:
		size = 4
	case 2:
		size = 16
	case 3: // paths
		return b[min(len(b), 216):], len(b) >= 216
	default:
		return b, true
	}
	if len(b) < 2*size+4 {
		return nil, false
	}
	source, _ := netip.AddrFromSlice(b[:size])
	destination, _ := netip.AddrFromSlice(b[size : 2*size])
	ports := b[2*size:]
	h.Source = netip.AddrPortFrom(source, binary.BigEndian.Uint16(ports))
	h.Destination = netip.AddrPortFrom(destination, binary.BigEndian.Uint16(ports[2:]))
	return ports[4:], true
}

// typeChecksum is of the field with the checksum of the whole preface (2.2.3).
const typeChecksum = 0x03

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checkFields checks that the fields (type, length, value) of a preface, which begin at
// an offset in it, are whole, and its checksum, if it has one. Fields that are not known
// are to be ignored.
func checkFields(b []byte, at int) error {
	for at < len(b) {
		if len(b)-at < 3 {
			return ErrMalformed
		}
		kind, value := b[at], at+3
		at = value + int(binary.BigEndian.Uint16(b[at+1:]))
		if at > len(b) {
			return ErrMalformed
		}
		if kind != typeChecksum {
			continue
		}
		if at-value != 4 {
			return ErrMalformed
		}
		sum := crc32.Update(0, castagnoli, b[:value])
		sum = crc32.Update(sum, castagnoli, []byte{0, 0, 0, 0}) // in place of itself
		if crc32.Update(sum, castagnoli, b[at:]) != binary.BigEndian.Uint32(b[value:]) {
			return ErrChecksum
		}
	}
	return nil
}
