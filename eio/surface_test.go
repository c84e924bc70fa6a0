package eio

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/loop"
)

func TestOriginPatterns(t *testing.T) {
	for _, c := range []struct {
		pattern, origin string
		want            bool
	}{
		{"https://a.example", "https://a.example", true},
		{"https://a.example", "https://a.example.evil", false},
		{"https://a.example", "https://evil.a.example", false},
		{"https://a.example", "http://a.example", false},
		{"https://a.example", "https://a.example:8443", false},
		{"https://*.a.example", "https://x.y.a.example", true},
		{"https://*.a.example", "https://a.example", false},
		{"https://*.a.example", "https://.a.example", false},
		{"https://*.a.example", "https://xa.example", false},
		{"https://*.a.example", "https://x.a.example.evil", false},
		{"http://localhost:*", "http://localhost:5173", true},
		{"http://localhost:*", "http://localhost", false},
		{"http://localhost:*", "http://localhost:", false},
		{"*://a.example", "capacitor://a.example", true},
		{"https://*", "https://any:1", true},
		{"https://a*b*c", "https://aXbbYbZc", true},
		{"https://a*b*c", "https://abc", false},
		{"https://a*b*c", "https://aXbYcd", false},
		{"https://**.x", "https://a.x", false},
		{"https://**.x", "https://ab.x", true},
		{"null", "null", true},
		{"https://x", "", false},
		{"*", "https://" + strings.Repeat("a", 16<<10), true},
		{"https://" + strings.Repeat("*a", 50) + "b", "https://" + strings.Repeat("a", 16<<10), false},
	} {
		if got := glob(c.pattern, c.origin); got != c.want {
			t.Errorf("glob(%.80q, %.80q) = %t, want %t", c.pattern, c.origin, got, c.want)
		}
	}
}

func TestOwnHost(t *testing.T) {
	for _, c := range []struct {
		origin, host string
		want         bool
	}{
		{"http://h", "h", true}, {"https://h", "h", true}, {"http://h", "h:80", true}, {"https://h:443", "h", true},
		{"http://h:8080", "h:8080", true}, {"http://h:8080", "h", false}, {"http://h", "h:443", true}, {"https://h", "h:80", true}, {"http://h", "h:8443", false},
		{"http://[::1]:3000", "[::1]:3000", true}, {"capacitor://h", "h", false}, {"null", "null", false}, {"http://", "", false},
	} {
		if got := ownHost(c.origin, c.host); got != c.want {
			t.Errorf("ownHost(%q, %q) = %t, want %t", c.origin, c.host, got, c.want)
		}
	}
}

func TestSurfaceOptions(t *testing.T) {
	for name, o := range map[string]Options{
		"an origin with a path":         {CORS: &CORS{Origins: []string{"https://a.example/"}}},
		"an origin without a scheme":    {CORS: &CORS{Origins: []string{"a.example"}}},
		"an origin without a host":      {CORS: &CORS{Origins: []string{"https://"}}},
		"a list in one string":          {CORS: &CORS{Origins: []string{"https://a.example, https://b.example"}}},
		"files of a host":               {CORS: &CORS{Origins: []string{"file://*"}}},
		"no origin":                     {CORS: &CORS{Origins: []string{""}}},
		"credentials for every site":    {CORS: &CORS{Origins: []string{"https://a.example", "*"}, Credentials: true}},
		"a negative age":                {CORS: &CORS{MaxAge: -time.Second}},
		"a header that ends the header": {CORS: &CORS{ExposedHeaders: []string{"a\r\nb"}}},
		"a cookie's name that is none":  {Cookie: &http.Cookie{Name: "a b"}},
		"a cookie's path that is none":  {Cookie: &http.Cookie{Path: "/;x"}},
	} {
		if _, err := NewServer(&hooks{}, o); err == nil || !strings.Contains(err.Error(), ":") {
			t.Errorf("NewServer(%s) = %v, want an error", name, err)
		}
	}
}

