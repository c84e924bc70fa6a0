package eio

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/handle"
	"github.com/sioedge/sioedge/loop/http1"
)

// A cargo is what somebody says that a server was.
type cargo struct {
	Table    []byte
	Conns    []ConnState
	Sessions []SessionState
}

// cargoes are those of servers in all that they can be in.
func cargoes(t testing.TB) (all [][]byte) {
	dialogs := dialogues()
	for name, c := range halves() {
		dialogs[name] = c
	}
	for _, c := range dialogs {
		w := newMovingWorld(t, c.o)
		for _, step := range c.steps {
			step(w)
			w.look()
			var x cargo
			state := func(c loop.Conn) (loop.ConnState, error) { return loop.ConnState{Key: c.Key()}, nil }
			l := w.sim.Engine().Loops()[0]
			_, err := w.srv.shards[0].export(w.srv.shards[0].all(), state, func(st *ConnState) error {
				x.Conns = append(x.Conns, *st)
				return nil
			}, func(_ Session, st *SessionState) error {
				x.Sessions = append(x.Sessions, *st)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			x.Table = w.srv.ExportTable(l)
			all = append(all, packed(t, x))
		}
	}
	return all
}

// unload has a server take what it can of a cargo, and live with it until its clients go.
func (x *cargo) unload(t *testing.T) (n int) {
	t.Helper()
	importing := true
	s, sim := newSeat(t, &hooks{close: func(Session, Reason) {
		if importing {
			t.Error("the handler was called")
		}
	}}, Options{Compression: &Compression{}, AllowEIO3: true, CORS: &CORS{Origins: []string{"*"}}, MaxConnsPerIP: 100, Node: "Node"})
	l, sh := sim.Engine().Loops()[0], s.now.shards[0]
	var peers []*loop.Peer
	for range frozenClients {
		peers = append(peers, sim.Connect(0))
	}
	for c := range sh.all() { // as Attach has them
		sh.forgetPeer(c)
		sh.freeHTTPConn(sh.httpOf(c))
		c.SetTag(0)
	}
	_ = s.now.ImportTable(l, x.Table)
	taken := map[handle.Key]bool{}
	for i := range x.Conns {
		st := &x.Conns[i]
		if c := l.Conn(st.Key); sh.checkConn(st) == nil && c.Valid() && !taken[st.Key] {
			taken[st.Key] = true
			sh.adopt(c, st)
		}
	}
	for i := range x.Sessions {
		before := s.now.sessions.Load()
		es, err := s.now.Import(l, &x.Sessions[i])
		if err == nil {
			n++
			es.SetUser(7)
		} else if s.now.sessions.Load() != before {
			t.Errorf("%v, and there is a session", err)
		}
	}
	importing = false
	for _, b := range [][]byte{nil, []byte("x"), []byte("1\r\n"), textFrame("4x"), []byte("GET /engine.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: h\r\n\r\n")} {
		for _, p := range peers {
			p.Send(b)
		}
		sim.Advance(time.Second)
	}
	for _, p := range peers {
		p.Close()
	}
	sim.Advance(5 * time.Minute)
	if n := sim.Engine().Stats().Panics; n != 0 {
		t.Errorf("%d panics", n)
	}
	for slot := range sh.sessions.Max() { // who is paused, or waits for a far deadline, stays
		if r := sh.sessions.At(slot + 1); r.is(inUse) {
			sh.handle(slot + 1).Cut()
		}
	}
	sim.Advance(5 * time.Minute)
	checkForgotten(t, s.now)
	return n
}

// TestCargoes: what servers were in is taken, whole.
func TestCargoes(t *testing.T) {
	sessions, conns := 0, 0
	for _, b := range cargoes(t) {
		x := unpacked[cargo](t, b)
		if n := x.unload(t); n != len(x.Sessions) {
			t.Errorf("%d sessions of %d are taken", n, len(x.Sessions))
		}
		sessions, conns = sessions+len(x.Sessions), conns+len(x.Conns)
	}
	if sessions < 100 || conns < 300 {
		t.Errorf("there were %d sessions and %d connections", sessions, conns)
	}
}

// TestSpoiledCargoes: no field of a state, whatever is in it, has the server panic or keep
// something when its clients have gone.
func TestSpoiledCargoes(t *testing.T) {
	all := cargoes(t)
	rnd := rand.New(rand.NewPCG(1, 2))
	for round := range 2000 {
		x := unpacked[cargo](t, all[rnd.IntN(len(all))])
		for range 1 + rnd.IntN(3) {
			spoil(rnd, reflect.ValueOf(x).Elem())
		}
		before := fmt.Sprintf("%+v", x)
		if x.unload(t); t.Failed() {
			t.Fatalf("round %d: %.3000s", round, before)
		}
	}
}

// spoil changes something in v.
func spoil(rnd *rand.Rand, v reflect.Value) {
	switch v.Type() {
	case reflect.TypeFor[netip.Addr]():
		v.Set(reflect.ValueOf([]netip.Addr{{}, netip.MustParseAddr("203.0.113.9"), netip.MustParseAddr("fe80::1%eth0")}[rnd.IntN(3)]))
		return
	case reflect.TypeFor[netip.AddrPort]():
		v.Set(reflect.ValueOf([]netip.AddrPort{{}, netip.MustParseAddrPort("203.0.113.9:1"), netip.MustParseAddrPort("[fe80::1%eth0]:2")}[rnd.IntN(3)]))
		return
	}
	numbers := []int64{0, 1, 2, 3, -1, 4, 7, 100, 1 << 20, 1 << 30, 1 << 40, math.MaxInt64, math.MinInt64}
	n := numbers[rnd.IntN(len(numbers))]
	switch v.Kind() {
	case reflect.Struct:
		spoil(rnd, v.Field(rnd.IntN(v.NumField())))
	case reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		} else if rnd.IntN(5) == 0 {
			v.SetZero()
			return
		}
		spoil(rnd, v.Elem())
	case reflect.Slice:
		switch {
		case v.Len() > 0 && rnd.IntN(4) > 0:
			spoil(rnd, v.Index(rnd.IntN(v.Len())))
		case v.Type().Elem().Kind() == reflect.Uint8:
			v.SetBytes(bytes.Repeat([]byte{byte(n)}, rnd.IntN(300)))
		default:
			v.Set(reflect.Append(v, reflect.New(v.Type().Elem()).Elem()))
			spoil(rnd, v.Index(v.Len()-1))
		}
	case reflect.Array:
		spoil(rnd, v.Index(rnd.IntN(v.Len())))
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(n)
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(n))
	case reflect.String:
		v.SetString([]string{"", "gzip", "___eio[1]", "alert(1)"}[rnd.IntN(4)])
	default:
		panic(v.Type().String() + " is not spoiled")
	}
}

