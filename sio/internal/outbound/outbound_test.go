package outbound

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/sioedge/sioedge/loop/class"
)

func TestKindsDifferByAllThatNamesThem(t *testing.T) {
	long := strings.Repeat("k", 10_000)
	seen := map[string][4]string{}
	for _, x := range [][3]string{
		{"/", "price", "A"}, {"/", "price", "B"}, {"/", "priceA", ""}, {"/", "pric", "eA"}, {"/a", "price", "A"},
		{"/", "1:x", "A"}, {"/", "", ""}, {"/", "price", long}, {"/", "price", long + "A"}, {"/", long, ""},
	} {
		k := Kind(class.Conflate, x[0], x[1], x[2], true, nil)
		if other, ok := seen[k.Key]; ok {
			t.Errorf("%.20q and %.20q have one key", x, other)
		}
		seen[k.Key] = [4]string{x[0], x[1], x[2]}
		if len(k.Key) > maxKey {
			t.Errorf("%.20q: the key is %d bytes", x, len(k.Key))
		}
		rest := "frames"
		got, b := CutHead(append(AppendHead(nil, k), rest...), 5)
		if got.Policy != k.Policy || got.Key != k.Key || !got.Ordered || got.Owner != 5 || string(b) != rest {
			t.Errorf("%+v comes back as %+v and %q", k, got, b)
		}
	}
}

func TestEventIsTheNameInTheArray(t *testing.T) {
	for _, name := range []string{"price", "", "a\"b", "\\", "ü\n", "</x>"} {
		b, err := json.Marshal([]any{name, 1, "x"})
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := Event(b); !ok || got != name {
			t.Errorf("Event(%s) = %q, %v", b, got, ok)
		}
	}
	for _, bad := range []string{"", "[", `["`, `["x`, `[1,"x"]`, `{"a":1}`, `["\`, `["\q"]`} {
		if got, ok := Event([]byte(bad)); ok {
			t.Errorf("Event(%s) = %q", bad, got)
		}
	}
}
