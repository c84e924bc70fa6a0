package declare

import (
	"slices"
	"testing"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/carried"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/sio"
)

// Changes of rooms that a backend was not told of are told by the successor, once, and one
// that is undone there is told by nobody.
func TestChangesOfRoomsGoAlong(t *testing.T) {
	var of [2]*backend
	var apps [2]*app
	for i := range apps {
		of[i] = &backend{}
		apps[i] = startWith(t, sio.Options{}, Options{}, config.Auth{}, of[i], config.Namespace{Pattern: "/a", Backend: "quiet", Events: map[string]config.Event{"join": {Action: "join", Room: "{args.0}", Allow: []string{"*"}}}})
	}
	old, next := &apps[0].router.rooms, &apps[1].router.rooms
	old.delay, next.delay = time.Hour, time.Hour
	sp := apps[0].router.spaceOf("/a")
	for _, name := range []string{"one", "two", "three", "three"} {
		old.changed(room{sp, "/a", name}, old.waiting[room{sp, "/a", name}] == nil)
	}
	old.stand(true)
	data, err := old.export()
	if err != nil {
		t.Fatal(err)
	}
	if err := next.inherit(data, apps[1].router.spaceOf); err != nil {
		t.Fatal(err)
	}
	old.moved()
	old.changed(room{sp, "/a", "four"}, true)
	old.close()
	if got := of[0].take(); len(got) > 0 {
		t.Errorf("the process before tells %q", got)
	}
	next.changed(room{apps[1].router.spaceOf("/a"), "/a", "two"}, false)
	next.stand(false)
	next.close()
	if got := of[1].take(); !slices.Equal(got, []string{`room /a ,"room":"one","state":"created"`}) {
		t.Errorf("the successor tells %q", got)
	}
}

func TestHostileEstates(t *testing.T) {
	a := start(t, sio.Options{}, config.Namespace{Pattern: "/a"})
	for name, x := range map[string]any{
		"text": "x", "a room twice": []changeForm{{"/a", "/a", "r", true, 1}, {"/a", "/a", "r", true, 1}}, "too many": make([]changeForm, 2*mostRooms+1),
	} {
		p, err := carried.Marshal(x)
		if err != nil {
			t.Fatal(err)
		}
		l := &landlord{delay: time.Hour}
		if l.inherit(p, a.router.spaceOf) == nil {
			t.Errorf("%s is taken over", name)
		}
	}
}

func FuzzEstates(f *testing.F) {
	p, err := carried.Marshal([]changeForm{{"/a", "/a", "r", true, 1}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(p)
	sp := &space{}
	f.Fuzz(func(t *testing.T, p []byte) {
		l := &landlord{delay: time.Hour}
		if l.inherit(p, func(string) *space { return sp }) == nil && len(l.queue) != len(l.waiting) {
			t.Errorf("%d wait, of %d", len(l.waiting), len(l.queue))
		}
	})
}
