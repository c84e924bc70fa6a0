package value

import (
	"encoding/json"
	"strings"
	"testing"
)

// What a client sent as data that looks like a placeholder is data for those it
// is relayed to, too, beside bytes of the server's own: they find the server's
// bytes where they are, and no attachment that is not there.
func TestForeignPlaceholdersAreData(t *testing.T) {
	bytes := []byte{1, 2, 3}
	var decoded any
	if err := json.Unmarshal([]byte(`{"_placeholder":true,"num":0}`), &decoded); err != nil {
		t.Fatal(err)
	}
	raw := func(s string) json.RawMessage { return json.RawMessage(s) }
	for _, c := range []struct {
		args []any
		want string
	}{
		{[]any{raw(`{"_placeholder":true,"num":9}`), bytes}, `[{"_placeholder":null,"num":9},#]`},
		{[]any{raw(`{"_placeholder":true,"num":0}`), bytes}, `[{"_placeholder":null,"num":0},#]`},
		{[]any{bytes, raw(`[{"a":{"num":0, "_placeholder" : true}}]`)}, `[#,[{"a":{"num":0, "_placeholder" : null}}]]`},
		{[]any{raw(`{"\u005fplaceholder":true,"num":7}`), bytes}, `[{"\u005fplaceholder":null,"num":7},#]`},
		{[]any{raw(`{"_placeholder":true,"_placeholder":1,"num":7}`), bytes}, `[{"_placeholder":null,"_placeholder":1,"num":7},#]`},
		{[]any{raw(`{"_placeholder":"true","num":7}`), bytes}, `[{"_placeholder":"true","num":7},#]`},
		{[]any{raw(`"{\"_placeholder\":true}"`), bytes}, `["{\"_placeholder\":true}",#]`},
		{[]any{map[string]any{"x": decoded, "y": bytes}}, `[{"x":{"_placeholder":null,"num":0},"y":#}]`},
		{[]any{[]map[string]any{{"_placeholder": true, "num": 3, "z": bytes}}}, `[[{"_placeholder":null,"num":3,"z":#}]]`},
		{[]any{raw(`{"_placeholder":true,"num":9}`)}, `[{"_placeholder":true,"num":9}]`}, // no attachments: data like any other
	} {
		want := strings.Replace(c.want, "#", `{"_placeholder":true,"num":0}`, 1)
		for _, before := range []string{"", "12345"} { // the payload is appended
			got, attachments, err := AppendArgs([]byte(before), c.args, 0)
			if err != nil || string(got) != before+want {
				t.Errorf("AppendArgs(%q, %v) = %s, %v, want %s", before, c.args, got, err, before+want)
			}
			if len(attachments) == 0 {
				continue
			}
			// A receiver finds one attachment, once.
			if err := CheckPlaceholders(got[len(before):], 1, MaxDepth); err != nil {
				t.Errorf("CheckPlaceholders(%s) = %v, want what clients take", got, err)
			}
		}
	}
}
