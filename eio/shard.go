package eio

import (
	"net/netip"
	"sync/atomic"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/handle"
	"github.com/sioedge/sioedge/loop/histogram"
	"github.com/sioedge/sioedge/loop/http1"
	"github.com/sioedge/sioedge/wsframe"
)

// session is what every session needs, without pointers. It is owned by the
// loop of its shard.
type session struct {
	conn  handle.Key // loop.Conn.Key of the WebSocket; zero while polling
	user  uint32
	ext   uint32 // index into shard.exts; 0: none
	flags flags

	pinged, proved uint16 // when the last ping was sent, and the last that was answered: see second
	opened         int32  // when it was, in s on the loop's clock; negative: before that began
}

type flags uint32

const (
	inUse         flags = 1 << iota
	overWS              // the transport is a WebSocket
	awaitPong           // a ping is out
	renewed             // the wait for the pong was started anew
	closing             // closed for the handler; waits for a poll that tells the client
	noBinary            // over a WebSocket whose client takes only text
	inflates            // its client may send compressed messages
	deflates            // its client takes compressed messages
	revision3           // its client speaks Engine.IO 3
	handlerPaused       // PauseRead was called
	choked              // its account has it wait
	busy                // it has more to be handled in a later step
	budgeted            // has an account in shard.accounts
	swamped             // it does not come for what waits for its polls
	delayed             // by PauseReadFor: in shard.delays
	awaitPoll           // was opened over polling, and its client has not come back yet
	proxied             // its client has another address than the connection: in shard.clients
	secured             // it was opened by an encrypted connection
	// and no more than clockShift of them
)

const (
	paused = handlerPaused | choked | swamped | delayed // nothing is read before somebody has done something
	halted = paused | busy                              // nothing is read now
)

func (f flags) has(g flags) bool { return f&g != 0 }

func (s *session) is(f flags) bool { return s.flags.has(f) }
func (s *session) set(f flags)     { s.flags |= f }
func (s *session) unset(f flags)   { s.flags &^= f }

// ext is what some sessions need: those that poll, upgrade, or are in the
// middle of a message.
type ext struct {
	reader wsframe.Reader // a message in pieces

	get      loop.Conn      // the poll that waits, or the zero Conn
	unacked  loop.Conn      // the connection of a body whose acknowledgement is kept back
	post     loop.Conn      // the connection on which a body is being received
	last     loop.Conn      // the connection of the latest request, for its address
	guest    guest          // has joined nothing
	queue    []queued       // waiting for a poll or for the upgrade to finish
	together int            // packets at its front that the next answer has, however many
	queued   int            // bytes that it holds
	counted  backlog        // of the queue, in the tally of the shard
	classed                 // of the queue, what may be dropped
	asked    int64          // when the client last asked for more, while swamped, in ms on the loop's clock
	gave     loop.Conn      // what was last queued was given to it, and the client has not come back since
	via      loop.Conn      // another server's, on which the last answer to a poll was given
	answered uint64         // pollOf that poll
	rest     *remainder     // of a body that is being handled; nil: none
	charged  int            // bytes that reader holds, and those that it has not been given yet
	callback string         // the function that polls' answers are given to: JSONP; "" if they are not
	probing  loop.Conn      // the WebSocket of an upgrade in progress
	prober   netip.AddrPort // its client, if not its peer
	upgrade  flags          // what the session is to have of noBinary, inflates and deflates then
	moving   bool           // an answer was on its way when that was last looked at, while swamped
	relayed  bool           // gave is another server's
	flush    bool           // is on shard.pollers
	overflow bool           // the queue overflowed; to be closed
	timer    loop.Timer     // the end of the probe, or of the wait for a poll while closing
	slow     loop.Timer     // the end of a client that does not ask for what waits
	release  loop.Timer     // answers polls with noop while probing
}

// A shard is the server's part of one loop, which owns all of it.
type shard struct {
	srv  *Server
	loop *loop.Loop

	sessions handle.Table[session] // marked: closed for the handler
	open     int
	stopping bool   // within CloseAll
	exts     []*ext // [0] is unused
	freeExts []uint32
	https    []*httpConn // [0] is unused
	freeHTTP []uint32

	requests  []*http1.Request // for heads that are being looked at; as many as calls of Data were in each other
	deadlines wheel
	turn      loop.Timer
	pollers   []uint32 // slots of sessions with something for a waiting poll
	tunnels   map[loop.Conn]*tunnel
	reader    wsframe.Reader
	tally     Stats // but for what LoopStats adds
	largest   histogram.Peak
	heldBytes atomic.Int64  // bytes that all accounts hold; released from any goroutine
	exchanges [states]int64 // by state

	accounts map[uint32]*account   // by slot
	delays   map[uint32]*delay     // by slot: sessions that are not read from for a while
	clients  map[uint32]packedAddr // by slot: addresses that are not the peer's
	sweeper  loop.Timer

	acceptance acceptance
	peers      map[handle.Key]peer   // connections that are counted for an address; nil: none
	owners     map[uint32]packedAddr // by slot: sessions that are; nil: none
	reserved   netip.Addr            // that the session is counted for which is about to be opened

	waiting []Session    // with more to be handled
	given   given        // to another process, which does not have it yet
	orphans []handle.Key // connections that were imported and wait for their session, or did

	scratch []byte // responses and payloads, valid until the next use
	zip     zipper

	// Method values, made once: making one allocates.
	onTick     func()
	onDeadline func(slot uint32, late int64)
}

