package sio_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/sio"
)

// A fragile adapter panics in every method once it is broken; its methods are those
// of the bus before.
type fragile struct {
	*stop
	broken *atomic.Bool
}

func (f fragile) crack() {
	if f.broken.Load() {
		panic("fragile")
	}
}

func (f fragile) Close(context.Context) error                         { f.crack(); return nil }
func (f fragile) Open(ns string)                                      { f.crack(); f.stop.Open(ns) }
func (f fragile) Drop(ns string)                                      { f.crack(); f.stop.Drop(ns) }
func (f fragile) Occupied(ns, room string)                            { f.crack(); f.stop.Occupied(ns, room) }
func (f fragile) Vacated(ns, room string)                             { f.crack(); f.stop.Vacated(ns, room) }
func (f fragile) OwnRooms() bool                                      { f.crack(); return f.stop.OwnRooms() }
func (f fragile) Await(context.Context, string, []string) error       { f.crack(); return nil }
func (f fragile) Emit(rooms.Target, rooms.Event)                      { f.crack() }
func (f fragile) Join(rooms.Target, []string)                         { f.crack() }
func (f fragile) Leave(rooms.Target, []string)                        { f.crack() }
func (f fragile) Disconnect(rooms.Target, bool)                       { f.crack() }
func (f fragile) ServerSideEmit(string, rooms.Event)                  { f.crack() }
func (f fragile) Peer(string) (rooms.Peer, bool)                      { f.crack(); return rooms.Peer{}, false }
func (f fragile) Seek(context.Context, string)                        { f.crack() }
func (f fragile) Status() rooms.Status                                { f.crack(); return rooms.Status{Up: true} }
func (f fragile) RoomNames(context.Context, string) ([]string, error) { f.crack(); return nil, nil }
func (f fragile) Members(context.Context, rooms.Target) ([]rooms.Member, error) {
	f.crack()
	return nil, nil
}
func (f fragile) EmitAck(context.Context, rooms.Target, rooms.Event, func(int), func(rooms.Value)) error {
	f.crack()
	return nil
}
func (f fragile) ServerSideAsk(context.Context, string, rooms.Event) ([]rooms.Value, error) {
	f.crack()
	return nil, nil
}

// A panic of the adapter ends the call, and neither the process, nor a loop, nor
// what others are waiting for.
func TestAPanicOfTheAdapterIsConfined(t *testing.T) {
	var broken atomic.Bool
	b := &bus{}
	var ns, pattern *sio.Namespace
	var joined chan sio.Socket
	srv := serve(t, sio.Options{Adapter: fragile{b.stop(), &broken}}, func(srv *sio.Server) {
		ns, pattern = srv.Of("/"), srv.Of("/u/:id")
		echo(ns)
		echo(pattern)
		joined = sockets(ns)
	})
	c := srv.dial()
	c.send("40")
	c.next()
	s := take(t, joined)
	broken.Store(true)
	all, ctx := ns.All(), context.Background()
	s.Join("r")
	s.Leave("r")
	all.Join("q")
	all.Leave("q")
	all.To("nobody").Disconnect(sio.DisconnectOptions{Conn: true})
	_ = ns.ServerSideEmit("e")
	var p *sio.PanicError
	for name, err := range map[string]error{
		"JoinWait":      s.JoinWait(ctx, "r"),
		"FetchSockets":  second(all.FetchSockets(ctx)),
		"FetchRooms":    second(all.FetchRooms(ctx)),
		"ServerSideAsk": second(ns.ServerSideAsk(ctx, "e")),
		"EmitAck":       second(ns.To("nobody").EmitAck(ctx, "e")),
	} {
		if !errors.As(err, &p) {
			t.Errorf("%s = %v, want a PanicError", name, err)
		}
	}
	if st := srv.Cluster(); st.Up || !strings.Contains(st.Reason, "fragile") {
		t.Errorf("Cluster() = %+v, want it down, with a reason", st)
	}
	if err := ns.Emit("x"); err != nil {
		t.Fatal(err)
	}
	c.expect(`42["x"]`)
	if got := s.Rooms(); !slices.Contains(got, "r") {
		t.Errorf("Rooms = %q, want r among them", got)
	}
	d := srv.dial() // and a namespace that the adapter is told of
	d.send("40/u/1,")
	d.next()
	d.quiet("/u/1,")
	broken.Store(false)
}

func second[T any](_ T, err error) error { return err }

// What other servers say of sockets is not trusted to have a shape.
func TestRemoteSocketsOfAnyShape(t *testing.T) {
	for _, text := range []string{
		``, `null`, `1`, `"x"`, `[]`, `{`, `{"headers":1}`, `{"headers":{"a":[1,{}],"b":"\r\nc: d","":""},"query":{"a":[1],"b":"c"},"issued":1e300,"address":"x","auth":5}`,
		`{"headers":{"a":["x","y"]},"issued":-9223372036854775808,"url":{},"time":[]}`, "{\"auth\":\xff}",
	} {
		b := &bus{}
		srv := serve(t, sio.Options{Adapter: shaped{b.stop(), rooms.Member{Handshake: []byte(text), Data: []byte(text)}}}, func(srv *sio.Server) { echo(srv.Of("/")) })
		all, err := srv.Of("/").All().FetchSockets(context.Background())
		if err != nil || len(all) != 1 {
			t.Fatalf("FetchSockets = %v, %v", all, err)
		}
		r := all[0]
		var v any
		_, _, _, _ = r.Auth(&v), r.Data(&v), r.ID(), r.Rooms()
		h := r.Handshake()
		_, _ = h.Header(), h.Query()
		r.Join("x")
		r.Leave("x")
		_ = r.Emit("x")
		r.Disconnect(sio.DisconnectOptions{Conn: true})
	}
}

// A shaped adapter has one member to tell of.
type shaped struct {
	*stop
	member rooms.Member
}

func (s shaped) Members(context.Context, rooms.Target) ([]rooms.Member, error) {
	return []rooms.Member{s.member}, nil
}
