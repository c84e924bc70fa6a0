package names

import (
	"fmt"
	"strings"
	"testing"
)

func TestCounts(t *testing.T) {
	var c Counts
	c.Add("", 1)
	c.Add("a", 1)
	c.Add("a", 1)
	c.Add("b", 1)
	c.Add("a", -1)
	c.Add("b", -1)
	if !c.Has("a") || c.Has("b") || c.Has("") || c.Len() != 1 {
		t.Errorf("a %v, b %v, %d names, want a alone", c.Has("a"), c.Has("b"), c.Len())
	}
	if c.Add("a", -1); c.m != nil {
		t.Error("a map of nothing is kept")
	}
}

// Names that come again are not made again, and however many come, few are kept.
func TestKept(t *testing.T) {
	var k Kept
	name := []byte("cursor")
	if s := k.String(name); s != "cursor" {
		t.Errorf("String = %q", s)
	}
	if n := testing.AllocsPerRun(100, func() { k.String(name) }); n != 0 {
		t.Errorf("a name that has come before takes %v allocations", n)
	}
	s := k.String(name)
	if name[0] = 'x'; s != "cursor" {
		t.Error("a name changes with the message that it came in")
	}
	if k.String([]byte(strings.Repeat("x", maxLength+1))); len(k.m) != 1 {
		t.Errorf("%d names are kept, want no long one", len(k.m))
	}
	for i := range 10 * maxKept {
		if k.String(fmt.Append(nil, i)); len(k.m) > maxKept {
			t.Fatalf("%d names are kept", len(k.m))
		}
	}
}
