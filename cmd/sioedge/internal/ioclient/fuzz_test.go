package ioclient

import (
	"bytes"
	"errors"
	"testing"
)

// FuzzPayload: what a payload is made of comes out of it, and any payload ends with
// packets or an error.
func FuzzPayload(f *testing.F) {
	f.Add([]byte("4hello\x1eb/w==\x1e2"), []byte{1, 2})
	f.Add([]byte("b"), []byte{})
	f.Fuzz(func(t *testing.T, payload, data []byte) {
		err := eachPacket(payload, func(packet) error { return nil })
		var end *endError
		if err != nil && (!errors.As(err, &end) || end.reason != reasonParse) {
			t.Fatalf("eachPacket(%q) = %v", payload, err)
		}
		want := []packet{{data: []byte("4a")}, {data, true}, {data: bytes.ReplaceAll(append([]byte("4"), data...), []byte{separator}, nil)}}
		var b []byte
		for _, k := range want {
			b = appendPacket(b, k)
		}
		i := 0
		err = eachPacket(b, func(k packet) error {
			if !bytes.Equal(k.data, want[i].data) || k.binary != want[i].binary {
				t.Errorf("packet %d of %q is %q", i, b, k.data)
			}
			i++
			return nil
		})
		if err != nil || i != len(want) {
			t.Errorf("eachPacket(%q) = %v, %d packets", b, err, i)
		}
	})
}

// FuzzServer: whatever a server says, the client tells of it or ends the session with a
// parse error.
func FuzzServer(f *testing.F) {
	for _, s := range []string{`40{"sid":"a","pid":"p"}`, `42["a",1]`, `421["a"]`, "41", `44{"message":"m"}`, `431[]`, `451-["a",{"_placeholder":true,"num":0}]`, "2", "1", "6"} {
		f.Add([]byte(s), []byte("b"), []byte(`42["b","x"]`))
	}
	target, err := ParseTarget("http://h/")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, one, two, three []byte) {
		o := Options{Target: target, Notify: func(n Notice) {
			if n.Kind == "" || n.Namespace != "/" {
				t.Errorf("told %+v", n)
			}
		}}
		c, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		s := newSession(c.ctx, &c.o)
		c.session = s
		for _, k := range []packet{{data: one}, {two, true}, {data: three}} {
			err := s.packet(k, c.take)
			var end *endError
			if err != nil && (!errors.As(err, &end) || end.reason == "") {
				t.Fatalf("%q: %v", k.data, err)
			}
			if err != nil {
				return
			}
		}
		if sp := c.spaces["/"]; len(sp.offset) > maxID || len(sp.sid) > maxID || len(sp.pid) > maxID {
			t.Error("an id is kept that is too long")
		}
	})
}
