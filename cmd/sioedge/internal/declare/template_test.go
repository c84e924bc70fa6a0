package declare

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sioedge/sioedge/rooms/value"
)

// claimsOf are claims for tests.
type claimsOf map[string]string

func (c claimsOf) Claim(path string) (string, bool) {
	text, ok := c[path]
	return text, ok
}

const everything = mayUser | mayArgs | isRoom

func mustTemplate(t testing.TB, text string, may allowed, params ...string) *template {
	t.Helper()
	x, err := parseTemplate(text, params, may)
	if err != nil {
		t.Fatalf("template %s: %v", text, err)
	}
	return x
}

// expansion is what a template makes of the arguments of an event, or why not.
func expansion(t *template, args ...string) string {
	v := values{names: []string{"id"}, params: []string{"42"}, user: "ann", claims: claimsOf{"org.id": "acme", "bad": "a:b"}}
	for _, a := range args {
		v.args = append(v.args, []byte(a))
	}
	name, err := t.expand(nil, &v)
	if err != nil {
		return "! " + err.Error()
	}
	return string(name)
}

func TestTemplates(t *testing.T) {
	for _, c := range []struct{ template, want string }{
		{"lobby", "lobby"},
		{"campaign:{id}", "campaign:42"},
		{"user:{user}", "user:ann"},
		{"{user}", "ann"},
		{"org:{claims.org.id}/{id}:x", "org:acme/42:x"},
		{"t:{args.0}", "t:EUR"},
		{"t:{args.1.room.name}", "t:a b"},
		{"t:{args.1.list.1}", "t:2"},
		{"t:{args.1.list.2.x}", "t:true"},
		{"t:{args.1.1}", "t:one"},
		{"t:{claims.none}", "! " + string(noUser)},
		{"t:{claims.bad}", "! " + string(badChar)},
		{"{claims.bad}", "a:b"},
		{"t:{args.2}", "! " + string(noValue)},
		{"größe:{id}", "größe:42"},
	} {
		args := []string{`"EUR"`, ` { "room" : { "name" : "a b" } , "list" : [ 1 , 2 , { "x" : true } ] , "1" : "one" } `[1:]}
		if got := expansion(mustTemplate(t, c.template, everything, "id"), args...); got != c.want {
			t.Errorf("%s = %q, want %q", c.template, got, c.want)
		}
	}
}

