package value

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func TestEachMember(t *testing.T) {
	for text, want := range map[string]string{
		`{}`: "", ` { } `: "", `[1]`: "", `1`: "", ``: "",
		` {"a" : 1 , "b\u0062":[2, {"c":3}],"":{} } `: `"a"=1 "b\u0062"=[2, {"c":3}] ""={}`,
	} {
		var got []string
		EachMember([]byte(text), func(name, value []byte) bool {
			got = append(got, fmt.Sprintf("%s=%s", name, value))
			return true
		})
		if s := strings.Join(got, " "); s != want {
			t.Errorf("members of %s: %s, want %s", text, s, want)
		}
	}
	n := 0
	EachMember([]byte(`{"a":1,"b":2}`), func(_, _ []byte) bool { n++; return false })
	if n != 1 {
		t.Errorf("f was called %d times, and wanted no more than one", n)
	}
}

func TestEachElement(t *testing.T) {
	for text, want := range map[string]string{
		`[]`: "", ` [ ] `: "", `{"a":1}`: "", `null`: "", ``: "",
		` [1 , "x",[2,3] ] `: `0=1 1="x" 2=[2,3]`,
	} {
		var got []string
		EachElement([]byte(text), func(n int, value []byte) bool {
			got = append(got, fmt.Sprintf("%d=%s", n, value))
			return true
		})
		if s := strings.Join(got, " "); s != want {
			t.Errorf("elements of %s: %s, want %s", text, s, want)
		}
	}
	n := 0
	EachElement([]byte(`[1,2]`), func(int, []byte) bool { n++; return false })
	if n != 1 {
		t.Errorf("f was called %d times, and wanted no more than one", n)
	}
}

// Says is what encoding/json says, however a text is escaped.
func TestSays(t *testing.T) {
	texts := []string{"", "a", "kid", "é", "漢", "😀", "\ufffd", "a\"b", "a\\b", "a/b", "\n", strings.Repeat("x", 100)}
	for _, quoted := range []string{
		`""`, `"a"`, `"\u0061"`, `"kid"`, `"\u006bid"`, `"é"`, `"\u00e9"`, `"\u6f22"`, `"😀"`, `"\ud83d\ude00"`, `"\ud83d"`, `"\udc00\ud800"`,
		`"a\"b"`, `"a\\b"`, `"a\/b"`, `"\n"`, `"\u000a"`, `"` + strings.Repeat(`\u0078`, 100) + `"`, `"` + strings.Repeat(`\u0078`, 101) + `"`,
	} {
		var said string
		if err := json.Unmarshal([]byte(quoted), &said); err != nil {
			t.Fatal(err)
		}
		for _, text := range texts {
			if got := Says([]byte(quoted), text); got != (said == text) {
				t.Errorf("Says(%s, %q) = %v", quoted, text, got)
			}
		}
	}
	if n := testing.AllocsPerRun(100, func() { Says([]byte(`"\u006bid"`), "kid") }); n > 0 {
		t.Errorf("Says allocates %v times", n)
	}
}
