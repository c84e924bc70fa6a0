package http1

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// Parse is Limits.Parse with the limits that are meant by zero.
func Parse(b []byte, r *Request) (n int, err error) { return Limits{}.Parse(b, r) }

// splits calls f with every way to cut b in two.
func splits(b []byte, f func(head, tail []byte)) {
	for i := 0; i <= len(b); i++ {
		f(b[:i:i], b[i:])
	}
}

// lines joins lines with CRLF and ends with an empty one.
func lines(l ...string) string { return strings.Join(l, "\r\n") + "\r\n\r\n" }

// dump is everything a Request says, to compare by.
func dump(r *Request) string {
	var s strings.Builder
	fmt.Fprintf(&s, "%q %q %q %q 1.%d host %q length %d chunked %t keep %t expect %t upgrade %t",
		r.Method, r.Target, r.Path, r.RawQuery, r.Minor, r.Host, r.ContentLength, r.Chunked, r.KeepAlive, r.Expect100, r.Upgrade)
	for _, f := range r.Fields {
		fmt.Fprintf(&s, "\n%q: %q", f.Name, f.Value)
	}
	return s.String()
}

// outcome is the result of Parse in one line.
func outcome(r *Request, n int, err error) string {
	if err != nil {
		return err.Error()
	}
	if n == 0 {
		return "incomplete"
	}
	return fmt.Sprint(n, " ", dump(r))
}

func statusOf(err error) int {
	var e *Error
	if errors.As(err, &e) {
		return e.Status
	}
	return 0
}

// parseAll parses b whole and in two pieces at every place and fails if that
// makes a difference.
func parseAll(t *testing.T, b []byte) (*Request, int, error) {
	t.Helper()
	r := new(Request)
	n, err := Parse(b, r)
	want := outcome(r, n, err)
	splits(b, func(head, _ []byte) {
		var p Request
		k, kerr := Parse(head, &p)
		if k == 0 && kerr == nil {
			k, kerr = Parse(b, &p)
		}
		if got := outcome(&p, k, kerr); got != want {
			t.Errorf("Parse(%q) in pieces of %d = %s, want %s", b, len(head), got, want)
		}
	})
	return r, n, err
}

func TestParseGivesViewsOfTheHead(t *testing.T) {
	head := lines("POST /socket.io/?EIO=4&sid=a HTTP/1.1", "Host: example.com:80", "X-Empty:", "Content-Length:\t12 ", "Cookie: a=b; c=\xffd", "x-empty: second")
	b := []byte(head + "body")
	r, n, err := parseAll(t, b)
	if n != len(head) || err != nil {
		t.Fatalf("Parse(%q) = %d, %v, want %d, nil", b, n, err, len(head))
	}
	want := `"POST" "/socket.io/?EIO=4&sid=a" "/socket.io/" "EIO=4&sid=a" 1.1 host "example.com:80" length 12 chunked false keep true expect false upgrade false
"Host": "example.com:80"
"X-Empty": ""
"Content-Length": "12"
"Cookie": "a=b; c=\xffd"
"x-empty": "second"`
	if got := dump(r); got != want {
		t.Errorf("Parse(%q) =\n%s\nwant\n%s", b, got, want)
	}
	if v := r.Get("CONTENT-length"); string(v) != "12" {
		t.Errorf(`Get("CONTENT-length") = %q, want "12"`, v)
	}
	if v := r.Get("x-empty"); v == nil || len(v) != 0 {
		t.Errorf(`Get("x-empty") = %#v, want the first, which is empty and not nil`, v)
	}
	if v := r.Get("absent"); v != nil {
		t.Errorf(`Get("absent") = %q, want nil`, v)
	}
	_ = append(r.Path, "overwritten"...)
	_ = append(r.Get("Host"), "overwritten"...)
	if got := dump(r); got != want {
		t.Errorf("appending to views changed the request to\n%s", got)
	}
}

