package pattern

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestPatternsMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, name, want string
	}{
		{"/campaigns/:id/trends", "/campaigns/42/trends", "[{id 42}]"},
		{"/campaigns/:id/trends", "/campaigns/a%20b%25/trends", "[{id a b%}]"},
		{"/campaigns/:id/trends", "/campaigns/100%/trends", "no"},
		{"/campaigns/:id/trends", "/campaigns//trends", "no"},
		{"/campaigns/:id/trends", "/campaigns/42/trends/", "no"},
		{"/campaigns/:id/trends", "/campaigns/4/2/trends", "no"},
		{"/campaigns/:id/trends", "/campaigns/42/Trends", "no"},
		{"/campaigns/:id/trends", "/campaigns/42", "no"},
		{"/:a/:b", "/x/y", "[{a x} {b y}]"},
		{"/:a", "/", "no"},
		{"/:a", "/x%3Fy=1", "[{a x?y=1}]"},
		{"/public/*rest", "/public/a/b", "[{rest a/b}]"},
		{"/public/*rest", "/public/", "no"},
		{"/public/*rest", "/public", "no"},
		{"/*all", "/anything", "[{all anything}]"},
		{"/*all", "/", "no"},
	} {
		params, ok := Parse(c.pattern).Match(c.name)
		got := "no"
		if ok {
			got = fmt.Sprint(params)
		}
		if got != c.want {
			t.Errorf("match of %s and %s = %s, want %s", c.pattern, c.name, got, c.want)
		}
	}
}

// A value has one spelling. With another one, a client had an instance for itself
// whose parameters are those of others.
func TestAParameterHasOneSpelling(t *testing.T) {
	one, rest := Parse("/c/:id"), Parse("/p/*rest")
	for _, c := range []struct{ part, want string }{
		{"42", "42"}, {"a%20b", "a b"}, {"user:4@x.y;z=(1)!*'$&+~_-", "user:4@x.y;z=(1)!*'$&+~_-"}, {"größe", "größe"}, {"100%25", "100%"}, {"%252F", "%2F"}, {"%2C", ","},
		{"...", "..."}, {"%3Ca%3E", "<a>"},
		{"4%32", ""}, {"%34%32", ""}, {"a b", ""}, {"a%3ab", ""}, {"a%3Ab", ""}, {"%C3%A4", ""}, {"a%2fb", ""}, {"a%2Fb", ""}, {"..%2Fadmin", ""}, {"%5C", ""}, {"\\", ""}, {"%00", ""},
		{"%0A", ""}, {"%FF", ""}, {"\xff", ""}, {"%", ""}, {"%zz", ""}, {"%3c", ""}, {".", ""}, {"..", ""}, {"%2E%2E", ""}, {"x?y", ""},
	} {
		for _, p := range []*Pattern{one, rest} {
			params, ok := p.Match(strings.TrimSuffix(strings.TrimSuffix(p.text, ":id"), "*rest") + c.part)
			if ok != (c.want != "") || ok && params[0].Value != c.want {
				t.Errorf("match of %s and %q = %v, %v, want %q", p.text, c.part, params, ok, c.want)
			}
		}
	}
	for _, name := range []string{"/p/a/../b", "/p/..", "/p/a/./b", "/p/../../x"} {
		if params, ok := rest.Match(name); ok {
			t.Errorf("match of %s = %v, want none", name, params)
		}
	}
}

func TestPrecedenceDoesNotDependOnTheOrderOfRegistration(t *testing.T) {
	want := []string{"/a/b/:c", "/a/:b/c", "/a/:b/:c", "/a/*b", "/:a/b/c", "/:a/b", "/*a"}
	for range 100 {
		var all []*Pattern
		for _, i := range rand.Perm(len(want)) {
			all = append(all, Parse(want[i]))
		}
		slices.SortStableFunc(all, (*Pattern).Compare)
		for _, name := range []string{"/a/b/c", "/a/x/c", "/a/x/y", "/a/x/y/z", "/x/b/c", "/x/b", "/x"} {
			i := slices.IndexFunc(all, func(p *Pattern) bool { _, ok := p.Match(name); return ok })
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
					t.Errorf("Parse(%s) did not panic", text)
				}
			}()
			Parse(text)
		}()
	}
	if p := Parse("/a/b:c/d*"); p != nil {
		t.Errorf("Parse of a literal = %v, want nil", p)
	}
}

func FuzzPatternMatch(f *testing.F) {
	f.Add("/campaigns/42/trends")
	f.Add("/public/%zz/%2f")
	f.Fuzz(func(t *testing.T, name string) {
		for _, text := range []string{"/campaigns/:id/trends", "/public/*rest", "/:a/:b"} {
			params, ok := Parse(text).Match(name)
			for _, p := range params {
				if ok && p.Value == "" {
					t.Errorf("match of %s and %q has an empty %s", text, name, p.Name)
				}
				if again := encode(p.Value); ok && !strings.Contains(name, again) {
					t.Errorf("match of %s and %q has a value that is spelled %q", text, name, again)
				}
			}
		}
	})
}
