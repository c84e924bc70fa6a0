package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/listen"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/successor"
	"github.com/sioedge/sioedge/sio"
)

// handingFiles are what else goes along to the process that takes over, and a note that
// says where this one listens. The files are the caller's, also with an error.
func (e *edge) handingFiles() (files []*os.File, note []byte, err error) {
	at := e.upgrades.addresses
	if f, bound, err := e.internal.hand(); err != nil {
		return files, nil, err
	} else if f != nil {
		files, at.Internal = append(files, f), bound
	}
	if ln := e.upgrades.ln; ln != nil {
		f, err := ln.File()
		if err != nil {
			return files, nil, err
		}
		files, at.Handover = append(files, f), ln.Path()
	}
	note, err = json.Marshal(at)
	return files, note, err
}

// hand returns a copy of the listener, nil if there is none, and where it is.
func (in *internal) hand() (*os.File, listen.Bound, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.conns == nil {
		return nil, listen.Bound{}, nil
	}
	f, err := listen.Copy(in.conns.Listener, internalFile)
	return f, listen.Bound{As: in.as, At: listen.At(in.addr)}, err
}

// pause has nobody come any more to the listener for operators and backends: who does waits
// in its socket for the process that will have it. Off takes that back.
func (in *internal) pause(on bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.conns == nil {
		return
	}
	in.conns.pause(on)
	in.web.SetKeepAlivesEnabled(!on)
}

// give has the listener's path stay when it ends, for the process that has it.
func (in *internal) give() {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.conns != nil {
		listen.Leave(in.conns.Listener)
	}
}

// part is what the edge itself has in a handover, before all others.
func (e *edge) part() sio.Part {
	return sio.Part{
		Name: "edge", Optional: true,
		Hold: func(context.Context) error {
			e.upgrades.slack.Give()
			e.internal.pause(true)
			return nil
		},
		Release: func() { e.internal.pause(false); e.upgrades.slack.TakeBack() },
		Moved:   e.upgrades.slack.TakeBack,
		// From then on nobody is served.
		Export: func() ([]byte, error) { return time.Now().Round(0).MarshalBinary() },
		Import: func(data []byte) error { return e.before.since.UnmarshalBinary(data) },
		Serving: func() {
			var pause time.Duration
			if since := e.before.since; !since.IsZero() { // the other has said it
				pause = time.Since(since)
			}
			e.upgrades.counts.Done(pause)
			e.health.Begin()
			e.before.slack.TakeBack()
			e.before.took()
		},
	}
}

// leave serves what the process that has taken over could not get, until that has left, or
// the time for draining is over; a signal ends it sooner.
func (e *edge) leave(u *upgrading, s *signals, soon bool) {
	close(e.stopping)
	e.internal.give()
	if e.upgrades.ln != nil {
		_ = e.upgrades.ln.Close()
	}
	if pid := u.pid(); pid > 1 && !e.stays(u) {
		e.manager.Succeeded(pid)
	}
	e.manager.Silence()
	deadline, done := context.WithTimeout(context.Background(), e.now.Drain)
	defer done()
	internal := e.stopInternal(deadline)
	over := leaving(e.now)
	if soon {
		over = 0
	}
	leave, left := context.WithTimeout(deadline, over+e.now.Drain/8)
	defer left()
	go e.heedLeaving(leave, left, u, s) // ends with left
	if err := e.srv.Drain(leave, over); err != nil {
		e.log.Warn("not all that another process could not get has left in time", "error", err)
	}
	e.end(deadline, internal)
}

// heedLeaving has a signal to end end the leaving, and passes it on with all others if this
// process stays: they are meant for what has the clients.
func (e *edge) heedLeaving(leave context.Context, left func(), u *upgrading, s *signals) {
	for leave.Err() == nil {
		var is os.Signal
		select {
		case is = <-s.quit:
			left()
		case is = <-s.hup:
		case is = <-s.usr1:
		case is = <-s.usr2:
		case <-leave.Done():
			return
		}
		if e.stays(u) {
			successor.Pass(is)
		}
	}
}

// stays tells whether this process waits for those that have taken over.
func (e *edge) stays(u *upgrading) bool {
	return u != nil && u.child != nil && e.mayStay(e.now)
}

// mayStay tells whether it would wait for a process that it starts to take over.
func (e *edge) mayStay(l *config.Loaded) bool {
	switch {
	case l.Handover.Stay == "never":
		return false
	case e.before != nil && e.before.child:
		return false // whoever has started this one does, or need not
	default:
		return l.Handover.Stay == "always" || os.Getpid() == 1
	}
}

// adopt has those come to this process that it would wait for: before there is one, which
// may be succeeded and end while this one is still leaving.
func (e *edge) adopt(l *config.Loaded) {
	if !e.mayStay(l) {
		return
	}
	if err := successor.Adopt(); err != nil && os.Getpid() != 1 {
		e.log.Warn("processes that take over later are not waited for", "error", err)
	}
}

// An exitCode is that of a process that was waited for, and has said why itself.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("ended with code %d", int(c)) }

// stay waits for the processes that have taken over, as their parent.
func (e *edge) stay(u *upgrading, s *signals) error {
	e.log.Info("this process stays, as the parent of the one that has the clients: signals are passed on, and it ends as that does", "process", u.child.PID())
	all := make(chan os.Signal, 16)
	signal.Notify(all, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
	s.stop()
	for _, c := range []chan os.Signal{s.hup, s.usr1, s.usr2, s.quit} {
		select {
		case is := <-c: // nobody has heeded it yet
			successor.Pass(is)
		default:
		}
	}
	debug.FreeOSMemory()
	if code := successor.Stay(u.child, all); code != 0 {
		return exitCode(code)
	}
	return nil
}

// arrived does what is due when everything of another process is here, or at once if there
// was none.
func (e *edge) arrived(ctx context.Context, l *config.Loaded) {
	e.before.await()
	e.before.tidy(l, e.log)
	if e.before != nil {
		_, _, pause := e.upgrades.counts.Read()
		st := e.srv.Stats()
		e.log.Info("taken over: the clients are here", "connections", st.Loop.Open, "sessions", st.Engine.Open.Sum(), "pause", pause.String())
	}
	if e.before == nil || !e.before.child {
		e.manager.Ready()
	}
	if e.upgrades.ln != nil {
		go e.invite() // ends with the listener
	}
	e.manager.Run(ctx, e.statusOf)
}
