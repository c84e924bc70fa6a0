package admin

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/sioedge/sioedge/sio"
)

// eventually waits until ok is true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

// While somebody asks, the biggest rooms are found, and who sends most; then the survey
// ends.
func TestRanks(t *testing.T) {
	a := start(t, settings())
	a.admin.surveyEvery = time.Millisecond
	for _, name := range []string{"/", "/rooms/:id"} {
		a.srv.Of(name).HandleAny(func(sio.Socket, *sio.Msg) error { return nil })
	}
	loud, quiet := a.srv.Connect("/rooms/7"), a.srv.Connect("/")
	for i := range 40 {
		quiet.Socket().Join(fmt.Sprintf("small %02d", i))
	}
	loud.Socket().Join("big")
	a.srv.Connect("/rooms/7").Socket().Join("big")
	a.srv.Settle()
	b := a.browser().enter(right)
	var x Ranks
	ask := func() {
		t.Helper()
		_, text := b.does("GET", "/admin/data/ranks", "")
		x = Ranks{}
		if err := json.Unmarshal([]byte(text), &x); err != nil {
			t.Fatal(err, text)
		}
	}
	eventually(t, "the biggest room", func() bool { ask(); return len(x.Rooms) == maxRanks })
	if x.Rooms[0] != (RoomRank{"big", "/rooms/7", 2}) || x.Rooms[1].Sockets != 1 {
		t.Errorf("the rooms are %v", x.Rooms)
	}
	a.srv.Settle() // it listens
	quiet.Emit("x", 1)
	for range 5 {
		loud.Emit("x", "12345")
	}
	ask()
	if len(x.Talkers) != 2 || x.Talkers[0].SID != loud.ID() || x.Talkers[0].Events != 5 || x.Talkers[0].Bytes != 35 || x.Talkers[0].User != "user of /rooms/7" || x.Talkers[1].Events != 1 {
		t.Errorf("the talkers are %+v", x.Talkers)
	}
	a.admin.survey.mu.Lock()
	a.admin.survey.asked = time.Now().Add(-surveyIdle)
	a.admin.survey.mu.Unlock()
	eventually(t, "the survey ends", func() bool {
		a.admin.survey.mu.Lock()
		defer a.admin.survey.mu.Unlock()
		return !a.admin.survey.running
	})
	a.srv.Settle()
	loud.Emit("x", "12345")
	if top := a.admin.survey.top(); top[0].Events != 5 {
		t.Errorf("without a survey events are counted: %+v", top[0])
	}
}

// Who takes nothing is found.
func TestSlowConsumers(t *testing.T) {
	a := start(t, settings())
	a.admin.surveyEvery = time.Millisecond
	a.srv.Of("/")
	a.srv.Connect("/")
	slow := a.srv.Connect("/")
	slow.Stall(true)
	if err := a.srv.Of("/").Emit("news", string(make([]byte, 50_000))); err != nil {
		t.Fatal(err)
	}
	a.srv.Settle()
	b := a.browser().enter(right)
	var x Ranks
	eventually(t, "somebody is slow", func() bool {
		_, text := b.does("GET", "/admin/data/ranks", "")
		return json.Unmarshal([]byte(text), &x) == nil && len(x.Slow) > 0
	})
	if len(x.Slow) != 1 || x.Slow[0].SID != slow.ID() || x.Slow[0].Queued < 40_000 {
		t.Errorf("slow are %+v", x.Slow)
	}
	slow.Stall(false)
	a.srv.Settle()
	eventually(t, "nobody is slow", func() bool {
		_, text := b.does("GET", "/admin/data/ranks", "")
		x = Ranks{}
		return json.Unmarshal([]byte(text), &x) == nil && len(x.Slow) == 0
	})
}

// Of more sockets than are counted, those that send most stay.
func TestTalkersAreBounded(t *testing.T) {
	x := survey{talkers: map[sio.Socket]*SocketRank{}, most: 4}
	srv := start(t, settings()).srv
	srv.Of("/").HandleAnyInline(func(sio.Socket, *sio.Msg) error { return nil })
	stop := srv.Observe(x.heard)
	defer stop()
	srv.Settle()
	var loud sio.Socket
	for i := range 20 {
		c := srv.Connect("/")
		flood(c, 1+10*(i%7))
		if i == 6 {
			loud = c.Socket()
		}
		if len(x.talkers) > x.most || x.talkers[c.Socket()] == nil {
			t.Fatalf("%d are kept, with the last: %t", len(x.talkers), x.talkers[c.Socket()] != nil)
		}
		if r := x.talkers[loud]; i >= 6 && i < 13 && (r == nil || r.Events != 61) {
			t.Errorf("who sends most is %+v after the client %d", r, i)
		}
	}
}

// Instances are listed in the order of their names, a page at a time.
func TestInstances(t *testing.T) {
	a := start(t, settings())
	a.srv.Of("/rooms/:id")
	for i := range 25 {
		a.srv.Connect(fmt.Sprintf("/rooms/%02d", i%5+10*(i/10)))
	}
	b := a.browser().enter(right)
	var all []string
	for behind := ""; ; {
		var x struct {
			Instances []Instance
			Cursor    string
		}
		_, text := b.does("GET", "/admin/data/instances?nsp=/rooms/:id&limit=4&behind="+behind, "")
		if err := json.Unmarshal([]byte(text), &x); err != nil || len(x.Instances) > 4 {
			t.Fatal(err, text)
		}
		for _, i := range x.Instances {
			if i.Sockets != 2 && i.Name < "/rooms/20" || i.Sockets != 1 && i.Name >= "/rooms/20" {
				t.Errorf("%+v", i)
			}
			all = append(all, i.Name)
		}
		if behind = x.Cursor; behind == "" {
			break
		}
	}
	if len(all) != 15 || all[0] != "/rooms/00" || all[14] != "/rooms/24" {
		t.Errorf("instances are %v", all)
	}
	b.wants("GET", "/admin/data/instances?nsp=/rooms/:id&limit=4&prefix=/rooms/1", "", 200, `"/rooms/10"`)
	b.wants("GET", "/admin/data/instances?nsp=/rooms/:id&limit=1000", "", 400, `"malformed"`)
	b.wants("GET", "/admin/data/instances?nsp=/nothing&limit=4", "", 404, `"unknown_namespace"`)
}
