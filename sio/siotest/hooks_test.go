package siotest_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

// Functions of rooms are told the same of every kind of client, also of one whose
// handler waits; and what ExpireAt has done when the time comes.
func TestFunctionsOfRoomsAndDeadlines(t *testing.T) {
	for name, o := range map[string]siotest.Options{
		"WebSocket": {}, "polling": {Polling: true}, "Socket.IO 2": {V2: true},
		"MessagePack": {MessagePack: true}, "MessagePack over polling": {MessagePack: true, Polling: true},
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			var news []string
			srv := siotest.New(t, either())
			tell := func(format string, args ...any) {
				mu.Lock()
				defer mu.Unlock()
				news = append(news, fmt.Sprintf(format, args...))
			}
			wants := func(want ...string) {
				t.Helper()
				srv.Until("being told", func() bool { mu.Lock(); defer mu.Unlock(); return len(news) >= len(want) })
				mu.Lock()
				defer mu.Unlock()
				if !slices.Equal(news, want) {
					t.Errorf("told %q, want %q", news, want)
				}
				news = nil
			}
			goOn := make(chan bool, 1)
			ns := srv.Of("/")
			ns.OnRoomCreated(func(in, room string) { tell("created %s", room) })
			ns.OnJoin(func(s sio.Socket, room string) { tell("%s joins %s", s.Data(), room) })
			ns.OnLeave(func(s sio.Socket, room string) { tell("%s leaves %s", s.Data(), room) })
			ns.OnRoomDeleted(func(in, room string) { tell("deleted %s", room) })
			ns.OnDisconnect(func(s sio.Socket, _ sio.Reason) { tell("end of %s", s.Data()) })
			sio.OnAck(ns, "join", func(s sio.Socket, who string) (string, error) {
				s.SetData(who)
				s.Join("hall")
				return "", nil
			})
			sio.On(ns, "block", func(s sio.Socket, room string) error {
				s.Join(room)
				s.ExpireAt(srv.Now().Add(time.Minute), func(s sio.Socket) {
					tell("time of %s", s.Data())
					s.ExpireAt(srv.Now().Add(time.Minute), nil)
				})
				<-goOn
				return nil
			})
			a, b := srv.ConnectWith("/", o), srv.ConnectWith("/", o)
			siotest.Ask[string](a, "join", "a")
			siotest.Ask[string](b, "join", "b")
			wants("created hall", "a joins hall", "b joins hall")
			a.Start("block", "x")
			wants("created x", "a joins x")
			srv.Of("/").To("x").Join("y")
			srv.Of("/").To("x").Leave("x", "hall")
			wants("created y", "a joins y", "a leaves x", "deleted x", "a leaves hall")
			b.Disconnect()
			wants("b leaves hall", "deleted hall", "end of b")
			goOn <- true
			srv.Advance(time.Minute + time.Second)
			wants("time of a")
			srv.Advance(time.Minute + time.Second)
			wants("a leaves y", "deleted y", "end of a")
			if a.Connected() || srv.Stats().Expired != 2 {
				t.Errorf("connected: %v, %d deadlines came, want 2 and the end", a.Connected(), srv.Stats().Expired)
			}
			for room := range ns.All().RoomCounts() {
				t.Errorf("%s is left", room)
			}
		})
	}
}
