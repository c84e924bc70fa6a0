package sio_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/sio"
)

// What a client that polls has missed is in one answer with that to its CONNECT,
// though others have 16 packets at most: it keeps the events until that comes, also
// if its connection ends before, and would have them twice when it comes back again.
func TestRecoveryOverPollingIsOneAnswer(t *testing.T) {
	var joined chan sio.Socket
	srv := serve(t, sio.Options{Recovery: sio.Recovery{Window: time.Minute}}, func(srv *sio.Server) { joined = sockets(srv.Of("/")) })
	r := &recoverer{srv: srv}
	r.client = srv.dial()
	r.t = t
	r.connect()
	s := take(t, joined)
	emit := func(n any) {
		if err := srv.Of("/").Emit("n", n); err != nil {
			t.Fatal(err)
		}
	}
	emit("first")
	r.takes(1)
	r.conn.Close()
	eventually(t, "the end of the connection", func() bool { return s.Context().Err() != nil })
	const n = 100
	for i := range n {
		emit(fmt.Sprint(i, strings.Repeat("x", 5000)))
	}
	p := srv.poll()
	p.send(fmt.Sprintf(`40{"pid":%q,"offset":%q}`, r.pid, r.offset))
	_, body := p.get()
	got := strings.Split(body, "\x1e")
	if len(got) != n+1 || !strings.HasPrefix(got[n], `40{"sid":"`+r.recoveredAs+`"`) {
		t.Fatalf("the first answer has %d packets, the last of them %.40q, want %d events and that to the CONNECT", len(got), got[len(got)-1], n)
	}
	for i, e := range got[:n] {
		if want := fmt.Sprintf(`42["n","%dx`, i); !strings.HasPrefix(e, want) {
			t.Fatalf("packet %d is %.40q, want %s", i, e, want)
		}
	}
	for i := range 20 { // and others are as ever
		emit(i)
	}
	sizes := 0
	for sizes < 20 {
		_, body := p.get()
		got := strings.Count(body, "\x1e") + 1
		if got > 16 {
			t.Fatalf("a later answer has %d packets, want 16 at most", got)
		}
		sizes += got
	}
}
