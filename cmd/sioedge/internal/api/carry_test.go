package api

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/carried"
	"github.com/sioedge/sioedge/sio"
)

// A stream ends behind a line, with how many were done; what follows is not. When it is
// called off, streams that come are as before.
func TestAStreamEndsBetweenTwoLines(t *testing.T) {
	a := start(t, nil, nil)
	c := a.connect("/", "", "{}")
	for range 2 {
		s := a.open("/api/stream", testKey)
		s.line(`{"emit":{"ev":"1"}}`)
		s.wants(`{"result":{}}`)
		s.line("no JSON")
		s.wants(`{"error":{"code":"malformed","message":"is no JSON"}}`)
		if err := a.api.Hold(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.wants(`{"error":{"code":"moving","message":"2 commands were done, and another process takes over: go on with the next one, by another connection"}}`)
		s.wants("")
		a.api.Release()
		c.gets(`["1"]`)
	}
	if rest := c.Rest(); len(rest) > 0 {
		t.Errorf("the client got %q besides", rest)
	}
}

// A request that is under way is waited for; others wait, and are done if nothing comes of
// the handover; else they are to come again.
func TestRequestsWaitForAHandover(t *testing.T) {
	a := start(t, nil, nil)
	enter, leave := make(chan struct{}), make(chan struct{})
	a.srv.Of("/slow").Use(func(sio.Socket) error { return nil })
	under, p := a.api.pause.begin(t.Context())
	if p != nil || under.Err() != nil {
		t.Fatal(p)
	}
	ctx, done := context.WithTimeout(t.Context(), time.Millisecond)
	defer done()
	if err := a.api.Hold(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Hold while a request is under way = %v", err)
	}
	<-under.Done() // it had most of the time
	asked, hurried := within(t.Context(), under)
	defer hurried()
	<-asked.Done()
	if !errors.Is(asked.Err(), context.DeadlineExceeded) {
		t.Errorf("who asks clients then ends with %v", asked.Err())
	}
	a.api.pause.done()
	if err := a.api.Hold(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, moved := range []bool{false, true} {
		go func() { // ends with the answer
			enter <- struct{}{}
			status, answer := a.ask("POST", "/api/emit", `{"ev":"x"}`)
			if moved != (status == 503) || moved != strings.Contains(answer, `"moving"`) {
				t.Errorf("moved: %t; it is answered %d %s", moved, status, answer)
			}
			leave <- struct{}{}
		}()
		<-enter
		select {
		case <-leave:
			t.Error("it is answered while requests are held")
			continue
		case <-time.After(10 * time.Millisecond): // it does not come, whenever that is
		}
		if moved {
			a.api.Moved()
		} else {
			a.api.Release()
		}
		<-leave
		if !moved {
			if err := a.api.Hold(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Idempotency keys, with answers and errors, and what is stored with rooms are there in the
// successor.
func TestWhatIsRememberedGoesAlong(t *testing.T) {
	a, b := start(t, nil, nil), start(t, nil, nil)
	const nowhere = `{"error":{"code":"unknown_namespace","message":"is a namespace that no client can join","field":"nsp"}}`
	a.wants("POST", "/api/emit", `{"ev":"x","id":"k1"}`, 200, `{}`)
	a.wants("POST", "/api/emit", `{"ev":"x","nsp":"/nowhere","id":"k2"}`, 404, nowhere)
	a.wants("PUT", "/api/rooms/%2F/r", `{"data":{"a":1},"ttl":3600}`, 200, `{}`)
	data, err := a.api.Export()
	if err != nil {
		t.Fatal(err)
	}
	if err := b.api.Import(data); err != nil {
		t.Fatal(err)
	}
	b.wants("POST", "/api/emit", `{"ev":"x","id":"k1"}`, 200, `{"replayed":true}`)
	b.wants("POST", "/api/emit", `{"ev":"x","nsp":"/nowhere","id":"k2"}`, 404, nowhere)
	if status, _ := b.ask("POST", "/api/emit", `{"ev":"y","id":"k1"}`); status != 422 {
		t.Errorf("another command of the same key is answered %d", status)
	}
	if r := b.api.roomData.get("/", "r"); r == nil || string(r.Data) != `{"a":1}` || r.TTL != 3600 || r.By != a.srv.Node() {
		t.Errorf("with the room is stored %+v", r)
	}
	if s, was := b.api.Stats(), a.api.Stats(); s.KnownSize != was.KnownSize {
		t.Errorf("what is remembered has %d bytes, and had %d", s.KnownSize, was.KnownSize)
	}
	if err := b.api.Import(data); err == nil {
		t.Error("keys that are there are taken once more")
	}
}

// What cannot be is refused.
func TestHostileMemories(t *testing.T) {
	a := start(t, nil, nil)
	room, _ := json.Marshal(roomRecord{Nsp: "/", Room: "r", Data: json.RawMessage(`1`), Stamp: 1, TTL: 60})
	for name, x := range map[string]carriedAPI{
		"no key":             {Once: []carriedOnce{{Answer: []byte(`{}`)}}},
		"a long key":         {Once: []carriedOnce{{ID: strings.Repeat("x", maxOnceKey+1), Answer: []byte(`{}`)}}},
		"an answer, no JSON": {Once: []carriedOnce{{ID: "x", Answer: []byte(`{`)}}},
		"a long answer":      {Once: []carriedOnce{{ID: "x", Answer: []byte(`"` + strings.Repeat("x", onceAnswer) + `"`)}}},
		"no error":           {Once: []carriedOnce{{ID: "x", Status: 404}}},
		"a good error":       {Once: []carriedOnce{{ID: "x", Status: 200, Error: []byte(`{}`)}}},
		"of the future":      {Once: []carriedOnce{{ID: "x", Age: -1, Answer: []byte(`{}`)}}},
		"the same twice":     {Once: []carriedOnce{{ID: "x", Answer: []byte(`{}`)}, {ID: "x", Answer: []byte(`{}`)}}},
		"no room":            {Rooms: []carriedRoom{{Record: []byte(`{}`)}}},
		"no record":          {Rooms: []carriedRoom{{Record: []byte(`7`)}}},
	} {
		data, err := carried.Marshal(x)
		if err != nil {
			t.Fatal(err)
		}
		if a.api.Import(data) == nil {
			t.Errorf("%s is taken", name)
		}
		a.api.memory = memory{}
		a.api.memory.init()
	}
	good, _ := carried.Marshal(carriedAPI{Rooms: []carriedRoom{{Record: room, Due: time.Hour}}})
	if err := a.api.Import(good); err != nil {
		t.Errorf("what is right is refused: %v", err)
	}
}

// Whatever comes is refused, or can be handed over again.
func FuzzImport(f *testing.F) {
	data, _ := carried.Marshal(carriedAPI{Once: []carriedOnce{{ID: "x", Answer: []byte(`{}`)}, {ID: "y", Status: 404, Error: []byte(`{}`)}}})
	f.Add(data)
	a := start(f, nil, nil)
	f.Fuzz(func(t *testing.T, data []byte) {
		a.api.memory = memory{}
		a.api.memory.init()
		if a.api.Import(data) != nil {
			return
		}
		again, err := a.api.Export()
		if err != nil {
			t.Fatal(err)
		}
		a.api.memory = memory{}
		a.api.memory.init()
		if err := a.api.Import(again); err != nil {
			t.Errorf("what was exported again is refused: %v", err)
		}
	})
}
