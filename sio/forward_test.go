package sio_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/sio"
)

// A strays is two servers of a cluster. Sessions are opened at home, and their
// requests go away.
type strays struct {
	home, away *server
	at, other  *stop // home's and away's
	joined     chan sio.Socket
	left       chan sio.Reason
}

func newStrays(t *testing.T, o sio.Options) *strays {
	t.Helper()
	return newStraysWith(t, o, func(*sio.Options, bool) {})
}

// newStraysWith is newStrays with something different for the two.
func newStraysWith(t *testing.T, o sio.Options, differ func(o *sio.Options, home bool)) *strays {
	t.Helper()
	x, b := &strays{left: make(chan sio.Reason, 100)}, &bus{}
	x.at = b.stop()
	start := func(a *stop) *server {
		o.Adapter, o.Advertise = a, ""
		if a == x.at {
			o.Advertise = "http://" + freeAddr(t)
		}
		differ(&o, a == x.at)
		return serve(t, o, func(srv *sio.Server) {
			echo(srv.Of("/"))
			if a == x.at {
				x.joined = sockets(srv.Of("/"))
				srv.Of("/").OnDisconnect(func(_ sio.Socket, r sio.Reason) { x.left <- r })
			}
		})
	}
	x.other = b.stop()
	x.home, x.away = start(x.at), start(x.other)
	return x
}

// freeAddr returns an address at which nobody listens.
func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// deaf is a server that proves nothing, and must be sent nothing but the challenge.
func deaf(t testing.TB) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Sioedge-Challenge") == "" || r.Header.Get("Cookie") != "" {
			t.Errorf("%s %s was sent to who has proven nothing", r.Method, r.RequestURI)
		}
		_, _ = io.WriteString(w, "0123456789012345678901")
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// poll opens a session at home, whose requests go away.
func (x *strays) poll(query string) *poller {
	x.home.t.Helper()
	p := x.home.pollQuery(query)
	p.base = strings.Replace(p.base, x.home.addr, x.away.addr, 1)
	p.url = strings.Replace(p.url, x.home.addr, x.away.addr, 1)
	return p
}

func (x *strays) join() (*poller, sio.Socket) {
	x.home.t.Helper()
	p := x.poll("EIO=4&transport=polling")
	p.send("40")
	p.expect(`40{"sid":"$sid"}`)
	return p, take(x.home.t, x.joined)
}

