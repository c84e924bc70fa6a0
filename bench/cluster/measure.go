package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/sioedge/sioedge/bench/client"
	"github.com/sioedge/sioedge/bench/host"
)

// A kind is a server and its adapter.
type kind struct {
	name   string
	cmd    []string // the address of Redis follows, as its last word
	scheme string   // of that address
}

// kinds are pairs: of each two, the second is compared with the first.
func kinds() []kind {
	sioedge := []string{filepath.Join("bin", "sioedge"), "serve", "--demo", "--listen", "127.0.0.1:0", "--log-format", "text", "--recovery", "2m", "--adapter"}
	node := []string{"node", filepath.Join("bench", "peers", "node", "server.js"), "--adapter"}
	return []kind{
		{"sioedge", sioedge, "redis://"},
		{"node", node, "redis://"},
		{"sioedge, sharded", sioedge, "redis+sharded://"},
		{"node, sharded", node, "redis+sharded://"},
	}
}

// A trial is something to measure.
type trial struct {
	name            string
	size, receivers int
	nobody          bool // the messages, but one of a chunk, go to a room without members
}

func trials() []trial {
	return []trial{
		{"64 B to a room with 1 member on the other server", 64, 1, false},
		{"1 KB to a room with 1 member on the other server", 1024, 1, false},
		{"64 B to a room with 100 members on the other server", 64, 100, false},
		{"1 KB to a room with 100 members on the other server", 1024, 100, false},
		{"64 B to a room without members on the other server", 64, 1, true},
	}
}

// A figure is what one measurement gave.
type figure struct {
	messages    int
	took        time.Duration
	a, b, redis time.Duration // of CPU, at the server that publishes, the other one, and Redis
	toB         int64         // bytes from Redis; -1 if not counted
	published   int64         // in Redis
}

// per is d in µs a message.
func (f figure) per(d time.Duration) float64 {
	return d.Seconds() * 1e6 / float64(f.messages)
}

func (f figure) rate() float64 { return float64(f.messages) / f.took.Seconds() }

// A pair is two servers and their Redis.
type pair struct {
	redis   *redisServer
	tap     *tap // between Redis and b, nil if there is none
	a, b    *host.Server
	clients []*client.Conn
}

func startPair(k kind, tapped bool) (p *pair, err error) {
	p = &pair{}
	defer func() {
		if err != nil {
			p.stop()
		}
	}()
	if p.redis, err = startRedis(); err != nil {
		return p, err
	}
	addr := p.redis.addr
	if p.a, err = host.Start(k.name, k.command(addr)); err != nil {
		return p, err
	}
	if tapped {
		if p.tap, err = startTap(addr); err != nil {
			return p, err
		}
		addr = p.tap.listener.Addr().String()
	}
	p.b, err = host.Start(k.name, k.command(addr))
	return p, err
}

func (k kind) command(redis string) []string {
	return append(k.cmd[:len(k.cmd):len(k.cmd)], k.scheme+redis)
}

// stop ends what has been started.
func (p *pair) stop() {
	for _, c := range p.clients {
		c.Close()
	}
	p.a.Kill()
	p.b.Kill()
	if p.tap != nil {
		p.tap.listener.Close()
	}
	if p.redis != nil {
		p.redis.stop()
	}
}

// connect returns a client of the server at addr.
func (p *pair) connect(addr string) (*client.Conn, error) {
	c, err := client.Dial(addr)
	if err == nil {
		p.clients = append(p.clients, c)
	}
	return c, err
}

// measure starts everything, warms it up, measures, and ends it.
func measure(k kind, t trial, seconds int) (figure, error) {
	p, err := startPair(k, t.nobody)
	if err != nil {
		return figure{}, err
	}
	defer p.stop()
	pub, err := p.connect(p.a.Addr)
	if err != nil {
		return figure{}, err
	}
	receivers := make([]*client.Conn, t.receivers)
	for i := range receivers {
		if receivers[i], err = p.connect(p.b.Addr); err == nil {
			err = receivers[i].Join(fullRoom)
		}
		if err != nil {
			return figure{}, err
		}
	}
	f := newFlow(pub, receivers, t)
	if err := f.prepare(); err != nil {
		return figure{}, err
	}
	d := time.Duration(seconds) * time.Second
	if _, err := f.run(d); err != nil { // Node's compiler needs a while
		return figure{}, err
	}
	return p.measure(f, d)
}

// measure measures from silence to silence: all that the messages cost is in it.
func (p *pair) measure(f *flow, d time.Duration) (figure, error) {
	published, err := p.redis.published()
	if err != nil {
		return figure{}, err
	}
	before, err := p.reading()
	if err != nil {
		return figure{}, err
	}
	n, err := f.run(d)
	if err != nil {
		return figure{}, err
	}
	after, err := p.reading()
	if err != nil {
		return figure{}, err
	}
	now, err := p.redis.published()
	if err != nil {
		return figure{}, err
	}
	// What is doubled among the last messages is seen when others follow.
	if _, err := f.run(50 * time.Millisecond); err != nil {
		return figure{}, err
	}
	v := figure{messages: n, took: after.at.Sub(before.at), a: after.a.Since(before.a).Total(), b: after.b.Since(before.b).Total(),
		redis: after.redis.Since(before.redis).Total(), toB: -1, published: now - published}
	if p.tap != nil {
		v.toB = after.toB - before.toB
	}
	if v.published < int64(n) {
		return v, fmt.Errorf("only %d of %d messages were published in Redis", v.published, n)
	}
	return v, nil
}

// A reading is what the processes have used by then.
type reading struct {
	at          time.Time
	a, b, redis host.CPU
	toB         int64
}

func (p *pair) reading() (reading, error) {
	r := reading{at: time.Now()}
	var errs [3]error
	r.a, errs[0] = host.CPUOf(p.a.Process.Pid)
	r.b, errs[1] = host.CPUOf(p.b.Process.Pid)
	r.redis, errs[2] = host.CPUOf(p.redis.cmd.Process.Pid)
	if p.tap != nil {
		r.toB = p.tap.bytes.Load()
	}
	return r, errors.Join(errs[:]...)
}
