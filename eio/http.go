package eio

import (
	"io"
	"net/http"
	"strings"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/http1"
)

// A connection's tag says what it is to us. Zero, and tagGone, is a connection that we
// are done with: its input is thrown away. Its bytes are counted by its kind: see traffic.
const (
	tagHTTP   = 1 << 29 // | index into shard.https
	tagWS     = 2 << 29 // | slot of the session whose transport it is
	tagProbe  = 3 << 29 // | slot of the session that it may become the transport of
	tagTunnel = 4 << 29 // its bytes are another node's: it is in shard.tunnels
	tagGone   = 5 << 29 // it was a WebSocket
	tagOrphan = 6 << 29 // it was imported, and waits for its session
	tagKind   = 7 << 29
)

// An httpConn is a connection that speaks HTTP. It is freed when the
// connection ends or becomes a WebSocket.
type httpConn struct {
	conn  loop.Conn
	index uint32
	timer loop.Timer // the end of the head, of the body, or the next request
	begun int64      // when its latest request began to come: loop.Loop.Micros

	guests int    // sessions that were opened here and have joined nothing
	gave   uint64 // ref of the session whose poll was answered last, with nothing after it

	exchange
}

// Open is called by the loop for a new connection.
func (srv *Server) Open(c loop.Conn) {
	c.Loop().Check()
	sh := srv.shards[c.Loop().Index()]
	h := sh.newHTTPConn(c)
	sh.deadline(h, srv.o.HeadTimeout)
	if srv.o.Via == nil {
		sh.countPeer(h)
	}
}

// newHTTPConn makes the record of a connection, which is idle.
func (sh *shard) newHTTPConn(c loop.Conn) *httpConn {
	h := &httpConn{conn: c, index: uint32(len(sh.https))}
	if n := len(sh.freeHTTP); n > 0 {
		h.index, sh.freeHTTP = sh.freeHTTP[n-1], sh.freeHTTP[:n-1]
		sh.https[h.index] = h
	} else {
		sh.https = append(sh.https, h)
	}
	sh.exchanges[stateIdle]++
	c.SetTag(tagHTTP | h.index)
	return h
}

// Data is called by the loop with what was received.
func (srv *Server) Data(c loop.Conn, b []byte) (n int) {
	c.Loop().Check()
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
	c.Loop().Check()
	if c.Tag() == tagTunnel {
		srv.shards[c.Loop().Index()].tunnels[c].drained()
	}
}

