package redis

import (
	"bytes"
	"context"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/rooms"
)

// keeping starts an adapter of a kind, and returns what it keeps.
func keeping(t *testing.T, kind, addr, prefix string) rooms.Keeper {
	t.Helper()
	_, a := begin(t, kind, addr, "nod0", Options{Prefix: prefix})
	k, ok := a.(rooms.Keeper)
	if !ok {
		t.Fatalf("%s keeps nothing", kind)
	}
	return k
}

func kept(t *testing.T, k rooms.Keeper, set string, most int) (all []string) {
	t.Helper()
	values, err := k.KeptValues(t.Context(), set, most)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range values {
		all = append(all, string(v))
	}
	return all
}

// What is kept is there for servers that come when those that kept it have gone, until
// its time is over.
func TestKeptValues(t *testing.T) {
	addr := server(t)
	for kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			prefix := strings.ReplaceAll(kind, " ", "")
			keep := func(k rooms.Keeper, set, value string, d time.Duration) {
				t.Helper()
				if err := k.KeepValue(t.Context(), set, []byte(value), time.Now().Add(d)); err != nil {
					t.Fatal(err)
				}
			}
			a := keeping(t, kind, addr, prefix)
			if got := kept(t, a, "s", 10); len(got) > 0 {
				t.Errorf("at first there is %q", got)
			}
			keep(a, "s", "one", time.Hour)
			keep(a, "s", "two\x00\xff", 2*time.Hour)
			keep(a, "s", "over", -time.Second)
			keep(a, "s", "one", 3*time.Hour) // again
			keep(a, "other", "x", time.Hour)
			if err := a.(rooms.Adapter).Close(context.Background()); err != nil {
				t.Fatal(err)
			}
			b := keeping(t, kind, addr, prefix)
			if got, want := kept(t, b, "s", 10), []string{"one", "two\x00\xff"}; !slices.Equal(got, want) {
				t.Errorf("what is kept is %q, want %q", got, want)
			}
			if got := kept(t, b, "s", 1); !slices.Equal(got, []string{"one"}) {
				t.Errorf("one of them is %q", got)
			}
			keep(b, "s", "two\x00\xff", -time.Hour) // given up
			if got := kept(t, b, "s", 10); !slices.Equal(got, []string{"one"}) {
				t.Errorf("what is left is %q", got)
			}
			if n, err := control(t, addr)("ZCARD", prefix+":kept:s").AsInt64(); n != 1 || err != nil {
				t.Errorf("Redis has %d values, %v", n, err)
			}
			if got := kept(t, keeping(t, kind, addr, prefix+"2"), "s", 10); len(got) > 0 {
				t.Errorf("with another prefix there is %q", got)
			}
		})
	}
}

func TestValuesThatAreNotKept(t *testing.T) {
	addr := server(t)
	k := keeping(t, "classic", addr, "p")
	soon := time.Now().Add(time.Hour)
	for name, err := range map[string]error{
		"a long value": k.KeepValue(t.Context(), "s", bytes.Repeat([]byte("x"), maxKeptValue+1), soon),
		"no name":      k.KeepValue(t.Context(), "", nil, soon),
		"a long name":  k.KeepValue(t.Context(), strings.Repeat("x", maxKeptName+1), nil, soon),
	} {
		if err == nil {
			t.Errorf("%s is no error", name)
		}
	}
	do := control(t, addr)
	for i, value := range []string{strings.Repeat("x", maxKeptValue+1), "mine"} { // what others have put there
		if err := do("ZADD", "p:kept:s", strconv.FormatInt(soon.UnixMilli()+int64(i), 10), value).Error(); err != nil {
			t.Fatal(err)
		}
	}
	if got := kept(t, k, "s", 10); !slices.Equal(got, []string{"mine"}) {
		t.Errorf("what is kept is %.40q", got)
	}
	if err := do("SET", "p:kept:t", "x").Error(); err != nil {
		t.Fatal(err)
	}
	if _, err := k.KeptValues(t.Context(), "t", 10); err == nil {
		t.Error("a key of another kind is no error")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, away := begin(t, "classic", "127.0.0.1:1", "nod2", Options{Prefix: "p"})
	if err := away.(rooms.Keeper).KeepValue(ctx, "s", []byte("x"), soon); err == nil {
		t.Error("a Redis that is not there is no error")
	}
}
