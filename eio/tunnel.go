package eio

import (
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/http1"
)

// A tunnel passes on the bytes between a client's WebSocket and the node that
// has its session, as they are. It ends when either side ends.
//
// While nothing happens it costs a goroutine that waits for the node's bytes with a
// buffer of 4 KiB, 8 KB in all with this record and that of the connection to the
// node, and a descriptor beside the client's. What is under way is bounded in both
// directions: less than 64 KiB and one read of the loop from the client, one
// buffer of at most 64 KiB from the node. Beyond that the side that sends has to
// wait, and the kernel tells it so.
type tunnel struct {
	// Immutable after begin.
	sh   *shard
	conn loop.Conn
	node io.ReadWriteCloser
	left chan struct{} // closed when conn has ended
	room chan struct{} // gets a value when the client has taken a chunk

	// Owned by the loop.
	out     []byte // from the client, not given to the node yet
	writing int    // bytes that a goroutine gives to the node
	full    bool   // the client waits until the node has taken more
	gone    bool   // conn has ended
	waiting bool   // the goroutine that reads waits for room
	queued  int    // bytes that the client had not taken when timer was set
	timer   loop.Timer
	edge    frameEdge // where the node's frames end
	ending  bool      // a close frame is due

	// Of the goroutine that reads; the loop's from the Post of a delivery until
	// room or left.
	chunk []byte
}

const (
	tunnelRead  = 4 << 10     // of the buffer, as long as the node sends little
	tunnelMost  = 64 << 10    // of the buffer, and of what waits for the node
	tunnelGrace = time.Second // for a node to take what a client sent that has left
	maxAnswer   = 64 << 10    // of a node that refuses
)

var errNoAnswer = errors.New("the other node could not be asked")

// closeSoon closes c without waiting: over TLS something is said first.
func closeSoon(c io.Closer) {
	// ends when c is closed
	go func() { _ = c.Close() }()
}

// ask asks a node for a WebSocket, of which it gets one, a refusal in w, or an
// error. It blocks.
func (x *work) ask() {
	x.err = errNoAnswer // if RoundTrip ends its goroutine
	resp, err := x.dialer.RoundTrip(x.r)
	if err != nil {
		x.err = err
		return
	}
	w := &recorder{header: resp.Header}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		conn, ok := resp.Body.(io.ReadWriteCloser)
		if !ok {
			_ = resp.Body.Close()
			return
		}
		w.status, w.sent = resp.StatusCode, resp.Header
		x.w, x.conn, x.err = w, conn, nil
		return
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	switch {
	case err != nil:
		x.err = err
		return
	case resp.StatusCode < 200: // is no answer
		return
	}
	w.WriteHeader(resp.StatusCode)
	_, _ = w.Write(body) // there is none where there must be none
	x.w, x.err = w, nil
}

// nodeAnswered gives the client what the node has answered.
func (sh *shard) nodeAnswered(h *httpConn, x *work) {
	switch {
	case x.err != nil:
		sh.refuseWithReason(h, foreignUpgrade, x.err.Error())
		return
	case x.conn != nil && sh.srv.leaving():
		x.drop()
		sh.stops(h)
		return
	}
	fields, body, _ := x.w.answer(h.isHead)
	h.fields = besides(h.fields, fields)
	if x.conn == nil {
		sh.answer(h, x.w.status, fields, body, true)
		return
	}
	fields = append(fields, http1.Field{Name: fieldConnection, Value: valueUpgrade})
	fields = append(fields, h.fields...)
	b := http1.AppendHead(sh.scratch[:0], x.w.status, fields)
	h.conn.Write(b)
	sh.scratch = keepScratch(b)
	sh.freeHTTPConn(h)
	sh.begin(h.conn, x.conn)
}

var valueUpgrade = []byte("Upgrade")

// begin makes c one end of a tunnel.
func (sh *shard) begin(c loop.Conn, node io.ReadWriteCloser) {
	t := &tunnel{sh: sh, conn: c, node: node, left: make(chan struct{}), room: make(chan struct{}, 1)}
	sh.tunnels[c] = t
	c.SetTag(tagTunnel)
	// ends when either side has
	go t.read()
}

