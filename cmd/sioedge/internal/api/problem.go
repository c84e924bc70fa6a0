package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/action"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/api/wire"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/identity"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/peerlink"
	"github.com/sioedge/sioedge/sio"
)

// A problem is what a request is answered that is not done.
type problem struct {
	status int
	is     wire.Error
	retry  time.Duration // when it may be tried again; 0: nothing is said
	allow  string        // methods that there are, of 405
	// passing says that it is of the moment: who asks again by the same idempotency key
	// may have another answer.
	passing bool
}

// Error is for people.
func (p *problem) Error() string { return p.is.Error() }

func fail(status int, code, message string) *problem {
	return &problem{status: status, is: wire.Error{Code: code, Message: message}}
}

// bad is a problem with a member or a parameter.
func bad(field, code, message string) *problem {
	return &problem{status: http.StatusBadRequest, is: wire.Error{Code: code, Message: message, Field: field}}
}

// codes of problems, beside those of action.Code.
const (
	unknownMember    = string(action.UnknownMember)
	unknownParameter = "unknown_parameter"
	unknownSocket    = "unknown_socket"
	unavailable      = "unavailable"
)

// problemOf returns what an error is to who asked. One that nobody knows is not shown.
func (a *API) problemOf(err error) *problem {
	var p *problem
	var f *action.FieldError
	var e *sio.EncodeError
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &f):
		return ofField(f)
	case errors.As(err, &e):
		return bad("args", "malformed", e.Error())
	case errors.Is(err, sio.ErrOverloaded):
		p = fail(http.StatusServiceUnavailable, "overloaded", "too much waits to be sent (limits.max_broadcasts)")
		p.retry, p.passing = time.Second, true
		return p
	case errors.Is(err, identity.ErrFull):
		p = fail(http.StatusServiceUnavailable, "full", "as many revocations are in force as may be (auth.max_revocations)")
		p.passing = true
		return p
	case errors.Is(err, peerlink.ErrTooLong):
		return fail(http.StatusRequestEntityTooLarge, "too_long", "is more than servers say to each other at one time")
	case errors.Is(err, context.Canceled):
		p = fail(http.StatusServiceUnavailable, "canceled", "the request has ended before its answer")
		p.passing = true
		return p
	}
	a.notice.Warn("a request of the HTTP API failed", "error", err)
	p = fail(http.StatusInternalServerError, "internal", "the server failed; its log says why")
	p.passing = true
	return p
}

// ofField is a problem with a member that package action has found.
func ofField(f *action.FieldError) *problem {
	p := bad(f.Field, string(f.Code), f.Err.Error())
	switch {
	case f.Code == action.UnknownNsp:
		p.status = http.StatusNotFound
	case f.Field == "" && f.Code == action.TooLong:
		p.status = http.StatusRequestEntityTooLarge
	}
	return p
}

// under puts the field of a problem below a name.
func (p *problem) under(name string) *problem {
	q := *p
	switch {
	case q.is.Field == "":
		q.is.Field = name
	case q.is.Field[0] == '[':
		q.is.Field = name + q.is.Field
	default:
		q.is.Field = name + "." + q.is.Field
	}
	return &q
}
