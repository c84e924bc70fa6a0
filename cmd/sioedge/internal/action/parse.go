package action

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/sioedge/sioedge/rooms/value"
	"github.com/sioedge/sioedge/sio"
)

// newReader returns a reader of a text, or what is wrong with all of it.
func newReader(b []byte, most int, l Limits) (*reader, error) {
	switch {
	case len(b) > most:
		return nil, &FieldError{"", TooLong, fmt.Errorf("has more than %d bytes", most)}
	case !utf8.Valid(b):
		return nil, &FieldError{"", Malformed, errors.New("is not UTF-8")}
	}
	return &reader{b: b, l: l}, nil
}

// end returns what is wrong with what was read, or behind it; nil is nothing.
func (r *reader) end() error {
	if r.peek() != 0 || r.err == nil && r.i < len(r.b) {
		r.syntax()
	}
	switch {
	case r.err != nil:
		return r.err
	case r.fault != nil:
		return r.fault
	}
	return nil
}

// ParseResults parses what a backend has answered: an object whose results are in no
// order, or nothing, which is none. The results keep views of body, which belongs to
// them from now on. What is wrong with one result is its Fault. The error, a
// *[FieldError], is that the whole cannot be used.
func ParseResults(body []byte, l Limits) (all []Result, err error) {
	l = l.withDefaults()
	r, err := newReader(body, l.Body, l)
	if err != nil || r.peek() == 0 && r.i == len(body) {
		return nil, err
	}
	var seen map[string]bool
	r.object(func(name []byte) bool {
		if string(name) != "results" || r.absent() {
			return string(name) == "results"
		}
		all, seen = nil, nil
		r.list(l.Results, func(int) {
			x := r.result()
			if again(all, &seen, x.ID) && x.Fault == nil {
				x = Result{ID: x.ID, Fault: &FieldError{"id", Duplicate, errors.New("was answered before")}}
			}
			all = append(all, x)
		})
		return true
	})
	if err := r.end(); err != nil {
		return nil, err
	}
	return all, nil
}

// again tells whether an id is that of one of the results before. Ids grow, and so are no
// doubles, where the results are in the order of what was asked: only otherwise they are
// kept in seen.
func again(all []Result, seen *map[string]bool, id string) bool {
	if *seen == nil {
		if len(all) == 0 || id > all[len(all)-1].ID {
			return false
		}
		*seen = make(map[string]bool, 2*len(all))
		for i := range all {
			(*seen)[all[i].ID] = true
		}
	}
	was := (*seen)[id]
	(*seen)[id] = true
	return was
}

// result reads one. Its faults are its own.
func (r *reader) result() (x Result) {
	outer, base := r.fault, r.base
	r.fault, r.base = nil, len(r.path)
	defer func() { r.fault, r.base = outer, base }()
	var ack, attachments = []byte(nil), [][]byte(nil)
	r.object(func(name []byte) bool {
		switch {
		case string(name) == "ack":
			if ack = nil; !r.absent() {
				ack = r.argsText()
			}
		case string(name) == "attachments":
			if attachments = nil; !r.absent() {
				attachments = r.base64()
			}
		default:
			return r.ofResult(&x, name)
		}
		return true
	})
	if ack != nil {
		args := r.args("ack", ack, attachments)
		x.Ack = &args
	}
	if x.ID == "" {
		r.missing("id")
	}
	if len(x.Emit)+len(x.Actions) > r.l.Actions {
		r.within('.', []byte("actions"), func() {
			r.wrong(TooMany, fmt.Errorf("are more than %d, with those of emit", r.l.Actions))
		})
	}
	if r.fault != nil {
		return Result{ID: x.ID, Fault: r.fault}
	}
	return x
}

// ofResult reads a member of a result. It is false if there is none of that name.
func (r *reader) ofResult(x *Result, name []byte) bool {
	switch known := string(name); known {
	case "id":
		x.ID = r.text(maxID)
	case "error", "user", "scope", "rooms", "data", "join", "expireAt", "cache_ttl", "emit", "actions":
		if !r.absent() {
			r.given(x, known)
		}
	default:
		return false
	}
	return true
}

