package sio_test

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/sio"
)

// A loan makes arguments for calls, and overwrites them when these have
// returned.
type loan struct {
	strings [][]string
	bytes   [][]byte
	anys    [][]any
}

func (l *loan) names(names ...string) []string {
	l.strings = append(l.strings, names)
	return names
}

// args returns 1, <6f6b> and [2] as arguments.
func (l *loan) args() []any {
	raw, bytes := []byte("[2]"), []byte("ok")
	l.bytes = append(l.bytes, raw, bytes)
	args := []any{1, bytes, json.RawMessage(raw)}
	l.anys = append(l.anys, args)
	return args
}

func (l *loan) spoil() {
	for _, s := range l.strings {
		for i := range s {
			s[i] = "spoiled"
		}
	}
	for _, b := range l.bytes {
		for i := range b {
			b[i] = '8'
		}
	}
	for _, a := range l.anys {
		for i := range a {
			a[i] = "spoiled"
		}
	}
}

// A keeper is a server, alone or with another one, that acts on nothing while it
// is held: a call then has returned long before it is acted on.
type keeper struct {
	*server
	t        testing.TB
	ns       *sio.Namespace
	s        sio.Socket
	client   *client
	began    chan struct{}
	release  chan struct{}
	books    []*book
	other    *sio.Namespace // of the other server
	messages chan string    // what handlers got
	gate     chan struct{}
	loan     *loan
	remote   sio.RemoteSocket // s
}

func newKeeper(t *testing.T, o sio.Options, books ...*book) *keeper {
	k := &keeper{t: t, began: make(chan struct{}), release: make(chan struct{}), messages: make(chan string, 8), gate: make(chan struct{}), books: books, loan: &loan{}}
	var joined chan sio.Socket
	o.Loop = loops(1)
	for i := range max(len(books), 1) {
		if len(books) > 0 {
			o.Adapter = books[i]
		}
		srv := serve(t, o, func(srv *sio.Server) {
			ns := srv.Of("/")
			if i == 1 {
				k.other = ns
				ns.HandleServerSide("gate", func(*sio.Msg) error { <-k.gate; return nil })
				ns.HandleServerSide("x", func(m *sio.Msg) error { k.messages <- fmt.Sprint(values(m.Args)...); return m.Ack() })
				return
			}
			k.ns, joined = ns, sockets(ns)
			ns.HandleInline("hold", func(sio.Socket, *sio.Msg) error { k.began <- struct{}{}; <-k.release; return nil })
			ns.UseEvent(func(next sio.Handler) sio.Handler {
				return func(s sio.Socket, m *sio.Msg) error {
					if m.Event() != "with" {
						return next(s, m)
					}
					l := &loan{}
					m, err := m.With(l.args()...)
					l.spoil()
					if err != nil {
						return err
					}
					return next(s, m)
				}
			})
			ns.Handle("with", func(_ sio.Socket, m *sio.Msg) error { k.messages <- fmt.Sprint(values(m.Args)...); return nil })
			ns.Handle("ack", func(_ sio.Socket, m *sio.Msg) error {
				err := m.Ack(k.loan.args()...)
				k.loan.spoil()
				return err
			})
		})
		if i == 0 {
			k.server = srv
		}
	}
	k.client = k.dial()
	k.client.send("40")
	k.client.next()
	k.s = take(t, joined)
	return k
}

// hold has nothing of what follows happen until then.
func (k *keeper) hold() (then func()) {
	k.client.send(`42["hold"]`)
	take(k.t, k.began)
	for _, b := range k.books {
		b.hold(true)
	}
	return func() {
		k.release <- struct{}{}
		for _, b := range k.books {
			b.hold(false)
		}
	}
}

const kept = `{"_placeholder":true,"num":0},[2]` // the arguments of a loan, but the first

func (k *keeper) receives(event string) {
	k.t.Helper()
	if p := k.client.next(); !strings.Contains(p, event) || !strings.Contains(p, "1,"+kept) {
		k.t.Fatalf("received %s, want %s with 1,%s", p, event, kept)
	}
	if p := k.client.next(); p != "<6f6b>" {
		k.t.Errorf("received %s, want <6f6b>", p)
	}
}

func (k *keeper) roomsAre(want ...string) {
	k.t.Helper()
	if got := k.s.Rooms()[1:]; !slices.Equal(got, want) {
		k.t.Errorf("Rooms() = %q, want %q", got, want)
	}
}

