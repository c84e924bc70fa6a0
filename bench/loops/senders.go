package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/sioedge/sioedge/sio"
)

const (
	mostSenders = 64
	perThread   = mostSenders / drivers // rooms of them: each thread has so many
	emits       = 3200                  // in each step, of all goroutines
)

// A destination is which room each of many goroutines emits to.
type destination struct {
	name string
	room func(sender int) string
	in   func(b *bed, sender int) sio.BroadcastOperator // nil: the namespace
	gets func(place, senders int) int                   // messages in each step, by members of a room
}

var destinations = []destination{
	{"one room", func(int) string { return "room-0-0" }, nil, func(place, _ int) int {
		if place > 0 {
			return 0
		}
		return emits
	}},
	{"a room each", func(i int) string { return fmt.Sprintf("room-%d-%d", i/perThread, i%perThread) }, nil, func(place, senders int) int {
		if place >= senders {
			return 0
		}
		return emits / senders
	}},
	{"one room that nobody is in", func(int) string { return "none" }, nil, func(int, int) int { return 0 }},
	{"such a room each", func(i int) string { return fmt.Sprint("none", i) }, nil, func(int, int) int { return 0 }},
	{"a namespace each, of a pattern, that nobody is in", func(int) string { return "none" }, func(b *bed, i int) sio.BroadcastOperator {
		return b.live.Instance(fmt.Sprint("/live/none-", i))
	}, func(int, int) int { return 0 }},
}

// manySenders has many goroutines emit at once: to one room, to a room each, and to rooms
// that nobody is in, which is what looking up a room costs.
func manySenders(w io.Writer, s settings) (err error) {
	b, err := newBed(s, s.senders, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	if err := b.crowd(mostSenders * roomSize); err != nil {
		return err
	}
	fmt.Fprintf(w, "\nin memory, many goroutines emit at once to rooms of %d, %d loops%s: an emit\n", roomSize, s.senders, map[bool]string{true: ", with recovery"}[s.recovery])
	for _, to := range destinations {
		fmt.Fprintf(w, "\nto %s\n", to.name)
		t, last := newTable(w, "goroutines"), figure{}
		for _, n := range []int{1, 4, 16, mostSenders} {
			var all []figure
			for range s.rounds {
				f, err := b.measure(to.work(n), s.millis)
				if err != nil {
					return err
				}
				all = append(all, f)
			}
			t.row(fmt.Sprint(n), all)
			last = median(all)
		}
		t.flush()
		tellPlaces(w, fmt.Sprintf("%d goroutines", mostSenders), last)
	}
	return nil
}

// work is that of so many senders.
func (to destination) work(senders int) work {
	return work{to.name, func(b *bed) (int, error) {
		e := b.event()
		return emits, b.all(func(d *driver) error {
			for i, c := range d.clients {
				n := to.gets(d.number*perThread+i/roomSize, senders)
				if err := d.take(c, n*e.size, e.ends); err != nil {
					return err
				}
			}
			return nil
		}, func() error {
			return together(senders, func(i int) error {
				all := b.ns.All()
				if to.in != nil {
					all = to.in(b, i)
				}
				return emit(all.To(to.room(i)), emits/senders)
			})
		})
	}}
}