func newShard(s *Server, l *loop.Loop) *shard {
	sh := &shard{
		srv: s, loop: l,
		exts: make([]*ext, 1), https: make([]*httpConn, 1), tunnels: map[loop.Conn]*tunnel{},
		deadlines: wheel{tick: heartbeatTick(s.o.PingInterval, s.o.PingTimeout)},
		reader:    s.newReader(), accounts: map[uint32]*account{}, delays: map[uint32]*delay{},
	}
	sh.zip.init(s.deflate)
	sh.onTick, sh.onDeadline = sh.tick, sh.deadlinePassed
	l.OnTurn(sh.flushPollers)
	l.OnWork(sh.goOn)
	return sh
}

// newSession opens a session with the flags that the request gave; its transport
// is the caller's business. It is false if the loop has no slot left for one.
func (sh *shard) newSession(f flags) (slot uint32, ok bool) {
	if slot, ok = sh.sessions.Alloc(); !ok {
		return 0, false
	}
	sh.srv.sessions.Add(1)
	*sh.sessions.At(slot) = session{flags: inUse | f, opened: int32(sh.loop.Now() / 1000)}
	sh.owns(slot, sh.reserved)
	sh.reserved = netip.Addr{}
	sh.open++
	*sh.tally.Opened.of(f)++
	*sh.tally.Open.of(f)++
	sh.startHeartbeat(slot)
	return slot, true
}

// ref names a session across loops.
func (sh *shard) ref(slot uint32) uint64 { return sh.handle(slot).Ref() }

func (sh *shard) handle(slot uint32) Session {
	return Session{sh, slot, sh.sessions.Gen(slot)}
}

// lookup returns the slot of a session of this shard, 0 if it is gone.
func (sh *shard) lookup(ref uint64) uint32 {
	if r := handle.Ref(ref); sh.sessions.Find(r.Slot(), r.Gen()) != nil {
		return r.Slot()
	}
	return 0
}

// ext returns the session's extension, made if needed.
func (sh *shard) ext(slot uint32) *ext {
	s := sh.sessions.At(slot)
	if s.ext == 0 {
		e := &ext{reader: sh.srv.newReader()}
		if n := len(sh.freeExts); n > 0 {
			s.ext, sh.freeExts = sh.freeExts[n-1], sh.freeExts[:n-1]
			sh.exts[s.ext] = e
		} else {
			s.ext = uint32(len(sh.exts))
			sh.exts = append(sh.exts, e)
		}
	}
	return sh.exts[s.ext]
}

// peekExt returns the extension or nil.
func (sh *shard) peekExt(slot uint32) *ext { return sh.exts[sh.sessions.At(slot).ext] }

// dropExt frees the extension.
func (sh *shard) dropExt(slot uint32) {
	s := sh.sessions.At(slot)
	if s.ext == 0 {
		return
	}
	e := sh.exts[s.ext]
	if a := sh.peekAccount(slot); a != nil {
		a.Release(e.charged)
	}
	sh.loop.Cancel(&e.timer)
	sh.loop.Cancel(&e.release)
	sh.loop.Cancel(&e.slow)
	sh.removeGuest(&e.guest)
	e.clearQueue()
	sh.countQueue(e)
	sh.setProbing(e, loop.Conn{})
	sh.exts[s.ext] = nil
	sh.freeExts = append(sh.freeExts, s.ext)
	s.ext = 0
}

// free ends what is left of a session.
func (sh *shard) free(slot uint32) {
	if e := sh.peekExt(slot); e != nil && e.probing.Valid() {
		sh.hangUp(e.probing)
	}
	sh.deadlines.clear(slot)
	sh.dropExt(slot)
	sh.endAccount(slot)
	sh.forgetDelay(slot)
	sh.disown(slot)
	sh.keepClient(slot, netip.AddrPort{})
	if sh.sessions.At(slot).is(swamped) {
		sh.tally.Swamped--
	}
	*sh.sessions.At(slot) = session{}
	sh.sessions.Free(slot)
	sh.srv.sessions.Add(-1)
}
