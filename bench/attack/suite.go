package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// An attack is what a hostile client does. do is the life of one connection, or of
// one after another; it is called again, as long as there is something to send,
// when it returns.
type attack struct {
	name   string   // what it does, for the table
	server bool     // it is the server that is attacked, not the library's program
	args   []string // for the program
	redis  string   // kind of cluster that the program is in; empty: none
	twin   bool     // there is another program in the cluster, where honest clients that poll have their sessions
	peers  int      // attackers at most, who are in Redis and not clients; 0: as many as there are
	few    uint64   // descriptors that it may have; 0: as many as this process
	bytes  int64    // that an attacker sends when it has the time; 0: as all others
	conns  int      // that one attacker has open at a time; 0 is 1
	queued bool     // it makes the program send it more than it takes, up to --queue-hard-max
	do     func(a *attacker) error
}

// scale is how hard it is tried.
type scale struct {
	bytes     int64         // that one attacker sends, and each of many a tenth of
	attackers int           // in the second part
	honest    int           // clients beside them
	echoes    [2]int64      // of an honest client, in both parts
	lives     [2]int        // of an attacker, one connection after the other
	longest   time.Duration // that an attack goes on when it never stops sending
	calm      time.Duration // that everything may take to be as before
	soon      []string      // what makes what a server waits for come soon enough
}

var (
	short = scale{bytes: 512 << 10, attackers: 100, honest: 20, echoes: [2]int64{20, 100}, lives: [2]int{300, 30}, longest: 3 * time.Second, calm: time.Minute,
		soon: []string{"--ping-interval=2s", "--ping-timeout=8s", "--connect-timeout=15s"}}
	long = scale{bytes: 8 << 20, attackers: 100, honest: 100, echoes: [2]int64{100, 100}, lives: [2]int{5000, 300}, longest: 8 * time.Second, calm: 2 * time.Minute,
		soon: []string{"--ping-interval=5s", "--ping-timeout=20s", "--connect-timeout=30s"}}
)

// budget is what one connection may cost: the default of --conn-budget, and what
// the allocator rounds up and a message takes that is just being put together.
const budget = 4<<20 + 512<<10

// hardQueue is the default of --queue-hard-max.
const hardQueue = 16 << 20

// slack is what a process may have grown by that is no connection's: buffers of
// loops, with those for inflating, tables that have grown, and stacks.
const slack = 16 << 20

// garbage is the factor between what is alive and what is resident of a process
// that does not tell.
const garbage = 3

// pooled are connections to Redis, with two goroutines each, that a server may have
// found that it needs, and keeps for the next time.
const pooled = 2

// maxLines and maxLog bound what one attack may write to the log.
const (
	maxLines = 400
	maxLog   = 256 << 10
)

// result is a part of a row of the table.
type result struct {
	attackers int
	sent      int64
	held      int64 // bytes more than before, at most
	answered  int64 // echoes of honest clients
	refused   string
	lines     int64
	log       int64
}

// try starts a process and attacks it, by one and by many.
func (x *attack) try(p programs, sc scale) (all [2]result, err error) {
	args, broker := x.args, ""
	if x.redis != "" {
		addr, stop, err := startRedis()
		if err != nil {
			return all, err
		}
		defer stop()
		broker, args = addr, append([]string{"-adapter=" + x.redis + "://" + addr, "-prefix=" + prefix}, args...)
	}
	s, err := start(p, x.server, x.few, append(slices.Clone(sc.soon), args...))
	if err != nil {
		return all, err
	}
	defer s.stop()
	s.broker = broker
	if x.twin {
		twin, err := start(p, false, 0, append(slices.Clone(sc.soon), args...))
		if err != nil {
			return all, err
		}
		defer twin.stop()
		s.twin = twin.addr
	}
	if err := s.settle(); err != nil {
		return all, err
	}
	for i, n := range []int{1, min(sc.attackers, cmp.Or(x.peers, sc.attackers))} {
		if all[i], err = x.part(s, n, sc, sc.echoes[i]); err != nil {
			return all, fmt.Errorf("%d attackers: %w", n, err)
		}
	}
	return all, nil
}

// part is the attack of n clients beside honest ones, each of which is to get its
// echoes.
func (x *attack) part(s *process, n int, sc scale, least int64) (r result, err error) {
	r.attackers = n
	before, err := s.hold()
	if err != nil {
		return r, err
	}
	fair, err := befriend(s.addr, s.twin, sc.honest)
	leave := sync.OnceFunc(func() {
		for _, h := range fair {
			h.leave()
		}
	})
	defer leave()
	if err != nil {
		return r, err
	}
	base, err := s.hold()
	if err != nil {
		return r, err
	}
	s.logged() // of what came before
	err = x.fight(s, &r, sc, fair, base, least)
	var causes string
	r.lines, r.log, causes = s.logged()
	leave()
	if err != nil {
		err = fmt.Errorf("%w (%s; %s)", err, r.refused, causes)
	}
	if s.debug == "" {
		r.refused = causes
	}
	if err == nil {
		err = x.bounded(&r, causes)
	}
	if err == nil {
		err = s.calm(x.keeps(before, sc), sc.calm)
	}
	return r, err
}

