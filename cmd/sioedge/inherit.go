package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/listen"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/successor"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/handover"
)

// A succession is of a process that takes over the clients of another one. A nil one is of
// a process that starts afresh.
type succession struct {
	in    *sio.Inheritance
	from  *listen.Inherited
	child bool // the other has started this one

	here  sync.Once
	taken chan struct{} // closed when everything is here
	since time.Time     // nobody is served; set before
	slack successor.Slack
}

// turnDown tells the process that has started this one why it does not take over.
func turnDown(conn *net.UnixConn, why error) {
	if conn == nil {
		return
	}
	ctx, done := context.WithTimeout(context.Background(), 5*time.Second)
	defer done()
	if in, err := sio.Inherit(ctx, conn, version(), build()); err == nil {
		in.Refuse(why)
	}
}

// succeed finds the process whose clients this one takes over: at conn, unless that is
// nil, or where the settings say; nil if there is none. A signal to quit calls it off, up to
// the moment at which everything is here, and is there for others.
func succeed(l *config.Loaded, conn *net.UnixConn, quit chan os.Signal, log *slog.Logger) (*succession, error) {
	h := &l.Handover
	if conn == nil && h.Socket == "" {
		return nil, nil
	}
	p := &succession{child: conn != nil, taken: make(chan struct{})}
	ctx, done := context.WithTimeout(context.Background(), h.ReadyTimeout+h.HoldTimeout+h.TakeTimeout+10*time.Second)
	// ends when everything is here, or there is nobody, or with the process
	go func() {
		defer done()
		select {
		case <-p.taken:
		case <-ctx.Done():
		case s := <-quit:
			select {
			case quit <- s:
			default: // there is another one
			}
		}
	}()
	if conn == nil {
		var err error
		if conn, err = handover.Dial(ctx, h.Socket); errors.Is(err, handover.ErrNobody) {
			log.Info("nobody is there to take over from", "handover", h.Socket)
			p.took()
			return nil, nil
		} else if err != nil {
			return nil, l.Place(&config.Fault{Key: "handover.socket", Err: err})
		}
	}
	in, err := sio.Inherit(ctx, conn, version(), build())
	if err != nil {
		return nil, fmt.Errorf("clients are not taken over: %w", err)
	}
	p.in = in
	p.slack.Give() // until clients are served
	other := in.From()
	log.Info("taking over the clients of another process", "process", other.PID, "its-version", other.Version, "its-build", other.Build, "version", version(), "build", build(), "dry-run", in.DryRun())
	if p.from, err = listen.ParseInherited(in.Note()); err != nil {
		return nil, p.refuse(fmt.Errorf("where it listens is not understood: %w", err))
	}
	return p, nil
}

// refuse has the other process go on, and returns why.
func (p *succession) refuse(err error) error {
	if p != nil {
		p.in.Refuse(err)
	}
	return err
}

// dryRun tells whether this process is only to say if it would be ready.
func (p *succession) dryRun() bool { return p != nil && p.in.DryRun() }

// options gives the server what it takes over.
func (p *succession) options(o *sio.Options) {
	if p != nil {
		o.Inherit = p.in
	}
}

// inherited are the sockets that the other process listens on.
func (p *succession) inherited() *listen.Inherited {
	if p == nil {
		return nil
	}
	return p.from
}

// internal returns the other's listener for operators and backends, once, if it is at
// this address; nil otherwise.
func (p *succession) internal(addr string) *os.File {
	if p == nil || !p.from.Internal(addr) {
		return nil
	}
	return p.in.File(internalFile)
}

// await waits until everything is here.
func (p *succession) await() {
	if p != nil {
		<-p.taken
	}
}

// took is told that everything is here.
func (p *succession) took() {
	if p != nil {
		p.here.Do(func() { close(p.taken) })
	}
}

// welcome returns what waits for processes that take over, nil if the settings want none:
// that of the process before, if it is at the same path.
func (p *succession) welcome(l *config.Loaded) (*handover.Listener, error) {
	path := l.Handover.Socket
	if path == "" {
		return nil, nil
	}
	var ln *handover.Listener
	var err error
	if f := p.file(handover.FileName); f != nil && p.from.Handover() == path {
		defer f.Close()
		ln, err = handover.FileListener(f)
	} else {
		ln, err = handover.Listen(path)
	}
	if err != nil {
		return nil, l.Place(&config.Fault{Key: "handover.socket", Err: err})
	}
	return ln, nil
}

// file returns one that the other has given, once.
func (p *succession) file(name string) *os.File {
	if p == nil {
		return nil
	}
	return p.in.File(name)
}

// tidy removes what was left by the process before and is not used any more, and says
// where nobody listens now.
func (p *succession) tidy(l *config.Loaded, log *slog.Logger) {
	if p == nil {
		return
	}
	at, paths := p.from.Left()
	if len(at) > 0 {
		log.Warn("addresses of the process before are not listened to any more: the settings do not name them", "addresses", strings.Join(at, ","))
	}
	if path := p.from.Handover(); path != l.Handover.Socket {
		paths = append(paths, path)
	}
	for _, path := range paths {
		if st, err := os.Lstat(path); err == nil && st.Mode().Type() == fs.ModeSocket {
			_ = os.Remove(path)
		}
	}
}
