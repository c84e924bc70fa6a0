package siotest

import (
	"encoding/json"
	"time"
)

// Emit sends an event.
func (c *Client) Emit(event string, args ...any) {
	c.srv.t.Helper()
	c.send(event, args, nil, c.srv.watch.Settle)
}

// EmitAck sends an event to be acknowledged.
func (c *Client) EmitAck(event string, args ...any) *Ack {
	c.srv.t.Helper()
	a := &Ack{c: c, event: event}
	c.send(event, args, a, c.srv.watch.Settle)
	return a
}

// Start is EmitAck of an event whose handler waits for something that the test gives
// by itself, such as on a channel:
//
//	order := c.Start("order", "tea")
//	kitchen <- "ready"
//	order.Decode(&answer)
//
// It returns when all handlers have ended or are blocked, in whatever it may be.
// Those that are blocked are not waited for, by nobody, until they go on: what the
// test does next may be to let them. Close does wait for them.
func (c *Client) Start(event string, args ...any) *Ack {
	c.srv.t.Helper()
	a := &Ack{c: c, event: event}
	c.send(event, args, a, c.srv.watch.SettleLeaving)
	return a
}

func (c *Client) send(event string, args []any, a *Ack, settle func(func(), time.Duration) error) {
	c.srv.t.Helper()
	if !c.Connected() {
		c.fatal("emitting %q: it is disconnected: %s", event, c.end.Reason)
	}
	c.srv.mu.Lock()
	id := c.lastAck
	if a != nil {
		c.lastAck++
		c.acks[id] = a
	}
	c.srv.mu.Unlock()
	text, attachments, err := limits.AppendEvent(nil, c.namespace, id, a != nil, event, args)
	if err != nil {
		c.fatal("emitting %q: %v", event, err)
	}
	c.srv.doUntil(settle, func() { c.conn.packet(text, attachments) })
}

// Answer has the client acknowledge, by itself, each event of this name that the
// server asks it for, with what f returns; such events are not there for Expect. f
// runs while the server does, and must not use the Server or a client. Without
// Answer a test takes the event, and acknowledges it: see [Event.Ack].
func (c *Client) Answer(event string, f func(Args) []any) {
	c.srv.mu.Lock()
	defer c.srv.mu.Unlock()
	c.answers[event] = f
}

// An Ack is what a client waits for that has sent an event to be acknowledged.
type Ack struct {
	c     *Client
	event string
	done  bool
	args  Args
}

// Done tells whether the acknowledgement is there.
func (a *Ack) Done() bool {
	a.c.srv.t.Helper()
	a.c.Settle()
	a.c.srv.mu.Lock()
	defer a.c.srv.mu.Unlock()
	return a.done
}

// Args returns what the event was acknowledged with, which must have happened.
func (a *Ack) Args() Args {
	a.c.srv.t.Helper()
	if !a.Done() {
		a.c.fatal("waiting for the acknowledgement of %q: it has not come, %s", a.event, a.c.got())
	}
	return a.args
}

// Decode decodes what the event was acknowledged with, which must have happened,
// into dst, one each.
func (a *Ack) Decode(dst ...any) {
	a.c.srv.t.Helper()
	args := a.Args()
	if err := args.Decode(dst...); err != nil {
		a.c.fatal("decoding the acknowledgement of %q, %v: %v", a.event, args, err)
	}
}

// Await waits for the acknowledgement, in real time up to Server.Patience: of a
// handler that leaves it to a goroutine.
func (a *Ack) Await() Args {
	a.c.srv.t.Helper()
	a.c.srv.await(a.Done)
	return a.Args()
}

// Ask has a client send an event, and returns the first value that it is
// acknowledged with, which must happen at once. It must not be the error of a handler
// of [sio.OnAck], {"error": …}: that is there for EmitAck.
func Ask[R any](c *Client, event string, args ...any) R {
	c.srv.t.Helper()
	a := c.EmitAck(event, args...)
	var told map[string]string
	if json.Unmarshal(a.Args().Raw(0), &told) == nil && len(told) == 1 && told["error"] != "" {
		c.fatal("%q is acknowledged with an error: %v", event, a.args)
	}
	var r R
	a.Decode(&r)
	return r
}
