package parser

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"testing"
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
		if text, attachments, err = AppendJSONFromMsgpack(text, p.Data, nil); err != nil {
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
		var got any
		err := Decode(q.Args[i], q.Buffers, &got)
		if want, _ := decodeAny(p.Args[i]); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%x reaches clients with JSON as %v, %v, want %v", p.Args[i], got, err, want)
		}
	}
}

// Handlers get the values that are in the message, whatever they have it decoded
// into.
func FuzzDecodeMsgpack(f *testing.F) {
	for _, s := range []string{`c0`, `d40000`, `05`, `cb3ff8000000000000`, `cfffffffffffffffff`, `'x'`, `c40101`, `d7000000016f5e66e87b`, `d5ff0a0b`,
		`82 'a' c40101 'Bytes' c40102`, `84 'Next' 91 80 'M' 81 'x' c40101 'K' 81 05 c70100ff 'Any' d40000`, `93 01 'x' 92 c3 cb7ff8000000000000`, `c1`, `91`} {
		f.Add(wire(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if bytes.Contains(raw, []byte("_placeholder")) {
			return // ambiguous as JSON; ParseMsgpack refuses it
		}
		var got any
		err := decodeMsgpack(raw, &got)
		if valid := validMsgpack(raw); !valid || err != nil {
			if valid || err != errPayload {
				t.Fatalf("decodeMsgpack(%x) = %v, and it is valid: %v", raw, err, valid)
			}
			return
		}
		if want, _ := decodeAny(raw); !reflect.DeepEqual(got, want) {
			t.Fatalf("decodeMsgpack(%x) = %v, want %v", raw, got, want)
		}
	})
}

func FuzzMsgpackFromJSON(f *testing.F) {
	for _, s := range jsonSeeds {
		f.Add([]byte(s))
	}
	f.Add([]byte(`[{"_placeholder":true,"num":1},{"a":{"num":0.0,"_placeholder":true}},1e999,-0.0,18446744073709551616]`))
	f.Add([]byte(`[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,{"a":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]}]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, attachments := range [][][]byte{nil, {b1, b2}} {
			raw, err := AppendMsgpackFromJSON([]byte("x"), text, attachments)
			if errors.Is(err, errPlaceholder) && attachments != nil {
				continue
			}
			if (err == nil) != json.Valid(text) {
				t.Fatalf("AppendMsgpackFromJSON(%q) = %v, want valid %v", text, err, json.Valid(text))
			}
			if err != nil {
				continue
			}
			back, buffers, err := AppendJSONFromMsgpack(nil, raw[1:], nil)
			if err != nil {
				t.Fatalf("AppendJSONFromMsgpack(%x) from %q = %v", raw[1:], text, err)
			}
			var got, want any
			errWant := Decode(text, attachments, &want)
			if errWant != nil { // a number that has no float64
				continue
			}
			if attachments != nil && bytes.Contains(text, []byte("placeh")) || bytes.Contains(text, []byte(`\u`)) {
				buffers = attachments // in another order, or objects that only look like placeholders
				continue
			}
			if err := Decode(back, buffers, &got); err != nil || !reflect.DeepEqual(got, want) {
				t.Fatalf("%q by way of %x = %q, %v, %v, want %v", text, raw[1:], back, got, err, want)
			}
			again, err := AppendMsgpackFromJSON([]byte("x"), back, buffers)
			if err != nil || !bytes.Equal(again, raw) {
				t.Fatalf("AppendMsgpackFromJSON(%q) = %x, %v, want %x as from %q", back, again, err, raw, text)
			}
		}
	})
}
