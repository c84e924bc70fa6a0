package admin

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"testing"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/api/wire"
	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/wsframe"
)

const opening = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

// crowd makes a server with so many sockets in "/", each in the room "all" and in one of a
// hundred others.
func crowd(t testing.TB, many int) *app {
	t.Helper()
	srv, sim, err := sio.NewSim(sio.Options{Engine: eio.Options{MaxSessions: many + 1}, Loop: loop.Options{Loops: 2}})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	srv.Of("/").HandleInline("join", func(s sio.Socket, _ *sio.Msg) error {
		s.Join("all", fmt.Sprintf("room %02d", n%100))
		n++
		return nil
	})
	packet := func(text string) []byte {
		return wsframe.AppendMaskedFrame(nil, wsframe.Text, []byte(text), [4]byte{1, 2, 3, 4})
	}
	for i := range many {
		p := sim.Connect(i % 2)
		p.Discard(true)
		for _, b := range [][]byte{[]byte(opening), packet("40"), packet(`42["join"]`)} {
			p.Send(b)
		}
	}
	a := serve(t, srv, settings())
	if n != many || srv.Of("/").Count() != many {
		t.Fatalf("there are %d sockets, of which %d have joined", srv.Of("/").Count(), n)
	}
	return a
}

// However many sockets there are, a request of the page looks at so many, and a search
// goes on where the last one has ended.
func TestManySockets(t *testing.T) {
	const step = 4 * 4096 // operatorPages of what is looked at for one question
	a := crowd(t, many)
	b := a.browser().enter(right)
	ask := func(body string) (x wire.Sockets) {
		t.Helper()
		a.users.Store(0)
		status, text := b.does("POST", "/admin/api/sockets/query", body)
		if err := json.Unmarshal([]byte(text), &x); err != nil || status != http.StatusOK {
			t.Fatalf("%d %s", status, text)
		}
		return x
	}
	for _, body := range []string{`{"limit":50,"fields":["user"]}`, `{"limit":50,"fields":["user"],"in":["all"]}`, `{"limit":50,"fields":["user"],"in":["room 42"]}`} {
		if x := ask(body); len(x.Sockets) != 50 || x.Cursor == "" || a.users.Load() != 50 {
			t.Errorf("%s: a page of %d was made of %d sockets", body, len(x.Sockets), a.users.Load())
		}
	}
	seen, cursor := 0, ""
	for asked := 0; ; asked++ {
		x := ask(fmt.Sprintf(`{"limit":50,"user":"nobody","fields":["user"],"cursor":%q}`, cursor))
		if n := int(a.users.Load()); n > step+64 || len(x.Sockets) > 0 {
			t.Fatalf("a search has looked at %d sockets, and found %d", n, len(x.Sockets))
		}
		seen += int(a.users.Load())
		if cursor = x.Cursor; cursor == "" {
			break
		}
		if asked > 2*many/step {
			t.Fatal("a search does not end")
		}
	}
	if seen != many {
		t.Errorf("a search has looked at %d of %d sockets", seen, many)
	}
	var d wire.RoomDetail
	a.users.Store(0)
	_, text := b.does("GET", "/admin/api/rooms/"+url.PathEscape("/")+"/all?limit=1", "")
	if err := json.Unmarshal([]byte(text), &d); err != nil || d.Count != many || a.users.Load() != 1 {
		t.Errorf("%d sockets were looked at for %s", a.users.Load(), text)
	}
	a.surveyed(t)
}

// surveyed looks at what a survey has found, a step at a time.
func (a *app) surveyed(t *testing.T) {
	rooms, sockets := &round[RoomRank]{all: a.admin.allRooms}, &round[sio.Socket]{all: a.admin.allSockets}
	n, steps := 0, 0
	for over := false; !over; steps++ {
		before := n
		if over = sockets.step(surveySockets, func(sio.Socket) { n++ }); n-before > surveySockets {
			t.Fatalf("%d sockets at one step", n-before)
		}
	}
	if n != many || steps != many/surveySockets+1 {
		t.Errorf("%d sockets in %d steps", n, steps)
	}
	var top []RoomRank
	for over := false; !over; {
		over = rooms.step(7, func(r RoomRank) { top = ranked(top, r, bigger) })
	}
	if len(top) != maxRanks || top[0] != (RoomRank{"all", "/", many}) || top[1] != (RoomRank{"room 00", "/", many / 100}) || top[24].Room != "room 23" {
		t.Errorf("the biggest rooms are %v", top)
	}
}
