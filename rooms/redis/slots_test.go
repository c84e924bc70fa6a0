package redis

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/redis/rueidis"
)

// A master is a node of a Redis Cluster of the test's own.
type master struct {
	t    testing.TB
	addr string
	dir  string
	id   string
	cmd  *exec.Cmd
	do   func(words ...string) rueidis.RedisResult
}

// masters starts a Redis Cluster, with the slots spread over n nodes. What one of
// them has is served when another is dead.
func masters(t testing.TB, n int) (all []*master) {
	t.Helper()
	for range n {
		m := &master{t: t, addr: clusterAddr(t), dir: t.TempDir()}
		m.start()
		t.Cleanup(m.kill)
		m.do = control(t, m.addr)
		m.id = m.ask("CLUSTER", "MYID")
		all = append(all, m)
	}
	for i, m := range all {
		host, port, _ := net.SplitHostPort(m.addr)
		all[0].ask("CLUSTER", "MEET", host, port)
		m.ask("CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(16384*i/n), strconv.Itoa(16384*(i+1)/n-1))
	}
	for _, m := range all {
		eventually(t, "the cluster", func() bool {
			info := m.ask("CLUSTER", "INFO")
			return strings.Contains(info, "cluster_state:ok") && strings.Contains(info, fmt.Sprintf("cluster_size:%d\r", n))
		})
	}
	return all
}

// clusterAddr returns an address whose port, and that of the cluster's bus, no
// connection is given meanwhile.
func clusterAddr(t testing.TB) string {
	t.Helper()
	const from, to, bus = 10_000, 20_000, 10_000
	for range 100 {
		port := from + rand.IntN(to-from)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		l.Close()
		if l, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port+bus)); err == nil {
			l.Close()
			return fmt.Sprintf("127.0.0.1:%d", port)
		}
	}
	t.Fatal("no port is free")
	return ""
}

// start starts it where it was before, with what it knew.
func (m *master) start() {
	m.t.Helper()
	bin, err := exec.LookPath("redis-server")
	if err != nil {
		m.t.Skip("there is no redis-server")
	}
	_, port, _ := net.SplitHostPort(m.addr)
	m.cmd = exec.Command(bin, "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
		"--cluster-enabled", "yes", "--cluster-require-full-coverage", "no", "--cluster-node-timeout", "1000")
	m.cmd.Dir = m.dir
	if err := m.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	eventually(m.t, "redis-server", func() bool {
		c, err := net.Dial("tcp", m.addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// kill ends it without a word. It may be dead already.
func (m *master) kill() {
	_ = m.cmd.Process.Kill()
	_ = m.cmd.Wait()
}

// stop has it do nothing until resume.
func (m *master) stop()   { m.signal(syscall.SIGSTOP) }
func (m *master) resume() { m.signal(syscall.SIGCONT) }

func (m *master) signal(s syscall.Signal) {
	m.t.Helper()
	if err := m.cmd.Process.Signal(s); err != nil {
		m.t.Fatal(err)
	}
}

// ask returns the answer to a command, which must not be an error.
func (m *master) ask(words ...string) string {
	m.t.Helper()
	answer, err := m.do(words...).ToAny()
	if err != nil {
		m.t.Fatalf("%v = %v", words, err)
	}
	return fmt.Sprint(answer)
}

// slot returns that of a key.
func (m *master) slot(key string) string {
	m.t.Helper()
	return m.ask("CLUSTER", "KEYSLOT", key)
}

// owner returns the master that has a key, and others.
func owner(all []*master, key string) (has *master, others []*master) {
	all[0].t.Helper()
	for _, m := range all {
		// A key that another has is answered with where that is.
		if err := m.do("EXISTS", key).Error(); err == nil {
			has = m
		} else {
			others = append(others, m)
		}
	}
	if has == nil {
		all[0].t.Fatalf("nobody has %q", key)
	}
	return has, others
}

// move moves the slot of a key, with what is in it, to another master.
func move(all []*master, key string) (from, to *master) {
	from, others := owner(all, key)
	from.t.Helper()
	to = others[0]
	slot := from.slot(key)
	to.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", from.id)
	from.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", to.id)
	keys, err := from.do("CLUSTER", "GETKEYSINSLOT", slot, "1000").AsStrSlice()
	if err != nil {
		from.t.Fatal(err)
	}
	host, port, _ := net.SplitHostPort(to.addr)
	for _, k := range keys {
		from.ask("MIGRATE", host, port, k, "0", "5000")
	}
	for _, m := range append([]*master{to, from}, others[1:]...) {
		m.ask("CLUSTER", "SETSLOT", slot, "NODE", to.id)
	}
	eventually(to.t, "agreeing on the slot", func() bool { return epochs(all) })
	return from, to
}

// epochs tells whether all know the same last change, and none are of the same:
// before that, a node may take a slot back.
func epochs(all []*master) bool {
	all[0].t.Helper()
	last, own := map[string]bool{}, map[string]bool{}
	for _, m := range all {
		for line := range strings.Lines(m.ask("CLUSTER", "INFO")) {
			if _, n, ok := strings.Cut(line, "cluster_current_epoch:"); ok {
				last[n] = true
			} else if _, n, ok := strings.Cut(line, "cluster_my_epoch:"); ok {
				own[n] = true
			}
		}
	}
	return len(last) == 1 && len(own) == len(all)
}

// subscribed returns how many are subscribed to a channel at a node.
func (m *master) subscribed(channel string) int {
	m.t.Helper()
	counts, err := m.do("PUBSUB", "SHARDNUMSUB", channel).ToArray()
	if err != nil || len(counts) != 2 {
		m.t.Fatalf("SHARDNUMSUB = %v, %v", counts, err)
	}
	n, _ := counts[1].AsInt64()
	return int(n)
}

func TestSlotsAreThoseOfRedis(t *testing.T) {
	t.Parallel()
	m := masters(t, 1)[0]
	for _, key := range []string{
		"", "123456789", "socket.io#/#", "socket.io#/#room1#", "socket.io#/é#", "{a}.b", "a{b}{c}", "{}", "{", "a{}{b}", "}{a}", "a{b", "{{a}}",
	} {
		if got, want := strconv.Itoa(keySlot(key)), m.slot(key); got != want {
			t.Errorf("keySlot(%q) = %s, want %s", key, got, want)
		}
	}
}
