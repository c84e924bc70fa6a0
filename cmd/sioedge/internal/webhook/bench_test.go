package webhook

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/action"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

// TestMain is also the backend of benchmarks, in a process of its own so that its time is
// not counted: it answers each item with an acknowledgement until its input ends.
func TestMain(m *testing.M) {
	if os.Getenv("WEBHOOK_BACKEND") == "" {
		os.Exit(m.Run())
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		out := []byte(`{"results":[`)
		for first := true; ; first = false {
			i := bytes.Index(body, []byte(`{"id":"`))
			if i < 0 {
				break
			}
			if !first {
				out = append(out, ',')
			}
			out = append(append(out, body[i:i+idAt+idLength+1]...), `,"ack":[{"ok":true}]}`...)
			body = body[i+idAt+idLength:]
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write(append(out, "]}"...))
	}))
	fmt.Println(l.Addr())
	io.Copy(io.Discard, os.Stdin)
}

// cpu returns the processor time of this process so far.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// An event's way to a backend and the answer's back, with so many of a lane under way at
// one time: cpu-µs/event is this process's alone.
func BenchmarkEvent(b *testing.B) {
	exe, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	child := exec.Command(exe)
	child.Env = append(os.Environ(), "WEBHOOK_BACKEND=1")
	in, err := child.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := child.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := child.Start(); err != nil {
		b.Fatal(err)
	}
	defer child.Wait()
	defer in.Close()
	var addr string
	if _, err := fmt.Fscan(out, &addr); err != nil {
		b.Fatal(err)
	}
	own := settings()
	own.URL = "http://" + addr
	srv := siotest.New(b, sio.Options{})
	back, err := New(srv.Server, "main", own, Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer back.Close(b.Context())
	var m *sio.Msg
	srv.Of("/").HandleAny(func(_ sio.Socket, x *sio.Msg) error { m = x; return nil }) // which may be kept
	c := srv.Connect("/")
	c.EmitAck("chat message", map[string]any{"room": "r1", "text": "hello, this is a message"}, 42)
	s, e := c.Socket(), action.Entry{Namespace: "/", Route: "/", User: "u7"}
	for _, n := range []int{1, 64} {
		b.Run(fmt.Sprintf("underway=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			before := cpu()
			events := 0
			for b.Loop() {
				for range n {
					if err := back.Event(s, m, e, action.EventOptions{}); err != nil {
						b.Fatal(err)
					}
				}
				_ = back.life.wait(context.Background())
				events += n
			}
			b.ReportMetric(float64((cpu()-before).Nanoseconds())/1000/float64(events), "cpu-µs/event")
		})
	}
	if s := back.Stats(); s.Lost[action.Event] != [lossCount]int64{} {
		b.Errorf("lost are %v", s.Lost[action.Event])
	}
}
