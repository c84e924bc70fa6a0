package tlslink

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"

	"github.com/sioedge/sioedge/loop"
)

// A shake is a connection whose handshake is not done: its Opening.
type shake struct {
	// Immutable after start.
	o     *Opener
	c     loop.Conn
	addr  netip.AddrPort
	link  *Link
	since time.Time

	// Owned by the loop.
	begun   bool // the first record is there
	refused bool // and counted
	over    bool // it has ended, and was counted

	// Owned by the goroutine of the handshake.
	out  []byte // not given to the loop yet
	slot bool   // it has one

	turn chan bool // wakes the goroutine, and says whether it has a slot

	// Guarded by mu.
	mu     sync.Mutex
	in     []byte // came, and was not read
	hungry bool   // the goroutine waits for more
	gone   bool   // there will be no more
}

// Data is loop.Opening's.
func (h *shake) Data(c loop.Conn, b []byte) int {
	if len(b) == 0 {
		return 0
	}
	if !h.begun {
		n, wrong, answer := first(b)
		switch {
		case wrong != none:
			h.refuse(wrong, answer)
			return len(b)
		case n == 0:
			return 0
		}
		b = b[:n] // the rest stays, bounded, until the handshake asks for it
		h.start(c)
	}
	c.PauseRead() // until the handshake asks for more
	h.mu.Lock()
	h.in = append(h.in, b...)
	hungry := h.hungry
	h.hungry = false
	h.mu.Unlock()
	if hungry {
		h.o.slots.want(h, true)
	}
	return len(b)
}

// start has the handshake begin when there is a slot.
func (h *shake) start(c loop.Conn) {
	h.begun, h.since, h.addr = true, time.Now(), c.RemoteAddr()
	h.turn = make(chan bool, 1)
	h.link = &Link{o: h.o, shake: h}
	h.o.slots.want(h, false)
}

// refuse ends the connection. It is for the loop.
func (h *shake) refuse(why Reason, answer []byte) {
	if h.over {
		return
	}
	h.refused = true
	h.o.failed(why)
	h.c.Refuse(texts[why], answer)
}

// End is loop.Opening's.
func (h *shake) End(_ loop.Conn, err error) {
	h.over = true
	switch {
	case h.refused:
	case err == loop.ErrOpeningTimeout:
		h.o.failed(Timeout)
	case err == loop.ErrOpeningTooLong:
		h.o.failed(Garbage)
	default:
		h.o.failed(Left)
	}
	h.mu.Lock()
	h.gone = true
	hungry := h.hungry
	h.hungry = false
	h.mu.Unlock()
	if hungry {
		h.turn <- false
	}
}

func (h *shake) ended() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.gone
}

// grant gives h a slot.
func (h *shake) grant(again bool) {
	if again {
		h.turn <- true
		return
	}
	h.o.counts.running.Add(1)
	// ends with the handshake, which ends with the connection
	go h.run()
}

// run is the handshake.
func (h *shake) run() {
	h.slot = true
	defer func() {
		h.o.counts.running.Add(-1)
		if h.slot {
			h.o.slots.give()
		}
	}()
	err := h.handshake()
	out := h.out
	h.c.Loop().Post(loop.TaskFunc(func(*loop.Loop) {
		h.c.Write(out)
		if err == nil {
			h.opened()
		} else {
			h.refuse(h.why(err), nil)
		}
	}))
}

// errPanic is of a handshake that has panicked.
var errPanic = errors.New("tlslink: internal error: panic")

func (h *shake) handshake() (err error) {
	defer func() {
		if v := recover(); v != nil {
			h.o.notes.Warn("panic in a TLS handshake", "panic", fmt.Sprint(v), "stack", debug.Stack())
			err = errPanic
		}
	}()
	config := h.o.config()
	h.link.tc = tls.Server((*wire)(h.link), config)
	return h.link.tc.Handshake()
}

// why returns what an error of the handshake means, and says what an operator can mend.
func (h *shake) why(err error) Reason {
	why := reasonOf(err)
	switch why {
	case BadCertificate, Internal, NoServerName, Alert:
		if !h.over {
			h.o.notes.Warn("a TLS handshake failed", "reason", why.String(), "error", err, "addr", h.addr)
		}
	}
	return why
}

// opened gives the connection its link.
func (h *shake) opened() {
	if h.over {
		return
	}
	k := h.link
	k.trim()
	if len(h.in) == 0 {
		k.shake = nil
	}
	k.shaken, k.more = true, true
	if h.c.Opened(loop.Opened{Link: k}) {
		h.o.done(k.tc.ConnectionState(), time.Since(h.since))
	}
}

// read is wire.Read on the goroutine of the handshake.
func (h *shake) read(p []byte) (int, error) {
	h.mu.Lock()
	if len(h.in) == 0 && !h.gone {
		h.hungry = true
		h.mu.Unlock()
		h.wait()
		h.mu.Lock()
	}
	defer h.mu.Unlock()
	if h.gone {
		return 0, net.ErrClosed
	}
	return h.take(p), nil
}

// take takes of what came. mu is held, or the handshake over.
func (h *shake) take(p []byte) int {
	n := copy(p, h.in)
	if h.in = h.in[n:]; len(h.in) == 0 {
		h.in = nil
	}
	return n
}

// wait sends what the handshake has written, and waits for more of its client, without
// a slot meanwhile.
func (h *shake) wait() {
	out := h.out
	h.out = nil
	if !h.c.Loop().Post(loop.TaskFunc(func(*loop.Loop) {
		h.c.Write(out)
		h.c.ResumeRead()
	})) { // the loop is no more
		h.mu.Lock()
		defer h.mu.Unlock()
		h.hungry, h.gone = false, true
		return
	}
	h.slot = false
	h.o.slots.give()
	h.slot = <-h.turn
}

// leftover is what came behind the handshake: wire.Read has it first.
func (k *Link) leftover(p []byte) int {
	h := k.shake
	n := h.take(p)
	if len(h.in) == 0 {
		k.shake = nil
	}
	return n
}

// address is what callbacks of a tls.Config may ask for.
func (h *shake) address() net.Addr {
	if !h.addr.IsValid() {
		return &net.UnixAddr{Net: "unix"}
	}
	return net.TCPAddrFromAddrPort(h.addr)
}
