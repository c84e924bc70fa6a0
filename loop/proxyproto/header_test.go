package proxyproto

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"net"
	"net/netip"
	"strings"
	"testing"

	reference "github.com/pires/go-proxyproto"
)

// binaryPreface returns a preface of version 2.
func binaryPreface(command, family byte, rest ...byte) string {
	b := append([]byte(v2), 0x20|command, family, 0, 0)
	binary.BigEndian.PutUint16(b[len(b)-2:], uint16(len(rest)))
	return string(append(b, rest...))
}

// field returns a field of version 2.
func field(kind byte, value string) string {
	return string([]byte{kind, byte(len(value) >> 8), byte(len(value))}) + value
}

// summed returns a preface with the checksum field behind it, put right, with so much
// added to the sum.
func summed(preface string, fields string, add uint32) string {
	b := []byte(preface + field(typeChecksum, "\x00\x00\x00\x00") + fields)
	at := len(preface) + 3
	binary.BigEndian.PutUint16(b[14:], uint16(len(b)-16))
	binary.BigEndian.PutUint32(b[at:], crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))+add)
	return string(b)
}

const (
	four = "\xcb\x00\x71\x07\xc0\x00\x02\x01\x12\x67\x01\xbb" // 203.0.113.7:4711 to 192.0.2.1:443
	six  = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x12\x67\x01\xbb"
	// tlsField is as HAProxy writes what it knows of TLS: client, verified, and in it version and name.
	tlsField = "\x20\x00\x17\x07\x00\x00\x00\x00\x21\x00\x07TLSv1.3\x22\x00\x05alice"
)

