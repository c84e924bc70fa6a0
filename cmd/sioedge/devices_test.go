package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func init() {
	if os.Getenv("DEVICES_SERVER") != "" {
		main()
		os.Exit(0)
	}
}

// A device is what a client sends, byte for byte, and what it has to get. A line
// of its talk begins with the connection's name:
//
//	a> HEAD | Field: value || body   a request; Content-Length is added for a body
//	a< 200 text                      its answer, with the text in its body
//	a: packet                        a WebSocket message
//	a= packet                        the next one that comes and is no ping
//	a~ text                          the same, with the text in it
//	a^ text                          the same, after any number of others
//	!                                another client publishes msg, "hello"
//
// $host, $port and $sid are the server's and the session's.
type device struct {
	name    string
	origins string // that the operator has named
	talk    string
}

const hello = `42["msg","hello"]`

// The ten, each with the version of its library whose bytes these are.
var devices = []device{
	{"a browser, socket.io-client 4.8", "", `
a> GET /socket.io/?EIO=4&transport=polling&t=0ckivyto HTTP/1.1 | Host: $host:$port | Connection: keep-alive | User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 | Accept: */* | Origin: http://$host:$port | Sec-Fetch-Mode: cors | Accept-Encoding: gzip, deflate, br | Accept-Language: en
a< 200 0{"sid":
a> POST /socket.io/?EIO=4&transport=polling&t=0ckiw0&sid=$sid HTTP/1.1 | Host: $host:$port | Connection: keep-alive | Content-type: text/plain;charset=UTF-8 | Origin: http://$host:$port || 40
a< 200 ok
a> GET /socket.io/?EIO=4&transport=polling&t=0ckiw1&sid=$sid HTTP/1.1 | Host: $host:$port | Connection: keep-alive | Origin: http://$host:$port
a< 200 40{"sid":
w> GET /socket.io/?EIO=4&transport=websocket&sid=$sid HTTP/1.1 | Host: $host:$port | Connection: Upgrade | Pragma: no-cache | Upgrade: websocket | Origin: http://$host:$port | Sec-WebSocket-Version: 13 | Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ== | Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits
w< 101
w: 2probe
w= 3probe
w: 5
w: 420["echo",{"a":1}]
w= 430[{"a":1}]
!
w= 42["msg","hello"]`},
	{"Node, socket.io-client 2.5", "", `
a> GET /socket.io/?EIO=3&transport=polling&t=Pq1k2Lz&b64=1 HTTP/1.1 | User-Agent: node-XMLHttpRequest | Accept: */* | Host: $host:$port | Connection: close
a< 200 :0{"sid":
b> GET /socket.io/?EIO=3&transport=polling&t=Pq1k2M4&b64=1&sid=$sid HTTP/1.1 | User-Agent: node-XMLHttpRequest | Accept: */* | Host: $host:$port | Connection: close
b< 200 2:40
w> GET /socket.io/?EIO=3&transport=websocket&sid=$sid HTTP/1.1 | Sec-WebSocket-Version: 13 | Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ== | Connection: Upgrade | Upgrade: websocket | Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits | Host: $host:$port
w< 101
w: 2probe
w= 3probe
w: 5
w: 2
w= 3
w: 420["echo","x"]
w= 430["x"]
!
w= 42["msg","hello"]`},
	{"Android, socket.io-client-java 2.1 with OkHttp, polling", "", `
a> GET /socket.io/?EIO=4&transport=polling&t=Pq1kABC HTTP/1.1 | Accept: */* | Host: $host:$port | Connection: Keep-Alive | Accept-Encoding: gzip | User-Agent: okhttp/3.12.12
a< 200 0{"sid":
a> POST /socket.io/?EIO=4&transport=polling&t=Pq1kABD&sid=$sid HTTP/1.1 | Accept: */* | Content-Type: text/plain;charset=UTF-8 | Host: $host:$port | Connection: Keep-Alive || 40
a< 200 ok
a> GET /socket.io/?EIO=4&transport=polling&t=Pq1kABE&sid=$sid HTTP/1.1 | Accept: */* | Host: $host:$port | Connection: Keep-Alive
a< 200 40{"sid":
a> POST /socket.io/?EIO=4&transport=polling&t=Pq1kABF&sid=$sid HTTP/1.1 | Accept: */* | Content-Type: text/plain;charset=UTF-8 | Host: $host:$port | Connection: Keep-Alive || 451-["publish","",{"_placeholder":true,"num":0}]` + "\x1ebAw==\\n" + `
a< 200 ok
a> GET /socket.io/?EIO=4&transport=polling&t=Pq1kABG&sid=$sid HTTP/1.1 | Accept: */* | Host: $host:$port | Connection: Keep-Alive
a< 200 bAw==
!
a> GET /socket.io/?EIO=4&transport=polling&t=Pq1kABH&sid=$sid HTTP/1.1 | Accept: */* | Host: $host:$port | Connection: Keep-Alive
a< 200 42["msg","hello"]`},
	{"Java's own HttpClient, which offers HTTP/2", "", `
a> GET /socket.io/?EIO=4&transport=polling HTTP/1.1 | Connection: Upgrade, HTTP2-Settings | Content-Length: 0 | Host: $host:$port | HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA | Upgrade: h2c | User-Agent: Java-http-client/17.0.9
a< 200 0{"sid":
a> POST /socket.io/?EIO=4&transport=polling&sid=$sid HTTP/1.1 | Connection: Upgrade, HTTP2-Settings | Host: $host:$port | HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA | Upgrade: h2c || 40
a< 200 ok
a> GET /socket.io/?EIO=4&transport=polling&sid=$sid HTTP/1.1 | Connection: Upgrade, HTTP2-Settings | Host: $host:$port | Upgrade: h2c
a< 200 40{"sid":
!
a> GET /socket.io/?EIO=4&transport=polling&sid=$sid HTTP/1.1 | Connection: Upgrade, HTTP2-Settings | Host: $host:$port | Upgrade: h2c
a< 200 42["msg","hello"]`},
	{"Python, python-socketio 5 with requests and websocket-client", "", `
a> GET /socket.io/?transport=polling&EIO=4&t=1764000000.1234567 HTTP/1.1 | Host: $host:$port | User-Agent: python-requests/2.32.3 | Accept-Encoding: gzip, deflate | Accept: */* | Connection: keep-alive
a< 200 0{"sid":
w> GET /socket.io/?transport=websocket&EIO=4&sid=$sid&t=1764000000.2345678 HTTP/1.1 | Upgrade: websocket | Host: $host:$port | Origin: http://$host:$port | Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ== | Sec-WebSocket-Version: 13 | Connection: Upgrade
w< 101
w: 2probe
w= 3probe
w: 5
w: 40{}
w~ 40{"sid":
w: 420["echo",1]
w= 430[1]
!
w= 42["msg","hello"]`},
	{"Swift, Socket.IO-Client-Swift 16 with Starscream", "", `
w> GET /socket.io/?transport=websocket&EIO=4 HTTP/1.1 | Host: $host:$port | Upgrade: websocket | Connection: Upgrade | Sec-WebSocket-Version: 13 | Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ== | Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits; server_max_window_bits=15 | Origin: http://$host:$port
w< 101
w~ 0{"sid":
w: 40/,
w~ 40{"sid":
w: 420["echo",1]
w= 430[1]
!
w= 42["msg","hello"]`},
	{"an iPhone application whose Origin is a WebSocket's", "", `
w> GET /socket.io/?EIO=3&transport=websocket HTTP/1.1 | Host: $host:$port | Origin: ws://$host:$port | Upgrade: websocket | Connection: Upgrade | Sec-WebSocket-Version: 13 | Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==
w< 101
w~ 0{"sid":
w= 40
w: 420["echo",1]
w= 430[1]
!
w= 42["msg","hello"]`},
	{"Dart, socket_io_client 3 on dart:io", "", `
w> GET /socket.io/?EIO=4&transport=websocket HTTP/1.1 | user-agent: Dart/3.5 (dart:io) | connection: Upgrade | cache-control: no-cache | accept-encoding: gzip | content-length: 0 | sec-websocket-version: 13 | host: $host:$port | sec-websocket-extensions: permessage-deflate; client_max_window_bits | sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ== | upgrade: websocket
w< 101
w~ 0{"sid":
w: 40
w~ 40{"sid":
w: 420["echo",1]
w= 430[1]
!
w= 42["msg","hello"]`},
	{"C++, cocos2d-x 3", "", `
a> GET /socket.io/1/?EIO=2&transport=polling&b64=true HTTP/1.1 | Host: $host:$port | Accept: */* | Accept-Encoding: deflate, gzip
a< 200 :0{"sid":
w> GET /socket.io/1/websocket/?EIO=2&transport=websocket&sid=$sid HTTP/1.1 | Pragma: no-cache | Cache-Control: no-cache | Host: $host:$port | Upgrade: websocket | Connection: close, Upgrade | Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ== | Sec-WebSocket-Version: 13
w< 101
w: 5
w= 40
w: 2
w= 3
w: 420["echo",1]
w= 430[1]
!
w= 42["msg","hello"]`},
	{"Arduino, arduinoWebSockets 2.6", "file://", `
a> GET /socket.io/?EIO=4&transport=polling HTTP/1.1 | Host: $host:$port | Connection: keep-alive | Origin: file:// | User-Agent: arduino-WebSocket-Client
a< 200 0{"sid":
w> GET /socket.io/?EIO=4&transport=websocket&sid=$sid HTTP/1.1 | Host: $host:$port | Connection: Upgrade | Upgrade: websocket | Sec-WebSocket-Version: 13 | Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ== | Sec-WebSocket-Protocol: arduino | Origin: file:// | User-Agent: arduino-WebSocket-Client
w< 101
w: 2probe
w: 5
w: 40
w= 3probe
w~ 40{"sid":
w: 420["echo",1]
w= 430[1]
!
w= 42["msg","hello"]`},
	{"Unity, a plugin whose Origin is a star", "*", `
w> GET /socket.io/?EIO=4&transport=websocket HTTP/1.1 | User-Agent: websocket-sharp/1.0 | Host: $host:$port | Upgrade: websocket | Connection: Upgrade | Origin: * | Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ== | Sec-WebSocket-Version: 13
w< 101
w~ 0{"sid":
w: 40
w~ 40{"sid":
w: 420["echo",1]
w= 430[1]
!
w= 42["msg","hello"]`},
}

