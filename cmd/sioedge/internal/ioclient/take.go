package ioclient

import (
	"bytes"
	"encoding/json"
	"errors"

	"github.com/sioedge/sioedge/rooms/value"
	"github.com/sioedge/sioedge/sio/parser"
)

// take takes a message of the server: a packet of Socket.IO, or a part of one.
func (c *Client) take(k packet) error {
	var done bool
	var err error
	if k.binary {
		done, err = c.assembler.Binary(k.data, &c.packet)
	} else {
		done, err = c.assembler.Text(k.data, c.o.Limits, &c.packet)
	}
	if err != nil {
		return &endError{closing{reason: reasonParse, err: err}}
	}
	if !done {
		return nil
	}
	n, err := c.dispatch(&c.packet)
	if n.Kind != "" {
		n.Namespace = string(c.packet.Namespace)
		c.notify(n)
	}
	return err
}

// errLeft ends a session that no namespace uses any more.
var errLeft = &endError{closing{reason: reasonServer}}

// dispatch acts on a packet, and returns what is to be told of it, if anything.
func (c *Client) dispatch(p *parser.Packet) (Notice, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	sp := c.spaces[string(p.Namespace)]
	if sp == nil || !sp.active {
		c.stats.Useless++ // it was left meanwhile, or never entered
		return Notice{}, nil
	}
	switch p.Type {
	case parser.Connect:
		return c.admitted(sp, p.Data)
	case parser.ConnectError:
		sp.active = false
		sp.leave(ErrGone)
		return refused(p.Data), c.unlessActive()
	case parser.Disconnect:
		sp.active = false
		sp.leave(ErrGone)
		return Notice{Kind: Disconnected, Reason: reasonServer}, c.unlessActive()
	case parser.Event:
		return c.arrived(sp, p), nil
	}
	return c.acknowledged(sp, p), nil
}

// unlessActive ends the session if no namespace is left.
func (c *Client) unlessActive() error {
	if c.active() {
		return nil
	}
	return errLeft
}

// admitted takes the answer to a CONNECT.
func (c *Client) admitted(sp *space, data []byte) (Notice, error) {
	var said struct{ SID, PID string }
	if data != nil && json.Unmarshal(data, &said) != nil || len(said.SID) > maxID || len(said.PID) > maxID {
		return Notice{}, &endError{closing{reason: reasonParse, err: errors.New("a CONNECT that makes no sense")}}
	}
	if said.SID == "" {
		return Notice{Kind: Strange, Message: "a CONNECT without an id: this is a server of Socket.IO 2"}, nil
	}
	sp.recovered = said.PID != "" && said.PID == sp.pid
	if sp.recovered {
		c.stats.Recovered++
	} else {
		sp.offset = ""
	}
	sp.sid, sp.pid, sp.connected = said.SID, said.PID, true
	for _, ps := range sp.waiting {
		if err := c.session.send(ps...); err != nil {
			return Notice{}, &endError{closing{reason: reasonError, err: err}}
		}
	}
	sp.waiting, sp.size = nil, 0
	return Notice{Kind: Connected, SID: sp.sid, Recovered: sp.recovered}, nil
}

// refused takes a CONNECT_ERROR: an object, or a text as servers of old say.
func refused(data []byte) Notice {
	n := Notice{Kind: Refused}
	var said struct {
		Message string
		Data    json.RawMessage
	}
	if json.Unmarshal(data, &said) == nil {
		n.Message, n.Data = said.Message, said.Data
	} else if json.Unmarshal(data, &n.Message) != nil {
		n.Message = string(data)
	}
	return n
}

// arrived takes an event.
func (c *Client) arrived(sp *space, p *parser.Packet) Notice {
	c.stats.EventsIn++
	n := Notice{Kind: Arrived, Event: string(p.Event), Args: clone(p.Args), Attachments: p.Buffers, ID: p.ID, Asks: p.HasID}
	if p.HasID {
		if len(sp.asked) == maxAsked {
			sp.asked = append(sp.asked[:0], sp.asked[1:]...)
		}
		sp.asked = append(sp.asked, p.ID)
	}
	if last := len(p.Args) - 1; sp.pid != "" && last >= 0 && p.Args[last][0] == '"' && len(p.Args[last]) <= maxID {
		offset, _ := value.Unquote(nil, p.Args[last])
		sp.offset = string(offset)
	}
	return n
}

// acknowledged hands an acknowledgement to who waits for it.
func (c *Client) acknowledged(sp *space, p *parser.Packet) Notice {
	got := sp.acks[p.ID]
	if got == nil || !p.HasID {
		c.stats.Useless++ // it came too late, or twice
		return Notice{}
	}
	c.stats.AcksIn++
	delete(sp.acks, p.ID)
	got <- reply{answer: Answer{Args: clone(p.Args), Attachments: p.Buffers}}
	return Notice{}
}

// clone copies arguments, which are views.
func clone(args [][]byte) []json.RawMessage {
	all := make([]json.RawMessage, len(args))
	for i, a := range args {
		all[i] = bytes.Clone(a)
	}
	return all
}
