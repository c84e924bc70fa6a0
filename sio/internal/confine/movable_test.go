package confine

import (
	"context"
	"testing"

	"github.com/sioedge/sioedge/rooms"
)

type moves struct{ rooms.Movable }

func (moves) Mark(context.Context) ([]byte, error) { panic("mine") }
func (moves) Succeed([]byte) error                 { panic("mine") }

type logs struct{ rooms.Log }

// What an adapter can beside what all can is not lost.
func TestAConfinedAdapterCanWhatItCould(t *testing.T) {
	panicked := func(_ string, v any) error { return errTest }
	for _, x := range []struct {
		a           rooms.Adapter
		logs, moves bool
	}{{fetching{}, false, false}, {moves{}, false, true}, {logs{}, true, false}} {
		a := Adapter(x.a, panicked)
		_, isLog := a.(rooms.Log)
		m, isMovable := a.(rooms.Movable)
		if isLog != x.logs || isMovable != x.moves {
			t.Errorf("%T is a Log: %t, Movable: %t, want %t, %t", x.a, isLog, isMovable, x.logs, x.moves)
		}
		if !isMovable {
			continue
		}
		if _, err := m.Mark(context.Background()); err != errTest {
			t.Errorf("Mark that panics = %v, want %v", err, errTest)
		}
		if err := m.Succeed(nil); err != errTest {
			t.Errorf("Succeed that panics = %v, want %v", err, errTest)
		}
	}
	var _ interface {
		rooms.Log
		rooms.Movable
	} = &movableLog{}
}