func TestParseTarget(t *testing.T) {
	for _, c := range []struct{ name, line, want string }{
		{"a path alone", "GET / HTTP/1.1", `"/" <nil> "h"`},
		{"an empty query is not the absence of one", "GET /a? HTTP/1.1", `"/a" "" "h"`},
		{"only the first question mark separates", "GET /a?b?c HTTP/1.1", `"/a" "b?c" "h"`},
		{"two slashes at the start are still a path", "GET //x/y HTTP/1.1", `"//x/y" <nil> "h"`},
		{"an absolute target names the host", "GET http://other:1/p?q HTTP/1.1", `"/p" "q" "other:1"`},
		{"an absolute target may end at the host", "GET HTTPS://other HTTP/1.1", `"/" <nil> "other"`},
		{"an absolute target may have a query without path", "GET http://[::1]?q HTTP/1.1", `"/" "q" "[::1]"`},
		{"an asterisk for OPTIONS", "OPTIONS * HTTP/1.1", `"*" <nil> "h"`},
		{"bytes beyond ASCII are kept", "GET /\xc3\xa4?\xff HTTP/1.1", `"/ä" "\xff" "h"`},
	} {
		b := []byte(lines(c.line, "Host: h"))
		r, n, err := parseAll(t, b)
		query := "<nil>"
		if r.RawQuery != nil {
			query = fmt.Sprintf("%q", r.RawQuery)
		}
		if got := fmt.Sprintf("%q %s %q", r.Path, query, r.Host); got != c.want || n != len(b) || err != nil {
			t.Errorf("%s: Parse(%q) = %s, %d, %v, want %s", c.name, b, got, n, err, c.want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	const get, host = "GET / HTTP/1.1", "Host: h"
	for _, c := range []struct {
		name   string
		head   string
		status int
	}{
		{"a TLS handshake", "\x16\x03\x01\x02\x00\x01", 400},
		{"a bare LF after the request line", "GET / HTTP/1.1\nHost: h\r\n\r\n", 400},
		{"a bare LF after a field", "GET / HTTP/1.1\r\nHost: h\nA: b\r\n\r\n", 400},
		{"a bare LF as the empty line", "GET / HTTP/1.1\r\nHost: h\r\n\n", 400},
		{"a bare LF before the request line", "\n" + lines(get, host), 400},
		{"a bare CR before the request line", "\r" + lines(get, host), 400},
		{"two empty lines before the request line", "\r\n\r\n" + lines(get, host), 400},
		{"white space before the request line", " " + lines(get, host), 400},
		{"a bare CR in the request line", lines("GET /\r HTTP/1.1", host), 400},
		{"a bare CR in a field", lines(get, host, "A: b\rc"), 400},
		{"a method that is not a token", lines("G(T / HTTP/1.1", host), 400},
		{"a request line of one word", lines("GET", host), 400},
		{"a request line without version", lines("GET /", host), 400},
		{"a request line without version but with a blank", lines("GET / ", host), 400},
		{"two blanks after the method", lines("GET  / HTTP/1.1", host), 400},
		{"two blanks after the target", lines("GET /  HTTP/1.1", host), 400},
		{"a blank in the target", lines("GET /a b HTTP/1.1", host), 400},
		{"a blank after the version", lines("GET / HTTP/1.1 ", host), 400},
		{"a tab for a blank", lines("GET\t/ HTTP/1.1", host), 400},
		{"a tab in the target", lines("GET /a\tb HTTP/1.1", host), 400},
		{"a NUL in the target", lines("GET /a\x00b HTTP/1.1", host), 400},
		{"a DEL in the target", lines("GET /abcdefgh\x7fb HTTP/1.1", host), 400},
		{"a target without slash", lines("GET a HTTP/1.1", host), 400},
		{"an asterisk for GET", lines("GET * HTTP/1.1", host), 400},
		{"the target of CONNECT", lines("CONNECT h:443 HTTP/1.1", host), 400},
		{"an absolute target of another scheme", lines("GET ftp://h/ HTTP/1.1", host), 400},
		{"an absolute target with one slash", lines("GET http:/h HTTP/1.1", host), 400},
		{"an absolute target without host", lines("GET http:///p HTTP/1.1", host), 400},
		{"an absolute target with user information", lines("GET http://u@h/ HTTP/1.1", host), 400},
		{"HTTP/2.0", lines("GET / HTTP/2.0", host), 505},
		{"the preface of HTTP/2", lines("PRI * HTTP/2.0"), 505},
		{"HTTP/3", lines("GET / HTTP/3", host), 505},
		{"HTTP/1.2", lines("GET / HTTP/1.2", host), 505},
		{"HTTP/0.9", lines("GET / HTTP/0.9", host), 505},
		{"HTTP/1.10", lines("GET / HTTP/1.10", host), 505},
		{"a version in lower case", lines("GET / http/1.1", host), 400},
		{"a version without number", lines("GET / HTTP/", host), 400},
		{"a version with a letter", lines("GET / HTTP/1.x", host), 400},
		{"another protocol", lines("GET / RTSP/1.0", host), 400},
		{"no Host", lines(get), 400},
		{"two Hosts", lines(get, host, host), 400},
		{"two Hosts in HTTP/1.0", lines("GET / HTTP/1.0", host, host), 400},
		{"a Host with a blank", lines(get, "Host: a b"), 400},
		{"a Host with a slash", lines(get, "Host: a/b"), 400},
		{"a Host with user information", lines(get, "Host: u@h"), 400},
		{"a folded field", lines(get, host, "A: b", " c"), 400},
		{"a field folded by a tab", lines(get, host, "A: b", "\tc"), 400},
		{"a blank before the colon", lines(get, host, "A : b"), 400},
		{"a field without colon", lines(get, host, "A"), 400},
		{"a field without name", lines(get, host, ": b"), 400},
		{"a field name that is not a token", lines(get, host, "A(: b"), 400},
		{"a field name beyond ASCII", lines(get, host, "\xc3\xa4: b"), 400},
		{"a NUL in a value", lines(get, host, "A: b\x00c"), 400},
		{"a NUL in a long value", lines(get, host, "A: 12345678\x0012345678"), 400},
		{"a DEL in a value", lines(get, host, "A: 1234567\x7f"), 400},
		{"Content-Length with Transfer-Encoding", lines(get, host, "Content-Length: 1", "Transfer-Encoding: chunked"), 400},
		{"two Content-Lengths", lines(get, host, "Content-Length: 1", "Content-Length: 2"), 400},
		{"two equal Content-Lengths", lines(get, host, "Content-Length: 1", "content-length: 1"), 400},
		{"a list of Content-Lengths", lines(get, host, "Content-Length: 1, 1"), 400},
		{"an empty Content-Length", lines(get, host, "Content-Length:"), 400},
		{"a positive sign", lines(get, host, "Content-Length: +1"), 400},
		{"a negative sign", lines(get, host, "Content-Length: -1"), 400},
		{"a hexadecimal Content-Length", lines(get, host, "Content-Length: 0x1"), 400},
		{"a Content-Length of 19 digits", lines(get, host, "Content-Length: 1000000000000000000"), 400},
		{"an unknown transfer coding", lines(get, host, "Transfer-Encoding: gzip, chunked"), 501},
		{"a last coding that is not chunked", lines(get, host, "Transfer-Encoding: chunked, gzip"), 400},
		{"the coding identity", lines(get, host, "Transfer-Encoding: identity"), 400},
		{"an empty Transfer-Encoding", lines(get, host, "Transfer-Encoding:"), 400},
		{"chunked behind a vertical tab", lines(get, host, "Transfer-Encoding: \vchunked"), 400},
		{"chunked with a parameter", lines(get, host, "Transfer-Encoding: chunked;a=b"), 400},
		{"two Transfer-Encodings", lines(get, host, "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), 400},
		{"Transfer-Encoding in HTTP/1.0", lines("GET / HTTP/1.0", "Transfer-Encoding: chunked"), 400},
		{"an unknown expectation", lines(get, host, "Expect: 200-ok"), 417},
		{"an unknown expectation beside a known one", lines(get, host, "Expect: 100-continue", "Expect: x"), 417},
		{"65 fields", lines(append([]string{get, host}, strings.Split(strings.Repeat("A: b\n", MaxFields), "\n")[:MaxFields]...)...), 431},
	} {
		_, n, err := parseAll(t, []byte(c.head))
		if n != 0 || statusOf(err) != c.status {
			t.Errorf("%s: Parse(%q) = %d, %v, want status %d", c.name, c.head, n, err, c.status)
		}
	}
}

func TestParseAcceptsAsManyFieldsAsAllowed(t *testing.T) {
	b := []byte(lines(append([]string{"GET / HTTP/1.1", "Host: h"}, strings.Split(strings.Repeat("A: b\n", MaxFields-1), "\n")[:MaxFields-1]...)...))
	r, n, err := parseAll(t, b)
	if n != len(b) || err != nil || len(r.Fields) != MaxFields {
		t.Errorf("Parse of %d fields = %d fields, %d, %v, want all, %d, nil", MaxFields, len(r.Fields), n, err, len(b))
	}
}

func TestParseBoundsTheHead(t *testing.T) {
	head := func(size int) []byte {
		const before, after = "GET / HTTP/1.1\r\nHost: h\r\nA: ", "\r\n\r\n"
		return []byte(before + strings.Repeat("x", size-len(before)-len(after)) + after)
	}
	var r Request
	if n, err := Parse(head(MaxHead), &r); n != MaxHead || err != nil {
		t.Errorf("Parse(head of MaxHead bytes) = %d, %v, want %d, nil", n, err, MaxHead)
	}
	if n, err := Parse(append([]byte("\r\n"), head(MaxHead-2)...), &r); n != MaxHead || err != nil {
		t.Errorf("Parse(head of MaxHead bytes with an empty line) = %d, %v, want %d, nil", n, err, MaxHead)
	}
	long := head(MaxHead + 1)
	for size := MaxHead - 3; size <= len(long); size++ {
		n, err := Parse(long[:size], &r)
		if want := map[bool]int{false: 0, true: 431}[size >= MaxHead]; n != 0 || statusOf(err) != want {
			t.Errorf("Parse(%d bytes of a longer head) = %d, %v, want status %d", size, n, err, want)
		}
	}
}

func TestParseSkipsOneEmptyLine(t *testing.T) {
	b := []byte("\r\n" + lines("GET / HTTP/1.1", "Host: h"))
	if r, n, err := parseAll(t, b); n != len(b) || err != nil || string(r.Method) != "GET" {
		t.Errorf("Parse(%q) = %d, %v, want %d, nil", b, n, err, len(b))
	}
}

func TestParseFailsEarly(t *testing.T) {
	for _, c := range []struct{ name, b string }{
		{"at the first byte of a TLS handshake", "\x16"},
		{"at the first bare LF", "GET / HTTP/1.1\n"},
		{"at the second byte if the first is CR", "\rG"},
	} {
		var r Request
		if n, err := Parse([]byte(c.b), &r); n != 0 || statusOf(err) != 400 {
			t.Errorf("%s: Parse(%q) = %d, %v, want status 400", c.name, c.b, n, err)
		}
	}
}

func TestParseTellsWhatBecomesOfTheConnection(t *testing.T) {
	for _, c := range []struct {
		name                  string
		version               string
		fields                []string
		keep, expect, upgrade bool
		chunked               bool
	}{
		{name: "HTTP/1.1 stays open", version: "1.1", keep: true},
		{name: "HTTP/1.1 may ask to close", version: "1.1", fields: []string{"Connection: Close"}},
		{name: "close anywhere in a list", version: "1.1", fields: []string{"Connection: a,\tclose ,b"}},
		{name: "close in a second field", version: "1.1", fields: []string{"Connection: keep-alive", "connection: close"}},
		{name: "close is a whole token", version: "1.1", fields: []string{"Connection: closed, not-close"}, keep: true},
		{name: "HTTP/1.0 closes", version: "1.0"},
		{name: "HTTP/1.0 may ask to stay open", version: "1.0", fields: []string{"Connection: Keep-Alive"}, keep: true},
		{name: "HTTP/1.0 with both closes", version: "1.0", fields: []string{"Connection: keep-alive, close"}},
		{name: "an upgrade as Firefox writes it", version: "1.1", fields: []string{"Connection: keep-alive, Upgrade", "Upgrade: websocket"}, keep: true, upgrade: true},
		{name: "an upgrade needs the Upgrade field", version: "1.1", fields: []string{"Connection: upgrade"}, keep: true},
		{name: "an upgrade needs a protocol", version: "1.1", fields: []string{"Connection: upgrade", "Upgrade:"}, keep: true},
		{name: "an upgrade needs the connection option", version: "1.1", fields: []string{"Upgrade: websocket"}, keep: true},
		{name: "HTTP/1.0 can not upgrade", version: "1.0", fields: []string{"Connection: upgrade", "Upgrade: websocket"}},
		{name: "an expectation in any case", version: "1.1", fields: []string{"Expect: 100-Continue"}, keep: true, expect: true},
		{name: "HTTP/1.0 expects nothing", version: "1.0", fields: []string{"Expect: 100-continue"}},
		{name: "not even the unknown", version: "1.0", fields: []string{"Expect: x"}},
		{name: "chunked in any case", version: "1.1", fields: []string{"Transfer-Encoding: Chunked"}, keep: true, chunked: true},
	} {
		b := []byte(lines(append([]string{"GET / HTTP/" + c.version, "Host: h"}, c.fields...)...))
		r, _, err := parseAll(t, b)
		if err != nil || r.KeepAlive != c.keep || r.Expect100 != c.expect || r.Upgrade != c.upgrade || r.Chunked != c.chunked {
			t.Errorf("%s: Parse(%q) = %s, %v, want keep %t expect %t upgrade %t chunked %t",
				c.name, b, dump(r), err, c.keep, c.expect, c.upgrade, c.chunked)
		}
	}
}

func TestParseAcceptsHTTP10WithoutHost(t *testing.T) {
	b := []byte(lines("GET / HTTP/1.0"))
	if r, n, err := parseAll(t, b); n != len(b) || err != nil || len(r.Host) != 0 {
		t.Errorf("Parse(%q) = %d, %v with host %q, want %d, nil and none", b, n, err, r.Host, len(b))
	}
}

func TestParseForgetsTheLastRequest(t *testing.T) {
	var r Request
	first := lines("POST /?q HTTP/1.1", "Host: h", "Transfer-Encoding: chunked", "Connection: upgrade", "Upgrade: x", "Expect: 100-continue")
	if _, err := Parse([]byte(first), &r); err != nil {
		t.Fatalf("Parse(%q) = %v, want nil", first, err)
	}
	second := []byte(lines("GET / HTTP/1.0"))
	if _, err := Parse(second, &r); err != nil {
		t.Fatalf("Parse(%q) = %v, want nil", second, err)
	}
	var fresh Request
	Parse(second, &fresh)
	if dump(&r) != dump(&fresh) {
		t.Errorf("Parse(%q) after another = %s, want %s", second, dump(&r), dump(&fresh))
	}
}

func TestQuery(t *testing.T) {
	for _, c := range []struct {
		name, query, key, want string
		ok                     bool
	}{
		{"a plain value", "EIO=4&transport=polling", "transport", "polling", true},
		{"the last of several", "foo=bar&foo=baz", "foo", "baz", true},
		{"the last of several even if empty", "foo=bar&foo", "foo", "", true},
		{"a key without value", "b64", "b64", "", true},
		{"an absent key", "EIO=4", "sid", "", false},
		{"the end of another key", "xsid=1", "sid", "", false},
		{"a literal key with brackets", "arr[]=1", "arr[]", "1", true},
		{"an escaped key", "%45IO=4", "EIO", "4", true},
		{"plus and escapes", "a=b+c%20d%2Be", "a", "b c d+e", true},
		{"an equals sign in the value", "a=b=c", "a", "b=c", true},
		{"an incomplete escape", "a=%4", "a", "%4", true},
		{"a wrong escape", "a=%zz%41", "a", "%zzA", true},
		{"UTF-8", "a=%C3%A4", "a", "ä", true},
		{"raw UTF-8", "a=ä", "a", "ä", true},
		{"not UTF-8", "a=%ff", "a", "\ufffd", true},
		{"raw bytes that are not UTF-8", "a=\xff", "a", "\ufffd", true},
		{"empty pairs", "&&a=1&&", "a", "1", true},
		{"the empty key of an empty pair is not there", "&&a=1&&", "", "", false},
		{"an empty key", "=1", "", "1", true},
		{"no query", "", "a", "", false},
	} {
		r := &Request{RawQuery: []byte(c.query)}
		if got, ok := r.Query(c.key); got != c.want || ok != c.ok {
			t.Errorf("%s: Query(%q) of %q = %q, %t, want %q, %t", c.name, c.key, c.query, got, ok, c.want, c.ok)
		}
		if got, ok := r.QueryView(c.key); string(got) != c.want || ok != c.ok {
			t.Errorf("%s: QueryView(%q) of %q = %q, %t, want %q, %t", c.name, c.key, c.query, got, ok, c.want, c.ok)
		}
	}
}

func TestCloneSharesNothing(t *testing.T) {
	for _, head := range []string{
		lines("GET /p?q=1 HTTP/1.1", "Host: h", "A: b", "Empty:"),
		lines("GET http://other HTTP/1.1", "Host: h"),
		lines("OPTIONS * HTTP/1.0"),
	} {
		b := []byte(head)
		var r Request
		if _, err := Parse(b, &r); err != nil {
			t.Fatalf("Parse(%q) = %v, want nil", b, err)
		}
		want := dump(&r)
		c := r.Clone()
		copy(b, bytes.Repeat([]byte("#"), len(b)))
		Parse([]byte(lines("PUT /x HTTP/1.1", "Host: x", "X: x")), &r)
		if got := dump(c); got != want {
			t.Errorf("Clone of %q = %s, want %s", head, got, want)
		}
	}
	if c := new(Request).Clone(); c.Target != nil {
		t.Errorf("Clone of the zero Request has the target %q, want none", c.Target)
	}
}

// TestTooManyLines: a head with too many fields fails at the first one that is too
// many, complete or not, so that looking for its end is bounded too.
func TestTooManyLines(t *testing.T) {
	l := Limits{Fields: 8}
	head := "GET / HTTP/1.1\r\nHost: h\r\n" + strings.Repeat("a:\r\n", 7)
	var r Request
	if n, err := l.Parse([]byte(head), &r); n != 0 || err != nil {
		t.Errorf("8 fields, incomplete: %d, %v, want more", n, err)
	}
	if n, err := l.Parse([]byte(head+"\r\n"), &r); n != len(head)+2 || err != nil {
		t.Errorf("8 fields: %d, %v, want all of it", n, err)
	}
	for _, rest := range []string{"b:\r\n", "b:\r\n\r\n", "b:\r\nc:", "b:\r\nc:\n"} {
		if _, err := l.Parse([]byte(head+rest), &r); err == nil || err.(*Error).Status != 431 || len(r.Fields) != 8 {
			t.Errorf("9 fields, %q: %v and %d fields, want 431 and those before", rest, err, len(r.Fields))
		}
	}
	if _, err := l.Parse([]byte("GET / HTTP/1.1\r\n"+strings.Repeat("a:\r\n", 4)+" b\r\n"+strings.Repeat("a:\r\n", 9)), &r); err == nil || err.(*Error).Status != 400 {
		t.Errorf("a fault before it: %v, want 400", err)
	}
}
