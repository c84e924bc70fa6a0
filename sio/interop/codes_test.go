//go:build interop

package interop

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/sio"
)

// TestInteropCloseCodes: stock clients find the code and the reason of each way in which
// the server ends a WebSocket, and come back by themselves but for who was thrown out: that
// client closes as soon as it knows, before it has the code.
func TestInteropCloseCodes(t *testing.T) {
	for kind, want := range map[string]string{
		"4": `4 joins nothing: transport close, 4408 "connect timeout", comes back
4 slow: transport close, 4008 "slow consumer", comes back
4 big: transport close, 4009 "payload too big", comes back
4 rate: transport close, 4029 "rate limit", comes back
4 expired: transport close, 4401 "expired", comes back
4 forbidden: io server disconnect, undefined undefined, stays away
4 overload: transport close, 4503 "overload", comes back
4 replaced: transport close, 4409 "replaced by a newer connection", comes back
4 shutdown: transport close, 4000 "server shutting down", comes back`,
		"3": `3 joins nothing: transport close, undefined undefined, comes back
3 slow: transport close, undefined undefined, comes back
3 big: transport close, undefined undefined, comes back
3 rate: transport close, undefined undefined, comes back
3 expired: transport close, undefined undefined, comes back
3 forbidden: io server disconnect, undefined undefined, stays away
3 overload: transport close, undefined undefined, comes back
3 shutdown: transport close, undefined undefined, comes back`, // it is not told of details
	} {
		t.Run("client "+kind, func(t *testing.T) {
			stopping := make(chan bool, 1)
			srv := closing(t, stopping)
			defer close(stopping)
			addr, err := srv.Listen("127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			served := make(chan error, 1)
			// ends when the server is shut down
			go func() { served <- srv.Serve(context.Background()) }()
			end := sync.OnceFunc(func() { stop(t, srv, served) })
			defer end()
			// ends when a client wants the server to stop, or with the test
			go func() {
				if <-stopping {
					end()
				}
			}()
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, "node", "codes.mjs", "http://"+addr.String(), kind)
			cmd.Stderr = os.Stderr
			out, err := cmd.Output()
			t.Logf("what clients see:\n%s", out)
			if got := strings.TrimSpace(string(out)); got != want || err != nil {
				t.Errorf("clients see\n%s\nwant\n%s\n%v", got, want, err)
			}
		})
	}
}

// closing returns a server that ends connections in each way when it is asked to.
func closing(t *testing.T, stopping chan<- bool) *sio.Server {
	srv, err := sio.New(sio.Options{
		ConnectTimeout: time.Second, Recovery: sio.Recovery{Window: time.Minute},
		Engine: eio.Options{CloseCodes: true}, Loop: loop.Options{Loops: 1, SlowAfter: time.Second, SoftOutbound: 64 << 10, LingerTimeout: 5 * time.Second},
	})
	if err != nil {
		t.Fatal(err)
	}
	ns := srv.Of("/")
	ns.Gate(func(_ sio.Socket, in sio.Inbound) sio.Verdict {
		if string(in.Event) == "rate" {
			return sio.Close(eio.CloseRateLimit, "rate limit")
		}
		return sio.Pass
	})
	ns.Handle("hello", func(s sio.Socket, _ *sio.Msg) error { return s.Emit("hello") })
	ns.Handle("expired", func(s sio.Socket, _ *sio.Msg) error { s.ExpireAt(time.Now(), nil); return nil })
	ns.Handle("forbidden", func(s sio.Socket, _ *sio.Msg) error { return s.Disconnect(sio.DisconnectOptions{Conn: true}) })
	ns.Handle("overload", func(s sio.Socket, _ *sio.Msg) error { return s.CloseConnWith(eio.CloseOverload, "overload") })
	ns.Handle("shutdown", func(sio.Socket, *sio.Msg) error { stopping <- true; return nil })
	sio.On(ns, "flood", func(_ sio.Socket, id string) error {
		for range 100 {
			if err := ns.To(id).Emit("flood", strings.Repeat("x", 100_000)); err != nil {
				return err
			}
		}
		return nil
	})
	ns.OnDisconnect(func(s sio.Socket, _ sio.Reason) { _ = s.Broadcast().Emit("gone") })
	return srv
}
