package link

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/gobwas/ws"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/bridge/wire"
)

// maxHello bounds the first message of a process, in bytes.
const maxHello = 2 << 20

// Serve serves a request of a process whose key was checked, until its connection ends. H
// is the handler of a session that begins by it.
func (x *Sessions) Serve(w http.ResponseWriter, r *http.Request, h Handler) {
	c := x.upgrade(w, r)
	if c == nil {
		x.tally.refused.Add(1)
		return
	}
	defer func() { _ = c.Close() }()
	hello, err := c.hello()
	if err != nil {
		x.tally.refused.Add(1)
		x.notice.Warn("a process that dialled a bridge does not say who it is as it should", "address", c.RemoteAddr().String(), "error", err)
		c.refuse(err)
		return
	}
	if hello.Resume != "" {
		if s := x.find(hello); s != nil {
			ok, why := s.enter(c)
			switch {
			case ok:
				x.resume(s, c, hello)
				return
			case why != nil:
				x.tally.replaced.Add(1)
				c.refuse(why)
				return
			}
		}
		x.tally.unknown.Add(1)
	}
	x.begin(c, hello, h)
}

// upgrade answers the handshake. It returns nil if it is none.
func (x *Sessions) upgrade(w http.ResponseWriter, r *http.Request) *conn {
	switch {
	case r.Method != http.MethodGet || !strings.EqualFold(r.Header.Get("Upgrade"), "websocket"):
		Problem(w, http.StatusBadRequest, "a process of a bridge comes by WebSocket")
		return nil
	case !offers(r.Header["Sec-Websocket-Protocol"]):
		Problem(w, http.StatusBadRequest, "this version of the link is not known here; it has "+wire.Subprotocol)
		return nil
	}
	nc, rw, _, err := ws.HTTPUpgrader{Timeout: parting, Protocol: func(p string) bool { return p == wire.Subprotocol }}.Upgrade(r, w)
	if err != nil {
		if nc != nil {
			_ = nc.Close()
		}
		return nil
	}
	c := &conn{Conn: nc, o: x.options.Load(), wakes: make(chan struct{}, 1), stop: make(chan struct{}), wrote: make(chan struct{})}
	early, _ := rw.Reader.Peek(rw.Reader.Buffered())
	c.r = bufio.NewReaderSize(io.MultiReader(bytes.NewReader(bytes.Clone(early)), c), 32<<10)
	return c
}

// offers tells whether the subprotocol is one of those that a process knows.
func offers(lists []string) bool {
	for _, list := range lists {
		for p := range strings.SplitSeq(list, ",") {
			if strings.TrimSpace(p) == wire.Subprotocol {
				return true
			}
		}
	}
	return false
}

// Problem answers with a problem (RFC 9457), as the HTTP API does.
func Problem(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"title": http.StatusText(status), "status": status, "detail": detail}) // who asked may have gone
}

// hello reads the first batch.
func (c *conn) hello() (*wire.Hello, error) {
	c.limit(&c.readUntil, time.Now().Add(c.o.Timeout), c.SetReadDeadline)
	b, err := c.message(min(maxHello, c.o.MaxMessage))
	if err != nil {
		return nil, err
	}
	_, r, err := wire.ParseBatch(b, wire.Application)
	if err != nil {
		return nil, err
	}
	var m wire.Message
	ok, err := r.Next(&m)
	switch {
	case err != nil:
		return nil, err
	case !ok || m.Kind != wire.KindHello || r.Len() > 0:
		return nil, errors.New("its first batch is not one hello")
	case m.Hello.Version != wire.Version:
		return nil, fmt.Errorf("it wants version %d of the link, which has %d", m.Hello.Version, wire.Version)
	}
	c.readUntil.Store(0)
	return m.Hello, nil
}

// refuse says why a connection gets no session, and closes it.
func (c *conn) refuse(err error) {
	f := farewellOf(err)
	if f == nil {
		return
	}
	if _, err := c.Write(f.frames()); err == nil {
		c.part()
	}
}

// farewellOf returns what is said to a process for an error, and nil if that is the
// connection's own.
func farewellOf(err error) *farewell {
	var bad *wire.Error
	var wrong *failure
	var bye *goodbye
	var why *Refusal
	switch {
	case errors.Is(err, errGiven):
		return &farewell{&Refusal{wire.CodeReplaced, err.Error()}, statusOf(wire.CodeReplaced)}
	case errors.Is(err, errMoved):
		return &farewell{nil, statusMoved}
	case errors.As(err, &bye):
		if bye.status == ws.StatusNoStatusRcvd {
			bye.status = ws.StatusNormalClosure
		}
		return &farewell{nil, bye.status}
	case errors.As(err, &wrong):
		return &farewell{&Refusal{wire.CodeProtocol, cut(wrong.Error())}, wrong.status}
	case errors.As(err, &why):
		return &farewell{&Refusal{why.Code, cut(why.Text)}, statusOf(why.Code)}
	case errors.As(err, &bad) && bad.Kind == 0:
		return &farewell{&Refusal{wire.CodeProtocol, cut(bad.Error())}, ws.StatusInvalidFramePayloadData}
	case isOfConnection(err):
		return nil
	}
	return &farewell{&Refusal{wire.CodeProtocol, cut(err.Error())}, ws.StatusPolicyViolation}
}

// statusOf returns the code of the close frame for one of protocol.md.
func statusOf(code string) ws.StatusCode {
	switch code {
	case wire.CodeDraining:
		return ws.StatusGoingAway
	case wire.CodeProtocol:
		return ws.StatusPolicyViolation
	}
	return ws.StatusNormalClosure
}

// cut shortens a text for people.
func cut(s string) string {
	s = strings.ToValidUTF8(s, "�")
	if len(s) <= 256 {
		return s
	}
	return strings.ToValidUTF8(s[:256], "") + "…"
}

// frames returns what is written last.
func (f *farewell) frames() (b []byte) {
	if f.Refusal != nil {
		batch := wire.AppendEnding(wire.AppendBatch(nil, 0, 1), f.Code, f.Text)
		b = frame(nil, ws.OpBinary, batch)
	}
	return frame(b, ws.OpClose, ws.NewCloseFrameBody(f.status, ""))
}

// begin begins a session by a connection.
func (x *Sessions) begin(c *conn, hello *wire.Hello, h Handler) {
	s := newSession(x, h, hello)
	s.turn <- struct{}{}
	s.conn, s.newest = c, c
	x.hold.RLock()
	err := error(errMoved) // who comes here comes too late
	if !x.hold.gone.Load() {
		err = h.New(s, hello)
	}
	if err == nil {
		x.add(s)
	}
	x.hold.RUnlock()
	if err != nil {
		s.mu.Lock()
		s.over, s.conn = true, nil
		s.mu.Unlock()
		x.tally.refused.Add(1)
		c.refuse(err)
		return
	}
	x.tally.sessions.Add(1)
	s.run(c, hello, false)
}

// resume goes on with a session by a connection that has its turn.
func (x *Sessions) resume(s *Session, c *conn, hello *wire.Hello) {
	if err := s.attach(hello); err != nil {
		s.broke(err)
		s.leave(wire.CodeProtocol, true)
		c.refuse(err)
		return
	}
	s.run(c, hello, true)
}
