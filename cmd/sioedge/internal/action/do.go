package action

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/peerlink"
	"github.com/sioedge/sioedge/rooms/value"
	"github.com/sioedge/sioedge/sio"
)

// JoinTime is how long a join waits at most until what other servers emit to the rooms
// arrives here.
const JoinTime = 5 * time.Second

// Do sends the event; s is whom it is on behalf of, if there is a socket. To what rooms
// it goes is settled when it returns, not who has it. The error is a *[FieldError] for a
// namespace that no client can join or [SID] without a socket, else sio's.
func (e *Emit) Do(srv *sio.Server, s sio.Socket, hasSocket bool) error {
	to, err := e.Target(srv, s, hasSocket)
	if err != nil {
		return err
	}
	return to.Emit(e.Event, e.Args)
}

// Target returns whom, and how, the event is for. Errors are as of Do.
func (e *Emit) Target(srv *sio.Server, s sio.Socket, hasSocket bool) (to sio.BroadcastOperator, err error) {
	own := hasSocket && (e.Namespace == "" || e.Namespace == s.Name())
	switch {
	case own && e.isForItself():
		return e.how(s.Self()), nil
	case own:
		to = s.Namespace().Instance(s.Name())
	default:
		if to, err = Find(srv, e.Namespace); err != nil {
			return to, err
		}
	}
	rooms, err := named("to", e.To, s, hasSocket)
	if err != nil {
		return to, err
	}
	except, err := named("except", e.Except, s, hasSocket)
	if err != nil {
		return to, err
	}
	if rooms != nil {
		to = to.To(rooms...)
	}
	if except != nil {
		to = to.Except(except...)
	}
	return e.how(to), nil
}

// isForItself tells whether the event is for the socket alone that it is on behalf of.
func (e *Emit) isForItself() bool {
	if len(e.Except) > 0 {
		return false
	}
	return e.To == nil && e.Namespace == "" || len(e.To) == 1 && e.To[0] == SID
}

// how adds how the event is sent.
func (e *Emit) how(to sio.BroadcastOperator) sio.BroadcastOperator {
	if e.Volatile {
		to = to.Volatile()
	}
	if e.Local {
		to = to.Local()
	}
	if e.Compress != nil {
		to = to.Compress(*e.Compress)
	}
	return to
}

// Find returns who has joined a namespace; "" is "/". The error is a *[FieldError]: there
// is none that clients can join, as where servers speak to each other.
func Find(srv *sio.Server, name string) (sio.BroadcastOperator, error) {
	to, ok := srv.Find(name)
	if !ok || peerlink.Owns(to.Namespace().Name()) {
		return to, &FieldError{"nsp", UnknownNsp, errors.New("is a namespace that no client can join")}
	}
	return to, nil
}

// named returns rooms with the socket's id for SID.
func named(field string, rooms []string, s sio.Socket, hasSocket bool) ([]string, error) {
	i := slices.Index(rooms, SID)
	if i < 0 {
		return rooms, nil
	}
	if !hasSocket {
		return nil, &FieldError{field + "[" + strconv.Itoa(i) + "]", Malformed, errors.New("is " + SID + ", and there is no socket")}
	}
	rooms = slices.Clone(rooms)
	for ; i < len(rooms); i++ {
		if rooms[i] == SID {
			rooms[i] = s.ID()
		}
	}
	return rooms, nil
}

// Do does it on behalf of s, on whose server it must be called. A join waits, unless it
// is on an event loop, until what other servers emit to the rooms arrives, so that the
// next action finds it done wherever it reaches: JoinTime at most. The error is a
// *[FieldError], sio.ErrClosed of what the socket itself would have had, or why rooms were not
// joined.
func (a *Action) Do(srv *sio.Server, s sio.Socket) error {
	switch a.Op {
	case OpEmit:
		return a.Emit.Do(srv, s, true)
	case OpJoin:
		return Join(s, a.Rooms)
	case OpLeave:
		s.Leave(a.Rooms...)
	case OpData:
		return SetData(s, a.Set, a.most)
	case OpDisconnect:
		return s.Disconnect(sio.DisconnectOptions{Conn: a.Close, Code: a.Code, Reason: a.Reason})
	}
	return nil
}

// Join puts a socket into rooms as OpJoin does.
func Join(s sio.Socket, rooms []string) error {
	ctx, done := context.WithTimeout(context.Background(), JoinTime)
	defer done()
	err := s.JoinWait(ctx, rooms...)
	if errors.Is(err, sio.ErrInline) {
		s.Join(rooms...)
		return nil
	}
	return err
}