// What clients may try as an argument, beside text (t:{args.0}) and alone ({args.0}).
// Empty stands for "refused".
var hostile = []struct {
	json          string
	beside, alone string
}{
	{`"a"`, "a", "a"},
	{`"a b"`, "a b", "a b"},
	{`"größe"`, "größe", "größe"},
	{`"日本"`, "日本", "日本"},
	{`"a.b"`, "a.b", "a.b"},
	{`"{user}"`, "{user}", "{user}"},
	{`"{args.1}"`, "{args.1}", "{args.1}"},
	{`"a#b"`, "a#b", "a#b"},
	{`"a,b"`, "a,b", "a,b"},
	{`"a\\b"`, `a\b`, `a\b`},
	{`"a\"b"`, `a"b`, `a"b`},
	{`"%3A"`, "%3A", "%3A"},
	{`"__proto__"`, "__proto__", "__proto__"},
	// Separators and wildcards.
	{`":"`, "", ":"},
	{`"a:b"`, "", "a:b"},
	{`"42:x"`, "", "42:x"},
	{`"a\u003ab"`, "", "a:b"},
	{`"a\u003Ab"`, "", "a:b"},
	{`"/"`, "", "/"},
	{`"../x"`, "", "../x"},
	{`"a\/b"`, "", "a/b"},
	{`"a\u002fb"`, "", "a/b"},
	{`"*"`, "", ""},
	{`"a*"`, "", ""},
	{`"\u002a"`, "", ""},
	{`"user:*"`, "", ""},
	// What cannot be seen.
	{`""`, "", ""},
	{`"\u0000"`, "", ""},
	{`"a\u0000b"`, "", ""},
	{`"a\nb"`, "", ""},
	{`"a\tb"`, "", ""},
	{`"a\u001bb"`, "", ""},
	{`"a\u007fb"`, "", ""},
	{"\"a\u007fb\"", "", ""},
	{"\"a\u0085b\"", "", ""},
	{`"a\u0085b"`, "", ""},
	{"\"a\u00a0b\"", "", ""},
	{"\"a\u00adb\"", "", ""},
	{"\"a\u200bb\"", "", ""},
	{`"a\u200db"`, "", ""},
	{"\"a\u202eb\"", "", ""},
	{`"a\u202eb"`, "", ""},
	{"\"a\u2066b\"", "", ""},
	{"\"a\u2028b\"", "", ""},
	{`"a\u2029b"`, "", ""},
	{"\"\ufeffa\"", "", ""},
	{"\"a\ufe0f\"", "", ""},
	{"\"a\u3164b\"", "", ""},
	{"\"a\U000e0041b\"", "", ""},
	// Surrogates, and what is no text.
	{`"\ud83d\ude00"`, "😀", "😀"},
	{`"\ud800"`, "", ""},
	{`"a\ude00"`, "", ""},
	{`"\ud83d\u0041"`, "", ""},
	{"\"\ufffd\"", "", ""},
	{"\"a\xff\"", "", ""},
	{"\"\xc0\xba\"", "", ""}, // a colon, too long
	{"\"\xed\xa0\x80\"", "", ""},
	// Length.
	{`"` + strings.Repeat("a", 256) + `"`, strings.Repeat("a", 256), strings.Repeat("a", 256)},
	{`"` + strings.Repeat("a", 257) + `"`, "", ""},
	{`"` + strings.Repeat(`\u0061`, 256) + `"`, strings.Repeat("a", 256), strings.Repeat("a", 256)},
	{`"` + strings.Repeat(`\u0061`, 257) + `"`, "", ""},
	{`"` + strings.Repeat("ä", 129) + `"`, "", ""},
	{`"` + strings.Repeat("a", 1<<16) + `"`, "", ""},
	// Ids of sockets.
	{`"Zk3_abcDEF-123456AAB"`, "Zk3_abcDEF-123456AAB", ""},
	{`"/#Zk3_abcDEF-123456AAB"`, "", ""},
	{`"/chat#Zk3_abcDEF-123456AAB"`, "", ""},
	{`"chat#Zk3_abcDEF-123456AAB"`, "", ""},
	{`"Zk3_abcDEF-123456AA"`, "Zk3_abcDEF-123456AA", "Zk3_abcDEF-123456AA"},
	{`"Zk3_abcDEF-123456AAB1"`, "Zk3_abcDEF-123456AAB1", "Zk3_abcDEF-123456AAB1"},
	{`"\u005ak3_abcDEF-123456AAB"`, "Zk3_abcDEF-123456AAB", ""},
	// Numbers.
	{`0`, "0", "0"},
	{`-1`, "-1", "-1"},
	{`42`, "42", "42"},
	{`0.5`, "0.5", "0.5"},
	{`999999999999999`, "999999999999999", "999999999999999"},
	{`1e400`, "", ""},
	{`1E5`, "", ""},
	{`1e-5`, "", ""},
	{`-0`, "", ""},
	{`1.0`, "", ""},
	{`0.10`, "", ""},
	{`-0.0`, "", ""},
	{`9007199254740993`, "", ""},
	{`0.0000001`, "", ""},
	{`0.000001`, "0.000001", "0.000001"},
	{`0.1234567890123456`, "", ""},
	{`1` + strings.Repeat("0", 5000), "", ""},
	// Other kinds.
	{`true`, "true", "true"},
	{`false`, "false", "false"},
	{`null`, "", ""},
	{`{}`, "", ""},
	{`{"a":1}`, "", ""},
	{`{"_placeholder":true,"num":0}`, "", ""},
	{`[]`, "", ""},
	{`["a"]`, "", ""},
	{`[[[[1]]]]`, "", ""},
}

func TestNoValueChangesWhatStandsAroundIt(t *testing.T) {
	if len(hostile) < 60 {
		t.Fatalf("%d rows", len(hostile))
	}
	beside, alone := mustTemplate(t, "t:{args.0}", everything), mustTemplate(t, "{args.0}", everything)
	for _, c := range hostile {
		for _, x := range []struct {
			*template
			before, want string
		}{{beside, "t:", c.beside}, {alone, "", c.alone}} {
			got := expansion(x.template, c.json)
			if x.want == "" && !strings.HasPrefix(got, "! ") || x.want != "" && got != x.before+x.want {
				t.Errorf("%s of %.60s = %.60q, want %.60q", x.text, c.json, got, x.want)
			}
		}
	}
}

