package http1

import (
	"fmt"
	"strings"
	"testing"
)

// readBody reads a body given in pieces and returns what it held, how many bytes
// it took, and the error.
func readBody(r *Request, limit int64, pieces ...[]byte) (data string, used int, done bool, err error) {
	var d Body
	if err := d.Reset(r, limit); err != nil {
		return "", 0, false, err
	}
	if _, _, done, _ := d.Next(nil); done {
		return "", 0, true, nil
	}
	for _, p := range pieces {
		for {
			view, n, done, err := d.Next(p)
			if n < 0 || n > len(p) || len(view) > n {
				return data, used, done, fmt.Errorf("Next(%q) consumed %d and gave %d bytes", p, n, len(view))
			}
			data += string(view)
			used += n
			if done || err != nil {
				return data, used, done, err
			}
			if n == 0 {
				break
			}
			p = p[n:]
		}
	}
	return data, used, false, nil
}

func TestBody(t *testing.T) {
	long := strings.Repeat("x", maxBodyExtra)
	for _, c := range []struct {
		name   string
		length int64 // -1: chunked
		body   string
		data   string
		rest   string // what of body belongs to the next request
		status int
	}{
		{name: "no body", length: 0, body: "GET", rest: "GET"},
		{name: "a known length", length: 5, body: "helloGET", data: "hello", rest: "GET"},
		{name: "exactly the limit", length: 20, body: "01234567890123456789", data: "01234567890123456789"},
		{name: "a length above the limit", length: 21, status: 413},
		{name: "one chunk", length: -1, body: "5\r\nhello\r\n0\r\n\r\nGET", data: "hello", rest: "GET"},
		{name: "several chunks with sizes in any case", length: -1, body: "a\r\n0123456789\r\n00A\r\n0123456789\r\n000\r\n\r\n", data: "01234567890123456789"},
		{name: "no chunk", length: -1, body: "0\r\n\r\n"},
		{name: "extensions", length: -1, body: "1;a=b;c=\"d;\"\r\nx\r\n1 \t;e\r\ny\r\n0;f\r\n\r\n", data: "xy"},
		{name: "trailers", length: -1, body: "1\r\nx\r\n0\r\nA: b\r\nC:\t\xff\r\n\r\nGET", data: "x", rest: "GET"},
		{name: "chunks above the limit", length: -1, body: "14\r\n01234567890123456789\r\n1\r\n", data: "01234567890123456789", status: 413},
		{name: "a chunk above the limit", length: -1, body: "15\r\n", status: 413},
		{name: "a chunk whose size would overflow", length: -1, body: "ffffffffffffffff\r\n", status: 413},
		{name: "a chunk with 17 digits", length: -1, body: "00000000000000000\r\n", status: 400},
		{name: "a chunk without size", length: -1, body: "\r\n", status: 400},
		{name: "a chunk with only an extension", length: -1, body: ";a\r\n", status: 400},
		{name: "a size with a sign", length: -1, body: "+1\r\n", status: 400},
		{name: "a size with 0x", length: -1, body: "0x1\r\n", status: 400},
		{name: "a size with a blank before", length: -1, body: " 1\r\n", status: 400},
		{name: "a size with a blank after", length: -1, body: "1 \r\n", status: 400},
		{name: "a size with a bare LF", length: -1, body: "1\nx", status: 400},
		{name: "a size with a bare CR", length: -1, body: "1\rx", status: 400},
		{name: "an extension with a bare LF", length: -1, body: "1;a\nx", status: 400},
		{name: "an extension with a NUL", length: -1, body: "1;a\x00\r\n", status: 400},
		{name: "a chunk longer than its size", length: -1, body: "1\r\nxy\r\n", data: "x", status: 400},
		{name: "a chunk that ends in a bare LF", length: -1, body: "1\r\nx\n", data: "x", status: 400},
		{name: "a chunk that ends in a bare CR", length: -1, body: "1\r\nx\r1", data: "x", status: 400},
		{name: "a bare LF at the end", length: -1, body: "0\r\n\n", status: 400},
		{name: "a bare CR at the end", length: -1, body: "0\r\n\rG", status: 400},
		{name: "a folded trailer", length: -1, body: "0\r\nA: b\r\n c\r\n", status: 400},
		{name: "a trailer with a bare LF", length: -1, body: "0\r\nA: b\n", status: 400},
		{name: "a trailer with a bare CR", length: -1, body: "0\r\nA: b\rc", status: 400},
		{name: "extensions that are too long", length: -1, body: "1;" + long + "\r\n", status: 400},
		{name: "trailers that are too long", length: -1, body: "0\r\nA: " + long + "\r\n", status: 431},
	} {
		r := &Request{ContentLength: c.length, Chunked: c.length < 0}
		check := func(pieces ...[]byte) {
			data, used, done, err := readBody(r, 20, pieces...)
			wantDone := c.status == 0
			if data != c.data || statusOf(err) != c.status || done != wantDone || wantDone && used != len(c.body)-len(c.rest) {
				t.Errorf("%s: body %.40q in %d pieces = %q, %d, %t, %v, want %q, %d, %t, status %d",
					c.name, c.body, len(pieces), data, used, done, err, c.data, len(c.body)-len(c.rest), wantDone, c.status)
			}
		}
		check([]byte(c.body))
		if len(c.body) < 1000 {
			splits([]byte(c.body), func(head, tail []byte) { check(head, tail) })
		}
		var bytes [][]byte
		for i := range len(c.body) {
			bytes = append(bytes, []byte(c.body[i:i+1]))
		}
		check(bytes...)
	}
}

func TestBodyOfARequestWithoutOne(t *testing.T) {
	var d Body
	if _, n, done, err := d.Next([]byte("GET")); n != 0 || !done || err != nil {
		t.Errorf("Next on the zero Body = %d, %t, %v, want 0, true, nil", n, done, err)
	}
	if err := d.Reset(&Request{ContentLength: -1}, 0); err != nil {
		t.Fatalf("Reset = %v, want nil", err)
	}
	if _, n, done, err := d.Next([]byte("GET")); n != 0 || !done || err != nil {
		t.Errorf("Next without a body = %d, %t, %v, want 0, true, nil", n, done, err)
	}
}
