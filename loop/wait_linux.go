package loop

import (
	"os"
	"reflect"
	"runtime"

	errorx "github.com/panjf2000/gnet/v2/pkg/errors"
	"github.com/panjf2000/gnet/v2/pkg/netpoll"
	"golang.org/x/sys/unix"
)

// keepsTime says that waiting ends when a timer is due, so that there is no
// need for an alarm.
const keepsTime = true

// Events taken at once: at first, and at most.
const (
	fewEvents  = 128
	manyEvents = 1024
)

// wait calls l.event for what is ready, until that says that the engine is shut
// down. It is Polling of gnet's poller, on its descriptor, less three things.
// That looks again before it sleeps; it yields to Go's scheduler each time it
// is about to sleep, which wakes a thread on another core to look for work and
// costs more than most events (at 4,000 connections a second, 20 µs of the 63
// that each took); and it sleeps without an end, so that timers need an alarm:
// a goroutine, a write, and two threads that wake.
func (l *Loop) wait() error {
	epoll := epollOf(l.poller)
	events := make([]unix.EpollEvent, fewEvents)
	for {
		if l.yield {
			l.yield = false
			runtime.Gosched()
		}
		n, err := unix.EpollWait(epoll, events, l.sleep())
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return os.NewSyscallError("epoll_wait", err)
		}
		if n == 0 {
			if l.timeOut() {
				return errorx.ErrEngineShutdown
			}
			continue
		}
		for i := range events[:n] {
			if err := l.event(int(events[i].Fd), events[i].Events, 0); err != nil {
				return err
			}
		}
		if n == len(events) && n < manyEvents {
			events = make([]unix.EpollEvent, 2*n)
		}
	}
}

// sleep returns how long the loop may sleep, in ms; -1 is for ever.
func (l *Loop) sleep() int {
	if len(l.timers.heap) == 0 {
		return -1
	}
	const most = 1 << 30
	return int(min(max(l.timers.heap[0].at-l.engine.nowMs(), 0), most))
}

// timeOut is the step of timers.
func (l *Loop) timeOut() (ended bool) {
	l.begin()
	l.end(false)
	return l.ended()
}

// epollOf returns the descriptor of a poller, which gnet keeps to itself. A test
// pins it to the version that go.mod names.
func epollOf(p *netpoll.Poller) int {
	return int(reflect.ValueOf(p).Elem().FieldByName("fd").Int())
}
