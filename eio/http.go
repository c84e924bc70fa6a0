package eio

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/http1"
	"github.com/sioedge/sioedge/loop/http1/encoding"
)

// A connection's tag says what it is to us. Zero is a connection that we are
// done with: its input is thrown away.
const (
	tagHTTP   = 1 << 29 // | index into shard.https
	tagWS     = 2 << 29 // | slot of the session whose transport it is
	tagProbe  = 3 << 29 // | slot of the session that it may become the transport of
	tagTunnel = 4 << 29 // its bytes are another node's: it is in shard.tunnels
	tagKind   = 7 << 29
)

// An httpConn is a connection that speaks HTTP. It is freed when the
// connection ends or becomes a WebSocket.
type httpConn struct {
	conn  loop.Conn
	index uint32
	timer loop.Timer // the end of the head, of the body, or the next request

	idle bool // nothing has come since the connection began, or of the next request

	// Of the request being answered.
	keepAlive bool
	isOld     bool            // HTTP/1.0: the answer has to say that the connection stays
	upgrade   bool            // a WebSocket was asked for
	isHead    bool            // HEAD: no body in the answer
	oldIE     bool            // an Internet Explorer, which must be told not to filter answers
	coding    encoding.Coding // the answer to a poll may be compressed with it
	waiting   bool            // an answer is due; input is held back until it is given
	session   uint64          // ref of the session that waits with us: a poll or a body
	fields    []http1.Field   // for the answer, whatever it is
	hooked    []http1.Field   // for the answer of a session

	receiving bool // a body is being received
	body      http1.Body
	buf       []byte              // what has come of it, if it did not come at once
	finish    func([]byte)        // gets the whole body, as a view
	cut       func(reason Reason) // the connection ended while receiving
}

// Open is called by the loop for a new connection.
func (srv *Server) Open(c loop.Conn) {
	sh := srv.shards[c.Loop().Index()]
	h := &httpConn{conn: c, index: uint32(len(sh.https)), idle: true}
	if n := len(sh.freeHTTP); n > 0 {
		h.index, sh.freeHTTP = sh.freeHTTP[n-1], sh.freeHTTP[:n-1]
		sh.https[h.index] = h
	} else {
		sh.https = append(sh.https, h)
	}
	c.SetTag(tagHTTP | h.index)
	sh.deadline(h, srv.o.HeadTimeout)
}

// Data is called by the loop with what was received.
func (srv *Server) Data(c loop.Conn, b []byte) (n int) {
	sh := srv.shards[c.Loop().Index()]
	for n < len(b) {
		tag, k := c.Tag(), 0
		switch tag & tagKind {
		case tagHTTP:
			k = sh.dataHTTP(sh.https[tag&^tagKind], b[n:])
		case tagWS:
			k = sh.dataWS(c, tag&^tagKind, b[n:])
		case tagProbe:
			k = sh.dataProbe(c, tag&^tagKind, b[n:])
		case tagTunnel:
			k = sh.tunnels[c].data(b[n:])
		default:
			return len(b)
		}
		if k == 0 {
			break
		}
		n += k
	}
	return n
}

// Drained is called by the loop when a slow peer has caught up.
func (srv *Server) Drained(c loop.Conn) {
	if c.Tag() == tagTunnel {
		srv.shards[c.Loop().Index()].tunnels[c].drained()
	}
}

// Close is called by the loop when a connection has ended.
func (srv *Server) Close(c loop.Conn, err error) {
	sh := srv.shards[c.Loop().Index()]
	tag := c.Tag()
	c.SetTag(0)
	switch arg := tag &^ tagKind; tag & tagKind {
	case tagHTTP:
		sh.closeHTTP(sh.https[arg])
	case tagWS:
		reason := TransportError
		if err == io.EOF || isReset(err) {
			reason = TransportClose
		}
		sh.close(arg, reason)
	case tagProbe:
		sh.dropProbe(arg)
	case tagTunnel:
		sh.tunnels[c].leave()
	}
}

