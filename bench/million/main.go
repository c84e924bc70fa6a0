// Command million measures a million connections that exist in memory only,
// through everything above the file descriptor: WebSocket frames, Engine.IO
// sessions with heartbeats, a namespace, rooms. It prints the bytes and objects
// of a session, the CPU of connecting, of a broadcast to all, of all heartbeats and of the
// return of all after they were lost at once, and what the garbage collector does.
//
//	go run ./bench/million -sessions 1000000
//
// What a connection costs the kernel, about 5 KB, and what system calls do, is not in it.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"syscall"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/wsframe"
)

func main() {
	n := flag.Int("sessions", 1_000_000, "connections")
	loops := flag.Int("loops", 2, "event loops")
	instances := flag.Int("instances", 0, "spread the sessions over so many live namespaces of one pattern, instead of one room of /")
	known := flag.Bool("known", false, "each session is somebody: with an identity of its own, kept with its connection and counted there, a deadline, and a second room for its user's sessions, of which each has two")
	flag.Parse()
	if err := run(*n, *loops, *instances, *known); err != nil {
		fmt.Fprintln(os.Stderr, "million:", err)
		os.Exit(1)
	}
}

// silent is a handler that does nothing: the peers of the simulation without
// a server behind them.
type silent struct{}

func (silent) Open(loop.Conn)                 {}
func (silent) Data(_ loop.Conn, b []byte) int { return len(b) }
func (silent) Drained(loop.Conn)              {}
func (silent) Close(loop.Conn, error)         {}

func masked(op wsframe.Op, text string) []byte {
	return wsframe.AppendMaskedFrame(nil, op, []byte(text), [4]byte{1, 2, 3, 4})
}

const opening = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

// A crowd is all sessions of a run.
type crowd struct {
	n, loops, instances int

	sim   *loop.Sim
	peers []*loop.Peer
}

func run(n, loops, instances int, known bool) error {
	c := crowd{n: n, loops: loops, instances: instances, peers: make([]*loop.Peer, n)}
	base := heap()
	bare := loop.NewSim(silent{}, loop.Options{Loops: loops})
	for i := range n {
		c.peers[i] = bare.Connect(i % loops)
		c.peers[i].Discard(true)
	}
	peers := heap().minus(base)
	bareCPU, _, _ := collections()
	runtime.KeepAlive(bare)
	bare = nil
	clear(c.peers)

	base = heap()
	srv, sim, err := sio.NewSim(sio.Options{Engine: eio.Options{MaxSessions: n + 1}, Loop: loop.Options{Loops: loops}})
	if err != nil {
		return err
	}
	c.sim = sim
	ns := serve(srv, instances, known)
	start, before := cpu(), allocated()
	c.connect()
	fmt.Printf("connect and join        %.2f µs of CPU and %.0f B allocated a session\n", micros(cpu()-start)/float64(n), float64(allocated()-before)/float64(n))
	c.memory(base, peers)

	if instances == 0 {
		broadcasts(ns, sim, n)
	}
	collectCPU, wall, pause := collections()
	fmt.Printf("full garbage collection %.2f ms of CPU, of which %.2f ms are the simulated peers'; %.2f ms, longest pause %s\n",
		millis(collectCPU), millis(bareCPU), millis(wall), pause)
	c.beats()
	c.storm()
	c.memory(base, usage{2 * peers.bytes, 2 * peers.objects}) // a Sim keeps those that have gone
	runtime.KeepAlive(srv)
	return nil
}

func serve(srv *sio.Server, instances int, known bool) *sio.Namespace {
	ns := srv.Of("/")
	if instances > 0 {
		srv.Of("/campaigns/:id/trends")
	}
	ns.HandleInline("join", func(s sio.Socket, m *sio.Msg) error {
		var room string
		if err := m.Decode(&room); err != nil {
			return err
		}
		s.Join(room)
		if known {
			return becomeKnown(s)
		}
		return nil
	})
	return ns
}

// connect connects all, who take what they are sent and keep none of it.
func (c *crowd) connect() {
	connect, join := masked(wsframe.Text, "40"), masked(wsframe.Text, `42["join","everybody"]`)
	for i := range c.n {
		p := c.sim.Connect(i % c.loops)
		p.Discard(true)
		c.peers[i] = p
		packets := [][]byte{[]byte(opening), connect, join}
		if c.instances > 0 {
			packets = [][]byte{[]byte(opening), masked(wsframe.Text, fmt.Sprintf("40/campaigns/%d/trends,", i%c.instances))}
		}
		for _, b := range packets {
			p.Send(append([]byte(nil), b...)) // unmasked in place
		}
	}
}

