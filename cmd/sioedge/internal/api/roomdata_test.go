package api

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/api/wire"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/bustest"
)

// roomData returns what a server says that is stored with a room.
func (a *app) roomData(room string) string {
	a.t.Helper()
	var d wire.RoomDetail
	a.into(&d, "GET", "/api/rooms/%2F/"+room, "")
	return string(d.Data)
}

// What is stored with a room is so on all servers, and the latest counts.
func TestRoomData(t *testing.T) {
	bus := bustest.New()
	a, b := start(t, bus, nil), start(t, bus, nil)
	a.wants("PUT", "/api/rooms/%2F/r", `{"data":{"topic":"ä"}, "ttl": 60}`, 200, `{}`)
	for _, s := range []*app{a, b} {
		if got := s.roomData("r"); got != `{"topic":"ä"}` {
			t.Errorf("it is %s", got)
		}
	}
	b.wants("PUT", "/api/rooms/%2F/r", `{"data":[1]}`, 200, `{}`)
	if got := a.roomData("r"); got != `[1]` {
		t.Errorf("the later is %s", got)
	}
	if got := a.roomData("other"); got != "" {
		t.Errorf("another room's is %s", got)
	}
	// One that was cut off learns of it when it is asked, and so does who asks it.
	b.bus.Cut(true)
	b.api.peers.silent.remove(a.srv.Node())
	a.wants("PUT", "/api/rooms/%2F/r", `{"data":"new"}`, 200, `{}`)
	b.bus.Cut(false)
	for _, s := range []*app{b, a} {
		eventually(t, "the latest is known", func() bool { return s.roomData("r") == `"new"` })
	}
	if r := b.api.roomData.get("/", "r"); r == nil || string(r.Data) != `"new"` {
		t.Errorf("it is kept as %+v", r)
	}
	// A server whose clock is ahead does not have its way for ever.
	ahead := roomRecord{Nsp: "/", Room: "r", Data: json.RawMessage(`"ahead"`), Stamp: time.Now().Add(30 * time.Second).UnixMilli(), By: "z", TTL: 60}
	b.api.roomData.told(ahead)
	a.wants("PUT", "/api/rooms/%2F/r", `{"data":"last"}`, 200, `{}`)
	if x, y := a.roomData("r"), b.roomData("r"); x != `"last"` || y != x {
		t.Errorf("it is %s, and %s", x, y)
	}
	a.wants("PUT", "/api/rooms/%2F/r", `{"data":null}`, 200, `{}`)
	if x, y := a.roomData("r"), b.roomData("r"); x != "" || y != "" {
		t.Errorf("what was taken out is %s, and %s", x, y)
	}
}

// It stays while somebody is in the room, and for its time after that.
func TestRoomDataEnds(t *testing.T) {
	bus := bustest.New()
	a, b := start(t, bus, nil), start(t, bus, nil)
	b.connect("/", "u", "{}", "far")
	a.connect("/", "u", "{}", "near")
	for _, room := range []string{"far", "near", "empty"} {
		a.wants("PUT", "/api/rooms/%2F/"+room, `{"data":1,"ttl":7200}`, 200, `{}`)
	}
	a.wants("PUT", "/api/rooms/%2F/gone", `{"data":1,"ttl":7200}`, 200, `{}`)
	a.wants("PUT", "/api/rooms/%2F/gone", `{"data":null,"ttl":1200}`, 200, `{}`)
	d := &a.api.roomData
	look := func(after time.Duration) string {
		now := time.Now().Add(after)
		for _, k := range d.over(now) {
			d.settle(k, now)
		}
		return fmt.Sprint(d.get("/", "far") != nil, d.get("/", "near") != nil, d.get("/", "empty") != nil, d.get("/", "gone") != nil)
	}
	if got := look(time.Minute); got != "true true true true" {
		t.Errorf("before its time there is %s", got)
	}
	if got := look(time.Hour); got != "true true true false" {
		t.Errorf("what was taken out: there is %s", got)
	}
	if got := look(3 * time.Hour); got != "true true false false" {
		t.Errorf("of rooms of nobody there is %s", got)
	}
	// As long as a server does not say that nobody is there, somebody may be.
	b.bus.Mute(true)
	if got := look(6 * time.Hour); got != "true true false false" {
		t.Errorf("while a server does not answer there is %s", got)
	}
	if s := a.api.Stats().RoomData; s.Rooms != 2 || s.Bytes != 2*(roomDataEach+len("/near1"))-1 {
		t.Errorf("the counts are %+v", s)
	}
}

