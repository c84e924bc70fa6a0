package sio_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/wsframe"
)

var compressing = eio.Options{Compression: &eio.Compression{}}

// dialCompressed opens a session whose client takes compressed messages, and
// joins "/".
func (srv *server) dialCompressed() *client {
	srv.t.Helper()
	c := srv.handshakeWith("EIO=4&transport=websocket", "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n")
	c.open = c.next()
	c.join("40")
	return c
}

// A broadcast to many clients on two loops is compressed once. All receive it,
// and what is emitted to each of them between broadcasts, in order.
func TestBroadcastsAreCompressedOnce(t *testing.T) {
	const clients, rounds = 200, 10
	var joined chan sio.Socket
	srv := serve(t, sio.Options{Engine: compressing}, func(srv *sio.Server) { joined = sockets(srv.Of("/")) })
	ns := srv.Of("/")
	var compressed, plain []*client
	var all []sio.Socket
	for range clients {
		compressed = append(compressed, srv.dialCompressed())
		all = append(all, take(t, joined))
	}
	for range 20 {
		plain = append(plain, srv.join("40"))
		all = append(all, take(t, joined))
	}
	long := strings.Repeat("long ", 400)
	for i := range rounds {
		for _, emit := range []error{ns.Emit("long", i, long), ns.Emit("short", i), ns.All().Compress(false).Emit("as it is", i, long)} {
			if emit != nil {
				t.Fatal(emit)
			}
		}
		for _, s := range all {
			if err := s.Emit("you", i); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i, c := range append(plain, compressed...) {
		for j := range rounds {
			for _, want := range []struct {
				packet     string
				compressed bool
			}{
				{fmt.Sprintf(`42["long",%d,"%s"]`, j, long), i >= len(plain)},
				{fmt.Sprintf(`42["short",%d]`, j), false},
				{fmt.Sprintf(`42["as it is",%d,"%s"]`, j, long), false},
				{fmt.Sprintf(`42["you",%d]`, j), false},
			} {
				if got := c.next(); got != want.packet || c.compressed != want.compressed {
					t.Fatalf("client %d received %.60s… (compressed: %t), want %.60s… (%t)", i, got, c.compressed, want.packet, want.compressed)
				}
			}
		}
	}
	if got := srv.Stats().Compression; got.Deflated != rounds {
		t.Errorf("Stats().Compression = %+v, want %d messages deflated", got, rounds)
	}
}

// What is emitted with Compress(false) is not compressed, on whichever way.
func TestCompress(t *testing.T) {
	const connect, packedConnect = "40", "<82a47479706500a36e7370a12f>" // {type: 0, nsp: "/"}
	for name, o := range map[string]struct {
		sio.Options
		connect string
	}{
		"JSON":          {sio.Options{}, connect},
		"with recovery": {sio.Options{Recovery: sio.Recovery{Window: patience}}, connect},
		"MessagePack":   {sio.Options{Parser: sio.MessagePack}, packedConnect},
	} {
		t.Run(name, func(t *testing.T) {
			var joined chan sio.Socket
			o.Engine = compressing
			srv := serve(t, o.Options, func(srv *sio.Server) { joined = sockets(srv.Of("/")) })
			c := srv.handshakeWith("EIO=4&transport=websocket", "Sec-WebSocket-Extensions: permessage-deflate\r\n")
			c.next()
			c.send(o.connect)
			c.next()
			s, ns := take(t, joined), srv.Of("/")
			ask := func(b sio.BroadcastOperator) func(string, ...any) error {
				return func(event string, args ...any) error {
					ctx, cancel := context.WithCancel(context.Background())
					cancel()
					b.EmitAck(ctx, event, args...)
					return nil
				}
			}
			long := strings.Repeat("long ", 400)
			for i, emit := range []struct {
				by         func(event string, args ...any) error
				compressed bool
			}{
				{s.Emit, true},
				{s.Compress(true).Emit, true},
				{s.Compress(false).Emit, false},
				{s.Volatile().Emit, true},
				{s.Volatile().Compress(false).Emit, false},
				{ns.Emit, true},
				{ns.All().Compress(false).Emit, false},
				{ns.All().Compress(false).Compress(true).Emit, true},
				{ns.To(s.ID()).Compress(false).Volatile().Emit, false},
				{ask(ns.All()), true},
				{ask(ns.All().Compress(false)), false},
				{ask(s.Compress(false)), false},
			} {
				if err := emit.by("e", long); err != nil {
					t.Fatal(err)
				}
				got := c.next()
				if b, ok := binary(got); ok {
					got = string(b)
				}
				if !strings.Contains(got, long) || c.compressed != emit.compressed {
					t.Errorf("emit %d: compressed: %t, want %t; received %.40s…", i, c.compressed, emit.compressed, got)
				}
			}
		})
	}
}

// What a client sends compressed arrives like anything else.
func TestCompressedEvents(t *testing.T) {
	srv := serve(t, sio.Options{Engine: compressing}, func(srv *sio.Server) { echo(srv.Of("/")) })
	c := srv.dialCompressed()
	packet := `42["echo","` + strings.Repeat("a", 300) + `"]`
	c.write(compressedFrame(packet))
	c.expect(packet)
	if got := srv.Stats().Compression; got.Inflated != 1 {
		t.Errorf("Stats().Compression = %+v, want one message inflated", got)
	}
}

// The browser client is served compressed to those who take that.
func TestClientFilesAreCompressed(t *testing.T) {
	script := "/*!\n * Socket.IO v4.8.4\n */\n" + strings.Repeat("let x = 1\n", 1000)
	const short = `{"version":3}`
	srv := serve(t, sio.Options{Client: fstest.MapFS{
		"socket.io.js":     {Data: []byte(script)},
		"socket.io.js.map": {Data: []byte(short)},
	}}, func(srv *sio.Server) { srv.Of("/") })
	for _, c := range []struct {
		path, accept, tag string // requested; tag for If-None-Match
		status            int
		encoding, etag    string // answered
		body              string
	}{
		{"socket.io.js", "gzip, deflate, br", "", 200, "gzip", `"4.8.4-gzip"`, script},
		{"socket.io.js", "br", "", 200, "", `"4.8.4"`, script},
		{"socket.io.js", "gzip;q=0", "", 200, "", `"4.8.4"`, script},
		{"socket.io.js.map", "gzip", "", 200, "", `"4.8.4"`, short},
		{"socket.io.js", "gzip", `"4.8.4-gzip"`, 304, "", `"4.8.4-gzip"`, ""},
		{"socket.io.js", "gzip", `"4.8.4"`, 200, "gzip", `"4.8.4-gzip"`, script},
		{"socket.io.js", "identity", `"4.8.4-gzip"`, 200, "", `"4.8.4"`, script},
	} {
		r, err := http.NewRequest("GET", "http://"+srv.addr+"/socket.io/"+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Close = true
		r.Header.Set("Accept-Encoding", c.accept)
		if c.tag != "" {
			r.Header.Set("If-None-Match", c.tag)
		}
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err == nil && resp.Header.Get("Content-Encoding") == "gzip" {
			var z *gzip.Reader
			if z, err = gzip.NewReader(bytes.NewReader(body)); err == nil {
				body, err = io.ReadAll(z)
			}
		}
		h := resp.Header
		if err != nil || resp.StatusCode != c.status || string(body) != c.body || h.Get("Content-Encoding") != c.encoding ||
			h.Get("ETag") != c.etag || h.Get("Vary") != "Accept-Encoding" {
			t.Errorf("GET %s with Accept-Encoding %s, If-None-Match %s = %d %v, %d bytes, %v; want %d, %q, %s, %d bytes",
				c.path, c.accept, c.tag, resp.StatusCode, h, len(body), err, c.status, c.encoding, c.etag, len(c.body))
		}
	}
}

// compressedFrame returns a text message as a client sends it compressed.
func compressedFrame(packet string) []byte {
	var c wsframe.Compressor
	b, ok := c.Append(nil, []byte(packet))
	if !ok {
		panic("not smaller")
	}
	frame := wsframe.AppendMaskedFrame(nil, wsframe.Text, b, [4]byte{1, 2, 3, 4})
	frame[0] |= 0x40 // RSV1
	return frame
}
