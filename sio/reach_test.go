package sio_test

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/sio"
)

// A trio is three sockets, of which the first two are in the room r.
type trio struct {
	*server
	ns      *sio.Namespace
	clients [3]*client
	sockets [3]sio.Socket
	rooms   int // that have been made up
}

func newTrio(t *testing.T, o sio.Options) *trio {
	x := &trio{}
	var joined chan sio.Socket
	x.server = serve(t, o, func(srv *sio.Server) {
		x.ns = srv.Of("/")
		echo(x.ns)
		joined = sockets(x.ns)
	})
	for i := range x.clients {
		x.clients[i] = x.dial()
		x.clients[i].send("40")
		x.clients[i].next()
		x.sockets[i] = take(t, joined)
	}
	x.sockets[0].Join("r")
	x.sockets[1].Join("r")
	return x
}

// room returns the name of a new room.
func (x *trio) room() string {
	x.rooms++
	return fmt.Sprint("room ", x.rooms)
}

// those returns the sockets for which ok.
func (x *trio) those(ok func(s sio.Socket) bool) (some []int) {
	for i, s := range x.sockets {
		if ok(s) {
			some = append(some, i)
		}
	}
	return some
}

func in(room string) func(s sio.Socket) bool {
	return func(s sio.Socket) bool { return slices.Contains(s.Rooms(), room) }
}

// received returns which clients got an event, whose acknowledgement they send.
func (x *trio) received(t *testing.T, event string) (some []int) {
	for i, c := range x.clients {
		c.send(`4277["fence"]`)
		for p := c.next(); p != "4377[]"; p = c.next() {
			head, _, ok := strings.Cut(p, `["`+event+`"`)
			if !ok {
				t.Fatalf("received %s, want %s or nothing", p, event)
			}
			if id, _ := strings.CutPrefix(head, "42"); id != "" {
				c.send(fmt.Sprintf("43%s[%d]", id, i))
			}
			some = append(some, i)
		}
	}
	return some
}

// answer returns who of the three answers, in order, while ask asks.
func (x *trio) answer(t *testing.T, ask func() ([]sio.Args, error)) (some []int) {
	t.Helper()
	answered := make(chan []sio.Args, 1)
	// ends with the answers
	go func() {
		all, err := ask()
		if err != nil {
			t.Error(err)
		}
		answered <- all
	}()
	for {
		select {
		case all := <-answered:
			for _, a := range all {
				var i int
				if err := a.Decode(&i); err != nil {
					t.Error(err)
				}
				some = append(some, i)
			}
			slices.Sort(some)
			return some
		default:
			x.received(t, "q")
		}
	}
}

