package swarm

import (
	"bytes"
	"time"

	"golang.org/x/sys/unix"
)

// A client is one connection. The record holds no pointer: what only some
// clients need for a while (half a frame, unsent bytes) is in maps of the
// worker, and has says in which.
type client struct {
	since int64 // Unix ns: when it began to connect, or to close
	fd    int32 // -1 without a connection
	room  uint16
	state state
	has   uint8
}

type state uint8

// A client's way, in order.
const (
	stNone       state = iota // not begun, failed or lost
	stConnecting              // TCP
	stUpgrading               // handshake sent
	stOpening                 // 101 received, open packet not yet
	stNamespace               // CONNECT sent
	stJoining                 // join sent
	stLive
	stClosing // asked the server to close, in Churn
	stAway    // cut, or refused on the way back; worker.wakes says when it comes
)

// Bits of client.has.
const (
	hasCarry  = 1 << iota // worker.carry: the beginning of a head or frame
	hasParts              // worker.parts: the beginning of a fragmented message
	hasUnsent             // worker.unsent: bytes the socket did not take
)

// connect begins the connection of client i.
func (w *worker) connect(i int32) {
	c := &w.clients[i]
	c.since = time.Now().UnixNano()
	c.state = stConnecting
	w.pending++
	fd, err := dial(w.target, w.source(i))
	c.fd = int32(fd)
	if err != nil {
		w.drop(i, "connect: "+err.Error())
		return
	}
	if err = w.poll.add(fd, i); err != nil {
		w.drop(i, "poller: "+err.Error())
	}
}

// onReady handles one event of client i.
func (w *worker) onReady(i int32, e ready) {
	c := &w.clients[i]
	if e.writable && c.state == stConnecting {
		if errno := finishDial(c.fd); errno != 0 {
			w.drop(i, "connect: "+errno.Error())
			return
		}
		c.state = stUpgrading
		w.write(i, w.wire.request)
	}
	if e.writable && c.has&hasUnsent != 0 {
		w.flush(i)
	}
	if e.readable || e.closed {
		w.read(i, e.closed)
	}
}

// read takes what client i's socket has. A short read says that there is no
// more, unless the peer has closed: its end of file raises no further edge.
func (w *worker) read(i int32, closed bool) {
	c := &w.clients[i]
	for c.fd >= 0 {
		carry := w.carry[i]
		if c.has&hasCarry == 0 {
			carry = nil
		}
		into := w.buf
		if carry != nil {
			into = carry[len(carry):cap(carry)]
		}
		n, errno := recv(c.fd, into)
		switch {
		case errno == unix.EAGAIN:
			return
		case errno != 0:
			w.drop(i, errno.Error())
			return
		case n == 0:
			w.drop(i, "closed by the server")
			return
		}
		w.counts.BytesIn += uint64(n)
		w.at = time.Now().UnixNano()
		whole := into[:n]
		if carry != nil {
			whole = carry[:len(carry)+n]
		}
		w.keep(i, whole, w.feed(i, whole))
		if n < len(into) && !closed {
			return
		}
	}
}

// keep stores rest, the unparsed end of whole, until more of it arrives.
func (w *worker) keep(i int32, whole, rest []byte) {
	c := &w.clients[i]
	if c.fd < 0 {
		return
	}
	if len(rest) == 0 {
		if c.has&hasCarry != 0 {
			delete(w.carry, i)
			c.has &^= hasCarry
		}
		return
	}
	need := len(rest) + 256 // of a head nobody knows the length
	if c.state > stUpgrading {
		if f, n, _ := parseFrame(rest); n > 0 {
			need = n + f.size
		}
	}
	switch {
	case c.has&hasCarry == 0 || len(rest) < len(whole):
		rest = append(make([]byte, 0, need), rest...)
	case cap(rest) < need || cap(rest) == len(rest):
		rest = append(make([]byte, 0, max(need, 2*len(rest))), rest...)
	}
	w.carry[i] = rest
	c.has |= hasCarry
}

