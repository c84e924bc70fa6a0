package wire

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
)

// seeds adds a few messages, in JSON and in MessagePack.
func seeds(f *testing.F, msgs ...string) {
	for _, s := range msgs {
		f.Add(pack(f, s))
		f.Add([]byte(s))
	}
	f.Add([]byte(`["u",{"type":2,"data":["e\ud800\n"]},{"rooms":[1e400,-0,4.20e1]}]`))
	f.Add([]byte("\x81\xa4type\xcb\x40\x08\x00\x00\x00\x00\x00\x00"))
}

// Whatever is parsed is parsed the same once it was encoded; what it was parsed
// from is left alone.
func checkAgain[T any](t *testing.T, b []byte, parse func([]byte) (T, error), encode func([]byte, *T) ([]byte, error)) {
	before := bytes.Clone(b)
	m, err := parse(b)
	if err != nil {
		var zero T
		if !reflect.DeepEqual(m, zero) {
			t.Fatalf("parsing %q = %+v, %v, want nothing beside an error", b, m, err)
		}
		return
	}
	again, err := encode([]byte("x"), &m)
	if err != nil || again[0] != 'x' {
		t.Fatalf("encoding %+v from %q = %q, %v, want no error", m, b, again, err)
	}
	got, err := parse(again[1:])
	if err != nil || !reflect.DeepEqual(got, m) {
		t.Fatalf("%q parsed, and as %q again = %+v, %v, want %+v", b, again[1:], got, err, m)
	}
	if !bytes.Equal(b, before) {
		t.Fatalf("parsing %q left %q", before, b)
	}
}

func FuzzParseBroadcast(f *testing.F) {
	seeds(f, `["u",{"type":2,"data":["hello",1,{"a":[true,null,1.5,-3]},"<bin 0102>"],"nsp":"/a","id":7},{"rooms":["r",42],"except":["x"],"flags":{"volatile":true,"compress":false,"timeout":5}}]`,
		`["emitter",{"data":["e",{"_placeholder":true,"num":0},1e300],"type":5},{}]`, `["u",{"type":2,"data":["e","<raw d6ff6553f100>","<raw d40000>","<raw a1ff>","<raw d5050102>"]},{"rooms":""}]`)
	f.Fuzz(func(t *testing.T, b []byte) {
		checkAgain(t, b, func(b []byte) (Broadcast, error) {
			m, err := ParseBroadcast(b)
			if len(b) > 0 && b[0] == '[' && err == nil {
				m.Packet.Data = canonical(t, m.Packet.Data)
			}
			return m, err
		}, AppendBroadcast)
	})
}

func FuzzParseRequest(f *testing.F) {
	seeds(f, `{"uid":"u","requestId":"r","type":7,"packet":{"type":2,"data":["ask","<bin 05>"],"nsp":"/"},"opts":{"rooms":["a"],"except":[],"flags":{"timeout":1500}}}`,
		`{"type":2,"opts":{"rooms":["a"],"except":[]},"rooms":["b",7]}`, `{"uid":"u","requestId":"r","type":4,"sid":"s","close":true}`, `{"uid":"u","type":6,"data":["sse",{"x":2}]}`,
		`{"uid":"u","requestId":"r","type":0,"rooms":[]}`, `{"type":3,"sid":"s","room":5}`, `{"uid":"u","requestId":"r","type":5,"opts":{"rooms":["a"],"except":[]},"countOnly":true}`)
	f.Fuzz(func(t *testing.T, b []byte) {
		checkAgain(t, b, func(b []byte) (Request, error) {
			r, err := ParseRequest(b)
			if err == nil {
				flatten(t, &r.Packet.Data, &r.Packet.Attachments, r.Type == RequestServerSideEmit)
			}
			return r, err
		}, AppendRequest)
	})
}

