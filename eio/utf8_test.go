package eio

import (
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/http1"
)

// The right column is what new TextDecoder().decode gives in JavaScript.
func TestValidText(t *testing.T) {
	for in, want := range map[string]string{
		"":                     "",
		"ä€😀":                  "ä€😀",
		"\xe9":                 "�",
		"\xe9\"":               "�\"",
		"\xe2\x82":             "�",
		"\xe2\x82x":            "�x",
		"\xe2\x28\xa1":         "�(�",
		"\xf0\x9f\x98":         "�",
		"\xf0\x9f\x98\xf0\x9f": "��",
		"\xc0\x80":             "��",
		"\xed\xa0\x80":         "���",
		"\xf4\x90\x80\x80":     "����",
		"\xf5\x80":             "��",
		"\x80\x80a\xff":        "��a�",
		"\xe0\x9f\x80":         "���",
		"ok\xc3":               "ok�",
	} {
		if got := string(validText([]byte(in))); got != want {
			t.Errorf("validText(%q) = %q, want %q", in, got, want)
		}
	}
}

// Text that is not UTF-8 becomes it at the door, whatever the form of the body.
func TestBodiesBecomeUTF8(t *testing.T) {
	for _, c := range []struct {
		name, open, body, fields, want string
	}{
		{"revision 4", "EIO=4&transport=polling", "4a\xe9\x1e4b\xff", "", "a�|b�"},
		{"revision 3", "EIO=3&transport=polling", "4:4a\xe9b2:4c", "", "a�b|c"},
		{"revision 3, bytes", "EIO=3&transport=polling", "\x00\x03\xff4\xe9x", "Content-Type: application/octet-stream\r\n", "�x"},
		{"JSONP", "EIO=4&transport=polling&j=0", "d=4a%E9b", "Content-Type: application/x-www-form-urlencoded\r\n", "a�b"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var now Session
			var got []string
			_, sim := newSim(t, &hooks{
				open:    func(s Session, _ *http1.Request) { now = s },
				message: func(_ Session, data []byte, _ bool) { got = append(got, string(data)) },
			}, Options{AllowEIO3: true}, loop.Options{})
			p := sim.Connect(0)
			p.Send(getRequest(c.open))
			p.Received()
			request := string(postRequest(c.open+"&sid="+now.ID(), c.body))
			p.Send([]byte(strings.Replace(request, "Host: h\r\n", "Host: h\r\n"+c.fields, 1)))
			if s := strings.Join(got, "|"); s != c.want {
				t.Errorf("%q came, want %q: %s", s, c.want, p.Received())
			}
			p.Close()
			sim.Advance(time.Minute)
		})
	}
}
