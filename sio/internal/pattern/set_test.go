package pattern

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// A Set finds what looking at one pattern after the other finds.
func TestSetAgainstALook(t *testing.T) {
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		text := func(names []string) string {
			parts := []string{}
			for i := range 1 + rnd.IntN(4) {
				parts = append(parts, strings.ReplaceAll(names[rnd.IntN(len(names))], "#", fmt.Sprint(i)))
			}
			return "/" + strings.Join(parts, "/")
		}
		var all []*Pattern
		var set Set[*Pattern]
		for range rnd.IntN(30) {
			p := Parse(strings.TrimSuffix(text([]string{"a", "b", "", ":p#", ":q#"})+[]string{"", "/*rest"}[rnd.IntN(2)], "//"))
			if p != nil && !slices.ContainsFunc(all, p.Alike) {
				all = append(all, p)
				set.Add(p, p)
			}
		}
		slices.SortStableFunc(all, (*Pattern).Compare)
		for range 200 {
			name := text([]string{"a", "b", "c", "", "%20", "%2f", ".."})[rnd.IntN(2):]
			nth := 0
			for _, p := range all {
				want, ok := p.Match(name)
				if !ok {
					continue
				}
				got, params, ok := set.Find(name, nth)
				if got != p || !ok || !reflect.DeepEqual(params, want) {
					t.Fatalf("seed %d: at place %d %s is of %v %v, want %v %v", seed, nth, name, got, params, p, want)
				}
				nth++
			}
			if got, _, ok := set.Find(name, nth); ok {
				t.Fatalf("seed %d: at place %d %s is of %v, want none", seed, nth, name, got)
			}
		}
	}
}

// A name is looked for along its own segments, however many patterns there are.
func TestSetLooksAtFew(t *testing.T) {
	var set Set[int]
	for i := range 1000 {
		set.Add(Parse(fmt.Sprintf("/tenants/:id/%d/*rest", i)), i)
		set.Add(Parse(fmt.Sprintf("/%d/:id", i)), -i)
	}
	looked := func(name string) (nodes int, v int) {
		v, _, _ = set.Find(name, 0)
		count(&set.root, strings.TrimPrefix(name, "/"), true, &nodes)
		return nodes, v
	}
	for name, want := range map[string]int{"/tenants/x/7/y": 7, "/tenants/x/999/y/z": 999, "/8/x": -8} {
		if nodes, v := looked(name); v != want || nodes > 8 {
			t.Errorf("%s is found to be %d at %d nodes, want %d at 8 at most", name, v, nodes, want)
		}
	}
}

// count counts the nodes that find could come to.
func count[T any](n *node[T], rest string, more bool, nodes *int) {
	if n == nil {
		return
	}
	if *nodes++; !more {
		return
	}
	part, behind, goesOn := strings.Cut(rest, "/")
	count(n.literals[part], behind, goesOn, nodes)
	count(n.parameter, behind, goesOn, nodes)
}
