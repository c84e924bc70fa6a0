package history

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/sio/parser"
)

// Question is the event between servers by which one asks the others for the history
// of rooms. Its arguments are the instance, how many events are wanted of each room,
// and the names of the rooms; the answer is one string, the JSON of a reply. Servers
// that do not know it hear an event that nobody listens to, and do not answer.
const Question = "sioedge:history"

const (
	// Patience is how long other servers are waited for.
	Patience = time.Second

	maxReply  = 1 << 20 // bytes of events in a reply, and four times that as JSON
	maxAsked  = 64      // rooms in a question
	maxNames  = 1000    // names of rooms and sockets beside an event
	farAway   = 1 << 50 // ms: no age is more
	oneBeside = 64      // bytes of an event in a reply beside its own, about
)

// A reply is what a server has of rooms.
type reply struct {
	Rooms []past `json:"rooms"`
}

// A past is what a server has of a room.
type past struct {
	Room string `json:"room"`
	// Stale is for how many ms the server has not been sent what is emitted to the room,
	// 0 if it is.
	Stale  int64       `json:"stale"`
	Events []pastEvent `json:"events"`
}

// A pastEvent is an event as servers tell each other: what it is in strings, since
// placeholders in it are its own.
type pastEvent struct {
	Age    int64    `json:"age"` // ms
	Text   string   `json:"text"`
	Binary [][]byte `json:"bin,omitempty"`
	Plain  bool     `json:"plain,omitempty"`
	Rooms  []string `json:"rooms,omitempty"`
	Except []string `json:"except,omitempty"`

	event rooms.Event
}

// Answer returns the answer to a Question with these arguments; occupied tells whether
// a room has members here. It is an error if they are none.
func (s *Store) Answer(args [][]byte, occupied func(instance, room string) bool) (string, error) {
	var instance string
	var n int
	var names []string
	if len(args) < 3 {
		return "", fmt.Errorf("history: a question with %d arguments", len(args))
	}
	for i, dst := range []any{&instance, &n, &names} {
		if err := json.Unmarshal(args[i], dst); err != nil {
			return "", err
		}
	}
	var r reply
	left := maxReply
	for _, name := range names[:min(len(names), maxAsked)] {
		p := past{Room: name}
		if !occupied(instance, name) {
			p.Stale = max(1, s.age(instance, name))
		}
		p.Events, left = s.tell(instance, name, n, left)
		if len(p.Events) > 0 {
			r.Rooms = append(r.Rooms, p)
		}
	}
	text, err := json.Marshal(r)
	return string(text), err
}

// age returns for how many ms a room has had no members.
func (s *Store) age(instance, name string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.rooms[key{instance, name}]; r != nil && r.left != 0 {
		return min(s.now()-r.left, farAway)
	}
	return farAway
}

// tell returns the last events of a room that fit into so many bytes, and what is left
// of these.
func (s *Store) tell(instance, name string, n, left int) (all []pastEvent, _ int) {
	if n <= 0 {
		return nil, left
	}
	now := s.now()
	for _, x := range slices.Backward(s.Last(nil, instance, name, n, 1<<63)) {
		e, ok := s.codec.Event(instance, x.Message)
		if x.Local || !ok {
			continue
		}
		size := len(e.Data) + oneBeside
		for _, a := range e.Attachments {
			size += len(a)
		}
		if left -= size; left < 0 {
			break
		}
		all = append(all, pastEvent{Age: max(0, now-x.At), Text: string(e.Data), Binary: e.Attachments, Plain: e.Plain, Rooms: x.Rooms, Except: x.Except})
	}
	slices.Reverse(all)
	return all, left
}

// An Asked is what a Store asks other servers by.
type Asked interface {
	Await(ctx context.Context, namespace string, names []string) error
	ServerSideAsk(ctx context.Context, namespace string, e rooms.Event) ([]rooms.Value, error)
}

// A Query is what other servers are asked.
type Query struct {
	Address  string // of the namespace, between servers
	Instance string
	Rooms    []string
	Occupied func(room string) bool // it has members here, or expects some
	Bad      func(error)            // is told of answers that are none
}

