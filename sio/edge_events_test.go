package sio_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/sio"
)

// Wrappers see the original arguments, in the order of registration, and may
// stop an event or give the handler another one.
func TestEdge14And15Wrappers(t *testing.T) {
	var mu sync.Mutex
	var seen []string
	note := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, fmt.Sprintf(format, args...))
	}
	wrap := func(name string) func(sio.Handler) sio.Handler {
		return func(next sio.Handler) sio.Handler {
			return func(s sio.Socket, m *sio.Msg) error {
				note("%s %s %s", name, m.Event(), m.Raw(0))
				if m.Event() == "blocked" && name == "two" {
					return errors.New("not allowed")
				}
				err := next(s, m)
				note("%s returns %v", name, err)
				return err
			}
		}
	}
	srv := simulate(t, sio.Options{}, func(srv *sio.Server) {
		ns := srv.Of("/")
		h := func(_ sio.Socket, m *sio.Msg) error { note("handler %s", m.Event()); return m.Ack() }
		ns.Handle("early", h)
		ns.UseEvent(wrap("one"))
		ns.UseEvent(wrap("two"))
		ns.HandleInline("inline", h)
		ns.Handle("blocked", h)
		ns.HandleAny(h)
	})
	c := srv.join("40")
	for i, event := range []string{"early", "inline", "other"} {
		mu.Lock()
		seen = nil
		mu.Unlock()
		c.send(fmt.Sprintf(`42%d[%q,%d]`, i, event, i))
		c.expect(fmt.Sprintf("43%d[]", i))
		eventually(t, "the return", func() bool { mu.Lock(); defer mu.Unlock(); return len(seen) == 5 })
		want := []string{
			fmt.Sprintf("one %s %d", event, i), fmt.Sprintf("two %s %d", event, i), "handler " + event,
			"two returns <nil>", "one returns <nil>",
		}
		mu.Lock()
		if !slices.Equal(seen, want) {
			t.Errorf("%s: seen %q, want %q", event, seen, want)
		}
		mu.Unlock()
	}
	srv.Of("/quiet").UseEvent(wrap("none"))
	c.join("40/quiet,")
	c.send(`42/quiet,7["unhandled",1]`)
	eventually(t, "wrapping an event without a handler", func() bool { mu.Lock(); defer mu.Unlock(); return len(seen) == 7 })
	mu.Lock()
	if want := []string{"none unhandled 1", "none returns <nil>"}; !slices.Equal(seen[5:], want) {
		t.Errorf("seen %q, want %q", seen[5:], want)
	}
	mu.Unlock()
	srv.Of("/quiet").HandleAny(func(_ sio.Socket, m *sio.Msg) error { return m.Ack("late") })
	c.send(`42/quiet,7["unhandled",1]`)
	c.expect(`43/quiet,7["late"]`)
	c.send(`427["blocked"]`) // its acknowledgement never comes
	if got := take(t, srv.log.new); got != "blocked: not allowed" {
		t.Errorf("OnError got %q", got)
	}
	c.send(`428["early"]`)
	c.expect("438[]")
}

// Registration holds for sockets that are connected already.
func TestRegistrationWhileConnected(t *testing.T) {
	srv := simulate(t, sio.Options{}, func(srv *sio.Server) { srv.Of("/") })
	c := srv.join("40")
	echo(srv.Of("/"))
	c.send(`421["echo"]`)
	c.expect("431[]")
	srv.Of("/").Handle("echo", func(_ sio.Socket, m *sio.Msg) error { return m.Ack("second") })
	c.send(`422["echo"]`)
	c.expect(`432["second"]`)
	srv.Of("late")
	c.join("40/late,")
}

// A client that sends and leaves in one segment: Node may lose the event.
func TestEdge16AnEventBeforeTheEnd(t *testing.T) {
	seen := make(chan string, 10)
	srv := simulate(t, sio.Options{}, func(srv *sio.Server) {
		srv.Of("/").Handle("x", func(sio.Socket, *sio.Msg) error { seen <- "x"; return nil })
		srv.Of("/").OnDisconnect(func(_ sio.Socket, r sio.Reason) { seen <- string(r) })
	})
	for _, end := range []string{"41", "1"} {
		srv.join("40").send(`42["x"]`, end)
		if got := take(t, seen); got != "x" {
			t.Errorf("first came %q, want x", got)
		}
		take(t, seen)
	}
}

