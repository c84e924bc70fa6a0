package redis

import (
	"context"
	"errors"
	"time"

	"github.com/redis/rueidis"
)

var (
	errUnwanted = errors.New("redis: the room, or its namespace, is not there any more")
	errFull     = errors.New("redis: there are as many subscriptions as there may be: Options.MaxSubscriptions")
)

// await returns when a subscription is in place. It is an error if nobody wants it,
// or if it cannot be.
func (s *subscriptions) await(ctx context.Context, t topic) error {
	for {
		done, changed, err := s.look(t)
		if done || err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// look is await without waiting: changed is closed when it is worth while to look
// again.
func (s *subscriptions) look(t topic) (ready bool, changed <-chan struct{}, err error) {
	s.lock()
	defer s.mu.Unlock()
	x := s.all[t]
	switch {
	case x == nil && s.parked[t] > 0:
		return false, nil, errFull
	case x == nil || !x.wanted():
		return false, nil, errUnwanted
	case x.ready:
		return true, nil, nil
	case x.refusal != nil:
		return false, nil, x.refusal
	}
	if x.changed == nil {
		x.changed = make(chan struct{})
	}
	return false, x.changed, nil
}

// mostAtOnce bounds how many subscriptions are looked at with the lock held.
const mostAtOnce = 1000

// next returns what is to be subscribed to and unsubscribed from on a line, and
// marks it as such; more says that there is more to look at.
func (s *subscriptions) next(l *line, now time.Time) (all []change, more bool) {
	s.lock()
	defer s.mu.Unlock()
	s.elapse(now)
	var add, drop [3][]topic
	looked := 0
	for t := range l.changed {
		if looked++; looked > mostAtOnce {
			more = true
			break
		}
		delete(l.changed, t)
		x := s.all[t]
		switch {
		case x == nil || x.line != l || x.wanted() && x.sent:
		case x.wanted():
			s.count(x, -1)
			x.sent = true
			s.count(x, 1)
			if x.alone {
				all = append(all, change{true, []topic{t}})
			} else {
				add[t.kind] = append(add[t.kind], t)
			}
		case x.sent && now.Before(x.until): // and is looked at again then
		case x.sent:
			drop[t.kind] = append(drop[t.kind], t)
			fallthrough
		default:
			s.forget(x)
		}
	}
	for k := range add {
		all = appendChanges(all, true, add[k])
		all = appendChanges(all, false, drop[k])
	}
	return all, more
}

// forget ends a subscription, so that there is room for one that was too many.
// s.mu is held.
func (s *subscriptions) forget(x *subscription) {
	s.count(x, -1)
	delete(s.all, x.topic)
	x.tell()
	for t := range s.parked {
		s.own(t, 0)
		return
	}
}

// A change is a command to subscribe or to unsubscribe.
type change struct {
	begin  bool
	topics []topic // of one kind
}

// appendChanges appends commands for topics of one kind: by the hundred, but
// sharded channels one by one, since they may be of several slots.
func appendChanges(all []change, begin bool, topics []topic) []change {
	size := 500
	if len(topics) > 0 && topics[0].kind == sharded {
		size = 1
	}
	for ; len(topics) > 0; topics = topics[min(size, len(topics)):] {
		all = append(all, change{begin, topics[:min(size, len(topics))]})
	}
	return all
}

func (c change) build(b rueidis.Builder) rueidis.Completed {
	names := make([]string, len(c.topics))
	for i, t := range c.topics {
		names[i] = t.name
	}
	switch k := c.topics[0].kind; {
	case k == exact && c.begin:
		return b.Subscribe().Channel(names...).Build()
	case k == pattern && c.begin:
		return b.Psubscribe().Pattern(names...).Build()
	case c.begin:
		return b.Ssubscribe().Channel(names...).Build()
	case k == exact:
		return b.Unsubscribe().Channel(names...).Build()
	case k == pattern:
		return b.Punsubscribe().Pattern(names...).Build()
	}
	return b.Sunsubscribe().Channel(names...).Build()
}
