package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/action"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/api/wire"
	"github.com/sioedge/sioedge/rooms/value"
)

// A command is what a line of a stream, or an element of a batch, asks for.
type command struct {
	id   []byte // JSON, nil: none
	name string
	body []byte // of the command, JSON; a view
}

// commands is what there is, by name: what each does with its body.
var commands map[string]func(ctx context.Context, a *API, s *settings, body []byte) (any, error)

func init() {
	commands = map[string]func(ctx context.Context, a *API, s *settings, body []byte) (any, error){
		"emit": func(ctx context.Context, a *API, s *settings, body []byte) (any, error) {
			return a.emit(ctx, s, body, "")
		},
		"join": changeOf("join"), "leave": changeOf("leave"), "disconnect": changeOf("disconnect"), "data": changeOf("data"),
		"user_disconnect": func(ctx context.Context, a *API, _ *settings, body []byte) (any, error) {
			q, err := parseUser(body, "")
			if err != nil {
				return nil, err
			}
			return a.kickEverywhere(ctx, q)
		},
		"revoke": func(ctx context.Context, a *API, _ *settings, body []byte) (any, error) { return a.revoke(ctx, body) },
		"server_side_emit": func(ctx context.Context, a *API, _ *settings, body []byte) (any, error) {
			return a.serverSideEmit(ctx, body)
		},
	}
}

// maxID bounds the id of a command, as JSON.
const maxID = 256

// parseCommand reads one: raw is valid JSON, and not kept. What is known of one that is
// wrong is returned too.
func parseCommand(raw []byte) (x command, err error) {
	if i := value.SkipSpace(raw, 0); i == len(raw) || raw[i] != '{' {
		return x, bad("", string(action.WrongType), "is to be an object such as {\"emit\":{…}}")
	}
	value.EachMember(raw, func(name, v []byte) bool {
		switch {
		case string(name) == `"id"`:
			if len(v) > maxID || v[0] == '{' || v[0] == '[' {
				err = bad("id", string(action.WrongType), "is to be a text or a number of at most 256 bytes")
				return false
			}
			x.id = v
		case x.name != "":
			err = bad(clip(string(name)), string(action.TooMany), "is one command too many")
		default:
			text, _ := value.Unquote(nil, name)
			x.name, x.body = string(text), v
			if commands[x.name] == nil {
				err = bad(clip(x.name), "unknown_command", "is no command")
			}
		}
		return true
	})
	if err == nil && x.name == "" {
		err = bad("", string(action.Missing), "has no command")
	}
	return x, err
}

// do does a command. The problem, if there is one, names the member.
func (a *API) do(ctx context.Context, s *settings, x command) (any, *problem) {
	answer, err := commands[x.name](ctx, a, s, x.body)
	if err != nil {
		return nil, a.problemOf(err).under(x.name)
	}
	return answer, nil
}

// appendResult appends what became of a command.
func (a *API) appendResult(dst []byte, x *command, answer any, p *problem) []byte {
	dst = append(dst, '{')
	if x.id != nil {
		dst = append(append(append(dst, `"id":`...), x.id...), ',')
	}
	if p == nil {
		raw, ok := answer.(json.RawMessage)
		if !ok {
			var err error
			if raw, err = json.Marshal(answer); err != nil {
				p = a.problemOf(err)
			}
		}
		if p == nil {
			return append(append(append(dst, `"result":`...), raw...), '}')
		}
	}
	b, _ := json.Marshal(p.is)
	return append(append(append(dst, `"error":`...), b...), '}')
}

// run parses and does a command, and appends its result.
func (a *API) run(ctx context.Context, s *settings, dst, raw []byte) (out []byte, ok bool) {
	x, err := parseCommand(raw)
	if err != nil {
		return a.appendResult(dst, &x, nil, a.problemOf(err)), false
	}
	answer, p := a.do(ctx, s, x)
	return a.appendResult(dst, &x, answer, p), p == nil
}

const (
	maxCommands = 10_000 // of a batch
	maxParallel = 8      // of these at one time
)

// batch is the endpoint.
func (c *call) batch() (any, error) {
	id := c.onceKey()
	if err := checkOnceKey(id); err != nil {
		return nil, err
	}
	list, parallel, err := c.parseBatch()
	if err != nil {
		return nil, err
	}
	answer, _, err := c.a.once(c.r.Context(), id, wire.BatchPath, c.body, func() (any, error) {
		return c.runAll(list, parallel), nil
	})
	return answer, err
}