// The examples of the specification, and what else a preface can be.
var prefaces = []struct {
	name, wire string
	want       string // source and destination, "local" or "none"
	err        error
}{
	{"TCP4", "PROXY TCP4 203.0.113.7 192.0.2.1 4711 443\r\n", "203.0.113.7:4711 192.0.2.1:443", nil},
	{"TCP4, the longest", "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255:65535 255.255.255.255:65535", nil},
	{"TCP6, the longest", "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
		"[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535 [ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535", nil},
	{"TCP6", "PROXY TCP6 2001:DB8::1 ::ffff:192.0.2.1 0 1\r\n", "[2001:db8::1]:0 [::ffff:192.0.2.1]:1", nil},
	{"UNKNOWN", "PROXY UNKNOWN\r\n", "local", nil},
	{"UNKNOWN, the longest", "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n", "local", nil},
	{"UNKNOWN and anything", "PROXY UNKNOWN \x00 what ever\r\n", "local", nil},
	{"108 bytes", "PROXY UNKNOWN " + strings.Repeat("x", 92) + "\r\n", "", ErrTooLong},
	{"a line without end", "PROXY TCP4 " + strings.Repeat("1", 200), "", ErrTooLong},
	{"no CR", "PROXY TCP4 203.0.113.7 192.0.2.1 4711 443\n", "", ErrMalformed},
	{"another protocol", "PROXY UDP4 203.0.113.7 192.0.2.1 4711 443\r\n", "", ErrMalformed},
	{"in lower case", "proxy TCP4 203.0.113.7 192.0.2.1 4711 443\r\n", "", ErrNone},
	{"two spaces", "PROXY TCP4  203.0.113.7 192.0.2.1 4711 443\r\n", "", ErrMalformed},
	{"a space at the end", "PROXY TCP4 203.0.113.7 192.0.2.1 4711 443 \r\n", "", ErrMalformed},
	{"a word too few", "PROXY TCP4 203.0.113.7 192.0.2.1 4711\r\n", "", ErrMalformed},
	{"an address of the other family", "PROXY TCP4 2001:db8::1 192.0.2.1 4711 443\r\n", "", ErrMalformed},
	{"of four in six", "PROXY TCP6 203.0.113.7 192.0.2.1 4711 443\r\n", "", ErrMalformed},
	{"a zone", "PROXY TCP6 fe80::1%eth0 fe80::2 4711 443\r\n", "", ErrMalformed},
	{"zeros in front", "PROXY TCP4 203.000.113.7 192.0.2.1 4711 443\r\n", "", ErrMalformed},
	{"a port with zeros in front", "PROXY TCP4 203.0.113.7 192.0.2.1 04711 443\r\n", "", ErrMalformed},
	{"a port that is none", "PROXY TCP4 203.0.113.7 192.0.2.1 65536 443\r\n", "", ErrMalformed},
	{"a port with a sign", "PROXY TCP4 203.0.113.7 192.0.2.1 +4711 443\r\n", "", ErrMalformed},
	{"HTTP", "GET / HTTP/1.1\r\n\r\n", "", ErrNone},
	{"HTTP that begins alike", "PRI * HTTP/2.0\r\n\r\n", "", ErrNone},
	{"TLS", "\x16\x03\x01\x02\x00\x01", "", ErrNone},
	{"nearly", "\r\n\r\n\x00\r\nQUIX\n\x21\x11\x00\x0c" + four, "", ErrNone},

	{"IPv4", binaryPreface(1, 0x11, []byte(four)...), "203.0.113.7:4711 192.0.2.1:443", nil},
	{"IPv6", binaryPreface(1, 0x21, []byte(six)...), "[2001:db8::1]:4711 [2001:db8::2]:443", nil},
	{"UDP", binaryPreface(1, 0x12, []byte(four)...), "203.0.113.7:4711 192.0.2.1:443", nil},
	{"paths", binaryPreface(1, 0x31, make([]byte, 216)...), "none", nil},
	{"of an unknown family", binaryPreface(1, 0x00), "none", nil},
	{"of an unknown family, and fields", binaryPreface(1, 0x00, []byte(field(4, "xx"))...), "none", nil},
	{"LOCAL", binaryPreface(0, 0x00), "local", nil},
	{"LOCAL with addresses", binaryPreface(0, 0x11, []byte(four)...), "local", nil},
	{"LOCAL with nothing of what it names", binaryPreface(0, 0x11), "local", nil},
	{"LOCAL and anything", binaryPreface(0, 0x21, []byte("\x03\xff\xff any")...), "local", nil},
	{"fields", binaryPreface(1, 0x11, []byte(four+field(1, "h2")+field(2, "example.org")+field(5, strings.Repeat("u", 128))+tlsField+field(4, "")+field(0xea, "\x01vpce-1"))...),
		"203.0.113.7:4711 192.0.2.1:443", nil},
	{"the longest", binaryPreface(1, 0x11, []byte(four+field(4, strings.Repeat("\x00", maxRest-15)))...), "203.0.113.7:4711 192.0.2.1:443", nil},
	{"longer", binaryPreface(1, 0x11, []byte(four+field(4, strings.Repeat("\x00", maxRest-14)))...), "", ErrTooLong},
	{"LOCAL, longer", binaryPreface(0, 0, make([]byte, 65535)...), "", ErrTooLong},
	{"a field that is cut", binaryPreface(1, 0x11, []byte(four+"\x04\x00\x05abc")...), "", ErrMalformed},
	{"a field without length", binaryPreface(1, 0x11, []byte(four+"\x04")...), "", ErrMalformed},
	{"too short for IPv4", binaryPreface(1, 0x11, []byte(four[:11])...), "", ErrMalformed},
	{"too short for IPv6", binaryPreface(1, 0x21, []byte(four)...), "", ErrMalformed},
	{"too short for paths", binaryPreface(1, 0x31, make([]byte, 215)...), "", ErrMalformed},
	{"version 1 in binary", strings.Replace(binaryPreface(1, 0x11, []byte(four)...), "\x21\x11", "\x11\x11", 1), "", ErrMalformed},
	{"version 3", strings.Replace(binaryPreface(1, 0x11, []byte(four)...), "\x21\x11", "\x31\x11", 1), "", ErrMalformed},
	{"another command", binaryPreface(2, 0x11, []byte(four)...), "", ErrMalformed},
	{"another family", binaryPreface(1, 0x41, make([]byte, 300)...), "", ErrMalformed},
	{"another protocol in binary", binaryPreface(1, 0x13, []byte(four)...), "", ErrMalformed},
	{"another protocol, LOCAL", binaryPreface(0, 0x13, []byte(four)...), "", ErrMalformed},
	{"a checksum", summed(binaryPreface(1, 0x11, []byte(four)...), "", 0), "203.0.113.7:4711 192.0.2.1:443", nil},
	{"a checksum between others", summed(binaryPreface(1, 0x21, []byte(six+field(4, "abc"))...), field(1, "h2"), 0), "[2001:db8::1]:4711 [2001:db8::2]:443", nil},
	{"a wrong checksum", summed(binaryPreface(1, 0x11, []byte(four)...), "", 1), "", ErrChecksum},
	{"a checksum of another length", binaryPreface(1, 0x11, []byte(four+field(typeChecksum, "abc"))...), "", ErrMalformed},
	{"a wrong checksum of LOCAL", binaryPreface(0, 0x11, []byte(four+field(typeChecksum, "abcd"))...), "local", nil},
}

