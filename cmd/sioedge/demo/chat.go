package demo

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/sioedge/sioedge/sio"
)

// The limits of the chat; demo.js has the table of its events.
const (
	maxHistory = 50
	maxMembers = 100 // shown
	maxImage   = 500_000
	maxRooms   = 500 // above: the history of an empty room is forgotten
)

// Chat keeps who is in which room and what was said there.
type Chat struct {
	ns *sio.Namespace

	mu    sync.Mutex
	users map[sio.Socket]*user
	rooms map[string]*room
	last  int64 // id of the newest entry
}

type user struct{ nick, room string }

type room struct {
	members []member // in the order of joining
	history []entry
	read    map[string]int64 // by the nick of who is there: the newest entry seen
}

type member struct {
	ID   string `json:"id"`
	Nick string `json:"nick"`
}

type entry struct {
	ID   string `json:"id"`
	Room string `json:"room"`
	From member `json:"from"`
	Text string `json:"text"`
	At   int64  `json:"at"` // Unix ms
	Key  string `json:"key"`
}

type joinRequest struct{ Room, Nick string }

type joinAnswer struct {
	Room    string   `json:"room"`
	Nick    string   `json:"nick"`
	Count   int      `json:"count"`
	Members []member `json:"members"`
	History []entry  `json:"history"`
	Read    []seen   `json:"read"`
}

// seen says up to which entry somebody has seen those of a room.
type seen struct {
	Room string `json:"room,omitempty"`
	User string `json:"user"`
	ID   string `json:"id"`
}

type receipt struct {
	ID string `json:"id"`
	At int64  `json:"at"`
}

// Serve registers the chat on a namespace.
func Serve(ns *sio.Namespace) *Chat {
	c := &Chat{ns: ns, users: map[sio.Socket]*user{}, rooms: map[string]*room{}}
	ns.NeedsRequest(false)
	ns.OnConnect(func(s sio.Socket) error {
		var r joinRequest
		if s.Auth(&r) == nil {
			_, _ = c.join(s, r) // without a room yet if it does not say one
		}
		return nil
	})
	sio.OnAck(ns, "join", c.join)
	sio.OnAck(ns, "message", c.message)
	sio.OnAck(ns, "image", c.image)
	sio.On(ns, "typing", c.typing)
	sio.On(ns, "read", c.read)
	ns.HandleInline("rtt", func(_ sio.Socket, m *sio.Msg) error { return m.Ack(m.Args) })
	ns.OnDisconnect(func(s sio.Socket, _ sio.Reason) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.leave(s)
	})
	return c
}

// length checks that s, which what names, has 1 to most characters.
func length(what, s string, most int) error {
	if n := utf8.RuneCountInString(s); n < 1 || n > most {
		return &sio.Error{Message: what + " must have 1 to " + strconv.Itoa(most) + " characters"}
	}
	return nil
}

