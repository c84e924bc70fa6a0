package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/action"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/api/wire"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/identity"
	"github.com/sioedge/sioedge/rooms/value"
)

// revoke ends tokens.
func (a *API) revoke(ctx context.Context, body []byte) (any, error) {
	var r identity.Revocation
	err := members(body, func(name string, v []byte) (err error) {
		at := int64(0)
		switch name {
		case "jti":
			r.JTI, err = textOf(name, v, maxUser)
		case "user":
			r.User, err = textOf(name, v, maxUser)
		case "issued_before":
			if at, err = seconds(name, v); err == nil {
				r.Before = time.Unix(at, 0)
			}
		case "until":
			if at, err = seconds(name, v); err == nil {
				r.Until = time.Unix(at, 0)
			}
		default:
			err = errUnknown
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if r.JTI == "" && r.User == "" {
		return nil, bad("user", string(action.Missing), "is missing, or jti")
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	var wrong *identity.RevocationError
	switch err := a.o.Authority.Revoke(ctx, r); {
	case errors.As(err, &wrong):
		return nil, bad("", string(action.Malformed), wrong.Err.Error())
	case errors.Is(err, identity.ErrFull):
		return nil, err
	case err != nil:
		a.notice.Warn("a revocation is in force, and not kept beyond the servers that know it", "error", err)
		p := fail(http.StatusServiceUnavailable, "not_kept", "the revocation is in force, but not kept beyond the servers that live now: try again")
		p.retry, p.passing = time.Second, true
		return nil, p
	}
	return wire.Revoked{}, nil
}

// serverSideEmit sends an event to the other servers themselves.
func (a *API) serverSideEmit(ctx context.Context, body []byte) (any, error) {
	var nsp, event string
	var args []any
	var wait time.Duration
	err := members(body, func(name string, v []byte) (err error) {
		switch name {
		case "nsp":
			nsp, err = textOf(name, v, action.MaxRoomName)
		case "ev":
			event, err = textOf(name, v, action.MaxEventName)
		case "args":
			args, err = argsOf(v)
		case "ack":
			var text string
			if text, err = textOf(name, v, 64); err == nil {
				wait, err = ackTime(name, text)
			}
			if err == nil && wait > internalAck {
				err = bad(name, string(action.Malformed), "is to be a time such as 5s, "+internalAck.String()+" at most")
			}
		default:
			err = errUnknown
		}
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case event == "":
		return nil, bad("ev", string(action.Missing), "is missing")
	case value.Reserved(event):
		return nil, bad("ev", string(action.Reserved), "is a name that Socket.IO keeps for itself")
	}
	to, err := action.Find(a.srv, nsp)
	if err != nil {
		return nil, err
	}
	if wait == 0 {
		return wire.ServerSideEmitted{}, to.ServerSideEmit(event, args...)
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	answers, err := to.ServerSideAsk(ctx, event, args...)
	x := wire.ServerSideEmitted{}
	for _, answer := range answers {
		raw := json.RawMessage("null")
		if answer.Len() > 0 {
			raw = slices.Clone(answer.Raw(0))
		}
		x.Responses = append(x.Responses, raw)
	}
	x.Partial, err = a.peers.partOf(err)
	return x, err
}

// internalAck bounds how long answers of servers can be waited for.
const internalAck = 30 * time.Second

func argsOf(v []byte) (args []any, err error) {
	if v[0] != '[' {
		return nil, bad("args", string(action.WrongType), "is to be a list")
	}
	value.EachElement(v, func(n int, x []byte) bool {
		if n >= action.MaxArgs {
			err = bad("args", string(action.TooMany), "has more than "+strconv.Itoa(action.MaxArgs)+" elements")
		}
		args = append(args, json.RawMessage(x))
		return err == nil
	})
	return args, err
}

// endpointOf returns what serves a command of its own endpoint.
func endpointOf(name string) func(c *call) (any, error) {
	return func(c *call) (any, error) {
		if err := checkJSON(c.body, c.s); err != nil {
			return nil, err
		}
		return commands[name](c.r.Context(), c.a, c.s, c.body)
	}
}
