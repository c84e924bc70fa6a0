package swarm

import (
	"bytes"
	"crypto/sha1" // RFC 6455, 4.2.2: the accept value is SHA-1 by definition
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
)

// maxFrame bounds the payload of a frame from the server, so that a broken one
// cannot ask for all memory.
const maxFrame = 64 << 20

// Opcodes of RFC 6455, 5.2.
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xa
)

// handshakeKey is the same for every client: nothing here caches, which is
// what a random key guards against.
const handshakeKey = "c2lvbG9hZCBzd2FybSBrZQ=="

// A frame is the header of one WebSocket frame from the server.
type frame struct {
	fin  bool
	op   byte
	size int // of the payload
}

// errFrame is a frame no server may send.
var errFrame = errors.New("websocket protocol error")

// parseFrame parses the frame header at the start of b and returns its length,
// or 0 and a nil error when b is too short to tell.
func parseFrame(b []byte) (f frame, n int, err error) {
	if len(b) < 2 {
		return f, 0, nil
	}
	f.fin, f.op = b[0]&0x80 != 0, b[0]&0x0f
	// RFC 6455, 5.1 and 5.2: a server does not mask; no extension was offered.
	if b[0]&0x70 != 0 || b[1]&0x80 != 0 || (f.op > opBinary && f.op < opClose) || f.op > opPong {
		return f, 0, errFrame
	}
	size := uint64(b[1])
	n = 2
	switch size {
	case 126:
		if n = 4; len(b) < n {
			return f, 0, nil
		}
		size = uint64(binary.BigEndian.Uint16(b[2:]))
	case 127:
		if n = 10; len(b) < n {
			return f, 0, nil
		}
		size = binary.BigEndian.Uint64(b[2:])
	}
	if size > maxFrame || (f.op >= opClose && (size > 125 || !f.fin)) { // RFC 6455, 5.5
		return f, 0, errFrame
	}
	f.size = int(size)
	return f, n, nil
}

// appendMasked appends one final frame, masked with key.
func appendMasked(dst []byte, op byte, key uint32, payload []byte) []byte {
	dst = append(dst, 0x80|op)
	switch n := len(payload); {
	case n < 126:
		dst = append(dst, 0x80|byte(n))
	case n < 1<<16:
		dst = binary.BigEndian.AppendUint16(append(dst, 0x80|126), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, 0x80|127), uint64(n))
	}
	dst = binary.LittleEndian.AppendUint32(dst, key)
	start := len(dst)
	dst = append(dst, payload...)
	mask(dst[start:], key)
	return dst
}

// mask applies key, its first byte the lowest, to b in place. RFC 6455, 5.3.
func mask(b []byte, key uint32) {
	wide := uint64(key)<<32 | uint64(key)
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^wide)
		b = b[8:]
	}
	for i := range b {
		b[i] ^= byte(key >> (8 * (i & 3)))
	}
}

// parseUpgrade looks for the whole answer to the handshake at the start of b
// and returns its length, or 0 and a nil error when it is incomplete.
func parseUpgrade(b []byte, accept string) (int, error) {
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		if len(b) > 16<<10 {
			return 0, errors.New("http head over 16 KiB")
		}
		return 0, nil
	}
	lines := bytes.Split(b[:end], []byte("\r\n"))
	if status, ok := bytes.CutPrefix(lines[0], []byte("HTTP/1.1 ")); !ok {
		return 0, errors.New("answer is not HTTP/1.1")
	} else if !bytes.HasPrefix(status, []byte("101")) {
		return 0, fmt.Errorf("http status %s", status)
	}
	for _, l := range lines[1:] {
		name, value, _ := bytes.Cut(l, []byte(":"))
		if bytes.EqualFold(name, []byte("Sec-WebSocket-Accept")) && string(bytes.TrimSpace(value)) == accept {
			return end + 4, nil
		}
	}
	return 0, errors.New("Sec-WebSocket-Accept missing or wrong")
}

// acceptFor is the answer to key. RFC 6455, 4.2.2.
func acceptFor(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// A stamp is what the first stampSize characters of a payload say, as
// fixed-width hexadecimal: one string argument, found at a fixed place, that
// every JSON implementation hands on unchanged.
type stamp struct {
	run       uint16 // of this run, against messages of an earlier one
	publisher uint16
	room      uint16
	seq       uint32 // of this publisher for this room, from 0
	at        int64  // Unix ns: when it was sent, or due
}

const stampSize = 4 + 4 + 4 + 8 + 16

const hexDigits = "0123456789abcdef"

func appendStamp(dst []byte, s stamp) []byte {
	dst = appendHex(dst, uint64(s.run), 4)
	dst = appendHex(dst, uint64(s.publisher), 4)
	dst = appendHex(dst, uint64(s.room), 4)
	dst = appendHex(dst, uint64(s.seq), 8)
	return appendHex(dst, uint64(s.at), 16)
}

func appendHex(dst []byte, v uint64, width int) []byte {
	for shift := 4 * (width - 1); shift >= 0; shift -= 4 {
		dst = append(dst, hexDigits[v>>shift&15])
	}
	return dst
}

// parseStamp reports false when b is too short or not hexadecimal.
func parseStamp(b []byte) (s stamp, ok bool) {
	if len(b) < stampSize {
		return s, false
	}
	head, ok1 := parseHex(b[:12])
	seq, ok2 := parseHex(b[12:20])
	at, ok3 := parseHex(b[20:36])
	return stamp{uint16(head >> 32), uint16(head >> 16), uint16(head), uint32(seq), int64(at)}, ok1 && ok2 && ok3
}

func parseHex(b []byte) (v uint64, ok bool) {
	for _, c := range b {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		default:
			return 0, false
		}
		v = v<<4 | uint64(c)
	}
	return v, true
}