func (c *crowd) memory(base, peers usage) {
	used := heap().minus(base).minus(peers)
	fmt.Printf("memory                  %.1f B and %.4f objects a session (the simulated peers, %.0f B each, taken off)\n",
		float64(used.bytes)/float64(c.n), float64(used.objects)/float64(c.n), float64(peers.bytes)/float64(c.n))
}

// A person is who a session is of.
type person struct {
	name    string
	expires int64
	_       map[string]string // claims: few have any
}

var (
	people  = sio.NewConnKey[*person]()
	counted = sio.NewConnKey[*person]() // by a limit of connections
	persons int
)

// becomeKnown is what an edge does for a session with a token.
func becomeKnown(s sio.Socket) error {
	p := &person{name: fmt.Sprintf("user-%d", persons/2), expires: 1 << 40}
	persons++
	s.Join("user:" + p.name)
	s.ExpireAt(time.Now().Add(24*time.Hour), nil)
	return errors.Join(people.Set(s, p), counted.Set(s, p))
}

func broadcasts(ns *sio.Namespace, sim *loop.Sim, n int) {
	for _, k := range []int{1, 8, 64} {
		const rounds = 5
		start, before := cpu(), mallocs()
		for range rounds {
			for i := range k {
				if err := ns.To("everybody").Emit("msg", i, "a message of about sixty bytes, as in the benchmarks"); err != nil {
					panic(err)
				}
			}
			sim.Turn()
		}
		total := float64(rounds * k * n)
		each := micros(cpu()-start) / total
		fmt.Printf("broadcast, %2d queued    %.4f µs of CPU a message and recipient, %.6f allocations; %.0f ms of one core for all of them\n",
			k, each, float64(mallocs()-before)/total, each*float64(n*k)/1000)
	}
}

// collections returns the mean cost of a full garbage collection, and the longest
// pause.
func collections() (ofCPU, wall, pause time.Duration) {
	const rounds = 5
	before := pauses()
	start, began := cpu(), time.Now()
	for range rounds {
		runtime.GC()
	}
	return (cpu() - start) / rounds, time.Since(began) / rounds, longest(before, pauses())
}

// beats has each session ping once, and its client answer.
func (c *crowd) beats() {
	start := cpu()
	c.sim.Advance(30 * time.Second)
	pings := cpu() - start
	pong := masked(wsframe.Text, "3")
	start = cpu()
	for _, p := range c.peers {
		p.Send(append([]byte(nil), pong...))
	}
	pongs := cpu() - start
	n := float64(c.n)
	fmt.Printf("heartbeats              %.3f µs of CPU a ping (a whole interval, all sessions; without the send) and %.3f a pong (without the wait): %.3f cores at one each 25 s\n",
		micros(pings)/n, micros(pongs)/n, (pings+pongs).Seconds()/25)
}

// storm loses all clients at once, and has all come back.
func (c *crowd) storm() {
	start := cpu()
	for _, p := range c.peers {
		p.Reset()
	}
	lost := cpu() - start
	start = cpu()
	c.connect()
	back := cpu() - start
	fmt.Printf("all lost, all back      %.2f µs of CPU a session that is lost, %.2f for one that is back: %.1f s of one core for all, without the kernel's part\n",
		micros(lost)/float64(c.n), micros(back)/float64(c.n), (lost + back).Seconds())
}

type usage struct{ bytes, objects int64 }

func (u usage) minus(v usage) usage { return usage{u.bytes - v.bytes, u.objects - v.objects} }

func heap() usage {
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return usage{int64(m.HeapAlloc), int64(m.HeapObjects)}
}

func mallocs() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Mallocs
}

func cpu() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func millis(d time.Duration) float64 { return micros(d) / 1000 }

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

func pauses() *metrics.Float64Histogram {
	s := []metrics.Sample{{Name: "/sched/pauses/total/gc:seconds"}}
	metrics.Read(s)
	return s[0].Value.Float64Histogram()
}

// longest returns the upper bound of the longest pause between two readings.
func longest(a, b *metrics.Float64Histogram) time.Duration {
	for i := len(b.Counts) - 1; i >= 0; i-- {
		if b.Counts[i] > a.Counts[i] {
			return time.Duration(b.Buckets[i+1] * float64(time.Second))
		}
	}
	return 0
}

// allocated returns the bytes allocated so far.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}
