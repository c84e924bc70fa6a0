//go:build interop

package interop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sioedge/sioedge/sio"
)

// A mover is a server with clients that goes from process to process, or what is one here.
type mover struct {
	t    *testing.T
	name string
	o    func() sio.Options

	srv    *sio.Server
	addr   string
	served chan error

	mu    sync.Mutex
	said  int
	ticks int
}

func (x *mover) make(in *sio.Inheritance) *sio.Server {
	x.t.Helper()
	o := x.o()
	o.Inherit, o.Loop.Loops = in, 2
	srv, err := sio.New(o)
	if err != nil {
		x.t.Fatal(err)
	}
	ns := srv.Of("/")
	ns.OnConnect(func(s sio.Socket) error { s.Join("r"); return nil })
	ns.Handle("say", func(_ sio.Socket, m *sio.Msg) error {
		x.say(srv)
		return m.Ack(m.Raw(0))
	})
	return srv
}

// tick has a server say something by itself, without a client, until it is shut down.
func (x *mover) tick(srv *sio.Server) {
	x.ticks++
	name := fmt.Sprintf("%s by itself %d", x.name, x.ticks)
	ctx, end := context.WithCancel(context.Background())
	srv.OnShutdown(func(context.Context) { end() })
	// ends with the server
	go func() {
		for n := 1; ctx.Err() == nil; n++ {
			if err := srv.Of("/").All().Emit("n", name, n); err != nil && !errors.Is(err, sio.ErrClosed) {
				x.t.Error(err)
			}
			select {
			case <-time.After(10 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}()
}

// say emits the next number to all clients of the cluster.
func (x *mover) say(srv *sio.Server) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.said++
	to := srv.Of("/").All()
	if x.said%2 == 0 {
		to = to.To("r")
	}
	if err := to.Emit("n", x.name, x.said); err != nil {
		x.t.Error(err)
	}
}

func (x *mover) count() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.said
}

func (x *mover) serve(srv *sio.Server) {
	served := make(chan error, 1)
	x.srv, x.served = srv, served
	// ends when the server has been shut down
	go func() { served <- srv.Serve(context.Background()) }()
}

func (x *mover) end(srv *sio.Server, served chan error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		x.t.Errorf("Shutdown: %v", err)
	}
	if err := <-served; err != nil {
		x.t.Errorf("Serve: %v", err)
	}
}

// begin has it listen and serve.
func (x *mover) begin() {
	x.t.Helper()
	srv := x.make(nil)
	addr, err := srv.Listen("127.0.0.1:0")
	if err != nil {
		x.t.Fatal(err)
	}
	x.addr = addr.String()
	x.serve(srv)
	x.tick(srv)
	x.t.Cleanup(func() { x.end(x.srv, x.served) })
}

// next has another server take over.
func (x *mover) next() sio.Handed {
	x.t.Helper()
	mine, others := socketpair(x.t)
	type outcome struct {
		h   sio.Handed
		err error
	}
	done, before, served := make(chan outcome, 1), x.srv, x.served
	// ends when it has gone, or not
	go func() {
		h, err := before.Handover(context.Background(), mine, sio.HandoverOptions{})
		done <- outcome{h, err}
	}()
	in, err := sio.Inherit(context.Background(), others, "v", "b")
	if err != nil {
		x.t.Fatal(err)
	}
	srv := x.make(in)
	if _, err := srv.Listen("127.0.0.1:0"); err != nil {
		x.t.Fatal(err)
	}
	x.serve(srv)
	got := <-done
	if got.err != nil {
		x.t.Fatalf("Handover: %v", got.err)
	}
	x.tick(srv) // it is in the cluster now
	x.end(before, served)
	return got.h
}

func socketpair(t testing.TB) (a, b *net.UnixConn) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	var both [2]*net.UnixConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "")
		c, err := net.FileConn(f)
		_ = f.Close()
		if err != nil {
			t.Fatal(err)
		}
		both[i] = c.(*net.UnixConn)
	}
	return both[0], both[1]
}

