package presence

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

// A stage is a server with presence in /r/:id, for clients whose auth names a user, and
// with a clock.
type stage struct {
	*siotest.Server
	t  *testing.T
	p  *Presence
	ns *sio.Namespace

	mu  sync.Mutex
	now time.Time
	set config.Presence
}

func newStage(t *testing.T, so sio.Options, o Options) *stage {
	st := &stage{Server: siotest.New(t, so), t: t, now: time.Unix(1_700_000_000, 0), set: config.Presence{Enabled: true, Debounce: 5 * time.Second}}
	o.now = func() time.Time { st.mu.Lock(); defer st.mu.Unlock(); return st.now }
	o.Recovery = so.Recovery.Window
	st.p = New(st.Server.Server, userOf, o)
	st.ns = st.Of("/r/:id")
	register(st.ns)
	st.p.Guard(st.ns, st.config)
	return st
}

func loops(n int) (o loop.Options) {
	o.Loops = n
	return o
}

func (st *stage) config() config.Presence {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.set
}

// userOf is the user that a middleware has found in the auth.
func userOf(s sio.Socket) string {
	user, _ := s.Data().(string)
	return user
}

// register lets clients join and leave rooms.
func register(ns *sio.Namespace) {
	ns.Use(func(s sio.Socket) error {
		var auth struct{ User string }
		err := s.Auth(&auth)
		if auth.User != "" {
			s.SetData(auth.User)
		}
		return err
	})
	sio.OnAck(ns, "join", func(s sio.Socket, room string) (bool, error) { s.Join(room); return true, nil })
	sio.OnAck(ns, "leave", func(s sio.Socket, room string) (bool, error) { s.Leave(room); return true, nil })
}

// advance moves both clocks.
func (st *stage) advance(d time.Duration) {
	st.t.Helper()
	for ; d > 0; d -= time.Second {
		st.Advance(min(d, time.Second))
		st.mu.Lock()
		st.now = st.now.Add(min(d, time.Second))
		st.mu.Unlock()
		st.p.step()
		st.Settle()
	}
}

// enter connects a user to an instance, and has it join rooms.
func (st *stage) enter(id, user string, rooms ...string) *siotest.Client {
	st.t.Helper()
	o := siotest.Options{}
	if user != "" {
		o.Auth = map[string]string{"user": user}
	}
	c := st.ConnectWith("/r/"+id, o)
	for _, room := range rooms {
		siotest.Ask[bool](c, "join", room)
	}
	return c
}

// heard takes what a client was told, such as "+u" and "-u".
func heard(c *siotest.Client) (all []string) {
	for _, e := range c.Received() {
		var n note
		if err := e.Decode(&n); err != nil {
			return []string{err.Error()}
		}
		switch e.Name {
		case Join:
			all = append(all, "+"+n.User+"@"+n.Room)
		case Leave:
			all = append(all, "-"+n.User+"@"+n.Room)
		default:
			all = append(all, e.String())
		}
	}
	return all
}

func wantHeard(t *testing.T, c *siotest.Client, want ...string) {
	t.Helper()
	if got := heard(c); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("%v hears %q, want %q", c, got, want)
	}
}

// get asks who is in a room.
func get(c *siotest.Client, room any) string {
	a := c.EmitAck(Get, room)
	return string(a.Await().Raw(0))
}

func TestMembersAreToldOfUsersAndNotOfTabs(t *testing.T) {
	st := newStage(t, sio.Options{}, Options{})
	a := st.enter("1", "anna", "x")
	wantHeard(t, a, "+anna@x")
	b1, b2, b3 := st.enter("1", "ben", "x"), st.enter("1", "ben", "x"), st.enter("1", "ben", "x", "y")
	wantHeard(t, a, "+ben@x")
	st.enter("2", "carl", "x") // another instance
	st.enter("1", "dora", "y")
	wantHeard(t, a)
	wantHeard(t, b1, "+ben@x")
	wantHeard(t, b2)
	wantHeard(t, b3, "+ben@y", "+dora@y")
	b1.Drop()
	b2.Disconnect()
	st.advance(time.Minute)
	wantHeard(t, a)
	siotest.Ask[bool](b3, "leave", "x")
	st.advance(4 * time.Second)
	wantHeard(t, a)
	st.advance(2 * time.Second)
	wantHeard(t, a, "-ben@x")
	if got := get(a, "x"); got != `{"ok":true,"room":"x","count":1,"members":[{"user":"anna","count":1,"nodes":1}]}` {
		t.Errorf("the list is %s", got)
	}
	wantHeard(t, b3)
	if st := st.p.Stats(); st.Joins != 5 || st.Leaves != 1 || st.Strays != 0 || st.Rooms != 3 {
		t.Errorf("Stats = %+v", st)
	}
}

