package declare

import (
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/identity"
	"github.com/sioedge/sioedge/sio"
)

// joinTime is how long a client waits at most until what other servers emit reaches it.
const joinTime = 10 * time.Second

// answered is what a client is told whose event was handled.
var answered any = json.RawMessage(`{"ok":true}`)

type joined struct {
	OK   bool   `json:"ok"`
	Room string `json:"room"`
}

// A sender is who has sent an event that is relayed.
type sender struct {
	ID   string `json:"id"`
	User string `json:"user,omitempty"`
}

// refused is what a client is told whose event was refused, as by sio.TypedAck.
type refused struct {
	Error string  `json:"error"`
	Data  details `json:"data"`
}

type details struct {
	Code   int    `json:"code"`
	Reason string `json:"reason,omitempty"`
}

// is sets who a client is.
func (v *values) is(id *identity.Identity) {
	if id != nil {
		v.user, v.claims = id.User, id
	}
}

// handle is called on the event loop with each event that has no handler.
func (sp *space) handle(s sio.Socket, m *sio.Msg) error {
	r := sp.rules.Load()
	if r.readOnly {
		return sp.refuse(s, m, nil, isReadOnly, "readonly", nil)
	}
	x := r.events[m.Event()]
	if x == nil {
		if x = r.any; x == nil || slices.Contains(ownEvents, m.Event()) && !r.isFree(m.Event()) {
			return sp.refuse(s, m, nil, noEvent, "events", nil)
		}
	}
	v := values{socket: s, names: sp.names}
	var id *identity.Identity
	if r.need != needNone {
		id = sp.router.parts.Authority.Of(s)
		v.is(id)
		if !id.MaySend(m.Event()) {
			return sp.refuse(s, m, x, noEntry, "action", nil)
		}
	}
	return sp.act(s, m, x, &v, id)
}

// act does what a rule says with an event, or refuses it.
func (sp *space) act(s sio.Socket, m *sio.Msg, x *rule, v *values, id *identity.Identity) error {
	var attachments [][]byte
	v.args, attachments = m.Verbatim()
	if !permitted(x.require, v, id) {
		return sp.refuse(s, m, x, noPermission, "require", nil)
	}
	if x.maxBytes > 0 && size(v.args)+size(attachments) > x.maxBytes {
		return sp.refuse(s, m, x, tooLarge, "max_bytes", nil)
	}
	var few [4]string
	rooms := few[:0]
	for _, t := range x.rooms {
		name, why, err := x.room(t, v, id)
		if err != nil {
			return sp.refuse(s, m, x, why, x.action.roomKey(), err)
		}
		if x.member && !m.In(name) {
			return sp.refuse(s, m, x, noMember, "member_only", nil)
		}
		rooms = append(rooms, name)
	}
	switch x.action {
	case join:
		return sp.join(s, m, x, rooms[0], id)
	case leave:
		s.Leave(rooms[0])
	case relay:
		if err := x.relay(s, m, rooms, v.user); err != nil {
			return sp.refuse(s, m, x, unavailable, "to", err)
		}
	case webhook:
		return sp.handOver(s, m, x, v.user)
	case bridge:
		return sp.carry(s, m, x)
	}
	return x.answer(m, answered)
}

// permitted tells whether a client has one of the permissions.
func permitted(need []*template, v *values, id *identity.Identity) bool {
	if len(need) == 0 {
		return true
	}
	if id == nil {
		return false
	}
	var buf [maxValue]byte
	for _, t := range need {
		if name, err := t.expand(buf[:0], v); err == nil && id.Has(string(name)) {
			return true
		}
	}
	return false
}

// errRoom is why a room is refused that is not among those of allow.
var errRoom = errors.New("the room is not among those that may be named")

// room returns a room of the rule that the client may name, or why there is none.
func (x *rule) room(t *template, v *values, id *identity.Identity) (name string, why reason, err error) {
	var buf [maxValue]byte
	text, name := buf[:0], t.text
	if !t.fixed {
		if text, err = t.expand(text, v); err == noUser {
			return "", noOne, err
		} else if err != nil {
			return "", badValue, err
		}
		name = string(text)
	} else if x.judged {
		text = append(text, name...)
	}
	if x.judged && !slices.ContainsFunc(x.allow, func(p *pattern) bool { return p.match(text, v) }) && !id.MayJoin(name) {
		return "", noRoom, errRoom
	}
	return name, 0, nil
}

