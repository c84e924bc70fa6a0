//go:build interop

package interop

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/rooms"
)

// A sentinelled Redis is a master and two replicas, which three Sentinels watch.
type sentinelled struct {
	t         testing.TB
	servers   []*redisServer
	sentinels []*daemon
}

func startSentinels(t testing.TB) *sentinelled {
	t.Helper()
	x := &sentinelled{t: t}
	quick := []string{"--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"}
	x.servers = append(x.servers, startRedis(t, quick...))
	host, port, _ := net.SplitHostPort(x.servers[0].addr)
	for range 2 {
		x.servers = append(x.servers, startRedis(t, append(quick, "--replicaof", host, port)...))
	}
	for _, s := range x.servers[1:] {
		eventually(t, "a replica being in step", func() bool {
			answer, err := s.ask("INFO replication")
			return err == nil && strings.Contains(answer, "master_link_status:up")
		})
	}
	for i := range 3 {
		addr, dir := freeAddr(t), t.TempDir()
		_, p, _ := net.SplitHostPort(addr)
		path := filepath.Join(dir, "sentinel.conf")
		config := fmt.Sprintf("port %s\nbind 127.0.0.1\ndir %s\nsentinel monitor m %s %s 2\n"+
			"sentinel down-after-milliseconds m 500\nsentinel failover-timeout m 2000\nsentinel parallel-syncs m 2\n", p, dir, host, port)
		if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		x.sentinels = append(x.sentinels, launch(t, fmt.Sprint("sentinel ", i), addr, "redis-server", path, "--sentinel"))
	}
	for _, s := range x.sentinels {
		eventually(t, "the Sentinels knowing each other and the replicas", func() bool {
			return strings.Contains(tell(s.addr, "SENTINEL MASTERS"), "num-other-sentinels\r\n$1\r\n2") &&
				strings.Contains(tell(s.addr, "SENTINEL MASTERS"), "num-slaves\r\n$1\r\n2")
		})
	}
	return x
}

// tell sends an inline command to a Sentinel and returns the answer as it came, or
// what came of it.
func tell(addr, command string) string {
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return ""
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write([]byte(command + "\r\nPING\r\n")); err != nil {
		return ""
	}
	var answer []byte
	for buf := make([]byte, 4096); ; {
		n, err := conn.Read(buf)
		answer = append(answer, buf[:n]...)
		if err != nil || strings.HasSuffix(string(answer), "+PONG\r\n") {
			return string(answer)
		}
	}
}

// url is what servers are told.
func (x *sentinelled) url(scheme string) string {
	return fmt.Sprintf("%s://%s?master_set=m&addr=%s&addr=%s&dial_timeout=1s&write_timeout=1s", scheme, x.sentinels[0].addr, x.sentinels[1].addr, x.sentinels[2].addr)
}

// master returns the master as a Sentinel knows it.
func (x *sentinelled) master(of *daemon) *redisServer {
	answer := tell(of.addr, "SENTINEL GET-MASTER-ADDR-BY-NAME m")
	for _, s := range x.servers {
		_, port, _ := net.SplitHostPort(s.addr)
		if strings.Contains(answer, "\r\n"+port+"\r\n") {
			return s
		}
	}
	return nil
}

// moves waits until the Sentinels that answer have another master.
func (x *sentinelled) moves(from *redisServer, of ...*daemon) {
	x.t.Helper()
	for _, s := range of {
		eventually(x.t, "another master", func() bool { m := x.master(s); return m != nil && m != from })
	}
}

// settled waits until the Sentinels have all servers in order again.
func (x *sentinelled) settled() {
	x.t.Helper()
	for _, s := range x.servers {
		eventually(x.t, "every server being in step", func() bool {
			answer, err := s.ask("INFO replication")
			return err == nil && (strings.Contains(answer, "master_link_status:up") || strings.Contains(answer, "connected_slaves:2"))
		})
	}
}

// Redis' master changes because it is told to, dies, and hangs together with the
// Sentinel that was listened to: servers go on with the next one, what was emitted
// meanwhile arrives, in order and once, and who is asked says who did not answer.
func TestDeploySentinel(t *testing.T) {
	t.Parallel()
	for _, k := range deployKinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			x := startSentinels(t)
			url := x.url(k.scheme)
			a, b := sioedge(t, "a", url, "--recovery", "0"), sioedge(t, "b", url, "--recovery", "0")
			srv, emit := emitter(t, url)
			tr := newTraffic(t, emit)
			for _, s := range []*daemon{a, b} {
				tr.open("http://"+s.addr, "websocket", s.name, 3)
			}
			whole := func() {
				t.Helper()
				tr.pass(50)
				eventually(t, "all clients being found", func() bool {
					// A question that was on its way when a master ended is lost, and is not asked again.
					ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
					defer cancel()
					all, err := srv.Of("/").All().FetchSockets(ctx)
					var incomplete *rooms.IncompleteError
					if len(all) < 6 && !errors.As(err, &incomplete) {
						t.Errorf("FetchSockets = %d sockets and %v, want 6, or an error that says who did not answer", len(all), err)
					}
					return len(all) == 6 && err == nil
				})
			}
			// What was on its way when the master ended may be lost, and what one was given that
			// had been replaced, until the Sentinels say so, which takes seconds on a busy
			// machine: what is emitted meanwhile. What waited may not.
			tr.most = 60
			moves := func(from *redisServer, end func()) {
				t.Helper()
				began := tr.emitted()
				end()
				x.moves(from, x.sentinels...)
				tr.most += tr.emitted() - began
			}
			tr.begin()
			whole()

			from := x.master(x.sentinels[0])
			moves(from, func() {
				if got := tell(x.sentinels[0].addr, "SENTINEL FAILOVER m"); !strings.HasPrefix(got, "+OK") {
					t.Fatalf("SENTINEL FAILOVER = %q", got)
				}
			})
			whole()
			x.settled()

			from = x.master(x.sentinels[0])
			moves(from, from.kill)
			whole()
			tr.accounts()
			from.start()
			x.settled()

			// One that hangs takes what it is sent, and nobody knows until it has not
			// answered for a while: how much that is, is a matter of time.
			tr.most = math.MaxInt

			from = x.master(x.sentinels[0])
			from.stop()
			stop(t, x.sentinels[0].cmd)
			x.moves(from, x.sentinels[1:]...)
			whole()
			from.resume()
			resume(t, x.sentinels[0])
			whole()
			all := tr.rest()
			summary(t, all)
			for name, a := range all {
				if a.disconnects > 0 {
					t.Errorf("%s was disconnected for what Redis did: %s", name, a.story())
				}
			}
		})
	}
}
