package eio

import (
	"context"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/http1"
	"github.com/sioedge/sioedge/wsframe"
)

// A mob is a number of clients that do legal and illegal things in any order,
// each chosen by the next byte of script, to a server whose handler does so
// too. What must hold whatever they do is checked on the way and at the end.
type mob struct {
	t        *testing.T
	script   []byte
	revision string // that its clients speak
	srv      *Server
	sim      *loop.Sim

	clients  []*client
	ids      []string // of all sessions there ever were
	sessions map[uint64]*seen
	polled   map[uint64]bool
	open     []Session
	turn     int // of the handler: it does not call itself without end
	upgrades int
}

type client struct {
	peer *loop.Peer
	rest []byte // to be sent later: the second half of something
}

// seen is what the handler was told about a session.
type seen struct{ opened, closed int }

// next chooses one of n; it is 0 when the script has ended.
func (m *mob) next(n int) int {
	if len(m.script) == 0 {
		return 0
	}
	b := m.script[0]
	m.script = m.script[1:]
	return int(b) % n
}

func pick[T any](m *mob, from ...T) T { return from[m.next(len(from))] }

func (m *mob) Open(s Session, _ *http1.Request) {
	m.ids = append(m.ids, s.ID())
	if m.sessions[s.Ref()] != nil {
		m.t.Errorf("%v opens again", s)
	}
	m.sessions[s.Ref()] = &seen{opened: 1}
	m.polled[s.Ref()] = s.Transport() == "polling"
	m.open = append(m.open, s)
	s.SetUser(uint32(len(m.ids)))
	m.react(s)
}

func (m *mob) Message(s Session, _ []byte, _ bool) {
	if !s.Valid() || s.User() == 0 {
		m.t.Errorf("message of %v, which is gone", s)
	}
	m.check(s)
	m.react(s)
}

func (m *mob) Close(s Session, _ Reason) {
	m.check(s)
	m.sessions[s.Ref()].closed++
	if m.polled[s.Ref()] && s.Transport() == "websocket" {
		m.upgrades++
	}
	if s.User() == 0 || s.Valid() {
		m.t.Errorf("%v is being closed: User() = %d, Valid() = %t", s, s.User(), s.Valid())
	}
	for i := range m.open {
		if m.open[i] == s {
			m.open = append(m.open[:i], m.open[i+1:]...)
			break
		}
	}
	m.react(s)
}

func (m *mob) check(s Session) {
	if r := m.sessions[s.Ref()]; r == nil || r.closed != 0 {
		m.t.Errorf("%v: handler called before Open or after Close", s)
	}
}

// react does something to a session, of the same loop.
func (m *mob) react(s Session) {
	if m.turn > 3 {
		return
	}
	m.turn++
	defer func() { m.turn-- }()
	for range 4 { // somebody else on the same loop, perhaps
		if n := len(m.open); n > 0 && m.next(4) == 1 {
			if other := m.open[m.next(n)]; other.Loop() == s.Loop() {
				s = other
			}
		}
	}
	switch m.next(15) {
	case 12:
		s.SetJoined(m.next(2) == 1)
	case 13:
		s.Together()
	case 14:
		s.Cut()
	case 1, 2, 3:
		s.Send(AppendText(nil, []byte("echo")))
	case 4:
		s.Send(AppendBinary(AppendText(nil, []byte("with")), []byte{1, 2, 3}))
	case 5:
		s.SendPrepared(Prepare([]byte("now"), m.next(2) == 1), true)
	case 6:
		s.SendPrepared(Prepare([]byte("later"), m.next(2) == 1), false)
	case 7:
		s.Send(AppendText(nil, make([]byte, 40*m.next(12))))
	case 8:
		s.Close()
	case 9:
		s.PauseRead()
	case 10:
		s.ResumeRead()
	case 11:
		if s.Writable() {
			s.Send(AppendText(nil, []byte("volatile")))
		}
	}
	_, _, _ = s.Transport(), s.RemoteAddr(), s.ID()
}