func FuzzParseResponse(f *testing.F) {
	seeds(f, `{"requestId":"r","sockets":[{"id":"s","handshake":{"auth":{}},"rooms":["s",4],"data":{"k":1}}]}`, `{"requestId":"r","sockets":["a"],"uid":"u"}`,
		`{"type":9,"requestId":"r","packet":"<bin 01>"}`, `{"type":6,"requestId":"r","data":{"from":"B"}}`, `{"type":8,"requestId":"r","clientCount":2}`, `{"requestId":"r","rooms":[]}`, `{"requestId":"r","clientCount":3,"uid":"u"}`)
	f.Fuzz(func(t *testing.T, b []byte) {
		checkAgain(t, b, func(b []byte) (Response, error) {
			r, err := ParseResponse(b)
			if err == nil {
				flatten(t, &r.Value.Data, &r.Value.Attachments, r.Type == RequestServerSideEmit)
				for i := range r.Sockets {
					flatten(t, &r.Sockets[i].Data.Data, &r.Sockets[i].Data.Attachments, true)
				}
			}
			return r, err
		}, AppendResponse)
	})
}

func FuzzParseMessage(f *testing.F) {
	seeds(f, messageSeeds...)
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, form := range []Form{Sharded, Packed} {
			checkAgain(t, b, func(b []byte) (Message, error) {
				m, err := ParseMessage(b)
				if err == nil {
					canonicalMessage(t, &m)
				}
				return m, err
			}, func(dst []byte, m *Message) ([]byte, error) { return AppendMessage(dst, m, form) })
		}
	})
}

var messageSeeds = []string{
	`{"type":3,"data":{"packet":{"type":2,"data":["hello","<bin 01>"],"id":0},"requestId":"r","opts":{"rooms":[],"except":["x"],"flags":{}}},"uid":"u","nsp":"/"}`,
	`{"type":4,"data":{"opts":{"rooms":["a"]},"rooms":["b"]},"uid":"u","nsp":"/"}`, `{"type":6,"data":{"opts":{},"close":true},"uid":"u","nsp":"/"}`,
	`{"type":8,"data":{"requestId":"r","sockets":[{"id":"a","handshake":{"x":"<bin 01>"},"rooms":[],"data":"<bin 02>"}]},"uid":"u","nsp":"/"}`,
	`{"type":9,"data":{"packet":["sse",1]},"uid":"u","nsp":"/"}`, `{"type":11,"data":{"requestId":"r","clientCount":2},"uid":"u","nsp":"/"}`,
	`{"type":12,"data":{"requestId":"r","packet":"<bin 0102ff>"},"uid":"u","nsp":"/"}`, `{"type":10,"data":{"requestId":"r"}}`, `{"type":7,"data":{"requestId":"r","opts":{},"countOnly":true},"uid":"u","nsp":"/"}`, `{"type":8,"data":{"requestId":"r","clientCount":2},"uid":"u","nsp":"/"}`, `{"type":1,"uid":"u","nsp":"/"}`,
}

func FuzzParseEntry(f *testing.F) {
	f.Add("3", `{"packet":{"type":2,"data":["e",1],"id":0},"opts":{"rooms":["a"]}}`)
	f.Add("3", "gqZwYWNrZXSCpHR5cGUCpGRhdGGTo2JpbsQDAQIDgaF1xAL/AKRvcHRzg6Vyb29tc5CmZXhjZXB0kKVmbGFnc4A=")
	f.Add("12", "gqlyZXF1ZXN0SWSwYWMwYWQ4YzUyMDRlOGZlOKZwYWNrZXTEAwEC/w==")
	f.Add("4", `{"opts":{},"rooms":[7]}`)
	f.Add("13", "")
	f.Fuzz(func(t *testing.T, typ, data string) {
		const sep = "\x00"
		checkAgain(t, []byte("u"+sep+"/"+sep+typ+sep+data), func(b []byte) (Message, error) {
			p := strings.SplitN(string(b), sep, 4)
			m, err := ParseEntry(entry("uid", p[0], "nsp", p[1], "type", p[2], "data", p[3]))
			if err == nil {
				canonicalMessage(t, &m)
			}
			return m, err
		}, func(dst []byte, m *Message) ([]byte, error) {
			fields, err := AppendEntry(nil, m)
			if err != nil {
				return dst, err
			}
			fields = append(fields, "data", "")
			return append(dst, strings.Join([]string{fields[1], fields[3], fields[5], fields[7]}, sep)...), nil
		})
	})
}