// What is taken out goes by itself, and so does who looks for it.
func TestRoomDataSweep(t *testing.T) {
	a := start(t, nil, nil)
	a.wants("PUT", "/api/rooms/%2F/r", `{"data":1,"ttl":1}`, 200, `{}`)
	d := &a.api.roomData
	eventually(t, "nothing is kept, and nobody looks", func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		return len(d.kept) == 0 && d.bytes == 0 && !d.sweeping
	})
	a.wants("PUT", "/api/rooms/%2F/r", `{"data":2}`, 200, `{}`)
	if got := a.roomData("r"); got != "2" {
		t.Errorf("it is %s", got)
	}
}

func TestRoomDataThatIsWrong(t *testing.T) {
	a := start(t, bustest.New(), func(o *Options) { o.MaxRoomData = 20 << 10 })
	long := `"` + strings.Repeat("a", maxRoomData-2) + `"`
	for _, x := range []struct {
		path, body, code, field string
		status                  int
	}{
		{"%2F/r", `{}`, "missing", "data", 400},
		{"%2F/r", `{"data":1,"x":1}`, "unknown_member", "x", 400},
		{"%2F/r", `[]`, "wrong_type", "", 400},
		{"%2F/r", `{"data":1`, "malformed", "", 400},
		{"%2F/r", `{"data":1,"ttl":0}`, "malformed", "ttl", 400},
		{"%2F/r", `{"data":1,"ttl":86401}`, "malformed", "ttl", 400},
		{"%2F/r", `{"data":` + strings.Repeat("[", 80) + strings.Repeat("]", 80) + `}`, "too_deep", "", 400},
		{"%2F/r", `{"data":` + long[:9] + long + `}`, "malformed", "", 400},
		{"%2F/r", `{"data":[` + long + `]}`, "too_long", "data", 400},
		{"%2F/" + strings.Repeat("r", 1025), `{"data":1}`, "too_long", "room", 400},
		{"%2Fnowhere/r", `{"data":1}`, "unknown_namespace", "nsp", 404},
		{"%2Fsioedge.servers/r", `{"data":1}`, "unknown_namespace", "nsp", 404},
		{"%2F/r", `{"data":` + long + `}`, "", "", 200},
		{"%2F/r", `{"data":` + long + `}`, "", "", 200}, // in its place
		{"%2F/s", `{"data":` + long + `}`, "full", "", 503},
		{"%2F/r", `{"data":null}`, "", "", 200},
		{"%2F/s", `{"data":` + long + `}`, "", "", 200},
	} {
		status, answer := a.ask("PUT", "/api/rooms/"+x.path, x.body)
		var f wire.Failure
		_ = json.Unmarshal([]byte(answer), &f)
		if status != x.status || f.Error.Code != x.code || f.Error.Field != x.field {
			t.Errorf("%s %.60s: %d %s, want %d %s %s", x.path, x.body, status, answer, x.status, x.code, x.field)
		}
	}
	if s := a.api.Stats().RoomData; s.Refused != 1 || !strings.Contains(a.log.String(), "api.max_room_data") {
		t.Errorf("refused %d: %s", s.Refused, a.log)
	}
	// Nor is what other servers say.
	now := time.Now()
	good := roomRecord{Nsp: "/", Room: "t", Data: json.RawMessage("1"), Stamp: now.UnixMilli(), By: "n", TTL: 60}
	for name, change := range map[string]func(r *roomRecord){
		"no namespace":     func(r *roomRecord) { r.Nsp = "" },
		"no room":          func(r *roomRecord) { r.Room = "" },
		"a long room":      func(r *roomRecord) { r.Room = strings.Repeat("r", 2000) },
		"a long name":      func(r *roomRecord) { r.By = strings.Repeat("r", 2000) },
		"much data":        func(r *roomRecord) { r.Data = json.RawMessage("[" + long + "]") },
		"no JSON":          func(r *roomRecord) { r.Data = json.RawMessage("[1") },
		"a time to come":   func(r *roomRecord) { r.Stamp = now.Add(time.Hour).UnixMilli() },
		"a negative stamp": func(r *roomRecord) { r.Stamp = -1 },
		"no time":          func(r *roomRecord) { r.TTL = 0 },
		"for ever":         func(r *roomRecord) { r.TTL = 1 << 40 },
	} {
		r := good
		change(&r)
		if a.api.roomData.told(r) != nil || a.api.roomData.get(r.Nsp, r.Room) != nil {
			t.Errorf("%s is stored", name)
		}
	}
	if a.api.roomData.told(good) == nil {
		t.Error("what is right is not stored")
	}
}