// given reads a member of a result that is not null.
func (r *reader) given(x *Result, name string) {
	switch name {
	case "error":
		x.Error = r.refusal()
	case "user":
		x.User = r.text(maxUser)
	case "scope":
		x.Scope = r.names()
	case "rooms":
		x.Rooms = r.names()
	case "data":
		x.Data = r.members()
	case "join":
		x.Join = r.names()
	case "expireAt":
		x.ExpireAt = int64(r.number(1e12))
	case "cache_ttl":
		x.CacheTTL = time.Duration(r.number(1e9) * float64(time.Second))
	case "emit":
		x.Emit = nil
		r.list(r.l.Actions, func(int) { x.Emit = append(x.Emit, *r.emit()) })
	case "actions":
		x.Actions = nil
		r.list(r.l.Actions, func(int) { x.Actions = append(x.Actions, *r.action()) })
	}
}

// missing notes that there is no such member.
func (r *reader) missing(name string) {
	r.within('.', []byte(name), func() { r.wrong(Missing, errors.New("is missing")) })
}

// refusal reads why a client is refused.
func (r *reader) refusal() *Refusal {
	x := &Refusal{}
	r.object(func(name []byte) bool {
		switch string(name) {
		case "message":
			x.Message = r.text(maxMessage)
		case "data":
			if x.Data = nil; !r.absent() {
				x.Data, _ = r.skip(r.l.Depth)
			}
		default:
			return false
		}
		return true
	})
	if x.Message == "" {
		r.missing("message")
	}
	return x
}

// members reads an object of any members, to be a socket's data or part of it.
func (r *reader) members() json.RawMessage {
	object := r.peek() == '{'
	raw, _ := r.skip(r.l.Depth)
	switch {
	case !object:
		r.wrong(WrongType, errObject)
	case len(raw) > r.l.Data:
		r.wrong(TooLong, fmt.Errorf("has more than %d bytes", r.l.Data))
	}
	return raw
}

// args makes arguments of their text, a member of the value at hand.
func (r *reader) args(member string, text []byte, attachments [][]byte) sio.Args {
	if r.err != nil || r.fault != nil {
		return sio.Args{} // which nobody gets
	}
	if len(attachments) > 0 && value.CheckPlaceholders(text, len(attachments), value.MaxDepth) != nil {
		r.within('.', []byte("attachments"), func() {
			r.wrong(Placeholder, errors.New("has fewer than the placeholders name, or is named by one more than four times"))
		})
		return sio.Args{}
	}
	args, err := sio.ParseArgs(text, attachments)
	if err != nil {
		r.within('.', []byte(member), func() { r.wrong(Malformed, err) })
	}
	return args
}

// ParseEmit parses an emit alone, as of a command, and the id that this may have. Another
// member is an error: it may have been meant to say whom the event is not for. It keeps
// views of raw, which belongs to it from now on. The error is a *[FieldError].
func ParseEmit(raw []byte, l Limits) (e *Emit, id string, err error) {
	l = l.withDefaults()
	r, err := newReader(raw, l.Body, l)
	if err != nil {
		return nil, "", err
	}
	x := &emitting{}
	r.object(func(name []byte) bool {
		if string(name) == "id" {
			id = r.text(l.Body)
		} else if !x.member(r, name) {
			r.wrong(UnknownMember, errors.New("there is no such member"))
			return false
		}
		return true
	})
	e = x.done(r)
	if err := r.end(); err != nil {
		return nil, "", err
	}
	return e, id, nil
}

// ParseAction is ParseEmit for any action.
func ParseAction(raw []byte, l Limits) (*Action, error) {
	l = l.withDefaults()
	r, err := newReader(raw, l.Body, l)
	if err != nil {
		return nil, err
	}
	a := r.action()
	if err := r.end(); err != nil {
		return nil, err
	}
	return a, nil
}

// ParseEvent parses an event as clients send it: a list of its name and its arguments,
// which belongs to them from now on. The error is a *[FieldError].
func ParseEvent(list []byte, l Limits) (event string, args sio.Args, err error) {
	l = l.withDefaults()
	r, err := newReader(list, l.Body, l)
	if err != nil {
		return "", args, err
	}
	named := false
	n := r.list(MaxArgs+1, func(n int) {
		if n == 0 {
			event, named = r.event(), true
			return
		}
		r.skip(l.Depth - 1)
	})
	if n == 0 {
		r.wrong(Missing, errors.New("has no name of an event"))
	}
	if named && r.err == nil && r.fault == nil {
		args = r.args("", r.b, nil).From(1)
	}
	if err := r.end(); err != nil {
		return "", sio.Args{}, err
	}
	return event, args, nil
}

