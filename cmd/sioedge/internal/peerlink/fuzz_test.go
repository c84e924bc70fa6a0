package peerlink

import (
	"encoding/json"
	"testing"

	"github.com/sioedge/sioedge/rooms/value"
)

// Another server may send anything as arguments of an event. What a handler gets is a name
// and JSON, each of a bounded size, and all else is counted.
func FuzzArguments(f *testing.F) {
	all := join(f, 2)
	type said struct {
		from string
		body json.RawMessage
	}
	heard, fenced := make(chan said, 1), make(chan bool, 1)
	all[1].Handle("x", func(from string, body json.RawMessage) (any, error) {
		heard <- said{from, body}
		return nil, nil
	})
	all[1].Handle("fence", func(string, json.RawMessage) (any, error) { fenced <- true; return nil, nil })
	for _, args := range []string{`1,"n",{}`, `2,"n",{}`, `1,"",{}`, `1,"a b",7`, `"1","n",[]`, `1,"n"`, `1,"n",{},1`, ``, `null,null,null`, `1.5,"n",1`, `1,"\u0000",1`} {
		f.Add([]byte("[" + args + "]"))
	}
	f.Fuzz(func(t *testing.T, list []byte) {
		if len(list) == 0 || list[0] != '[' || !json.Valid(list) || len(list) > MaxBytes {
			return
		}
		var args []any
		value.EachElement(list, func(_ int, v []byte) bool {
			args = append(args, json.RawMessage(v))
			return len(args) < 10
		})
		before := all[1].Stats()
		if all[0].ns.ServerSideEmit("x", args...) != nil {
			return
		}
		if err := all[0].Emit("fence", nil); err != nil {
			t.Fatal(err)
		}
		<-fenced
		select {
		case x := <-heard:
			if !isName(x.from) || len(x.from) > maxNode || x.from == all[1].Node() || !json.Valid(x.body) || len(args) != 3 {
				t.Errorf("%s is heard as %q of %q", list, x.body, x.from)
			}
		default:
			if now := all[1].Stats(); now == before && !(len(args) == 3 && string(args[1].(json.RawMessage)) == `"`+all[1].Node()+`"`) {
				t.Errorf("%s is neither heard nor counted", list)
			}
		}
	})
}