func done() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// copying are the methods that are given slices or values, each with a call whose
// arguments l lends, and what must come of it though they are overwritten as soon
// as the call has returned.
var copying = map[string]struct {
	call func(k *keeper, l *loan)
	want func(k *keeper)
}{
	"Socket.JoinReplay": {func(k *keeper, l *loan) {
		k.ns.KeepHistory(sio.History{Size: 1})
		k.s.JoinReplay(l.names("a", "b"), 1)
	}, func(k *keeper) { // the others are asked first, if there are any
		eventually(k.t, "the rooms are joined", func() bool { return len(k.s.Rooms()) > 1 })
		k.roomsAre("a", "b")
	}},
	"Socket.Join": {func(k *keeper, l *loan) { k.s.Join(l.names("a", "b")...) }, func(k *keeper) { k.roomsAre("a", "b") }},
	"Socket.Leave": {func(k *keeper, l *loan) { k.s.Join("a", "b", "spoiled"); k.s.Leave(l.names("a", "b")...) },
		func(k *keeper) { k.roomsAre("spoiled") }},
	"Socket.To":     {func(k *keeper, l *loan) { _ = k.s.To(l.names("a")...).Emit("x", l.args()...) }, nil}, // itself is left out
	"Socket.Except": {func(k *keeper, l *loan) { _ = k.s.Except(l.names("a")...).Emit("x", l.args()...) }, nil},
	"Socket.Emit":   {func(k *keeper, l *loan) { _ = k.s.Emit("x", l.args()...) }, func(k *keeper) { k.receives("x") }},
	"Socket.EmitAck": {func(k *keeper, l *loan) { _, _ = k.s.EmitAck(done(), "x", l.args()...) },
		func(k *keeper) { k.receives("x") }},
	"Socket.EmitAckFunc": {func(k *keeper, l *loan) { _ = k.s.EmitAckFunc(0, func(sio.Args, error) {}, "x", l.args()...) },
		func(k *keeper) { k.receives("x") }},

	"BroadcastOperator.Join": {func(k *keeper, l *loan) { k.ns.All().Join(l.names("a", "b")...) }, func(k *keeper) { k.roomsAre("a", "b") }},
	"BroadcastOperator.Leave": {func(k *keeper, l *loan) { k.s.Join("a", "spoiled"); k.ns.All().Leave(l.names("a")...) },
		func(k *keeper) { k.roomsAre("spoiled") }},
	"BroadcastOperator.To": {func(k *keeper, l *loan) {
		k.s.Join("a")
		to := k.ns.To("nobody").To(l.names("a")...)
		l.spoil()
		_ = to.Emit("x", l.args()...)
	}, func(k *keeper) { k.receives("x") }},
	"BroadcastOperator.Except": {func(k *keeper, l *loan) {
		k.s.Join("spoiled")
		to := k.ns.Except("nobody").Except(l.names("a")...)
		l.spoil()
		_ = to.Emit("x", l.args()...)
	}, func(k *keeper) { k.receives("x") }},
	"BroadcastOperator.Emit":       {func(k *keeper, l *loan) { _ = k.ns.All().Compress(false).Emit("x", l.args()...) }, func(k *keeper) { k.receives("x") }},
	"BroadcastOperator.EmitOffset": {func(k *keeper, l *loan) { _, _ = k.ns.All().EmitOffset("x", l.args()...) }, func(k *keeper) { k.receives("x") }},
	"BroadcastOperator.EmitAck": {func(k *keeper, l *loan) { _, _ = k.ns.All().EmitAck(done(), "x", l.args()...) },
		func(k *keeper) { k.receives("x") }},
	"BroadcastOperator.EmitAckEach": {func(k *keeper, l *loan) { _, _ = k.ns.All().EmitAckEach(done(), func(sio.Args) {}, "x", l.args()...) },
		func(k *keeper) { k.receives("x") }},
	"BroadcastOperator.EmitAckSent": {func(k *keeper, l *loan) {
		_, _ = k.ns.All().EmitAckSent(done(), func() {}, func(sio.Args) {}, "x", l.args()...)
	}, func(k *keeper) { k.receives("x") }},
	"BroadcastOperator.ServerSideEmit": {func(k *keeper, l *loan) { _ = k.ns.All().ServerSideEmit("x", l.args()...) }, (*keeper).heard},
	"BroadcastOperator.ServerSideAsk":  {func(k *keeper, l *loan) { _, _ = k.ns.All().ServerSideAsk(done(), "x", l.args()...) }, (*keeper).heard},

	"Namespace.To": {func(k *keeper, l *loan) {
		k.s.Join("a")
		to := k.ns.To(l.names("a")...)
		l.spoil()
		_ = to.Emit("x", l.args()...)
	},
		func(k *keeper) { k.receives("x") }},
	"Namespace.Except": {func(k *keeper, l *loan) {
		k.s.Join("spoiled")
		to := k.ns.Except(l.names("a")...)
		l.spoil()
		_ = to.Emit("x", l.args()...)
	}, func(k *keeper) { k.receives("x") }},
	"Namespace.Emit":           {func(k *keeper, l *loan) { _ = k.ns.Emit("x", l.args()...) }, func(k *keeper) { k.receives("x") }},
	"Namespace.ServerSideEmit": {func(k *keeper, l *loan) { _ = k.ns.ServerSideEmit("x", l.args()...) }, (*keeper).heard},
	"Namespace.ServerSideAsk":  {func(k *keeper, l *loan) { _, _ = k.ns.ServerSideAsk(done(), "x", l.args()...) }, (*keeper).heard},
	"Namespace.Use": {func(k *keeper, l *loan) {
		ms := []sio.Middleware{func(sio.Socket) error { return nil }}
		k.ns.Use(ms...)
		ms[0] = func(sio.Socket) error { return &sio.Error{Message: "spoiled"} }
	}, func(k *keeper) {
		c := k.dial()
		if c.send("40"); !strings.HasPrefix(c.next(), "40{") {
			k.t.Error("a middleware that was not registered ran")
		}
	}},

	"RemoteSocket.Emit":    {func(k *keeper, l *loan) { _ = k.remote.Emit("x", l.args()...) }, func(k *keeper) { k.receives("x") }},
	"RemoteSocket.EmitAck": {func(k *keeper, l *loan) { _, _ = k.remote.EmitAck(done(), "x", l.args()...) }, func(k *keeper) { k.receives("x") }},
	"RemoteSocket.Join":    {func(k *keeper, l *loan) { k.remote.Join(l.names("a")...) }, func(k *keeper) { k.roomsAre("a") }},
	"RemoteSocket.Leave": {func(k *keeper, l *loan) { k.s.Join("a", "spoiled"); k.remote.Leave(l.names("a")...) },
		func(k *keeper) { k.roomsAre("spoiled") }},

	"Msg.With": {func(k *keeper, l *loan) { k.client.send(`42["with"]`) }, func(k *keeper) { k.got() }},
	"Msg.Ack":  {func(k *keeper, l *loan) { k.client.send(`427["ack"]`) }, func(k *keeper) { k.receives("7[") }},
}

