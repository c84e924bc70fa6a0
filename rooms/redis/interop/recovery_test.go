//go:build interop

package interop

import (
	"context"
	"encoding/json"
	"log/slog"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/rooms/redis"
	"github.com/sioedge/sioedge/sio"
)

// recovering starts a server of ours for recovery.mjs.
func recovering(t *testing.T, addr string) (srv *sio.Server, url string) {
	quiet := slog.New(slog.DiscardHandler)
	srv, err := sio.New(sio.Options{
		Adapter: redis.Streams(addr, redis.Options{Logger: quiet}), Recovery: sio.Recovery{Window: 2 * time.Minute}, Logger: quiet,
	})
	if err != nil {
		t.Fatal(err)
	}
	ns := srv.Of("/")
	ns.Handle("begin", func(s sio.Socket, m *sio.Msg) error {
		var room string
		var data any
		if err := m.Decode(&room, &data); err != nil {
			return err
		}
		s.Join(room)
		s.SetData(data)
		return m.Ack()
	})
	ns.Handle("who", func(s sio.Socket, m *sio.Msg) error {
		return m.Ack(map[string]any{"rooms": s.Rooms(), "data": s.Data(), "recovered": s.Recovered()})
	})
	ns.Handle("say", func(s sio.Socket, m *sio.Msg) error {
		var to, except []string
		var volatile bool
		var event string
		var raw []any
		if err := m.Decode(&to, &except, &volatile, &event, &raw); err != nil {
			return err
		}
		for i, b := range m.Binary() {
			raw[i] = b
		}
		b := ns.All().Except(except...)
		if len(to) > 0 {
			b = b.To(to...)
		}
		if volatile {
			b = b.Volatile()
		}
		if err := b.Emit(event, raw...); err != nil {
			return err
		}
		return m.Ack()
	})
	at, err := srv.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	// ends when the server is shut down
	go func() { served <- srv.Serve(context.Background()) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		<-served
	})
	eventually(t, "being up", func() bool { return srv.Cluster().Up })
	return srv, "http://" + at.String()
}

// A client that leaves a server of either kind comes back to another one.
func TestRecoveryAcrossServers(t *testing.T) {
	addr := startRedis(t).addr
	_, a := recovering(t, addr)
	_, b := recovering(t, addr)
	o, err := json.Marshal(map[string]any{"redis": addr, "ours": []string{a, b}})
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("node", "recovery.mjs", string(o)).CombinedOutput()
	if n := strings.Count(string(out), "\nok ") + strings.Count(string(out[:min(3, len(out))]), "ok "); err != nil || n != 8 {
		t.Errorf("recovery.mjs: %v, %d of 8 went well:\n%s", err, n, out)
	}
}

// While Redis hangs, a server's own clients are served, and when it goes on, the
// others get the rest; nobody gets anything twice.
func TestRecoveryWhileRedisHangs(t *testing.T) {
	r, browser := startRedis(t), startProcess(t, "clients", nil, "node", "clients.mjs")
	here, a := recovering(t, r.addr)
	there, b := recovering(t, r.addr)
	browser.ready()
	browser.do(t, command{Op: "connect", Name: "here", URL: a, NS: "/"}, nil)
	browser.do(t, command{Op: "connect", Name: "there", URL: b, NS: "/"}, nil)
	emitted := 0
	emit := func() {
		if err := here.Of("/").Emit("e", emitted); err != nil {
			t.Fatal(err)
		}
		emitted++
	}
	has := func(name string) {
		t.Helper()
		var ok bool
		if browser.do(t, command{Op: "count", Name: name, Number: emitted, Timeout: enough}, &ok); !ok {
			t.Fatalf("%s has not got %d events", name, emitted)
		}
	}
	emit()
	has("here")
	has("there")
	r.stop()
	for range 100 {
		emit()
	}
	has("here")
	if s := here.Cluster(); s.Up || here.Recoveries().Early == 0 {
		t.Errorf("Cluster = %+v, want that the log is slow", s)
	}
	emit() // at once
	has("here")
	r.resume()
	eventually(t, "being well", func() bool { emit(); has("here"); return here.Cluster().Up && there.Cluster().Up })
	has("there")
	var noted map[string][][]any
	browser.do(t, command{Op: "take", Clients: []string{"here", "there"}}, &noted)
	for name, events := range noted {
		for i, e := range events {
			if len(e) < 2 || e[1] != float64(i) {
				t.Fatalf("event %d of %s is %v", i, name, e)
			}
		}
		if len(events) != emitted {
			t.Errorf("%s has %d events, want %d", name, len(events), emitted)
		}
	}
}
