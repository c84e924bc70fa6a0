package main

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/sioedge/sioedge/bench/client"
)

const (
	window = 64   // messages under way at most
	chunk  = 1024 // messages of which one is seen to arrive, where nobody gets the others
)

// Rooms. The publisher is in none.
const (
	fullRoom  = "full"  // has all receivers
	emptyRoom = "empty" // has none
)

// A flow is a stream of messages from one server to the other, and what is known
// of it. The publisher takes a permission for each message; who sees the message
// arrive gives it back.
type flow struct {
	size, receivers int
	pub             *client.Conn
	failed          chan error // the first failure

	permits chan struct{} // of messages
	chunks  chan struct{} // of chunks; nil if all messages go to the receivers
	sent    uint64        // to any room; the publisher's
	marked  uint64        // of those, to the receivers
	out     []byte

	left  [window]atomic.Int32 // receivers that have not got the message yet
	ready chan struct{}        // one for each receiver that got a probe
}

func newFlow(pub *client.Conn, receivers []*client.Conn, t trial) *flow {
	f := &flow{size: t.size, receivers: len(receivers), pub: pub, failed: make(chan error, 1),
		permits: make(chan struct{}, window), ready: make(chan struct{}, len(receivers))}
	for i := range f.left {
		f.left[i].Store(int32(f.receivers))
		f.permits <- struct{}{}
	}
	if t.nobody {
		f.chunks = make(chan struct{}, 2)
		f.chunks <- struct{}{}
		f.chunks <- struct{}{}
	}
	// end with their connections
	go func() { f.fail(pub.Listen(f.acknowledged)) }()
	for i, c := range receivers {
		go func() { f.fail(c.Listen(f.receiver(i))) }()
	}
	return f
}

func (f *flow) fail(err error) {
	select {
	case f.failed <- err:
	default:
	}
}

// acknowledged sees what the publisher's server says.
func (f *flow) acknowledged(p []byte) {
	if string(p) != "431[true]" || f.chunks == nil {
		f.fail(fmt.Errorf("the publisher got %q", p))
		return
	}
	f.give(f.permits)
}

// receiver returns what sees the messages of receiver i: each one once, in order.
func (f *flow) receiver(i int) func([]byte) {
	expected, probed := uint64(0), false
	return func(p []byte) {
		kind, seq, ok := parseMessage(p, f.size)
		switch {
		case !ok:
			f.fail(fmt.Errorf("receiver %d got %.100q", i, p))
		case kind == probe:
			if !probed {
				probed = true
				f.ready <- struct{}{}
			}
		case seq != expected:
			f.fail(fmt.Errorf("receiver %d got message %d, where %d is the next", i, seq, expected))
		default:
			expected++
			f.arrived(seq)
		}
	}
}

// arrived is called by each receiver for each message.
func (f *flow) arrived(seq uint64) {
	left := &f.left[seq%window]
	if left.Add(-1) > 0 {
		return
	}
	left.Store(int32(f.receivers))
	if f.chunks != nil {
		f.give(f.chunks)
		return
	}
	f.give(f.permits)
}

// give gives a permission back.
func (f *flow) give(to chan struct{}) {
	select {
	case to <- struct{}{}:
	default:
		f.fail(errors.New("something has arrived that was not under way"))
	}
}

// prepare publishes until all receivers have got something: servers may need a
// while to tell Redis what they want.
func (f *flow) prepare() error {
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	late := time.After(client.Patience)
	for n := 0; n < f.receivers; {
		select {
		case <-again.C:
			b := appendPublish(nil, fullRoom, probe, 0, f.size, false)
			if _, err := f.pub.Write(client.AppendPacket(nil, b)); err != nil {
				return err
			}
		case <-f.ready:
			n++
		case err := <-f.failed:
			return err
		case <-late:
			return fmt.Errorf("%d of %d receivers have got nothing", f.receivers-n, f.receivers)
		}
	}
	return nil
}

// run publishes for that long, and to the end of a chunk if there are any; waits
// until all has arrived, and returns how many messages that were.
func (f *flow) run(d time.Duration) (int, error) {
	before := f.sent
	for end := time.Now().Add(d); time.Now().Before(end) || f.chunks != nil && f.sent%chunk != 0; {
		if err := f.take(f.permits); err != nil {
			return 0, err
		}
		f.out = f.out[:0]
		// What else may be sent leaves in the same write, up to the end of a chunk.
		for more := true; more; {
			if err := f.publish(); err != nil {
				return 0, err
			}
			if f.sent%chunk == 0 {
				break
			}
			select {
			case <-f.permits:
			default:
				more = false
			}
		}
		if err := f.flush(); err != nil {
			return 0, err
		}
	}
	return int(f.sent - before), f.settle()
}

// publish appends one message to what is to be sent.
func (f *flow) publish() error {
	if f.chunks != nil && f.sent%chunk == 0 {
		if err := f.flush(); err != nil {
			return err
		}
		if err := f.take(f.chunks); err != nil {
			return err
		}
	}
	f.sent++
	room, seq := fullRoom, f.marked
	if f.chunks != nil && f.sent%chunk != 0 {
		room, seq = emptyRoom, f.sent
	} else {
		f.marked++
	}
	var packet [2048]byte
	f.out = client.AppendPacket(f.out, appendPublish(packet[:0], room, counted, seq, f.size, f.chunks != nil))
	return nil
}

func (f *flow) flush() error {
	_, err := f.pub.Write(f.out)
	f.out = f.out[:0]
	return err
}

// settle waits until nothing is under way.
func (f *flow) settle() error {
	for _, all := range []chan struct{}{f.permits, f.chunks} {
		for range cap(all) {
			if err := f.take(all); err != nil {
				return err
			}
		}
		for range cap(all) {
			all <- struct{}{}
		}
	}
	select {
	case err := <-f.failed:
		return err
	default:
		return nil
	}
}

// take takes one permission.
func (f *flow) take(from chan struct{}) error {
	late := time.NewTimer(client.Patience)
	defer late.Stop()
	select {
	case <-from:
		return nil
	case err := <-f.failed:
		return err
	case <-late.C:
		return fmt.Errorf("something of %d messages is missing", f.sent)
	}
}