// wantFailed makes a request that cannot be forwarded.
func (x *strays) wantFailed(p *poller, status int, body, reason string) {
	t := p.t
	t.Helper()
	before := x.away.Stats().ForwardFailed
	r, err := p.http.Get(p.url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, _ := io.ReadAll(r.Body)
	if r.StatusCode != status || string(b) != body || r.Header.Get(eio.ReasonHeader) != reason || r.Header.Get("Content-Type") != "application/json" {
		t.Errorf("GET = %d %s %v, want %d %s as JSON, and the reason %q", r.StatusCode, b, r.Header, status, body, reason)
	}
	if n := x.away.Stats().ForwardFailed - before; n != 1 {
		t.Errorf("ForwardFailed grew by %d, want 1", n)
	}
}

const unknown = `{"code":1,"message":"Session ID unknown"}`

func TestForwardedDialogue(t *testing.T) {
	x := newStrays(t, sio.Options{})
	p, s := x.join()
	p.send(`421["echo",1]`, `451-2["echo",{"_placeholder":true,"num":0}]`, "<0aff>")
	p.expect(`431[1]`, `461-2[{"_placeholder":true,"num":0}]`, "<0aff>")

	get := p.pending()
	eventually(t, "the poll", s.Writable)
	large := strings.Repeat("large ", 40_000) // compressed for this client
	if err := s.Emit("event", large, []byte{1, 2, 3}); err != nil {
		t.Fatal(err)
	}
	p.take(take(t, get))
	p.expect(`451-["event","`+large+`",{"_placeholder":true,"num":0}]`, "<010203>")

	get = p.pending()
	eventually(t, "the poll", s.Writable)
	p.send("1")
	if got := take(t, get); got != "6" {
		t.Errorf("the poll that waited for the client's close = %q, want 6", got)
	}
	if r := take(t, x.left); r != eio.TransportClose {
		t.Errorf("the reason is %q, want %q", r, eio.TransportClose)
	}
	p.wantGet(400, unknown)
	if st := x.away.Stats(); st.Forwarded < 7 || st.ForwardFailed != 0 {
		t.Errorf("Stats() = %+v, want 7 requests forwarded or more, and none failed", st)
	}
	if st := x.home.Stats(); st.Forwarded != 0 || st.ForwardFailed != 0 || st.Engine.Refused[eio.CodeUnknownSID] != 1 {
		t.Errorf("Stats() of the session's server = %+v, want none forwarded, and one of the session that has ended", st)
	}
}

func TestForwardedOldClients(t *testing.T) {
	x := newStrays(t, sio.Options{Engine: eio.Options{AllowEIO3: true}})
	p := x.poll("EIO=3&transport=polling")
	s := take(t, x.joined)                // these are in "/" from the start
	p.get()                               // and told so
	if _, ok := p.post("1:2"); ok == "" { // a ping
		t.Error("POST of a ping is answered with nothing")
	}
	p.wantGet(200, "1:3")
	if err := s.Emit("b", []byte{1}); err != nil {
		t.Fatal(err)
	}
	if status, body := p.get(); status != 200 || !strings.HasSuffix(body, "\x01\x02\xff\x04\x01") {
		t.Errorf("a poll with bytes = %d %q, want the bytes at its end", status, body)
	}

	p.url = "http://" + x.home.addr + "/socket.io/?EIO=4&transport=polling&j=7"
	_, open := p.get()
	_, sid, _ := strings.Cut(open, `sid\":\"`)
	p.url = "http://" + x.away.addr + "/socket.io/?EIO=4&transport=polling&j=7&sid=" + sid[:min(len(sid), eio.IDLen)]
	r, err := p.http.Post(p.url, "application/x-www-form-urlencoded", strings.NewReader("d=40"))
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if status, body := p.get(); status != 200 || !strings.HasPrefix(body, `___eio[7]("40{\"sid\":`) {
		t.Errorf("a poll by JSONP = %d %q, want a call with the answer to CONNECT", status, body)
	}
}

// What the session's server gets, and what the client gets of its answer.
func TestForwardedHeaders(t *testing.T) {
	seen := make(chan *http.Request, 10)
	x := newStrays(t, sio.Options{Engine: eio.Options{
		CORS: &eio.CORS{Origins: []string{"https://a.example"}},
		Middleware: func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("X-Host", r.Host)
			if r.Header.Get(eio.ForwardedHeader) != "" {
				seen <- r
			}
			return true
		},
	}})
	p, _ := x.join()
	for len(seen) > 0 {
		if r := <-seen; r.Header.Get("X-Forwarded-For") != "127.0.0.1" {
			t.Errorf("X-Forwarded-For = %q, want the client's address", r.Header["X-Forwarded-For"])
		}
	}
	ask := func(origin string) *http.Response {
		r, _ := http.NewRequest(http.MethodPost, p.url+"&x=%zz;a&x", strings.NewReader("42[\"echo\"]"))
		r.Host = "public.example"
		r.Header = http.Header{"Origin": {origin}, "Cookie": {"a=b"}, "X-Forwarded-For": {"192.0.2.1"}, "X-Forwarded-Proto": {"https"}, "Forwarded": {`for="x`},
			"Connection": {"x-hop"}, "X-Hop": {"1"}, "Keep-Alive": {"timeout=1"}, "User-Agent": {""}, "Expect": {"100-continue"}}
		resp, err := p.http.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp
	}
	resp := ask("https://a.example")
	for name, want := range map[string]string{"Access-Control-Allow-Origin": "[https://a.example]", "Vary": "[Origin]", "X-Host": "[public.example]"} {
		if got := fmt.Sprint(resp.Header[name]); resp.StatusCode != 200 || got != want {
			t.Errorf("the answer is %d with %s %s, want 200 and %s", resp.StatusCode, name, got, want)
		}
	}
	r := take(t, seen)
	if r.Host != "public.example" || !strings.HasSuffix(r.RequestURI, "&x=%zz;a&x") || r.Method != http.MethodPost {
		t.Errorf("forwarded is %s %s of %s, want what was asked", r.Method, r.RequestURI, r.Host)
	}
	for name, want := range map[string]string{"X-Forwarded-For": "[192.0.2.1, 127.0.0.1]", "X-Forwarded-Proto": "[https]", "Forwarded": `[for="x for=127.0.0.1]`, "Cookie": "[a=b]",
		"Origin": "[https://a.example]", "X-Hop": "[]", "Keep-Alive": "[]", "User-Agent": "[]", "Expect": "[]"} {
		if got := fmt.Sprint(r.Header[name]); got != want {
			t.Errorf("forwarded is %s %s, want %s", name, got, want)
		}
	}
	before := x.away.Stats().Forwarded
	if resp := ask("https://b.example"); resp.StatusCode != 403 {
		t.Errorf("another origin is answered %d, want 403", resp.StatusCode)
	}
	if a, h := x.away.Stats(), x.home.Stats(); a.Engine.Origins != 1 || h.Engine.Origins != 0 || a.Forwarded != before {
		t.Errorf("refused for their origin: %d and %d, forwarded %d; want 1 where it came, and nothing forwarded",
			a.Engine.Origins, h.Engine.Origins, a.Forwarded-before)
	}
}