// notKept are the other methods with such parameters.
var notKept = map[string]string{
	"Socket.JoinReplayWait": "it is JoinReplay, and waits",
	"Socket.JoinWait":       "it waits until the names have been read, and TestJoinWait overwrites them",
	"Socket.EmitAckID":      "it is EmitAckFunc, and tells the number",
	"Socket.Pack":           "what is appended to",
	"Server.Unpack":         "TestSocketsAsData: strings are copied",
	"Socket.SetData":        "the value is the application's, and kept as it is",
	"Socket.Auth":           "a destination",
	"RemoteSocket.Auth":     "a destination",
	"RemoteSocket.Data":     "a destination",
	"Args.Decode":           "destinations",
	"Msg.Decode":            "destinations",
	"Server.ListenAndServe": "addresses, used before it serves",
	"Server.Adopt":          "TestAdopt: what was read is copied into the connection's buffer",
	"Server.ServeHTTP":      "net/http's own",
	"Server.Message":        "called by the Engine.IO server",
}

func (k *keeper) got() {
	k.t.Helper()
	if got := take(k.t, k.messages); got != "1 [111 107] [2]" {
		k.t.Errorf("the handler got %s, want 1 [111 107] [2]", got)
	}
}

// heard has the other server act on what it was told.
func (k *keeper) heard() {
	if k.other == nil {
		return
	}
	k.gate <- struct{}{}
	k.got()
}

// Whatever a method is given is the caller's again when it has returned, as
// programs use one slice for one socket after another.
func TestWhatIsGivenIsCopied(t *testing.T) {
	for _, mode := range []string{"alone", "recovery", "cluster", "log"} {
		for name, test := range copying {
			t.Run(mode+" "+name, func(t *testing.T) {
				var o sio.Options
				var books []*book
				if mode == "recovery" || mode == "log" {
					o.Recovery = sio.Recovery{Window: time.Minute, Patience: time.Minute}
				}
				if mode == "cluster" || mode == "log" {
					l := newLedger()
					books = []*book{l.book(), l.book()}
				}
				k := newKeeper(t, o, books...)
				remote, err := k.ns.All().FetchSockets(t.Context())
				if err != nil || len(remote) != 1 {
					t.Fatalf("FetchSockets = %v, %v", remote, err)
				}
				k.remote = remote[0]
				if books != nil && strings.Contains(name, "ServerSide") {
					_ = k.ns.ServerSideEmit("gate")
				}
				then := k.hold()
				l := &loan{}
				test.call(k, l)
				l.spoil()
				then()
				if test.want != nil {
					test.want(k)
				}
			})
		}
	}
}

func TestEveryMethodThatIsGivenSomethingIsTested(t *testing.T) {
	for _, v := range []any{sio.Socket{}, sio.BroadcastOperator{}, &sio.Namespace{}, &sio.Server{}, sio.RemoteSocket{}, &sio.Msg{}, sio.Args{}} {
		typ := reflect.TypeOf(v)
		for i := range typ.NumMethod() {
			m := typ.Method(i)
			takes := false
			for i := 1; i < m.Type.NumIn(); i++ {
				in := m.Type.In(i)
				takes = takes || in.Kind() == reflect.Slice || in == reflect.TypeFor[any]()
			}
			name := strings.TrimPrefix(strings.TrimPrefix(typ.String(), "*"), "sio.") + "." + m.Name
			_, tested := copying[name]
			if _, excused := notKept[name]; takes && !tested && !excused {
				t.Errorf("%s takes a slice or a value, and no test overwrites it", name)
			}
		}
	}
}
