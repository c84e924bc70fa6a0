package redis

import "time"

// A delay holds topics, in order, for a time that is the same for all.
type delay struct {
	pause time.Duration
	queue []delayed
}

type delayed struct {
	topic
	at time.Time
}

func (d *delay) put(t topic, now time.Time) { d.queue = append(d.queue, delayed{t, now.Add(d.pause)}) }

// take returns the next whose time has come.
func (d *delay) take(now time.Time) (t topic, ok bool) {
	if len(d.queue) == 0 || now.Before(d.queue[0].at) {
		return topic{}, false
	}
	t = d.queue[0].topic
	if d.queue = d.queue[1:]; len(d.queue) == 0 {
		d.queue = nil
	}
	return t, true
}