// reaching has a row for each method of a BroadcastOperator that does something to
// sockets: it returns to which.
var reaching = map[string]func(t *testing.T, x *trio, b sio.BroadcastOperator) []int{
	"Emit": func(t *testing.T, x *trio, b sio.BroadcastOperator) []int {
		if err := b.Emit("m"); err != nil {
			t.Error(err)
		}
		return x.received(t, "m")
	},
	"EmitOffset": func(t *testing.T, x *trio, b sio.BroadcastOperator) []int {
		if _, err := b.EmitOffset("m"); err != nil {
			t.Error(err)
		}
		return x.received(t, "m")
	},
	"EmitAck": func(t *testing.T, x *trio, b sio.BroadcastOperator) []int {
		return x.answer(t, func() ([]sio.Args, error) { return b.EmitAck(within(patience), "q") })
	},
	"EmitAckEach": func(t *testing.T, x *trio, b sio.BroadcastOperator) []int {
		return x.answer(t, func() (all []sio.Args, err error) {
			asked, err := b.EmitAckEach(within(patience), func(a sio.Args) { all = append(all, a) }, "q")
			if asked != len(all) {
				t.Errorf("%d clients were asked, and %d answered", asked, len(all))
			}
			return all, err
		})
	},
	"EmitAckSent": func(t *testing.T, x *trio, b sio.BroadcastOperator) []int {
		return x.answer(t, func() (all []sio.Args, err error) {
			sent := 0
			asked, err := b.EmitAckSent(within(patience), func() { sent++ }, func(a sio.Args) { all = append(all, a) }, "q")
			if asked != len(all) || sent != 1 {
				t.Errorf("%d clients were asked, and %d answered; sent was called %d times", asked, len(all), sent)
			}
			return all, err
		})
	},
	"Join": func(_ *testing.T, x *trio, b sio.BroadcastOperator) []int {
		room := x.room()
		b.Join(room)
		return x.those(in(room))
	},
	"Leave": func(_ *testing.T, x *trio, b sio.BroadcastOperator) []int {
		room := x.room()
		x.ns.All().Join(room)
		b.Leave(room)
		return x.those(func(s sio.Socket) bool { return !in(room)(s) })
	},
	"Sockets": func(_ *testing.T, x *trio, b sio.BroadcastOperator) []int {
		found := b.Sockets()
		return x.those(func(s sio.Socket) bool { return slices.Contains(found, s) })
	},
	"SocketsFrom": func(_ *testing.T, x *trio, b sio.BroadcastOperator) []int {
		found := []sio.Socket{}
		for at, more := uint64(0), true; more; more = at != 0 {
			var part []sio.Socket
			part, at = b.SocketsFrom(at, 1)
			found = append(found, part...)
		}
		return x.those(func(s sio.Socket) bool { return slices.Contains(found, s) })
	},
	"FetchSockets": func(t *testing.T, x *trio, b sio.BroadcastOperator) []int {
		found, err := b.FetchSockets(context.Background())
		if err != nil {
			t.Error(err)
		}
		return x.those(func(s sio.Socket) bool {
			return slices.ContainsFunc(found, func(r sio.RemoteSocket) bool { return r.ID() == s.ID() })
		})
	},
	"Count": func(_ *testing.T, _ *trio, b sio.BroadcastOperator) []int { return make([]int, b.Count()) },
	"CountAll": func(t *testing.T, _ *trio, b sio.BroadcastOperator) []int {
		n, err := b.CountAll(context.Background())
		if err != nil {
			t.Error(err)
		}
		return make([]int, n)
	},
	"Pages": func(t *testing.T, x *trio, b sio.BroadcastOperator) []int {
		var found []string
		for page, err := range b.Pages(context.Background(), 1) {
			if err != nil {
				t.Error(err)
			}
			for _, r := range page {
				found = append(found, r.ID())
			}
		}
		return x.those(func(s sio.Socket) bool { return slices.Contains(found, s.ID()) })
	},
	"Disconnect": func(t *testing.T, x *trio, b sio.BroadcastOperator) []int {
		if err := b.Disconnect(sio.DisconnectOptions{}); err != nil {
			t.Error(err)
		}
		return x.those(func(s sio.Socket) bool { return !s.Connected() })
	},
}

// narrowing has a row for each method of a BroadcastOperator that returns another
// one, and who of the three it lets through.
var narrowing = map[string]struct {
	call func(b sio.BroadcastOperator) sio.BroadcastOperator
	lets []int
}{
	"":                   {func(b sio.BroadcastOperator) sio.BroadcastOperator { return b }, []int{0, 1, 2}},
	"To":                 {func(b sio.BroadcastOperator) sio.BroadcastOperator { return b.To("r") }, []int{0, 1}},
	"To several":         {func(b sio.BroadcastOperator) sio.BroadcastOperator { return b.To("none").To("r", "none") }, []int{0, 1}},
	"To none":            {func(b sio.BroadcastOperator) sio.BroadcastOperator { return b.To("none") }, nil},
	"To no room":         {func(b sio.BroadcastOperator) sio.BroadcastOperator { return b.To() }, nil},
	"To r and Except":    {func(b sio.BroadcastOperator) sio.BroadcastOperator { return b.To("r").Except("r") }, nil},
	"To r but volatile":  {func(b sio.BroadcastOperator) sio.BroadcastOperator { return b.Volatile().To("r") }, []int{0, 1}},
	"Except":             {func(b sio.BroadcastOperator) sio.BroadcastOperator { return b.Except("r") }, []int{2}},
	"Except none":        {func(b sio.BroadcastOperator) sio.BroadcastOperator { return b.Except("none") }, []int{0, 1, 2}},
	"Volatile":           {sio.BroadcastOperator.Volatile, []int{0, 1, 2}},
	"Compress":           {func(b sio.BroadcastOperator) sio.BroadcastOperator { return b.Compress(false) }, []int{0, 1, 2}},
	"Class":              {func(b sio.BroadcastOperator) sio.BroadcastOperator { return b.Class(sio.Class{Policy: sio.Conflate}) }, []int{0, 1, 2}},
	"Local":              {sio.BroadcastOperator.Local, []int{0, 1, 2}},
	"Local, Compress, …": {func(b sio.BroadcastOperator) sio.BroadcastOperator { return b.Local().Compress(true).Volatile() }, []int{0, 1, 2}},
}

