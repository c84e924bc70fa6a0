package loop

import (
	"os"
	"reflect"
	"runtime"
	"time"
	"unsafe"

	errorx "github.com/panjf2000/gnet/v2/pkg/errors"
	"github.com/panjf2000/gnet/v2/pkg/netpoll"
	"golang.org/x/sys/unix"
)

// keepsTime says that waiting ends when a timer is due, so that there is no
// need for an alarm.
const keepsTime = true

// keepFor is how long a loop that sleeps keeps its processor, in ms: less than
// the 10 after which Go's scheduler interrupts it.
const keepFor = 4

// briskAfter is for how long, in ns, something must have come within keepFor each time, but
// for a few, before a loop is one that has something to do. A turn of heartbeats is shorter.
const briskAfter = 32 * int64(time.Millisecond)

// Events taken at once: at first, and at most.
const (
	fewEvents  = 128
	manyEvents = 1024
)

// mostFull is how many times in a row timers wait because there are more events
// than are taken at once: by then those that were there first have been served.
const mostFull = 8

// wait calls l.event for what is ready, until that says that the engine is shut
// down. It is Polling of gnet's poller, on its descriptor, but that it sleeps until
// the next timer is due: Polling sleeps without an end, so that timers need an
// alarm, which is a goroutine, a write, and two threads that wake.
func (l *Loop) wait() error {
	epoll := epollOf(l.poller)
	events := make([]unix.EpollEvent, fewEvents)
	l.lag.since = l.engine.nowMs()
	full := 0 // times in a row that there may have been more
	l.polls = true
	defer l.doze.close()
	l.tick()
	l.wakes() // what was done before the first wait is its first turn
	for {
		l.tick()
		l.worked(l.ns)
		l.caughtUp(l.now + l.away)
		l.rest()
		slept := l.ns
		n, errno := l.epollWait(epoll, events)
		if errno == unix.EINTR {
			l.tick()
			l.waited(l.ns - slept)
			l.busySince, l.lag.since = l.ns, l.now+l.away // nothing was ready
			continue
		}
		if errno != 0 {
			return os.NewSyscallError("epoll_wait", errno)
		}
		l.tick()
		l.waited(l.ns - slept)
		l.wakes()
		at := l.now // what is read now had come by then
		if full == 0 {
			l.lag.since = at + l.away
		}
		for i := range events[:n] {
			if err := l.event(int(events[i].Fd), events[i].Events, 0); err != nil {
				return err
			}
		}
		if l.goesOn && l.goOn() {
			return errorx.ErrEngineShutdown
		}
		if full++; n < len(events) || full > mostFull {
			full, l.horizon = 0, at
		}
		if n == 0 || len(l.timers.heap) > 0 && l.timers.heap[0].at <= l.horizon {
			if l.timeOut() {
				return errorx.ErrEngineShutdown
			}
		}
		if n == len(events) && n < manyEvents {
			events = make([]unix.EpollEvent, 2*n)
		}
	}
}

// epollWait sleeps until something is ready or a timer is due.
//
// With Options.KeepProcessors a loop that has something to do sleeps without
// telling the scheduler: it keeps its processor, and goroutines find others.
// Whoever has to stop the loop meanwhile, such as the garbage collector,
// interrupts it by a signal, as the scheduler does anyway every 10 ms. Otherwise
// Go's monitor thread takes the processor away, and looks after it every 20 µs
// from the moment it is wanted back: at 4,000 connections a second, a connection
// cost 1.6 to 2.7 times what it does a loop in C without this, and 1.2 to 1.4
// times with it. A loop without anything to do for some ms does give its
// processor up: idle loops that did not cost 6 ms a second each. And one that seldom
// has something to do does so at once, by its dozer.
//
// Goroutines that were woken run on another processor if there is one: Go's scheduler
// wakes a thread for them. To make way for them as well would cost two switches of
// threads each turn, so a loop does that where it may be in their way: when each
// processor is a loop's, and every few ms, in case that all the others are busy.
func (l *Loop) epollWait(epoll int, events []unix.EpollEvent) (int, unix.Errno) {
	keep, rest, brisk := 0, l.sleep(), l.brisk == briskAfter
	if l.engine.o.KeepProcessors && brisk {
		keep = keepFor
		if rest >= 0 {
			keep = min(keep, rest)
		}
	}
	if rest == 0 {
		n, errno := poll(epoll, events)
		if n == 0 && !l.engine.o.KeepProcessors {
			l.makeWay()
		}
		return n, errno
	}
	spare := l.engine.spare
	if keep > 0 && l.yield && (!spare || l.ns-l.yieldAt >= keepFor*int64(time.Millisecond)) {
		l.makeWay()
	}
	if keep > 0 || l.yield && !spare {
		n, errno := pollFor(epoll, events, keep)
		if n != 0 || errno != 0 || keep > 0 && keep == rest {
			return n, errno
		}
		if l.yield && !spare {
			l.makeWay()
		}
	}
	l.yield = false // who sleeps is in nobody's way
	if rest = l.sleep(); !brisk && rest != 0 {
		var due int64
		if rest > 0 {
			due = l.timers.heap[0].at
		}
		if l.doze.sleep(epoll, due, rest) {
			return poll(epoll, events)
		}
	}
	p, n := unsafe.Pointer(unsafe.SliceData(events)), uintptr(len(events))
	r, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(epoll), uintptr(p), n, uintptr(rest), 0, 0)
	return int(r), errno
}

// poll takes what is ready.
func poll(epoll int, events []unix.EpollEvent) (int, unix.Errno) { return pollFor(epoll, events, 0) }

// pollFor takes what is ready within so many ms, in which the goroutine keeps its
// processor.
func pollFor(epoll int, events []unix.EpollEvent, ms int) (int, unix.Errno) {
	p, n := unsafe.Pointer(unsafe.SliceData(events)), uintptr(len(events))
	r, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(epoll), uintptr(p), n, uintptr(ms), 0, 0)
	return int(r), errno
}

// makeWay has goroutines run that wait for a processor.
func (l *Loop) makeWay() {
	l.yield = false
	l.yields++
	runtime.Gosched()
}

// waited notes how long, in ns, the loop has slept; l.ns is when it has woken.
func (l *Loop) waited(ns int64) {
	if ns < keepFor*int64(time.Millisecond) {
		l.brisk = min(l.brisk+l.ns-l.woke, briskAfter)
	} else {
		l.brisk = max(l.brisk-2*ns, 0)
	}
	l.woke = l.ns
}

// goOn is the step of what is left to do when the sockets that were ready have been served:
// what they have sent together goes out together.
func (l *Loop) goOn() (ended bool) {
	l.begin()
	l.woken()
	l.end(false)
	return l.ended()
}

// sleep returns how long the loop may sleep, in ms; -1 is for ever.
func (l *Loop) sleep() int {
	if l.goesOn {
		return 0
	}
	if len(l.timers.heap) == 0 {
		return -1
	}
	const most = 1 << 30
	return int(min(max(l.timers.heap[0].at-l.clockNs()/int64(time.Millisecond), 0), most))
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