// closeHTTP frees the connection's record and ends what was in progress on it.
func (sh *shard) closeHTTP(h *httpConn) {
	ref, cut := h.session, h.cut
	sh.freeHTTPConn(h)
	if cut != nil {
		cut(TransportError)
		return
	}
	// A poll whose connection goes away ends the session at once.
	if slot := sh.lookup(ref); slot != 0 {
		if e := sh.peekExt(slot); e != nil && e.get == h.conn {
			e.get = loop.Conn{}
			sh.close(slot, TransportError)
		}
	}
}

func (sh *shard) freeHTTPConn(h *httpConn) {
	sh.loop.Cancel(&h.timer)
	sh.https[h.index] = nil
	sh.freeHTTP = append(sh.freeHTTP, h.index)
}

// httpOf returns the record of a connection that speaks HTTP, nil otherwise.
func (sh *shard) httpOf(c loop.Conn) *httpConn {
	if tag := c.Tag(); tag&tagKind == tagHTTP {
		return sh.https[tag&^tagKind]
	}
	return nil
}

// deadline ends the connection after d unless something happens before.
func (sh *shard) deadline(h *httpConn, d time.Duration) {
	sh.loop.Schedule(&h.timer, d, func() {
		if h.idle {
			h.conn.Close()
		} else {
			sh.fail(h, http.StatusRequestTimeout)
		}
	})
}

// fail answers a request that cannot become whole any more, and ends the
// connection.
func (sh *shard) fail(h *httpConn, status int) {
	cut := h.cut
	sh.tally.malformed.Add(1)
	sh.answer(h, status, nil, nil, true)
	if cut != nil && status != http.StatusRequestEntityTooLarge { // Node leaves that to the client
		cut(TransportError)
	}
}

// statusOf returns the status that answers an error of the parser.
func statusOf(err error) int {
	if e, ok := err.(*http1.Error); ok {
		return e.Status
	}
	return http.StatusBadRequest
}

func (sh *shard) dataHTTP(h *httpConn, b []byte) int {
	if h.waiting {
		return 0
	}
	if h.receiving {
		return sh.receive(h, b)
	}
	n, err := http1.Parse(b, &sh.req)
	if err != nil {
		sh.fail(h, statusOf(err))
		return len(b)
	}
	if n == 0 {
		if h.idle {
			h.idle = false
			sh.deadline(h, sh.srv.o.HeadTimeout)
		}
		return 0
	}
	if to := sh.owner(h); to != nil {
		h.conn.Move(to) // it is parsed again there
		return 0
	}
	sh.loop.Cancel(&h.timer)
	// Unless the body is received, it would be taken for the next request, or
	// for frames.
	bare := !hasBody(&sh.req)
	h.idle, h.keepAlive, h.isOld = false, sh.req.KeepAlive && bare, sh.req.Minor == 0
	h.upgrade = sh.req.Upgrade && sh.srv.websocket && bare
	h.isHead, h.oldIE = string(sh.req.Method) == http.MethodHead, false
	sh.request(h)
	return n
}

func hasBody(r *http1.Request) bool { return r.Chunked || r.ContentLength > 0 }

// owner returns the loop of the session that the request is for, nil when
// that is this one or none.
func (sh *shard) owner(h *httpConn) *loop.Loop {
	if !sh.forEngine() {
		return nil
	}
	sid, _ := sh.req.Query("sid")
	ref, ok := sh.srv.ids.Parse([]byte(sid))
	if !ok || int(ref>>56) == sh.loop.Index() {
		return nil
	}
	loops := sh.loop.Engine().Loops()
	return loops[ref>>56]
}

// request sends a request to who answers it. It must lead to an answer, to a
// body being received, or to a WebSocket.
func (sh *shard) request(h *httpConn) {
	srv, path := sh.srv, string(sh.req.Path)
	below := sh.forEngine()
	var handler http.Handler
	if srv.o.Route != nil && !below {
		handler = srv.o.Route(path)
	}
	below = below || strings.HasPrefix(path, srv.o.Path)
	if below && srv.cors != nil && !sh.cross(h, handler != nil) {
		return
	}
	switch {
	case handler != nil:
		sh.routed(h, handler)
	case !below:
		sh.answer(h, http.StatusNotFound, nil, nil, false)
	case srv.o.Middleware != nil:
		sh.middleware(h)
	default:
		sh.proceed(h)
	}
}

