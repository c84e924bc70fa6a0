package sio_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sioedge/sioedge/sio"
)

// Arguments that came as text are sent as they came.
func TestParseArgs(t *testing.T) {
	const ph = `{"_placeholder":true,"num":%d}`
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for _, x := range []struct {
		list, want  string // "" is an error
		attachments int
	}{
		{`[]`, `42["e"]`, 0},
		{" [ 1.50 ,\n{\"a\" : 1e3} ] ", `42["e",1.50,{"a" : 1e3}]`, 0},
		{`["\u00e9"]`, `42["e","\u00e9"]`, 0},
		{fmt.Sprintf(`[`+ph+`]`, 3), fmt.Sprintf(`42["e",`+ph+`]`, 3), 0}, // data
		{fmt.Sprintf(`[`+ph+`]`, 1), fmt.Sprintf(`451-["e",`+ph+`] <01>`, 0), 2},
		{fmt.Sprintf(`[`+ph+`,{"x":`+ph+`}]`, 1, 0), fmt.Sprintf(`452-["e",`+ph+`,{"x":`+ph+`}] <01> <00>`, 0, 1), 2},
		{deep(1000), `42["e",` + deep(999) + `]`, 0},
		{deep(1001), "", 0}, {strings.Repeat("[", 1<<20), "", 0},
		{fmt.Sprintf(`[`+ph+`]`, 2), "", 2}, {fmt.Sprintf(`[`+ph+`]`, -1), "", 2},
		{`[` + strings.Repeat(fmt.Sprintf(ph, 0)+`,`, 4) + fmt.Sprintf(ph, 0) + `]`, "", 1},
		{``, "", 0}, {` `, "", 0}, {`{}`, "", 0}, {`null`, "", 0}, {`"e"`, "", 0}, {`[1`, "", 0}, {`[1,]`, "", 0}, {`[1]]`, "", 0}, {`[1] [2]`, "", 0},
		{"[\"\xff\"]", "", 0}, {`[nul]`, "", 0}, {`[01]`, "", 0},
	} {
		var attachments [][]byte
		for i := range x.attachments {
			attachments = append(attachments, []byte{byte(i)})
		}
		args, err := sio.ParseArgs([]byte(x.list), attachments)
		short := x.list[:min(len(x.list), 80)]
		if (err != nil) != (x.want == "") {
			t.Errorf("ParseArgs(%q) = %v", short, err)
		}
		if err != nil || x.want == "" {
			continue
		}
		srv := simulate(t, sio.Options{}, func(srv *sio.Server) { echo(srv.Of("/")) })
		c := srv.join("40")
		if err := srv.Of("/").Emit("e", args); err != nil {
			t.Fatal(err)
		}
		c.expect(strings.Split(x.want, " <")[0])
		for _, bytes := range strings.Split(x.want, " <")[1:] {
			c.expect("<" + bytes)
		}
	}
}

// A room to whose members nobody belongs costs the sender little, whatever is emitted:
// arguments that came as text are copied once, into what is scratch space.
func BenchmarkEmitOfArgs(b *testing.B) {
	for _, size := range []int{16, 1 << 10, 64 << 10} {
		b.Run(fmt.Sprintf("bytes=%d", size), func(b *testing.B) {
			st, _ := emitStage(b, false)
			list := []byte(`[{"text":"` + strings.Repeat("x", size) + `"}]`)
			b.ReportAllocs()
			for b.Loop() {
				args, err := sio.ParseArgs(list, nil)
				if err == nil {
					err = st.ns.To("nobody").Emit("news", args)
				}
				if err != nil {
					b.Fatal(err)
				}
				st.sim.Turn()
			}
		})
	}
}
