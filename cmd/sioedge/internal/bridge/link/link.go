// Package link is the edge's end of links to processes of an application: sessions that go
// on over connections that end, with each batch of messages handled once and in order.
//
//	process                                   edge
//	GET /bridge, subprotocol        →
//	                                ←         101
//	[0, hello]                      →         New, unless it resumes
//	                                ←         [0, welcome]
//	[ack, message, …]               ↔         [ack, message, …]       Message, Put
//	           (the connection ends; both keep what was not acked)
//	[0, hello with resume]          →
//	                                ←         [0, welcome with received]
//	what was not received, and on   ↔         what was not received, and on
package link

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/bridge/wire"
	"github.com/sioedge/sioedge/loop/notice"
)

// Options of links. A connection goes by those there are when it begins.
type Options struct {
	// Window bounds the bytes of batches under way in each direction; to the process, the
	// smaller one of this and its own. Zero means 4 MiB.
	Window int
	// MaxMessage bounds a batch of a process, in bytes. Who calls Put sees to it that none
	// of its messages is longer. Zero means 16 MiB.
	MaxMessage int
	// Queue bounds the bytes that wait behind the window. Zero means Window.
	Queue int
	// Timeout is how long nothing may come, a hello be missing, or 256 KiB of a message take
	// to come or to be written. Zero means 15 s.
	Timeout time.Duration
	// Grace is how long a session waits for its process to come back. Zero means 5 s.
	Grace time.Duration
	// Welcome has what is said to a process beside what the link knows. Any goroutine may
	// call it. Nil: nothing.
	Welcome func() wire.Welcome
	// Logger is told of what processes do wrong. Nil: slog.Default.
	Logger *slog.Logger
}

func (o Options) withDefaults() Options {
	def := func(v *int, to int) {
		if *v == 0 {
			*v = to
		}
	}
	def(&o.Window, 4<<20)
	def(&o.MaxMessage, 16<<20)
	def(&o.Queue, o.Window)
	if o.Timeout == 0 {
		o.Timeout = 15 * time.Second
	}
	if o.Grace == 0 {
		o.Grace = 5 * time.Second
	}
	if o.Welcome == nil {
		o.Welcome = func() wire.Welcome { return wire.Welcome{} }
	}
	return o
}

// A Handler has the application's messages. All but Room is called in turn for one
// session.
type Handler interface {
	// New begins a session; what is Put then follows the welcome. An error ends it, without
	// Ended: the process is told of a *Refusal, and of other errors as of the protocol's.
	New(s *Session, hello *wire.Hello) error
	// Message handles one message of the process. Views are valid until it returns. An error
	// ends the session, but for ErrHeld.
	Message(s *Session, m *wire.Message) error
	// Worked is told of the items that the process has worked off, in order, behind the
	// messages of the batch that said so. The list is valid until it returns.
	Worked(s *Session, items []any)
	// Room is called once there is room again behind a Put that was false: at most half of
	// Queue waits. Any goroutine.
	Room(s *Session)
	// Ended says that the session is over. Unworked are the items of Put that the process
	// has not worked off, in order.
	Ended(s *Session, why string, unworked []any)
}

// A Refusal says why a session does not begin, or ends: a code of protocol.md.
type Refusal struct{ Code, Text string }

func (r *Refusal) Error() string { return r.Code + ": " + r.Text }

// Why sessions end, beside codes of protocol.md, which an error may follow.
const (
	Left   = "the process has left"       // it closed the link with 1000
	Absent = "the process did not return" // within Grace
)

// Sessions are those of one bridge. Any goroutine may use them.
type Sessions struct {
	// Immutable after NewSessions.
	notice *notice.Log

	options atomic.Pointer[Options]
	tally   tally
	hold    hold

	// Guarded by mu.
	mu  sync.Mutex
	all map[string]*Session
}

// NewSessions returns none yet.
func NewSessions(o Options) *Sessions {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	x := &Sessions{notice: notice.New(o.Logger, 0), all: map[string]*Session{}}
	x.Reload(o)
	return x
}

// Reload has connections that begin from now on go by other options, but for Logger.
func (x *Sessions) Reload(o Options) {
	o = o.withDefaults()
	x.options.Store(&o)
}

// find returns the session that a process resumes, or nil.
func (x *Sessions) find(h *wire.Hello) *Session {
	x.mu.Lock()
	defer x.mu.Unlock()
	if s := x.all[h.Resume]; s != nil && s.hello.UID == h.UID {
		return s
	}
	return nil
}

func (x *Sessions) add(s *Session) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.all[s.id] = s
}

func (x *Sessions) remove(s *Session) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.all, s.id)
}

// A tally counts what all sessions did.
type tally struct {
	sessions, resumed, unknown, replaced, cut, hung  atomic.Int64
	refused, broken                                  atomic.Int64
	batchesIn, batchesOut, bytesIn, bytesOut, resent atomic.Int64
}

// Totals are what all sessions together did since NewSessions.
type Totals struct {
	Sessions int64 // begun
	Resumed  int64 // connections that went on with a session
	Unknown  int64 // connections that wanted to, and the session was over
	Replaced int64 // connections that gave way to another one of their session
	Cut      int64 // connections that ended, but not by either side's word
	Hung     int64 // of these, on which nothing came, or could be written, in Timeout
	Refused  int64 // requests that were no handshake, or had no proper hello
	Broken   int64 // sessions that ended since their process broke the protocol

	BatchesIn, BatchesOut int64 // with messages
	BytesIn, BytesOut     int64 // of batches
	Resent                int64 // batches, of BatchesOut
}

// Totals returns them.
func (x *Sessions) Totals() Totals {
	t := &x.tally
	return Totals{
		Sessions: t.sessions.Load(), Resumed: t.resumed.Load(), Unknown: t.unknown.Load(), Replaced: t.replaced.Load(), Cut: t.cut.Load(), Hung: t.hung.Load(),
		Refused: t.refused.Load(), Broken: t.broken.Load(),
		BatchesIn: t.batchesIn.Load(), BatchesOut: t.batchesOut.Load(), BytesIn: t.bytesIn.Load(), BytesOut: t.bytesOut.Load(), Resent: t.resent.Load(),
	}
}
