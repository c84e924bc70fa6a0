package journal

import (
	"context"
	"hash/fnv"
	"log/slog"
	"math"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/sioedge/sioedge/loop/notice"
	"github.com/sioedge/sioedge/sio"
)

// waiting bounds the lines that wait to be written: loops do not wait for the log.
const waiting = 1024

// A Journal has what happens to a part of the connections in the log: each namespace that
// is entered and left, and the upgrade. Which connections these are is chosen by their
// names, so that of one connection all is there, or nothing. Texts of clients are cut to
// 256 bytes. While there is no such part nothing is looked at.
type Journal struct {
	srv    *sio.Server
	log    *slog.Logger
	notice *notice.Log
	lines  chan line
	lost   atomic.Int64
	below  atomic.Uint64 // hashes that are chosen; 0: none
	ends   chan struct{} // closed by Close
	done   chan struct{} // closed when nothing is written any more

	mu     sync.Mutex // of Apply and Close
	stop   func()     // ends the observing; nil: there is none
	closed bool
}

// A line is one that waits.
type line struct {
	text  string
	attrs []slog.Attr
}

// New returns a Journal of a server, which writes nothing before Apply.
func New(srv *sio.Server, log *slog.Logger) *Journal { return newJournal(srv, log, waiting) }

func newJournal(srv *sio.Server, log *slog.Logger, waiting int) *Journal {
	j := &Journal{srv: srv, log: log, notice: notice.New(log, 0), lines: make(chan line, waiting), ends: make(chan struct{}), done: make(chan struct{})}
	// ends with Close
	go func() {
		defer close(j.done)
		for {
			select {
			case l := <-j.lines:
				j.write(l)
				continue
			default:
			}
			select {
			case l := <-j.lines:
				j.write(l)
			case <-j.ends:
				return
			}
		}
	}()
	return j
}

func (j *Journal) write(l line) {
	j.log.LogAttrs(context.Background(), slog.LevelInfo, l.text, l.attrs...)
	if n := j.lost.Swap(0); n > 0 {
		j.notice.Warn("lines about connections are not in the log, as it is too slow for them (log.conn_sample)", "lines", n)
	}
}

// Apply has a part of the connections in the log, from 0 to 1, from now on.
func (j *Journal) Apply(share float64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return
	}
	j.below.Store(below(share))
	switch {
	case share <= 0 && j.stop != nil:
		j.stop()
		j.stop = nil
	case share > 0 && j.stop == nil:
		j.stop = j.srv.Observe(j.see)
	}
}

// On tells whether connections are in the log.
func (j *Journal) On() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.stop != nil
}

// Close ends it, when what waits has been written.
func (j *Journal) Close() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return
	}
	j.closed = true
	if j.stop != nil {
		j.stop()
	}
	close(j.ends)
	<-j.done
}

// below returns up to which hash connections are chosen.
func below(share float64) uint64 {
	if share >= 1 {
		return math.MaxUint64
	}
	return uint64(max(share, 0) * (1 << 64))
}

// chosen tells whether a connection is, by its name.
func (j *Journal) chosen(conn string) bool {
	h := fnv.New64a()
	_, _ = h.Write([]byte(conn)) // cannot fail
	// FNV's upper bits hardly differ for short names.
	x := h.Sum64()
	x = (x ^ x>>32) * 0xd6e8feb86659fd93
	x ^= x >> 32
	return x <= j.below.Load()
}

// see is called on the sockets' loops.
func (j *Journal) see(x *sio.Observation) {
	var l line
	switch x.Kind {
	case sio.ObservedConnect:
		l.text = "connection: a namespace is entered"
	case sio.ObservedDisconnect:
		l.text = "connection: a namespace is left"
	case sio.ObservedUpgrade:
		l.text = "connection: upgraded"
	default:
		return
	}
	conn := x.Socket.Conn().String()
	if !j.chosen(conn) {
		return
	}
	l.attrs = append(l.attrs, text("conn", conn), text("sid", x.Socket.ID()), text("namespace", x.Socket.Name()), slog.String("transport", x.Transport()))
	switch x.Kind {
	case sio.ObservedConnect:
		h := x.Handshake()
		l.attrs = append(l.attrs, slog.String("address", h.Address().String()), slog.Bool("recovered", x.Socket.Recovered()))
		if agent := h.Header().Get("User-Agent"); agent != "" {
			l.attrs = append(l.attrs, text("user-agent", agent))
		}
	case sio.ObservedDisconnect:
		l.attrs = append(l.attrs, text("reason", string(x.Reason)), slog.Int("rooms", len(x.Rooms())))
	}
	select {
	case j.lines <- l:
	default:
		j.lost.Add(1)
	}
}

// text is an attribute of what a client has chosen, or may have; it does not stay a view.
func text(name, s string) slog.Attr { return slog.String(name, notice.Cut(strings.Clone(s))) }
