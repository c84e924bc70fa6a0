package sio

import (
	"encoding/binary"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/handle"
	"github.com/sioedge/sioedge/loop/passing"
	"github.com/sioedge/sioedge/sio/internal/crossing"
	"github.com/sioedge/sioedge/sio/internal/passage"
)

// written is records as FuzzTakeOver reads them.
func written(t testing.TB, records ...any) (b []byte) {
	t.Helper()
	for _, r := range records {
		kind, body := uint8(passage.Shared), []byte("shared by several")
		var err error
		switch r.(type) {
		case *tableRecord:
			kind = passage.Table
		case *sessionRecord:
			kind = passage.Session
		case *connRecord:
			kind = passage.Conn
		}
		if kind != passage.Shared {
			if body, err = passage.Marshal(r); err != nil {
				t.Fatal(err)
			}
		}
		b = binary.BigEndian.AppendUint16(append(b, kind), uint16(len(body)))
		b = append(b, body...)
	}
	return b
}

// polled is a session that waits for a poll, with sockets.
func polled(slot uint32, sockets ...socketRecord) *sessionRecord {
	return &sessionRecord{
		Session: &eio.SessionState{Slot: slot, Gen: 1, Revision: 4, Deadline: time.Second, Queue: []eio.QueueState{{}}},
		Queue:   []pieceRecord{{First: 1, Count: 1}}, Sockets: sockets, Joined: true, Requests: []requestRecord{{Text: "/?a=b\nHost: h\n"}}, Request: 1,
		Ended: []crossing.State{{Name: "/x", Left: time.Second}}, Replayed: 5,
		Joins:  []joinRecord{{Name: "/late", Auth: `{"a":1}`}},
		Packet: &packetRecord{Text: []byte(`52-["e",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`), Attachments: [][]byte{{1}}},
	}
}

// takeIn has a server take records, until one is refused.
func takeIn(t testing.TB, data []byte) (srv *Server, sim *loop.Sim, err error) {
	t.Helper()
	srv, sim = newFrozen(t, nil)
	srv.Of("/late")
	srv.Of("/room/:id").OnJoin(func(Socket, string) {})
	srv.hold.on.Store(true)
	a := newAdoption(srv.shards[0])
	for len(data) >= 3 && err == nil {
		n := min(int(binary.BigEndian.Uint16(data[1:])), len(data)-3)
		err = a.adopt(passing.Record{Kind: data[0], Body: data[3 : 3+n]})
		data = data[3+n:]
	}
	if err == nil {
		err = a.settle()
	}
	return srv, sim, err
}

// What contradicts itself is refused, whatever else is right.
func TestBrokenRecordsAreRefused(t *testing.T) {
	table := &tableRecord{Sessions: []byte{0, 0}, Sockets: []byte{0, 0, 0}}
	one := socketRecord{Name: "/", Slot: 1, Gen: 1}
	for _, x := range []struct {
		name    string
		records []any
	}{
		{"no table", []any{polled(1, one)}},
		{"a second table", []any{table, table}},
		{"a table of more than there can be", []any{&tableRecord{Sockets: []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}}}},
		{"a table that is cut off", []any{&tableRecord{Sockets: []byte{0x80}}}},
		{"a connection without a descriptor", []any{table, &connRecord{}}},
		{"a session without a state", []any{table, &sessionRecord{}}},
		{"a queue without frames", []any{table, &sessionRecord{Session: &eio.SessionState{Slot: 1, Gen: 1, Revision: 4, Queue: []eio.QueueState{{}}}}}},
		{"what is shared and has not come", []any{table, polled(1, one)}},
		{"two sockets of one namespace", []any{table, &sessionRecord{Session: &eio.SessionState{Slot: 1, Gen: 1, Revision: 4}, Sockets: []socketRecord{one, {Name: "/", Slot: 2, Gen: 1}}}}},
		{"two sockets in one place", []any{table, &sessionRecord{Session: &eio.SessionState{Slot: 1, Gen: 1, Revision: 4}, Sockets: []socketRecord{one, {Name: "/late", Slot: 1, Gen: 1}}}}},
		{"two sockets of one id", []any{table, &sessionRecord{Session: &eio.SessionState{Slot: 1, Gen: 1, Revision: 4}, Sockets: []socketRecord{{Name: "/", Slot: 1, Gen: 1, Own: "same"}, {Name: "/late", Slot: 2, Gen: 1, Own: "same"}}}}},
		{"a place that was used later", []any{&tableRecord{Sockets: []byte{9}}, &sessionRecord{Session: &eio.SessionState{Slot: 1, Gen: 1, Revision: 4}, Sockets: []socketRecord{one}}}},
		{"a request that there is not", []any{table, &sessionRecord{Session: &eio.SessionState{Slot: 1, Gen: 1, Revision: 4}, Sockets: []socketRecord{{Name: "/", Slot: 1, Gen: 1, Request: 3}}}}},
		{"data that is none", []any{table, &sessionRecord{Session: &eio.SessionState{Slot: 1, Gen: 1, Revision: 4}, Sockets: []socketRecord{{Name: "/", Slot: 1, Gen: 1, Data: []byte{9}}}}}},
		{"an argument that is no JSON", []any{table, &sessionRecord{Session: &eio.SessionState{Slot: 1, Gen: 1, Revision: 4}, Sockets: []socketRecord{{Name: "/", Slot: 1, Gen: 1, Tasks: []taskRecord{{Event: "echo", Args: [][]byte{[]byte("{")}}}}}}}},
		{"a packet that is whole", []any{table, &sessionRecord{Session: &eio.SessionState{Slot: 1, Gen: 1, Revision: 4}, Packet: &packetRecord{Text: []byte(`2["e"]`)}}}},
	} {
		if _, _, err := takeIn(t, written(t, x.records...)); err == nil {
			t.Errorf("%s: nothing is refused", x.name)
		}
	}
	if _, _, err := takeIn(t, written(t, table, &sessionRecord{Session: &eio.SessionState{Slot: 1, Gen: 1, Revision: 4}, Sockets: []socketRecord{one, {Name: "/room/7", Slot: 2, Gen: 1, Rooms: []string{"r"}}}})); err != nil {
		t.Errorf("what is right is refused: %v", err)
	}
}