func TestCookieTemplate(t *testing.T) {
	for want, c := range map[string]http.Cookie{
		"io=x; Path=/; HttpOnly; SameSite=Lax":                                   {},
		"io=x; Path=/; Max-Age=60; HttpOnly; SameSite=Strict":                    {MaxAge: 60, SameSite: http.SameSiteStrictMode},
		"woot=x; Path=/chat; HttpOnly; Secure; SameSite=Lax; Partitioned":        {Name: "woot", Path: "/chat", Secure: true, Partitioned: true},
		"sticky=x; Path=/a; Domain=example.com; HttpOnly; Secure; SameSite=None": {Name: "sticky", Path: "/a", Domain: "example.com", Secure: true, SameSite: http.SameSiteNoneMode, Value: "ignored"},
	} {
		got, err := newCookie(&c)
		if err != nil || got.String() != want {
			t.Errorf("newCookie(%+v) = %v, %v, want %s", c, got, err, want)
		}
	}
}

func TestCheckClose(t *testing.T) {
	for _, c := range []struct {
		code   uint16
		reason string
		ok     bool
	}{
		{1000, "", true}, {3000, "", true}, {4999, strings.Repeat("é", 61) + "x", true},
		{999, "", false}, {1001, "", false}, {1005, "", false}, {1006, "", false}, {2999, "", false}, {5000, "", false}, {0, "", false},
		{4000, strings.Repeat("x", 124), false}, {4000, "\xff", false},
	} {
		if err := CheckClose(c.code, c.reason); (err == nil) != c.ok {
			t.Errorf("CheckClose(%d, %q) = %v, want ok %t", c.code, c.reason, err, c.ok)
		}
	}
	if err := (Session{}).CloseWith(1, ""); err == nil {
		t.Error("CloseWith(1) = nil, want an error")
	}
	if err := (Session{}).CloseWith(4000, ""); err != nil {
		t.Errorf("CloseWith(4000) of a session that is gone = %v, want nil", err)
	}
}

// allowByToken admits what has a token.
func allowByToken(r *http.Request) error {
	switch r.URL.Query().Get("token") {
	case "good":
		return nil
	case "bad":
		return &Refusal{`no "token"`}
	case "panic":
		panic("oh")
	}
	return errors.New("secret: no token")
}

func TestAllowRequest(t *testing.T) {
	const open, code4 = `0{"sid":`, `{"code":4,"message":"Forbidden"}`
	for _, c := range []struct {
		name, request, answer, err string
		status                     int
		end                        bool
	}{
		{"polling is allowed", "polling&token=good", open, "", 200, false},
		{"WebSocket is allowed", "websocket&token=good", "", "", 101, false},
		{"polling is refused with a message", "polling&token=bad", `{"code":4,"message":"no \"token\""}`, `no "token"`, 403, false},
		{"WebSocket is refused with a message", "websocket&token=bad", `no "token"`, `no "token"`, 400, true},
		{"an error is not for the client", "polling", code4, "secret: no token", 403, false},
		{"nor is it over WebSocket", "websocket", "Forbidden", "secret: no token", 400, true},
		{"a panic refuses", "polling&token=panic", code4, errGaveUp.Error(), 403, false},
		{"what is wrong anyway is not asked", "tcp&token=panic", `{"code":0,"message":"Transport unknown"}`, "<nil>", 400, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var told []string
			srv, sim := newSim(t, &hooks{}, Options{AllowRequest: allowByToken, OnConnectionError: func(e ConnectionError) {
				err := "<nil>"
				if e.Context.Err != nil {
					err = e.Context.Err.Error()
				}
				told = append(told, err)
			}}, loop.Options{})
			peer := sim.Connect(0)
			query := "EIO=4&transport=" + c.request
			if strings.HasPrefix(c.request, "websocket") {
				peer.Send(append(wsRequest(query), textFrame("4early")...))
			} else {
				peer.Send(getRequest(query))
			}
			if c.status == 101 {
				waitFor(t, sim, func() bool { return srv.Count(sim.Engine().Loops()[0]) == 1 })
				if got := string(peer.Received()); !strings.HasPrefix(got, "HTTP/1.1 101 ") {
					t.Errorf("answer = %q, want 101", got)
				}
			} else {
				r := answers(t, sim, peer, 1)[0]
				if body := bodyOf(r); r.StatusCode != c.status || !strings.HasPrefix(body, c.answer) {
					t.Errorf("answer = %d %q, want %d %q", r.StatusCode, body, c.status, c.answer)
				}
			}
			if got := strings.Join(told, ", "); got != c.err {
				t.Errorf("OnConnectionError was told %q, want %q", got, c.err)
			}
			if peer.Closed() != c.end {
				t.Errorf("closed: %t, want %t", peer.Closed(), c.end)
			}
			peer.Close()
			sim.Advance(2 * time.Minute)
			checkEmpty(t, srv, sim.Engine())
		})
	}
}