// FuzzImport: nothing that is written as a server's state has another one panic.
func FuzzImport(f *testing.F) {
	for _, b := range cargoes(f) {
		f.Add(b)
	}
	mode, err := cbor.DecOptions{DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden, MaxNestedLevels: 16}.DecMode()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var x cargo
		if mode.Unmarshal(b, &x) == nil {
			x.unload(t)
		}
	})
}

// TestImportConnChecks: a state of a connection that cannot be is refused, and its
// descriptor stays whose it was.
func TestImportConnChecks(t *testing.T) {
	field := http1.Field{Name: []byte("A\r\nB"), Value: []byte("x")}
	post := func(p PostState) *HTTPState {
		if p.Session == (handle.Key{}) {
			p.Session = handle.Key{Slot: 1, Gen: 1}
		}
		if p.Body == (http1.BodyState{}) {
			p.Body = http1.BodyState{Part: 1, Left: 5}
		}
		return &HTTPState{Post: &p}
	}
	for name, spoil := range map[string]func(st *ConnState){
		"no name":                     func(st *ConnState) { st.Key = handle.Key{} },
		"a name in the far distance":  func(st *ConnState) { st.Key.Slot = handle.MaxSlot },
		"no descriptor":               func(st *ConnState) { st.FD = -1 },
		"a link":                      func(st *ConnState) { st.Link = []byte{} },
		"nothing to be sent":          func(st *ConnState) { st.Output = [][]byte{{}} },
		"a message that ends nowhere": func(st *ConnState) { st.Begun = 1 },
		"one that ends before":        func(st *ConnState) { st.Begun = -1 },
		"a peer in the future":        func(st *ConnState) { st.Quiet = -1 },
		"a head and a body":           func(st *ConnState) { st.HTTP = post(PostState{}); st.HTTP.Head = true },
		"two bodies": func(st *ConnState) {
			st.HTTP = post(PostState{})
			st.HTTP.Dropping = &http1.BodyState{Part: 1, Left: 5}
		},
		"a head in the future":      func(st *ConnState) { st.HTTP = &HTTPState{Head: true, Since: -1} },
		"a head of last year":       func(st *ConnState) { st.HTTP = &HTTPState{Head: true, Since: 9000 * time.Hour} },
		"a body without end":        func(st *ConnState) { st.HTTP = &HTTPState{Dropping: &http1.BodyState{Part: 1, Left: maxDropped + 1}} },
		"a body that is complete":   func(st *ConnState) { st.HTTP = &HTTPState{Dropping: &http1.BodyState{}} },
		"a post of nobody":          func(st *ConnState) { st.HTTP = post(PostState{}); st.HTTP.Post.Session = handle.Key{} },
		"a post that is complete":   func(st *ConnState) { st.HTTP = post(PostState{Body: http1.BodyState{Part: 1}}) },
		"a post that is too large":  func(st *ConnState) { st.HTTP = post(PostState{Body: http1.BodyState{Part: 1, Left: 1_000_001}}) },
		"a post that was too large": func(st *ConnState) { st.HTTP = post(PostState{Came: make([]byte, 1_000_001)}) },
		"a post that gets too large": func(st *ConnState) {
			st.HTTP = post(PostState{Came: make([]byte, 999_999), Body: http1.BodyState{Part: 1, Left: 2}})
		},
		"more than a part": func(st *ConnState) { st.HTTP = post(PostState{Part: partLen + 1}) },
		"less than a part": func(st *ConnState) { st.HTTP = post(PostState{Part: -1}) },
		"a post with two bodies": func(st *ConnState) {
			st.HTTP = post(PostState{Request: ExchangeState{Unread: &http1.BodyState{Part: 1, Left: 5}}})
		},
		"an unknown coding":    func(st *ConnState) { st.HTTP = post(PostState{Request: ExchangeState{Coding: "rot13"}}) },
		"a field of two lines": func(st *ConnState) { st.HTTP = post(PostState{Request: ExchangeState{Fields: []http1.Field{field}}}) },
		"another of two lines": func(st *ConnState) {
			st.HTTP = post(PostState{Request: ExchangeState{SessionFields: []http1.Field{field}}})
		},
		"too many fields": func(st *ConnState) {
			st.HTTP = post(PostState{Request: ExchangeState{Fields: make([]http1.Field, maxFields+1)}})
		},
	} {
		srv, sim := newSim(t, &hooks{}, Options{}, loop.Options{})
		st := &ConnState{ConnState: loop.ConnState{Key: handle.Key{Slot: 1, Gen: 1}}}
		if spoil(st); srv.ImportConn(sim.Engine().Loops()[0], st) == nil || srv.shards[0].checkConn(st) == nil {
			t.Errorf("%s: ImportConn returned no error", name)
		}
		if sim.Engine().Stats().Open != 0 || len(srv.shards[0].https) > 1 {
			t.Errorf("%s: there is a connection", name)
		}
	}
}

