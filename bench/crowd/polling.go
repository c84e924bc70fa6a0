package crowd

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"
)

// A polling session has a connection for polls and one for posts, which never change: that
// one of them ends is the end.
type polling struct {
	addr, sid string
	half      bool
	polls     *requests
	posts     *requests // guarded by mu
	mu        sync.Mutex
	waiting   [][]byte // packets that came, of receive
}

// requests are those of a connection.
type requests struct {
	conn net.Conn
	r    *bufio.Reader
	half bool
}

func connect(addr string, half bool) (*requests, error) {
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return nil, err
	}
	return &requests{conn, bufio.NewReaderSize(conn, 2<<10), half}, nil
}

// do makes a request, of some clients in pieces with pauses between them.
func (q *requests) do(method, target, addr string, body []byte) ([]byte, error) {
	b := fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, target, addr)
	if method == http.MethodPost {
		b = fmt.Appendf(b, "Content-Type: text/plain\r\nContent-Length: %d\r\n", len(body))
	}
	b = append(append(b, "\r\n"...), body...)
	for q.half && rand.IntN(2) == 0 && len(b) > 1 {
		n := 1 + rand.IntN(len(b)-1)
		if _, err := q.conn.Write(b[:n]); err != nil {
			return nil, err
		}
		b = b[n:]
		time.Sleep(time.Duration(rand.IntN(700)) * time.Millisecond)
	}
	if _, err := q.conn.Write(b); err != nil {
		return nil, err
	}
	res, err := http.ReadResponse(q.r, nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", method, err)
	}
	answer, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s is answered %s: %.80s", method, res.Status, answer)
	}
	return answer, err
}

func dialPolling(addr string, half bool) (*polling, error) {
	p := &polling{addr: addr, half: half}
	var err error
	if p.polls, err = connect(addr, half); err != nil {
		return nil, err
	}
	if p.posts, err = connect(addr, half); err != nil {
		p.polls.conn.Close()
		return nil, err
	}
	_ = p.polls.conn.SetDeadline(time.Now().Add(patience))
	open, err := p.polls.do(http.MethodGet, "/socket.io/?EIO=4&transport=polling", addr, nil)
	var said struct{ SID string }
	if err == nil {
		open = bytes.TrimPrefix(open, []byte("0"))
		err = json.Unmarshal(open, &said)
	}
	if p.sid = said.SID; err != nil {
		p.close()
		return nil, err
	}
	_ = p.polls.conn.SetDeadline(time.Time{})
	return p, nil
}

func (p *polling) target() string { return "/socket.io/?EIO=4&transport=polling&sid=" + p.sid }

func (p *polling) close() {
	_ = p.polls.conn.Close()
	_ = p.posts.conn.Close()
}

func (p *polling) send(packet []byte) error { return p.post(append([]byte{'4'}, packet...)) }

func (p *polling) post(packet []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, err := p.posts.do(http.MethodPost, p.target(), p.addr, packet)
	return err
}

func (p *polling) receive() ([]byte, error) {
	for {
		packet, err := p.next(p.post)
		if packet != nil || err != nil {
			return packet, err
		}
		if err := p.poll(); err != nil {
			return nil, err
		}
	}
}

// next returns the next packet that has come, nil if there is none. Pings are answered by
// post.
func (p *polling) next(post func(packet []byte) error) ([]byte, error) {
	for len(p.waiting) > 0 {
		packet := p.waiting[0]
		p.waiting = p.waiting[1:]
		switch {
		case len(packet) > 0 && packet[0] == '4':
			return packet[1:], nil
		case string(packet) == "2":
			if err := post([]byte("3")); err != nil {
				return nil, err
			}
		case string(packet) != "6":
			return nil, fmt.Errorf("the packet %.60q", packet)
		}
	}
	return nil, nil
}

// poll polls once.
func (p *polling) poll() error {
	answer, err := p.polls.do(http.MethodGet, p.target(), p.addr, nil)
	if err == nil {
		p.waiting = bytes.Split(answer, []byte{0x1e})
	}
	return err
}

// An upgrading session polls, and has a WebSocket after a while.
type upgrading struct {
	*polling
	ws       *webSocket
	upgraded bool  // of receive
	failed   error // of the probe; guarded by turn

	turn   sync.RWMutex // held while something is sent, or the transport changes
	probed bool         // the WebSocket may be upgraded to; guarded by turn
	ready  bool         // it is the transport; guarded by turn
}

func dialUpgrading(addr string) (*upgrading, error) {
	p, err := dialPolling(addr, false)
	if err != nil {
		return nil, err
	}
	u := &upgrading{polling: p}
	// ends with the upgrade
	go u.probe()
	return u, nil
}

// probe opens the WebSocket, and lets it be upgraded to in its own time.
func (u *upgrading) probe() {
	slow := func() { time.Sleep(time.Duration(rand.IntN(1500)) * time.Millisecond) }
	slow()
	err := func() error {
		w, err := shake(WebSocket, u.addr, "EIO=4&transport=websocket&sid="+u.sid)
		if err != nil {
			return err
		}
		u.turn.Lock()
		u.ws = w
		u.turn.Unlock()
		slow()
		if err := w.frame(0x1, []byte("2probe")); err != nil {
			return err
		}
		answer, err := w.message()
		if err == nil && string(answer) != "3probe" {
			err = fmt.Errorf("the probe is answered %.40q", answer)
		}
		slow()
		return err
	}()
	u.turn.Lock()
	defer u.turn.Unlock()
	u.probed, u.failed = err == nil, err
}

func (u *upgrading) send(packet []byte) error {
	u.turn.RLock()
	defer u.turn.RUnlock()
	if u.ready {
		return u.ws.send(packet)
	}
	return u.polling.send(packet)
}

func (u *upgrading) receive() ([]byte, error) {
	for !u.upgraded {
		packet, err := u.next(func(pong []byte) error {
			u.turn.RLock()
			defer u.turn.RUnlock()
			return u.post(pong)
		})
		if packet != nil || err != nil {
			return packet, err
		}
		if err := u.change(); err != nil {
			return nil, err
		}
		if !u.upgraded {
			if err := u.poll(); err != nil {
				return nil, err
			}
		}
	}
	return u.ws.receive()
}

// change upgrades, between two polls, when that may be.
func (u *upgrading) change() error {
	u.turn.Lock()
	defer u.turn.Unlock()
	if u.failed != nil || !u.probed {
		return u.failed
	}
	u.upgraded, u.ready = true, true
	return u.ws.frame(0x1, []byte("5"))
}

func (u *upgrading) close() {
	u.polling.close()
	u.turn.RLock()
	defer u.turn.RUnlock()
	if u.ws != nil {
		u.ws.close()
	}
}
