package eio

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/wsframe"
)

func (p *play) given(what string, names []string) {
	const rest = `,"pingInterval":%d,"pingTimeout":%d,"maxPayload":%d}`
	delete(p.ids, "$sid")
	o := &p.srv.o
	settings := fmt.Sprintf(rest, o.PingInterval.Milliseconds(), o.PingTimeout.Milliseconds(), o.MaxPayload)
	var lines []string
	if what == "websocket" {
		lines = []string{"C a WS " + p.revision() + "&transport=websocket", "S a 101", `S a text 0{"sid":"$sid","upgrades":[]` + settings, "A open"}
	} else {
		open := `0{"sid":"$sid","upgrades":` + p.srv.upgrades + settings
		if p.old {
			open = fmt.Sprintf("%d:%s", len(open)-len("$sid")+IDLen, open)
		}
		lines = []string{"C a GET " + p.revision() + "&transport=polling", "S a 200 " + open, "A open"}
	}
	if what == "upgraded" {
		lines = append(lines, "C w WS $ws", "S w 101", "C w text 2probe", "S w text 3probe", "C w text 5")
	}
	for _, line := range lines {
		words := strings.SplitN(line, " ", 3)
		switch words[1] {
		case "a":
			words[1] = names[0]
		case "w":
			words[1] = names[1]
		}
		p.do(strings.Join(words, " "))
	}
}

func (p *play) send(a *actor, b []byte) {
	if !p.cut {
		a.peer.Send(b)
		return
	}
	for i := range b {
		a.peer.Send(b[i : i+1])
	}
}

func (p *play) client(a *actor, rest string) {
	verb, arg, _ := strings.Cut(rest, " ")
	path := p.srv.o.Path
	parts := strings.Split(arg, " | ")
	frame := func(op wsframe.Op, data []byte) {
		p.send(a, wsframe.AppendMaskedFrame(nil, op, data, [4]byte{0x37, 0xfa, 0x21, 0x3d}))
	}
	request := func(line string, fields []string, body string) {
		a.isHead = strings.HasPrefix(line, "HEAD ")
		if !strings.Contains(line, " HTTP/") {
			line += " HTTP/1.1"
		}
		p.send(a, []byte(strings.Join(append([]string{line}, fields...), "\r\n")+"\r\n\r\n"+body))
	}
	switch verb {
	case "connect":
	case "GET":
		request("GET "+path+"?"+arg, []string{"Host: h"}, "")
	case "POST":
		query, body, _ := strings.Cut(arg, " |") // the blank behind it is not there if the body is empty
		body = strings.TrimPrefix(body, " ")
		request("POST "+path+"?"+query, []string{"Host: h", "Content-Type: text/plain;charset=UTF-8", "Content-Length: " + strconv.Itoa(len(body))}, body)
	case "octets":
		query, body, _ := strings.Cut(arg, " |")
		b := p.hex(body)
		request("POST "+path+"?"+query, []string{"Host: h", "Content-Type: application/octet-stream", "Content-Length: " + strconv.Itoa(len(b))}, string(b))
	case "chunked":
		body := ""
		for _, piece := range parts[1:] {
			body += fmt.Sprintf("%x\r\n%s\r\n", len(piece), piece)
		}
		request("POST "+path+"?"+parts[0], []string{"Host: h", "Transfer-Encoding: chunked"}, body+"0\r\n\r\n")
	case "WS":
		request("GET "+path+"?"+parts[0], append([]string{"Host: h", "Connection: keep-alive, Upgrade", "Upgrade: websocket",
			"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="}, parts[1:]...), "")
	case "head":
		request(parts[0], parts[1:], "")
	case "text":
		frame(wsframe.Text, []byte(arg))
	case "binary":
		frame(wsframe.Binary, p.hex(arg))
	case "compressed":
		p.send(a, compressedFrame(wsframe.Text, []byte(arg)))
	case "ping":
		frame(wsframe.Ping, []byte(arg))
	case "pong":
		frame(wsframe.Pong, []byte(arg))
	case "close":
		var body []byte
		if code, err := strconv.Atoi(arg); err == nil {
			body = []byte{byte(code >> 8), byte(code)}
		}
		frame(wsframe.Close, body)
	case "raw":
		p.send(a, p.hex(arg))
	case "bytes":
		p.send(a, []byte(arg))
	case "END":
		a.peer.CloseWrite()
	case "RST":
		a.peer.Reset()
	case "FIN":
		a.peer.Close()
	default:
		p.fail("unknown action %q", verb)
	}
	p.sim.Turn()
}

