//go:build interop

package e2e

import (
	"cmp"
	"compress/gzip"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const rogueSecret = "secret-of-the-hook-" + mark + "-0123456789"

// A rogue is an application that answers by chance as none should, and keeps account of
// what it was told.
type rogue struct {
	t      *testing.T
	addr   string
	inside net.Listener // where redirects point, and nobody may come
	hits   atomic.Int64 // who came nevertheless
	ill    atomic.Bool  // it misbehaves

	mu       sync.Mutex
	rand     *rand.Rand
	server   *http.Server // nil: it is away
	told     []seen
	taken    map[string]bool     // ids of what was in a request that counts as taken
	doubtful map[string]bool     // ids of what may have been answered too late
	answered map[string]bool     // ids of events whose acknowledgement was in a good answer
	requests map[string][]string // ids of items, by webhook-id
	lost     map[string]int      // by kind, of reports that were taken
	faults   map[string]int      // how often it has misbehaved, and how
}

// A seen is an item as it came.
type seen struct {
	ID, Type, Node, Sid, User, Ev, Reason, State string
	Args                                         []json.RawMessage
	Auth                                         struct{ Token string }
	Handshake                                    struct{ Query map[string]string }
	Counts                                       map[string]int
	Recovered                                    bool
	taken                                        bool
}

// newRogue starts one, whose chance begins with a seed.
func newRogue(t *testing.T, seed uint64) *rogue {
	t.Helper()
	r := &rogue{
		t: t, rand: rand.New(rand.NewPCG(seed, 1)), taken: map[string]bool{}, doubtful: map[string]bool{}, answered: map[string]bool{},
		requests: map[string][]string{}, lost: map[string]int{}, faults: map[string]int{},
	}
	var err error
	if r.inside, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	// ends with the listener
	go func() {
		for {
			c, err := r.inside.Accept()
			if err != nil {
				return
			}
			r.hits.Add(1)
			_ = c.Close()
		}
	}()
	r.open()
	t.Cleanup(func() {
		r.close()
		_ = r.inside.Close()
		if n := r.hits.Load(); n > 0 {
			t.Errorf("%d redirects were followed", n)
		}
		if t.Failed() {
			t.Logf("seed %d, faults %v", seed, r.faults)
		}
	})
	return r
}

func (r *rogue) url() string { return "http://" + r.addr + "/hook" }

// open has it be there, at the address where it was before.
func (r *rogue) open() {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	addr := r.addr
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		r.t.Fatal(err)
	}
	r.addr = ln.Addr().String()
	r.server = &http.Server{Handler: http.HandlerFunc(r.serve)}
	// ends with close
	go func(s *http.Server) { _ = s.Serve(ln) }(r.server)
}

// close has it be away, with all connections, between two answers.
func (r *rogue) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.server != nil {
		_ = r.server.Close()
	}
	r.server = nil
}

// signed tells whether a request has the signature of Standard Webhooks.
func signed(h http.Header, body []byte) bool {
	mac := hmac.New(sha256.New, []byte(rogueSecret))
	fmt.Fprintf(mac, "%s.%s.%s", h.Get("webhook-id"), h.Get("webhook-timestamp"), body)
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	return slices.Contains(strings.Fields(h.Get("webhook-signature")), want)
}

func (r *rogue) serve(w http.ResponseWriter, req *http.Request) {
	began := time.Now()
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return // it has hung up
	}
	var all struct {
		Node   string
		Events []seen
	}
	if !signed(req.Header, body) || json.Unmarshal(body, &all) != nil || len(all.Events) == 0 {
		r.t.Errorf("a request is not signed, or not what it should be: %s", body)
		return
	}
	var ids []string
	for i := range all.Events {
		all.Events[i].Node = cmp.Or(all.Events[i].Node, all.Node)
		ids = append(ids, all.Events[i].ID)
	}
	r.mu.Lock()
	if before, again := r.requests[req.Header.Get("webhook-id")]; again && !slices.Equal(before, ids) {
		r.t.Errorf("a request has other items the second time: %q and %q", before, ids)
	}
	r.requests[req.Header.Get("webhook-id")] = ids
	f := fault{name: "none", taken: true, answer: (*rogue).good}
	if r.ill.Load() && r.rand.IntN(100) < 30 {
		f = faults[r.rand.IntN(len(faults))]
	}
	r.faults[f.name]++
	first := len(r.told)
	r.told = append(r.told, all.Events...)
	r.mu.Unlock()
	if !f.taken {
		f.answer(r, w, req, all.Events)
		return
	}
	// No answer that counts is cut off by close.
	r.mu.Lock()
	defer r.mu.Unlock()
	if req.Context().Value(http.ServerContextKey) != r.server {
		return // it was closed meanwhile
	}
	f.answer(r, w, req, all.Events)
	_ = http.NewResponseController(w).Flush()
	doubt := time.Since(began) > time.Second
	for i, x := range all.Events {
		r.told[first+i].taken = true
		if doubt {
			r.doubtful[x.ID] = true
		}
		if r.taken[x.ID] && !r.doubtful[x.ID] && (x.Type == "event" || x.Type == "connect") { // others may come as doubles
			r.t.Errorf("%s %s of %s comes again, after it was taken", x.Type, x.ID, x.User)
		}
		r.taken[x.ID] = true
		for kind, n := range x.Counts {
			r.lost[kind] += n
		}
	}
}

