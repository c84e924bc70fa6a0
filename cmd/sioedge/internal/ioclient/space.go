package ioclient

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/sioedge/sioedge/rooms/value"
	"github.com/sioedge/sioedge/sio/parser"
)

// maxAsked bounds how many events of a namespace are remembered that the server waits
// for an acknowledgement of: the latest.
const maxAsked = 1024

// A space is the client's socket in one namespace. Guarded by Client.mu.
type space struct {
	name      string
	active    bool // it is to be connected
	connected bool

	sid, pid, offset string
	recovered        bool

	waiting [][]packet // to be sent once it is connected
	size    int        // bytes of waiting

	next  uint64 // id of an acknowledgement
	acks  map[uint64]chan<- reply
	asked []uint64
}

type reply struct {
	answer Answer
	err    error
}

// An Answer is an acknowledgement.
type Answer struct {
	Args        []json.RawMessage
	Attachments [][]byte
	Took        time.Duration // since it was asked for
}

// join asks the server to let the client in.
func (c *Client) join(sp *space) {
	b := parser.AppendHead([]byte{typeMessage}, parser.Connect, 0, sp.name, 0, false)
	c.tell(packet{data: sp.appendAuth(b, c.o.Auth)})
}

// tell sends what must not be lost.
func (c *Client) tell(p packet) {
	if err := c.session.send(p); err != nil {
		c.session.fail(closing{reason: reasonError, err: err})
	}
}

// appendAuth appends the payload of a CONNECT: what authenticates, and what recovers.
func (sp *space) appendAuth(b []byte, auth json.RawMessage) []byte {
	if sp.pid == "" {
		return append(b, auth...)
	}
	b = value.AppendJSONText(append(b, `{"pid":`...), sp.pid)
	if sp.offset != "" {
		b = value.AppendJSONText(append(b, `,"offset":`...), sp.offset)
	}
	value.EachMember(auth, func(name, v []byte) bool { // what there is twice counts last
		b = append(append(append(append(b, ','), name...), ':'), v...)
		return true
	})
	return append(b, '}')
}

// leave forgets what belongs to a connection: who waits for an acknowledgement is told.
func (sp *space) leave(why error) {
	sp.connected = false
	sp.asked = nil
	if !sp.active {
		sp.waiting, sp.size = nil, 0
	}
	for id, c := range sp.acks {
		delete(sp.acks, id)
		c <- reply{err: why}
	}
}

// Emit sends an event. Arguments are json.RawMessage, []byte and what encoding/json
// encodes. While the namespace is not connected it waits, as far as Options.MaxQueue
// allows.
func (c *Client) Emit(namespace, event string, args ...any) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.emit(namespace, event, 0, false, args)
}

// emit sends or keeps an event.
func (c *Client) emit(namespace, event string, id uint64, asks bool, args []any) error {
	sp := c.spaces[namespace]
	if sp == nil || !sp.active {
		return ErrNoNamespace
	}
	text, attachments, err := c.o.Limits.AppendEvent([]byte{typeMessage}, namespace, id, asks, event, args)
	if err != nil {
		return err
	}
	if err := c.put(sp, text, attachments); err != nil {
		return err
	}
	c.stats.EventsOut++
	return nil
}

// put sends a packet to a namespace, or keeps it until that is connected.
func (c *Client) put(sp *space, text []byte, attachments [][]byte) error {
	ps := []packet{{data: text}}
	size := len(text)
	for _, a := range attachments {
		ps = append(ps, packet{slices.Clone(a), true})
		size += len(a)
	}
	if sp.connected && c.session != nil {
		return c.session.send(ps...)
	}
	if sp.size+size > c.o.MaxQueue {
		return ErrFull
	}
	sp.waiting, sp.size = append(sp.waiting, ps), sp.size+size
	return nil
}

// Ask sends an event and waits for its acknowledgement. The error is that of Emit, of
// ctx, or ErrGone.
func (c *Client) Ask(ctx context.Context, namespace, event string, args ...any) (Answer, error) {
	got := make(chan reply, 1)
	c.mu.Lock()
	sp := c.spaces[namespace]
	if sp == nil {
		c.mu.Unlock()
		return Answer{}, ErrNoNamespace
	}
	id := sp.next
	if sp.acks == nil {
		sp.acks = map[uint64]chan<- reply{}
	}
	err := c.emit(namespace, event, id, true, args)
	if err == nil {
		sp.next++
		sp.acks[id] = got
	}
	c.mu.Unlock()
	if err != nil {
		return Answer{}, err
	}
	start := time.Now()
	select {
	case r := <-got:
		r.answer.Took = time.Since(start)
		return r.answer, r.err
	case <-ctx.Done():
		c.mu.Lock()
		delete(sp.acks, id)
		c.mu.Unlock()
		return Answer{}, ctx.Err()
	}
}

// Answer acknowledges an event that has arrived.
func (c *Client) Answer(namespace string, id uint64, args ...any) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	sp := c.spaces[namespace]
	if sp == nil {
		return ErrNoNamespace
	}
	at := slices.Index(sp.asked, id)
	if at < 0 {
		return ErrNotAsked
	}
	text, attachments, err := c.o.Limits.AppendAck([]byte{typeMessage}, namespace, id, args)
	if err != nil {
		return err
	}
	if err := c.put(sp, text, attachments); err != nil {
		return err
	}
	sp.asked = slices.Delete(sp.asked, at, at+1)
	c.stats.AcksOut++
	return nil
}

// Info is how things are.
type Info struct {
	Server, Path string
	Transport    string // empty: there is no session
	SID          string // of Engine.IO
	MaxPayload   int    // bytes that the server takes
	Beat         time.Duration
	Namespaces   []NamespaceInfo // by name
	Stats        Stats
}

// NamespaceInfo is how things are in one namespace.
type NamespaceInfo struct {
	Name                 string
	Active               bool // it is connected, or is to be
	Connected, Recovered bool
	Recoverable          bool // the server lets it be recovered
	SID, Offset          string
	Waiting              int // events that wait to be sent
	Pending              int // acknowledgements that are waited for
}

// Info returns how things are.
func (c *Client) Info() Info {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := Info{Server: c.o.Target.Base.String(), Path: c.o.Path, Stats: c.stats}
	if s := c.session; s != nil {
		i.Transport, i.SID, i.MaxPayload, i.Beat = s.transport(), s.open.SID, s.open.MaxPayload, s.beat
	}
	for _, sp := range c.spaces {
		n := NamespaceInfo{Name: sp.name, Active: sp.active, Connected: sp.connected, Recoverable: sp.pid != "", Offset: sp.offset, Waiting: len(sp.waiting), Pending: len(sp.acks)}
		if sp.connected {
			n.SID, n.Recovered = sp.sid, sp.recovered
		}
		i.Namespaces = append(i.Namespaces, n)
	}
	slices.SortFunc(i.Namespaces, func(a, b NamespaceInfo) int { return strings.Compare(a.Name, b.Name) })
	return i
}
