package eio

import (
	"bytes"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/sioedge/sioedge/loop/http1"
	"github.com/sioedge/sioedge/loop/http1/encoding"
)

// An exchange is a request and its answer. A connection has one at a time, and
// what comes behind it is held back until it is over. It has what it needs of the
// request by itself: code that runs meanwhile on the same loop, which is any that
// an application's function leads to, has exchanges of its own.
//
// It is data: its state says what it waits for, and what is done when that comes.
// Of each state there is one place for a part of a body (bodyPart), for the whole
// (bodyWhole), for the end of work on a goroutine (workDone), and for the end of all
// without an answer (abandon).
type exchange struct {
	state state

	client netip.AddrPort // of Options.Via; zero: the peer
	req    *http1.Request // while deciding: a view, or a copy behind work apart; nil otherwise
	query  query          // of req

	secure    bool // the client's connection is encrypted: Options.Via
	keepAlive bool
	isOld     bool            // HTTP/1.0: the answer has to say that the connection stays
	stays     bool            // while the server drains: it is another node's, or no client's
	upgrade   bool            // a WebSocket was asked for
	isHead    bool            // HEAD: no body in the answer
	oldIE     bool            // an Internet Explorer, which must be told not to filter answers
	octets    bool            // a payload of bytes, not of text: Engine.IO 3
	form      bool            // a payload in a form: JSONP
	coding    encoding.Coding // the answer to a poll may be compressed with it
	session   uint64          // ref of the session that a poll, a payload or a held answer is of
	relayed   bool            // another server passes on a poll
	poll      uint64          // pollOf a poll
	fields    []http1.Field   // for the answer, whatever it is
	hooked    []http1.Field   // for the answer of a session

	body   http1.Body
	unread bool   // the body is thrown away behind the answer
	buf    []byte // what has come of it, if it did not come at once
	kept   int    // bytes that buf takes
	paid   int    // of these, by the session's account
	part   int    // what has come of the body since the deadline was set
	work   *work  // on a goroutine, or waiting for its body; nil: none
}

// A state says what an exchange waits for.
type state uint8

const (
	stateIdle        state = iota // the request has not begun
	stateHead                     // of its head a part has come
	stateDeciding                 // it is being looked at
	stateDropping                 // it has been answered; its body is thrown away
	statePayload                  // the body of a session's POST
	stateRouteBody                // the body for a handler of Options.Route
	stateForwardBody              // the body for a handler of Options.Forward
	statePoll                     // a message for the session
	stateUnacked                  // the session is paused: what it sent is not acknowledged yet
	stateMiddleware               // from here on, work on a goroutine: Options.Middleware
	stateAllow                    // Options.AllowRequest
	stateSeek                     // Options.Seek
	stateRoute                    // the handler of Options.Route
	stateForward                  // the handler of Options.Forward
	stateTunnel                   // the RoundTripper of Options.Tunnel
	states           = iota
)

// waits tells whether the connection's input is held back.
func (s state) waits() bool { return s >= statePoll }

// receives tells whether a body is being received.
func (s state) receives() bool { return s >= statePayload && s <= stateForwardBody }

// apart tells whether work is done on a goroutine.
func (s state) apart() bool { return s >= stateMiddleware }

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

// flags are those of a session that the request opens.
func (h *httpConn) flags() flags { return h.query.flags() | flagIf(h.secure, secured) }

// start has a request served whose head has come.
func (sh *shard) start(h *httpConn, r *http1.Request, q query) {
	sh.loop.Cancel(&h.timer)
	sh.answerArrived(h)
	sh.become(h, stateDeciding)
	client, secure := sh.resolve(h.conn, r)
	h.exchange = exchange{state: stateDeciding, client: client, secure: secure, req: r, query: q, isOld: r.Minor == 0, isHead: string(r.Method) == http.MethodHead}
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

// become puts an exchange into a state.
func (sh *shard) become(h *httpConn, s state) {
	sh.exchanges[h.state]--
	sh.exchanges[s]++
	h.state = s
}

// wait puts an exchange into a state in which further requests of the connection
// are held back until the answer is given; the end of the peer is noticed
// meanwhile.
func (sh *shard) wait(h *httpConn, s state) {
	sh.become(h, s)
	h.req, h.query = nil, query{}
	h.conn.HoldData(true)
}

// unwait ends wait.
func (sh *shard) unwait(h *httpConn) {
	if h.state.waits() {
		sh.become(h, stateDeciding)
		h.conn.HoldData(false)
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
	if end = end || !h.keepAlive || sh.loop.Draining() || !h.stays && sh.srv.leaving(); end {
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
	sh.become(h, stateDropping)
	h.exchange = exchange{state: stateDropping, body: h.body}
	sh.deadline(h, sh.srv.o.BodyTimeout)
}

// awaitRequest waits for the next request.
func (sh *shard) awaitRequest(h *httpConn) {
	sh.become(h, stateIdle)
	h.exchange = exchange{}
	sh.deadline(h, sh.srv.o.IdleTimeout)
}

// deadline ends the connection after d unless something happens before.
func (sh *shard) deadline(h *httpConn, d time.Duration) {
	sh.loop.Schedule(&h.timer, d, func() {
		switch {
		case sh.loop.IsQuiet():
			sh.deadline(h, unheardFor)
		case h.state == stateIdle, h.state == stateDropping:
			h.conn.Close()
		default:
			sh.fail(h, http.StatusRequestTimeout)
		}
	})
}
