package sio_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sioedge/sioedge/sio"
)

type account struct {
	Name string
	ID   int64
	Raw  []byte
}

// What is stored comes back as what it was, or as an error that says what it is and
// what it should have been.
func TestDataOf(t *testing.T) {
	s := newParty(t, 1).sockets[0]
	if _, err := sio.DataOf[account](s); err == nil || !strings.Contains(err.Error(), "<nil>") || !strings.Contains(err.Error(), "sio_test.account") {
		t.Errorf("DataOf of nothing = %v, want an error that names both", err)
	}
	a := &account{Name: "Ann"}
	s.SetData(a)
	if got, err := sio.DataOf[*account](s); got != a || err != nil {
		t.Errorf("DataOf = %v, %v, want the same pointer", got, err)
	}
	if got, err := sio.DataOf[any](s); got != any(a) || err != nil {
		t.Errorf("DataOf[any] = %v, %v", got, err)
	}
	if _, err := sio.DataOf[account](s); err == nil || !strings.Contains(err.Error(), "*sio_test.account, not sio_test.account") {
		t.Errorf("DataOf of another type = %v, want an error that names both", err)
	}
	s.SetData(json.RawMessage(`{"Name":"Bob"}`)) // the application's own
	if _, err := sio.DataOf[account](s); err == nil {
		t.Error("DataOf decodes JSON that the application stored")
	}
}

// Data goes through a cluster as JSON, is decoded once, and goes on from there; what
// is not what it was is an error.
func TestDataOfWhoComesThroughACluster(t *testing.T) {
	c := newCluster(t, time.Minute)
	a, s := c.dial(0)
	want := account{"Ann", 1<<60 + 1, []byte{1, 0xff}}
	s.SetData(want)
	for hop := range 3 {
		c.move(a, (hop+1)%2)
		a.connect()
		if a.recoveredAs != a.sid {
			t.Fatalf("it is %s, want %s", a.recoveredAs, a.sid)
		}
		s = take(t, found(c.ns[(hop+1)%2], a.sid))
		if hop == 1 {
			continue // not looked at: as it is, it travels on
		}
		if _, ok := s.Data().(json.RawMessage); !ok {
			t.Errorf("Data is a %T, want JSON", s.Data())
		}
		if _, err := sio.DataOf[[]int](s); err == nil || !strings.Contains(err.Error(), "[]int") || !strings.Contains(err.Error(), "JSON") {
			t.Errorf("DataOf of another type = %v, want an error that names both", err)
		}
		got, err := sio.DataOf[account](s)
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("DataOf = %v, %v, want %v", got, err, want)
		}
		if _, ok := s.Data().(account); !ok {
			t.Errorf("Data is a %T, want an account", s.Data())
		}
	}
}

type stubborn struct{ fail func() }

func (u stubborn) MarshalJSON() ([]byte, error) {
	u.fail()
	return nil, errors.New("no JSON of it")
}

// A socket whose data cannot be encoded does not come back through a cluster without
// it, and other servers are told that it could not be.
func TestDataThatCannotTravel(t *testing.T) {
	for _, fail := range []func(){func() {}, func() { panic("of the program's") }} {
		c := newCluster(t, time.Minute)
		a, s := c.dial(0)
		s.SetData(stubborn{fail})
		all, err := c.ns[0].All().FetchSockets(context.Background())
		if err != nil || len(all) != 1 {
			t.Fatalf("FetchSockets = %v, %v, want the one", all, err)
		}
		if err := all[0].Data(new(any)); err == nil {
			t.Error("Data of what could not be encoded has no error")
		}
		c.move(a, 1)
		a.connect()
		if a.recoveredAs == a.sid {
			t.Errorf("it was recovered with the data %v", take(t, found(c.ns[1], a.sid)).Data())
		}
	}
}