// data takes what the client sent.
func (t *tunnel) data(b []byte) int {
	t.out = append(t.out, b...)
	if t.writing == 0 {
		t.write()
	}
	if t.writing+len(t.out) >= tunnelMost {
		t.full = true
		t.conn.PauseRead()
	}
	return len(b)
}

// write gives the node what there is from the client.
func (t *tunnel) write() {
	p := t.out
	t.out, t.writing = nil, len(t.out)
	t.sh.loop.Yield()
	// ends when the node has taken p, or its connection has ended
	go func() {
		_, err := t.node.Write(p)
		if err != nil || !t.sh.loop.Post(loop.TaskFunc(func(*loop.Loop) { t.written() })) {
			_ = t.node.Close() // which ends what reads from it, and so the rest
		}
	}()
}

// written goes on when the node has taken what it was given.
func (t *tunnel) written() {
	t.writing = 0
	switch {
	case len(t.out) > 0:
		t.write()
	case t.gone:
		closeSoon(t.node)
	}
	if t.full && t.writing < tunnelMost {
		t.full = false
		t.conn.ResumeRead()
	}
}

// leave ends the tunnel when the client's connection has ended. What the client
// had sent before is still given to the node, for a moment.
func (t *tunnel) leave() {
	t.gone = true
	delete(t.sh.tunnels, t.conn)
	t.sh.loop.Cancel(&t.timer)
	close(t.left)
	if t.writing > 0 {
		time.AfterFunc(tunnelGrace, func() { _ = t.node.Close() })
	} else {
		closeSoon(t.node)
	}
}

// read gives the client what the node sends, and ends the client's connection
// when the node ends.
func (t *tunnel) read() {
	buf := make([]byte, tunnelRead)
	for {
		n, err := t.node.Read(buf)
		if n > 0 && !t.deliver(buf[:n]) {
			return // the client has gone first
		}
		if err != nil {
			break
		}
		switch {
		case n == len(buf) && n < tunnelMost:
			buf = make([]byte, 2*n)
		case n <= tunnelRead && len(buf) > tunnelRead:
			buf = make([]byte, tunnelRead)
		}
	}
	_ = t.node.Close()
	t.sh.loop.Post(loop.TaskFunc(func(*loop.Loop) { t.conn.Close() }))
}

// deliver has the loop send p and waits until the client's kernel has taken it.
// It returns false if the client has gone.
func (t *tunnel) deliver(p []byte) bool {
	t.chunk = p
	if !t.sh.loop.Post((*delivery)(t)) {
		return false
	}
	select {
	case <-t.room:
		return true
	case <-t.left:
		return false
	}
}

// A delivery is a tunnel whose chunk is to be sent.
type delivery tunnel

// Run sends it. The chunk may be shared: it is not written to before it has left.
func (d *delivery) Run(*loop.Loop) {
	t := (*tunnel)(d)
	if t.gone {
		return
	}
	t.waiting = true
	t.edge.advance(t.chunk)
	t.conn.WriteShared(t.chunk)
	if t.ending {
		t.end()
		return
	}
	t.conn.AwaitDrained()
	t.watch()
}

// end closes the tunnel because this server stops: with a close frame, as soon as
// one may stand there, so that the client knows that it is meant.
func (t *tunnel) end() {
	t.ending = true
	if t.edge.between() {
		t.conn.Write(t.sh.srv.goodbye())
		t.conn.Close()
	}
}

// drained lets the next chunk come when the last one has left.
func (t *tunnel) drained() {
	if !t.waiting || t.conn.Queued() > 0 {
		return
	}
	t.waiting = false
	t.sh.loop.Cancel(&t.timer)
	t.sh.loop.Yield()
	t.room <- struct{}{}
}

// watch ends a client that takes nothing for so long that its session has ended:
// the end of the node's connection is not read while a chunk waits.
func (t *tunnel) watch() {
	o := &t.sh.srv.o
	t.queued = t.conn.Queued()
	t.sh.loop.Schedule(&t.timer, o.PingInterval+o.PingTimeout, func() {
		if t.conn.Queued() < t.queued {
			t.watch()
		} else {
			t.conn.Abort()
		}
	})
}