// Two servers of Node and two of ours have clients, and each says something without pause;
// one of ours goes from process to process five times. Each client hears each server's
// numbers once and in order, and nobody is disconnected.
func TestAServerWithClientsGoesOnInACluster(t *testing.T) {
	r := startRedis(t)
	type variant struct {
		kind
		recovers bool
	}
	variants := []variant{{kindOf("classic"), false}, {kindOf("sharded, dynamic"), false}, {kindOf("streams"), false}, {kindOf("streams"), true}}
	for i, k := range variants {
		t.Run(fmt.Sprintf("%s, recovery %t", k.name, k.recovers), func(t *testing.T) {
			o := k.node
			o.Redis, o.Prefix = r.addr, fmt.Sprintf("movesio%d", i)
			nodes := map[string]*peer{}
			for _, name := range []string{"n0", "n1"} {
				o.Name = name
				text, err := json.Marshal(o)
				if err != nil {
					t.Fatal(err)
				}
				nodes[name] = startProcess(t, name, nil, "node", "moves.mjs", string(text))
			}
			browsers := map[string]*peer{}
			movers := map[string]*mover{}
			for _, name := range []string{"g0", "g1"} {
				movers[name] = &mover{t: t, name: name, o: func() sio.Options {
					so := k.ours
					so.Prefix, so.StreamName, so.Name, so.Logger = o.Prefix, o.Prefix, name, slog.New(slog.DiscardHandler)
					x := sio.Options{Adapter: k.adapter(r.addr, so), Logger: slog.Default(), KeepHandshake: sio.KeepAlways}
					if k.recovers {
						x.Recovery.Window = time.Minute
					}
					return x
				}}
				movers[name].begin()
				browsers[name] = startProcess(t, name, nil, "node", "moveclients.mjs")
			}
			for _, p := range nodes {
				p.ready()
			}
			clients := 2
			for name, b := range browsers {
				b.ready()
				for _, transport := range []string{"websocket", "polling"} {
					b.do(t, command{Op: "open", URL: "http://" + movers[name].addr, Count: 3, Transports: []string{transport}}, nil)
					clients += 3
				}
			}
			for _, p := range nodes {
				eventually(t, "that all are counted", func() bool {
					var n int
					p.do(t, command{Op: "fetch"}, &n)
					return n == clients
				})
			}
			for _, x := range movers {
				eventually(t, "being up", func() bool { s := x.srv.Cluster(); return s.Up && len(s.Peers) == 1 })
			}
			for _, p := range nodes {
				p.do(t, command{Op: "talk", Names: []any{"", "r"}, Every: 10}, nil)
				p.do(t, command{Op: "ask", Count: clients}, nil)
			}
			for _, b := range browsers {
				b.do(t, command{Op: "talk"}, nil)
			}
			moving, other := movers["g0"], movers["g1"]
			for range 5 {
				at, too := moving.count(), other.count()
				eventually(t, "more being said", func() bool { return moving.count() > at+50 && other.count() > too+50 })
				h := moving.next()
				t.Logf("%d sockets, pause %v", h.Sockets, h.Pause)
				if h.Sockets != 6 {
					t.Errorf("%d sockets went, want 6", h.Sockets)
				}
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				answers, err := other.srv.Of("/").All().EmitAck(ctx, "ask")
				cancel()
				if err != nil || len(answers) != clients {
					t.Errorf("EmitAck = %d answers, %v, want those of %d", len(answers), err, clients)
				}
			}
			said := map[string]int{}
			for name, b := range browsers {
				var answered int
				b.do(t, command{Op: "hush"}, &answered)
				if said[name] = movers[name].count(); answered != said[name] {
					t.Errorf("%s has said %d, and answered %d", name, said[name], answered)
				}
			}
			for name, p := range nodes {
				var n int
				p.do(t, command{Op: "hush"}, &n)
				said[name] = n
				wellAsked(t, p, 5)
			}
			everybodyHeard(t, said, nodes, browsers)
		})
	}
}

// wellAsked checks that all questions of a server were answered in full, but for one at each
// handover, which may have been late: clients answer to a process that has gone.
func wellAsked(t *testing.T, p *peer, moved int) {
	t.Helper()
	var asked map[string]struct {
		Longest  int
		Outcomes map[string]int
	}
	p.do(t, command{Op: "answers"}, &asked)
	for what, x := range asked {
		t.Logf("%s asked for %s: %v, the longest %d ms", p.name, what, x.Outcomes, x.Longest)
		for outcome, n := range x.Outcomes {
			if outcome != "complete" && !(outcomeIsLate(outcome) && n <= moved) {
				t.Errorf("%s of %s: %d times %s", what, p.name, n, outcome)
			}
		}
	}
}

// everybodyHeard checks that all clients have what was said.
func everybodyHeard(t *testing.T, said map[string]int, nodes, browsers map[string]*peer) {
	t.Helper()
	all := func(heard map[string]int) bool {
		for who, n := range said {
			if heard[who] != n {
				return false
			}
		}
		return true
	}
	for name, p := range nodes {
		var heard map[string]int
		eventually(t, name+" hearing all", func() bool {
			heard = nil
			p.do(t, command{Op: "heard"}, &heard)
			return all(heard)
		})
		var wrongs []string
		p.do(t, command{Op: "errors"}, &wrongs)
		for _, wrong := range wrongs {
			t.Errorf("at %s: %s", name, wrong)
		}
	}
	for name, b := range browsers {
		eventually(t, "clients of "+name+" hearing all", func() bool {
			var heard map[string]map[string]int
			b.do(t, command{Op: "heard"}, &heard)
			for _, x := range heard {
				if !all(x) {
					return false
				}
			}
			return true
		})
		var wrongs []string
		b.do(t, command{Op: "wrongs"}, &wrongs)
		for _, wrong := range wrongs {
			t.Errorf("at %s: %s", name, wrong)
		}
	}
}