// forEngine tells whether the request is for Path itself.
func (sh *shard) forEngine() bool {
	path := sh.srv.o.Path
	return string(sh.req.Path) == path || string(sh.req.Path) == strings.TrimSuffix(path, "/")
}

// proceed answers a request below Path that nobody else has answered.
func (sh *shard) proceed(h *httpConn) {
	if sh.forEngine() {
		sh.engineRequest(h)
	} else {
		sh.refuse(h, unknownTransport)
	}
}

// receiveBody reads the request's body, up to limit bytes, and gives the
// whole to finish. cut is called instead if it never becomes whole.
func (sh *shard) receiveBody(h *httpConn, limit int64, finish func([]byte), cut func(Reason)) {
	if err := h.body.Reset(&sh.req, limit); err != nil {
		// The body is not read: the answer, then the end of the connection.
		sh.tally.malformed.Add(1)
		sh.answer(h, statusOf(err), nil, nil, true)
		return
	}
	h.keepAlive = sh.req.KeepAlive
	h.receiving, h.finish, h.cut = true, finish, cut
	if sh.req.Expect100 {
		h.conn.Write(http1.AppendContinue(nil))
	}
	sh.deadline(h, sh.srv.o.BodyTimeout)
	sh.receive(h, nil)
}

func (sh *shard) receive(h *httpConn, b []byte) (used int) {
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
		h.buf = append(h.buf, data...)
		if n == 0 {
			return used
		}
	}
}

func (sh *shard) endReceive(h *httpConn) {
	sh.loop.Cancel(&h.timer)
	h.receiving, h.buf, h.finish, h.cut = false, nil, nil, nil
}

// wait holds back further requests of the connection until the answer is
// given; the end of the peer is noticed meanwhile.
func (sh *shard) wait(h *httpConn) {
	h.waiting = true
	h.conn.HoldData(true)
}

// unwait ends wait.
func (sh *shard) unwait(h *httpConn) {
	if h.waiting {
		h.waiting = false
		h.conn.HoldData(false)
	}
}

// answer writes a response. With end, or if the request asks for it, the
// connection ends behind it. The body is copied; the answer to HEAD has only
// its length.
func (sh *shard) answer(h *httpConn, status int, fields []http1.Field, body []byte, end bool) {
	if end = end || !h.keepAlive; end {
		fields = append(fields, http1.Field{Name: fieldConnection, Value: valueClose})
	} else if h.isOld {
		fields = append(fields, http1.Field{Name: fieldConnection, Value: valueKeepAlive})
	}
	fields = append(fields, h.fields...)
	h.fields, h.hooked = nil, nil
	b := sh.scratch[:0]
	if h.isHead {
		if len(body) > 0 {
			fields = append(fields, http1.Field{Name: fieldLength, Value: strconv.AppendInt(nil, int64(len(body)), 10)})
		}
		b = http1.AppendHead(b, status, fields)
	} else {
		b = http1.AppendResponse(b, status, fields, body)
	}
	h.conn.Write(b)
	sh.scratch = keepScratch(b)
	h.session, h.idle = 0, true
	if end {
		sh.endReceive(h)
		sh.freeHTTPConn(h)
		h.conn.SetTag(0)
		h.conn.Close()
		return
	}
	sh.unwait(h)
	sh.deadline(h, sh.srv.o.IdleTimeout)
}

// keepScratch keeps a scratch buffer for its next use unless it grew large.
func keepScratch(b []byte) []byte {
	if cap(b) > 64<<10 {
		return nil
	}
	return b[:0]
}

var (
	fieldConnection = []byte("Connection")
	fieldType       = []byte("Content-Type")
	fieldCache      = []byte("Cache-Control")
	fieldXSS        = []byte("X-XSS-Protection")
	fieldEncoding   = []byte("Content-Encoding")
	fieldLength     = []byte("Content-Length")
	valueClose      = []byte("close")
	valueKeepAlive  = []byte("keep-alive")
	valueScript     = []byte("text/javascript; charset=UTF-8")
	valueBytes      = []byte("application/octet-stream")
	valueText       = []byte("text/plain; charset=UTF-8")
	valueHTML       = []byte("text/html")
	valueJSON       = []byte("application/json")
	valueNoStore    = []byte("no-store")
	valueZero       = []byte("0")
)