func TestEdge17AcknowledgedOnce(t *testing.T) {
	kept := make(chan *sio.Msg, 1)
	srv := simulate(t, sio.Options{}, func(srv *sio.Server) {
		ns := srv.Of("/")
		echo(ns)
		ns.Handle("twice", func(_ sio.Socket, m *sio.Msg) error { return errors.Join(m.Ack(1), m.Ack(2)) })
		ns.Handle("later", func(_ sio.Socket, m *sio.Msg) error { kept <- m; return nil })
		ns.Handle("bad", func(_ sio.Socket, m *sio.Msg) error {
			if err := m.Ack(func() {}); err == nil {
				t.Error("Ack of a function = nil, want an error")
			}
			return m.Ack([]byte{7})
		})
	})
	c := srv.join("40")
	c.send(`421["twice"]`, `42["twice"]`, `422["bad"]`)
	c.expect("431[1]", `461-2[{"_placeholder":true,"num":0}]`, "<07>")
	c.quiet("")
	c.send(`423["later","kept",[1,2]]`)
	m := take(t, kept)
	c.quiet("")
	if err := m.Ack(m.Raw(1), m.Event(), m.WantsAck(), m.Len()); err != nil {
		t.Error(err)
	}
	c.expect(`433[[1,2],"later",true,2]`)
}

func TestEdge18AcknowledgedTooLate(t *testing.T) {
	kept := make(chan *sio.Msg, 1)
	srv := serve(t, sio.Options{}, func(srv *sio.Server) {
		echo(srv.Of("/a"))
		srv.Of("/").Handle("later", func(_ sio.Socket, m *sio.Msg) error { kept <- m; return nil })
	})
	c := srv.join("40")
	c.join("40/a,")
	c.send(`421["later"]`)
	m := take(t, kept)
	c.send("41")
	c.quiet("/a,")
	if err := m.Ack("late"); err != sio.ErrClosed {
		t.Errorf("Ack = %v, want %v", err, sio.ErrClosed)
	}
	c.quiet("/a,")

	c.join("40")
	c.send(`422["later"]`)
	m = take(t, kept)
	c.conn.Close()
	eventually(t, "the end of the session", func() bool { return srv.Held()["sockets"] == 0 })
	if err := m.Ack("later still"); err != sio.ErrClosed {
		t.Errorf("Ack without a connection = %v, want %v", err, sio.ErrClosed)
	}
}

func TestEdge20PanicsAreConfined(t *testing.T) {
	srv := simulate(t, sio.Options{}, func(srv *sio.Server) {
		ns := srv.Of("/")
		echo(ns)
		h := func(sio.Socket, *sio.Msg) error { panic("bug") }
		ns.Handle("panic", h)
		ns.HandleInline("inline", h)
		sio.OnAck(ns, "answer", func(sio.Socket, any) (int, error) { panic("bug") })
	})
	c := srv.join("40")
	for _, event := range []string{"panic", "inline"} {
		c.send(`421["` + event + `"]`)
		if got := take(t, srv.log.new); got != event+": sio: panic: bug" {
			t.Errorf("OnError got %q", got)
		}
		c.quiet("")
	}
	c.send(`422["answer"]`) // is always answered
	c.expect(`432[{"error":"internal error"}]`)
	if got := take(t, srv.log.new); got != "answer: sio: panic: bug" {
		t.Errorf("OnError got %q", got)
	}
}

func TestEdge21ReservedNames(t *testing.T) {
	var joined chan sio.Socket
	srv := simulate(t, sio.Options{}, func(srv *sio.Server) { echo(srv.Of("/")); joined = sockets(srv.Of("/")) })
	c := srv.join("40")
	s := take(t, joined)
	for _, event := range []string{"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"} {
		for what, err := range map[string]error{
			"Socket": s.Emit(event), "Namespace": srv.Of("/").Emit(event), "Broadcast": s.Broadcast().Emit(event),
		} {
			if err == nil || !strings.Contains(err.Error(), "reserved") {
				t.Errorf("%s.Emit(%s) = %v, want an error about a reserved name", what, event, err)
			}
		}
	}
	c.quiet("")
}

func TestEdge22Order(t *testing.T) {
	const n = 5000
	var mu sync.Mutex
	seen := map[string][]int{}
	srv := simulate(t, sio.Options{}, func(srv *sio.Server) {
		for _, ns := range []*sio.Namespace{srv.Of("/"), srv.Of("/a")} {
			echo(ns)
			sio.On(ns, "n", func(s sio.Socket, i int) error {
				mu.Lock()
				defer mu.Unlock()
				seen[s.Name()] = append(seen[s.Name()], i)
				return nil
			})
		}
	})
	c := srv.join("40")
	c.join("40/a,")
	var packets []string
	for i := range n {
		packets = append(packets, `42["n",`+strconv.Itoa(i)+"]", `42/a,["n",`+strconv.Itoa(i)+"]")
	}
	c.send(packets...)
	c.quiet("")
	c.quiet("/a,")
	mu.Lock()
	defer mu.Unlock()
	for _, ns := range []string{"/", "/a"} {
		if len(seen[ns]) != n || !slices.IsSorted(seen[ns]) {
			t.Errorf("%s saw %d events, sorted %v, want all in order", ns, len(seen[ns]), slices.IsSorted(seen[ns]))
		}
	}
}

