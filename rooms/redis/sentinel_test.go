package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sioedge/sioedge/rooms"
)

// A watched is a master and a replica of it, with Sentinels that have the replica
// become the master.
type watched struct {
	t                 testing.TB
	servers, sentries []*master
}

func watch(t testing.TB, sentinels int, password ...string) *watched {
	t.Helper()
	w := &watched{t: t}
	for i := range 2 {
		args := []string{"--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0"}
		if i == 1 {
			host, port, _ := net.SplitHostPort(w.servers[0].addr)
			args = append(args, "--replicaof", host+" "+port)
		}
		w.servers = append(w.servers, launch(t, args))
	}
	host, port, _ := net.SplitHostPort(w.servers[0].addr)
	eventually(t, "replicating", func() bool { return strings.Contains(w.servers[1].ask("INFO", "replication"), "master_link_status:up") })
	for range sentinels {
		file := filepath.Join(t.TempDir(), "sentinel.conf")
		lines := fmt.Sprintf("sentinel monitor m %s %s %d\nsentinel down-after-milliseconds m 500\nsentinel failover-timeout m 3000\n",
			host, port, (sentinels+1)/2)
		if password != nil {
			lines += "requirepass " + password[0] + "\n"
		}
		if err := os.WriteFile(file, []byte(lines), 0o600); err != nil {
			t.Fatal(err)
		}
		w.sentries = append(w.sentries, launch(t, []string{file, "--sentinel"}, password...))
	}
	return w
}

// launch starts a server of Redis on a port of its own.
func launch(t testing.TB, args []string, password ...string) *master {
	t.Helper()
	bin, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("there is no redis-server")
	}
	m := &master{t: t, addr: clusterAddr(t), dir: t.TempDir()}
	_, port, _ := net.SplitHostPort(m.addr)
	m.cmd = exec.Command(bin, append(args, "--port", port, "--bind", "127.0.0.1")...)
	m.cmd.Dir = m.dir
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = m.cmd.Process.Signal(syscall.SIGCONT)
		m.kill()
	})
	eventually(t, "redis-server", func() bool {
		c, err := net.Dial("tcp", m.addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	m.do = control(t, m.addr, password...)
	return m
}

// settled waits until the Sentinels know each other and the replica.
func (w *watched) settled() {
	w.t.Helper()
	for _, s := range w.sentries {
		eventually(w.t, "knowing all", func() bool {
			text := s.ask("INFO", "sentinel")
			return strings.Contains(text, "status=ok") && strings.Contains(text, "slaves=1") && strings.Contains(text, fmt.Sprintf("sentinels=%d", len(w.sentries)))
		})
	}
}

// join starts two adapters that ask the Sentinels, in an order.
func (w *watched) join(kind string) ([]*fake, []rooms.Adapter) {
	w.t.Helper()
	return join(w.t, kind, w.sentries[0].addr, 2, w.options(kind))
}

// options name the Sentinels but for the first.
func (w *watched) options(kind string) Options {
	o := Options{Prefix: kind, Timeout: 2 * time.Second}
	o.Client.Sentinel.MasterSet = "m"
	for _, s := range w.sentries[1:] {
		o.Client.InitAddress = append(o.Client.InitAddress, s.addr)
	}
	return o
}

// role returns what a server is, "" if it does not say so.
func (m *master) role() string {
	fields, err := m.do("ROLE").ToArray()
	if err != nil || len(fields) == 0 {
		return ""
	}
	text, _ := fields[0].ToString()
	return text
}

// reaches waits until an event of the first server reaches the second.
func (w *watched) reaches(hosts []*fake, adapters []rooms.Adapter) {
	w.t.Helper()
	n := 0
	eventually(w.t, "reaching the other", func() bool {
		n++
		mark := fmt.Sprintf(`["mark",%d]`, n)
		adapters[0].Emit(rooms.Target{Namespace: "/"}, rooms.Event{Data: []byte(mark)})
		for end := time.Now().Add(200 * time.Millisecond); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			hosts[1].mu.Lock()
			got := strings.Join(hosts[1].noted, "\n")
			hosts[1].mu.Unlock()
			if strings.Contains(got, mark) {
				return true
			}
		}
		return false
	})
}

// sentinelKinds are those whose ways with a master differ.
var sentinelKinds = []string{"classic", "streams"}

// A master and the Sentinel that is listened to are gone together, as with a host
// that is lost: they answer nothing, and close nothing.
func TestAHostIsLost(t *testing.T) {
	for _, kind := range sentinelKinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := watch(t, 3)
			w.settled()
			hosts, adapters := w.join(kind)
			w.reaches(hosts, adapters)
			w.servers[0].stop()
			w.sentries[0].stop()
			eventually(t, "noticing", func() bool { return !adapters[0].Status().Up && !adapters[1].Status().Up })
			eventually(t, "being up at the new master", func() bool { return adapters[0].Status().Up && adapters[1].Status().Up })
			w.reaches(hosts, adapters)
			if members, err := adapters[0].Members(context.Background(), rooms.Target{Namespace: "/"}); err != nil || len(members) != 1 {
				t.Errorf("Members = %v, %v, want the other's", members, err)
			}
			_, late := begin(t, kind, w.sentries[0].addr, "nod2", w.options(kind)) // the first that it asks hangs
			eventually(t, "being up for who starts meanwhile", func() bool { return late.Status().Up && len(late.Status().Peers) == 2 })
		})
	}
}