// Fetch asks the other servers for those rooms that are not fresh, and returns when all
// have been asked, by this call or another, or ctx is done.
func (s *Store) Fetch(ctx context.Context, by Asked, q Query) {
	instance, names := q.Instance, q.Rooms
	var mine []string
	flights := map[string]*Flight{}
	for _, name := range names {
		if flights[name] != nil || s.Fresh(instance, name) {
			continue
		}
		f, begun := s.begin(instance, name)
		if flights[name] = f; begun {
			mine = append(mine, name)
		}
	}
	for part := range slices.Chunk(mine, maxAsked) {
		best := map[string]*past{}
		func() {
			defer func() { // also if the adapter panics
				for _, name := range part {
					s.end(instance, name, flights[name], best[name], q.Occupied(name))
				}
			}()
			s.ask(by, q, part, best)
		}()
	}
	for _, f := range flights {
		select {
		case <-f.Done:
		case <-ctx.Done():
			return
		}
	}
}

// ask asks for rooms, and finds the best of what the others have.
func (s *Store) ask(by Asked, q Query, names []string, best map[string]*past) {
	ctx, cancel := context.WithTimeout(context.Background(), Patience) // others wait for the answer too
	defer cancel()
	// What is emitted from now on comes here; if it does not, the answers are all there is.
	_ = by.Await(ctx, q.Instance, names)
	s.mu.Lock()
	size := s.o.Size
	s.mu.Unlock()
	data, err := json.Marshal([]any{Question, q.Instance, size, names})
	if err != nil {
		return
	}
	answers, _ := by.ServerSideAsk(ctx, q.Address, rooms.Event{Data: data}) // of those who have answered
	for _, a := range answers {
		r, err := s.read(a, names)
		if err != nil {
			q.Bad(err)
			continue
		}
		for i := range r.Rooms {
			p := &r.Rooms[i]
			if b := best[p.Room]; b == nil || p.Stale < b.Stale || p.Stale == b.Stale && len(p.Events) > len(b.Events) {
				best[p.Room] = p
			}
		}
	}
}

// read reads the answer of another server, which may be anything.
func (s *Store) read(a rooms.Value, names []string) (r reply, err error) {
	var text string
	if len(a.Data) > 8*maxReply {
		return r, fmt.Errorf("history: an answer of %d bytes", len(a.Data))
	}
	if err := json.Unmarshal(a.Data, &text); err != nil {
		return r, err
	}
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return r, err
	}
	if len(r.Rooms) > len(names) {
		return r, fmt.Errorf("history: an answer with %d rooms", len(r.Rooms))
	}
	s.mu.Lock()
	o := s.o
	s.mu.Unlock()
	for i := range r.Rooms {
		p := &r.Rooms[i]
		if !slices.Contains(names, p.Room) || len(p.Events) > o.Size || p.Stale < 0 {
			return r, fmt.Errorf("history: an answer for room %.100q with %d events", p.Room, len(p.Events))
		}
		for k := range p.Events {
			if err := p.Events[k].check(); err != nil {
				return r, err
			}
		}
		p.Events = slices.DeleteFunc(p.Events, func(e pastEvent) bool { return o.TTL > 0 && e.Age >= o.TTL.Milliseconds() })
	}
	return r, nil
}

// check tells what is wrong with an event of another server, and decodes it.
func (e *pastEvent) check() error {
	var p parser.Packet
	text := "2" + e.Text
	if n := len(e.Binary); n > 0 {
		text = fmt.Sprintf("5%d-%s", n, e.Text)
	}
	limits := parser.Limits{MaxAttachments: max(1, len(e.Binary))}
	if err := parser.Parse([]byte(text), limits, &p); err != nil {
		return err
	}
	if p.Type != parser.Event || string(p.Data) != e.Text || len(e.Rooms) > maxNames || len(e.Except) > maxNames {
		return fmt.Errorf("history: %.100q is no event", e.Text)
	}
	e.Age = min(max(0, e.Age), farAway)
	e.event = rooms.Event{Data: []byte(e.Text), Attachments: e.Binary, Plain: e.Plain}
	return nil
}