// feed parses b and returns what is left of it.
func (w *worker) feed(i int32, b []byte) []byte {
	c := &w.clients[i]
	for len(b) > 0 && c.fd >= 0 {
		if c.state == stUpgrading {
			n, err := parseUpgrade(b, w.wire.accept)
			if err != nil {
				w.drop(i, err.Error())
				return nil
			}
			if n == 0 {
				return b
			}
			c.state = stOpening
			b = b[n:]
			if w.wire.centrifuge {
				c.state = stNamespace
				packet, _ := w.connectOf(i)
				w.sendFrame(i, opText, packet)
			}
			continue
		}
		f, n, err := parseFrame(b)
		if err != nil {
			w.drop(i, err.Error())
			return nil
		}
		if n == 0 || len(b) < n+f.size {
			return b
		}
		w.frame(i, f, b[n:n+f.size])
		b = b[n+f.size:]
	}
	return b
}

// frame handles one frame.
func (w *worker) frame(i int32, f frame, p []byte) {
	c := &w.clients[i]
	switch {
	case f.op == opText && f.fin && c.has&hasParts == 0:
		w.packet(i, p)
	case f.op == opPing:
		w.sendFrame(i, opPong, p)
	case f.op == opPong:
	case f.op == opClose && c.state == stClosing: // ours, echoed; the end of the stream follows
	case f.op == opClose:
		w.sendFrame(i, opClose, p)
		w.drop(i, "websocket closed by the server")
	case f.op == opBinary && f.fin:
		w.counts.Strange++ // this load asks for no binary
	default:
		w.parts[i] = append(w.parts[i], p...)
		c.has |= hasParts
		if len(w.parts[i]) > maxFrame {
			w.drop(i, errFrame.Error())
		} else if f.fin {
			whole := w.parts[i]
			delete(w.parts, i)
			c.has &^= hasParts
			w.packet(i, whole)
		}
	}
}

// packet handles one Engine.IO packet.
func (w *worker) packet(i int32, p []byte) {
	c := &w.clients[i]
	switch {
	case w.wire.centrifuge:
		w.replies(i, p)
	case (c.state == stLive || c.state >= stNamespace && c.state < stLive && w.sessions != nil) && bytes.HasPrefix(p, w.wire.msg):
		// What a recovered client has missed may come before the answer to its CONNECT.
		w.message(i, p)
	case len(p) == 1 && p[0] == '2':
		w.counts.Pings++
		w.sendFrame(i, opText, []byte("3"))
	case c.state == stLive && bytes.HasPrefix(p, w.wire.ack):
		w.acked(i, p)
	case c.state == stClosing:
	case len(p) > 0 && p[0] == '4':
		w.early(i, p)
	case len(p) > 0 && p[0] == '0' && c.state == stOpening:
		c.state = stNamespace
		w.packetBuf = w.appendConnect(w.packetBuf[:0], i)
		w.sendFrame(i, opText, w.packetBuf)
	case len(p) > 0 && p[0] == '1':
		w.drop(i, "engine closed by the server")
	case len(p) > 0 && p[0] == '6':
	default:
		w.counts.Strange++
	}
}

// early handles the Socket.IO packets on the way to stLive, and those that end
// it.
func (w *worker) early(i int32, p []byte) {
	c := &w.clients[i]
	switch {
	case c.state == stNamespace && bytes.HasPrefix(p, w.wire.connOK):
		if w.resumed(i, p) {
			w.counts.Recovered++
			w.connected(i)
			return
		}
		w.admitted(i)
	case c.state == stNamespace && bytes.HasPrefix(p, w.wire.connBad):
		w.drop(i, "namespace refused: "+string(p[:min(len(p), 120)]))
	case c.state == stJoining && bytes.HasPrefix(p, w.wire.ack):
		w.connected(i)
	case bytes.HasPrefix(p, w.wire.left):
		w.drop(i, "disconnected by the server")
	default:
		w.counts.Strange++
	}
}

