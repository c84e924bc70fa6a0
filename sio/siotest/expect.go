package siotest

import (
	"fmt"
	"slices"
)

// Next takes the oldest event that the client has received and the test has not
// taken; there must be one.
func (c *Client) Next() *Event {
	c.srv.t.Helper()
	if e := c.take(func(*Event) bool { return true }); e != nil {
		return e
	}
	c.fatal("waiting for an event: %s", c.got())
	return nil
}

// Expect takes the next event, which must have this name, and decodes its arguments
// into dst, one each. Arguments that have no dst are not looked at.
func (c *Client) Expect(event string, dst ...any) *Event {
	c.srv.t.Helper()
	c.Settle()
	c.srv.mu.Lock()
	ok := len(c.events) > 0 && c.events[0].Name == event
	c.srv.mu.Unlock()
	if !ok {
		c.fatal("waiting for %q: %s", event, c.got())
	}
	return c.decode(c.Next(), dst)
}

// Await takes the first event of this name, whatever has come before it, which stays
// for later, and decodes its arguments into dst. If it has not come it waits, in real
// time up to Server.Patience: for what goroutines emit that no handler waits for.
func (c *Client) Await(event string, dst ...any) *Event {
	c.srv.t.Helper()
	var e *Event
	named := func(e *Event) bool { return e.Name == event }
	if c.srv.await(func() bool { e = c.take(named); return e != nil || !c.Connected() }); e == nil {
		c.fatal("waiting for %q: %s", event, c.got())
	}
	return c.decode(e, dst)
}

// take takes the first event for which ok, nil if there is none.
func (c *Client) take(ok func(*Event) bool) *Event {
	c.srv.t.Helper()
	c.Settle()
	c.srv.mu.Lock()
	defer c.srv.mu.Unlock()
	i := slices.IndexFunc(c.events, ok)
	if i < 0 {
		return nil
	}
	e := c.events[i]
	c.events = slices.Delete(c.events, i, i+1)
	return e
}

func (c *Client) decode(e *Event, dst []any) *Event {
	c.srv.t.Helper()
	if err := e.Decode(dst...); err != nil {
		c.fatal("decoding %v: %v", e, err)
	}
	return e
}

// got says what has been received, for a failure.
func (c *Client) got() string {
	c.srv.mu.Lock()
	defer c.srv.mu.Unlock()
	text := "got nothing"
	if len(c.events) > 0 {
		var all []string
		for _, e := range c.events {
			all = append(all, e.String())
		}
		text = list("got ", all) + ", nothing else"
	}
	if c.state == gone {
		text += "; it is disconnected: " + c.end.Reason
	}
	return text
}

// Received takes all events that the client has received, oldest first.
func (c *Client) Received() []*Event {
	c.srv.t.Helper()
	c.Settle()
	c.srv.mu.Lock()
	defer c.srv.mu.Unlock()
	all := c.events
	c.events = nil
	return all
}

// ExpectNothing fails if there is an event that the test has not taken.
func (c *Client) ExpectNothing() {
	c.srv.t.Helper()
	c.Settle()
	c.srv.mu.Lock()
	n := len(c.events)
	c.srv.mu.Unlock()
	if n > 0 {
		c.fatal("waiting for nothing: %s", c.got())
	}
}

// ExpectDisconnect says how the client was disconnected, which it must have been by
// the server, or because its connection ended.
func (c *Client) ExpectDisconnect() Disconnection {
	c.srv.t.Helper()
	if c.Connected() {
		c.fatal("waiting for a disconnect: it is connected, and %s", c.got())
	}
	return c.disconnection()
}

// AwaitDisconnect is ExpectDisconnect of one that may be on its way: it waits, in real
// time up to Server.Patience, for what goroutines do that no handler waits for.
func (c *Client) AwaitDisconnect() Disconnection {
	c.srv.t.Helper()
	c.srv.await(func() bool { return !c.Connected() })
	return c.ExpectDisconnect()
}

func (c *Client) disconnection() Disconnection {
	c.srv.mu.Lock()
	defer c.srv.mu.Unlock()
	d := c.end
	d.Server = c.srv.left[c.id]
	if d.Reason != ClientDisconnect { // else the code is its own
		d.Code, d.Text = c.conn.code, c.conn.reason
	}
	return d
}

// Expect is [Client.Expect] of an event whose first argument is a T.
func Expect[T any](c *Client, event string) T {
	c.srv.t.Helper()
	var v T
	c.Expect(event, &v)
	return v
}

// String says which client it is, in failures.
func (c *Client) String() string {
	return fmt.Sprintf("client %d of %s", c.number, c.namespace)
}

func (c *Client) fatal(format string, args ...any) {
	c.srv.t.Helper()
	c.srv.fatal("%v: %s", c, fmt.Sprintf(format, args...))
}
