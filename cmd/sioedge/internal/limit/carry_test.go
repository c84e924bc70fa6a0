package limit

import (
	"testing"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/carried"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/sio"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// What has been used up goes along, as levels: a clock that began later does not matter,
// and what comes back in time comes back.
func TestLevelsGoAlong(t *testing.T) {
	l := config.Limits{Events: "1/s burst 5", PerEvent: map[string]string{"rare": "1/m burst 2"}, Bytes: "10B/s burst 1KiB"}
	rules := &Rules{PerEvent: map[string]Rate{"own": rate(t, "1/m burst 3")}}
	one, a, _ := guarded(t, l, func() *Rules { return rules })
	two, b, _ := guarded(t, l, func() *Rules { return rules })
	a.Register(one.Server)
	b.Register(two.Server)
	one.Advance(time.Hour)
	was, is := one.Connect("/"), two.Connect("/")
	fresh := [2]sio.Socket{one.Connect("/").Socket(), two.Connect("/").Socket()}
	if was.Socket().Number() != is.Socket().Number() {
		t.Fatal("they have other numbers")
	}
	if got := send(was, "rare", 1) + send(was, "own", 3); got != "oooo" {
		t.Fatal(got)
	}
	one.Advance(2 * time.Second) // two of four have come back
	if err := b.inherit(must(a.export())); err != nil {
		t.Fatal(err)
	}
	b.came(is.Socket(), nil)
	b.came(fresh[1], nil)
	if n := b.Stats().Buckets; n != 1 {
		t.Errorf("%d sockets have used up something, want 1", n)
	}
	if got := send(is, "own", 1) + send(is, "rare", 2) + send(is, "x", 3); got != "non"+"oon" {
		t.Errorf("it goes on with %s, want non of those with a rate, and two of three others", got)
	}
	two.Advance(time.Minute)
	if got := send(is, "own", 1); got != "o" {
		t.Errorf("when it has come back: %s", got)
	}
	if got := send(was, "own", 1); got != "n" {
		t.Errorf("the one that was asked what there is has changed: %s", got)
	}
}

// Connections are counted by the successor, until they end, for as long as their namespace
// is there.
func TestSeatsGoAlong(t *testing.T) {
	one, a := crowd(t, 2, 1, sio.Options{})
	two, b := crowd(t, 2, 1, sio.Options{})
	a.Register(one.Server)
	b.Register(two.Server)
	c := one.ConnectWith("/few/1", as("u"))
	seats, _ := a.users.key.Get(c.Socket())
	p := must(encodeSeats(seats))
	got, err := b.decodeSeats(p)
	if err != nil || len(got) != 2 || got[0] != (seat{"u", nil}) || got[1] != (seat{"u", two.Of("/few/:id")}) {
		t.Fatalf("the seats are %+v, %v", got, err)
	}
	mustRefuse(t, two, "/few/2", as("u"))
	second := two.ConnectWith("/", as("u"))
	mustRefuse(t, two, "/", as("u"))
	b.users.leave(got)
	second.Drop()
	two.ConnectWith("/few/2", as("u"))
	if n := b.Stats().Seats; n != 2 {
		t.Errorf("%d seats are taken, want 2", n)
	}
	if got, err = b.decodeSeats(must(carried.Marshal([]seatForm{{"v", "/gone"}, {"v", ""}}))); err != nil || len(got) != 1 {
		t.Errorf("of a namespace that is gone: %+v, %v", got, err)
	}
}

func TestHostileEstates(t *testing.T) {
	srv, x, _ := guarded(t, config.Limits{}, nil)
	x.Register(srv.Server)
	rows := func(change ...byte) []byte { return append([]byte{1, 10}, change...) }
	for name, e := range map[string]any{
		"text": "x", "a number that does not end": estate{Holders: []byte{0x80}}, "no buckets": estate{Holders: rows()},
		"fewer buckets than it says":     estate{Holders: rows(2, 0, 1, 1)},
		"a scope that there is not":      estate{Holders: rows(1, 8, 1, 1)},
		"an event that there is not":     estate{Holders: rows(1, 1, 0, 1, 1)},
		"a level beyond all":             estate{Holders: rows(1, 0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1)},
		"a time beyond all":              estate{Holders: rows(1, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 1)},
		"more buckets than there may be": estate{Holders: rows(0xff, 0xff, 0xff, 1)},
	} {
		if x.inherit(must(carried.Marshal(e))) == nil {
			t.Errorf("%s is taken over", name)
		}
	}
	for name, e := range map[string]any{"text": "x", "nobody's": []seatForm{{"", "/"}}} {
		if _, err := x.decodeSeats(must(carried.Marshal(e))); err == nil {
			t.Errorf("%s is a seat", name)
		}
	}
}

func FuzzEstates(f *testing.F) {
	h := holder{full: 10, own: [scopes]bucket{{0, 5}}, named: []named{{event, "e", bucket{1, 7}}}}
	f.Add(h.append(nil, 3, func(string) uint64 { return 0 }))
	f.Add([]byte{})
	r, err := ParseRate("1/h burst 1000000000")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		x := must(New(config.Limits{}, Options{}))
		if x.inherit(must(carried.Marshal(estate{Events: []string{"e", "f"}, Holders: p}))) != nil {
			return
		}
		for _, h := range x.heirs.all {
			for i := range h.own {
				b := h.own[i]
				b.now(&r, 1<<50)
				if b.used < 0 || b.over(&r, maxCost) > 0 && b.used+maxCost*parts < 0 {
					t.Errorf("a level of %d", b.used)
				}
			}
		}
	})
}
