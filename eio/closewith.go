package eio

import (
	"bytes"
	"fmt"
	"unicode/utf8"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/wsframe"
)

// The codes of Options.CloseCodes. Clients of Socket.IO come back by themselves after any
// of them, unless their namespaces were left first (sio.DisconnectOptions).
const (
	// CloseShutdown: the server stops. Clients are to come back, elsewhere or later.
	CloseShutdown = 4000
	// CloseUpgrade: another process has this one's clients, and could not have this one
	// with them. It is to come back, to the other.
	CloseUpgrade = 4001
	// CloseSlow: the client takes too little of what it is sent. What it did not take is
	// dropped, so that it sees this when it reads again. Over polling nothing is said.
	CloseSlow = 4008
	// CloseTooBig: a message is larger than may be, or more is kept of what the client
	// has sent than ConnBudget. Over polling it is the status 413. Without CloseCodes:
	// 1009.
	CloseTooBig = 4009
	// CloseRateLimit: the client sends too much. It is for applications.
	CloseRateLimit = 4029
	// CloseExpired: what let the client in has expired.
	CloseExpired = 4401
	// CloseForbidden: the client is not wanted any more. Its namespaces were left first,
	// so it does not come back by itself.
	CloseForbidden = 4403
	// CloseConnectTimeout: the client has not joined a namespace in time.
	CloseConnectTimeout = 4408
	// CloseReplaced: the client has a newer connection, which has what this one had.
	CloseReplaced = 4409
	// CloseOverload: memory is short, and much of it was this connection's.
	CloseOverload = 4503
)

// CloseFor is CloseWith if Options.CloseCodes is set, otherwise Close.
func (s Session) CloseFor(code uint16, reason string) {
	if s.Valid() {
		s.sh.closeWith(s.slot, ForcedClose, s.sh.srv.closeFrame(code, reason))
	}
}

// closeFrame is a close frame with a code of Options.CloseCodes, or without one.
func (srv *Server) closeFrame(code uint16, reason string) []byte {
	if !srv.o.CloseCodes {
		return emptyClose
	}
	return wsframe.AppendClose(nil, code, reason)
}

// goodbye is a close frame for a client that is to come back: the server stops, or has
// given its clients to another process.
func (srv *Server) goodbye() []byte {
	if srv.handed.Load() {
		return srv.closeFrame(CloseUpgrade, "going away for upgrade")
	}
	return srv.closeFrame(CloseShutdown, "server shutting down")
}

// tooBig is a close frame for a client that sends more than may be.
func (srv *Server) tooBig() []byte {
	if !srv.o.CloseCodes {
		return wsframe.AppendClose(nil, wsframe.CodeTooLarge, "")
	}
	return wsframe.AppendClose(nil, CloseTooBig, "payload too big")
}

// LastWord is called by the loop of a peer that takes too little.
func (srv *Server) LastWord(c loop.Conn, _ error) []byte {
	c.Loop().Check()
	if !srv.o.CloseCodes || c.Tag()&tagKind != tagWS {
		return nil
	}
	frame := wsframe.AppendClose(nil, CloseSlow, "slow consumer")
	srv.shards[c.Loop().Index()].closed(frame)
	return frame
}

// Rest returns how many bytes a WebSocket's frame, or the answer to its handshake, goes
// on behind the first sent bytes of p, which begins with one: see loop.Framer. Any
// goroutine may call it.
func (srv *Server) Rest(p []byte, sent int) int {
	if !srv.o.CloseCodes {
		return 0
	}
	at := 0
	if bytes.HasPrefix(p, []byte("HTTP/")) {
		at = bytes.Index(p, []byte("\r\n\r\n")) + 4
	}
	for at < sent {
		h, n, err := wsframe.ParseHeader(p[at:])
		if err != nil || n == 0 || h.Length > int64(len(p)) {
			return 0
		}
		at += n + int(h.Length)
	}
	return at - sent
}

// CloseWith is Close, with a close frame that says why if the transport is a
// WebSocket: a browser's CloseEvent, in the details of the client's disconnect
// event. Over polling there is no way to tell. It returns the error of
// CheckClose, and has done nothing then.
func (s Session) CloseWith(code uint16, reason string) error {
	open := s.Valid()
	if err := CheckClose(code, reason); err != nil {
		return err
	}
	if open {
		s.sh.closeWith(s.slot, ForcedClose, wsframe.AppendClose(nil, code, reason))
	}
	return nil
}

// CheckClose tells whether a server may close with a code and a reason: 1000, or
// from 3000 to 4999 (RFC 6455, 7.4), and UTF-8 of at most 123 bytes (5.5).
func CheckClose(code uint16, reason string) error {
	switch {
	case code != 1000 && (code < 3000 || code > 4999):
		return fmt.Errorf("eio: close code %d is neither 1000 nor from 3000 to 4999", code)
	case len(reason) > 123 || !utf8.ValidString(reason):
		return fmt.Errorf("eio: a close reason is at most 123 bytes of UTF-8, not %q", reason)
	}
	return nil
}