func postOctets(query, body string) []byte {
	return []byte("POST /engine.io/?" + query + " HTTP/1.1\r\nHost: h\r\nContent-Type: application/octet-stream\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body)
}

// client returns a client, old or new.
func (m *mob) client() *client {
	if n := len(m.clients); n > 0 && m.next(4) != 1 {
		return m.clients[m.next(n)]
	}
	c := &client{peer: m.sim.Connect(m.next(2))}
	m.clients = append(m.clients, c)
	return c
}

func (m *mob) sid() string {
	if n := len(m.open); n > 0 && m.next(4) != 1 {
		return m.open[m.next(n)].ID()
	}
	if n := len(m.ids); n > 0 && m.next(8) != 1 {
		return m.ids[n-1-m.next(min(n, 6))]
	}
	return pick(m, "", "x", "AAAAAAAAAAAAAAAAAAAA")
}

func (m *mob) query(transport string) string {
	return "EIO=" + pick(m, m.revision, m.revision, m.revision, m.revision, m.revision, "4", "3") + "&transport=" + pick(m, transport, transport, transport, transport, "polling", "websocket", "x") +
		pick(m, "", "", "", "&b64=1") + "&sid=" + m.sid()
}

// fresh is the query that opens a session.
func (m *mob) fresh(transport string) string {
	return "EIO=" + m.revision + "&transport=" + transport + pick(m, "", "", "", "", "&b64=1", "&j=1")
}

// body is one for a POST, with packets of the revision.
func (m *mob) body() string {
	large := "4" + string(make([]byte, 300))
	if m.revision == "4" {
		return pick(m, "4x", "4x\x1e4y", "bAQID", "3", "1", "2", "4a\x1e1\x1e4b", "", "x", large, "d=4x")
	}
	return pick(m, "2:4x", "2:4x2:4y", "6:b4AQID", "1:2", "1:2", "1:1", "1:3", "2:4a1:12:4b", "", "x", "301:"+large, "d=2:4x", "0:", "\x01\x02\xff\x04x")
}

func (m *mob) wsRequest(query string) []byte {
	return pick(m, wsRequest, deflateRequest, windowRequest)(query)
}

// act does what the next bytes of the script say.
func (m *mob) act() {
	switch m.next(18) {
	case 16: // as a client should do it, but not alone in the world
		w := &client{peer: m.sim.Connect(m.next(2))}
		m.clients = append(m.clients, w)
		m.send(w, m.wsRequest("EIO="+m.revision+"&transport=websocket&sid="+m.sid()))
		for _, packet := range []string{"2probe", "5", "4first"} {
			if m.next(3) == 1 {
				m.act()
			}
			m.send(w, textFrame(packet))
		}
	case 17:
		for range m.next(6) {
			m.send(m.client(), textFrame(map[string]string{"4": "3", "3": "2"}[m.revision])) // what keeps a session
		}
	case 0, 1:
		m.send(m.client(), getRequest(m.fresh("polling")))
	case 2:
		m.send(m.client(), m.wsRequest(m.fresh("websocket")))
	case 3, 4:
		m.send(m.client(), pick(m, getRequest, gzipRequest)(m.query("polling")))
	case 5, 6:
		m.send(m.client(), pick(m, postRequest, postRequest, postRequest, postOctets)(m.query("polling"), m.body()))
	case 7, 8:
		m.send(m.client(), m.wsRequest(m.query("websocket")))
	case 9, 10, 11:
		m.send(m.client(), textFrame(pick(m, "4x", "4y", "2probe", "5", "3", "1", "2", "", "x", "bAQID", "b*", "0", "6", "4"+string(make([]byte, 300)))))
	case 12:
		m.send(m.client(), m.frame())
	case 13:
		c := m.client()
		switch m.next(6) {
		case 0:
			c.peer.Close()
		case 1:
			c.peer.CloseWrite()
		case 2:
			c.peer.Stall(true)
		case 3:
			c.peer.Stall(false)
		case 4:
			c.peer.Limit(1 + m.next(50))
		case 5:
			m.send(c, []byte(pick(m, "\r\n", "GET / HTTP/1.0\r\n\r\n", "HEAD /engine.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: h\r\n\r\n",
				"POST /engine.io/?"+m.query("polling")+" HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n4x\r\n", "0\r\n\r\n", "\xff")))
		}
	case 14:
		m.sim.Advance(time.Duration(pick(m, 0, 1, 1, 5, 10, 10, 20, 50, 100, 199, 200, 301, 1000)) * time.Millisecond)
	case 15:
		if n := len(m.open); n > 0 {
			s := m.open[m.next(n)]
			s.Loop().Post(loop.TaskFunc(func(*loop.Loop) { m.react(s) }))
		}
		if m.next(32) == 1 {
			l := m.sim.Engine().Loops()[m.next(2)]
			l.Post(loop.TaskFunc(func(l *loop.Loop) { m.srv.CloseAll(l) }))
		}
		m.sim.Turn()
	}
}

func (m *mob) frame() []byte {
	op := pick(m, wsframe.Binary, wsframe.Ping, wsframe.Pong, wsframe.Close, wsframe.Continuation, wsframe.Text)
	data := []byte(pick(m, "", "4x", "\x03\xe8", "\x03\xed", "\xff"))
	b := wsframe.AppendMaskedFrame(nil, op, data, testKey)
	switch m.next(9) {
	case 4:
		b = compressedFrame(op, pick(m, data, make([]byte, 100), make([]byte, 10_000)))
	case 1:
		b[0] &^= 0x80 // not the last piece
	case 2:
		b[0] |= 0x40 // compressed
	case 3:
		b = wsframe.AppendFrame(nil, op, data) // not masked
	}
	return b
}

// isAwaited tells whether there is something that ends the state of an exchange.
func (sh *shard) isAwaited(h *httpConn) bool {
	if h.state != statePoll && h.state != stateUnacked {
		return h.timer.Armed()
	}
	slot := sh.lookup(h.session)
	if slot == 0 {
		return false
	}
	e, paused := sh.peekExt(slot), sh.sessions.At(slot).is(halted)
	return e != nil && (h.state == statePoll && e.get == h.conn || h.state == stateUnacked && e.unacked == h.conn && paused)
}

// audit checks what is counted against what there is.
func (m *mob) audit() {
	for _, sh := range m.srv.shards {
		is, exchanges := Stats{}, [states]int64{}
		for _, h := range sh.https {
			if h != nil {
				exchanges[h.state]++
				is.BodyBytes += int64(h.kept)
				if h.kept > 0 && !h.state.receives() {
					m.t.Errorf("%d bytes of a body are counted in state %d", h.kept, h.state)
				}
				if !sh.isAwaited(h) {
					m.t.Errorf("nobody leaves state %d", h.state)
				}
			}
		}
		for _, e := range sh.exts {
			if e != nil {
				is.Queued += int64(e.queued)
				is.Entries += int64(len(e.queue))
				if e.probing != (loop.Conn{}) {
					is.Probing++
				}
			}
		}
		proxies := 0
		for slot := uint32(1); slot <= sh.sessions.Max(); slot++ {
			x := sh.sessions.At(slot)
			if x.is(inUse) && !x.is(closing) {
				*is.Open.of(x.flags)++
			}
			if _, has := sh.clients[slot]; has != x.is(proxied) {
				m.t.Errorf("slot %d: an address is kept: %t, want %t", slot, has, x.is(proxied))
			}
			if x.is(proxied) {
				proxies++
			}
			if st, err := sh.handle(slot).Snapshot(); err == nil && !st.agrees() {
				m.t.Errorf("the state of a session cannot be: %+v", st)
			}
		}
		was := Stats{BodyBytes: sh.tally.BodyBytes, Queued: sh.tally.Queued, Entries: sh.tally.Entries, Probing: sh.tally.Probing, Open: sh.tally.Open}
		if is != was || exchanges != sh.exchanges || proxies != len(sh.clients) {
			m.t.Errorf("there is %+v, exchanges %v and %d addresses; counted are %+v, %v and %d", is, exchanges, proxies, was, sh.exchanges, len(sh.clients))
		}
	}
}

// stop ends the server in steps, among whatever else happens.
func (m *mob) stop() {
	m.srv.Drain()
	for _, sh := range m.srv.shards {
		for at, first := uint32(0), true; at != 0 || first; first = false {
			sh.loop.Post(loop.TaskFunc(func(l *loop.Loop) { at = m.srv.CloseSome(l, at) }))
			m.sim.Turn()
			m.act()
			m.audit()
		}
	}
	if err := m.sim.Engine().Shutdown(context.Background()); err != nil {
		m.t.Errorf("Shutdown() = %v", err)
	}
}

// send sends b, in one piece, or its first half now, before whatever is next.
func (m *mob) send(c *client, b []byte) {
	if len(c.rest) == 0 && m.next(4) == 1 {
		b = from(b, pick(m, "203.0.113.1:1", "203.0.113.2", "nonsense", "2001:db8::1"))
	}
	b = append(c.rest, b...)
	c.rest = nil
	if m.next(5) == 1 {
		half := len(b) * m.next(8) / 8
		b, c.rest = b[:half:half], b[half:]
	}
	c.peer.Send(b)
	c.peer.Received()
}

// playMob runs a script and checks what is left when everybody has gone.
func playMob(t *testing.T, script []byte, revision string) *mob {
	m := &mob{t: t, script: script, revision: revision, sessions: map[uint64]*seen{}, polled: map[uint64]bool{}}
	m.srv, m.sim = newSim(t, m, Options{AllowEIO3: revision == "3",
		PingInterval: 300 * time.Millisecond, PingTimeout: 200 * time.Millisecond, UpgradeTimeout: 400 * time.Millisecond,
		CloseTimeout: 600 * time.Millisecond, MaxPayload: 200, MaxQueue: 300, MaxFragments: 4,
		Compression: &Compression{Threshold: 50, MaxInflated: 5000}, HTTPCompression: &HTTPCompression{Threshold: 50},
		Via:         forwardedFor,
		HeadTimeout: 150 * time.Millisecond, BodyTimeout: 350 * time.Millisecond, IdleTimeout: 450 * time.Millisecond,
	}, loop.Options{Loops: 2, MaxOutbound: 2000, ReadBuffer: 512})
	for len(m.script) > 20 && !t.Failed() {
		m.act()
		m.audit()
	}
	if m.next(2) == 1 {
		m.stop()
	}
	for _, c := range m.clients {
		c.peer.Close()
		c.peer.Stall(false)
	}
	m.sim.Advance(time.Minute)
	for ref, r := range m.sessions {
		if r.opened != 1 || r.closed != 1 {
			t.Errorf("session %x was opened %d times and closed %d times, want once each", ref, r.opened, r.closed)
		}
	}
	checkEmpty(t, m.srv, m.sim.Engine())
	return m
}

func TestRandomClients(t *testing.T) {
	sessions, upgrades := 0, 0
	rounds := 300
	if testing.Short() || raceEnabled {
		rounds = 60
	}
	for seed := range rounds {
		rnd := rand.New(rand.NewPCG(uint64(seed), 7))
		script := make([]byte, 3000)
		for i := range script {
			script[i] = byte(rnd.IntN(256))
		}
		m := playMob(t, script, []string{"4", "4", "3"}[seed%3])
		sessions += len(m.sessions)
		upgrades += m.upgrades
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	if sessions < 10*rounds || upgrades < rounds {
		t.Errorf("%d sessions and %d upgrades in %d rounds: too few to mean something", sessions, upgrades, rounds)
	}
	t.Logf("%d sessions, %d upgrades", sessions, upgrades)
}

func FuzzClients(f *testing.F) {
	for seed := range uint64(8) {
		rnd := rand.New(rand.NewPCG(seed, 8))
		script := make([]byte, 300)
		for i := range script {
			script[i] = byte(rnd.IntN(256))
		}
		f.Add(script)
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) < 4000 {
			playMob(t, script, "4")
			playMob(t, script, "3")
		}
	})
}