// Close is called by the loop when a connection has ended.
func (srv *Server) Close(c loop.Conn, err error) {
	c.Loop().Check()
	sh := srv.shards[c.Loop().Index()]
	tag := c.Tag()
	c.SetTag(0)
	sh.forgetPeer(c)
	switch arg := tag &^ tagKind; tag & tagKind {
	case tagHTTP:
		sh.closeHTTP(sh.https[arg], err)
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
func (sh *shard) closeHTTP(h *httpConn, err error) {
	if slot, lost := sh.answerLost(h, err); err == loop.ErrMoved {
		sh.answerArrived(h)
	} else if lost {
		sh.close(slot, TransportError)
	}
	sh.freeHTTPConn(h)
	sh.abandon(h.conn, &h.exchange, causeOf(err))
}

func (sh *shard) freeHTTPConn(h *httpConn) {
	sh.loop.Cancel(&h.timer)
	sh.https[h.index] = nil
	sh.exchanges[h.state]--
	sh.freeHTTP = append(sh.freeHTTP, h.index)
}

// httpOf returns the record of a connection that speaks HTTP, nil otherwise.
func (sh *shard) httpOf(c loop.Conn) *httpConn {
	if tag := c.Tag(); tag&tagKind == tagHTTP {
		return sh.https[tag&^tagKind]
	}
	return nil
}

// statusOf returns the status that answers an error of the parser.
func statusOf(err error) int {
	if e, ok := err.(*http1.Error); ok {
		return e.Status
	}
	return http.StatusBadRequest
}

func (sh *shard) dataHTTP(h *httpConn, b []byte) int {
	switch {
	case h.state.waits():
		return 0
	case h.state.receives():
		return sh.receive(h, b)
	case h.state == stateDropping:
		return sh.drop(h, b)
	}
	if h.state == stateIdle {
		h.begun = sh.loop.Micros()
	}
	r := sh.takeRequest()
	defer sh.giveRequest(r)
	n, err := sh.srv.limits.Parse(b, r)
	if err != nil {
		sh.failHead(h, r, statusOf(err))
		return len(b)
	}
	if n == 0 {
		if h.state == stateIdle {
			sh.become(h, stateHead)
			sh.deadline(h, sh.srv.o.HeadTimeout)
		}
		return 0
	}
	q := queryOf(r)
	if to := sh.owner(r, &q); to != nil {
		h.conn.Move(to) // it is parsed again there
		return 0
	}
	sh.start(h, r, q)
	return n
}

// takeRequest returns a request for a head to be parsed into. It is the caller's until
// giveRequest: what an application's function leads to meanwhile on this loop has
// one of its own.
func (sh *shard) takeRequest() *http1.Request {
	n := len(sh.requests)
	if n == 0 {
		return new(http1.Request)
	}
	r := sh.requests[n-1]
	sh.requests = sh.requests[:n-1]
	return r
}

func (sh *shard) giveRequest(r *http1.Request) { sh.requests = append(sh.requests, r) }

// failHead answers a request whose head is not to be served. A page is shown
// that, if what came before the fault says where it is from.
func (sh *shard) failHead(h *httpConn, r *http1.Request, status int) {
	if c := sh.srv.cors; c != nil && strings.HasPrefix(string(r.Path), sh.srv.o.Path) {
		if r.Host == nil {
			r.Host = r.Get("Host")
		}
		if _, fields, allowed := c.allows(r, false); allowed {
			h.fields = fields
		}
	}
	sh.fail(h, status)
}

// owner returns the loop of the session that a request is for, nil when that is
// this one or none.
func (sh *shard) owner(r *http1.Request, q *query) *loop.Loop {
	if len(q.sid) == 0 || !sh.forEngine(r) {
		return nil
	}
	ref, ok := sh.srv.ids.Parse(q.sid)
	if !ok || int(ref>>56) == sh.loop.Index() {
		return nil
	}
	loops := sh.loop.Engine().Loops()
	return loops[ref>>56]
}

// request sends a request to who answers it. It must lead to an answer, to a
// body being received, or to a WebSocket.
func (sh *shard) request(h *httpConn) {
	srv, path := sh.srv, string(h.req.Path)
	if srv.o.Health != nil && sh.asksHealth(h.req) {
		sh.answerHealth(h)
		return
	}
	below := sh.forEngine(h.req)
	var handler http.Handler
	if srv.o.Route != nil && !sh.isPath(h.req) {
		handler = srv.o.Route(path)
	}
	claim := h.req.Get(ForwardedHeader)
	h.stays = (handler != nil || claim != nil) && !srv.handed.Load()
	if below && srv.cors != nil && !sh.checkOrigin(h, handler != nil) {
		return
	}
	switch {
	case !sh.hasConn(h):
	case below && !sh.proven(h.req, claim):
		sh.tally.Unproven++
		srv.notice.Warn("a request says falsely that another server forwarded it", "flag", "--cluster-secret", "client", addrText(sh.clientAddr(h)))
		sh.refuse(h, unproven)
	case handler != nil:
		sh.runHandler(h, &work{is: stateRoute, target: handler}, maxRouteBody)
	case !below:
		sh.answer(h, http.StatusNotFound, nil, nil, false)
	case srv.o.Middleware != nil:
		sh.runApart(h, &work{is: stateMiddleware, w: &recorder{header: http.Header{}}}, nil)
	default:
		sh.engineRequest(h)
	}
}

// isPath tells whether a request is for Path itself, with or without the slash.
func (sh *shard) isPath(r *http1.Request) bool {
	path := sh.srv.o.Path
	return string(r.Path) == path || string(r.Path) == path[:len(path)-1]
}

// forEngine tells whether a request is for Path or below it. As in Node all that
// is below is Engine.IO's too, unless Route has something there: old clients ask
// for /socket.io/1/, and some write two slashes.
func (sh *shard) forEngine(r *http1.Request) bool {
	return strings.HasPrefix(string(r.Path), sh.srv.o.Path) || sh.isPath(r)
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