// A master that is replaced while it lives keeps its connections, and may think for
// a while that it still is one: whoever asks meanwhile gets all, or an error that names who is missing, and in the
// end all are at the new one.
func TestAMasterIsReplaced(t *testing.T) {
	for _, kind := range sentinelKinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := watch(t, 1)
			w.settled()
			hosts, adapters := w.join(kind)
			w.reaches(hosts, adapters)
			eventually(t, "having a replica to promote", func() bool { return w.sentries[0].do("SENTINEL", "FAILOVER", "m").Error() == nil })
			check := func() {
				t.Helper()
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				defer cancel()
				members, err := adapters[0].Members(ctx, rooms.Target{Namespace: "/"})
				var e *rooms.IncompleteError
				if err == nil && len(members) != 1 || err != nil && !errors.As(err, &e) {
					t.Fatalf("Members = %v, %v, want that of the other, or an IncompleteError", members, err)
				}
			}
			eventually(t, "the switch", func() bool { check(); return w.servers[1].role() == "master" })
			eventually(t, "everybody being at the new one", func() bool {
				check()
				n, err := w.servers[1].do("PUBSUB", "NUMSUB", coreOf(adapters[0]).heartbeats().name).ToArray()
				if err != nil {
					return false
				}
				count, _ := n[1].AsInt64()
				return count == 2 && adapters[0].Status().Up && adapters[1].Status().Up
			})
			w.reaches(hosts, adapters)
			eventually(t, "all being asked", func() bool {
				members, err := adapters[0].Members(context.Background(), rooms.Target{Namespace: "/"})
				return err == nil && len(members) == 1
			})
		})
	}
}

// What is said while a master is gone is published when those are back who are to
// hear it. Only what was on its way may be lost, which is counted.
func TestLittleIsLostWithAMaster(t *testing.T) {
	t.Parallel()
	w := watch(t, 1)
	w.settled()
	hosts, adapters := w.join("classic")
	w.reaches(hosts, adapters)
	before := adapters[0].Status().Lost
	hosts[1].got(t, 0)
	w.servers[0].kill()
	const n = 100
	sent := 0
	eventually(t, "being up again", func() bool {
		if sent < n {
			adapters[0].Emit(rooms.Target{Namespace: "/"}, rooms.Event{Data: fmt.Appendf(nil, `["n",%d]`, sent)})
			sent++
			time.Sleep(10 * time.Millisecond)
		}
		return sent == n && adapters[0].Status().Up && adapters[1].Status().Up
	})
	w.reaches(hosts, adapters)
	lost := int(adapters[0].Status().Lost - before)
	got := strings.Count(strings.Join(hosts[1].got(t, 0), "\n"), `["n",`)
	if lost > 10 || got < n-lost-5 {
		t.Errorf("%d of %d arrived, and %d are counted as lost, want nearly all", got, n, lost)
	}
}

// The connections of subscriptions alone are cut, with all servers at once.
func TestSubscriptionsAreCut(t *testing.T) {
	for kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			addr := server(t)
			do := control(t, addr)
			_, adapters := join(t, kind, addr, 4, Options{Prefix: kind, Timeout: 2 * time.Second})
			all := rooms.Target{Namespace: "/"}
			for range 5 {
				if err := do("CLIENT", "KILL", "TYPE", "pubsub").Error(); err != nil {
					t.Fatal(err)
				}
				for range 3 {
					members, err := adapters[0].Members(context.Background(), all)
					var e *rooms.IncompleteError
					if err == nil && len(members) != 3 || err != nil && (!errors.As(err, &e) || len(e.Missing)+len(members) != 3) {
						t.Fatalf("Members = %d, %v, want 3, or an error that names the others", len(members), err)
					}
				}
			}
			eventually(t, "being complete", func() bool {
				members, err := adapters[0].Members(context.Background(), all)
				return err == nil && len(members) == 3
			})
		})
	}
}

// A Sentinel with a password of its own is asked with it.
func TestASentinelWithAPassword(t *testing.T) {
	t.Parallel()
	w := watch(t, 1, "secret")
	for password, want := range map[string]bool{"secret": true, "wrong": false} {
		var log said
		a, err := Parse(fmt.Sprintf("redis://%s?master_set=m&sentinel_password=%s", w.sentries[0].addr, password), Options{Logger: log.logger()})
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Start(&fake{node: newID(4)}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = a.Close(context.Background()) })
		eventually(t, "connecting or not", func() bool {
			s := a.Status()
			return s.Up == want && (want || strings.Contains(s.Reason, "WRONGPASS"))
		})
		if strings.Contains(log.String(), "wrong") && strings.Contains(log.String(), "password=wrong") {
			t.Error("the log has the password")
		}
	}
}
