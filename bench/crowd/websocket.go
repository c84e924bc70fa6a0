package crowd

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/sioedge/sioedge/wsframe"
)

var nonce = [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}

// dial opens a session of a kind.
func dial(kind Kind, addr string) (link, error) {
	switch kind {
	case Polling, HalfPosts:
		return dialPolling(addr, kind == HalfPosts)
	case Upgrading:
		return dialUpgrading(addr)
	case EIO3:
		w, err := openWebSocket(kind, addr, "EIO=3&transport=websocket")
		if err == nil {
			go w.ping(10 * time.Second) // ends with the connection
		}
		return w, err
	case MsgPack:
		w, err := openWebSocket(kind, addr, "EIO=4&transport=websocket")
		return &packed{webSocket: w}, err
	}
	return openWebSocket(kind, addr, "EIO=4&transport=websocket")
}

// A webSocket is a session over WebSocket.
type webSocket struct {
	kind Kind
	conn net.Conn
	in   []byte // has been read
	rest []byte // of in: is to be looked at

	mu      sync.Mutex // of writing
	deflate *flate.Writer
	buf     bytes.Buffer
}

// openWebSocket opens a session: the open packet has come.
func openWebSocket(kind Kind, addr, query string) (*webSocket, error) {
	w, err := shake(kind, addr, query)
	if err != nil {
		return nil, err
	}
	_ = w.conn.SetReadDeadline(time.Now().Add(patience))
	p, err := w.message()
	if err == nil && (len(p) == 0 || p[0] != '0') {
		err = fmt.Errorf("%.60q in place of the open packet", p)
	}
	if err != nil {
		w.close()
		return nil, err
	}
	_ = w.conn.SetReadDeadline(time.Time{})
	return w, nil
}

// shake opens a WebSocket.
func shake(kind Kind, addr, query string) (*webSocket, error) {
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return nil, err
	}
	w := &webSocket{kind: kind, conn: conn, in: make([]byte, 4<<10)}
	if kind == Slow {
		_ = conn.(*net.TCPConn).SetReadBuffer(4 << 10)
	}
	head := wsframe.AppendClientHandshake(nil, addr, "/socket.io/?"+query, nonce)
	if kind == Deflate {
		head = append(head[:len(head)-2], "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover; server_no_context_takeover\r\n\r\n"...)
		w.deflate, _ = flate.NewWriter(&w.buf, flate.BestSpeed)
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	if err := w.write(head); err != nil {
		w.close()
		return nil, err
	}
	for {
		if i := bytes.Index(w.rest, []byte("\r\n\r\n")); i >= 0 {
			if !bytes.HasPrefix(w.rest, []byte("HTTP/1.1 101")) {
				w.close()
				return nil, fmt.Errorf("the handshake is answered %.40q", w.rest)
			}
			if kind == Deflate && !bytes.Contains(w.rest[:i], []byte("permessage-deflate")) {
				w.close()
				return nil, errors.New("the server does not compress")
			}
			w.rest = w.rest[i+4:]
			break
		}
		if err := w.fill(); err != nil {
			w.close()
			return nil, err
		}
	}
	_ = conn.SetDeadline(time.Time{})
	return w, nil
}

func (w *webSocket) close() { _ = w.conn.Close() }

// ping keeps a session of Engine.IO 3 alive.
func (w *webSocket) ping(every time.Duration) {
	for {
		time.Sleep(every)
		if w.frame(wsframe.Text, []byte("2")) != nil {
			return
		}
	}
}

func (w *webSocket) send(packet []byte) error {
	return w.frame(wsframe.Text, append([]byte{'4'}, packet...))
}

// frame sends a message.
func (w *webSocket) frame(op wsframe.Op, p []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.kind != Deflate {
		return w.write(wsframe.AppendMaskedFrame(nil, op, p, [4]byte{0x5a, 0xa5, 0x3c, 0xc3}))
	}
	w.buf.Reset()
	w.deflate.Reset(&w.buf)
	_, _ = w.deflate.Write(p) // into memory
	_ = w.deflate.Flush()
	small := bytes.TrimSuffix(w.buf.Bytes(), []byte{0, 0, 255, 255})
	h := wsframe.Header{Fin: true, RSV: wsframe.RSV1, Op: op, Masked: true, Mask: [4]byte{1, 2, 3, 4}, Length: int64(len(small))}
	b := wsframe.AppendHeader(nil, h)
	at := len(b)
	b = append(b, small...)
	wsframe.Mask(b[at:], h.Mask, 0)
	return w.write(b)
}

// write writes b, of some clients in pieces with pauses between them.
func (w *webSocket) write(b []byte) error {
	for w.kind == Halves && len(b) > 1 && rand.IntN(2) == 0 {
		n := 1 + rand.IntN(len(b)-1)
		if _, err := w.conn.Write(b[:n]); err != nil {
			return err
		}
		b = b[n:]
		time.Sleep(time.Duration(rand.IntN(700)) * time.Millisecond)
	}
	_, err := w.conn.Write(b)
	return err
}

func (w *webSocket) receive() ([]byte, error) {
	for {
		if w.kind == Slow && rand.IntN(4) == 0 {
			time.Sleep(time.Duration(rand.IntN(1500)) * time.Millisecond)
		}
		p, err := w.message()
		switch {
		case err != nil:
			return nil, err
		case len(p) > 0 && p[0] == '4':
			return p[1:], nil
		case string(p) == "2":
			if err := w.frame(wsframe.Text, []byte("3")); err != nil {
				return nil, err
			}
		case string(p) != "3" && string(p) != "6":
			return nil, fmt.Errorf("the message %.60q", p)
		}
	}
}

// message returns the next message, text or bytes, which is valid until the next call.
func (w *webSocket) message() ([]byte, error) {
	for {
		h, n, err := wsframe.ParseHeader(w.rest)
		switch {
		case err != nil:
			return nil, err
		case n == 0 || int64(len(w.rest)-n) < h.Length:
			if err := w.fill(); err != nil {
				return nil, err
			}
			continue
		case !h.Fin || h.Masked:
			return nil, errors.New("a frame that is in pieces, or masked")
		}
		p := w.rest[n : n+int(h.Length)]
		w.rest = w.rest[n+int(h.Length):]
		switch {
		case h.Op == wsframe.Close:
			return nil, fmt.Errorf("closed: %.60q", p)
		case h.Op.Control():
			continue
		case h.RSV != 0:
			if p, err = io.ReadAll(flate.NewReader(io.MultiReader(bytes.NewReader(p), bytes.NewReader([]byte{0, 0, 255, 255, 1, 0, 0, 255, 255})))); err != nil {
				return nil, err
			}
		}
		return p, nil
	}
}

// fill reads more.
func (w *webSocket) fill() error {
	kept := copy(w.in, w.rest)
	if kept == len(w.in) {
		w.in = append(w.in, make([]byte, len(w.in))...)
	}
	n, err := w.conn.Read(w.in[kept:])
	w.rest = w.in[:kept+n]
	if n > 0 {
		return nil
	}
	return err
}
