package rooms

import (
	"encoding/json"
	"fmt"
	"reflect"
	"testing"
)

// A loop's sockets go on in the rooms of another directory where they were, and get
// the same from then on.
func TestStatesGoOnElsewhere(t *testing.T) {
	r := newRig()
	const many = recordChunk + 3 // in two chunks
	for slot := uint32(1); slot < many; slot += 7 {
		r.add([]uint32{slot}, "all", room(int(slot%3)), "x", room(int(slot%5)), "y", fmt.Sprint("own", slot))
	}
	r.l.Join(3, 1, "early") // it is not connected
	r.l.Leave(8, 1, "x")
	r.l.Leave(15, 1, "all")
	r.l.Remove(22)
	r.publish("owed", to("x"))
	states := r.l.Snapshot()
	delivered := len(r.log)
	if r.all(); delivered == 0 || len(r.log) != delivered {
		t.Errorf("%d deliveries by the snapshot and %d after it, want none to be owed", delivered, len(r.log)-delivered)
	}

	text, err := json.Marshal(states) // they are plain data
	if err != nil {
		t.Fatal(err)
	}
	var read []State
	if err := json.Unmarshal(text, &read); err != nil || !reflect.DeepEqual(read, states) {
		t.Fatalf("states as JSON = %v, %v, want %v", read, err, states)
	}
	o := newRig()
	for i := range read { // in any order
		o.l.Restore(read[len(read)-1-i], 1)
	}
	if again := o.l.Snapshot(); !reflect.DeepEqual(again, states) {
		t.Errorf("states of the other = %v, want %v", again, states)
	}
	r.log = nil
	for _, b := range []Broadcast{{}, to("x"), to(room(0), room(1)), {Except: []string{"all"}}, {ToRefs: []Ref{MakeRef(0, 8, 1)}}, to("early")} {
		r.publish("m", b)
		o.publish("m", b)
	}
	r.all()
	o.all()
	if len(r.log) == 0 || !reflect.DeepEqual(r.log, o.log) {
		t.Errorf("deliveries elsewhere %q, want %q", o.log, r.log)
	}
	if n, want := o.dir.Count(1, "all"), r.dir.Count(1, "all"); n != want {
		t.Errorf("the room has %d members elsewhere, want %d", n, want)
	}
	mustPanic(t, "Restore of a slot in use", func() { o.l.Restore(states[0], 1) })
}