// wire holds the constant parts of what one worker sends and expects.
type wire struct {
	request []byte // the HTTP handshake
	accept  string
	connect []byte // CONNECT packet
	msg     []byte // how a msg packet begins, up to the payload's first character
	ack     []byte // how an ACK packet begins, up to the id
	event   []byte // how an EVENT packet begins, up to the ack id
	connOK  []byte // how the answer to CONNECT begins
	connBad []byte
	left    []byte // DISCONNECT packet
	run     uint16
	size    int    // of a msg packet
	padding []byte // enough for any payload
	tail    string // what follows the payload of a msg packet

	centrifuge bool // the other protocol: see centrifuge.go
}

func newWire(c Config, run uint16) *wire {
	t, _ := parseTarget(c.URL)
	nsp, bare := "", ""
	if c.Namespace != "/" {
		nsp, bare = c.Namespace+",", c.Namespace
	}
	w := &wire{
		tail: `"]`,
		request: []byte("GET " + t.path + " HTTP/1.1\r\nHost: " + t.host + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + handshakeKey + "\r\n\r\n"),
		accept:  acceptFor(handshakeKey),
		connect: []byte("40" + nsp + c.Auth),
		msg:     []byte("42" + nsp + `["msg","`),
		ack:     []byte("43" + nsp),
		event:   []byte("42" + nsp),
		connOK:  []byte("40" + bare),
		connBad: []byte("44" + bare),
		left:    []byte("41" + nsp),
		run:     run,
		size:    c.Size,
		padding: bytes.Repeat([]byte("x"), c.Size),
	}
	if c.Protocol == Centrifuge {
		w.speakCentrifuge()
	}
	return w
}

// minSize is the smallest msg packet that can carry a stamp.
func (w *wire) minSize() int { return len(w.msg) + stampSize + len(w.tail) }

// appendPayload appends the string of a message, quotes excluded.
func (w *wire) appendPayload(dst []byte, s stamp, overhead int) []byte {
	s.run = w.run
	return append(appendStamp(dst, s), w.padding[:max(0, w.size-overhead-stampSize)]...)
}

// appendPublish appends the packet that makes the server emit a msg of the
// configured size.
func (w *wire) appendPublish(dst []byte, room string, s stamp) []byte {
	if w.centrifuge {
		return w.appendCentrifugePublish(dst, room, s)
	}
	dst = append(append(dst, w.event...), `["publish","`...)
	dst = append(append(dst, room...), `","`...)
	dst = w.appendPayload(dst, s, len(w.msg)+len(w.tail))
	return append(dst, `"]`...)
}

// appendEcho appends an echo of the configured size; its ack id is the seq.
func (w *wire) appendEcho(dst []byte, s stamp) []byte {
	if w.centrifuge {
		return w.appendCentrifugeEcho(dst, s)
	}
	start := len(dst)
	dst = append(dst, w.event...)
	dst = strconv.AppendUint(dst, uint64(s.seq), 10)
	dst = append(dst, `["echo","`...)
	dst = w.appendPayload(dst, s, len(dst)-start+len(`"]`))
	return append(dst, `"]`...)
}

// appendJoin appends a join with ack id 0.
func (w *wire) appendJoin(dst []byte, room string) []byte {
	if w.centrifuge {
		return appendSubscribe(dst, room)
	}
	dst = append(append(dst, w.event...), `0["join","`...)
	return append(append(dst, room...), `"]`...)
}

// parseMsg reports false when p, a packet that begins with w.msg, is not one
// that this run made. A server with connection state recovery appends an offset,
// one more string of its own.
func (w *wire) parseMsg(p []byte) (stamp, bool) {
	if w.centrifuge {
		return w.parsePush(p)
	}
	if len(p) < w.size || p[w.size-2] != '"' {
		return stamp{}, false
	}
	if rest := p[w.size-1:]; string(rest) != "]" && !isOffset(rest) {
		return stamp{}, false
	}
	s, ok := parseStamp(p[len(w.msg):])
	return s, ok && s.run == w.run
}

// isOffset tells whether p is the end of a packet with an offset as its last
// argument.
func isOffset(p []byte) bool {
	n := len(p)
	return n > 5 && n < 64 && string(p[:2]) == `,"` && string(p[n-2:]) == `"]` && bytes.IndexByte(p[2:n-2], '"') < 0
}

// parseAck splits a packet that begins with w.ack into its id and its
// arguments, brackets included.
func (w *wire) parseAck(p []byte) (id uint32, args []byte, ok bool) {
	if w.centrifuge {
		return w.parseCentrifugeAck(p)
	}
	rest := p[len(w.ack):]
	at := bytes.IndexByte(rest, '[')
	if at <= 0 || rest[len(rest)-1] != ']' {
		return 0, nil, false
	}
	v, err := strconv.ParseUint(string(rest[:at]), 10, 32)
	return uint32(v), rest[at:], err == nil
}

// parseEchoed returns the stamp in the arguments of an echo's ack.
func (w *wire) parseEchoed(args []byte) (stamp, bool) {
	head := `["`
	if w.centrifuge {
		head = echoedHead
	}
	if !bytes.HasPrefix(args, []byte(head)) {
		return stamp{}, false
	}
	s, ok := parseStamp(args[len(head):])
	return s, ok && s.run == w.run
}
