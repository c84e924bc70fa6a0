package redis

import (
	"fmt"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// What Redis, and the connections to it, say of subscriptions.

// inPlace returns how many subscriptions are in place, whether that is all, and
// how many there are too many.
func (s *subscriptions) inPlace() (n int, all bool, parked int) {
	s.lock()
	defer s.mu.Unlock()
	return s.ready, s.live && s.due == 0, len(s.parked)
}

// settled tells whether all subscriptions are in place but those that Redis does
// not let us have, and in that case why; there may be no connection.
func (s *subscriptions) settled() (ok bool, refusal error) {
	s.lock()
	defer s.mu.Unlock()
	if ok = s.live && s.due == s.denied; !ok || s.denied == 0 {
		return ok, nil
	}
	if x := s.all[s.example]; x != nil && x.denied() {
		return true, x.refusal
	}
	for t, x := range s.all {
		if x.denied() {
			s.example = t
			return true, x.refusal
		}
	}
	return true, nil
}

// unconfirmed tells whether something was asked for on a line that Redis has not
// confirmed.
func (s *subscriptions) unconfirmed(l *line) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return l.due > 0
}

// confirm notes what Redis says about a subscription of a line. It may end one by
// itself, when the channel moves to another node: then it is lost.
func (s *subscriptions) confirm(l *line, e rueidis.PubSubSubscription) (lost bool) {
	s.lock()
	defer s.mu.Unlock()
	k, begins := exact, !strings.Contains(e.Kind, "unsubscribe")
	switch e.Kind {
	case "psubscribe", "punsubscribe":
		k = pattern
	case "ssubscribe", "sunsubscribe":
		k = sharded
	}
	x := s.all[topic{k, e.Channel}]
	if x == nil || x.line != l {
		return false
	}
	s.count(x, -1)
	if begins {
		x.ready, x.moves, x.refusal, x.alone = x.sent, 0, nil, false
	} else {
		lost = x.ready && x.wanted()
		x.ready = false
		if x.sent {
			x.sent = false
			s.touch(x)
		}
	}
	s.count(x, 1)
	x.tell()
	return lost
}

// refuse notes that Redis does not let us have topics that were in one command. One
// that was alone is not asked for before a while; it is returned with why, so that
// somebody is told the first time.
func (s *subscriptions) refuse(l *line, topics []topic, err error) (first error) {
	s.lock()
	defer s.mu.Unlock()
	now := time.Now()
	for _, t := range topics {
		x := s.all[t]
		if x == nil || x.line != l {
			continue
		}
		s.count(x, -1)
		x.sent, x.ready, x.alone = false, false, true
		if len(topics) == 1 {
			if x.refusal == nil {
				first = fmt.Errorf("redis: %q was refused: %w", t.name, err)
				x.refusal = first
			}
			s.retried.put(t, now)
			x.tell()
		} else {
			s.touch(x)
		}
		s.count(x, 1)
	}
	return first
}

// isReady tells whether a subscription is in place.
func (s *subscriptions) isReady(t topic) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.all[t]
	return x != nil && x.ready
}

// reset says that a line has a new connection, or none.
func (s *subscriptions) reset(l *line, conn rueidis.CoreClient) {
	s.lock()
	defer s.mu.Unlock()
	l.conn = conn
	if s.slots == nil {
		s.live = conn != nil
	}
	for _, x := range s.all {
		if x.line == l {
			s.count(x, -1)
			x.sent, x.ready = false, false
			s.count(x, 1)
			s.touch(x)
		}
	}
}

// at returns the connection of a line, nil if there is none.
func (s *subscriptions) at(l *line) rueidis.CoreClient {
	s.mu.Lock()
	defer s.mu.Unlock()
	return l.conn
}
