package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// rest is what an honest client waits between two echoes, and nap before it is asked
// for any: pings are answered beside echoes, and more than a ping's time may pass
// until all clients and attackers are there.
const (
	rest = 10 * time.Millisecond
	nap  = 200 * time.Millisecond
)

// An honest client has joined / and asks for echoes, each when the one before it
// has come; it answers pings. One that polls does so on a connection of its own, all
// the time, as a browser does.
type honest struct {
	*peer
	home     string // where one that polls has its session
	sid      string // empty: over WebSocket
	polls    *peer
	answered atomic.Int64
	pending  []string // packets of a message, or an answer to a poll, that were not looked at yet
	polled   chan []string
	err      error // of polling; to be read when polled is closed
	wanted   context.CancelFunc
	waited   chan error // how waiting ended
}

// befriend connects n honest clients, of which a tenth poll: sessions of twin, if
// that is not empty.
func befriend(addr, twin string, n int) (all []*honest, err error) {
	for i := range n {
		p, err := dial(addr)
		if err != nil {
			return all, err
		}
		h := &honest{peer: p, home: cmp.Or(twin, addr)}
		all = append(all, h)
		if err := h.join(i%10 == 0); err != nil {
			return all, fmt.Errorf("an honest client: %w", err)
		}
		h.wait()
	}
	return all, nil
}

// wait has the client ask for an echo now and then, until ready is called.
func (h *honest) wait() {
	h.waited = make(chan error, 1)
	var until context.Context
	until, h.wanted = context.WithCancel(context.Background())
	// ends when ready is called, or with the connection
	go func() {
		var err error
		for err == nil {
			select {
			case <-until.Done():
				h.waited <- nil
				return
			case <-time.After(nap):
				err = h.echo()
			}
		}
		h.waited <- err
	}()
}

// ready ends wait, if it has not ended; the error is that of an echo.
func (h *honest) ready() error {
	if h.waited == nil {
		return nil // it has not joined
	}
	h.wanted()
	err := <-h.waited
	h.waited = nil
	return err
}

func (h *honest) join(polls bool) (err error) {
	_ = h.SetDeadline(time.Now().Add(2 * patience))
	if polls {
		if err = h.begin(); err == nil {
			err = h.poll()
		}
	} else {
		err = h.websocket("EIO=4", "")
	}
	if err == nil {
		err = h.send("40")
	}
	for err == nil {
		var p string
		if p, err = h.next(); strings.HasPrefix(p, "40") {
			return nil
		}
	}
	return err
}

// begin opens a session to be polled.
func (h *honest) begin() error {
	p, err := dial(h.home)
	if err != nil {
		return err
	}
	defer p.Close()
	_ = p.SetDeadline(time.Now().Add(patience))
	h.sid, err = p.open("EIO=4")
	return err
}

func (h *honest) send(packet string) error {
	if h.sid == "" {
		_, err := h.Write(text(packet))
		return err
	}
	status, body, err := h.request(post(h.sid, packet))
	if err == nil && body != "ok" {
		err = fmt.Errorf("a post was answered with %d %s", status, body)
	}
	return err
}

// next returns the next packet that is not a ping.
func (h *honest) next() (string, error) {
	for {
		for len(h.pending) == 0 {
			if err := h.receive(); err != nil {
				return "", err
			}
		}
		p := h.pending[0]
		h.pending = h.pending[1:]
		if p != "2" {
			return p, nil
		}
		if err := h.send("3"); err != nil {
			return "", err
		}
	}
}

func (h *honest) receive() error {
	if h.sid != "" {
		select {
		case some, ok := <-h.polled:
			if !ok {
				return h.err
			}
			h.pending = some
			return nil
		case <-time.After(patience):
			return errors.New("nothing comes")
		}
	}
	op, payload, err := h.read()
	switch {
	case err != nil:
	case op == opClose:
		err = fmt.Errorf("closed with %q", payload)
	case op == opText:
		h.pending = append(h.pending, string(payload))
	}
	return err
}

// poll begins to poll.
func (h *honest) poll() (err error) {
	if h.polls, err = dial(h.RemoteAddr().String()); err != nil {
		return err
	}
	h.polled = make(chan []string, 1024)
	// ends with the session or the connection
	go func() {
		defer close(h.polled)
		for {
			_ = h.polls.SetDeadline(time.Now().Add(2 * patience))
			status, body, err := h.polls.request(get("EIO=4&sid=" + h.sid))
			if err == nil && status != 200 {
				err = fmt.Errorf("a poll was answered with %d %s", status, body)
			}
			if err != nil {
				h.err = err
				return
			}
			h.polled <- strings.Split(body, "\x1e")
		}
	}()
	return nil
}

// echo asks for an echo and waits for it, whatever else comes.
func (h *honest) echo() error {
	n := h.answered.Load()
	_ = h.SetDeadline(time.Now().Add(patience))
	if err := h.send(fmt.Sprintf(`42%d["echo",%d]`, n, n)); err != nil {
		return err
	}
	for want := fmt.Sprintf("43%d[%d]", n, n); ; {
		p, err := h.next()
		if err != nil {
			return err
		}
		if p == want {
			h.answered.Add(1)
			return nil
		}
	}
}

// leave ends the client's session and its connection.
func (h *honest) leave() {
	_ = h.ready()
	_ = h.SetDeadline(time.Now().Add(patience))
	_ = h.send("1")
	_ = h.Close()
	if h.polls != nil {
		_ = h.polls.Close()
	}
}

// echoes has all of them ask for as many echoes at least, and go on until over is
// closed. It returns how many were answered, and the first error.
func echoes(all []*honest, least int64, over <-chan struct{}) (answered int64, err error) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	for _, h := range all {
		wg.Add(1)
		// ends when enough is answered, or in patience
		go func() {
			defer wg.Done()
			e := h.ready()
			begun := h.answered.Load()
			for more := true; more; more = !closed(over) || h.answered.Load()-begun < least {
				if e == nil {
					e = h.echo()
				}
				if e != nil {
					mu.Lock()
					err = fmt.Errorf("echo %d of an honest client: %w", h.answered.Load()-begun+1, e)
					mu.Unlock()
					return
				}
				time.Sleep(rest)
			}
			mu.Lock()
			defer mu.Unlock()
			answered += h.answered.Load() - begun
		}()
	}
	wg.Wait()
	return answered, err
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
