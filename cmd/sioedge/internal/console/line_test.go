package console

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// shownArgs is arguments with their kinds.
func shownArgs(args []any) string {
	var all []string
	for _, a := range args {
		switch a := a.(type) {
		case json.RawMessage:
			all = append(all, "json:"+string(a))
		case string:
			all = append(all, "text:"+a)
		case []byte:
			all = append(all, fmt.Sprintf("bytes:%x", a))
		}
	}
	return strings.Join(all, "|")
}

func TestParseArgs(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a b")
	if err := os.WriteFile(path, []byte{0, 255}, 0o600); err != nil {
		t.Fatal(err)
	}
	plain := filepath.Join(dir, "ab")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ line, want, err string }{
		{"", "", ""},
		{`hello 1 -2.50 true null {"a": [1, "}"]} [ 1 ] "two words"`, `text:hello|json:1|json:-2.50|json:true|json:null|json:{"a": [1, "}"]}|json:[ 1 ]|json:"two words"`, ""},
		{"\t  a\tb ", "text:a|text:b", ""},
		{`01 1e truex -x nan Infinity`, `text:01|text:1e|text:truex|text:-x|text:nan|text:Infinity`, ""},
		{`'it is "so"' ''`, `text:it is "so"|text:`, ""},
		{"€ a,b", "text:€|text:a,b", ""},
		{`@"` + path + `"`, "bytes:00ff", ""},
		{"@" + plain, "bytes:", ""},
		{`{"a":1`, "", "does not end"},
		{`{"a":1}}`, "", "a space is missing"},
		{`{a:1}`, "", "not JSON"},
		{`"a"b`, "", "a space is missing"},
		{"'a", "", "is not closed"},
		{"@", "", "for a file's bytes"},
		{"@/nonexistent/x", "", "no such file"},
		{`@"x`, "", "does not end"},
		{strings.Repeat("[", 200) + strings.Repeat("]", 200), "", "nested too deep"},
	} {
		args, err := parseArgs(c.line)
		if got := shownArgs(args); got != c.want && c.err == "" || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("parseArgs(%s) = %s, %v, want %s, %s", c.line, got, err, c.want, c.err)
		}
	}
}

// FuzzParseArgs: what is read is what was meant, and JSON stays as it is.
func FuzzParseArgs(f *testing.F) {
	f.Add(`a 1 {"b":[true]} 'c d' "e"`)
	f.Add(`'`)
	f.Fuzz(func(t *testing.T, line string) {
		if strings.Contains(line, "@") {
			return // files
		}
		args, err := parseArgs(line)
		if err != nil {
			return
		}
		var again []byte
		for _, a := range args {
			switch a := a.(type) {
			case json.RawMessage:
				if !bytes.Contains([]byte(line), a) {
					t.Fatalf("%s is not in %q", a, line)
				}
				again = append(append(again, a...), ' ')
			case string:
				if strings.Contains(a, "'") {
					return // cannot be quoted
				}
				again = append(append(append(again, '\''), a...), "' "...)
			}
		}
		args2, err := parseArgs(string(again))
		if err != nil || shownArgs(args) != shownArgs(args2) {
			t.Fatalf("%q is %s, then %s, %v", line, shownArgs(args), shownArgs(args2), err)
		}
	})
}

func TestAuthFlags(t *testing.T) {
	for _, c := range []struct {
		flags []string
		want  string
		err   string
	}{
		{nil, "", ""},
		{[]string{"token=a=b", "n:=1"}, `{"n":1,"token":"a=b"}`, ""},
		{[]string{`{"token":"x","more":[1]}`, "token=y"}, `{"more":[1],"token":"y"}`, ""},
		{[]string{"empty="}, `{"empty":""}`, ""},
		{[]string{"SECRET"}, "", "neither"},
		{[]string{"a:=SECRET"}, "", "is not JSON"},
		{[]string{`{"SECRET"`}, "", "not a JSON object"},
		{[]string{"=x"}, "", "neither"},
	} {
		got, err := AuthFlags(c.flags)
		if string(got) != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("AuthFlags(%q) = %s, %v, want %s, %s", c.flags, got, err, c.want, c.err)
		}
		if err != nil && strings.Contains(err.Error(), "SECRET") {
			t.Errorf("AuthFlags tells %v", err)
		}
	}
}