// results are those of items, as a backend has them that behaves.
func (r *rogue) results(events []seen) string {
	var all []string
	for _, x := range events {
		switch x.Type {
		case "connect":
			user, _, _ := strings.Cut(cmp.Or(x.Auth.Token, x.Handshake.Query["access_token"]), " ")
			all = append(all, fmt.Sprintf(`{"id":%q,"user":%q,"data":{"secret":%q},"join":["all"]}`, x.ID, user, mark))
		case "event":
			r.answered[x.ID] = true
			all = append(all, fmt.Sprintf(`{"id":%q,"ack":[%s,%q],"emit":[{"ev":"heard","args":[%s]}]}`, x.ID, x.Args[0], mark, x.Args[0]))
		default:
			all = append(all, fmt.Sprintf(`{"id":%q}`, x.ID))
		}
	}
	return `{"results":[` + strings.Join(all, ",") + `]}`
}

func (r *rogue) good(w http.ResponseWriter, _ *http.Request, events []seen) {
	respond(w, 200, "application/json", r.results(events))
}

func respond(w http.ResponseWriter, status int, kind, body string) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", fmt.Sprint(len(body)))
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

// A fault is a way to misbehave. Taken says that nothing of the request is to come again.
type fault struct {
	name   string
	taken  bool
	answer func(r *rogue, w http.ResponseWriter, req *http.Request, events []seen)
}

// status is a fault that is an answer with a status.
func status(code int) fault {
	return fault{fmt.Sprint(code), false, func(r *rogue, w http.ResponseWriter, _ *http.Request, _ []seen) {
		w.Header().Set("Location", "http://"+r.inside.Addr().String()+"/?"+mark)
		w.Header().Set("Retry-After", "0")
		respond(w, code, "application/json", `{"results":[],"error":"`+mark+`"}`)
	}}
}

// reset ends the connection after that of an answer, as a process does that dies.
func reset(name, part string) fault {
	return fault{name, false, func(_ *rogue, w http.ResponseWriter, _ *http.Request, _ []seen) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		_, _ = io.WriteString(c, part)
		if c, ok := c.(*net.TCPConn); ok && part == "" {
			_ = c.SetLinger(0)
		}
		_ = c.Close()
	}}
}

// text is a fault that is a body.
func text(name string, taken bool, kind, body string) fault {
	return fault{name, taken, func(_ *rogue, w http.ResponseWriter, _ *http.Request, _ []seen) { respond(w, 200, kind, body) }}
}

var faults = []fault{
	status(500), status(502), status(301), status(302), status(307), status(308), status(400), status(401), status(410),
	reset("reset", ""), reset("cut", "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{\"results\":["+mark),
	reset("no HTTP", "220 "+mark+" ESMTP\r\n"),
	text("garbage", true, "application/json", `{"results":[{"id":"`+mark), text("another type", false, "text/html", "<html>"+mark),
	text("10 MB", true, "application/json", `{"results":[],"x":"`+strings.Repeat(mark, 10_000_000/len(mark))+`"}`),
	text("deep", true, "application/json", `{"results":`+strings.Repeat("[", 100_000)),
	text("unknown results", true, "application/json", `{"results":[{"id":"nobody","ack":[1]},{"id":7},{"id":"x","actions":[{"op":"`+mark+`"}]},null]}`),
	{"10 MB, and who knows", true, func(_ *rogue, w http.ResponseWriter, _ *http.Request, _ []seen) {
		w.Header().Set("Content-Type", "application/json")
		for range 100 {
			_, _ = io.WriteString(w, strings.Repeat(" ", 100_000))
		}
	}},
	{"nothing", true, func(_ *rogue, w http.ResponseWriter, _ *http.Request, _ []seen) { w.WriteHeader(204) }},
	{"packed", false, func(r *rogue, w http.ResponseWriter, _ *http.Request, _ []seen) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = io.WriteString(z, `{"results":[]}`)
		_ = z.Close()
	}},
	{"slow", false, func(_ *rogue, _ http.ResponseWriter, req *http.Request, _ []seen) {
		select {
		case <-req.Context().Done():
		case <-time.After(patience):
		}
	}},
	{"an action that there is not", true, func(_ *rogue, w http.ResponseWriter, _ *http.Request, events []seen) {
		var all []string
		for _, x := range events {
			all = append(all, fmt.Sprintf(`{"id":%q,"ack":[%q],"actions":[{"op":%q}]}`, x.ID, mark, mark))
		}
		respond(w, 200, "application/json", `{"results":[`+strings.Join(all, ",")+`]}`)
	}},
}