// What a server with its defaults, and --eio3, serves as Node's does; the
// demonstration is there for its application alone, and its origins are not.
func TestTenKindsOfDevices(t *testing.T) {
	servers := map[string]*served{}
	for _, d := range devices {
		if servers[d.origins] == nil {
			origins := d.origins
			if origins == "" {
				origins = "https://another.example" // with none, --demo would let in all
			}
			servers[d.origins] = startServer(t, "--eio3", "--demo", "--origins="+origins)
		}
		t.Run(d.name, func(t *testing.T) { d.run(t, servers[d.origins].addr) })
	}
}

// Who has an origin that nobody named is refused, and the log says by which flag.
func TestForeignOriginsAreRefusedAndSeen(t *testing.T) {
	s := startServer(t, "--eio3", "--demo", "--origins=https://another.example")
	for _, origin := range []string{"file://", "*", "https://elsewhere.example", "null"} {
		d := device{name: origin, talk: "a> GET /socket.io/?EIO=4&transport=polling HTTP/1.1 | Host: $host:$port | Origin: " + origin + "\na< 403"}
		t.Run(origin, func(t *testing.T) { d.run(t, s.addr) })
	}
	deadline := time.After(20 * time.Second)
	for {
		select {
		case line, ok := <-s.log:
			if !ok {
				t.Fatal("the server has ended")
			}
			if strings.Contains(line, "--origins") && strings.Contains(line, "file://") {
				return
			}
		case <-deadline:
			t.Fatal("no line of the log names --origins and the origin")
		}
	}
}