// fight is the attack itself, until it is over and each honest client has had its
// echoes. It counts in r what that has cost more than base.
func (x *attack) fight(s *process, r *result, sc scale, fair []*honest, base held, least int64) error {
	over, begun := make(chan struct{}), make(chan struct{}, r.attackers)
	attackers, done := x.begin(s, r.attackers, sc, over, begun)
	for range r.attackers {
		select {
		case <-begun:
		case <-time.After(sc.longest):
		}
	}
	fine := make(chan error, 1)
	ending := make(chan struct{})
	// ends when the attack is over and each client has had its echoes
	go func() {
		var err error
		r.answered, err = echoes(fair, least, ending)
		fine <- err
	}()
	most := watch(s, attackers, done, sc)
	close(ending)
	err := <-fine // while the attackers are still there
	close(over)
	for _, a := range attackers {
		a.expire()
	}
	<-done
	now, e := s.hold()
	err = errors.Join(err, e)
	r.held = max(most, now.bytes) - base.bytes
	r.refused = now.beyond(base)
	for _, a := range attackers {
		a.close()
		r.sent += a.sent.Load()
	}
	return err
}

// keeps is what a process may hold afterwards: what it did before, and what it keeps
// for the next time.
func (x *attack) keeps(before held, sc scale) held {
	if x.redis != "" {
		before.descriptors += pooled
		before.goroutines += 2 * pooled
	}
	if x.twin {
		before.descriptors += sc.honest
		before.goroutines += 2 * sc.honest // their forwarded polls' connections, kept for the next ones
	}
	return before
}

// begin starts the attackers. done is closed when all have ended.
func (x *attack) begin(s *process, n int, sc scale, over <-chan struct{}, begun chan<- struct{}) (all []*attacker, done chan struct{}) {
	limit, lives := sc.bytes, sc.lives[0]
	if x.bytes > 0 {
		limit = min(limit, x.bytes)
	}
	if n > 1 {
		limit, lives = max(limit/10, 1), sc.lives[1]
	}
	var wg sync.WaitGroup
	for range n {
		a := &attacker{addr: s.addr, twin: s.twin, redis: s.broker, over: over, limit: limit, lives: lives, begun: begun}
		all = append(all, a)
		wg.Add(1)
		// ends when over is closed
		go func() {
			defer wg.Done()
			a.live(x)
		}()
	}
	done = make(chan struct{})
	// ends with them
	go func() {
		wg.Wait()
		close(done)
	}()
	return all, done
}

// watch waits until the attackers have sent everything, or no more is taken from
// them, or it has been long enough. It returns the most that was held.
func watch(s *process, all []*attacker, done <-chan struct{}, sc scale) (most int64) {
	const look = 250 * time.Millisecond
	still, last := 0, int64(-1)
	for end := time.Now().Add(sc.longest); time.Now().Before(end) && still < 3; {
		select {
		case <-done:
			still = 3
		case <-time.After(look):
		}
		if h, err := s.hold(); err == nil {
			most = max(most, h.bytes)
		}
		sent := int64(0)
		for _, a := range all {
			sent += a.sent.Load()
		}
		if sent == last {
			still++
		} else {
			still, last = min(still, 0), sent
		}
	}
	return most
}

// bounded tells whether what was counted is within the bounds.
func (x *attack) bounded(r *result, causes string) error {
	each := int64(budget)
	if x.queued {
		each += hardQueue
	}
	most := int64(max(x.conns, 1)*r.attackers)*each + slack
	if x.server {
		most *= garbage
	}
	switch {
	case r.sent == 0:
		return errors.New("nothing was sent")
	case r.held > most:
		return fmt.Errorf("%d bytes sent, %d held, more than %d", r.sent, r.held, most)
	case r.lines > maxLines || r.log > maxLog:
		return fmt.Errorf("%d bytes sent wrote %d lines, %d bytes, to the log: %.1000s", r.sent, r.lines, r.log, causes)
	}
	return nil
}

// settle waits until the process has begun all that it does by itself.
func (s *process) settle() error {
	last, err := s.hold()
	for still := 0; err == nil && still < 3; {
		time.Sleep(50 * time.Millisecond)
		var now held
		if now, err = s.hold(); now.goroutines == last.goroutines && now.descriptors == last.descriptors {
			still++
		} else {
			still = 0
		}
		last = now
	}
	return err
}

// calm waits until the process holds what it held before, but for memory.
func (s *process) calm(before held, within time.Duration) error {
	for end := time.Now().Add(within); ; time.Sleep(100 * time.Millisecond) {
		now, err := s.hold()
		if err != nil {
			return err
		}
		left := now.bytes - before.bytes
		if s.debug == "" {
			left = 0
		}
		if now.descriptors <= before.descriptors && now.goroutines <= before.goroutines && now.sockets == before.sockets && left <= slack {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("afterwards %d descriptors, %d goroutines, %d sockets, %d bytes more than before; %d, %d, %d before",
				now.descriptors, now.goroutines, now.sockets, left, before.descriptors, before.goroutines, before.sockets)
		}
	}
}
