package relay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sioedge/sioedge/rooms"
)

// tunnels has WebSockets for sessions of other servers passed on to these, so
// that it does not matter which server a client's upgrade reaches.
type tunnels struct {
	// Immutable after newTunnels.
	forwards *forwards
	places   *shares // of those that are being asked for, or open
	deadline time.Duration

	open, done, failed, limited atomic.Int64
}

// tunnelSlack is how long a server that is there may take to answer an upgrade.
const tunnelSlack = 5 * time.Second

func newTunnels(f *forwards, o Options) *tunnels {
	return &tunnels{forwards: f, places: newShares(o.MaxTunnels), deadline: forwardDialTimeout + tunnelSlack}
}

// tunnelTo asks a server for WebSockets.
type tunnelTo struct {
	*tunnels
	peer rooms.Peer
}

var errManyTunnels = errors.New("too many WebSockets are being passed on")

// RoundTrip asks the server what r asks. Errors are for the client to read.
func (t tunnelTo) RoundTrip(r *http.Request) (*http.Response, error) {
	client := clientOf(r.RemoteAddr)
	if !t.places.take(client, t.peer.Node) {
		t.failed.Add(1)
		t.limited.Add(1)
		t.forwards.notice.Warn("too many WebSockets are being passed on: clients go on polling", "flag", "--max-tunnels", "client", client, "node", t.peer.Node)
		return nil, errManyTunnels
	}
	ctx, cancel := context.WithTimeout(r.Context(), t.deadline)
	defer cancel()
	resp, err := t.ask(ctx, r, client)
	if err == nil && resp.StatusCode == http.StatusSwitchingProtocols {
		t.done.Add(1)
		t.open.Add(1)
		return resp, nil
	}
	t.places.give(client, t.peer.Node)
	switch {
	case err == nil:
		t.forwards.done.Add(1)
		return resp, nil
	case r.Context().Err() != nil: // the client does not wait any more
		return nil, err
	}
	t.failed.Add(1)
	t.forwards.warn(t.peer, err)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, fmt.Errorf("node %s does not answer", t.peer.Node)
	}
	return nil, fmt.Errorf("node %s cannot be reached", t.peer.Node)
}

// maxRefusal bounds what is read of an answer that is no WebSocket.
const maxRefusal = 64 << 10

// ask has the server answer r. The Body is a WebSocket whose end is counted, or
// in memory.
func (t tunnelTo) ask(ctx context.Context, r *http.Request, client string) (*http.Response, error) {
	l, err := t.forwards.links.to(t.peer)
	if err != nil {
		return nil, err
	}
	out := l.outgoing(ctx, r)
	// For the next connection these say the same as for the client's.
	out.Header.Set("Connection", "Upgrade")
	out.Header["Upgrade"] = r.Header["Upgrade"]
	resp, err := l.transport.RoundTrip(out)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		conn, ok := resp.Body.(io.ReadWriteCloser)
		if !ok {
			_ = resp.Body.Close()
			return nil, errors.New("sio: the connection of an upgrade cannot be written to")
		}
		resp.Body = &tunnelConn{ReadWriteCloser: conn, tunnels: t.tunnels, client: client, node: t.peer.Node}
		return resp, nil
	}
	defer resp.Body.Close()
	endToEnd(resp.Header)
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxRefusal))
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, err
}

// A tunnelConn is a tunnel's connection to the other server.
type tunnelConn struct {
	io.ReadWriteCloser
	tunnels      *tunnels
	client, node string
	once         sync.Once
}

// Close closes it. Any goroutine may call it, any number of times.
func (c *tunnelConn) Close() error {
	c.once.Do(func() {
		c.tunnels.open.Add(-1)
		c.tunnels.places.give(c.client, c.node)
	})
	return c.ReadWriteCloser.Close()
}
