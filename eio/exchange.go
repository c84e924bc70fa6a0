package eio

import (
	"bytes"
	"net/http"
	"strconv"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/http1"
	"github.com/sioedge/sioedge/loop/http1/encoding"
)

// An exchange is a request and its answer. A connection has one at a time, and
// what comes behind it is held back until it is over. It has what it needs of the
// request by itself: code that runs meanwhile on the same loop, which is any that
// an application's function leads to, has exchanges of its own.
type exchange struct {
	state state

	req   *http1.Request // a view while deciding, a copy behind work apart, nil later
	query query          // of req

	keepAlive bool
	isOld     bool            // HTTP/1.0: the answer has to say that the connection stays
	upgrade   bool            // a WebSocket was asked for
	isHead    bool            // HEAD: no body in the answer
	oldIE     bool            // an Internet Explorer, which must be told not to filter answers
	coding    encoding.Coding // the answer to a poll may be compressed with it
	session   uint64          // ref of the session that waits with us: a poll
	relayed   bool            // another server passes on a poll
	poll      uint64          // pollOf a poll
	fields    []http1.Field   // for the answer, whatever it is
	hooked    []http1.Field   // for the answer of a session

	body   http1.Body
	unread bool                // the body is thrown away behind the answer
	buf    []byte              // what has come of it, if it did not come at once
	finish func([]byte)        // gets the whole body, as a view
	heard  func()              // a part of the body has come; may be nil
	cut    func(reason Reason) // the connection ended first; may be nil
	payer  Session             // is charged for buf; zero: nobody
	paid   int                 // how much
	part   int                 // what has come of the body since the deadline was set
}

// A state says what an exchange waits for. What ends each before its answer is
// in abandon.
type state uint8

const (
	stateQuiet    state = iota // the request has not begun
	stateHead                  // of its head a part has come
	stateDeciding              // it is being looked at
	stateBody                  // its body is being received
	stateApart                 // work on a goroutine
	statePoll                  // a message for the session
	stateHeld                  // a session that is paused
	stateDropping              // it has been answered; its body is thrown away
)

// waits tells whether the connection's input is held back.
func (s state) waits() bool { return s == stateApart || s == statePoll || s == stateHeld }

// A query is what we use of a request's query: the last value of each key, as
// views.
type query struct {
	revision, transport, sid, b64, j []byte
	jsonp                            bool // j is there
}

var queryKeys = []string{"EIO", "transport", "sid", "b64", "j"}

func queryOf(r *http1.Request) query {
	var v [5][]byte
	r.QueryViews(queryKeys, v[:])
	return query{revision: v[0], transport: v[1], sid: v[2], b64: v[3], j: v[4], jsonp: v[4] != nil}
}

// flags returns the flags that a request asks for. Whatever is not revision 4 is
// 3, as in Node.
func (q *query) flags() (f flags) {
	if string(q.revision) != "4" {
		f |= revision3
	}
	if len(q.b64) > 0 {
		f |= noBinary
	}
	return f
}

// maxDropped bounds a body that nobody wants and that is read nevertheless, so
// that the connection can go on; behind the answer to a longer one it ends.
const maxDropped = 64 << 10

// bodyPart is how much of a body has to come within BodyTimeout, unless it ends
// before: a large one may take a slow link longer than a small one may take
// anybody.
const bodyPart = 64 << 10

// start has a request served whose head has come.
func (sh *shard) start(h *httpConn, r *http1.Request, q query) {
	sh.loop.Cancel(&h.timer)
	sh.answerArrived(h)
	h.exchange = exchange{state: stateDeciding, req: r, query: q, isOld: r.Minor == 0, isHead: string(r.Method) == http.MethodHead}
	h.keepAlive = r.KeepAlive
	if hasBody(r) {
		// Unless it is received or thrown away, it would be taken for the next
		// request. Who waits for a 100 may send it, or not.
		h.unread = !r.Expect100 && h.body.Reset(r, maxDropped) == nil
		h.keepAlive = r.KeepAlive && h.unread
	} else {
		h.upgrade = r.Upgrade && sh.srv.websocket && (asksWebSocket(r) || string(q.transport) == "websocket")
	}
	sh.request(h)
}

