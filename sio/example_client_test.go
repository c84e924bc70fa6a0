package sio_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/wsframe"
)

// A port is where the clients of an example find its server.
type port struct {
	addr string
	all  []*demo
}

// demonstrate serves on a free port while f talks to the server, as raw clients
// that write and read Socket.IO packets.
func demonstrate(srv *sio.Server, f func(p *port)) {
	addr, err := srv.Listen("127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	// ends with the Shutdown
	go srv.Serve(context.Background())
	srv.AwaitRunning()
	p := &port{addr: addr.String()}
	f(p)
	for _, d := range p.all {
		d.conn.Close()
	}
	if err := srv.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
}

// serveBeside serves h on a free port, where f finds it, beside srv.
func serveBeside(srv *sio.Server, h http.Handler, f func(p *port)) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	site := &http.Server{Handler: h}
	// ends with the Close
	go site.Serve(ln)
	defer site.Close()
	demonstrate(srv, func(p *port) {
		p.addr = ln.Addr().String()
		f(p)
	})
}

// connect opens a session over WebSocket. fields are further ones of its
// request, such as "Origin: https://example.com".
func (p *port) connect(fields ...string) *demo {
	conn, err := net.Dial("tcp", p.addr)
	if err != nil {
		log.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(patience))
	d := &demo{conn: conn}
	p.all = append(p.all, d)
	d.open(fields)
	return d
}

// get makes a request over HTTP and returns its status and the first line of the
// answer.
func (p *port) get(path string, fields ...string) string {
	r, err := http.NewRequest("GET", "http://"+p.addr+path, nil)
	if err != nil {
		log.Fatal(err)
	}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		r.Header.Add(name, value)
	}
	r.Close = true
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		log.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		log.Fatal(err)
	}
	line, _, _ := strings.Cut(string(body), "\n")
	return fmt.Sprint(answer.StatusCode, " ", line)
}

// A demo is a client of an example.
type demo struct {
	conn io.ReadWriteCloser
	in   []byte
	sid  string // of the last namespace that it joined
	pid  string // of that, to come back with
}

// simulated makes a client of a simulated connection.
func simulated(p *loop.Peer) *demo {
	d := &demo{conn: peerConn{p}}
	d.open(nil)
	return d
}

// A peerConn is a simulated connection as a stream.
type peerConn struct{ *loop.Peer }

func (p peerConn) Close() error { p.Peer.Close(); return nil }

func (p peerConn) Write(b []byte) (int, error) { p.Send(b); return len(b), nil }

func (p peerConn) Read(b []byte) (int, error) {
	n := copy(b, p.Received())
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (d *demo) open(fields []string) {
	var nonce [16]byte
	head := wsframe.AppendClientHandshake(nil, "localhost", "/socket.io/?EIO=4&transport=websocket", nonce)
	head = head[:len(head)-len("\r\n")]
	for _, f := range fields {
		head = append(head, f+"\r\n"...)
	}
	d.conn.Write(append(head, "\r\n"...))
	for n := 0; n == 0; {
		d.more()
		var err error
		if n, err = wsframe.CheckAccept(d.in, nonce); err != nil {
			log.Fatal(err)
		}
		d.in = d.in[n:]
	}
	d.receive() // of Engine.IO
}

func (d *demo) more() {
	buf := make([]byte, 4096)
	n, err := d.conn.Read(buf)
	if err != nil {
		log.Fatal(err)
	}
	d.in = append(d.in, buf[:n]...)
}

// join joins a namespace, which has to let it in.
func (d *demo) join(name string) {
	packet := "0"
	if name != "/" {
		packet = "0" + name + ","
	}
	d.send(packet)
	answer := d.receive()
	var ids struct{ SID, PID string }
	if err := json.Unmarshal([]byte(strings.TrimPrefix(answer, packet)), &ids); err != nil {
		log.Fatal(answer)
	}
	d.sid, d.pid = ids.SID, ids.PID
}

// send sends packets: text as it is, bytes as <hex>.
func (d *demo) send(packets ...string) {
	for _, p := range packets {
		if _, ok := binary(p); !ok {
			p = "4" + p // a message of Engine.IO
		}
		d.conn.Write(appendPacket(nil, p))
	}
}

// receive returns the next packet without Engine.IO's type, bytes as <hex>, and
// the end as the code and the reason of the close frame, or "closed".
func (d *demo) receive() string {
	for {
		h, n, err := wsframe.ParseHeader(d.in)
		if err != nil {
			log.Fatal(err)
		}
		end := n + int(h.Length)
		if n == 0 || len(d.in) < end {
			d.more()
			continue
		}
		data := d.in[n:end]
		d.in = d.in[end:]
		switch {
		case h.Op == wsframe.Binary:
			return "<" + hex.EncodeToString(data) + ">"
		case h.Op == wsframe.Close && len(data) < 2:
			return "closed"
		case h.Op == wsframe.Close:
			return fmt.Sprint(int(data[0])<<8|int(data[1]), " ", string(data[2:]))
		default:
			return string(data[1:])
		}
	}
}

// drain reads until the server closes, and closes too.
func (d *demo) drain() {
	io.Copy(io.Discard, d.conn)
	d.conn.Close()
}