// SetData sets members of a socket's data to those of the object set; null takes one
// out. Data that is no object is replaced. Others do not change the data meanwhile. If it
// would have more than most bytes it stays as it is, and the error is a *[FieldError];
// 0 is the default of Limits.
func SetData(s sio.Socket, set json.RawMessage, most int) error {
	if most == 0 {
		most = Limits{}.withDefaults().Data
	}
	return s.EditData(func(old any) (any, error) {
		text, err := asJSON(old)
		if err != nil {
			return nil, err
		}
		merged := merge(text, set)
		if len(merged) > most {
			return nil, &FieldError{"set", TooLong, fmt.Errorf("would have the data be longer than %d bytes", most)}
		}
		return merged, nil
	})
}

// DataOf returns a socket's data as JSON, nil for none. It may not be modified. The error is
// json.Marshal's.
func DataOf(s sio.Socket) (json.RawMessage, error) { return asJSON(s.Data()) }

// EncodeData is how a socket's data travel to a process that takes the server's clients over,
// DecodeData how they come: as JSON.
func EncodeData(data any) ([]byte, error) { return asJSON(data) }

// DecodeData returns what is kept, a json.RawMessage.
func DecodeData(p []byte) (any, error) {
	if !json.Valid(p) {
		return nil, errors.New("action: a socket's data is not JSON")
	}
	return json.RawMessage(slices.Clone(p)), nil
}

func asJSON(data any) (json.RawMessage, error) {
	switch data := data.(type) {
	case nil:
		return nil, nil
	case json.RawMessage:
		return data, nil
	default:
		return json.Marshal(data)
	}
}

// merge returns the object old with the members of the object set.
func merge(old, set json.RawMessage) json.RawMessage {
	var few [64]byte
	text := func(name []byte) []byte {
		b, _ := value.Unquote(few[:0], name)
		return b
	}
	last := map[string][]byte{} // of set, where a name is there twice
	value.EachMember(set, func(name, v []byte) bool {
		last[string(text(name))] = v
		return true
	})
	out := append(make([]byte, 0, len(old)+len(set)+1), '{')
	add := func(name, v []byte) {
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(append(out, name...), ':'), v...)
	}
	value.EachMember(old, func(name, v []byte) bool {
		if _, there := last[string(text(name))]; !there {
			add(name, v)
		}
		return true
	})
	value.EachMember(set, func(name, v []byte) bool {
		key := text(name)
		if now, there := last[string(key)]; there {
			if string(now) != "null" {
				add(name, now)
			}
			delete(last, string(key))
		}
		return true
	})
	return append(out, '}')
}

// Keep stores the data of a result with a socket, if it has any.
func (x *Result) Keep(s sio.Socket) {
	if x.Data != nil {
		s.SetData(slices.Clone(x.Data)) // the body that it is a view of is not kept
	}
}

// Enter does what a result says of a socket that connects, in a middleware, but for who
// it is: its data, its rooms, and its deadline. It goes on after an error; they are
// joined, each with the member that it is of.
func (x *Result) Enter(s sio.Socket) error {
	x.Keep(s)
	var err error
	if len(x.Join) > 0 {
		err = of("join", -1, Join(s, x.Join))
	}
	if x.ExpireAt != 0 {
		s.ExpireAt(time.Unix(x.ExpireAt, 0), nil)
	}
	return err
}

// Act does the emits of a result and then its actions, with errors as of Enter. Of a
// socket that connects it is for when that has been admitted, as in a function of
// OnConnect: what is emitted to its rooms before does not reach it. Ack is called in the
// end, and before the socket is disconnected, behind which no acknowledgement arrives; nil
// is nothing.
func (x *Result) Act(srv *sio.Server, s sio.Socket, ack func()) error {
	if ack == nil {
		ack = func() {}
	}
	var all []error
	note := func(member string, i int, err error) {
		if err != nil {
			all = append(all, of(member, i, err))
		}
	}
	for i := range x.Emit {
		note("emit", i, x.Emit[i].Do(srv, s, true))
	}
	for i := range x.Actions {
		if x.Actions[i].Op == OpDisconnect {
			ack()
		}
		note("actions", i, x.Actions[i].Do(srv, s))
	}
	ack()
	return errors.Join(all...)
}

// of places an error in a result.
func of(member string, i int, err error) error {
	if err == nil {
		return nil
	}
	if i >= 0 {
		member += "[" + strconv.Itoa(i) + "]"
	}
	var f *FieldError
	if errors.As(err, &f) {
		return &FieldError{member + "." + f.Field, f.Code, f.Err}
	}
	return fmt.Errorf("%s: %w", member, err)
}