// A served is a server in a process of its own.
type served struct {
	addr    string
	log     chan string // lines; those that nobody takes in time are dropped
	process *os.Process
}

func startServer(t *testing.T, args ...string) *served {
	t.Helper()
	return startCommand(t, exec.Command(os.Args[0], append([]string{"serve", "--listen=127.0.0.1:0", "--log-format=json", "--drain-delay=0s"}, args...)...))
}

func startCommand(t *testing.T, cmd *exec.Cmd) *served {
	t.Helper()
	cmd.Env = append(os.Environ(), append(cmd.Env, "DEVICES_SERVER=1")...)
	out, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	s := &served{log: make(chan string, 1000), process: cmd.Process}
	addr := make(chan string, 1)
	// ends with the process
	go func() {
		defer close(s.log)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var said struct{ Msg, Address string }
			if json.Unmarshal(lines.Bytes(), &said) == nil && said.Msg == "listening" {
				select {
				case addr <- said.Address:
				default: // the first is enough
				}
			}
			select {
			case s.log <- lines.Text():
			default:
			}
		}
	}()
	select {
	case s.addr = <-addr:
	case <-time.After(20 * time.Second):
		t.Fatal("the server does not listen")
	}
	return s
}

// A talker is a device that talks.
type talker struct {
	*testing.T
	addr  string
	sid   string
	conns map[string]*talkerConn
}

