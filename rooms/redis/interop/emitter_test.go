//go:build interop

package interop

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/sioedge/sioedge/rooms/redis"
)

// ourEmitter returns an emitter of this project that does commands.
func ourEmitter(t testing.TB, o ourOptions) *peer {
	e := redis.NewEmitter(o.Redis, o.Options)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := e.Close(ctx); err != nil {
			t.Errorf("Close of the emitter: %v", err)
		}
	})
	return inProcess(t, "our emitter", "", func(c command) (any, error) { return nil, performEmission(e.Of(c.NS), c) })
}

func performEmission(e redis.Emission, c command) error {
	if e = e.Except(strs(c.Except)...); len(strs(c.Rooms)) > 0 {
		e = e.To(strs(c.Rooms)...)
	}
	if c.Volatile {
		e = e.Volatile()
	}
	if c.Plain {
		e = e.Compress(false)
	}
	if c.Op == "disconnect" {
		e.Disconnect(c.Close)
		return nil
	}
	known, err := act(e, c)
	if !known {
		err = fmt.Errorf("no command is called %s", c.Op)
	}
	return err
}

// An actor is what servers and emitters can do alike.
type actor interface {
	Emit(event string, args ...any) error
	Join(rooms ...string)
	Leave(rooms ...string)
	ServerSideEmit(event string, args ...any) error
}

// act does a command, if it is known to all actors.
func act(a actor, c command) (known bool, err error) {
	switch c.Op {
	case "emit":
		for i := range max(c.Count, 1) {
			args := c.Args
			if c.Count > 0 {
				args = append(slices.Clone(args), i)
			}
			err = errors.Join(err, a.Emit(c.Event, args...))
		}
	case "join":
		a.Join(strs(c.Names)...)
	case "leave":
		a.Leave(strs(c.Names)...)
	case "servers":
		err = a.ServerSideEmit(c.Event, c.Args...)
	default:
		return false, nil
	}
	return true, err
}