// show is a header as the table has it.
func show(h Header) string {
	switch {
	case h.Local:
		return "local"
	case !h.Source.IsValid():
		return "none"
	}
	return h.Source.String() + " " + h.Destination.String()
}

func TestParse(t *testing.T) {
	for _, x := range prefaces {
		h, n, err := Parse([]byte(x.wire + "behind it"))
		if err != x.err || err == nil && (show(h) != x.want || n != len(x.wire)) || err != nil && (n != 0 || h != Header{}) {
			t.Errorf("%s: Parse(%.120q) = %+v, %d, %v, want %s, %d, %v", x.name, x.wire, h, n, err, x.want, len(x.wire), x.err)
		}
		if err == nil && (h.Version == 1) != strings.HasPrefix(x.wire, "PROXY") {
			t.Errorf("%s: version %d", x.name, h.Version)
		}
		check(t, []byte(x.wire))
	}
}

// What HAProxy and nginx send, as it was recorded.
func TestParseRecorded(t *testing.T) {
	for _, x := range []struct{ wire, want string }{
		{"0d0a0d0a000d0a515549540a2111000c7f0000017f000001d9360bb8", "127.0.0.1:55606 127.0.0.1:3000"},
		{"0d0a0d0a000d0a515549540a20000000", "local"},
	} {
		b, err := hex.DecodeString(x.wire)
		if err != nil {
			t.Fatal(err)
		}
		if h, n, err := Parse(b); err != nil || n != len(b) || show(h) != x.want {
			t.Errorf("Parse(%s) = %+v, %d, %v, want %s", x.wire, h, n, err, x.want)
		}
	}
}

// check holds what is true of all input: what is cut says the same as the whole or that
// it is too short, and so does the reference.
func check(t *testing.T, b []byte) {
	t.Helper()
	h, n, err := Parse(b)
	if n < 0 || n > len(b) || err != nil && n != 0 {
		t.Fatalf("Parse(%x) = %+v, %d, %v", b, h, n, err)
	}
	if n == 0 && err == nil && len(b) >= v2Head+maxRest {
		t.Fatalf("Parse(%.40x…) of %d bytes wants more", b, len(b))
	}
	for i := range b {
		ph, pn, perr := Parse(b[:i])
		switch {
		case perr == nil && pn == 0: // too short to tell
		case perr != nil && perr == err: // may be known early
		case perr == nil && pn == n && ph == h && i >= n:
		default:
			t.Fatalf("Parse(%x) = %+v, %d, %v, but of its first %d bytes %+v, %d, %v", b, h, n, err, i, ph, pn, perr)
		}
	}
	from := bytes.NewReader(b)
	r := bufio.NewReader(from)
	ref, rerr := reference.Read(r)
	took := len(b) - from.Len() - r.Buffered()
	switch {
	case err == nil && n > 0 && rerr == nil:
		if took != n || h.Local != ref.Command.IsLocal() || int(ref.Version) != h.Version {
			t.Fatalf("Parse(%x) = %+v, %d, the reference has %+v, %d", b, h, n, ref, took)
		}
		if !h.Local && (port(ref.SourceAddr) != h.Source || port(ref.DestinationAddr) != h.Destination) {
			t.Fatalf("Parse(%x) = %+v, the reference has %v and %v", b, h, ref.SourceAddr, ref.DestinationAddr)
		}
	case err == nil && n > 0: // the specification leaves it to the receiver
		if h.Version != 2 || b[len(v2)+1] != 0 {
			t.Fatalf("Parse(%x) = %+v, %d, the reference has %v", b, h, n, rerr)
		}
	case rerr == nil: // the reference does not look at fields
		if _, terr := ref.TLVs(); err != ErrChecksum && terr == nil && !bytes.Contains(b, []byte{typeChecksum}) {
			t.Fatalf("Parse(%x) = %+v, %d, %v, the reference has %+v", b, h, n, err, ref)
		}
	}
}

// port returns an address of the reference.
func port(a net.Addr) netip.AddrPort {
	switch a := a.(type) {
	case *net.TCPAddr:
		return a.AddrPort()
	case *net.UDPAddr:
		return a.AddrPort()
	}
	return netip.AddrPort{}
}

func FuzzParse(f *testing.F) {
	for _, x := range prefaces {
		if len(x.wire) < 5000 {
			f.Add([]byte(x.wire))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 5000 {
			return // cutting it everywhere takes too long
		}
		check(t, b)
	})
}
