package sio_test

import (
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/sio"
)

// A session over polling, from its first request to its last.
func TestPollingDialogue(t *testing.T) {
	var joined chan sio.Socket
	srv := serve(t, sio.Options{}, func(srv *sio.Server) {
		echo(srv.Of("/"))
		joined = sockets(srv.Of("/"))
	})
	p := srv.joinPolling()
	s := take(t, joined)
	for _, event := range []string{"a", "b", "c"} {
		var args []any
		if event == "b" {
			args = append(args, []byte{1, 2, 3})
		}
		if err := s.Emit(event, args...); err != nil {
			t.Fatal(err)
		}
	}
	s.Rooms() // asks the loop, behind what was emitted
	p.wantGet(200, `42["a"]`+"\x1e"+`451-["b",{"_placeholder":true,"num":0}]`+"\x1ebAQID\x1e"+`42["c"]`)

	p.send(`421["echo",1]`, `451-2["echo",{"_placeholder":true,"num":0}]`, "<0a>")
	p.expect(`431[1]`, `461-2[{"_placeholder":true,"num":0}]`, "<0a>")

	get := p.pending()
	eventually(t, "the poll", s.Writable)
	p.send("1")
	if got := take(t, get); got != "6" {
		t.Errorf("the poll that waited for the client's close = %q, want 6", got)
	}
	if status, body := p.get(); status != 400 || !strings.Contains(body, `"code":1`) {
		t.Errorf("GET after the close = %d %q, want 400 and code 1", status, body)
	}
}

func TestPollingOverlap(t *testing.T) {
	reasons := make(chan sio.Reason, 1)
	srv := serve(t, sio.Options{Loop: loops(1)}, func(srv *sio.Server) {
		srv.Of("/").OnDisconnect(func(_ sio.Socket, r sio.Reason) { reasons <- r })
	})
	p := srv.joinPolling()
	// Either may come first, as they are two connections.
	a, b := p.pending(), p.pending()
	got := map[string]bool{take(t, a): true, take(t, b): true}
	if !got["1"] || !got["Bad Request "] {
		t.Errorf("two polls at once = %v, want 1 and a bad request", got)
	}
	if r := take(t, reasons); r != eio.TransportError {
		t.Errorf("the reason is %q, want %q", r, eio.TransportError)
	}
}

func TestPollingHeartbeat(t *testing.T) {
	srv := serve(t, sio.Options{Engine: eio.Options{PingInterval: 50 * time.Millisecond, PingTimeout: patience}},
		func(srv *sio.Server) { echo(srv.Of("/")) })
	p := srv.joinPolling()
	for range 3 {
		p.wantGet(200, "2")
		p.send("3")
	}
}

func TestPollingDisconnect(t *testing.T) {
	var joined chan sio.Socket
	srv := serve(t, sio.Options{}, func(srv *sio.Server) {
		echo(srv.Of("/"))
		joined = sockets(srv.Of("/"))
	})
	p := srv.joinPolling()
	take(t, joined).Disconnect(sio.DisconnectOptions{})
	p.wantGet(200, "41")
	p.send("40") // the session stays
	p.expect(`40{"sid":"$sid"}`)

	s := take(t, joined)
	s.Disconnect(sio.DisconnectOptions{Conn: true})
	eventually(t, "the disconnect", func() bool { return !s.Connected() })
	p.wantGet(200, "41")
	p.wantGet(200, "6\x1e1")
	if status, body := p.get(); status != 400 || !strings.Contains(body, `"code":1`) {
		t.Errorf("GET after the close = %d %q, want 400 and code 1", status, body)
	}
}

// With a poll that waits, the 41 is its answer, and the close that of the next.
func TestEdge52DisconnectTrueOnPolling(t *testing.T) {
	var joined chan sio.Socket
	srv := serve(t, sio.Options{}, func(srv *sio.Server) {
		joined = sockets(srv.Of("/"))
		srv.Of("/a")
	})
	p := srv.joinPolling()
	p.send("40/a,")
	p.expect(`40/a,{"sid":"$sid"}`)
	s := take(t, joined)
	get := p.pending()
	eventually(t, "the poll", s.Writable)
	s.Disconnect(sio.DisconnectOptions{Conn: true})
	if got := take(t, get); got != "41\x1e41/a," {
		t.Errorf("the poll = %q, want 41 and 41/a,", got)
	}
	p.wantGet(200, "6\x1e1")
}