func hasBody(r *http1.Request) bool { return r.Chunked || r.ContentLength > 0 }

// asksWebSocket tells whether the Upgrade field lists websocket. What else it may
// list, such as h2c, is no business of ours: RFC 9110, 7.8.
func asksWebSocket(r *http1.Request) bool {
	for list := joined(r, "Upgrade"); len(list) > 0; {
		var protocol []byte
		protocol, list, _ = bytes.Cut(list, []byte(","))
		if bytes.EqualFold(bytes.TrimSpace(protocol), []byte("websocket")) {
			return true
		}
	}
	return false
}

// receiveBody reads the request's body, up to limit bytes, and gives the
// whole to finish. cut is called instead if it never becomes whole, and heard,
// unless nil, with each part that comes.
func (sh *shard) receiveBody(h *httpConn, limit int64, finish func([]byte), heard func(), cut func(Reason)) {
	r := h.req
	h.unread = false
	if err := h.body.Reset(r, limit); err != nil {
		// The body is not read: the answer, then the end of the connection.
		sh.tally.malformed.Add(1)
		sh.noteRefused(statusOf(err))
		sh.answer(h, statusOf(err), nil, nil, true)
		return
	}
	h.keepAlive = r.KeepAlive
	h.state, h.req, h.finish, h.heard, h.cut = stateBody, nil, finish, heard, cut
	if r.Expect100 {
		h.conn.Write(http1.AppendContinue(nil))
	}
	sh.deadline(h, sh.srv.o.BodyTimeout)
	sh.receive(h, nil)
}

func (sh *shard) receive(h *httpConn, b []byte) (used int) {
	if h.heard != nil && len(b) > 0 {
		h.heard()
	}
	for {
		data, n, done, err := h.body.Next(b[used:])
		used += n
		switch {
		case err != nil:
			sh.fail(h, statusOf(err))
			return used
		case done:
			whole := data
			if h.buf != nil {
				whole = append(h.buf, data...)
			}
			finish := h.finish
			sh.endReceive(h)
			finish(whole)
			return used
		}
		if h.buf = append(h.buf, data...); !sh.chargeBody(h) {
			sh.fail(h, http.StatusRequestEntityTooLarge)
			return used
		}
		if h.part += len(data); h.part >= bodyPart {
			h.part = 0
			sh.deadline(h, sh.srv.o.BodyTimeout)
		}
		if n == 0 {
			return used
		}
	}
}

// chargeBody charges what has come of a body to the session it is for. It is
// false if that does not fit: the session is gone.
func (sh *shard) chargeBody(h *httpConn) bool {
	if !h.payer.Valid() {
		return true
	}
	n := cap(h.buf) - h.paid
	h.paid += n
	return h.payer.Budget().Charge(n)
}

func (sh *shard) endReceive(h *httpConn) {
	sh.loop.Cancel(&h.timer)
	if h.paid > 0 {
		h.payer.Budget().Release(h.paid)
	}
	h.payer, h.paid = Session{}, 0
	h.state, h.buf, h.finish, h.heard, h.cut = stateDeciding, nil, nil, nil, nil
}

// drop throws away the body of a request that has been answered.
func (sh *shard) drop(h *httpConn, b []byte) (used int) {
	for {
		_, n, done, err := h.body.Next(b[used:])
		used += n
		switch {
		case err != nil:
			h.conn.Close() // the answer has been given
			return len(b)
		case done:
			sh.awaitRequest(h)
			return used
		case n == 0:
			return used
		}
	}
}

// wait puts an exchange into a state in which further requests of the connection
// are held back until the answer is given; the end of the peer is noticed
// meanwhile.
func (sh *shard) wait(h *httpConn, s state) {
	h.state, h.req, h.query = s, nil, query{}
	h.conn.HoldData(true)
}