func TestForwardToNobody(t *testing.T) {
	x := newStrays(t, sio.Options{})
	p, _ := x.join()
	node := x.home.Node()
	x.at.reached("-") // it advertises nothing
	x.wantFailed(p, 400, unknown, "the session is of node "+node+", which cannot be asked")
	// The last two are others than the session's server, which get nothing.
	for _, addr := range []string{"http://" + freeAddr(t), "no address", "http://" + x.away.addr, deaf(t)} {
		x.at.reached(addr)
		reason := "node " + node + " cannot be reached"
		x.wantFailed(p, 502, `{"message":"`+reason+`"}`, reason)
	}
	if n := x.away.Stats().ForwardUnproven; n != 2 {
		t.Errorf("ForwardUnproven = %d, want 2", n)
	}
	x.at.reached("")
	p.send(`421["echo",1]`) // all that has not hurt the session
	p.expect("431[1]")

	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := x.home.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	x.wantFailed(p, 400, unknown, "the session is of node "+node+", which cannot be asked")
}

func TestForwardLimits(t *testing.T) {
	x := newStrays(t, sio.Options{MaxForwards: 1, Engine: eio.Options{MaxPayload: 1000}})
	p, s := x.join()
	if status, body := p.post("4" + strings.Repeat("x", 1500)); status != 413 || body != "" {
		t.Errorf("POST of 1501 bytes = %d %q, want 413 and nothing", status, body)
	}
	full := `421["echo","` + strings.Repeat("x", 1000-len(`421["echo",""]`)) + `"]`
	p.send(full) // the limit to the byte
	p.next()
	get := p.pending()
	eventually(t, "the poll", s.Writable)
	const reason = "too many requests are being forwarded"
	x.wantFailed(p, 503, `{"message":"`+reason+`"}`, reason)
	if err := s.Emit("a"); err != nil {
		t.Fatal(err)
	}
	if got := take(t, get); got != `42["a"]` {
		t.Errorf("the poll that was under way = %q, want the event", got)
	}
	p.send("3") // there is room again
}