// waitFor waits for what goroutines do.
func waitFor(t *testing.T, sim *loop.Sim, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		sim.Turn()
		if ok() {
			return
		}
		if time.Now().After(end) {
			t.Fatal("it did not happen")
		}
	}
}

// TestAllowRequestSlow: while AllowRequest thinks, frames wait, clients may go,
// and the server may begin to drain.
func TestAllowRequestSlow(t *testing.T) {
	asked, release := make(chan *http.Request, 3), make(chan struct{})
	var got []string
	srv, sim := newSim(t, &hooks{message: func(_ Session, data []byte, _ bool) { got = append(got, string(data)) }}, Options{
		AllowRequest: func(r *http.Request) error {
			asked <- r
			select {
			case <-release:
			case <-r.Context().Done():
			}
			return nil
		},
	}, loop.Options{})
	gone, ws := sim.Connect(0), sim.Connect(0)
	gone.Send(getRequest("EIO=4&transport=polling"))
	r := <-asked
	if r.URL.Path != "/engine.io/" || r.Host != "h" {
		t.Errorf("AllowRequest got %s of %s, want /engine.io/ of h", r.URL.Path, r.Host)
	}
	gone.Close()
	waitFor(t, sim, func() bool { return r.Context().Err() != nil })
	ws.Send(append(wsRequest("EIO=4&transport=websocket"), textFrame("4in the same segment")...))
	<-asked
	ws.Send(textFrame("4behind"))
	sim.Advance(time.Minute) // it has no deadline
	release <- struct{}{}
	waitFor(t, sim, func() bool { return len(got) == 2 })
	if strings.Join(got, ", ") != "in the same segment, behind" {
		t.Errorf("messages = %q, want both in order", got)
	}
	late := sim.Connect(0)
	late.Send(getRequest("EIO=4&transport=polling"))
	<-asked
	srv.Drain()
	close(release)
	if r := answers(t, sim, late, 1)[0]; r.StatusCode != 503 || r.Header.Get("Retry-After") == "" {
		t.Errorf("answer = %d %v, want 503 with Retry-After", r.StatusCode, r.Header)
	}
	if st := srv.Stats(); st.Draining != 1 {
		t.Errorf("Stats() = %+v, want one for draining", st)
	}
	ws.Close()
	late.Close()
	sim.Advance(time.Minute)
	checkEmpty(t, srv, sim.Engine())
}