func TestPathsIntoArguments(t *testing.T) {
	for _, c := range []struct{ path, json, want string }{
		{"{args.0.room}", `{"room":"a"}`, "a"},
		{"{args.0.room}", `{"x":{"room":"b"},"room":"a","y":[1,{"room":"c"}]}`, "a"},
		{"{args.0.room}", `{"ro\u006fm":"a"}`, "a"},
		{"{args.0.room}", `{"room":"a","room":"b"}`, "! " + string(twice)},
		{"{args.0.room}", `{"room":"a","\u0072oom":"b"}`, "! " + string(twice)},
		{"{args.0.room}", `{"room":"a","room":null}`, "! " + string(twice)},
		{"{args.0.a.b}", `{"a":{"b":"1"},"a":{"b":"2"}}`, "! " + string(twice)},
		{"{args.0.room}", `{"x":1,"x":2,"room":"a"}`, "a"},
		{"{args.0.room}", `{"Room":"a"}`, "! " + string(noValue)},
		{"{args.0.room}", `{"room ":"a"}`, "! " + string(noValue)},
		{"{args.0.room}", `{"roo\ud800":"a"}`, "! " + string(noValue)},
		{"{args.0.room}", `{"` + strings.Repeat(`\u0072`, 1000) + `":"a"}`, "! " + string(noValue)},
		{"{args.0.room}", `"room"`, "! " + string(noValue)},
		{"{args.0.room}", `["room"]`, "! " + string(noValue)},
		{"{args.0.room}", `null`, "! " + string(noValue)},
		{"{args.0.room}", `{"room":null}`, "! " + string(wrongKind)},
		{"{args.0.room}", `{}`, "! " + string(noValue)},
		{"{args.0.0}", `[]`, "! " + string(noValue)},
		{"{args.0.0}", `["a","b"]`, "a"},
		{"{args.0.1}", `["a","b"]`, "b"},
		{"{args.0.2}", `["a","b"]`, "! " + string(noValue)},
		{"{args.0.01}", `["a","b"]`, "b"},
		{"{args.0.99999999999999999999999}", `["a"]`, "! " + string(noValue)},
		{"{args.0.-1}", `["a"]`, "! " + string(noValue)},
		{"{args.0.length}", `["a"]`, "! " + string(noValue)},
		{"{args.0.1}", `{"1":"a"}`, "a"},
		{"{args.0.a.b.c.d.e.f.g.h}", `{"a":{"b":{"c":{"d":{"e":{"f":{"g":{"h":"deep"}}}}}}}}`, "deep"},
		{"{args.0.x}", strings.Repeat(`{"y":`, 5000) + "1" + strings.Repeat("}", 5000), "! " + string(noValue)},
		{"{args.0.x}", `{"y":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `,"x":"a"}`, "a"},
	} {
		if got := expansion(mustTemplate(t, c.path, everything), c.json); got != c.want {
			t.Errorf("%s of %.60s = %q, want %q", c.path, c.json, got, c.want)
		}
	}
	if got := expansion(mustTemplate(t, "{args.1}", everything)); got != "! "+string(noValue) {
		t.Errorf("an argument that is not there = %q", got)
	}
}

func TestTemplatesThatCannotBe(t *testing.T) {
	for _, c := range []struct {
		template string
		may      allowed
		want     string
	}{
		{"", everything, "is empty"},
		{strings.Repeat("a", 257), everything, "more than 256"},
		{"a{", everything, "brace"},
		{"a}", everything, "brace"},
		{"{{id}}", everything, "brace"},
		{"{id", everything, "brace"},
		{"{}", everything, "no parameter"},
		{"{Id}", everything, "no parameter"},
		{"{args}", everything, "no parameter"},
		{"{args.x}", everything, "number of an argument"},
		{"{args.00}", everything, "number of an argument"},
		{"{args.256}", everything, "number of an argument"},
		{"{args.0.}", everything, "letters"},
		{"{args.0.a b}", everything, "letters"},
		{"{args.0.ä}", everything, "letters"},
		{"{args.0.1.2.3.4.5.6.7.8.9}", everything, "deep"},
		{"{claims}", everything, "no parameter"},
		{"{claims.}", everything, "letters"},
		{"{claims.a..b}", everything, "letters"},
		{"{user.name}", everything, "no parameter"},
		{"{user}", mayArgs, "auth is none"},
		{"{claims.x}", mayArgs, "auth is none"},
		{"x:{args.0}", mayUser, "no arguments"},
		{"x:*", everything, "allow alone"},
		{"{id}{user}", everything, "between them"},
		{"{id}-{user}", everything, "between them"},
		{"a:{id}b{user}", everything, "between them"},
		{"a\x00b", everything, "control"},
		{"a\nb", everything, "control"},
		{"a\u202eb", everything, "control"},
		{"a\xff", everything, "control"},
		{"general-announcement", everything, "id of a socket"},
		{"x#general-announcement", everything, "id of a socket"},
	} {
		_, err := parseTemplate(c.template, []string{"id"}, c.may)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("template %q: %v, want %q", c.template, err, c.want)
		}
	}
	for text, may := range map[string]allowed{
		"administrator-access": mayUser, "{id}{args.0}": everything | isKey, "{id}/{user}": everything, "{id}:*:{user}*": everything | mayAny,
	} {
		if _, err := parseTemplate(text, []string{"id"}, may); err != nil {
			t.Errorf("template %q: %v", text, err)
		}
	}
}

func TestALongNameIsRefused(t *testing.T) {
	x := mustTemplate(t, "{args.0}:{args.1}:{args.2}:{args.3}:x", everything)
	long := strconv.Quote(strings.Repeat("a", 256))
	if got := expansion(x, long, long, long, `"a"`); len(got) != 3*256+6 {
		t.Errorf("a name of %d bytes = %q", 3*256+6, got)
	}
	if got := expansion(x, long, long, long, long); got != "! "+string(longName) {
		t.Errorf("a name of more than 1 KiB = %.40q", got)
	}
}

func TestExpandingAllocatesNothing(t *testing.T) {
	x := mustTemplate(t, "c:{id}:{user}:{claims.org}:{args.0.room}", everything, "id")
	v := values{names: []string{"id"}, params: []string{"42"}, user: "ann", claims: claimsOf{"org": "acme"},
		args: [][]byte{[]byte(`{"list":[1,2,{"room":2}],"ro\u006fm":"l\u006fbby"}`)}}
	p, err := parsePattern("c:*:{claims.org}:*", nil, mayUser)
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 0, 256)
	var got []byte
	if n := testing.AllocsPerRun(100, func() {
		got, _ = x.expand(buf, &v)
		if !p.match(got, &v) {
			t.Error("no match")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if string(got) != "c:42:ann:acme:lobby" {
		t.Errorf("got %s", got)
	}
}

// A number that passes is written by JavaScript as it is, so no other is.
func TestNumbersHaveOneSpelling(t *testing.T) {
	for _, c := range hostile {
		if !regexp.MustCompile(`^-?[0-9]`).MatchString(c.json) || c.beside == "" {
			continue
		}
		var f float64
		if err := json.Unmarshal([]byte(c.json), &f); err != nil || strconv.FormatFloat(f, 'f', -1, 64) != c.beside {
			t.Errorf("%s is written %s", c.json, strconv.FormatFloat(f, 'f', -1, 64))
		}
	}
}

// Whatever clients send, a name has the parts that its template has; and what is
// taken is what other programs find at that place.
func FuzzTemplates(f *testing.F) {
	for _, c := range hostile {
		f.Add([]byte(c.json), "42", "ann")
		f.Add([]byte(`{"x":`+c.json+`}`), "a:b", "*")
	}
	f.Fuzz(func(t *testing.T, raw []byte, param, user string) {
		if value.Skip(raw, 0, 100) != len(raw) {
			return // the parser has refused it
		}
		v := values{names: []string{"id"}, params: []string{param}, user: user, claims: claimsOf{"c": user}, args: [][]byte{raw}}
		for _, text := range []string{"a:{args.0}:b", "a:{args.0.x}", "{id}:{args.0.0}:{user}", "{args.0.x.0}/{claims.c}", "{args.0}", "{user}"} {
			x := mustTemplate(t, text, everything, "id")
			name, err := x.expand(nil, &v)
			if err != nil {
				continue
			}
			checkExpansion(t, x, name, &v)
		}
	})
}

func checkExpansion(t *testing.T, x *template, name []byte, v *values) {
	t.Helper()
	for _, sep := range []string{":", "/"} {
		if got, want := bytes.Count(name, []byte(sep)), strings.Count(x.text, sep); got != want && !x.alone {
			t.Errorf("%s of %q has %d %s: %q", x.text, v.args, got, sep, name)
		}
	}
	switch {
	case !utf8.Valid(name), bytes.ContainsAny(name, "*\x00\r\n\x7f"), len(name) == 0, len(name) > maxName, isSocketID(name):
		t.Errorf("%s of %q = %q", x.text, v.args, name)
	}
	given, ok := x.parse(string(name))
	again, err := x.expand(nil, &values{names: v.names, params: v.params, user: v.user, claims: v.claims, given: given})
	if !ok || err != nil || !bytes.Equal(again, name) {
		t.Errorf("%q is read by %s as %v, %v, which makes %q, %v", name, x.text, given, ok, again, err)
	}
	if x.text != "a:{args.0.x}" {
		return
	}
	var o map[string]any
	if err := json.Unmarshal(v.args[0], &o); err != nil {
		t.Fatalf("%s: %v", v.args[0], err)
	}
	if want := fmt.Sprint(o["x"]); string(name[2:]) != want {
		if _, number := o["x"].(float64); !number || strconv.FormatFloat(o["x"].(float64), 'f', -1, 64) != string(name[2:]) {
			t.Errorf("%s of %s = %s, want %s", x.text, v.args[0], name, want)
		}
	}
}

// slowMatch is matches by trying everything.
func slowMatch(pattern, name []byte) bool {
	if len(pattern) == 0 {
		return len(name) == 0
	}
	if pattern[0] == anyText {
		for i := range len(name) + 1 {
			if slowMatch(pattern[1:], name[i:]) {
				return true
			}
		}
		return false
	}
	return len(name) > 0 && name[0] == pattern[0] && slowMatch(pattern[1:], name[1:])
}

func TestPatternsMatch(t *testing.T) {
	v := &values{names: []string{"id"}, params: []string{"42"}, user: "ann"}
	for _, c := range []struct {
		pattern string
		is, not string
	}{
		{"trend:{id}:*", "trend:42: trend:42:a trend:42:a:b", "trend:42 trend:4:2:a trend:43:a xtrend:42:a"},
		{"public:*", "public: public:x", "public xpublic:"},
		{"*", "a a:b", ""},
		{"*:log", "a:log :log a:b:log", "log a:logs"},
		{"a*b*c", "abc aXbYc abbcc abcabc", "ab ac acb abcd"},
		{"**", "a", ""},
		{"a", "a", "b aa"},
		{"{user}", "ann", "bob ann:x"},
		{"aa*aa", "aaaa aaxaa", "aaa"},
	} {
		p, err := parsePattern(c.pattern, []string{"id"}, mayUser)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range strings.Fields(c.is) {
			if !p.match([]byte(name), v) {
				t.Errorf("%s does not match %s", c.pattern, name)
			}
		}
		for _, name := range strings.Fields(c.not) {
			if p.match([]byte(name), v) {
				t.Errorf("%s matches %s", c.pattern, name)
			}
		}
	}
	for _, user := range []string{"*", "a*", "", "a:b", "\x00"} {
		p, _ := parsePattern("user:{user}:*", nil, mayUser)
		for _, name := range []string{"user:ann:x", "user:::", "user:a:b:x", "user:*:x", "user:\x00:x"} {
			if p.match([]byte(name), &values{user: user}) {
				t.Errorf("with the user %q, user:{user}:* matches %q", user, name)
			}
		}
	}
}

// A matcher that goes back would not return in this life.
func TestPatternsDoNotGoBack(t *testing.T) {
	p := bytes.Repeat([]byte("\x00a"), 120)
	if matches(append(p, 'b'), bytes.Repeat([]byte("a"), maxName)) {
		t.Error("matches")
	}
	if !matches(p, bytes.Repeat([]byte("a"), maxName)) {
		t.Error("does not match")
	}
}

func FuzzPatterns(f *testing.F) {
	for _, p := range []string{"*", "a*b", "*a*", "a*ab*b", "**", ""} {
		f.Add([]byte(p), []byte("aabab"))
	}
	f.Fuzz(func(t *testing.T, pattern, name []byte) {
		if len(pattern) > 12 || len(name) > 24 {
			return
		}
		pattern = bytes.ReplaceAll(pattern, []byte("*"), []byte{anyText})
		name = slices.DeleteFunc(slices.Clone(name), func(c byte) bool { return c == anyText })
		if got, want := matches(pattern, name), slowMatch(pattern, name); got != want {
			t.Errorf("%q matches %q: %v, want %v", pattern, name, got, want)
		}
	})
}
