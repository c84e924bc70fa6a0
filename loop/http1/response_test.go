package http1

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"testing"
)

func field(name, value string) Field { return Field{[]byte(name), []byte(value)} }

func TestAppendResponse(t *testing.T) {
	for _, c := range []struct {
		name   string
		status int
		header []Field
		body   string
		want   string
	}{
		{"a body", 200, []Field{field("Content-Type", "text/plain")}, "ok", "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"},
		{"an empty body", 413, nil, "", "HTTP/1.1 413 Payload Too Large\r\nContent-Length: 0\r\n\r\n"},
		{"the last of a connection", 400, []Field{field("Connection", "close")}, "x", "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx"},
		{"no content", 204, []Field{field("A", "b")}, "x", "HTTP/1.1 204 No Content\r\nA: b\r\n\r\n"},
		{"not modified", 304, nil, "x", "HTTP/1.1 304 Not Modified\r\n\r\n"},
		{"a status without a text", 299, nil, "", "HTTP/1.1 299 \r\nContent-Length: 0\r\n\r\n"},
		{"a value that would split the response", 200, []Field{field("A", "b\r\nC: d"), field("E", "f")}, "", "HTTP/1.1 200 OK\r\nE: f\r\nContent-Length: 0\r\n\r\n"},
		{"a name that would split the response", 200, []Field{field("A: b\r\nC", "d")}, "", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
	} {
		if got := AppendResponse([]byte("before"), c.status, c.header, []byte(c.body)); string(got) != "before"+c.want {
			t.Errorf("%s: AppendResponse(%d, %q) = %q, want %q", c.name, c.status, c.body, got, "before"+c.want)
		}
	}
}

func TestAppendHeadAndContinue(t *testing.T) {
	got := AppendHead(nil, 101, []Field{field("Upgrade", "websocket")})
	if want := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"; string(got) != want {
		t.Errorf("AppendHead(101) = %q, want %q", got, want)
	}
	if got, want := AppendContinue(nil), "HTTP/1.1 100 Continue\r\n\r\n"; string(got) != want {
		t.Errorf("AppendContinue() = %q, want %q", got, want)
	}
}

func TestResponsesAreReadByNetHTTP(t *testing.T) {
	for status := range statusTexts {
		if status < 200 {
			continue
		}
		b := AppendResponse(nil, status, []Field{field("X-A", "b\tc")}, []byte("body"))
		resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(b)), nil)
		if err != nil {
			t.Errorf("net/http reads %q with %v", b, err)
			continue
		}
		body, err := io.ReadAll(resp.Body)
		want := "body"
		if status == 204 || status == 304 {
			want = ""
		}
		if resp.StatusCode != status || resp.Header.Get("X-A") != "b\tc" || string(body) != want || err != nil {
			t.Errorf("net/http reads %q as %d, %v, %q, %v", b, resp.StatusCode, resp.Header, body, err)
		}
	}
}

func TestFieldValid(t *testing.T) {
	for _, c := range []struct {
		f    Field
		want bool
	}{
		{field("A", "b"), true},
		{field("A", ""), true},
		{field("A", "b \t\xff"), true},
		{field("", "b"), false},
		{field("A b", "c"), false},
		{field("A:", "c"), false},
		{field("A", "b\n"), false},
		{field("A", "12345678\x00"), false},
		{field("A", " b"), false},
		{field("A", "b "), false},
	} {
		if got := c.f.Valid(); got != c.want {
			t.Errorf("Field{%q, %q}.Valid() = %t, want %t", c.f.Name, c.f.Value, got, c.want)
		}
	}
}

func TestStatusText(t *testing.T) {
	for status, text := range statusTexts {
		want := http.StatusText(status)
		switch status { // RFC 9110 has new names; Node writes the old ones
		case 413:
			want = "Payload Too Large"
		case 414:
			want = "URI Too Long"
		case 416:
			want = "Range Not Satisfiable"
		}
		if text != want {
			t.Errorf("StatusText(%d) = %q, want %q", status, text, want)
		}
	}
	if s := StatusText(299); s != "" {
		t.Errorf("StatusText(299) = %q, want none", s)
	}
}

func TestIsTextSeesEveryByteAtEveryPlace(t *testing.T) {
	for size := 1; size <= 17; size++ {
		for at := range size {
			for c := range 256 {
				b := bytes.Repeat([]byte("a"), size)
				b[at] = byte(c)
				if got, want := isText(b), c == '\t' || c >= ' ' && c != 0x7f; got != want {
					t.Fatalf("isText(%q) = %t, want %t", b, got, want)
				}
			}
		}
	}
}
