package wire

import (
	"strings"
	"testing"
)

func textMessage(t testing.TB) []byte {
	return pack(t, `["uDvqse",{"type":2,"data":["chat",{"room":"r1","text":"hello"}],"nsp":"/"},{"rooms":[],"except":[],"flags":{}}]`)
}

// One for who it is from, one for the event's text.
func TestParseBroadcastAllocatesTwice(t *testing.T) {
	msg := textMessage(t)
	if n := testing.AllocsPerRun(100, func() { ParseBroadcast(msg) }); n != 2 {
		t.Errorf("ParseBroadcast allocates %v times, want 2", n)
	}
	json := []byte(`{"type":3,"data":{"packet":{"type":2,"data":["e",1]},"opts":{"rooms":[],"except":[],"flags":{}}},"uid":"a7114872636bf942","nsp":"/"}`)
	if n := testing.AllocsPerRun(100, func() { ParseMessage(json) }); n != 1 {
		t.Errorf("ParseMessage of JSON allocates %v times, want 1, for who it is from", n)
	}
}

func TestAppendingDoesNotAllocate(t *testing.T) {
	m, err := ParseBroadcast(textMessage(t))
	if err != nil {
		t.Fatal(err)
	}
	dst := make([]byte, 0, 1024)
	if n := testing.AllocsPerRun(100, func() { AppendBroadcast(dst, &m) }); n != 0 {
		t.Errorf("AppendBroadcast allocates %v times, want none", n)
	}
}

func BenchmarkBroadcast(b *testing.B) {
	for name, text := range map[string]string{"60": strings.Repeat("x", 60), "2000": strings.Repeat("x", 2000)} {
		msg := pack(b, `["uDvqse",{"type":2,"data":["chat",{"room":"r1","text":"`+text+`"}],"nsp":"/"},{"rooms":["r1"],"except":[],"flags":{}}]`)
		m, err := ParseBroadcast(msg)
		if err != nil {
			b.Fatal(err)
		}
		b.Run("do=parse/text="+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := ParseBroadcast(msg); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("do=append/text="+name, func(b *testing.B) {
			b.ReportAllocs()
			dst := make([]byte, 0, 4096)
			for b.Loop() {
				if _, err := AppendBroadcast(dst, &m); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkMessage(b *testing.B) {
	m := Message{Type: BroadcastMessage, UID: "a7114872636bf942", Namespace: "/", Packet: Packet{Data: []byte(`["chat",{"room":"r1","text":"` + strings.Repeat("x", 60) + `"}]`)}}
	for name, form := range map[string]Form{"json": Sharded, "msgpack": Packed} {
		msg, err := AppendMessage(nil, &m, form)
		if err != nil {
			b.Fatal(err)
		}
		b.Run("do=parse/form="+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := ParseMessage(msg); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("do=append/form="+name, func(b *testing.B) {
			b.ReportAllocs()
			dst := make([]byte, 0, 1024)
			for b.Loop() {
				if _, err := AppendMessage(dst, &m, form); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