func TestNobodysSocketsCountByTheirIds(t *testing.T) {
	st := newStage(t, sio.Options{}, Options{})
	a := st.enter("1", "", "x")
	b := st.enter("1", "", "x")
	wantHeard(t, a, "+"+a.ID()+"@x", "+"+b.ID()+"@x")
	id := b.ID()
	siotest.Ask[bool](b, "leave", "x") // it may change its mind
	wantHeard(t, a)
	siotest.Ask[bool](b, "join", "x")
	st.advance(10 * time.Second)
	wantHeard(t, a)
	b.Drop() // nobody can come back with this id
	wantHeard(t, a, "-"+id+"@x")
}

// The id of a client of Socket.IO 2 is its session's, and not for others.
func TestIdsThatAreSecretsAreNotShown(t *testing.T) {
	o := sio.Options{}
	o.Engine.AllowEIO3 = true
	st := newStage(t, o, Options{})
	a := st.enter("1", "anna", "x")
	old := st.ConnectWith("/r/1", siotest.Options{V2: true})
	siotest.Ask[bool](old, "join", "x")
	public := old.Socket().PublicID()
	if list := get(old, "x"); strings.Contains(list, old.ID()) || !strings.Contains(list, public) {
		t.Errorf("the list is %s, want %s and not %s", list, public, old.ID())
	}
	old.Drop()
	wantHeard(t, a, "+anna@x", "+"+public+"@x", "-"+public+"@x")
}

func TestFlapsAreSilent(t *testing.T) {
	st := newStage(t, sio.Options{}, Options{})
	a := st.enter("1", "anna", "x")
	wantHeard(t, a, "+anna@x")
	b := st.enter("1", "ben", "x")
	for range 5 {
		b.Drop()
		st.advance(4 * time.Second)
		if got := get(a, "x"); !strings.Contains(got, `{"user":"ben","count":0,"nodes":1}`) {
			t.Errorf("who is away is listed as %s", got)
		}
		b = st.enter("1", "ben", "x")
	}
	wantHeard(t, a, "+ben@x")
	b.Drop()
	st.advance(6 * time.Second)
	wantHeard(t, a, "-ben@x")
	st.advance(time.Hour)
	wantHeard(t, a)
	st.set.Debounce = 0
	st.enter("1", "carl", "x").Drop()
	wantHeard(t, a, "+carl@x", "-carl@x")
}

// Who recovers was never away, also after the debounce, and hears of who came and went
// meanwhile; who does not is told of when its time is over.
func TestRecoveryIsSilent(t *testing.T) {
	st := newStage(t, sio.Options{Recovery: sio.Recovery{Window: time.Minute}}, Options{})
	a := st.enter("1", "anna", "x")
	b, nobody := st.enter("1", "ben", "x"), st.enter("1", "", "x")
	id := nobody.ID()
	wantHeard(t, a, "+anna@x", "+ben@x", "+"+id+"@x")
	b.Received()
	b.Drop()
	nobody.Drop()
	st.advance(30 * time.Second)
	st.enter("1", "carl", "x")
	for _, c := range []*siotest.Client{b, nobody} {
		if err := c.Reconnect(); err != nil || !c.Recovered() {
			t.Fatalf("it did not recover: %v", err)
		}
	}
	wantHeard(t, a, "+carl@x")
	wantHeard(t, b, "+carl@x")
	st.advance(2 * time.Minute)
	wantHeard(t, a)
	b.Disconnect() // for good
	st.advance(6 * time.Second)
	wantHeard(t, a, "-ben@x")
	nobody.Drop()
	st.advance(59 * time.Second)
	wantHeard(t, a)
	st.advance(2 * time.Second)
	wantHeard(t, a, "-"+id+"@x")
}