// relay sends an event on.
func (x *rule) relay(s sio.Socket, m *sio.Msg, rooms []string, user string) error {
	to := s.Broadcast()
	if x.self {
		to = s.Namespace().Instance(s.Name())
	}
	if len(rooms) > 0 {
		to = to.To(rooms...)
	}
	if x.volatile {
		to = to.Volatile()
	}
	event := x.as
	if event == "" {
		event = m.Event()
	}
	if x.sender {
		return to.Emit(event, m.From(x.skip), sender{s.PublicID(), user})
	}
	return to.Emit(event, m.From(x.skip))
}

// join puts a socket into a room: here, or, where other servers emit to it too, on the
// socket's goroutine, which waits until that arrives.
func (sp *space) join(s sio.Socket, m *sio.Msg, x *rule, name string, id *identity.Identity) error {
	if sp.router.parts.Cluster {
		return m.Later(func(s sio.Socket, m *sio.Msg) error { return sp.joinNow(s, m, x, name, id) })
	}
	return sp.joinNow(s, m, x, name, id)
}

func (sp *space) joinNow(s sio.Socket, m *sio.Msg, x *rule, name string, id *identity.Identity) error {
	r := sp.rules.Load()
	if !m.In(name) {
		if r.maxRooms > 0 && len(s.Rooms()) > r.maxRooms { // its own is among them
			return sp.refuse(s, m, x, tooMany, "room", nil)
		}
		if err := sp.enterRooms(s, r, name); err != nil && !errors.Is(err, sio.ErrClosed) {
			return sp.refuse(s, m, x, whyNot(err), "room", err)
		}
		if id != nil && sp.who(s) != id { // another socket of the connection has brought a token
			if sp.review(s); !m.In(name) {
				return sp.refuse(s, m, x, noRoom, "room", errRoom)
			}
		}
		if !m.In(name) && s.Connected() {
			return sp.refuse(s, m, x, tooMany, "room", sio.ErrTooManyRooms)
		}
	}
	return x.answer(m, joined{true, name})
}

// whyNot returns the reason for an error of joining.
func whyNot(err error) reason {
	if errors.Is(err, sio.ErrTooManyRooms) {
		return tooMany
	}
	return unavailable
}

// answer tells the client that its event was handled, if it wants to know.
func (x *rule) answer(m *sio.Msg, what any) error {
	if !x.ack || !m.WantsAck() {
		return nil
	}
	return m.Ack(what)
}

// refuse counts a refusal, logs it now and then, and tells the client. x is nil if no
// rule was found; key is what is said behind its own, or that of the namespace.
func (sp *space) refuse(s sio.Socket, m *sio.Msg, x *rule, why reason, key string, err error) error {
	declared := ""
	if x != nil {
		declared = x.key + "." + key
	} else {
		declared = sp.rules.Load().key + "." + key
	}
	sp.count(s, why, "an event is refused: "+refusals[why].name, declared, err)
	if !m.WantsAck() || x != nil && !x.ack {
		return nil
	}
	a := refused{refusals[why].message, details{Code: refusals[why].code}}
	if p, ok := err.(problem); ok && why == badValue {
		a.Data.Reason = string(p)
	}
	return m.Ack(a)
}

// count counts a refusal and logs it now and then.
func (sp *space) count(s sio.Socket, why reason, what, declared string, err error) {
	sp.counts[why].Add(1)
	args := []any{"declaration", declared, "socket", s}
	if err != nil {
		args = append(args, "error", err)
	}
	sp.router.note.Info(what, args...)
}

// roomKey is the key of an action's rooms.
func (a deed) roomKey() string {
	if a == relay || a == webhook || a == bridge {
		return "to"
	}
	return "room"
}

func size(list [][]byte) (n int) {
	for _, b := range list {
		n += len(b)
	}
	return n
}
