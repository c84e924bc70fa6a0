package adminui

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/bustest"
	"github.com/sioedge/sioedge/sio"
)

// joined starts a server of a cluster, with pages, and returns its URL.
func joined(t *testing.T, bus *bustest.Bus) (u *UI, url string) {
	t.Helper()
	srv, err := sio.New(sio.Options{Adapter: bus.Adapter(), Logger: slog.New(slog.DiscardHandler), KeepHandshake: sio.KeepAlways})
	if err != nil {
		t.Fatal(err)
	}
	srv.Of("/")
	u = New(srv, Options{Admin: settings(), Cluster: true})
	addr, err := srv.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	// ends with the test
	go func() { done <- srv.Serve(ctx) }()
	t.Cleanup(func() { u.Close(context.Background()); cancel(); <-done })
	return u, "http://" + addr.String()
}

// A page that is connected to one server is told of the sockets of another, which observes
// them as long as it is there.
func TestPagesOfOtherServers(t *testing.T) {
	bus := bustest.New()
	a, urlA := joined(t, bus)
	b, urlB := joined(t, bus)
	old := bustest.Poll(t, urlB)
	old.Send("40")
	old.Await("40{")
	if a.Stats().Observing || b.Stats().Observing {
		t.Error("sockets are observed, and nobody looks")
	}
	page := bustest.Poll(t, urlA)
	page.Send(fmt.Sprintf(`40/admin,{"username":"root","password":%q}`, password))
	if all := page.Await(`42/admin,["all_sockets"`); strings.Count(all, `"nsp":"/"`) != 1 || strings.Contains(all, "_admin") || !strings.Contains(all, `"transport":"polling"`) {
		t.Errorf("who is there: %s", all)
	}
	eventually(t, "the other server observes", func() bool { return b.Stats().Observing })
	c := bustest.Poll(t, urlB)
	c.Send("40")
	var x struct{ SID string }
	if err := json.Unmarshal([]byte(strings.TrimPrefix(c.Await("40{"), "40")), &x); err != nil {
		t.Fatal(err)
	}
	page.Await(fmt.Sprintf(`42/admin,["socket_connected",{"id":%q`, x.SID))
	c.Send(`42["hello",1]`)
	page.Await(fmt.Sprintf(`42/admin,["event_received","/",%q,["hello",1]`, x.SID))
	page.Send(fmt.Sprintf(`42/admin,["join","/","room",%q]`, x.SID))
	page.Await(fmt.Sprintf(`42/admin,["room_joined","/","room",%q`, x.SID))
	page.Send("41/admin,")
	eventually(t, "nobody observes", func() bool { return !a.Stats().Observing && !b.Stats().Observing })
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 30 s", what)
		}
	}
}

// What other servers say is checked.
func TestPeersThatSayAnything(t *testing.T) {
	u, _ := joined(t, bustest.New())
	for _, body := range []string{``, `1`, `[]`, `{"pages":"x"}`, `{"events":1}`} {
		if _, err := u.heardWatch("x", json.RawMessage(body)); err == nil {
			t.Errorf("watch %q is understood", body)
		}
		if _, err := u.heardEvents("x", json.RawMessage(body)); err == nil && body != `{"pages":"x"}` {
			t.Errorf("events %q are understood", body)
		}
	}
	for i := range 2 * maxPeers {
		if _, err := u.heardWatch(fmt.Sprint(i), json.RawMessage(`{"pages":1}`)); err != nil {
			t.Fatal(err)
		}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.peers) != maxPeers {
		t.Errorf("%d servers are known", len(u.peers))
	}
}

func FuzzPeerEvent(f *testing.F) {
	for _, s := range []string{
		`{"ev":"server_stats","args":[{"serverId":"x"}]}`, `{"ev":"event_sent","args":["/","id",["x",{"_placeholder":true,"num":0}]],"bin":["AQ=="]}`,
		`{"ev":"config","args":[]}`, `{"ev":"room_left","args":{}}`, `{"ev":"room_left","bin":["?"]}`, `{"ev":"room_left","args":[1,]}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var e peerEvent
		if json.Unmarshal([]byte(s), &e) != nil {
			return
		}
		a, err := e.args()
		if err != nil {
			return
		}
		if raw, _ := a.Verbatim(); e.Event == "config" || len(raw) > 0 && !json.Valid(raw[0]) {
			t.Errorf("%q is understood", s)
		}
	})
}
