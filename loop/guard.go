package loop

import (
	"fmt"
	"runtime/debug"
)

// recovered is deferred around code that is not a connection's: a panic is
// counted and logged, and the loop goes on.
func (l *Loop) recovered() {
	if v := recover(); v != nil {
		l.panicked(v)
	}
}

// guard is deferred around a handler's method: a panic also ends c.
func (l *Loop) guard(c Conn) {
	v := recover()
	if v == nil {
		return
	}
	l.panicked(v)
	if r := c.record(); r != nil {
		l.fail(c.slot, r, &panicError{v})
	}
}

// panicError is why a connection ends whose handler has panicked.
type panicError struct{ value any }

func (e *panicError) Error() string { return fmt.Sprintf("loop: handler panicked: %v", e.value) }

func (l *Loop) panicked(v any) {
	l.tally.Panics++
	l.engine.o.Logger.Error("loop: panic", "value", fmt.Sprint(v), "stack", string(debug.Stack()))
}

// safely runs f and survives its panic.
func (l *Loop) safely(f func()) {
	defer l.recovered()
	f()
}

func (l *Loop) callOpen(c Conn) {
	defer l.guard(c)
	l.h.Open(c)
}

func (l *Loop) callData(c Conn, b []byte) (n int) {
	defer l.guard(c)
	n = l.h.Data(c, b)
	if uint(n) > uint(len(b)) {
		bad := n
		n = 0
		panic(fmt.Sprintf("loop: Data consumed %d of %d bytes", bad, len(b)))
	}
	return n
}

func (l *Loop) callDrained(c Conn) {
	defer l.guard(c)
	l.h.Drained(c)
}

func (l *Loop) callClose(c Conn, err error) {
	defer l.recovered()
	l.h.Close(c, err)
}