// A poll whose server is not known yet, as it has just started, waits until it is: a
// body is not lost meanwhile. Ids that name nobody are refused at once after the
// first, whatever the adapter does.
func TestForwardToWhoHasJustStarted(t *testing.T) {
	x := newStrays(t, sio.Options{})
	show := x.at.hide()
	p := x.poll("EIO=4&transport=polling")
	got := make(chan string, 1)
	// ends when the post has been answered
	go func() {
		status, body := p.post("40")
		got <- fmt.Sprint(status, " ", body)
	}()
	away := x.other
	eventually(t, "the search", func() bool { return away.sought.Load() == 1 })
	if len(got) > 0 {
		t.Fatalf("the post is answered %s before its server is known", <-got)
	}
	show()
	if g := take(t, got); g != "200 ok" {
		t.Errorf("the post = %s, want 200 ok", g)
	}
	p.expect(`40{"sid":"$sid"}`)

	p.url = strings.Replace(p.url, p.sid, "none"+p.sid[4:], 1)
	for range 50 {
		x.wantFailed(p, 400, unknown, "the session is of node none, which cannot be asked")
	}
	if n := away.sought.Load(); n != 2 {
		t.Errorf("the others were asked %d times, want 2: for the server, and once for nobody", n)
	}
}

// What only another server can say is not believed of a client: neither on the way
// to a session here, nor to one elsewhere. It reaches nothing of the application.
func TestForgedForward(t *testing.T) {
	var seen atomic.Int64
	x := newStrays(t, sio.Options{Engine: eio.Options{Middleware: func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get(eio.ForwardedHeader) == "1" {
			seen.Add(1)
		}
		return true
	}}})
	p, _ := x.join()
	for _, srv := range []*server{x.home, x.away} {
		for _, path := range []string{"/socket.io/?EIO=4&transport=polling", "/socket.io/?EIO=4&transport=polling&sid=" + p.sid} {
			r, _ := http.NewRequest(http.MethodGet, "http://"+srv.addr+path, nil)
			r.Header = http.Header{eio.ForwardedHeader: {"1"}, "X-Forwarded-For": {"192.0.2.1"}}
			resp, err := p.http.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusForbidden {
				t.Errorf("GET %s that claims to be forwarded = %d, want 403", path, resp.StatusCode)
			}
		}
		if n := srv.Stats().Engine.Unproven; n != 2 {
			t.Errorf("Unproven = %d, want 2", n)
		}
	}
	if n := seen.Load(); n > 0 {
		t.Errorf("the middleware has seen %d of them, want 0", n)
	}
	p.send(`421["echo",1]`) // nothing has hurt the session
	p.expect("431[1]")
	for _, challenge := range []string{"", strings.Repeat("x", 1000)} {
		r, _ := http.NewRequest(http.MethodGet, "http://"+x.home.addr+"/socket.io/sioedge-node", nil)
		r.Header = http.Header{"Sioedge-Challenge": {challenge}}
		resp, err := p.http.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusNotFound {
			t.Errorf("a challenge of %d bytes = %d, want 404", len(challenge), resp.StatusCode)
		}
	}
}

// Servers that do not share the secret forward nothing to each other.
func TestForwardNeedsTheSecret(t *testing.T) {
	for _, c := range []struct {
		home, away string
		status     int
	}{{"a", "a", 200}, {"a", "b", 502}, {"", "b", 502}} {
		x := newStraysWith(t, sio.Options{}, func(o *sio.Options, home bool) {
			o.ClusterSecret = c.away
			if home {
				o.ClusterSecret = c.home
			}
		})
		p := x.poll("EIO=4&transport=polling")
		if status, _ := p.post("40"); status != c.status {
			t.Errorf("with the secrets %q and %q a post is answered %d, want %d", c.home, c.away, status, c.status)
		}
	}
}

