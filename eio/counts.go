package eio

import (
	"encoding/binary"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/histogram"
	"github.com/sioedge/sioedge/wsframe"
)

// Times are how long things took, in buckets.
type Times struct {
	// Handshakes are µs from the moment that the first byte of the request for a session
	// was read until its open packet was written: with the work of Options.Middleware and
	// AllowRequest, and what else the loop did meanwhile. A TLS handshake comes before.
	Handshakes histogram.Histogram
	// Ages are s from the opening of a session until the handler was told of its end.
	Ages histogram.Histogram
	// RTT are ms that pings took to be answered: see Session.RTT. Those that took more
	// than four seconds count as 4094.
	RTT histogram.Histogram
}

func (t *Times) add(o *Times) {
	t.Handshakes.Merge(&o.Handshakes)
	t.Ages.Merge(&o.Ages)
	t.RTT.Merge(&o.RTT)
}

// Frames are WebSocket messages, and control frames, by what they are. One that came in
// pieces is one.
type Frames struct {
	Text   int64 // messages of text
	Binary int64 // messages of bytes
	Ping   int64 // those of WebSocket, not of Engine.IO
	Pong   int64 // answers to Ping
	Close  int64 // closes
}

func (f *Frames) add(o *Frames) {
	f.Text += o.Text
	f.Binary += o.Binary
	f.Ping += o.Ping
	f.Pong += o.Pong
	f.Close += o.Close
}

// count counts a message, or a control frame.
func (f *Frames) count(op wsframe.Op) {
	switch op {
	case wsframe.Text:
		f.Text++
	case wsframe.Binary:
		f.Binary++
	case wsframe.Ping:
		f.Ping++
	case wsframe.Pong:
		f.Pong++
	case wsframe.Close:
		f.Close++
	}
}

// sent counts our own frames, which are whole and not masked (RFC 6455, 5.1). Mostly it is
// a short text.
func (f *Frames) sent(frames []byte) {
	if len(frames) > 1 && len(frames) == 2+int(frames[1]) && frames[0]&0xf == byte(wsframe.Text) {
		f.Text++
		return
	}
	f.sentMany(frames)
}

func (f *Frames) sentMany(frames []byte) {
	for len(frames) > 1 {
		if frames[0]&0xf == byte(wsframe.Binary) {
			f.Binary++
		} else {
			f.Text++
		}
		n := 2 + int(frames[1])
		switch n {
		case 2 + 126:
			n = 4 + int(binary.BigEndian.Uint16(frames[2:]))
		case 2 + 127:
			n = 10 + int(binary.BigEndian.Uint64(frames[2:]))
		}
		frames = frames[n:]
	}
}

// prepared counts the frames of p.
func (f *Frames) prepared(p *Prepared) {
	f.Text += int64(p.texts)
	f.Binary += int64(p.binaries)
}

// Sum returns how many they are.
func (f Frames) Sum() int64 { return f.Text + f.Binary + f.Ping + f.Pong + f.Close }

// Traffic is bytes that connections received and the kernel, or TLS, has taken, by what the
// connections were then: with HTTP's heads and WebSocket's frames, as they are on the wire
// but for TLS.
type Traffic struct {
	Polling   loop.Traffic // HTTP: polls and posts, handshakes, and what Options.Route answers
	WebSocket loop.Traffic // from the answer to the handshake on, and upgrades in progress
	Tunnels   loop.Traffic // WebSockets of other nodes' sessions
}

func (t *Traffic) add(o *Traffic) {
	t.Polling.Add(o.Polling)
	t.WebSocket.Add(o.WebSocket)
	t.Tunnels.Add(o.Tunnels)
}

// traffic returns what the loop has of connections, by their tags.
func (sh *shard) traffic() (t Traffic) {
	for kind, x := range sh.loop.Traffic() {
		switch uint32(kind) << 29 {
		case tagWS, tagProbe, tagGone:
			t.WebSocket.Add(x)
		case tagTunnel:
			t.Tunnels.Add(x)
		default:
			t.Polling.Add(x)
		}
	}
	return t
}

// shakenHands counts the time that it took to open a session by the request on h.
func (sh *shard) shakenHands(h *httpConn) {
	sh.tally.Times.Handshakes.Add(sh.loop.Engine().Micros() - h.begun)
}

// codes are those that close frames are counted by.
var codes = [...]uint16{
	0, 1000, 1002, 1007, 1009,
	CloseShutdown, CloseUpgrade, CloseSlow, CloseTooBig, CloseRateLimit, CloseExpired, CloseForbidden, CloseConnectTimeout, CloseReplaced, CloseOverload,
}

// OtherCode is what Codes.Each says of codes that are not counted by themselves.
const OtherCode = 1

// Codes are close frames that were sent to WebSockets, by their code: with none, those of
// RFC 6455 that servers send, those of Options.CloseCodes, and all others together. They
// are queued then; a slow client may never see them.
type Codes [len(codes) + 1]int64

// closes counts a close frame that is about to be given to c, unless that has ended.
func (sh *shard) closes(c loop.Conn, frame []byte) {
	if !c.Valid() || c.Ending() {
		return
	}
	sh.closed(frame)
}

// closed counts a close frame of ours.
func (sh *shard) closed(frame []byte) {
	sh.tally.Codes[place(codeOf(frame))]++
	sh.tally.Out.Close++
}

// codeOf returns the code in a close frame of a server, 0 if there is none.
func codeOf(frame []byte) uint16 {
	if len(frame) < 4 {
		return 0
	}
	return uint16(frame[2])<<8 | uint16(frame[3])
}

// place returns where a code is counted.
func place(code uint16) int {
	for i, c := range codes {
		if c == code {
			return i
		}
	}
	return len(codes)
}

// Of returns how many had a code, 0 for none; of one that is not counted by itself, how
// many had any such.
func (c *Codes) Of(code uint16) int64 { return c[place(code)] }

// Each calls f with each code that is counted, 0 for none and OtherCode for all others.
func (c *Codes) Each(f func(code uint16, n int64)) {
	for i, n := range c {
		if i < len(codes) {
			f(codes[i], n)
		} else {
			f(OtherCode, n)
		}
	}
}
