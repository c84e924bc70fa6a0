package passing

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

const (
	family    = 0x53E0 // with the version in the last four bits
	version   = 1
	headerLen = 14
	checkAt   = headerLen - 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A header is what is in front of a record's body.
type header struct {
	kind, lane uint8
	files      int
	length     int
	check      uint32
}

// appendHeader appends the header of a record.
func appendHeader(dst []byte, kind, lane uint8, files int, body []byte) []byte {
	n := len(dst)
	dst = binary.BigEndian.AppendUint16(dst, family|version)
	dst = append(dst, kind, lane)
	dst = binary.BigEndian.AppendUint16(dst, uint16(files))
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(body)))
	return binary.BigEndian.AppendUint32(dst, checksum(dst[n:], body))
}

// parseHeader parses the header at the start of b, which is as long at least. The error
// is ErrBroken, of what no sender of this version sends.
func parseHeader(b []byte) (h header, err error) {
	magic := binary.BigEndian.Uint16(b)
	h = header{
		kind: b[2], lane: b[3],
		files:  int(binary.BigEndian.Uint16(b[4:])),
		length: int(binary.BigEndian.Uint32(b[6:])),
		check:  binary.BigEndian.Uint32(b[checkAt:]),
	}
	switch {
	case magic&^0xF != family:
		return h, fmt.Errorf("%w: %04x is not the start of a record", ErrBroken, magic)
	case magic != family|version:
		return h, fmt.Errorf("%w: it is of version %d of the framing, not %d", ErrBroken, magic&0xF, version)
	case h.length > MaxBody:
		return h, fmt.Errorf("%w: a record of %d bytes", ErrBroken, h.length)
	case h.files > MaxFiles:
		return h, fmt.Errorf("%w: a record with %d descriptors", ErrBroken, h.files)
	}
	return h, nil
}

// checksum is that of a record: head is its header as far as to the checksum.
func checksum(head, body []byte) uint32 {
	return crc32.Update(crc32.Checksum(head[:checkAt], castagnoli), castagnoli, body)
}