// A client that polls as much as it can through the wrong server leaves others room,
// also for the same server.
func TestForwardLeavesOthersRoom(t *testing.T) {
	x := newStrays(t, sio.Options{MaxForwards: 16})
	p, _ := x.join()
	var pending []<-chan string
	for range 8 {
		q, s := x.join()
		pending = append(pending, q.pending())
		eventually(t, "the poll", s.Writable)
	}
	const reason = "too many requests are being forwarded"
	x.wantFailed(p, 503, `{"message":"`+reason+`"}`, reason)
	if n := x.away.Stats().ForwardLimited; n != 1 {
		t.Errorf("ForwardLimited = %d, want 1", n)
	}
	another := *p.http
	another.Transport = &http.Transport{DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}).DialContext}
	p.http = &another
	p.send(`421["echo",1]`)
	p.expect("431[1]")
	for _, get := range pending {
		if len(get) > 0 {
			t.Errorf("a poll is answered %q, want it to wait", <-get)
		}
	}
}

// A client that goes away while its poll is out ends its session at once, as it
// does where the session is.
func TestForwardedClientLeaves(t *testing.T) {
	x := newStrays(t, sio.Options{})
	p, s := x.join()
	c, err := net.Dial("tcp", x.away.addr)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(c, "GET /socket.io/?EIO=4&transport=polling&sid=%s HTTP/1.1\r\nHost: h\r\n\r\n", p.sid)
	eventually(t, "the poll", s.Writable)
	c.Close()
	if r := take(t, x.left); r != eio.TransportError {
		t.Errorf("the reason is %q, want %q", r, eio.TransportError)
	}
	if st := x.away.Stats(); st.ForwardFailed != 0 {
		t.Errorf("ForwardFailed = %d, want 0", st.ForwardFailed)
	}
}

// A server that stops has what it forwarded answered, which costs nobody anything.
func TestForwardAndShutdown(t *testing.T) {
	x := newStrays(t, sio.Options{})
	type waiting struct {
		p   *poller
		get <-chan string
	}
	var all []waiting
	for range 20 {
		p, s := x.join()
		get := p.pending()
		eventually(t, "the poll", s.Writable)
		all = append(all, waiting{p, get})
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := x.away.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	for _, w := range all {
		if got := take(t, w.get); got != "6" {
			t.Errorf("the poll = %q, want 6", got)
		}
		w.p.url = strings.Replace(w.p.url, x.away.addr, x.home.addr, 1)
		w.p.send(`421["echo",1]`)
		w.p.expect("431[1]")
	}
	if len(x.left) > 0 {
		t.Errorf("a session has ended for %q, want all alive", <-x.left)
	}
}

func TestForwardOptions(t *testing.T) {
	for _, s := range []string{"10.0.0.5:3000", "ftp://h", "http://", "http://:80", "http://h/path", "http://h?a", "http://u@h", "http://h#f", "http://h\n", "h"} {
		if _, err := sio.New(sio.Options{Advertise: s}); err == nil {
			t.Errorf("New(Advertise: %q) = nil, want an error", s)
		}
	}
	if _, err := sio.New(sio.Options{MaxForwards: -1}); err == nil {
		t.Error("New(MaxForwards: -1) = nil, want an error")
	}
	if _, err := sio.New(sio.Options{MaxTunnels: -1}); err == nil {
		t.Error("New(MaxTunnels: -1) = nil, want an error")
	}
	b := &bus{}
	for _, s := range []string{"", "http://10.0.0.5:3000", "https://[::1]:3000/"} {
		a := b.stop()
		srv, err := sio.New(sio.Options{Advertise: s, Adapter: a})
		if err != nil {
			t.Errorf("New(Advertise: %q): %v", s, err)
			continue
		}
		if got := a.host.Advertise(); got != s {
			t.Errorf("Advertise() = %q, want %q", got, s)
		}
		if err := srv.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	}
}