func TestEdge60LargestPost(t *testing.T) {
	srv := serve(t, sio.Options{Engine: eio.Options{MaxPayload: 1000}}, func(srv *sio.Server) { echo(srv.Of("/")) })
	p := srv.joinPolling()
	if status, body := p.post("4" + strings.Repeat("x", 1500)); status != 413 || body != "" {
		t.Errorf("POST of 1501 bytes = %d %q, want 413 and nothing", status, body)
	}
	full := `421["echo","` + strings.Repeat("x", 1000-len(`421["echo",""]`)) + `"]`
	p.send(full) // the limit to the byte
	if got := p.next(); len(got) != len(full)-len(`"echo",`) {
		t.Errorf("the answer to %d bytes = %q", len(full), got)
	}
}

// A payload of many packets is handled in order, and stops at the close.
func TestPollingPayloadOrder(t *testing.T) {
	seen := make(chan string, 10)
	srv := serve(t, sio.Options{}, func(srv *sio.Server) {
		srv.Of("/").HandleAny(func(_ sio.Socket, m *sio.Msg) error { seen <- m.Event(); return nil })
		srv.Of("/").OnDisconnect(func(_ sio.Socket, r sio.Reason) { seen <- string(r) })
	})
	p := srv.joinPolling()
	p.send(`42["1"]`, `42["2"]`, "6", `42["3"]`, "1", `42["4"]`)
	for _, want := range []string{"1", "2", "3", string(eio.TransportClose)} {
		if got := take(t, seen); got != want {
			t.Errorf("seen %s, want %s", got, want)
		}
	}
}

// The upgrade of a session that has something queued: nothing is lost or
// overtaken.
func TestUpgradeKeepsTheSocket(t *testing.T) {
	var joined chan sio.Socket
	srv := serve(t, sio.Options{Loop: loops(3)}, func(srv *sio.Server) {
		echo(srv.Of("/"))
		joined = sockets(srv.Of("/"))
	})
	for range 10 {
		p := srv.joinPolling()
		s := take(t, joined)
		if got := s.Transport(); got != "polling" {
			t.Errorf("Transport() = %q, want polling", got)
		}
		c := p.upgrade(func() {
			for i := range 3 {
				if err := s.Emit("n", i); err != nil {
					t.Error(err)
				}
			}
		})
		c.expect(`42["n",0]`, `42["n",1]`, `42["n",2]`)
		c.quiet("")
		if got := s.Transport(); got != "websocket" {
			t.Errorf("Transport() = %q, want websocket", got)
		}
	}
}

// TestGreetingLargerThanAQueue: what a program says at the start, to a client that
// has not asked yet, is not what makes it slow. Each of twenty gets all of it on
// its first connect, also one that upgrades meanwhile.
func TestGreetingLargerThanAQueue(t *testing.T) {
	large, greeted := strings.Repeat("x", 50_000), make(chan sio.Socket, 1)
	srv := serve(t, sio.Options{}, func(srv *sio.Server) {
		srv.Of("/").OnConnect(func(s sio.Socket) error {
			for i := range 6 {
				if err := s.Emit("part", i, large); err != nil {
					return err
				}
			}
			greeted <- s
			return nil
		})
	})
	for range 20 {
		p := srv.joinPolling()
		take(t, greeted)
		for i := range 6 {
			p.expect(`42["part",` + string(rune('0'+i)) + `,"` + large + `"]`)
		}
		p.send("1")
	}
	for range 20 {
		p := srv.poll()
		c := srv.handshake("EIO=4&transport=websocket&sid=" + p.sid)
		c.send("2probe")
		c.expect("3probe")
		p.send("40")
		take(t, greeted) // all of it waits for the upgrade, as the client does not poll
		c.send("5")
		c.expect(`40{"sid":"$sid"}`)
		for i := range 6 {
			c.expect(`42["part",` + string(rune('0'+i)) + `,"` + large + `"]`)
		}
	}
	if n := srv.Stats().Engine.Slow; n != 0 {
		t.Errorf("%d were closed for being slow, want none", n)
	}
}