func (p *play) handler(verb, arg string) {
	p.sim.Engine().Loops()[0].Post(loop.TaskFunc(func(*loop.Loop) {
		switch verb {
		case "send":
			p.now.Send(AppendText(nil, []byte(arg)))
		case "many":
			n, data, _ := strings.Cut(arg, " ")
			times, _ := strconv.Atoi(n)
			for range times {
				p.now.Send(AppendText(nil, []byte(data)))
			}
		case "pause":
			p.now.PauseRead()
		case "resume":
			p.now.ResumeRead()
		case "plain":
			p.now.SendPlain(AppendText(nil, []byte(arg)))
		case "volatile":
			if p.now.Writable() {
				p.now.Send(AppendText(nil, []byte(arg)))
			}
		case "binary":
			p.now.Send(AppendBinary(nil, p.hex(arg)))
		case "prepared":
			p.now.SendPrepared(Prepare([]byte(arg), false), true)
		case "plainly": // prepared, and never compressed
			m := Prepare([]byte(arg), false)
			m.Plain = true
			p.now.SendPrepared(m, true)
		case "shared":
			p.now.SendPrepared(Prepare(p.hex(arg), true), true)
		case "last":
			p.now.Send(AppendText(nil, []byte(arg)))
			p.now.Close()
		case "closeWith":
			code, reason, _ := strings.Cut(arg, " ")
			n, _ := strconv.Atoi(code)
			if err := p.now.CloseWith(uint16(n), reason); err != nil {
				p.fail("%v", err)
			}
		case "drain":
			p.srv.Drain()
		case "close":
			if arg == "all" {
				p.srv.CloseAll(p.sim.Engine().Loops()[0])
			} else {
				p.now.Close()
			}
		default:
			p.fail("unknown action of the handler %q", verb)
		}
	}))
	p.sim.Turn()
}

// expect takes the next response or frame of what the actor received.
func (p *play) expect(who, want string) {
	p.t.Helper()
	p.sim.Turn()
	a := p.peers[who]
	if a == nil {
		p.fail("no connection %s", who)
	}
	a.got = append(a.got, a.peer.Received()...)
	var got string
	switch {
	case strings.HasPrefix(want, "field ") || strings.HasPrefix(want, "no field "):
		p.expectField(a, p.unescape(want))
		return
	case len(a.got) == 0 && a.peer.Closed():
		got = "FIN"
	case len(a.got) == 0:
		got = "nothing"
	case bytes.HasPrefix(a.got, []byte("HTTP/1.1 ")):
		got = p.response(a)
	default:
		got = p.frame(a)
	}
	got, want = strings.TrimRight(got, " "), p.unescape(want)
	if name := names.FindString(want); name != "" {
		p.ids[name] = learn(got, want, name)
		want = p.unescape(want)
	}
	if got != want {
		p.fail("%s received %q, want %q", who, got, want)
	}
}

// expectField checks a field of the latest response.
func (p *play) expectField(a *actor, want string) {
	p.t.Helper()
	want, absent := strings.CutPrefix(want, "no ")
	want = strings.TrimPrefix(want, "field ")
	name, value, _ := strings.Cut(want, ": ")
	for _, line := range strings.Split(a.head, "\r\n")[1:] {
		k, v, _ := strings.Cut(line, ": ")
		if strings.EqualFold(k, name) {
			if absent || v != value {
				p.fail("the response has %q, want %q (absent: %t)", line, want, absent)
			}
			return
		}
	}
	if !absent {
		p.fail("the response %q has no %q", a.head, want)
	}
}

// learn returns what stands in got where want has the name.
func learn(got, want, name string) string {
	re := strings.ReplaceAll(regexp.QuoteMeta(want), regexp.QuoteMeta(name), `([A-Za-z0-9_-]{20})`)
	if m := regexp.MustCompile("^" + re + "$").FindStringSubmatch(got); m != nil {
		return m[1]
	}
	return "?"
}

func (p *play) response(a *actor) string {
	head, body, ok := bytes.Cut(a.got, []byte("\r\n\r\n"))
	if !ok {
		p.fail("incomplete response %q", a.got)
	}
	a.head = string(head)
	status := strings.Fields(string(head))[1]
	length, coding := 0, ""
	for _, line := range strings.Split(string(head), "\r\n")[1:] {
		k, v, _ := strings.Cut(line, ": ")
		if http.CanonicalHeaderKey(k) == "Content-Length" {
			length, _ = strconv.Atoi(v)
		}
		if http.CanonicalHeaderKey(k) == "Content-Encoding" {
			coding = v
		}
	}
	if a.isHead {
		length = 0
	}
	if length > len(body) {
		p.fail("incomplete body %q", body)
	}
	a.got = body[length:]
	if status == "101" {
		return status
	}
	if length == 0 {
		return status + " -"
	}
	return status + " " + string(decoded(p.t, coding, body[:length]))
}

func (p *play) frame(a *actor) string {
	h, n, err := wsframe.ParseHeader(a.got)
	if err != nil || n == 0 || len(a.got) < n+int(h.Length) {
		p.fail("not a frame: % x (%v)", a.got, err)
	}
	data := a.got[n : n+int(h.Length)]
	a.got = a.got[n+int(h.Length):]
	compressed := ""
	if h.RSV != 0 {
		compressed, data = "compressed ", inflated(p.t, data)
	}
	switch h.Op {
	case wsframe.Text:
		return compressed + "text " + string(data)
	case wsframe.Binary:
		return compressed + "binary " + hex.EncodeToString(data)
	case wsframe.Pong:
		return "pong " + string(data)
	case wsframe.Close:
		if len(data) == 0 {
			return "close -"
		}
		return strings.TrimSpace(fmt.Sprintf("close %d %s", int(data[0])<<8|int(data[1]), data[2:]))
	}
	return fmt.Sprintf("frame %d %x", h.Op, data)
}

func (p *play) hex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		p.fail("%v", err)
	}
	return b
}
