package ioclient

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/sioedge/sioedge/sio"
)

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// listen starts a server and returns its URL.
func listen(t *testing.T, o sio.Options, register func(*sio.Server)) string {
	t.Helper()
	srv, err := sio.New(o)
	if err != nil {
		t.Fatal(err)
	}
	register(srv)
	addr, err := srv.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	// ends when the server is shut down
	go func() { served <- srv.Serve(context.Background()) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = srv.Shutdown(ctx)
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return "http://" + addr.String()
}

// A running is a Client that runs.
type running struct {
	*Client
	t       *testing.T
	notices chan Notice
	passed  []Notice // those that await has not been asked for
	ended   chan error
}

// connect starts a client, which is closed with the test.
func connect(t *testing.T, url string, o Options) *running {
	t.Helper()
	target, err := ParseTarget(url)
	if err != nil {
		t.Fatal(err)
	}
	o.Target = target
	r := &running{t: t, notices: make(chan Notice, 10_000), ended: make(chan error, 1)}
	o.Notify = func(n Notice) { r.notices <- n }
	if o.Backoff.Min == 0 {
		o.Backoff.Min = 10 * time.Millisecond
	}
	if r.Client, err = New(o); err != nil {
		t.Fatal(err)
	}
	// ends when the client is closed, or gives up
	go func() { r.ended <- r.Run(); close(r.ended) }()
	t.Cleanup(func() {
		ctx, done := context.WithTimeout(context.Background(), patience)
		defer done()
		r.Close(ctx)
		select {
		case <-r.ended:
		case <-ctx.Done():
			t.Error("Run has not returned after Close")
		}
	})
	return r
}

// await returns the next notice of a kind, and keeps the others.
func (r *running) await(k Kind) Notice {
	r.t.Helper()
	if i := slices.IndexFunc(r.passed, func(n Notice) bool { return n.Kind == k }); i >= 0 {
		n := r.passed[i]
		r.passed = slices.Delete(r.passed, i, i+1)
		return n
	}
	late := time.After(patience)
	for {
		select {
		case n := <-r.notices:
			if n.Kind == k {
				return n
			}
			r.passed = append(r.passed, n)
		case <-late:
			r.t.Fatalf("no %s came", k)
		}
	}
}

func (r *running) ask(namespace, event string, args ...any) Answer {
	r.t.Helper()
	ctx, done := context.WithTimeout(context.Background(), patience)
	defer done()
	a, err := r.Ask(ctx, namespace, event, args...)
	if err != nil {
		r.t.Fatalf("ask %s: %v", event, err)
	}
	return a
}