// Values by keys are of their types, come back with a recovered socket of the same
// server, and go with the socket.
func TestKeys(t *testing.T) {
	type user struct{ name string }
	first, second := sio.NewKey[*user](), sio.NewKey[*user]()
	number, failure := sio.NewKey[int](), sio.NewKey[error]()
	left, last := make(chan string, 1), make(chan string, 1)
	srv, dial, ns := recoverers(t, sio.Options{}, func(ns *sio.Namespace) {
		ns.OnDisconnect(func(s sio.Socket, _ sio.Reason) {
			u, ok := first.Get(s)
			last <- fmt.Sprint(u != nil && u.name == "Ann", ok, errors.Is(first.Set(s, nil), sio.ErrClosed))
			left <- s.ID()
		})
	})
	r := dial()
	s := take(t, found(ns, r.sid))
	ann := &user{"Ann"}
	for _, err := range []error{first.Set(s, &user{"x"}), first.Set(s, ann), number.Set(s, 7), failure.Set(s, nil)} {
		if err != nil {
			t.Error(err)
		}
	}
	check := func(s sio.Socket) {
		t.Helper()
		if u, ok := first.Get(s); u != ann || !ok {
			t.Errorf("the first is %v, %v, want the same pointer", u, ok)
		}
		if u, ok := second.Get(s); u != nil || ok {
			t.Errorf("the second is %v, %v, want none", u, ok)
		}
		if n, ok := number.Get(s); n != 7 || !ok {
			t.Errorf("the number is %v, %v, want 7", n, ok)
		}
		if err, ok := failure.Get(s); err != nil || !ok {
			t.Errorf("the failure is %v, %v, want a nil one", err, ok)
		}
	}
	check(s)
	r.cut()
	if got := take(t, last); got != "true true true" {
		t.Errorf("in OnDisconnect: %s", got)
	}
	gone(t, left, r.sid)
	if _, ok := first.Get(s); ok {
		eventually(t, "forgetting the values", func() bool { _, ok := first.Get(s); return !ok })
	}
	r.connect()
	s = take(t, found(ns, r.sid))
	check(s)
	number.Delete(s)
	if _, ok := number.Get(s); ok {
		t.Error("the number is there after Delete")
	}
	first.Delete(s)
	failure.Delete(s)
	if h := srv.Held(); h["details"] != 1 || h["values"] != 0 { // of the recovery
		t.Errorf("%v are held, want 1 detail and no values", h)
	}
	defer func() {
		if recover() == nil {
			t.Error("Set of a Key that NewKey has not made did not panic")
		}
	}()
	_ = sio.Key[int]{}.Set(s, 1)
}

// A socket without data or values takes nothing for them.
func TestSocketsWithoutDataTakeNothing(t *testing.T) {
	st := newStage(t, sio.Options{})
	key := sio.NewKey[int]()
	x := st.enter(0)
	for what, f := range map[string]func(){
		"Get":    func() { key.Get(x.s) },
		"Delete": func() { key.Delete(x.s) },
		"DataOf": func() { _, _ = sio.DataOf[int](x.s) },
		"nil":    func() { x.s.SetData(nil) },
	} {
		if f(); st.Held()["details"]+st.Held()["values"] != 0 {
			t.Errorf("after %s a detail is held", what)
		}
	}
	if err := key.Set(x.s, 1); err != nil || st.Held()["values"] != 1 {
		t.Errorf("Set = %v, %v sockets' values are held, want 1", err, st.Held()["values"])
	}
}

// EditData makes the new data of the old, and nobody stores anything meanwhile.
func TestEditData(t *testing.T) {
	var joined chan sio.Socket
	srv := serve(t, sio.Options{}, func(srv *sio.Server) { joined = sockets(srv.Of("/")) })
	c := srv.join("40")
	s := take(t, joined)
	add := func(old any) (any, error) {
		n, _ := old.(int)
		return n + 1, nil
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 100 {
				if err := s.EditData(add); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	no := errors.New("no")
	if err := s.EditData(func(any) (any, error) { return 1, no }); err != no || s.Data() != 400 {
		t.Errorf("EditData = %v, and the data is %v, want 400", err, s.Data())
	}
	c.send("41")
	eventually(t, "it has left", func() bool { return errors.Is(s.EditData(add), sio.ErrClosed) })
	if s.Data() != nil {
		t.Error("who has left has data")
	}
}
