package sio_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

// An end is a way in which a server ends a WebSocket, that of c.
type end struct {
	what string
	do   func(e *ended)
	// What the client is sent at last: with CloseCodes, and without.
	with, without []string
}

type ended struct {
	*siotest.Server
	t  *testing.T
	ns *sio.Namespace
	s  sio.Socket
	c  *siotest.Conn

	pid string // the private id of s
}

// flood has more sent than the client takes, which is stalled.
func (e *ended) flood() {
	e.c.Stall(true)
	for i := range 40 {
		if err := e.s.Emit("flood", i, strings.Repeat("x", 10_000)); err != nil {
			e.t.Fatal(err)
		}
	}
	e.Settle()
}

// reads has the client go on once its connection is being closed.
func (e *ended) reads() {
	for range 20 {
		if e.s.Gone() {
			break
		}
		e.Advance(time.Second)
	}
	e.c.Stall(false)
}

var ends = []end{
	{"the server stops", func(e *ended) {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := e.Shutdown(ctx); err != nil {
			e.t.Error(err)
		}
	}, []string{"close 4000"}, []string{"close -"}},
	{"it takes nothing", func(e *ended) { e.flood(); e.reads() }, []string{"close 4008"}, []string{"FIN"}},
	{"too much is queued for it", func(e *ended) {
		e.c.Stall(true)
		for i := 0; i < 200 && !e.s.Gone(); i++ {
			_ = e.s.Emit("flood", strings.Repeat("x", 20_000))
			e.Settle()
		}
		e.reads()
	}, []string{"close 4008"}, []string{"FIN"}},
	{"it sends too much in one", func(e *ended) { e.c.Send(`42["x","` + strings.Repeat("x", 30_000) + `"]`) }, []string{"close 4009"}, []string{"close 1009"}},
	{"a gate closes it", func(e *ended) {
		e.ns.Gate(func(sio.Socket, sio.Inbound) sio.Verdict { return sio.Close(eio.CloseRateLimit, "rate limit") })
		e.c.Send(`42["x"]`)
	}, []string{"close 4029"}, []string{"close 4029"}},
	{"its time is over", func(e *ended) { e.s.ExpireAt(e.Now(), nil); e.Settle() }, []string{"close 4401"}, []string{"close 4401"}},
	{"it is thrown out", func(e *ended) { _ = e.s.Disconnect(sio.DisconnectOptions{Conn: true}); e.Settle() },
		[]string{"41", "close 4403"}, []string{"41", "close -"}},
	{"it is thrown out with a code", func(e *ended) {
		_ = e.ns.To(e.s.ID()).Disconnect(sio.DisconnectOptions{Conn: true, Code: 4999, Reason: "banned"})
		e.Settle()
	}, []string{"41", "close 4999"}, []string{"41", "close 4999"}},
	{"it joins nothing", func(e *ended) { e.c = e.Dial(siotest.Options{}); e.Advance(12 * time.Second) }, []string{"close 4408"}, []string{"close -"}},
	{"it has come back elsewhere", func(e *ended) {
		_ = e.s.Emit("flood")
		e.Settle()
		_, offset, _ := strings.Cut(e.c.Received()[0], ",")
		e.c.Stall(true)
		e.Dial(siotest.Options{}).Send(fmt.Sprintf(`40{"pid":%q,"offset":%s}`, e.pid, strings.TrimSuffix(offset, "]")))
		e.Advance(2 * time.Second)
		e.c.Stall(false)
	}, []string{"close 4409"}, []string{"close -"}},
	{"memory is short", func(e *ended) {
		e.flood()
		e.Advance(2 * time.Second)
		looked := make(chan bool)
		look := e.Guard(func() int64 { return 1 << 40 })
		go func() { look(); look(); close(looked) }()
		for open := true; open; e.Settle() { // it waits for the loop
			select {
			case <-looked:
				open = false
			default:
			}
		}
		e.c.Stall(false)
	}, []string{"close 4503"}, []string{"FIN"}},
}

// Each way to end a WebSocket has its code, behind whole messages, or none, as Node
// does it.
func TestCloseCodes(t *testing.T) {
	for _, codes := range []bool{true, false} {
		for _, x := range ends {
			t.Run(fmt.Sprint(x.what, " ", codes), func(t *testing.T) {
				srv := siotest.New(t, sio.Options{
					ConnectTimeout: 10 * time.Second, MaxHTTPBufferSize: 20_000, MemoryLimit: 1 << 39, Recovery: sio.Recovery{Window: time.Minute},
					Engine: eio.Options{CloseCodes: codes}, Loop: loop.Options{SoftOutbound: 100_000, MaxOutbound: 1 << 20},
				})
				e := &ended{Server: srv, t: t, ns: srv.Of("/"), c: srv.Dial(siotest.Options{})}
				e.ns.OnConnect(func(s sio.Socket) error { e.s = s; return nil })
				e.c.Send("40")
				for _, p := range e.c.Received() {
					if _, pid, ok := strings.Cut(p, `"pid":"`); ok {
						e.pid, _, _ = strings.Cut(pid, `"`)
					}
				}
				x.do(e)
				got := e.c.Received()
				for len(got) > 0 && (strings.HasPrefix(got[0], `42["flood"`) || got[0][0] == '0' || got[0] == "2") { // whole ones
					if p := got[0]; p[0] == '4' && !strings.HasSuffix(p, "]") {
						t.Errorf("received a part of an event, of %d bytes", len(p))
					}
					got = got[1:]
				}
				want := x.without
				if codes {
					want = x.with
				}
				if got = slices.DeleteFunc(got, func(p string) bool { return p == "FIN" && want[0] != "FIN" }); !slices.Equal(got, want) {
					t.Errorf("received %q, want %q", got, want)
				}
			})
		}
	}
}