// event reads an event's name.
func (r *reader) event() string {
	event := r.text(MaxEventName)
	switch {
	case event == "":
		r.wrong(Malformed, errors.New("is empty"))
	case value.Reserved(event):
		r.wrong(Reserved, fmt.Errorf("is %s, which Socket.IO keeps for itself", event))
	}
	return event
}

// An emitting is an emit as its members come.
type emitting struct {
	Emit
	args        []byte
	attachments [][]byte
}

// member reads a member of an emit. It is false if there is none of that name.
func (e *emitting) member(r *reader, name []byte) bool {
	switch string(name) {
	case "to":
		if r.peek() == 'n' {
			r.refuse(errTexts)
			break
		}
		e.To = r.names()
	case "ev":
		e.Event = r.event()
	case "nsp":
		if e.Namespace = ""; !r.absent() {
			e.Namespace = r.text(MaxRoomName)
		}
	case "except":
		if e.Except = nil; !r.absent() {
			e.Except = r.names()
		}
	case "args":
		if e.args = nil; !r.absent() {
			e.args = r.argsText()
		}
	case "attachments":
		if e.attachments = nil; !r.absent() {
			e.attachments = r.base64()
		}
	case "volatile":
		e.Volatile = !r.absent() && r.boolean()
	case "local":
		e.Local = !r.absent() && r.boolean()
	case "compress":
		if e.Compress = nil; !r.absent() {
			may := r.boolean()
			e.Compress = &may
		}
	default:
		return false
	}
	return true
}

// done puts the parts together.
func (e *emitting) done(r *reader) *Emit {
	if e.Event == "" {
		r.missing("ev")
	}
	if e.args != nil {
		e.Args = r.args("args", e.args, e.attachments)
	} else if len(e.attachments) > 0 {
		r.missing("args")
	}
	return &e.Emit
}

func (r *reader) emit() *Emit {
	e := &emitting{}
	r.object(func(name []byte) bool { return e.member(r, name) })
	return e.done(r)
}

// action reads any action.
func (r *reader) action() *Action {
	var a Action
	e, op := &emitting{}, ""
	r.object(func(name []byte) bool {
		switch string(name) {
		case "op":
			if op = r.text(maxPathName); ops[op] == 0 {
				r.wrong(UnknownOp, fmt.Errorf("is %q: there are emit, join, leave, data, disconnect", op))
			}
		case "rooms":
			a.Rooms = r.names()
		case "set":
			a.Set = r.members()
		case "close":
			a.Close = !r.absent() && r.boolean()
		case "code":
			if a.Code = 0; !r.absent() {
				a.Code = r.closeCode()
			}
		case "reason":
			if a.Reason = ""; !r.absent() {
				a.Reason = r.text(MaxReason)
			}
		default:
			return e.member(r, name)
		}
		return true
	})
	a.Op, a.most = ops[op], r.l.Data
	r.complete(&a, e)
	return &a
}

// MayClose tells whether a connection may be closed with a code (RFC 6455, 7.4.2).
func MayClose(code int) bool { return code == 1000 || code >= 3000 && code <= 4999 }

// ErrCode says of a code that MayClose is false for what it is to be.
var ErrCode = errors.New("is to be 1000, or from 3000 to 4999")

func (r *reader) closeCode() uint16 {
	code := int(r.whole(4999))
	if code != 0 && !MayClose(code) {
		r.wrong(Malformed, ErrCode)
	}
	return uint16(code)
}

// complete notes what an action lacks.
func (r *reader) complete(a *Action, e *emitting) {
	switch a.Op {
	case 0:
		r.missing("op")
	case OpEmit:
		a.Emit = e.done(r)
	case OpJoin, OpLeave:
		if len(a.Rooms) == 0 {
			r.missing("rooms")
		}
	case OpData:
		if a.Set == nil {
			r.missing("set")
		}
	case OpDisconnect:
		if !a.Close && (a.Code != 0 || a.Reason != "") {
			r.within('.', []byte("close"), func() {
				r.wrong(Missing, errors.New("is not true: only with it a code and a reason are told"))
			})
		}
	}
}
