package main

import (
	"log"
	"log/slog"
	"strings"

	"github.com/sioedge/sioedge/loop/notice"
)

// strays write to the log what packages of others write to the standard one, now and
// then, and without what they quote: net/http there shows the beginning of what a peer
// has sent unasked, which may be anything.
type strays struct{ note *notice.Log }

// gather has the standard log go by way of strays to the log, which it returns.
func gather(to *slog.Logger) *slog.Logger {
	log.SetFlags(0)
	log.SetOutput(strays{notice.New(to, 0)})
	return to
}

// Write takes one line, as package log says.
func (s strays) Write(p []byte) (int, error) {
	text, _, _ := strings.Cut(string(p), `"`)
	s.note.Warn("a library has something to say", "text", strings.TrimSpace(text))
	return len(p), nil
}
