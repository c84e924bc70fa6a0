package api

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/action"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/api/wire"
	"github.com/sioedge/sioedge/rooms/value"
	"github.com/sioedge/sioedge/sio"
)

// A change is something to do to the sockets of a filter. It is also what other servers
// are told.
type change struct {
	Op     string          `json:"op"` // join, leave, disconnect, data
	Filter filter          `json:"filter"`
	Rooms  []string        `json:"rooms,omitempty"`
	Set    json.RawMessage `json:"set,omitempty"`
	Close  bool            `json:"close,omitempty"`
	Code   uint16          `json:"code,omitempty"`
	Reason string          `json:"reason,omitempty"`
}

const (
	maxSetRooms  = 256
	maxSet       = 16 << 10 // bytes of set
	forbidden    = 4403     // the code of who is kicked
	forbiddenWhy = "disconnected by the application"
)

// parseChange reads the body of one.
func parseChange(op string, body []byte) (*change, error) {
	x := &change{Op: op}
	err := members(body, func(name string, v []byte) (err error) {
		switch {
		case name == "rooms" && (op == "join" || op == "leave"):
			x.Rooms, err = namesIn(name, v, maxSetRooms)
		case name == "set" && op == "data":
			switch {
			case v[0] != '{':
				err = bad(name, string(action.WrongType), "is to be an object")
			case len(v) > maxSet:
				err = bad(name, string(action.TooLong), "has more than "+strconv.Itoa(maxSet)+" bytes")
			}
			x.Set = v
		case op == "disconnect" && (name == "close" || name == "code" || name == "reason"):
			err = x.how(name, v)
		default:
			err = x.Filter.member(name, v)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return x, x.complete()
}

// how reads a member that says how a client is disconnected.
func (x *change) how(name string, v []byte) (err error) {
	switch name {
	case "close":
		return json.Unmarshal(v, &x.Close)
	case "code":
		x.Code, err = codeOf(v)
	case "reason":
		x.Reason, err = reasonOf(v)
	}
	return err
}

func codeOf(v []byte) (uint16, error) {
	n, err := wholeOf("code", v, 1000, 4999)
	if err != nil || !action.MayClose(n) {
		return 0, bad("code", string(action.Malformed), action.ErrCode.Error())
	}
	return uint16(n), nil
}

func reasonOf(v []byte) (string, error) {
	text, err := textOf("reason", v, action.MaxReason)
	if err == nil && !utf8.ValidString(text) {
		err = bad("reason", string(action.Malformed), "is not UTF-8")
	}
	return text, err
}

// complete tells what is missing.
func (x *change) complete() error {
	switch {
	case (x.Op == "join" || x.Op == "leave") && len(x.Rooms) == 0:
		return bad("rooms", string(action.Missing), "is missing")
	case x.Op == "data" && x.Set == nil:
		return bad("set", string(action.Missing), "is missing")
	case !x.Close && (x.Code != 0 || x.Reason != ""):
		return bad("close", string(action.Missing), "is not true: only with it a code and a reason are told")
	}
	return nil
}

// everywhere tells whether the change is one that every server understands, those of Node
// among them.
func (x *change) everywhere() bool {
	return x.Filter.plain() && x.Op != "data" && x.Code == 0 && x.Reason == ""
}

// change does it on all servers.
func (a *API) change(ctx context.Context, x *change) (any, error) {
	to, err := x.Filter.target(a.srv)
	if err != nil {
		return nil, err
	}
	if x.everywhere() {
		counting, cancel := context.WithTimeout(ctx, a.peers.wait())
		defer cancel()
		n, err := to.CountAll(counting)
		part, err := a.peers.partOf(err)
		if err != nil {
			return nil, err
		}
		x.to(to)
		return wire.Changed{Sockets: n, Partial: part}, nil
	}
	done := wire.Changed{}
	for at := uint64(0); ; {
		step := a.step(x, at)
		if done.Sockets += step.Sockets; step.Next == 0 {
			break
		}
		at = step.Next
	}
	if err := a.changeOthers(ctx, x, &done); err != nil {
		return nil, err
	}
	return done, a.changeForeign(ctx, x, &done)
}

// changeOthers has the other servers of this kind do it, a step at a time.
func (a *API) changeOthers(ctx context.Context, x *change, done *wire.Changed) error {
	question := changeQuestion{Change: *x}
	answers, part, err := ask[changeAnswer](ctx, a.peers, topicChange, question)
	for err == nil {
		done.Partial = both(done.Partial, part)
		question.At = map[string]uint64{}
		for _, step := range answers {
			if done.Sockets += step.Sockets; step.Next != 0 {
				question.At[step.Node] = step.Next
			}
		}
		if len(question.At) == 0 {
			break
		}
		answers, part, err = askThese[changeAnswer](ctx, a.peers, slices.Sorted(maps.Keys(question.At)), topicChange, question)
	}
	return err
}

// to does it to all that an operator addresses.
func (x *change) to(to sio.BroadcastOperator) {
	switch x.Op {
	case "join":
		to.Join(x.Rooms...)
	case "leave":
		to.Leave(x.Rooms...)
	case "disconnect":
		_ = to.Disconnect(sio.DisconnectOptions{Conn: x.Close, Code: x.Code, Reason: x.Reason}) // what is wrong with these was said before
	}
}

// A changeQuestion has another server do a change: to its sockets from a place on, if At
// has one for it, and from the first on if there are none at all.
type changeQuestion struct {
	Change change            `json:"change"`
	At     map[string]uint64 `json:"at,omitempty"`
}

// A changeAnswer says what a server has done, and where it would go on; 0: nowhere.
type changeAnswer struct {
	Node    string `json:"node"`
	Sockets int    `json:"sockets"`
	Next    uint64 `json:"next,omitempty"`
}

// step does a change to sockets of this server, from a place on: those that the filter
// has of scanStep.
func (a *API) step(x *change, at uint64) (done changeAnswer) {
	done.Node = a.srv.Node()
	to, err := x.Filter.target(a.srv)
	if err != nil || x.complete() != nil {
		return done
	}
	to = to.Local()
	if x.Filter.plain() && x.Op != "data" {
		done.Sockets = to.Count()
		x.to(to)
		return done
	}
	var last sio.Socket
	for seen := 0; seen < scanStep; {
		var part []sio.Socket
		part, at = to.SocketsFrom(at, 256)
		for _, s := range part {
			if x.Filter.has(a, s) && x.one(s) == nil {
				done.Sockets++
				last = s
			}
		}
		if seen += len(part); at == 0 {
			break
		}
	}
	if x.Op == "join" && last != (sio.Socket{}) && a.o.Cluster {
		_ = action.Join(last, x.Rooms) // waits until what others emit to the rooms comes here
	}
	done.Next = at
	return done
}

// one does it to a socket.
func (x *change) one(s sio.Socket) error {
	switch x.Op {
	case "join":
		s.Join(x.Rooms...)
	case "leave":
		s.Leave(x.Rooms...)
	case "data":
		return action.SetData(s, x.Set, 0)
	case "disconnect":
		return s.Disconnect(sio.DisconnectOptions{Conn: x.Close, Code: x.Code, Reason: x.Reason})
	default:
		return errors.New("api: a change of another kind")
	}
	return nil
}

// changeOf returns the command of a kind.
func changeOf(op string) func(ctx context.Context, a *API, s *settings, body []byte) (any, error) {
	return func(ctx context.Context, a *API, _ *settings, body []byte) (any, error) {
		x, err := parseChange(op, body)
		if err != nil {
			return nil, err
		}
		return a.change(ctx, x)
	}
}

// A userQuestion has a user disconnected.
type userQuestion struct {
	User   string `json:"user"`
	Code   uint16 `json:"code"`
	Reason string `json:"reason"`
}

// kick disconnects the connections of a user that this server has, and returns how many
// sockets they had.
func (a *API) kick(q userQuestion) (n int) {
	if q.User == "" {
		return 0
	}
	for _, ns := range a.srv.Namespaces() {
		for _, s := range ns.All().Sockets() {
			if a.o.User(s) == q.User && s.Disconnect(sio.DisconnectOptions{Conn: true, Code: q.Code, Reason: q.Reason}) == nil {
				n++
			}
		}
	}
	return n
}

// parseUser reads the body of a command to disconnect a user; user is who it is, if that
// was said elsewhere.
func parseUser(body []byte, user string) (q userQuestion, err error) {
	q = userQuestion{User: user, Code: forbidden, Reason: forbiddenWhy}
	inPath := user != ""
	err = members(body, func(name string, v []byte) (err error) {
		switch {
		case name == "user" && !inPath:
			q.User, err = textOf(name, v, maxUser)
		case name == "code":
			q.Code, err = codeOf(v)
		case name == "reason":
			q.Reason, err = reasonOf(v)
		default:
			err = errUnknown
		}
		return err
	})
	if err == nil && q.User == "" {
		err = bad("user", string(action.Missing), "is missing")
	}
	return q, err
}

// kickEverywhere disconnects a user from all servers of this kind.
func (a *API) kickEverywhere(ctx context.Context, q userQuestion) (any, error) {
	done := wire.Changed{Sockets: a.kick(q)}
	answers, part, err := ask[changeAnswer](ctx, a.peers, topicUser, q)
	for _, x := range answers {
		done.Sockets += x.Sockets
	}
	done.Partial = part
	return done, err
}

// userDisconnect is the endpoint; it may be without a body.
func (c *call) userDisconnect() (any, error) {
	body := c.body
	if value.SkipSpace(body, 0) == len(body) {
		body = []byte("{}")
	}
	if err := checkJSON(body, c.s); err != nil {
		return nil, err
	}
	if len(c.params[0]) > maxUser {
		return nil, bad("user", string(action.TooLong), "is longer than "+strconv.Itoa(maxUser)+" bytes")
	}
	q, err := parseUser(body, c.params[0])
	if err != nil {
		return nil, err
	}
	return c.a.kickEverywhere(c.r.Context(), q)
}
