// Package takeover is for connections of net/http that event loops take over: what their
// clients have sent, and what those are told that cannot be taken.
package takeover

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// Head returns the head of a request as its client may have sent it; with
// last, as that of the connection's last one, unless it is to become a
// WebSocket.
func Head(r *http.Request, last bool) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.%d\r\n", r.Method, r.RequestURI, r.ProtoMinor)
	if r.Host != "" || r.ProtoMinor > 0 {
		fmt.Fprintf(&b, "Host: %s\r\n", r.Host)
	}
	out := map[string]bool{"Host": true, "Content-Length": true, "Transfer-Encoding": true}
	if last = last && r.Header.Get("Upgrade") == ""; last {
		out["Connection"] = true
		b.WriteString("Connection: close\r\n")
	}
	switch {
	case len(r.TransferEncoding) > 0: // net/http knows no other
		b.WriteString("Transfer-Encoding: chunked\r\n")
	case r.ContentLength > 0 || r.Header.Get("Content-Length") != "":
		b.WriteString("Content-Length: " + strconv.FormatInt(r.ContentLength, 10) + "\r\n")
	}
	_ = r.Header.WriteSubset(&b, out) // writing to a Buffer cannot fail
	b.WriteString("\r\n")
	return b.Bytes()
}

// Refuse answers on a connection that could not be taken over, and closes it. With closed
// another server is to be asked.
func Refuse(conn net.Conn, err error, closed bool) {
	defer conn.Close()
	header, status := http.Header{"Content-Type": {"text/plain; charset=utf-8"}}, http.StatusNotImplemented
	text := "Socket.IO cannot take over the connection: " + err.Error() + "\n"
	if closed {
		status = http.StatusServiceUnavailable
		Unavailable(header)
	}
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	_ = (&http.Response{ProtoMajor: 1, ProtoMinor: 1, StatusCode: status, Header: header, Close: true,
		ContentLength: int64(len(text)), Body: io.NopCloser(bytes.NewReader([]byte(text)))}).Write(conn)
}

// Unavailable adds what tells proxies when to try again.
func Unavailable(h http.Header) { h.Set("Retry-After", "5") }
