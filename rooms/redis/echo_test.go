package redis

import (
	"testing"
	"time"
)

// As long as a server does not hear itself, and shortly after, nobody's silence means
// that it is dead.
func TestSilenceIsForWhoHearsItself(t *testing.T) {
	var e echo
	at := time.Now()
	hearing := func(after time.Duration, want bool, since time.Duration) {
		t.Helper()
		if from, ok := e.hearing(at.Add(after)); ok != want || ok && !from.Equal(at.Add(since)) {
			t.Errorf("after %s: hearing since %s, %t, want since %s, %t", after, from.Sub(at), ok, since, want)
		}
	}
	hearing(0, false, 0)
	e.heard(at)
	e.heard(at.Add(heartbeatEvery))
	hearing(2*heartbeatEvery, true, 0)
	hearing(heartbeatEvery+maxGap+1, false, 0) // it has stopped
	e.heard(at.Add(10 * heartbeatEvery))
	hearing(11*heartbeatEvery, true, 10*heartbeatEvery)
}

// What carries heartbeats hangs, and the adapter does not know it yet: who was there
// stays. When it goes on, they have time to be heard again.
func TestPeersOfAServerThatHearsNothingStay(t *testing.T) {
	c := newCore(Options{}.withDefaults(""))
	c.b = newBroker(&c.o, func(string, string, []byte) {}) // it does not run
	c.b.health.set(sending, nil)
	c.b.health.set(receiving, nil)
	long := time.Now().Add(-time.Hour)
	c.b.health.since = long
	c.peers.note(heartbeat{UID: "1", Node: "aaaa"})
	c.peers.known["1"].Seen = time.Now().Add(-2 * deadAfter)
	c.echo = echo{since: long, last: time.Now().Add(-2 * maxGap)}
	for _, then := range []string{"nothing is heard", "something is heard again"} {
		if c.sweepPeers(); c.peers.count() != 1 {
			t.Fatalf("%s: %d servers are there, want 1", then, c.peers.count())
		}
		c.echo.heard(time.Now())
	}
	c.echo = echo{since: long, last: time.Now()}
	if c.sweepPeers(); c.peers.count() != 0 {
		t.Error("who is silent, and nobody else, is there still")
	}
}
