package eio

import (
	"errors"
	"fmt"
	"net/http"
	"syscall"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/http1"
	"github.com/sioedge/sioedge/wsframe"
)

func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ETIMEDOUT)
}

// checkUpgrade checks the opening handshake of a WebSocket and has the
// application add fields to the answer. It is false if it has refused the
// handshake; protocol is what acceptUpgrade is to agree to.
func (sh *shard) checkUpgrade(h *httpConn) (protocol []byte, ok bool) {
	if err := wsframe.CheckUpgrade(h.req.Get); err != nil {
		fields := []http1.Field{{Name: fieldType, Value: valueHTML}}
		if err.VersionHeader {
			fields = append(fields, http1.Field{Name: []byte("Sec-WebSocket-Version"), Value: []byte("13, 8")})
		}
		sh.answer(h, err.Status, fields, []byte(err.Body), true)
		return nil, false
	}
	if list := h.req.Get("Sec-WebSocket-Protocol"); list != nil {
		first, ok := wsframe.FirstProtocol(list)
		if !ok {
			sh.answer(h, http.StatusBadRequest, []http1.Field{{Name: fieldType, Value: valueHTML}},
				[]byte("Invalid Sec-WebSocket-Protocol header"), true)
			return nil, false
		}
		protocol = first
	}
	sh.hook(h)
	return protocol, true
}

// acceptUpgrade agrees to a handshake that was checked, and frees the
// connection's record. zip are the flags of what was agreed on compression.
func (sh *shard) acceptUpgrade(h *httpConn, protocol []byte) (zip flags) {
	zip, extensions := sh.zip.negotiate(h.req)
	b := wsframe.AppendUpgrade(sh.scratch[:0], h.req.Get("Sec-WebSocket-Key"), protocol, func(dst []byte) []byte {
		if extensions != nil {
			dst = fmt.Appendf(dst, "Sec-WebSocket-Extensions: %s\r\n", extensions)
		}
		return appendFields(appendFields(dst, h.hooked), h.fields)
	})
	h.conn.Write(b)
	sh.scratch = keepScratch(b)
	sh.freeHTTPConn(h)
	return zip
}

// openWS opens a session whose first transport is a WebSocket.
func (sh *shard) openWS(h *httpConn) {
	protocol, ok := sh.checkUpgrade(h)
	if !ok {
		return
	}
	slot, ok := sh.newSession(overWS | h.flags())
	if !ok {
		sh.full(h)
		return
	}
	zip := sh.acceptUpgrade(h, protocol)
	s := sh.sessions.At(slot)
	s.set(zip)
	s.conn = h.conn.Key()
	sh.keepClient(slot, h.client)
	h.conn.SetTag(tagWS | slot)
	var packet [160]byte
	b := wsframe.AppendFrame(sh.scratch[:0], wsframe.Text, sh.appendOpen(packet[:0], slot, "[]"))
	b = sh.srv.appendInitial(b)
	sh.tally.Out.sent(b)
	h.conn.Write(b)
	sh.shakenHands(h)
	sh.scratch = keepScratch(b)
	sh.srv.h.Open(sh.handle(slot), h.req)
}

// dataWS handles what a session's WebSocket received. Almost always it is
// whole messages, and the shard's own reader, which holds nothing in between,
// will do; a message in pieces gets a reader in the extension.
func (sh *shard) dataWS(c loop.Conn, slot uint32, b []byte) (used int) {
	if sh.overdue(slot) {
		return len(b)
	}
	sh.bytesCame(slot)
	r, own := &sh.reader, false
	if e := sh.peekExt(slot); e != nil {
		r, own = &e.reader, true
	}
	r.Compression = sh.sessions.At(slot).is(inflates) // the shard's own serves all
	tag, left := c.Tag(), newTurn()
	for used < len(b) && c.Tag() == tag && !sh.sessions.At(slot).is(halted) {
		if r.Compression && sh.zip.left <= 0 {
			sh.later(slot)
			break
		}
		m, n, err := r.Next(b[used:])
		used += n
		if err == nil {
			m, err = sh.zip.inflate(m)
		}
		if err != nil {
			sh.failWS(c, slot, err)
			break
		}
		if m.Op == 0 {
			if n == 0 {
				break
			}
			continue
		}
		if own && !sh.chargeReader(slot, sh.peekExt(slot), 0) {
			break
		}
		sh.messageWS(c, slot, m)
		if !left.take(len(m.Data)) && used < len(b) && c.Tag() == tag {
			sh.later(slot)
		}
	}
	if c.Tag() != tag {
		if !own {
			sh.resetReader()
		}
		return len(b) // the session is gone; so is interest in the rest
	}
	if own || sh.sessions.At(slot).is(halted) || !r.Idle() {
		return sh.keepPart(slot, r, own, b, used)
	}
	return used
}

