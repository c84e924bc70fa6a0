// Package notice writes log lines that outsiders can cause: one a cause and
// interval, so that nobody outside decides how fast a log grows.
package notice

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

const (
	// Every is the usual interval of a Log.
	Every = 10 * time.Second

	maxCauses = 256 // further ones share a line
	maxText   = 256 // bytes of a text that somebody else chose
)

// A Log limits lines by cause. The first of a cause is written at once; those
// that follow within the interval are counted, and the next one that is written
// says how many there were ("suppressed"). Any goroutine may use it.
type Log struct {
	// Immutable after New.
	to    *slog.Logger
	every time.Duration

	// Guarded by mu. Nothing is written with it held.
	mu     sync.Mutex
	causes map[string]*cause
}

type cause struct {
	next       time.Time // when a line may be written again
	suppressed int64
}

// New returns a Log that writes to a logger, at most one line a cause in every.
// Zero means Every.
func New(to *slog.Logger, every time.Duration) *Log {
	if every == 0 {
		every = Every
	}
	return &Log{to: to, every: every, causes: map[string]*cause{}}
}

// Warn writes a warning unless one of its cause was written within the interval.
// A cause is a constant of the program, and its text the message; the arguments
// are those of slog.Logger.Warn. Texts and errors in them are cut to 256 bytes.
func (l *Log) Warn(why string, args ...any) { l.write(slog.LevelWarn, why, args) }

// Info is Warn for what is no fault.
func (l *Log) Info(why string, args ...any) { l.write(slog.LevelInfo, why, args) }

func (l *Log) write(level slog.Level, why string, args []any) {
	suppressed, ok := l.admit(why)
	if !ok {
		return
	}
	line := make([]any, 0, len(args)+2)
	for _, a := range args {
		line = append(line, cut(a))
	}
	if suppressed > 0 {
		line = append(line, "suppressed", suppressed)
	}
	l.to.Log(context.Background(), level, why, line...)
}

// admit tells whether a line of a cause may be written now, and how many were
// not since the last one.
func (l *Log) admit(why string) (suppressed int64, ok bool) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.causes[why]
	if c == nil {
		if len(l.causes) >= maxCauses {
			why = "" // an invented cause is no way around the bound
			c = l.causes[why]
		}
		if c == nil {
			c = &cause{}
			l.causes[why] = c
		}
	}
	if now.Before(c.next) {
		c.suppressed++
		return 0, false
	}
	suppressed, c.suppressed = c.suppressed, 0
	c.next = now.Add(l.every)
	return suppressed, true
}

// cut shortens what outsiders can make long.
func cut(v any) any {
	switch x := v.(type) {
	case string:
		return Cut(x)
	case []byte:
		return Cut(string(x[:min(len(x), maxText+1)]))
	case error:
		return Cut(x.Error())
	}
	return v
}

// Cut returns s, or its first 256 bytes and an ellipsis.
func Cut(s string) string {
	if len(s) <= maxText {
		return s
	}
	return s[:maxText] + "…"
}
