package siotest

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/wsframe"
)

// A wire carries a connection's packets. Its methods are called with the server's
// Sim locked.
type wire interface {
	send(text []byte, attachments [][]byte)
	receive(packet func(data []byte, binary bool)) (ended string)
	stall(on bool)
	cut()
	end()
}

// socket is a WebSocket.
type socket struct {
	c      *Conn
	peer   *loop.Peer
	opened bool
	in     []byte
}

var nonce = [16]byte{5, 1, 0, 7, 3, 5, 7}

func newSocket(c *Conn, at int) wire {
	s := &socket{c: c, peer: c.srv.sim.Connect(at)}
	head := wsframe.AppendClientHandshake(nil, "siotest", c.base, nonce)
	fields := c.head("", "", "")
	_, fields, _ = bytes.Cut(fields, []byte("Host: siotest\r\n"))
	s.peer.Send(append(head[:len(head)-2:len(head)-2], fields...))
	return s
}

func (s *socket) send(text []byte, attachments [][]byte) {
	key := [4]byte{0x37, 0xfa, 0x21, 0x3d}
	var b []byte
	if text != nil {
		b = wsframe.AppendMaskedFrame(b, wsframe.Text, text, key)
	}
	for _, a := range attachments {
		if s.c.o.V2 && !s.c.raw {
			a = append([]byte{4}, a...) // Engine.IO 3 has the type before binary data, too
		}
		b = wsframe.AppendMaskedFrame(b, wsframe.Binary, a, key)
	}
	s.peer.Send(b)
}

func (s *socket) receive(packet func([]byte, bool)) (ended string) {
	s.in = append(s.in, s.peer.Received()...)
	if !s.opened {
		n, err := wsframe.CheckAccept(s.in, nonce)
		if err != nil {
			if r, body, _, ok := response(s.in, "GET"); ok {
				return refusal(r, body)
			}
		}
		s.opened = err == nil && n > 0
		if s.opened {
			s.in = s.in[n:]
		}
	}
	for s.opened && ended == "" {
		h, n, err := wsframe.ParseHeader(s.in)
		if err != nil {
			s.c.mistaken(err)
			return "FIN"
		}
		if n == 0 || uint64(len(s.in)-n) < uint64(h.Length) {
			break
		}
		data := s.in[n : n+int(h.Length) : n+int(h.Length)]
		s.in = s.in[n+int(h.Length):]
		switch {
		case h.Op == wsframe.Text:
			packet(data, false)
		case h.Op == wsframe.Binary && s.c.o.V2 && !s.c.raw && len(data) > 0:
			packet(data[1:], true)
		case h.Op == wsframe.Binary:
			packet(data, true)
		case h.Op == wsframe.Close && len(data) >= 2:
			s.c.code, s.c.reason = uint16(data[0])<<8|uint16(data[1]), string(data[2:])
			s.c.received = append(s.c.received, fmt.Sprint("close ", s.c.code))
		case h.Op == wsframe.Close:
			s.c.received = append(s.c.received, "close -")
		}
	}
	if s.peer.Closed() {
		return "FIN"
	}
	return ""
}

func (s *socket) stall(on bool) { s.peer.Stall(on) }
func (s *socket) cut()          { s.peer.Close() }

// end closes in the way of browsers.
func (s *socket) end() {
	s.peer.Send(wsframe.AppendMaskedFrame(nil, wsframe.Close, []byte{0x03, 0xe8}, [4]byte{}))
}

// polling is HTTP long-polling: one connection for the poll, one for what is sent.
type polling struct {
	c          *Conn
	get, post  *loop.Peer
	in, answer []byte
	posts      int  // without an answer
	asking     bool // a poll is open
	stalled    bool
}

func newPolling(c *Conn, at int) wire {
	p := &polling{c: c, get: c.srv.sim.Connect(at), post: c.srv.sim.Connect(at)}
	p.poll()
	return p
}

func (p *polling) target() string {
	if p.c.id == "" {
		return p.c.base
	}
	return p.c.base + "&sid=" + url.QueryEscape(p.c.id)
}

func (p *polling) poll() {
	p.asking = true
	p.get.Send(p.c.head("GET", p.target(), ""))
}

func (p *polling) send(text []byte, attachments [][]byte) {
	var parts []string
	if text != nil {
		parts = append(parts, string(text))
	}
	for _, a := range attachments {
		parts = append(parts, "b"+base64.StdEncoding.EncodeToString(a))
	}
	body := strings.Join(parts, "\x1e")
	head := p.c.head("POST", p.target(), fmt.Sprintf("Content-Type: text/plain;charset=UTF-8\r\nContent-Length: %d\r\n", len(body)))
	p.posts++
	p.post.Send(append(head, body...))
}

func (p *polling) receive(packet func([]byte, bool)) (ended string) {
	p.answer = append(p.answer, p.post.Received()...)
	for p.posts > 0 {
		r, body, rest, ok := response(p.answer, "POST")
		if !ok {
			break
		}
		p.answer = rest
		p.posts--
		if r.StatusCode != http.StatusOK {
			return refusal(r, body)
		}
	}
	p.in = append(p.in, p.get.Received()...)
	r, body, rest, ok := response(p.in, "GET")
	switch {
	case ok && r.StatusCode != http.StatusOK:
		return refusal(r, body)
	case ok:
		p.in, p.asking = rest, false
		for _, data := range bytes.Split(body, []byte{0x1e}) {
			if text, ok := bytes.CutPrefix(data, []byte("b")); ok {
				binary, err := base64.StdEncoding.AppendDecode(nil, text)
				if err != nil {
					p.c.mistaken(err)
				}
				packet(binary, true)
				continue
			}
			if string(data) == "1" {
				ended = "FIN"
			}
			packet(data, false)
		}
	case p.get.Closed():
		return "FIN"
	}
	if ended == "" && !p.asking && !p.stalled {
		p.poll()
	}
	return ended
}

func (p *polling) stall(on bool) {
	p.stalled = on
	p.get.Stall(on)
	if !on && !p.asking {
		p.poll()
	}
}

func (p *polling) cut() {
	p.get.Close()
	p.post.Close()
}

func (p *polling) end() { p.send([]byte("1"), nil) }

// response reads an answer at the start of b; it is false if not all of it is there.
func response(b []byte, method string) (r *http.Response, body, rest []byte, ok bool) {
	if len(b) == 0 {
		return nil, nil, nil, false
	}
	in := bytes.NewReader(b)
	buffered := bufio.NewReader(in)
	r, err := http.ReadResponse(buffered, &http.Request{Method: method})
	if err != nil {
		return nil, nil, nil, false
	}
	if body, err = io.ReadAll(r.Body); err != nil {
		return nil, nil, nil, false
	}
	return r, body, b[len(b)-in.Len()-buffered.Buffered():], true
}

// refusal is how a connection ends whose request is not answered with a session.
func refusal(r *http.Response, body []byte) string {
	return fmt.Sprintf("%d %s", r.StatusCode, bytes.TrimSpace(body))
}