// With Resync, who has recovered is told who is there.
func TestWhoRecoversElsewhereIsToldWhoIsThere(t *testing.T) {
	st := newStage(t, sio.Options{Recovery: sio.Recovery{Window: time.Minute}}, Options{Resync: true})
	a := st.enter("1", "anna", "x")
	a.Received()
	a.Drop()
	if err := a.Reconnect(); err != nil || !a.Recovered() {
		t.Fatalf("it did not recover: %v", err)
	}
	want := Answer{OK: true, Room: "x", Count: 1, Members: []Member{{"anna", 1, 1}}}
	if got := siotest.Expect[Answer](a, List); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("it is told %+v, want %+v", got, want)
	}
	for i := range maxResync {
		st.p.v.join(st.p.guards[st.ns], place{"/r/1", "x"}, fmt.Sprint("u", i), false)
	}
	st.p.v.out = nil
	a.Drop()
	if err := a.Reconnect(); err != nil {
		t.Fatal(err)
	}
	if got := siotest.Expect[Answer](a, List); got.Count != maxResync+1 || len(got.Members) != 0 {
		t.Errorf("of many it is told %d of %d", len(got.Members), got.Count)
	}
}

// The list is for who is in the room; all else is refused, with a reason.
func TestWhoMayAsk(t *testing.T) {
	st := newStage(t, sio.Options{}, Options{MaxList: 2})
	a, b := st.enter("1", "anna", "x"), st.enter("1", "ben", "x", "y")
	st.enter("1", "carl", "x")
	if got := get(a, "x"); !strings.HasPrefix(got, `{"ok":true,"room":"x","count":3,"members":[`) || strings.Count(got, "user") != 2 {
		t.Errorf("the list is %s", got)
	}
	forbidden, missing := `{"data":{"code":403},"error":"forbidden"}`, `{"data":{"code":400},"error":"the name of a room is missing"}`
	for room, want := range map[any]string{"y": forbidden, "": forbidden, "z": forbidden, a.ID(): forbidden, b.ID(): forbidden, 5: missing, strings.Repeat("x", 5000): forbidden} {
		if got := get(a, room); got != want {
			t.Errorf("the answer for %.50v is %s, want %s", room, got, want)
		}
	}
	if got := string(a.EmitAck(Get).Args().Raw(0)); got != missing {
		t.Errorf("the answer for nothing is %s, want %s", got, missing)
	}
	a.Emit(Get, "x") // without an acknowledgement
	st.set.Enabled = false
	if got := get(a, "x"); got != `{"data":{"code":404},"error":"presence is off"}` {
		t.Errorf("the answer while presence is off is %s", got)
	}
	a.Received()
	st.enter("1", "dora", "x")
	wantHeard(t, a)
	st.set.Enabled = true
	st.enter("1", "emil", "x")
	wantHeard(t, a, "+emil@x")
	if got := get(a, "x"); !strings.Contains(got, `"count":5`) {
		t.Errorf("those who came while presence was off are missing: %s", got)
	}
}

// A namespace that is guarded when there are sockets already has them.
func TestSocketsThatAreThereAlreadyCount(t *testing.T) {
	srv := siotest.New(t, sio.Options{})
	p := New(srv.Server, userOf, Options{now: time.Now})
	ns := srv.Of("/late")
	register(ns)
	a := srv.ConnectWith("/late", siotest.Options{Auth: map[string]string{"user": "anna"}})
	siotest.Ask[bool](a, "join", "x")
	on := func() config.Presence { return config.Presence{Enabled: true} }
	p.Guard(ns, on)
	p.Guard(ns, on)
	srv.Settle()
	b := srv.Connect("/late")
	siotest.Ask[bool](b, "join", "x")
	if got := get(b, "x"); !strings.Contains(got, `"count":2`) {
		t.Errorf("the list is %s", got)
	}
	a.Drop()
	wantHeard(t, b, "+"+b.ID()+"@x", "-anna@x")
}

