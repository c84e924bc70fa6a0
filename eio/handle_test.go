package eio

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/handle"
	"github.com/sioedge/sioedge/loop/http1"
)

// TestIDsNeverRepeat opens and ends sessions until the table of one slot after
// the other has gone through all its generations. Whoever keeps an id, a Ref or
// a Session of an earlier one has nobody.
func TestIDsNeverRepeat(t *testing.T) {
	const left = 3 // generations of a slot
	var all []Session
	srv, sim := newSim(t, &hooks{open: func(s Session, _ *http1.Request) { all = append(all, s) }}, Options{}, loop.Options{})
	sh := srv.shards[0]
	sh.sessions.Age = handle.MaxGen - left
	seen := map[string]bool{}
	for n := range 4 * left {
		// Over and over the only session there is: the same slot as long as it
		// can be used.
		transport := []string{"polling", "websocket"}[n%2]
		request := getRequest("EIO=4&transport=polling")
		if transport == "websocket" {
			request = wsRequest("EIO=4&transport=websocket")
		}
		peer := sim.Connect(0)
		peer.Send(request)
		if len(all) != n+1 {
			t.Fatalf("session %d was not opened: %q", n, peer.Received())
		}
		s := all[n]
		if seen[s.ID()] {
			t.Fatalf("session %d has the id %s, which another had before", n, s.ID())
		}
		seen[s.ID()] = true
		for i, old := range all[:n] {
			_, found := srv.Lookup(sim.Engine().Loops()[0], old.Ref())
			if old.Valid() || found || old == s {
				t.Fatalf("session %d is valid again when %d is open", i, n)
			}
			old.Send([]byte("\x81\x074secret"))
			old.SetUser(7)
			old.Close()
		}
		if !s.Valid() || s.User() != 0 {
			t.Fatalf("session %d was touched through the handle of another", n)
		}
		peer.Received()
		s.Close()
		sim.Advance(time.Minute)
		peer.Close()
		sim.Turn()
	}
	if n := sh.sessions.Retired(); n != 4 {
		t.Errorf("%d slots are retired, want 4", n)
	}
	for id := range seen {
		peer := sim.Connect(0)
		peer.Send(getRequest("EIO=4&transport=polling&sid=" + id))
		if got := peer.Received(); !bytes.Contains(got, []byte(unknownSID.message)) {
			t.Fatalf("a poll with an old id was answered %q", got)
		}
		peer.Close()
	}
	sim.Turn()
	checkEmpty(t, srv, sim.Engine())
}

// TestNoRoomForASession: who comes when no slot is left is told so, over each
// transport and as often as it asks, and is counted.
func TestNoRoomForASession(t *testing.T) {
	srv, sim := newSim(t, &hooks{}, Options{}, loop.Options{})
	srv.shards[0].sessions.Limit = 1
	first := sim.Connect(0)
	first.Send(wsRequest("EIO=4&transport=websocket"))
	if got := first.Received(); !bytes.Contains(got, []byte(" 101 ")) {
		t.Fatalf("the first session got %q", got)
	}
	for n, request := range [][]byte{
		wsRequest("EIO=4&transport=websocket"), wsRequest("EIO=4&transport=websocket"), getRequest("EIO=4&transport=polling"),
	} {
		peer := sim.Connect(0)
		peer.Send(request)
		if got := string(peer.Received()); !strings.HasPrefix(got, "HTTP/1.1 503 ") || !peer.Closed() {
			t.Errorf("one too many got %q, want 503 and the end", got)
		}
		if got := srv.Stats().Full; got != int64(n+1) {
			t.Errorf("Stats().Full = %d, want %d", got, n+1)
		}
	}
	first.Close()
	sim.Advance(time.Minute)
	again := sim.Connect(0)
	again.Send(getRequest("EIO=4&transport=polling"))
	if got := again.Received(); !bytes.HasPrefix(got, []byte("HTTP/1.1 200 ")) {
		t.Errorf("a session after the other has gone got %q", got)
	}
	again.Close()
	sim.Advance(2 * time.Minute)
	checkEmpty(t, srv, sim.Engine())
}

func TestRecordsNeedNoPadding(t *testing.T) {
	if a, n := unsafe.Alignof(session{}), unsafe.Sizeof(session{}); a != 4 || n > 28 {
		t.Errorf("a session is %d bytes aligned to %d, want at most 28 aligned to 4", n, a)
	}
}