// unwait ends wait.
func (sh *shard) unwait(h *httpConn) {
	if h.state.waits() {
		h.state = stateDeciding
		h.conn.HoldData(false)
	}
}

// Finish is called by the loop for a connection that is to be closed because the
// engine shuts down. Requests that are being answered are; sessions have been
// closed by then, or lose their connection.
func (srv *Server) Finish(c loop.Conn) bool {
	h := srv.shards[c.Loop().Index()].httpOf(c)
	return h != nil && (h.state == stateDeciding || h.state == stateBody || h.state == stateApart || h.state == stateHeld)
}

// abandon ends the exchange of a connection that has ended, in the way of its
// state. The connection's record is gone already.
func (sh *shard) abandon(h *httpConn) {
	switch h.state {
	case stateBody, stateApart:
		if h.cut != nil {
			h.cut(TransportError)
		}
	case statePoll:
		// A poll whose connection goes away ends the session at once.
		if slot := sh.lookup(h.session); slot != 0 {
			if e := sh.peekExt(slot); e != nil && e.get == h.conn {
				e.get = loop.Conn{}
				sh.close(slot, TransportError)
			}
		}
	}
}

// answer writes a response. With end, or if the request asks for it, the
// connection ends behind it. The body is copied, unless it is shared; the answer
// to HEAD has only its length.
func (sh *shard) answer(h *httpConn, status int, fields []http1.Field, body []byte, end bool) {
	sh.respond(h, status, fields, body, false, end)
}

// respond is answer. A body that is shared is not copied and must not be modified
// from now on.
func (sh *shard) respond(h *httpConn, status int, fields []http1.Field, body []byte, shared, end bool) {
	if end = end || !h.keepAlive || sh.loop.Draining(); end {
		fields = append(fields, http1.Field{Name: fieldConnection, Value: valueClose})
	} else if h.isOld {
		fields = append(fields, http1.Field{Name: fieldConnection, Value: valueKeepAlive})
	}
	fields = append(fields, h.fields...)
	b := sh.scratch[:0]
	switch {
	case h.isHead && len(body) == 0:
		b = http1.AppendHead(b, status, fields)
	case h.isHead, shared && len(body) > 0:
		fields = append(fields, http1.Field{Name: fieldLength, Value: strconv.AppendInt(nil, int64(len(body)), 10)})
		b = http1.AppendHead(b, status, fields)
	default:
		b = http1.AppendResponse(b, status, fields, body)
	}
	h.conn.Write(b)
	sh.scratch = keepScratch(b)
	if shared && !h.isHead {
		h.conn.WriteShared(body)
	}
	if end {
		sh.endReceive(h)
		sh.freeHTTPConn(h)
		h.conn.SetTag(0)
		h.conn.Close()
		return
	}
	sh.unwait(h)
	if !h.unread {
		sh.awaitRequest(h)
		return
	}
	h.exchange = exchange{state: stateDropping, body: h.body}
	sh.deadline(h, sh.srv.o.BodyTimeout)
}

// awaitRequest waits for the next request.
func (sh *shard) awaitRequest(h *httpConn) {
	h.exchange = exchange{}
	sh.deadline(h, sh.srv.o.IdleTimeout)
}

// deadline ends the connection after d unless something happens before.
func (sh *shard) deadline(h *httpConn, d time.Duration) {
	sh.loop.Schedule(&h.timer, d, func() {
		switch h.state {
		case stateQuiet, stateDropping:
			h.conn.Close()
		default:
			sh.fail(h, http.StatusRequestTimeout)
		}
	})
}

// fail answers a request that cannot become whole any more, and ends the
// connection.
func (sh *shard) fail(h *httpConn, status int) {
	cut := h.cut
	sh.tally.malformed.Add(1)
	sh.noteRefused(status)
	sh.answer(h, status, nil, nil, true)
	if cut != nil && status != http.StatusRequestEntityTooLarge { // Node leaves that to the client
		cut(TransportError)
	}
}