type talkerConn struct {
	net.Conn
	r *bufio.Reader
}

func (d *device) run(t *testing.T, addr string) {
	x := &talker{t, addr, "", map[string]*talkerConn{}}
	x.talk(d.talk)
	for _, c := range x.conns {
		c.Close()
	}
}

// talk does what lines of a talk say.
func (x *talker) talk(lines string) {
	x.Helper()
	addr := x.addr
	for _, line := range strings.Split(strings.TrimSpace(lines), "\n") {
		if line == "!" {
			(&device{"the publisher", "", publisher}).run(x.T, addr)
			continue
		}
		host, port, _ := net.SplitHostPort(addr)
		name, what := line[:2], strings.NewReplacer("$host", host, "$port", port, "$sid", x.sid, `\n`, "\n").Replace(strings.TrimSpace(line[2:]))
		if err := x.step(name[:1], name[1], what); err != nil {
			x.Fatalf("%s\n%v", line, err)
		}
	}
}

const publisher = `
w> GET /socket.io/?EIO=4&transport=websocket HTTP/1.1 | Host: $host:$port | Upgrade: websocket | Connection: Upgrade | Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ== | Sec-WebSocket-Version: 13
w< 101
w~ 0{"sid":
w: 40
w~ 40{"sid":
w: 420["publish","","hello"]
w= ` + hello

func (x *talker) step(conn string, kind byte, what string) error {
	c := x.conns[conn]
	if c == nil {
		n, err := net.Dial("tcp", x.addr)
		if err != nil {
			return err
		}
		c = &talkerConn{n, bufio.NewReader(n)}
		x.conns[conn] = c
	}
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	switch kind {
	case '>':
		return c.request(what)
	case '<':
		return x.answer(c, what)
	case ':':
		b := []byte{0x81, 0x80 | byte(len(what)), 0, 0, 0, 0}
		if len(what) > 125 {
			b = []byte{0x81, 0x80 | 126, byte(len(what) >> 8), byte(len(what)), 0, 0, 0, 0}
		}
		_, err := c.Write(append(b, what...))
		return err
	}
	got, err := c.message()
	for kind == '^' && err == nil && !strings.Contains(got, what) {
		got, err = c.message()
	}
	if err == nil && got != what && (kind == '=' || !strings.Contains(got, what)) {
		err = fmt.Errorf("got %q", got)
	}
	return err
}

// request sends a request as it is written in one line.
func (c *talkerConn) request(what string) error {
	head, body, has := strings.Cut(what, " || ")
	if has {
		head += fmt.Sprintf(" | Content-Length: %d", len(body))
	}
	_, err := io.WriteString(c, strings.ReplaceAll(head, " | ", "\r\n")+"\r\n\r\n"+body)
	return err
}

func (x *talker) answer(c *talkerConn, what string) error {
	res, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return err
	}
	var body []byte
	if res.StatusCode != http.StatusSwitchingProtocols {
		body, err = io.ReadAll(res.Body)
	}
	status, text, _ := strings.Cut(what, " ")
	if err == nil && (fmt.Sprint(res.StatusCode) != status || !strings.Contains(string(body), text)) {
		err = fmt.Errorf("got %d %q", res.StatusCode, body)
	}
	if _, after, ok := strings.Cut(string(body), `0{"sid":"`); ok && x.sid == "" {
		x.sid, _, _ = strings.Cut(after, `"`)
	}
	return err
}

// message returns the next message that is no ping.
func (c *talkerConn) message() (string, error) {
	for {
		h := make([]byte, 4)
		if _, err := io.ReadFull(c.r, h[:2]); err != nil {
			return "", err
		}
		n := int(h[1])
		if n == 126 {
			if _, err := io.ReadFull(c.r, h[:2]); err != nil {
				return "", err
			}
			n = int(binary.BigEndian.Uint16(h))
		}
		b := make([]byte, n)
		if _, err := io.ReadFull(c.r, b); err != nil {
			return "", err
		}
		if string(b) != "2" {
			return string(b), nil
		}
	}
}
