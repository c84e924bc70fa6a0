package http1

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
)

// encode writes a parsed head again.
func encode(r *Request) []byte {
	b := fmt.Appendf(nil, "%s %s HTTP/1.%d\r\n", r.Method, r.Target, r.Minor)
	for _, f := range r.Fields {
		b = fmt.Appendf(b, "%s: %s\r\n", f.Name, f.Value)
	}
	return append(b, "\r\n"...)
}

// compareWithNetHTTP fails if net/http accepts the head too and reads something
// else from it: two servers in a row that disagree can be tricked. It reports
// whether net/http accepts it.
func compareWithNetHTTP(t *testing.T, head []byte, r *Request) bool {
	t.Helper()
	theirs, err := http.ReadRequest(bufio.NewReaderSize(bytes.NewReader(head), len(head)+16))
	if err != nil {
		return false
	}
	length := r.ContentLength
	if length < 0 && !r.Chunked {
		length = 0
	}
	if theirs.Method != string(r.Method) || theirs.RequestURI != string(r.Target) || theirs.Host != string(r.Host) ||
		theirs.ProtoMinor != r.Minor || theirs.ContentLength != length || (len(theirs.TransferEncoding) > 0) != r.Chunked {
		t.Errorf("Parse(%q) = %s, net/http reads %+v", head, dump(r), theirs)
	}
	for name, values := range theirs.Header {
		if got := r.Get(name); string(got) != values[0] {
			t.Errorf("Parse(%q): Get(%q) = %q, net/http reads %q", head, name, got, values[0])
		}
	}
	return true
}

// Fuzzing seldom finds two heads that both servers accept; heads made of lines
// that are nearly right often are.
func TestParseAgreesWithNetHTTP(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	pick := func(from ...string) string { return from[rnd.IntN(len(from))] }
	both := 0
	var r Request
	for range 20_000 {
		head := pick("GET", "POST", "OPTIONS", "get", "M!") + " " +
			pick("/", "/a?b=c", "http://other:1/p", "https://other?q", "*", "//x", "/%41") + pick(" ", " ", " ", "  ") +
			pick("HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0") + pick("\r\n", "\r\n", "\r\n", "\n")
		for range rnd.IntN(5) {
			head += pick("Host", "host", "Content-Length", "Transfer-Encoding", "Connection", "X-A", "Cookie", "A B") + pick(":", ": ", ":\t", " :") +
				pick("h", "a:80", "0", "5", "05", "+5", "5, 5", "chunked", "Chunked", "gzip, chunked", "close", "keep-alive, upgrade", "", "a\tb", "\xff", "a\x00") +
				pick("", "", " ", "\t ") + pick("\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r", "\r\n ")
		}
		b := []byte(head + "\r\n")
		if n, err := Parse(b, &r); n > 0 && err == nil && compareWithNetHTTP(t, b[:n], &r) {
			both++
		}
	}
	if both < 100 {
		t.Errorf("both accept %d heads, want enough to mean something", both)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		browserHead,
		lines("GET / HTTP/1.1", "Host: h"),
		lines("POST http://h/p?a=%41&b=+ HTTP/1.0", "Content-Length: 5", "Connection: keep-alive") + "hello",
		lines("POST / HTTP/1.1", "Host: h", "Transfer-Encoding: chunked", "Expect: 100-continue") + "0\r\n\r\n",
		lines("GET / HTTP/1.1", "Host: h", "Connection: keep-alive, Upgrade", "Upgrade: websocket"),
		"\r\n" + lines("OPTIONS * HTTP/1.1", "Host:", "A:\t \xff\t"),
		"GET / HTTP/1.1\nHost: h\n\n", "GET / HTTP/2.0\r\n\r\n", "\r", "\x16\x03\x01",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := new(Request)
		n, err := Parse(b, r)
		if n < 0 || n > len(b) || n > MaxHead || n > 0 && err != nil || err != nil && statusOf(err) < 400 {
			t.Fatalf("Parse(%q) = %d, %v", b, n, err)
		}
		whole := outcome(r, n, err)
		var p Request
		// In pieces of one byte; of more in a long input, which would else take
		// all the time.
		for i, step := 0, 1+len(b)/512; ; i = min(i+step, len(b)) {
			if k, err := Parse(b[:i], &p); k > 0 || err != nil || i == len(b) {
				if got := outcome(&p, k, err); got != whole {
					t.Fatalf("Parse(%q) in pieces of %d = %s, want %s", b, step, got, whole)
				}
				break
			}
		}
		if n == 0 {
			return
		}
		eachQuery(r, func(key, _ string) {
			if _, ok := r.Query(key); !ok {
				t.Errorf("Query(%q) of %q finds nothing", key, r.RawQuery)
			}
		})
		if c := r.Clone(); dump(c) != dump(r) {
			t.Errorf("Clone of %s = %s", dump(r), dump(c))
		}
		head := encode(r)
		if len(head) <= MaxHead {
			if k, err := Parse(head, &p); k != len(head) || err != nil || dump(&p) != dump(r) {
				t.Errorf("Parse(%q) = %d, %v, %s, want %s", head, k, err, dump(&p), dump(r))
			}
		}
		compareWithNetHTTP(t, b[:n], r)
	})
}

func FuzzBody(f *testing.F) {
	for _, s := range []string{
		"5\r\nhello\r\n0\r\n\r\nGET", "a;b=c\r\n0123456789\r\n0\r\nA: b\r\n\r\n", "1 ;a\r\nx\r\n00\r\n\r\n",
		"ffffffffffffffff\r\n", "5\nhello", "0\r\n\r", "3\r\nabcd",
	} {
		f.Add([]byte(s), int16(-1), uint16(10))
		f.Add([]byte(s), int16(5), uint16(5))
	}
	f.Fuzz(func(t *testing.T, b []byte, length int16, limit uint16) {
		r := &Request{ContentLength: int64(length), Chunked: length < 0}
		data, used, done, err := readBody(r, int64(limit), b)
		if len(data) > int(limit) || used > len(b) || len(data) > used || err != nil && statusOf(err) == 0 {
			t.Fatalf("body %q = %q, %d, %t, %v", b, data, used, done, err)
		}
		pieces := make([][]byte, len(b))
		for i := range b {
			pieces[i] = b[i : i+1]
		}
		d2, u2, done2, err2 := readBody(r, int64(limit), pieces...)
		if d2 != data || done2 != done || statusOf(err2) != statusOf(err) || err == nil && u2 != used {
			t.Fatalf("body %q byte by byte = %q, %d, %t, %v, want %q, %d, %t, %v", b, d2, u2, done2, err2, data, used, done, err)
		}
		if !r.Chunked || !done {
			return
		}
		head := "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
		theirs, err := http.ReadRequest(bufio.NewReader(io.MultiReader(bytes.NewReader([]byte(head)), bytes.NewReader(b))))
		if err != nil {
			t.Fatalf("net/http refuses %q: %v", head, err)
		}
		if all, err := io.ReadAll(theirs.Body); err == nil && string(all) != data {
			t.Errorf("body %q = %q, net/http reads %q", b, data, all)
		}
	})
}

// eachQuery is a witness: it calls f with each query parameter in the order sent, decoded, and
// repeated keys as often as they are repeated. The strings are copies.
func eachQuery(r *Request, f func(key, value string)) {
	for rest := string(r.RawQuery); rest != ""; {
		var pair string
		pair, rest, _ = strings.Cut(rest, "&")
		if pair != "" {
			k, v, _ := strings.Cut(pair, "=")
			f(unescape(k), unescape(v))
		}
	}
}
