package parser

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unsafe"

	"github.com/sioedge/sioedge/rooms/value"
)

func TestAssembler(t *testing.T) {
	var a Assembler
	var p Packet
	text := func(msg string, want bool) {
		t.Helper()
		done, err := a.Text([]byte(msg), Limits{}, &p)
		if done != want || err != nil || a.Idle() != want {
			t.Fatalf("Text(%s) = %v, %v, idle %v, want %v", msg, done, err, a.Idle(), want)
		}
	}
	text(`2["plain",1]`, true)
	if show(&p) != `EVENT / event=plain args=[1]` {
		t.Errorf("packet = %s, want the plain event", show(&p))
	}

	header := []byte(`52-/x,9["two",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]`)
	if done, err := a.Text(header, Limits{}, &p); done || err != nil || a.Idle() || held(&a) != len(header) {
		t.Fatalf("Text(%s) = %v, %v, held %d, want attachments due", header, done, err, held(&a))
	}
	clear(header) // the loop's buffer is used again
	first, second := []byte{1}, []byte{2, 2}
	if done, err := a.Binary(first, &p); done || err != nil || held(&a) != len(header)+1 {
		t.Fatalf("Binary(first) = %v, %v, held %d, want one more due", done, err, held(&a))
	}
	Parse([]byte(`2["other packet meanwhile",1,2,3]`), Limits{}, &p)
	first[0] = 9
	if done, err := a.Binary(second, &p); !done || err != nil || !a.Idle() || held(&a) != 0 {
		t.Fatalf("Binary(second) = %v, %v, held %d, want a packet", done, err, held(&a))
	}
	second[0] = 9
	want := `EVENT /x id=9 event=two args=[{"_placeholder":true,"num":1} {"_placeholder":true,"num":0}] +2 [[1] [2 2]]`
	if got := fmt.Sprint(show(&p), " ", p.Buffers); got != want {
		t.Errorf("packet = %s, want %s", got, want)
	}
	var data []byte
	if err := value.Decode(p.Args[0], p.Buffers, &data); err != nil || string(data) != "\x02\x02" {
		t.Errorf("value.Decode(%s) = %v, %v, want [2 2]", p.Args[0], data, err)
	}

	text(`2["plain again"]`, true)
	if p.Buffers != nil {
		t.Errorf("buffers of a plain event = %v, want none", p.Buffers)
	}
	text(`61-[]`, false) // an attachment nobody names
	if done, err := a.Binary(nil, &p); !done || err != nil || len(p.Buffers) != 1 || p.Buffers[0] == nil {
		t.Errorf("Binary(empty) = %v, %v, %#v, want one empty attachment", done, err, p.Buffers)
	}
	if size := unsafe.Sizeof(a); size != unsafe.Sizeof(uintptr(0)) {
		t.Errorf("size of an Assembler = %d, want one word", size)
	}
}

func TestAssemblerErrors(t *testing.T) {
	const header = `52-["a",{"_placeholder":true,"num":0}]`
	small := Limits{MaxAttachmentBytes: 100}
	for _, tt := range []struct {
		name   string
		limits Limits
		steps  []any // string: text, []byte: binary
		kind   Kind
		text   string
	}{
		{"binary first", Limits{}, []any{b1}, UnexpectedBinary, "got binary data when not reconstructing a packet"},
		{"empty binary first", Limits{}, []any{[]byte{}}, UnexpectedBinary, "got binary data when not reconstructing a packet"},
		{"binary after a plain event", Limits{}, []any{`2["a"]`, b1}, UnexpectedBinary, "got binary data when not reconstructing a packet"},
		{"one binary too many", Limits{}, []any{header, b1, b1, b1}, UnexpectedBinary, "got binary data when not reconstructing a packet"},
		{"text while due", Limits{}, []any{header, b1, `2["b"]`}, UnexpectedText, "got plaintext data when reconstructing a packet"},
		{"bad text while due", Limits{}, []any{header, `x`}, UnexpectedText, "got plaintext data when reconstructing a packet"},
		{"bad text", Limits{}, []any{`2[`}, InvalidPayload, "invalid payload"},
		{"bad placeholder", Limits{}, []any{`51-["a",{"_placeholder":true,"num":1}]`}, IllegalAttachments, "illegal attachments"},
		{"too many", Limits{}, []any{`511-["a"]`}, TooManyAttachments, "too many attachments"},
		{"large header", small, []any{`51-["a","` + strings.Repeat("x", 100) + `"]`}, TooLarge, "attachments too large"},
		{"large attachments", small, []any{header, make([]byte, 50), make([]byte, 100)}, TooLarge, "attachments too large"},
	} {
		var a Assembler
		var p Packet
		var err error
		for i, s := range tt.steps {
			if err != nil {
				t.Errorf("%s: step %d = %v, want nil", tt.name, i, err)
			}
			switch s := s.(type) {
			case string:
				_, err = a.Text([]byte(s), tt.limits, &p)
			case []byte:
				_, err = a.Binary(s, &p)
			}
		}
		var e *Error
		if !errors.As(err, &e) || e.Kind != tt.kind || e.Text != tt.text {
			t.Errorf("%s: %v, want kind %d %q", tt.name, err, tt.kind, tt.text)
		}
		if !a.Idle() || held(&a) != 0 {
			t.Errorf("%s: holds %d bytes after the error, want none", tt.name, held(&a))
		}
	}
}

func TestAssemblerFillsTheLimitExactly(t *testing.T) {
	const header = `52-["a"]`
	var a Assembler
	var p Packet
	limits := Limits{MaxAttachmentBytes: len(header) + 10}
	a.Text([]byte(header), limits, &p)
	a.Binary(make([]byte, 10), &p)
	if done, err := a.Binary(nil, &p); !done || err != nil {
		t.Errorf("Binary at the limit = %v, %v, want a packet", done, err)
	}
}

// What is appended comes back, attachments at any place.
func TestBinaryRoundTrip(t *testing.T) {
	args := []any{
		value.Binary(b1), "text", map[string]any{"list": []any{value.Binary(b2), nil, map[string]any{"deep": value.Binary{}}}, "n": 1.5}, []any{value.Binary(b3)},
	}
	for _, ack := range []bool{false, true} {
		var msg []byte
		var attachments [][]byte
		var err error
		if ack {
			msg, attachments, err = defaults.AppendAck(nil, "/n", 3, args)
		} else {
			msg, attachments, err = defaults.AppendEvent(nil, "/n", 3, true, "e", args)
		}
		if err != nil || len(attachments) != 4 {
			t.Fatalf("Append(%v) = %s, %v, %v, want 4 attachments", args, msg, attachments, err)
		}
		var a Assembler
		var p Packet
		done, err := a.Text(msg, Limits{}, &p)
		for _, b := range attachments {
			if done || err != nil {
				t.Fatalf("assembling %s: done %v, %v, want more due", msg, done, err)
			}
			done, err = a.Binary(b, &p)
		}
		if !done || err != nil || p.ID != 3 || string(p.Namespace) != "/n" || (p.Type == Ack) != ack {
			t.Fatalf("assembling %s = %s, %v, want the packet", msg, show(&p), err)
		}
		got := make([]any, len(p.Args))
		for i, raw := range p.Args {
			if err := value.Decode(raw, p.Buffers, &got[i]); err != nil {
				t.Fatal(err)
			}
		}
		if !reflect.DeepEqual(got, args) {
			t.Errorf("round trip of %v = %v", args, got)
		}
	}
}

// held returns the bytes that are held for an incomplete packet.
func held(a *Assembler) int {
	if a.pending == nil {
		return 0
	}
	return a.pending.held
}
