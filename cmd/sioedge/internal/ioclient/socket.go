package ioclient

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/sioedge/sioedge/wsframe"
)

// A socket is a WebSocket, with what has been received of it.
type socket struct {
	conn   net.Conn
	reader wsframe.Reader
	in     []byte // received and not read yet

	mu    sync.Mutex // guards writing to conn, and what follows
	nonce [8]byte    // of the ping that is under way
	sent  time.Time
	pong  chan time.Duration // nil: none is
}

// dialSocket opens a WebSocket, for the session sid if there is one.
func dialSocket(ctx context.Context, o *Options, sid string, jar *cookies) (*socket, error) {
	u := o.engineURL(WebSocket, sid)
	host := u.Host
	if u.Port() == "" {
		host = net.JoinHostPort(u.Hostname(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
	}
	conn, err := o.dial(ctx, "tcp", host)
	if err != nil {
		return nil, err
	}
	if u.Scheme == "https" {
		c := &tls.Config{}
		if o.TLS != nil {
			c = o.TLS.Clone()
		}
		if c.ServerName == "" {
			c.ServerName = u.Hostname()
		}
		secure := tls.Client(conn, c)
		if err := secure.HandshakeContext(ctx); err != nil {
			_ = conn.Close()
			return nil, err
		}
		conn = secure
	}
	w := &socket{conn: conn, reader: wsframe.Reader{Client: true, MaxMessage: int64(o.MaxMessage)}}
	stop := w.follow(ctx)
	defer stop()
	if err := w.handshake(o, u.Host, u.RequestURI(), jar); err != nil {
		_ = conn.Close()
		return nil, cmp.Or(ctx.Err(), err)
	}
	return w, nil
}

// follow has the connection's operations fail when ctx ends, until stop is called.
func (w *socket) follow(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() { _ = w.conn.SetDeadline(time.Unix(1, 0)) })
}

// handshake asks for a WebSocket and reads the head of the answer.
func (w *socket) handshake(o *Options, host, target string, jar *cookies) error {
	var nonce [16]byte
	_, _ = rand.Read(nonce[:])
	if h := o.Header.Get("Host"); h != "" {
		host = h
	}
	b := wsframe.AppendClientHandshake(nil, host, target, nonce)
	fields := &bytes.Buffer{}
	h := jar.header(o.Header)
	h.Del("Host")
	if err := h.Write(fields); err != nil {
		return err
	}
	b = append(append(b[:len(b)-2], fields.Bytes()...), "\r\n"...)
	if _, err := w.conn.Write(b); err != nil {
		return err
	}
	for {
		if err := w.more(); err != nil {
			return fmt.Errorf("no answer to the WebSocket handshake: %w", err)
		}
		n, err := wsframe.CheckAccept(w.in, nonce)
		if err != nil {
			return w.refusal(err)
		}
		if n > 0 {
			w.in = w.in[n:]
			return nil
		}
	}
}

// refusal makes an error of an answer that is no WebSocket's, whose head is in w.in.
func (w *socket) refusal(err error) error {
	_ = w.conn.SetReadDeadline(time.Now().Add(time.Second))
	r, bad := http.ReadResponse(newBounded(w.in, w.conn, maxHead), nil)
	if bad != nil {
		return err
	}
	defer func() { _ = r.Body.Close() }()
	if r.StatusCode == http.StatusSwitchingProtocols {
		return err
	}
	return refusal(r)
}

// more receives what there is.
func (w *socket) more() error {
	const room = 32 << 10
	if cap(w.in)-len(w.in) < room/2 {
		w.in = append(make([]byte, 0, len(w.in)+room), w.in...)
	}
	n, err := w.conn.Read(w.in[len(w.in):cap(w.in)])
	w.in = w.in[:len(w.in)+n]
	if n > 0 {
		return nil
	}
	return err
}

// read takes the messages that are there, and waits for some if there are none.
func (w *socket) read(ctx context.Context, f func(packet) error) error {
	stop := w.follow(ctx)
	defer stop()
	for {
		any, err := w.drain(f, -1)
		if any || err != nil {
			return err
		}
		if err := w.more(); err != nil {
			return &endError{closing{reason: reasonClosed, err: err}}
		}
	}
}

// once takes one message and leaves the others.
func (w *socket) once(ctx context.Context, f func(packet) error) error {
	stop := w.follow(ctx)
	defer stop()
	for {
		any, err := w.drain(f, 1)
		if any || err != nil {
			return err
		}
		if err := w.more(); err != nil {
			return err
		}
	}
}

// drain takes at most that many of the messages that are there; negative: all.
func (w *socket) drain(f func(packet) error, most int) (any bool, err error) {
	for most != 0 {
		m, n, err := w.reader.Next(w.in)
		w.in = w.in[n:]
		var broken *wsframe.CloseError
		if errors.As(err, &broken) {
			_ = w.frame(context.Background(), wsframe.Close, binary.BigEndian.AppendUint16(nil, broken.Code))
			return any, &endError{closing{reason: reasonParse, err: err}}
		}
		switch m.Op {
		case 0:
			return any, nil
		case wsframe.Text, wsframe.Binary:
			any = true
			most--
			err = f(packet{m.Data, m.Op == wsframe.Binary})
		default:
			err = w.control(m)
		}
		if err != nil {
			return any, err
		}
	}
	return any, nil
}

// control takes a control frame.
func (w *socket) control(m wsframe.Message) error {
	switch m.Op {
	case wsframe.Ping:
		return w.frame(context.Background(), wsframe.Pong, m.Data)
	case wsframe.Pong:
		w.mu.Lock()
		if w.pong != nil && string(m.Data) == string(w.nonce[:]) {
			w.pong <- time.Since(w.sent)
			w.pong = nil
		}
		w.mu.Unlock()
		return nil
	}
	end := closing{reason: reasonClosed, code: m.Code, text: string(m.Data)}
	var echo []byte
	if m.Code != wsframe.CodeNone {
		echo = binary.BigEndian.AppendUint16(nil, m.Code)
	}
	_ = w.frame(context.Background(), wsframe.Close, echo)
	return &endError{end}
}

// frame writes one frame.
func (w *socket) frame(ctx context.Context, op wsframe.Op, data []byte) error {
	return w.put(ctx, wsframe.AppendMaskedFrame(nil, op, data, key()))
}

func (w *socket) put(ctx context.Context, b []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	until, ok := ctx.Deadline()
	if !ok {
		until = time.Now().Add(writeTimeout)
	}
	_ = w.conn.SetWriteDeadline(until)
	_, err := w.conn.Write(b)
	return err
}

// key is what a frame is masked with: RFC 6455, 5.3.
func key() (k [4]byte) {
	_, _ = rand.Read(k[:])
	return k
}

func (w *socket) write(ctx context.Context, ps []packet) error {
	var b []byte
	for _, p := range ps {
		op := wsframe.Text
		if p.binary {
			op = wsframe.Binary
		}
		b = wsframe.AppendMaskedFrame(b, op, p.data, key())
	}
	return w.put(ctx, b)
}

// errBusy is returned for a ping while another one is under way.
var errBusy = errors.New("a ping is under way")

func (w *socket) ping(ctx context.Context) (time.Duration, error) {
	pong := make(chan time.Duration, 1)
	w.mu.Lock()
	if w.pong != nil {
		w.mu.Unlock()
		return 0, errBusy
	}
	w.pong, w.sent = pong, time.Now()
	_, _ = rand.Read(w.nonce[:])
	nonce := w.nonce
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		w.pong = nil
		w.mu.Unlock()
	}()
	if err := w.frame(ctx, wsframe.Ping, nonce[:]); err != nil {
		return 0, err
	}
	select {
	case took := <-pong:
		return took, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

func (w *socket) name() string { return WebSocket }

// close says that it ends, and ends.
func (w *socket) close() {
	_ = w.conn.SetWriteDeadline(time.Now().Add(time.Second))
	if w.mu.TryLock() { // who writes now is cut
		_, _ = w.conn.Write(wsframe.AppendMaskedFrame(nil, wsframe.Close, binary.BigEndian.AppendUint16(nil, wsframe.CodeNormal), key()))
		w.mu.Unlock()
	}
	_ = w.conn.Close()
}