// Who is over the bound is not shown, and leaves no trace when it goes.
func TestWhoIsNotCountedIsNotMissed(t *testing.T) {
	st := newStage(t, sio.Options{}, Options{MaxMembers: 2})
	a := st.enter("1", "anna", "x")
	b := st.enter("1", "ben", "x")
	over := st.enter("1", "carl", "x")
	long := st.enter("1", strings.Repeat("u", maxUser+1), "x")
	b.Disconnect()
	st.advance(6 * time.Second)
	second := st.enter("1", "carl", "x")
	over.Disconnect()
	long.Disconnect()
	st.advance(6 * time.Second)
	wantHeard(t, a, "+anna@x", "+ben@x", "-ben@x", "+carl@x")
	if got := get(a, "x"); !strings.Contains(got, `{"user":"carl","count":1,"nodes":1}`) {
		t.Errorf("who is there still is listed as %s", got)
	}
	second.Disconnect()
	st.advance(6 * time.Second)
	wantHeard(t, a, "-carl@x")
	if st := st.p.Stats(); st.Refused != 2 || st.Strays != 0 || st.Members != 1 {
		t.Errorf("Stats = %+v, want two refused", st)
	}
}

// A user that changes while a socket lives does not leave the one before behind.
func TestASocketCountsAsTheSameUserUntilItLeaves(t *testing.T) {
	st := newStage(t, sio.Options{}, Options{})
	a, b := st.enter("1", "anna", "x"), st.enter("1", "ben", "x")
	b.Socket().SetData("other")
	siotest.Ask[bool](b, "join", "y")
	b.Disconnect()
	st.advance(6 * time.Second)
	wantHeard(t, a, "+anna@x", "+ben@x", "-ben@x")
	if got := st.p.Stats(); got.Members != 1 || got.Strays != 0 {
		t.Errorf("Stats = %+v, want one member", got)
	}
}

// What happens while the server ends is told to nobody.
func TestClose(t *testing.T) {
	st := newStage(t, sio.Options{}, Options{})
	a, b := st.enter("1", "anna", "x"), st.enter("1", "ben", "x")
	a.Received()
	st.p.Close(t.Context())
	st.p.Close(t.Context())
	b.Disconnect()
	siotest.Ask[bool](a, "join", "y")
	st.advance(time.Minute)
	wantHeard(t, a)
}

// Lists and events of many clients that come, go and ask at random: what each believes
// follows from them without a contradiction, and is the truth at the end.
func TestWhatClientsBelieveIsConsistent(t *testing.T) {
	st := newStage(t, sio.Options{Loop: loops(2)}, Options{})
	st.set.Debounce = 0
	type seat struct {
		c    *siotest.Client
		asks []*siotest.Ack
	}
	var all []*seat
	for i := range 300 {
		switch {
		case i%3 == 2 && len(all) > 3:
			all[0].c.Disconnect()
			all = all[1:]
		default:
			s := &seat{c: st.enter("1", fmt.Sprint("u", i%7), "x")}
			s.asks = append(s.asks, s.c.EmitAck(Get, "x"))
			all = append(all, s)
		}
	}
	want := map[string]bool{}
	for _, s := range all {
		want[userOf(s.c.Socket())] = true
	}
	for _, s := range all {
		var list Answer
		s.asks[0].Decode(&list)
		users := map[string]bool{}
		for _, m := range list.Members {
			users[m.User] = true
		}
		for _, e := range s.c.Received() {
			var n note
			if err := e.Decode(&n); err != nil {
				t.Fatal(err)
			}
			if n.User == userOf(s.c.Socket()) && e.Name == Join {
				continue // its own, before the list
			}
			if users[n.User] == (e.Name == Join) {
				t.Fatalf("%v is told %v, which it knew", s.c, e)
			}
			if users[n.User] = true; e.Name == Leave {
				delete(users, n.User)
			}
		}
		if fmt.Sprint(users) != fmt.Sprint(want) {
			t.Fatalf("%v believes in %v, want %v", s.c, users, want)
		}
	}
}