func TestMiddleware(t *testing.T) {
	middleware := func(w http.ResponseWriter, r *http.Request) (next bool) {
		w.Header().Set("X-Seen", r.Method)
		switch r.URL.Query().Get("do") {
		case "stop":
			w.WriteHeader(http.StatusTeapot)
			_, _ = w.Write([]byte("short and stout"))
			return true // has no effect any more
		case "end":
			return false
		case "panic":
			panic("oh")
		}
		return true
	}
	var told []string
	var got []string
	srv, sim := newSim(t, &hooks{message: func(_ Session, data []byte, _ bool) { got = append(got, string(data)) }},
		Options{Middleware: middleware, Route: testRoute, CORS: &CORS{}, OnConnectionError: func(e ConnectionError) { told = append(told, e.Context.Name) }}, loop.Options{})
	c := sim.Connect(0)
	ask := func(request []byte, status int, body string) *http.Response {
		t.Helper()
		c.Send(request)
		r := answers(t, sim, c, 1)[0]
		if b := bodyOf(r); r.StatusCode != status || !strings.HasPrefix(b, body) {
			t.Errorf("%.60q is answered %d %q, want %d %q", request, r.StatusCode, b, status, body)
		}
		return r
	}
	open := func() (sid string) {
		c.Send(getRequest("EIO=4&transport=polling"))
		r := answers(t, sim, c, 1)[0]
		if r.Header.Get("X-Seen") != "GET" || r.Header.Get("Vary") != "Origin" {
			t.Errorf("header = %v, want those of CORS and of the middleware", r.Header)
		}
		_, rest, _ := strings.Cut(bodyOf(r), `"sid":"`)
		return rest[:IDLen]
	}
	sid := open()
	r := ask(postRequest("EIO=4&transport=polling&sid="+sid, "4hello"), 200, "ok")
	if r.Header.Get("X-Seen") != "POST" || strings.Join(got, "") != "hello" {
		t.Errorf("X-Seen = %q, messages = %q, want POST and hello", r.Header.Get("X-Seen"), got)
	}
	ask(getRequest("EIO=4&transport=polling&do=stop"), http.StatusTeapot, "short and stout")
	ask(getRequest("EIO=4&transport=polling&do=end"), 200, "")
	ask(getRequest("EIO=4&transport=polling&do=panic"), 400, `{"code":3,"message":"Bad request"}`)
	ask([]byte("GET /engine.io/x HTTP/1.1\r\nHost: h\r\n\r\n"), 400, `{"code":0,`)
	if r := ask([]byte("GET /r/text HTTP/1.1\r\nHost: h\r\n\r\n"), 200, "hello"); r.Header.Get("X-Seen") != "" {
		t.Errorf("a request that Route answers was seen by the middleware")
	}
	// Two in one segment, of which the second waits for the first.
	c.Send(append(getRequest("EIO=4&transport=tcp"), getRequest("EIO=4&transport=polling&do=stop")...))
	for i, r := range answers(t, sim, c, 2) {
		if want := []int{400, http.StatusTeapot}[i]; r.StatusCode != want || r.Header.Get("X-Seen") != "GET" {
			t.Errorf("answer %d = %d %v, want %d and X-Seen", i, r.StatusCode, r.Header, want)
		}
	}
	w := sim.Connect(0)
	w.Send(append(wsRequest("EIO=4&transport=websocket&sid="+sid), textFrame("2probe")...))
	var seen string
	waitFor(t, sim, func() bool { seen += string(w.Received()); return strings.Contains(seen, "3probe") })
	if !strings.Contains(seen, "X-Seen: GET\r\n") {
		t.Errorf("the answer to a handshake is %q, want X-Seen in it", seen)
	}
	stopped := sim.Connect(0)
	stopped.Send(wsRequest("EIO=4&transport=websocket&do=stop"))
	if r := answers(t, sim, stopped, 1)[0]; r.StatusCode != http.StatusTeapot || !stopped.Closed() {
		t.Errorf("a handshake that is stopped is answered %d, closed %t; want 418 and closed", r.StatusCode, stopped.Closed())
	}
	if s := strings.Join(told, ","); s != "MIDDLEWARE_FAILURE,," {
		t.Errorf("OnConnectionError was told %q, want MIDDLEWARE_FAILURE and two more", s)
	}
	for _, p := range []*loop.Peer{c, w, stopped} {
		p.Close()
	}
	sim.Advance(2 * time.Minute)
	checkEmpty(t, srv, sim.Engine())
}

func TestStatsCountsRefusals(t *testing.T) {
	srv, sim := newSim(t, &hooks{}, Options{CORS: &CORS{}, MaxPayload: 10}, loop.Options{})
	for _, request := range []string{
		"GET /engine.io/?EIO=4 HTTP/1.1\r\nHost: h\r\n\r\n",
		"GET /engine.io/?EIO=4&transport=polling&sid=x HTTP/1.1\r\nHost: h\r\n\r\n",
		"PUT /engine.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: h\r\n\r\n",
		"GET /engine.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: h\r\n\r\n",
		"GET /engine.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: h\r\nOrigin: http://x\r\n\r\n",
		"GET /engine.io/?EIO=3&transport=polling HTTP/1.1\r\nHost: h\r\n\r\n",
		"nonsense\r\n\r\n",
	} {
		c := sim.Connect(0)
		c.Send([]byte(request))
		c.Close()
	}
	want := Stats{Refused: [6]int64{1, 1, 1, 1, 1, 1}, Origins: 1, Malformed: 1}
	got := srv.Stats()
	got.Traffic = Traffic{}
	if got != want {
		t.Errorf("Stats() = %+v, want %+v", got, want)
	}
}