// Inline handlers are not called before OnConnect has returned.
func TestInlineHandlersWaitForOnConnect(t *testing.T) {
	const n = 300
	var mu sync.Mutex
	var seen []int
	in, out := make(chan struct{}), make(chan struct{})
	srv := simulate(t, sio.Options{}, func(srv *sio.Server) {
		ns := srv.Of("/")
		ns.OnConnect(func(s sio.Socket) error { close(in); <-out; s.SetData("set"); return nil })
		ns.HandleInline("n", func(s sio.Socket, m *sio.Msg) error {
			var i int
			if err := m.Decode(&i); err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			if s.Data() != "set" || m.Event() != "n" {
				t.Error("an inline handler ran before OnConnect had returned")
			}
			if seen = append(seen, i); len(seen) == n {
				return m.Ack()
			}
			return nil
		})
	})
	c := srv.join("40")
	take(t, in)
	for i := range n {
		if i == n/2 {
			close(out)
		}
		c.send(fmt.Sprintf(`42%d["n",%d]`, i, i))
	}
	c.expect(fmt.Sprintf("43%d[]", n-1))
	mu.Lock()
	defer mu.Unlock()
	if !slices.IsSorted(seen) {
		t.Errorf("seen %v, want them in order", seen)
	}
}

// A client that sends more than its handlers take is not read from until they
// have caught up, and nothing is lost. Other clients do not notice.
func TestBackpressure(t *testing.T) {
	const n = 20000
	gate := make(chan struct{})
	var count int
	srv := serve(t, sio.Options{Loop: loop.Options{Loops: 1, RecvBuffer: 32 << 10}}, func(srv *sio.Server) {
		ns := srv.Of("/")
		echo(ns)
		sio.On(ns, "n", func(_ sio.Socket, i int) error {
			<-gate
			if i != count {
				t.Errorf("event %d came as number %d", i, count)
			}
			count++
			return nil
		})
		sio.OnAck(ns, "count", func(sio.Socket, any) (int, error) { return count, nil })
		echo(srv.Of("/a"))
	})
	c, other := srv.join("40"), srv.join("40")
	c.join("40/a,")
	if err := c.conn.(*net.TCPConn).SetWriteBuffer(32 << 10); err != nil {
		t.Fatal(err)
	}
	pad := strings.Repeat(" ", 100)
	sent := make(chan struct{})
	// ends when everything is sent
	go func() {
		defer close(sent)
		for i := 0; i < n; i += 100 {
			var b []byte
			for j := range 100 {
				b = appendPacket(b, fmt.Sprintf(`42["n",%d%s]`, i+j, pad))
			}
			if _, err := c.conn.Write(b); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	select {
	case <-sent:
		t.Error("everything was sent while no handler ran, want the client to wait")
	case <-time.After(300 * time.Millisecond):
	}
	other.quiet("")
	close(gate)
	take(t, sent)
	c.send(`421["count"]`)
	c.expect(fmt.Sprintf("431[%d]", n))
	c.quiet("/a,")
}

// A socket that leaves with a full inbox does not keep its session waiting.
func TestBackpressureEndsWithTheSocket(t *testing.T) {
	gate, first := make(chan struct{}), make(chan sio.Socket, 5000)
	srv := serve(t, sio.Options{Loop: loops(1)}, func(srv *sio.Server) {
		srv.Of("/").Handle("n", func(s sio.Socket, _ *sio.Msg) error { first <- s; <-gate; return nil })
		echo(srv.Of("/a"))
	})
	c := srv.join("40")
	c.join("40/a,")
	var b []byte
	for range 3000 {
		b = appendPacket(b, `42["n"]`)
	}
	c.write(b)
	take(t, first).Disconnect(sio.DisconnectOptions{})
	c.expect("41")
	close(gate)
	c.quiet("/a,")
}

func TestValues(t *testing.T) {
	srv := simulate(t, sio.Options{}, func(srv *sio.Server) { echo(srv.Of("/")) })
	c := srv.join("40")
	for _, args := range []string{
		`1,"2",[3],{"4":5},null,true,1.5`, `"é 世界 😀"`, `"\u2028<&>"`, `""`, `[]`, `{}`, `[[],{}]`, `-1e-7`,
		`"` + strings.Repeat("x", 100_000) + `"`,
	} {
		c.send(`421["echo",` + args + `]`)
		var got, want []any
		if err := json.Unmarshal([]byte(strings.TrimPrefix(c.next(), "431")), &got); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte("["+args+"]"), &want); err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("echo of %.80s came back as %.80v", args, got)
		}
	}
}
