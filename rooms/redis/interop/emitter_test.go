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

func performEmission(e redis.Emission, c command) (err error) {
	e = e.To(strs(c.Rooms)...).Except(strs(c.Except)...)
	if c.Volatile {
		e = e.Volatile()
	}
	if c.Plain {
		e = e.Compress(false)
	}
	switch c.Op {
	case "emit":
		for i := range max(c.Count, 1) {
			args := c.Args
			if c.Count > 0 {
				args = append(slices.Clone(args), i)
			}
			err = errors.Join(err, e.Emit(c.Event, args...))
		}
	case "join":
		e.Join(strs(c.Names)...)
	case "leave":
		e.Leave(strs(c.Names)...)
	case "disconnect":
		e.Disconnect(c.Close)
	case "servers":
		err = e.ServerSideEmit(c.Event, c.Args...)
	default:
		err = fmt.Errorf("no command is called %s", c.Op)
	}
	return err
}