// TestImportTableChecks: a table that cannot be is refused.
func TestImportTableChecks(t *testing.T) {
	for name, b := range map[string][]byte{
		"half a number":          {1, 0x80},
		"a large number":         bytes.Repeat([]byte{0xff}, 12),
		"a generation too old":   {0x80, 0x80, 0x80, 0x10}, // of handle.Table.Export, which has two numbers in one
		"more than there can be": make([]byte, 2*64+1),
	} {
		srv, sim := newSim(t, &hooks{}, Options{MaxSessions: 64}, loop.Options{})
		if srv.ImportTable(sim.Engine().Loops()[0], b) == nil {
			t.Errorf("%s is taken", name)
		}
	}
	srv, sim := newSim(t, &hooks{}, Options{}, loop.Options{})
	sim.Connect(0).Send(wsRequest("EIO=4&transport=websocket"))
	if srv.ImportTable(sim.Engine().Loops()[0], []byte{1}) == nil {
		t.Error("a table is taken where there is a session")
	}
}

// TestPlacesAreNotUsedAgain: ids of sessions that have ended name nobody elsewhere, however
// often their places have been used.
func TestPlacesAreNotUsedAgain(t *testing.T) {
	w := newMovingWorld(t, Options{})
	seen := map[uint64]bool{}
	for range 20 {
		w.connectOne()
		p := w.peers[len(w.peers)-1]
		p.Send(wsRequest("EIO=4&transport=websocket"))
		if r := w.s.Ref(); seen[r] {
			t.Fatalf("session %x comes twice", r)
		}
		seen[w.s.Ref()] = true
		if len(seen)%3 > 0 {
			p.Close()
		}
		w.moveAll()
	}
	w.gone(w.srv)
}

// TestConnectionsWithoutASessionEnd: what is no HTTP, and no session's, is nobody's.
func TestConnectionsWithoutASessionEnd(t *testing.T) {
	w := newMovingWorld(t, Options{})
	w.peers[0].Send(wsRequest("EIO=4&transport=websocket"))
	w.peers[1].Send(wsRequest("EIO=4&transport=websocket"))
	w.look()
	w.out = nil
	l := w.sim.Engine().Loops()[0]
	x := w.seat.leave(t, l)
	x.sessions = x.sessions[1:]
	w.s = w.seat.come(t, w, w.o, l, x)[0]
	w.srv = w.seat.now
	w.sim.Turn()
	w.do(func() { w.send("x") })
	w.expect("0 ends", `1 "81023478"`)
	w.gone(w.srv)
}
