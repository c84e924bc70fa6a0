package eio

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/http1"
	"github.com/sioedge/sioedge/wsframe"
)

// bombFrame is a message of n bytes that compresses well.
func bombFrame(n int) []byte {
	var c wsframe.Compressor
	frame, ok := c.AppendFrame(nil, wsframe.Text, append([]byte("4"), bytes.Repeat([]byte("a"), n)...))
	if !ok {
		panic("not compressed")
	}
	h, k, _ := wsframe.ParseHeader(frame)
	masked := wsframe.AppendMaskedFrame(nil, h.Op, frame[k:], testKey)
	masked[0] |= 0x40
	return masked
}

// TestBombsDoNotHoldALoop: however many clients send what is large when inflated,
// and however much of it each sends in one read, another one has its turn after
// about what a slice may inflate.
func TestBombsDoNotHoldALoop(t *testing.T) {
	const clients, bombs, size = 20, 10, 300_000
	var order []int // bytes that were handed over before each message of the honest client
	var honest *loop.Peer
	handled, sent := 0, 0
	bomb := bytes.Repeat(bombFrame(size), bombs)
	var peers []*loop.Peer
	srv, sim := newSim(t, &hooks{message: func(s Session, data []byte, _ bool) {
		if string(data) == "go" {
			for _, p := range peers[1:] { // all at once: this is within a step
				p.Send(bomb)
			}
			return
		}
		if len(data) < size {
			order = append(order, handled-sent)
			return
		}
		if handled += len(data); handled%(7*size) == 0 {
			sent = handled
			honest.Send(textFrame("4now"))
		}
	}}, Options{Compression: &Compression{}}, loop.Options{})
	honest = sim.Connect(0)
	honest.Send(wsRequest("EIO=4&transport=websocket"))
	peers = []*loop.Peer{honest}
	for range clients {
		p := sim.Connect(0)
		p.Send(deflateRequest("EIO=4&transport=websocket"))
		peers = append(peers, p)
	}
	honest.Send(textFrame("4go"))
	if handled != clients*bombs*size {
		t.Fatalf("%d bytes were handed over, want %d", handled, clients*bombs*size)
	}
	if len(order) == 0 || slices.Max(order) > 2*(sliceInflated+size) {
		t.Errorf("%d bytes were inflated while the honest client waited, want at most two slices of %d", order, sliceInflated)
	}
	for _, p := range peers {
		p.Close()
	}
	sim.Advance(time.Minute)
	checkEmpty(t, srv, sim.Engine())
}

// TestProbesAreSmall: what is inflated of an upgrade's packets is bounded by what
// they can be.
func TestProbesAreSmall(t *testing.T) {
	var now Session
	srv, sim := newSim(t, &hooks{open: func(s Session, _ *http1.Request) { now = s }}, Options{Compression: &Compression{}}, loop.Options{})
	p := sim.Connect(0)
	p.Send(getRequest("EIO=4&transport=polling"))
	w := sim.Connect(0)
	w.Send(deflateRequest("EIO=4&transport=websocket&sid=" + now.ID()))
	w.Received()
	w.Send(bombFrame(maxProbe))
	if got := w.Received(); !bytes.Contains(got, wsframe.AppendClose(nil, wsframe.CodeTooLarge, "")) || !now.Valid() {
		t.Errorf("a bomb in place of a probe got %q, want it closed as too large and the session as it was", got)
	}
	if c := srv.CompressionStats(); c.Refused != 1 {
		t.Errorf("CompressionStats() = %+v, want one refused", c)
	}
	p.Close()
	w.Close()
	now.Close()
	sim.Advance(time.Minute)
	checkEmpty(t, srv, sim.Engine())
}
