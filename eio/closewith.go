package eio

import (
	"fmt"
	"unicode/utf8"

	"github.com/sioedge/sioedge/wsframe"
)

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