// Self is the socket alone and Broadcast the others, whatever is called on them;
// Volatile and Compress of a socket are the socket, and with To the others in the
// rooms.
func TestSelfStaysTheSocketAndBroadcastTheOthers(t *testing.T) {
	others := []string{"Rooms", "Socket", "Namespace", "FetchRooms", "RoomCounts", "ServerSideEmit", "ServerSideAsk", "FetchForeign"} // address no socket of this module's servers
	for m := range reflect.TypeFor[sio.BroadcastOperator]().NumMethod() {
		name := reflect.TypeFor[sio.BroadcastOperator]().Method(m).Name
		if reaching[name] == nil && narrowing[name].call == nil && !slices.Contains(others, name) {
			t.Errorf("there is no row for %s", name)
		}
	}
	bases := map[string]struct {
		of func(s sio.Socket) sio.BroadcastOperator
		is []int
	}{
		"Self":      {sio.Socket.Self, []int{0}},
		"Broadcast": {sio.Socket.Broadcast, []int{1, 2}},
		"Volatile":  {sio.Socket.Volatile, []int{0}},
		"Compress":  {func(s sio.Socket) sio.BroadcastOperator { return s.Compress(true) }, []int{0}},
	}
	modes := map[string]func() sio.Options{
		"alone":    func() sio.Options { return sio.Options{} },
		"recovery": func() sio.Options { return sio.Options{Recovery: sio.Recovery{Window: time.Minute}} },
		"cluster":  func() sio.Options { return sio.Options{Adapter: (&bus{}).stop()} },
	}
	for mode, options := range modes {
		x := newTrio(t, options())
		for base, b := range bases {
			for how, n := range narrowing {
				is := b.is
				if strings.HasPrefix(how, "To") && (base == "Volatile" || base == "Compress") {
					is = []int{1, 2} // as in Node
				}
				var want []int
				for _, i := range is {
					if slices.Contains(n.lets, i) {
						want = append(want, i)
					}
				}
				for what, does := range reaching {
					y := x
					if what == "Disconnect" {
						if mode != "alone" {
							continue
						}
						y = newTrio(t, options())
					}
					got := does(t, y, n.call(b.of(y.sockets[0])))
					if strings.HasPrefix(what, "Count") && len(got) == len(want) {
						got = want // only how many is known
					}
					if !slices.Equal(got, want) {
						t.Errorf("%s: %s, %s: %s reaches %v, want %v", mode, base, how, what, got, want)
					}
				}
			}
		}
	}
}

// An operator of a socket alone is one, whatever is called on it.
func TestSelfNamesItsSocket(t *testing.T) {
	x := newTrio(t, sio.Options{})
	s := x.sockets[0]
	for _, b := range []sio.BroadcastOperator{s.Self(), s.Self().To("r"), s.Self().Except("r"), s.Self().Volatile().Local()} {
		if got, only := b.Socket(); got != s || !only {
			t.Errorf("Socket() = %v, %v, want the one", got, only)
		}
	}
	for _, b := range []sio.BroadcastOperator{s.Broadcast(), s.To("r"), s.Volatile().To("r"), x.ns.All()} {
		if _, only := b.Socket(); only {
			t.Error("Socket() of a broadcast is one")
		}
	}
}

// Self narrowed to a room reaches a socket whose client is away, too, if it was in
// one.
func TestSelfOfWhoIsAway(t *testing.T) {
	left := make(chan string, 1)
	srv, dial, ns := recoverers(t, sio.Options{}, func(ns *sio.Namespace) {
		ns.OnDisconnect(func(s sio.Socket, _ sio.Reason) { left <- s.ID() })
	})
	for room, keeps := range map[string]bool{"r": false, "none": true} {
		r := dial()
		s := take(t, found(ns, r.recoveredAs))
		s.Join("r")
		id := r.recoveredAs
		r.cut()
		gone(t, left, id)
		if err := s.Self().To(room).Disconnect(sio.DisconnectOptions{}); err != sio.ErrClosed {
			t.Errorf("Disconnect = %v, want %v", err, sio.ErrClosed)
		}
		if is := srv.Recoveries().Away == 1; is != keeps {
			t.Errorf("after Self().To(%s).Disconnect it is away: %v, want %v", room, is, keeps)
		}
		ns.To(id).Disconnect(sio.DisconnectOptions{})
	}
}

// found returns the socket with an id.
func found(ns *sio.Namespace, id string) <-chan sio.Socket {
	c := make(chan sio.Socket, 1)
	for _, s := range ns.To(id).Sockets() {
		c <- s
	}
	return c
}
