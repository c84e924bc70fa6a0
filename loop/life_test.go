package loop

import (
	"strings"
	"testing"
	"unsafe"
)

func TestLivesEndAndAreNamed(t *testing.T) {
	reach := func(from life) (all lifeSet) {
		all = 1 << from
		for grew := true; grew; {
			grew = false
			for x := range life(len(lives)) {
				if x.in(all) && lives[x].next&^all != 0 {
					all |= lives[x].next
					grew = true
				}
			}
		}
		return all
	}
	for x := range life(len(lives)) {
		if n := x.String(); n == "" || n == "?" || strings.ContainsRune(n, ' ') {
			t.Errorf("life %d is called %q", x, n)
		}
		if !free.in(reach(x)) || !x.in(reach(free)) {
			t.Errorf("%v leads to %b and free to %b, want free to be reached from it and it from free", x, reach(x), reach(free))
		}
		if x.in(toldLives) && (open.in(lives[x].next) != (x == free) || x != free && lives[x].next&^(toldLives) != 0) {
			t.Errorf("%v: who was told of the end may be told again", x)
		}
		if x.in(dyingSet) && lives[x].next&livingSet != 0 {
			t.Errorf("%v may come back to life", x)
		}
	}
	if life(200).String() != "?" {
		t.Errorf("a life that there is not is called %q", life(200))
	}
	for x, want := range map[life]lifeSet{
		free: setOf(opening, open), leaving: setOf(closing, cutting), waiting: setOf(dropping, free),
	} {
		if got := lives[x].next; got != want {
			t.Errorf("%v may become %b, want %b", x, got, want)
		}
	}
	if n := unsafe.Sizeof(record{}); n != 16 {
		t.Errorf("a record takes %d bytes, want 16", n)
	}
}

func TestTransitionsAreChecked(t *testing.T) {
	if !checked {
		t.Skip("in builds with the race detector only")
	}
	defer func() {
		if v, _ := recover().(string); !strings.Contains(v, "dropping becomes open") {
			t.Errorf("become panics with %q", v)
		}
	}()
	(&record{life: dropping}).become(open)
}