// admitted takes client i from the namespace to its room, if it needs one.
func (w *worker) admitted(i int32) {
	c := &w.clients[i]
	if !w.cfg.joins() || w.isReader(i) {
		w.connected(i)
		return
	}
	c.state = stJoining
	w.packetBuf = w.wire.appendJoin(w.packetBuf[:0], w.cfg.roomName(int(c.room)))
	w.sendFrame(i, opText, w.packetBuf)
}

// connected marks client i as live.
func (w *worker) connected(i int32) {
	c := &w.clients[i]
	c.state = stLive
	w.pending--
	w.counts.Live++
	w.counts.Connects++
	took := (w.at - c.since) / 1000
	_ = w.connectHist.RecordValue(took)
	switch {
	case w.phase < phRun:
		if !w.isReader(i) {
			w.members[c.room]++
		}
	case w.cfg.Scenario == Churn, w.cfg.Scenario == Avalanche: // a reconnect completed
		if w.cfg.Scenario == Avalanche {
			took = clampLatency(w.at - w.cutAt)
		}
		w.counts.Delivered++
		w.lastNS = w.at
		_ = w.latency.RecordValue(took)
	}
	delete(w.attempts, i)
}

// drop closes client i's connection and counts why.
func (w *worker) drop(i int32, why string) {
	c := &w.clients[i]
	was := c.state
	w.release(i)
	switch was {
	case stNone:
		return
	case stClosing:
		w.closing--
		if w.phase < phDone {
			w.connect(i) // Churn: the other half of a reconnect
		}
		return
	case stLive:
		w.counts.Live--
		w.counts.Disconnected++
		w.errors["disconnected: "+why]++
		w.receiverLost(i)
	case stAway: // never: it has no connection
	default:
		w.pending--
		w.errors[why]++
		if w.cfg.cuts() && w.phase >= phRun {
			w.retry(i)
			return
		}
		w.counts.Failed++
	}
}

// release closes client i's descriptor and forgets what was kept for it.
func (w *worker) release(i int32) {
	c := &w.clients[i]
	if c.fd >= 0 {
		unix.Close(int(c.fd))
		c.fd = -1
	}
	if c.has != 0 {
		delete(w.carry, i)
		delete(w.parts, i)
		delete(w.unsent, i)
		c.has = 0
	}
	c.state = stNone
}

// sendFrame sends one masked frame.
func (w *worker) sendFrame(i int32, op byte, payload []byte) {
	w.frameBuf = appendMasked(w.frameBuf[:0], op, w.random.Uint32(), payload)
	w.write(i, w.frameBuf)
}

// write sends b, or keeps what the socket does not take.
func (w *worker) write(i int32, b []byte) {
	c := &w.clients[i]
	if c.fd < 0 {
		return
	}
	if c.has&hasUnsent != 0 {
		w.unsent[i] = append(w.unsent[i], b...)
		return
	}
	n, errno := send(c.fd, b)
	switch {
	case errno == unix.EAGAIN:
		n = 0
	case errno != 0:
		w.drop(i, "send: "+errno.Error())
		return
	}
	if n < len(b) {
		w.unsent[i] = append([]byte(nil), b[n:]...)
		c.has |= hasUnsent
		w.blocked++
	}
}

// flush sends what write kept.
func (w *worker) flush(i int32) {
	c := &w.clients[i]
	b := w.unsent[i]
	delete(w.unsent, i)
	c.has &^= hasUnsent
	w.write(i, b)
}

// expire fails the clients whose way to stLive, or to being closed, takes too
// long.
func (w *worker) expire(now int64) {
	for i := range w.clients {
		c := &w.clients[i]
		switch {
		case c.state == stClosing && now-c.since > int64(time.Second):
			w.drop(int32(i), "")
		case c.state > stNone && c.state < stLive && now-c.since > int64(w.cfg.ConnectTimeout):
			w.drop(int32(i), "connect timeout "+[...]string{"", "in TCP", "in the handshake", "before the open packet",
				"before the CONNECT answer", "before the join's ack"}[c.state])
		}
	}
}
