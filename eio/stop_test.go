package eio

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/wsframe"
)

// TestStopEndsEverySession: CloseAll tells the clients, in the way of each
// transport, also of one that is upgrading, which loses what waited; nothing of
// the server is left then, and its loops end.
func TestStopEndsEverySession(t *testing.T) {
	reasons := make(chan Reason, 5)
	m, addr := start(t, &hooks{
		message: func(s Session, data []byte, _ bool) { s.Send(AppendText(nil, data)) },
		close:   func(_ Session, r Reason) { reasons <- r },
	}, Options{CloseTimeout: 30 * time.Millisecond}, 2)
	handshake := func(w *wire, sid string) {
		w.must(wsRequest("EIO=4&transport=websocket&sid="+sid), 101)
		w.text("2probe")
		w.expect("3probe")
	}
	plain, upgraded, upgrading := dial(t, addr), dial(t, addr), dial(t, addr)
	plain.must(wsRequest("EIO=4&transport=websocket"), 101)
	if m, err := plain.message(); err != nil || !strings.HasPrefix(string(m.Data), "0{") {
		t.Fatalf("message = %q, %v, want the open packet", m.Data, err)
	}
	polls, silent, http := dial(t, addr), dial(t, addr), dial(t, addr)
	sid := http.open()
	handshake(upgraded, sid)
	upgraded.text("5")
	upgraded.text("4x")
	upgraded.expect("4x")
	sid = http.open()
	handshake(upgrading, sid)
	http.must(postRequest("EIO=4&transport=polling&sid="+sid, "4discarded"), 200)
	silent.open()
	query := "EIO=4&transport=polling&sid=" + polls.open()
	if _, err := polls.Write(append(getRequest(query), getRequest(query)...)); err != nil { // the second one waits
		t.Fatal(err)
	}
	http.must(postRequest(query, "4answered"), 200)
	if got := polls.must(nil, 200); got != "4answered" {
		t.Fatalf("poll = %q, want 4answered", got)
	}
	for _, sh := range m.shards {
		sh.loop.Ask(func() { m.CloseAll(sh.loop) })
	}
	for range cap(reasons) {
		if r := <-reasons; r != ForcedClose {
			t.Errorf("closed for %q, want %q", r, ForcedClose)
		}
	}
	polls.must(nil, 503) // the poll that waits
	for name, w := range map[string]*wire{"plain": plain, "upgraded": upgraded, "upgrading": upgrading} {
		if m, err := w.message(); err != nil || m.Op != wsframe.Close || m.Code != 1005 {
			t.Errorf("%s: message = %d %q, %v, want a close frame without a code", name, m.Op, m.Data, err)
		}
		if _, err := w.message(); err != io.EOF {
			t.Errorf("%s: behind the close frame: %v, want the end", name, err)
		}
	}
	eventually(t, "what waited for a last poll is gone", func() bool {
		n := 0
		for _, sh := range m.shards {
			sh.loop.Ask(func() { n += sh.sessions.Len() })
		}
		return n == 0
	})
}