func (c *Chat) join(s sio.Socket, r joinRequest) (joinAnswer, error) {
	nick, name := strings.TrimSpace(r.Nick), strings.TrimSpace(r.Room)
	if err := length("nick", nick, 24); err != nil {
		return joinAnswer{}, err
	}
	if err := length("room", name, 32); err != nil {
		return joinAnswer{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if u := c.users[s]; u == nil || *u != (user{nick, name}) {
		c.leave(s)
		c.enter(s, user{nick, name})
	}
	x := c.rooms[name]
	return joinAnswer{
		Room: name, Nick: nick, Count: len(x.members), Members: x.shown(), History: slices.Clone(x.history), Read: x.seen(),
	}, nil
}

// enter puts a socket into a room and tells everybody there. c.mu is held.
func (c *Chat) enter(s sio.Socket, u user) {
	x := c.rooms[u.room]
	if x == nil {
		x = &room{history: []entry{}, read: map[string]int64{}}
		c.rooms[u.room] = x
	}
	m := member{s.ID(), u.nick}
	x.members = append(x.members, m)
	c.users[s] = &u
	s.Join(channel(u.room))
	c.tell(s.To(channel(u.room)), "joined", map[string]any{"room": u.room, "member": m})
	c.tellMembers(u.room)
}

// leave takes a socket out of its room, if it is in one. c.mu is held.
func (c *Chat) leave(s sio.Socket) {
	u := c.users[s]
	if u == nil {
		return
	}
	delete(c.users, s)
	s.Leave(channel(u.room))
	x, id := c.rooms[u.room], s.ID()
	x.members = slices.DeleteFunc(x.members, func(m member) bool { return m.ID == id })
	if !slices.ContainsFunc(x.members, func(m member) bool { return m.Nick == u.nick }) {
		delete(x.read, u.nick)
	}
	if len(x.members) == 0 && (len(x.history) == 0 || len(c.rooms) > maxRooms) {
		delete(c.rooms, u.room)
		return
	}
	c.tell(s.To(channel(u.room)), "left", map[string]any{"room": u.room, "member": member{id, u.nick}})
	c.tellMembers(u.room)
}

func (c *Chat) tellMembers(name string) {
	x := c.rooms[name]
	c.tell(c.ns.To(channel(name)), "members", map[string]any{"room": name, "count": len(x.members), "members": x.shown()})
}

// tell emits what always can be encoded.
func (c *Chat) tell(to sio.Emitter, event string, v any) { _ = to.Emit(event, v) }

func (x *room) shown() []member { return slices.Clone(x.members[:min(len(x.members), maxMembers)]) }

func (x *room) seen() []seen {
	all := make([]seen, 0, len(x.read))
	for nick, id := range x.read {
		all = append(all, seen{User: nick, ID: strconv.FormatInt(id, 10)})
	}
	return all
}

// speaker returns who s is in room name, where s must be, and a receipt for
// what it says. c.mu is held.
func (c *Chat) speaker(s sio.Socket, name string) (member, receipt, error) {
	u := c.users[s]
	if u == nil || u.room != name {
		return member{}, receipt{}, &sio.Error{Message: "you are not in this room"}
	}
	c.last++
	return member{s.ID(), u.nick}, receipt{strconv.FormatInt(c.last, 10), time.Now().UnixMilli()}, nil
}

func (c *Chat) message(s sio.Socket, r struct{ Room, Text, Key string }) (receipt, error) {
	if strings.TrimSpace(r.Text) == "" {
		r.Text = ""
	}
	if err := length("text", r.Text, 2000); err != nil {
		return receipt{}, err
	}
	if err := length("key", r.Key, 64); err != nil {
		return receipt{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	from, done, err := c.speaker(s, r.Room)
	if err != nil {
		return receipt{}, err
	}
	e := entry{ID: done.ID, Room: r.Room, From: from, Text: r.Text, At: done.At, Key: r.Key}
	x := c.rooms[r.Room]
	if len(x.history) == maxHistory {
		x.history = slices.Delete(x.history, 0, 1)
	}
	x.history = append(x.history, e)
	return done, s.To(channel(r.Room)).Emit("message", e)
}

type image struct {
	Room, Name, Type, Key string
	Data                  []byte
}

func (c *Chat) image(s sio.Socket, r image) (receipt, error) {
	if err := length("key", r.Key, 64); err != nil {
		return receipt{}, err
	}
	if !slices.Contains([]string{"image/png", "image/jpeg", "image/gif", "image/webp"}, r.Type) {
		return receipt{}, &sio.Error{Message: "image must be png, jpeg, gif or webp"}
	}
	if len(r.Data) < 1 || len(r.Data) > maxImage {
		return receipt{}, &sio.Error{Message: "image must have 1 to 500000 bytes"}
	}
	if n := []rune(r.Name); len(n) > 100 {
		r.Name = string(n[:100])
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	from, done, err := c.speaker(s, r.Room)
	if err != nil {
		return receipt{}, err
	}
	return done, s.To(channel(r.Room)).Emit("image", map[string]any{
		"id": done.ID, "room": r.Room, "from": from, "name": r.Name, "type": r.Type, "data": r.Data, "at": done.At, "key": r.Key,
	})
}

func (c *Chat) typing(s sio.Socket, r struct {
	Room string
	On   bool
}) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	u := c.users[s]
	if u == nil || u.room != r.Room {
		return nil
	}
	return s.To(channel(r.Room)).Volatile().Emit("typing", map[string]any{"room": r.Room, "from": member{s.ID(), u.nick}, "on": r.On})
}

// read notes that somebody has seen the entries of a room up to one, and tells the others.
func (c *Chat) read(s sio.Socket, r struct{ Room, ID string }) error {
	id, err := strconv.ParseInt(r.ID, 10, 64)
	c.mu.Lock()
	defer c.mu.Unlock()
	u := c.users[s]
	if err != nil || u == nil || u.room != r.Room || id > c.last || id <= c.rooms[u.room].read[u.nick] {
		return nil
	}
	c.rooms[u.room].read[u.nick] = id
	return s.To(channel(r.Room)).Emit("read", seen{r.Room, u.nick, r.ID})
}

// channel is the Socket.IO room of a room of the chat. A name of its own kind,
// since every socket's id is a room too.
func channel(name string) string { return "room:" + name }
