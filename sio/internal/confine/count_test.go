package confine

import (
	"context"
	"errors"
	"testing"

	"github.com/sioedge/sioedge/rooms"
)

var errTest = errors.New("one is silent")

type fetching struct{ rooms.Adapter }

func (fetching) Members(context.Context, rooms.Target) ([]rooms.Member, error) {
	return make([]rooms.Member, 3), errTest
}

type counting struct{ fetching }

func (counting) Count(_ context.Context, t rooms.Target) (int, error) {
	if t.Namespace == "/panic" {
		panic("mine")
	}
	return 7, nil
}

// An adapter that cannot count is asked for its members.
func TestCount(t *testing.T) {
	panicked := func(_ string, v any) error { return errTest }
	count := func(a rooms.Adapter, namespace string) (int, error) {
		return Adapter(a, panicked).(rooms.Counter).Count(context.Background(), rooms.Target{Namespace: namespace})
	}
	if n, err := count(fetching{}, "/"); n != 3 || err != errTest {
		t.Errorf("Count by fetching = %d, %v, want 3 and the error", n, err)
	}
	if n, err := count(counting{}, "/"); n != 7 || err != nil {
		t.Errorf("Count = %d, %v, want 7", n, err)
	}
	if _, err := count(counting{}, "/panic"); err != errTest {
		t.Errorf("Count of one that panics = %v, want %v", err, errTest)
	}
}
