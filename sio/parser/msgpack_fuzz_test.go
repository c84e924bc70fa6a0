package parser

import (
	"errors"
	"fmt"
	"reflect"
	"testing"

	"github.com/sioedge/sioedge/rooms/value"
)

func FuzzParseMsgpack(f *testing.F) {
	for _, s := range []string{
		``, everything, `83 'type' 00 'data' d40000 'nsp' '/'`, `83 'type' 04 'nsp' '/' 'data' 'no'`, `84 'id' 05 'type' 03 'data' 91 'x' 'nsp' '/'`,
		`83 'type' 02 'data' 92 cb3ff8000000000000 81 '_placeholder' c3 'nsp' '/a'`, `82 'type' 01 'nsp' '/'`, `83 'type' 02 'data' 91 'connect' 'nsp' '/'`,
		`85 'data' 93 'e' 01 02 'type' 00 'data' 92 'f' 03 'nsp' '/' 'type' 02`,
	} {
		f.Add(wire(s))
	}
	var used Packet
	f.Fuzz(func(t *testing.T, msg []byte) {
		var p Packet
		err := ParseMsgpack(msg, Limits{}, &p)
		if errUsed := ParseMsgpack(msg, Limits{}, &used); fmt.Sprint(err) != fmt.Sprint(errUsed) {
			t.Fatalf("ParseMsgpack(%x) = %v into a used packet, want %v", msg, errUsed, err)
		}
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Kind == 0 || e.Text == "" {
				t.Fatalf("ParseMsgpack(%x) = %#v, want an *Error with a kind and a text", msg, err)
			}
			return
		}
		if showMsgpack(&p) != showMsgpack(&used) {
			t.Fatalf("ParseMsgpack(%x) = %s into a used packet, want %s", msg, showMsgpack(&used), showMsgpack(&p))
		}
		var q Packet
		out, err := AppendMsgpackPacket(nil, &p)
		if err != nil {
			t.Fatal(err)
		}
		if err := ParseMsgpack(out, Limits{}, &q); err != nil || showMsgpack(&q) != showMsgpack(&p) {
			t.Fatalf("ParseMsgpack(%x) = %s, %v, want what ParseMsgpack(%x) = %s", out, showMsgpack(&q), err, msg, showMsgpack(&p))
		}
		checkJSONParser(t, &p)
	})
}

// checkJSONParser sends a packet on as JSON: it must be one that our parser
// takes, and so any client, with the same arguments.
func checkJSONParser(t *testing.T, p *Packet) {
	text := AppendHead(nil, p.Type, 0, string(p.Namespace), p.ID, p.HasID && p.ID < 1e15)
	var attachments [][]byte
	if p.Data != nil {
		var err error
		if text, attachments, err = value.AppendJSONFromMsgpack(text, p.Data, nil); err != nil {
			t.Fatalf("AppendJSONFromMsgpack(%x) = %v, want no error for what ParseMsgpack took", p.Data, err)
		}
	}
	if len(attachments) > 0 && p.Type != Event && p.Type != Ack {
		return // these have no binary form as JSON
	}
	text = announce(text, 0, p.Type+BinaryEvent-Event, len(attachments))
	var a Assembler
	var q Packet
	limits := Limits{MaxAttachments: 1 << 30, MaxAttachmentBytes: 1 << 30}
	done, err := a.Text(text, limits, &q)
	for _, b := range attachments {
		if err != nil {
			break
		}
		done, err = a.Binary(b, &q)
	}
	if !done || err != nil || string(q.Event) != string(p.Event) || len(q.Args) != len(p.Args) {
		t.Fatalf("assembling %q = %s, %v, want the packet %s", text, show(&q), err, showMsgpack(p))
	}
	for i := range p.Args {
		var got, want any
		err := value.Decode(q.Args[i], q.Buffers, &got)
		if errWant := decodeMsgpack(p.Args[i], &want); err != nil || errWant != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%x reaches clients with JSON as %v, %v, want %v, %v", p.Args[i], got, err, want, errWant)
		}
	}
}