// Whatever comes: it is refused, or the loop goes on with it.
func FuzzTakeOver(f *testing.F) {
	table := &tableRecord{Sessions: []byte{0, 0}, Sockets: []byte{0, 0, 0}}
	one := socketRecord{Name: "/", Slot: 1, Gen: 1, Rooms: []string{"a", "b"}, Is: wasHeard | wasFollowed, Tasks: []taskRecord{{Event: "echo", ID: 7, Wants: true, Args: [][]byte{[]byte("1")}}}}
	f.Add(written(f, table, "shared", polled(1, one)))
	f.Add(written(f, table, &sessionRecord{Session: &eio.SessionState{Slot: 1, Gen: 1, Revision: 4}, Sockets: []socketRecord{one, {Name: "/room/7", Slot: 2, Gen: 1}}}))
	f.Add(written(f, table, &connRecord{}))
	f.Fuzz(func(t *testing.T, data []byte) {
		srv, sim, err := takeIn(t, data)
		if err != nil {
			return
		}
		for _, sh := range srv.shards {
			sh.loop.Post(loop.TaskFunc(func(*loop.Loop) { sh.inherit() }))
		}
		srv.releaseHandlers()
		_ = srv.Of("/").Emit("x", 1)
		sim.Turn()
		sim.Advance(time.Minute)
		if n := sim.Engine().Stats().Panics; n > 0 {
			t.Errorf("%d panics", n)
		}
	})
}

// Nothing of what is known of a connection stays behind, but for the descriptor, which goes
// beside it, and the tag, which its session says.
func TestARecordOfAConnectionHasAllOfIt(t *testing.T) {
	st := eio.ConnState{
		ConnState: loop.ConnState{
			Key: handle.Key{Slot: 1, Gen: 2}, Label: 3, Addr: netip.MustParseAddrPort("192.0.2.1:80"), Paused: true, Held: true, Await: true, Slow: true,
			Input: []byte("in"), Output: [][]byte{[]byte("out")}, Begun: 1, Quiet: time.Second, Taking: 4, Link: []byte("link"),
		},
		HTTP: &eio.HTTPState{Head: true}, Counted: true, Over: true,
	}
	body, err := passage.Marshal(connRecord{State: &st})
	if err != nil {
		t.Fatal(err)
	}
	var r connRecord
	if err := passage.Unmarshal(body, &r); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(*r.State, st) {
		t.Errorf("%+v goes as %+v", st, *r.State)
	}
	for of, fields := range map[reflect.Value][]string{reflect.ValueOf(st): nil, reflect.ValueOf(st.ConnState): {"FD", "Tag"}} {
		for i := range of.NumField() {
			if name := of.Type().Field(i).Name; of.Field(i).IsZero() && !slices.Contains(fields, name) {
				t.Errorf("this test has no %s", name)
			}
		}
	}
}
