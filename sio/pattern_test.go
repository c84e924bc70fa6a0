package sio

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestPatternsMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, name, want string
	}{
		{"/campaigns/:id/trends", "/campaigns/42/trends", "[{id 42}]"},
		{"/campaigns/:id/trends", "/campaigns/a%20b%2Fc/trends", "[{id a b/c}]"},
		{"/campaigns/:id/trends", "/campaigns/100%/trends", "[{id 100%}]"},
		{"/campaigns/:id/trends", "/campaigns//trends", "no"},
		{"/campaigns/:id/trends", "/campaigns/42/trends/", "no"},
		{"/campaigns/:id/trends", "/campaigns/4/2/trends", "no"},
		{"/campaigns/:id/trends", "/campaigns/42/Trends", "no"},
		{"/campaigns/:id/trends", "/campaigns/42", "no"},
		{"/:a/:b", "/x/y", "[{a x} {b y}]"},
		{"/:a", "/", "no"},
		{"/:a", "/x?y=1", "[{a x?y=1}]"},
		{"/public/*rest", "/public/a/b", "[{rest a/b}]"},
		{"/public/*rest", "/public/", "no"},
		{"/public/*rest", "/public", "no"},
		{"/*all", "/anything", "[{all anything}]"},
		{"/*all", "/", "no"},
	} {
		params, ok := parsePattern(c.pattern).match(c.name)
		got := "no"
		if ok {
			got = fmt.Sprint(params)
		}
		if got != c.want {
			t.Errorf("match of %s and %s = %s, want %s", c.pattern, c.name, got, c.want)
		}
	}
}

func TestPrecedenceDoesNotDependOnTheOrderOfRegistration(t *testing.T) {
	want := []string{"/a/b/:c", "/a/:b/c", "/a/:b/:c", "/a/*b", "/:a/b/c", "/:a/b", "/*a"}
	for range 100 {
		var all []*pattern
		for _, i := range rand.Perm(len(want)) {
			all = append(all, parsePattern(want[i]))
		}
		slices.SortStableFunc(all, (*pattern).compare)
		for _, name := range []string{"/a/b/c", "/a/x/c", "/a/x/y", "/a/x/y/z", "/x/b/c", "/x/b", "/x"} {
			i := slices.IndexFunc(all, func(p *pattern) bool { _, ok := p.match(name); return ok })
			best := map[string]string{
				"/a/b/c": "/a/b/:c", "/a/x/c": "/a/:b/c", "/a/x/y": "/a/:b/:c", "/a/x/y/z": "/a/*b",
				"/x/b/c": "/:a/b/c", "/x/b": "/:a/b", "/x": "/*a",
			}[name]
			if all[i].text != best {
				t.Fatalf("%s goes to %s, want %s", name, all[i].text, best)
			}
		}
	}
}

func TestBadPatternsPanic(t *testing.T) {
	for _, text := range []string{"/:", "/a/*", "/:a/:a", "/*a/b"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("parsePattern(%s) did not panic", text)
				}
			}()
			parsePattern(text)
		}()
	}
	if p := parsePattern("/a/b:c/d*"); p != nil {
		t.Errorf("parsePattern of a literal = %v, want nil", p)
	}
}

func FuzzPatternMatch(f *testing.F) {
	f.Add("/campaigns/42/trends")
	f.Add("/public/%zz/%2f")
	f.Fuzz(func(t *testing.T, name string) {
		for _, text := range []string{"/campaigns/:id/trends", "/public/*rest", "/:a/:b"} {
			params, ok := parsePattern(text).match(name)
			for _, p := range params {
				if ok && p.value == "" {
					t.Errorf("match of %s and %q has an empty %s", text, name, p.name)
				}
			}
		}
	})
}