// keepPart ends dataWS for a session with something to be kept: of a message in
// pieces, and what is not to be read now, which the loop keeps until then.
func (sh *shard) keepPart(slot uint32, r *wsframe.Reader, own bool, b []byte, used int) int {
	unread := 0
	if sh.sessions.At(slot).is(halted) {
		unread = len(b) - used
	}
	if !own && (unread > 0 || !r.Idle()) {
		sh.ext(slot).reader = *r
		sh.resetReader()
	}
	switch e := sh.peekExt(slot); {
	case e == nil:
	case own && unread == 0 && r.Idle() && !e.probing.Valid():
		sh.dropExt(slot)
	case !sh.chargeReader(slot, e, unread):
		return len(b)
	}
	return used
}

// chargeReader charges what a session's reader holds of a message in pieces, and
// what is still to be read. It is false if that does not fit: the session is gone.
func (sh *shard) chargeReader(slot uint32, e *ext, unread int) bool {
	n := e.reader.Held() + unread
	before := e.charged
	switch {
	case n < before:
		sh.account(slot).Release(before - n)
	case n > before && !sh.account(slot).Charge(n-before):
		return false
	}
	e.charged = n
	return true
}

// newReader returns a reader with the server's limits.
func (srv *Server) newReader() wsframe.Reader {
	return wsframe.Reader{MaxMessage: int64(srv.o.MaxPayload), MaxFragments: srv.o.MaxFragments}
}

func (sh *shard) resetReader() {
	sh.reader = sh.srv.newReader()
}

// messageWS handles one WebSocket message of an open session.
func (sh *shard) messageWS(c loop.Conn, slot uint32, m wsframe.Message) {
	sh.tally.In.count(m.Op)
	switch m.Op {
	case wsframe.Binary:
		sh.binaryPacket(slot, m.Data)
	case wsframe.Text:
		sh.packet(slot, m.Data)
	case wsframe.Ping:
		sh.pong(c, m)
	case wsframe.Close:
		sh.endWS(c, m)
		sh.close(slot, TransportClose)
	}
}

// pong answers a ping of WebSocket's own.
func (sh *shard) pong(c loop.Conn, m wsframe.Message) {
	sh.tally.Out.Pong++
	c.Write(wsframe.AppendFrame(nil, wsframe.Pong, m.Data))
}

// endWS answers a close frame with its own code and ends the connection.
func (sh *shard) endWS(c loop.Conn, m wsframe.Message) {
	code := m.Code
	if code == 1005 { // none was given (RFC 6455, 7.1.5)
		code = 0
	}
	sh.hangUpWith(c, wsframe.AppendClose(nil, code, ""))
}

// failWS fails a WebSocket that broke its protocol (RFC 6455, 7.1.7).
func (sh *shard) failWS(c loop.Conn, slot uint32, err error) {
	sh.breakWS(c, err)
	sh.close(slot, TransportError)
}

func (sh *shard) breakWS(c loop.Conn, err error) {
	sh.tally.Frames++
	code := uint16(1002)
	var ce *wsframe.CloseError
	if errors.As(err, &ce) {
		code = ce.Code
	}
	frame := wsframe.AppendClose(nil, code, "")
	if code == wsframe.CodeTooLarge {
		sh.tally.Oversize++
		frame = sh.srv.tooBig()
	}
	sh.hangUpWith(c, frame)
}