func (c *call) parseBatch() (list [][]byte, parallel bool, err error) {
	if err := checkJSON(c.body, c.s); err != nil {
		return nil, false, err
	}
	found := false
	err = members(c.body, func(name string, v []byte) error {
		switch name {
		case "commands":
			if found = v[0] == '['; !found {
				return bad(name, string(action.WrongType), "is to be a list")
			}
			list = nil
			value.EachElement(v, func(n int, x []byte) bool {
				list = append(list, x)
				return n < maxCommands
			})
			if len(list) > maxCommands {
				return bad(name, string(action.TooMany), "has more than 10000 elements: use a stream")
			}
			return nil
		case "parallel":
			return json.Unmarshal(v, &parallel)
		}
		return errUnknown
	})
	if err == nil && !found {
		err = bad("commands", string(action.Missing), "is missing")
	}
	return list, parallel, err
}

// runAll does commands and returns their results, in the order of the commands.
func (c *call) runAll(list [][]byte, parallel bool) json.RawMessage {
	results := make([][]byte, len(list))
	if !parallel {
		for i, raw := range list {
			results[i], _ = c.a.run(c.r.Context(), c.s, nil, raw)
		}
	} else {
		var all sync.WaitGroup
		free := make(chan struct{}, maxParallel)
		for i, raw := range list {
			free <- struct{}{}
			// ends when the command is done
			all.Go(func() {
				defer func() { <-free }()
				results[i] = c.a.guarded(c.r.Context(), c.s, raw)
			})
		}
		all.Wait()
	}
	out := []byte(`{"results":[`)
	for i, r := range results {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, r...)
	}
	return append(out, `]}`...)
}

// guarded is run on a goroutine of its own, where a panic must end the command alone.
func (a *API) guarded(ctx context.Context, s *settings, raw []byte) (out []byte) {
	defer func() {
		if v := recover(); v != nil {
			a.notice.Warn("a panic in a command of the HTTP API", "panic", v)
			out = a.appendResult(nil, &command{}, nil, fail(http.StatusInternalServerError, "internal", "the server failed; its log says why"))
		}
	}()
	out, _ = a.run(ctx, s, nil, raw)
	return out
}

// checkJSON tells what is wrong with a body, or a line, as JSON: functions below it are
// for what has passed it.
func checkJSON(b []byte, s *settings) error {
	depth := orElse(s.limits.Depth, 64) + 8 // around arguments
	i := value.SkipSpace(b, 0)
	end := value.Skip(b, i, depth)
	switch {
	case end < 0 && value.Skip(b, i, value.MaxDepth) >= 0:
		return bad("", string(action.TooDeep), "is nested too deep")
	case end < 0 || value.SkipSpace(b, end) != len(b):
		return bad("", string(action.Malformed), "is no JSON")
	}
	return nil
}

var errUnknown = errors.New("api: there is no such member")

// members calls f for the members of an object that is valid JSON. What f returns is of
// the member: errUnknown, or what is wrong with it.
func members(b []byte, f func(name string, v []byte) error) (err error) {
	if i := value.SkipSpace(b, 0); i == len(b) || b[i] != '{' {
		return bad("", string(action.WrongType), "is to be an object")
	}
	value.EachMember(b, func(quoted, v []byte) bool {
		text, _ := value.Unquote(nil, quoted)
		name := string(text)
		err = f(name, v)
		var p *problem
		switch {
		case err == nil:
			return true
		case errors.Is(err, errUnknown):
			err = bad(clip(name), unknownMember, "there is no such member")
		case !errors.As(err, &p):
			err = bad(name, string(action.WrongType), wrongType(err))
		}
		return false
	})
	return err
}

// wrongType says in words what encoding/json found.
func wrongType(err error) string {
	var t *json.UnmarshalTypeError
	if errors.As(err, &t) {
		kind := t.Type.String()
		switch {
		case strings.HasPrefix(kind, "[]"):
			kind = "list of texts"
		case strings.Contains(kind, "int"):
			kind = "whole number"
		case kind == "string":
			kind = "text"
		case kind == "bool":
			kind = "true or false"
		default:
			kind = "object"
		}
		return "is " + t.Value + " where " + kind + " is wanted"
	}
	return "is malformed"
}
