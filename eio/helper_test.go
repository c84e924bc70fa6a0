package eio

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/http1"
	"github.com/sioedge/sioedge/wsframe"
)

// checkEmpty checks that nothing is left of a server whose clients have gone.
// It looks at what belongs to the loops, which must not be running.
func checkEmpty(t testing.TB, srv *Server, e *loop.Engine) {
	t.Helper()
	for i, sh := range srv.shards {
		if n := sh.sessions.Len(); n != 0 || sh.open != 0 {
			t.Errorf("loop %d has %d sessions and counts %d, want none", i, n, sh.open)
		}
		if n := len(sh.exts) - 1 - len(sh.freeExts); n != 0 {
			t.Errorf("loop %d has %d extensions, want none", i, n)
		}
		if n := len(sh.https) - 1 - len(sh.freeHTTP); n != 0 {
			t.Errorf("loop %d has %d HTTP connections, want none", i, n)
		}
		if n := len(sh.delays); n != 0 {
			t.Errorf("loop %d has %d delays, want none", i, n)
		}
		if sh.deadlines.armed != 0 {
			t.Errorf("loop %d has %d deadlines, want none", i, sh.deadlines.armed)
		}
	}
	st := srv.Stats()
	for _, n := range []int64{st.Open.Sum(), st.Probing, st.Held, st.Queued, st.Entries, st.Polls, st.Bodies, st.BodyBytes, st.Unacked, st.Apart, st.Tunnels, st.Swamped} {
		if n != 0 {
			t.Errorf("Stats() = %+v, want that nothing is left", st)
			break
		}
	}
	if n := st.Closed; st.Opened.Sum() != n.TransportClose+n.TransportError+n.PingTimeout+n.ParseError+n.ForcedClose {
		t.Errorf("Stats() = %+v, want as many closed as opened", st)
	}
	codes := int64(0)
	st.Codes.Each(func(_ uint16, n int64) { codes += n })
	if x := &st.Times; x.Handshakes.Count() != st.Opened.Sum() || x.Ages.Count() != st.Opened.Sum() || st.Out.Close != codes {
		t.Errorf("Stats() = %+v, want as many times as sessions, and codes as close frames", st)
	}
	for i, sh := range srv.shards {
		if sh.exchanges != [states]int64{} {
			t.Errorf("loop %d counts %v exchanges, want none", i, sh.exchanges)
		}
		if len(sh.clients) != 0 {
			t.Errorf("loop %d has %d addresses, want none", i, len(sh.clients))
		}
	}
	if n := srv.sessions.Load(); n != 0 {
		t.Errorf("the server counts %d sessions, want none", n)
	}
	for i := range srv.guests.shards {
		if of := srv.guests.shards[i].of; len(of) != 0 {
			t.Errorf("guests are counted: %v, want none", of)
		}
	}
	if s := e.Stats(); s.Panics != 0 || s.Open != 0 {
		t.Errorf("Stats() = %+v, want no panics and nothing open", s)
	}
}

// hooks is a handler of functions; a nil one does nothing.
type hooks struct {
	open    func(s Session, r *http1.Request)
	message func(s Session, data []byte, binary bool)
	close   func(s Session, reason Reason)
}

func (h *hooks) Open(s Session, r *http1.Request) {
	if h.open != nil {
		h.open(s, r)
	}
}

func (h *hooks) Message(s Session, data []byte, binary bool) {
	if h.message != nil {
		h.message(s, data, binary)
	}
}

func (h *hooks) Close(s Session, reason Reason) {
	if h.close != nil {
		h.close(s, reason)
	}
}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// newSim makes a server on a simulation. The first ping of each session comes
// after exactly PingInterval.
func newSim(t testing.TB, h Handler, o Options, lo loop.Options) (*Server, *loop.Sim) {
	t.Helper()
	o.Logger = quiet
	srv, err := NewServer(h, o)
	if err != nil {
		t.Fatal(err)
	}
	srv.spread = func(d time.Duration) time.Duration { return d }
	if lo.Loops == 0 {
		lo.Loops = 1
	}
	lo.Logger = quiet
	sim := loop.NewSim(srv, lo)
	srv.Bind(sim.Engine().Loops())
	return srv, sim
}

var testKey = [4]byte{1, 2, 3, 4}

func textFrame(data string) []byte {
	return wsframe.AppendMaskedFrame(nil, wsframe.Text, []byte(data), testKey)
}

func getRequest(query string) []byte {
	return []byte("GET /engine.io/?" + query + " HTTP/1.1\r\nHost: h\r\n\r\n")
}

func postRequest(query, body string) []byte {
	return []byte("POST /engine.io/?" + query + " HTTP/1.1\r\nHost: h\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body)
}

func wsRequest(query string) []byte {
	return []byte("GET /engine.io/?" + query + " HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
}

// testRoute answers below /r/ in several ways.
func testRoute(path string) http.Handler {
	switch path {
	case "/r/text":
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Method", r.Method+" "+r.Proto+" "+r.Host+" "+r.URL.RawQuery)
			_, _ = io.WriteString(w, "hello")
			w.Header().Set("X-Late", "not sent")
		})
	case "/r/echo":
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			b, err := io.ReadAll(r.Body)
			if err != nil || int64(len(b)) != r.ContentLength {
				panic(err)
			}
			w.Header().Set("Content-Type", "text/echo")
			w.WriteHeader(http.StatusAccepted)
			_, _ = w.Write(b)
		})
	case "/r/length":
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "12345")
			w.Header().Set("Transfer-Encoding", "identity")
			w.Header()["X-Bad"] = []string{"a\r\nb"}
		})
	case "/r/none":
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusNoContent)
			w.WriteHeader(http.StatusOK)
			if _, err := w.Write([]byte("x")); !errors.Is(err, http.ErrBodyNotAllowed) {
				panic(err)
			}
		})
	case "/r/close":
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Connection", "close") })
	case "/r/panic":
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "half of it")
			panic("oh")
		})
	case "/r/status":
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(99) })
	case "/r/abort":
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) })
	}
	return nil
}

// live returns the slots of the sessions that are open for the handler.
func (sh *shard) live() (slots []uint32) {
	for slot := uint32(1); slot <= sh.sessions.Max(); slot++ {
		if s := sh.sessions.At(slot); s.is(inUse) && !s.is(closing) {
			slots = append(slots, slot)
		}
	}
	return slots
}
