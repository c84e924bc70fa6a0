package main

import (
	"bufio"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// The opcodes of frames: RFC 6455, 5.2.
const (
	opContinue = 0x0
	opText     = 0x1
	opBinary   = 0x2
	opClose    = 0x8
	opPing     = 0x9

	final  = 0x80
	packed = 0x40 // RSV1, which permessage-deflate has for what is compressed
)

// frame returns a WebSocket frame whose first byte is given. Its masking key is
// zero, so that the payload is what is said.
func frame(first byte, payload []byte) []byte {
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	return append(append(b, 0, 0, 0, 0), payload...)
}

// text returns a frame with a packet.
func text(packet string) []byte { return frame(final|opText, []byte(packet)) }

// texts returns frames with packets.
func texts(packets ...string) (b []byte) {
	for _, p := range packets {
		b = append(b, text(p)...)
	}
	return b
}

// deflated returns a frame with what a packet is compressed: RFC 7692.
func deflated(op byte, packet []byte) []byte {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestCompression) // fails for other levels only
	_, _ = w.Write(packet)
	_ = w.Flush()
	return frame(final|packed|op, bytes.TrimSuffix(b.Bytes(), []byte{0, 0, 0xff, 0xff}))
}

// upgrade is the request for a WebSocket.
func upgrade(query, fields string) string {
	return "GET /socket.io/?" + query + "&transport=websocket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" + fields + "\r\n"
}

// get and post are requests of the polling transport.
func get(query string) string {
	return "GET /socket.io/?" + query + "&transport=polling HTTP/1.1\r\nHost: a\r\n\r\n"
}

func post(sid, body string) string {
	return fmt.Sprintf("POST /socket.io/?EIO=4&transport=polling&sid=%s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", sid, len(body), body)
}

// patience is how long anything may take that is to happen at all.
const patience = 60 * time.Second

// A peer is one end of a connection that speaks HTTP, and WebSocket then.
type peer struct {
	net.Conn
	r *bufio.Reader
}

func dial(addr string) (*peer, error) {
	c, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return nil, err
	}
	return newPeer(c), nil
}

func newPeer(c net.Conn) *peer { return &peer{c, bufio.NewReaderSize(c, 4096)} }

// request sends a request and returns the answer's status and body.
func (p *peer) request(head string) (int, string, error) {
	if _, err := io.WriteString(p, head); err != nil {
		return 0, "", err
	}
	return p.answer()
}

func (p *peer) answer() (int, string, error) {
	res, err := http.ReadResponse(p.r, nil)
	if err != nil {
		return 0, "", err
	}
	if res.StatusCode == http.StatusSwitchingProtocols {
		return res.StatusCode, "", nil
	}
	body, err := io.ReadAll(res.Body)
	return res.StatusCode, string(body), err
}

var errRefused = errors.New("refused")

// websocket makes the connection a WebSocket.
func (p *peer) websocket(query, fields string) error {
	status, body, err := p.request(upgrade(query, fields))
	if err == nil && status != http.StatusSwitchingProtocols {
		err = fmt.Errorf("%w: %d %s", errRefused, status, body)
	}
	return err
}

// open begins a session by polling and returns its id.
func (p *peer) open(query string) (sid string, err error) {
	status, body, err := p.request(get(query))
	if err != nil {
		return "", err
	}
	_, after, ok := strings.Cut(body, `"sid":"`)
	sid, _, _ = strings.Cut(after, `"`)
	if !ok || sid == "" {
		return "", fmt.Errorf("%w: %d %s", errRefused, status, body)
	}
	return sid, nil
}

// read returns the next frame of a server, whose frames have no mask.
func (p *peer) read() (op byte, payload []byte, err error) {
	var h [8]byte
	if _, err = io.ReadFull(p.r, h[:2]); err != nil {
		return 0, nil, err
	}
	op, n := h[0]&0xf, uint64(h[1]&0x7f)
	switch n {
	case 126:
		_, err = io.ReadFull(p.r, h[:2])
		n = uint64(binary.BigEndian.Uint16(h[:]))
	case 127:
		_, err = io.ReadFull(p.r, h[:8])
		n = binary.BigEndian.Uint64(h[:])
	}
	if err != nil {
		return 0, nil, err
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(p.r, payload)
	return op, payload, err
}
