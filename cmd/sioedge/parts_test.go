package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/identity"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/ioclient"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/listen"
	"github.com/sioedge/sioedge/sio"
)

const partsSecret = "0123456789abcdef0123456789abcdef0123456789abcdef"

const partsSettings = `
loops: 2
adapter: memory
auth: { mode: jwt, jwt: { secret: ` + partsSecret + `, grace: 1s } }
limits: { max_conns_per_user: 2 }
namespaces:
  - pattern: /r/:id
    join_on_connect: ["user:{user}"]
    events:
      enter: { action: join, room: "{args.0}", allow: ["room:*"] }
      own: { action: join, room: "own:{args.0}", allow: ["own:*"], require: ["may"] }
      say: { action: relay, to: "room:a", rate: "3/h burst 3" }
    presence: true
`

// A lineage is an edge, in the place of which others come.
type lineage struct {
	t      *testing.T
	l      *config.Loaded
	e      *edge
	addr   string
	served chan error
}

// found starts the first edge of settings.
func found(t *testing.T, text string) *lineage {
	t.Helper()
	x := &lineage{t: t, l: settings(t, "--config="+settingsFile(t, text))}
	e, err := assemble(x.l, slog.New(slog.DiscardHandler), false)
	if err != nil {
		t.Fatal(err)
	}
	addr, err := e.srv.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	x.addr = addr.String()
	x.serve(e)
	t.Cleanup(func() { x.end(x.e, x.served) })
	return x
}

func (x *lineage) serve(e *edge) {
	served := make(chan error, 1)
	x.e, x.served = e, served
	// ends with end
	go func() { served <- e.srv.Serve(context.Background()) }()
}

func (x *lineage) end(e *edge, served chan error) {
	ctx, done := context.WithTimeout(context.Background(), time.Minute)
	defer done()
	e.presence.Close(ctx)
	if err := e.srv.Shutdown(ctx); err != nil {
		x.t.Errorf("Shutdown: %v", err)
	}
	if err := <-served; err != nil {
		x.t.Errorf("Serve: %v", err)
	}
	e.close(ctx)
}

// next has another edge take over.
func (x *lineage) next() sio.Handed {
	x.t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		x.t.Fatal(err)
	}
	var conns [2]*net.UnixConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "")
		c, err := net.FileConn(f)
		_ = f.Close()
		if err != nil {
			x.t.Fatal(err)
		}
		conns[i] = c.(*net.UnixConn)
	}
	type outcome struct {
		h   sio.Handed
		err error
	}
	before, served, done := x.e, x.served, make(chan outcome, 1)
	// ends with the handover
	go func() {
		h, err := before.srv.Handover(context.Background(), conns[0], sio.HandoverOptions{Version: "v1", Build: "b1"})
		done <- outcome{h, err}
	}()
	in, err := sio.Inherit(context.Background(), conns[1], "v2", "b2")
	if err != nil {
		x.t.Fatal(err)
	}
	e, err := assembleBehind(&succession{in: in, from: &listen.Inherited{}, taken: make(chan struct{})}, x.l, slog.New(slog.DiscardHandler), false)
	if err != nil {
		x.t.Fatal(err)
	}
	if _, err := e.srv.Listen("127.0.0.1:0"); err != nil {
		x.t.Fatal(err)
	}
	x.serve(e)
	got := <-done
	if got.err != nil {
		x.t.Fatalf("Handover: %v", got.err)
	}
	x.end(before, served)
	return got.h
}

// A guest is a client of a lineage.
type guest struct {
	*ioclient.Client
	t   *testing.T
	mu  sync.Mutex
	all []ioclient.Notice
	has chan struct{} // there may be something in all
}

// enter connects a guest with a token of these claims. It does not come back.
func (x *lineage) enter(claims map[string]any) *guest {
	x.t.Helper()
	payload, err := json.Marshal(claims)
	if err != nil {
		x.t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	signed := b64([]byte(`{"alg":"HS256"}`)) + "." + b64(payload)
	mac := hmac.New(sha256.New, []byte(partsSecret))
	mac.Write([]byte(signed))
	target, err := ioclient.ParseTarget("ws://" + x.addr + "/r/1")
	if err != nil {
		x.t.Fatal(err)
	}
	g := &guest{t: x.t, has: make(chan struct{}, 1)}
	g.Client, err = ioclient.New(ioclient.Options{
		Target: target, Transports: []string{"websocket"}, Auth: fmt.Appendf(nil, `{"token":%q}`, signed+"."+b64(mac.Sum(nil))), Attempts: -1, Notify: g.note,
	})
	if err != nil {
		x.t.Fatal(err)
	}
	// ends with the test
	go func() { _ = g.Run() }()
	x.t.Cleanup(func() {
		ctx, done := context.WithTimeout(context.Background(), 10*time.Second)
		defer done()
		g.Close(ctx)
	})
	return g
}

func (g *guest) note(n ioclient.Notice) {
	g.mu.Lock()
	g.all = append(g.all, n)
	g.mu.Unlock()
	select {
	case g.has <- struct{}{}:
	default:
	}
}

// told returns what a guest has heard, as text: events with arguments, and how it ended.
func (g *guest) told() (all []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, n := range g.all {
		switch n.Kind {
		case ioclient.Arrived:
			s := n.Event
			for _, a := range n.Args {
				s += " " + string(a)
			}
			all = append(all, s)
		case ioclient.Connected:
			all = append(all, "connected")
		case ioclient.Refused:
			all = append(all, "refused "+string(n.Data))
		case ioclient.Disconnected:
			all = append(all, "disconnected "+strconv.Itoa(int(n.Code)))
		}
	}
	return all
}

// await waits until a guest has heard something that begins so.
func (g *guest) await(prefix string) {
	g.t.Helper()
	patience := time.After(time.Minute)
	for !slices.ContainsFunc(g.told(), func(s string) bool { return strings.HasPrefix(s, prefix) }) {
		select {
		case <-g.has:
		case <-patience:
			g.t.Fatalf("it does not hear %s: %q", prefix, g.told())
		}
	}
}

// asks sends an event and returns how it is acknowledged.
func (g *guest) asks(event string, args ...any) string {
	g.t.Helper()
	ctx, done := context.WithTimeout(context.Background(), time.Minute)
	defer done()
	a, err := g.Ask(ctx, "/r/1", event, args...)
	if err != nil {
		g.t.Fatalf("%s is not acknowledged: %v: %q", event, err, g.told())
	}
	return string(slices.Concat(toBytes(a.Args)...))
}

func toBytes(all []json.RawMessage) (b [][]byte) {
	for _, x := range all {
		b = append(b, x)
	}
	return b
}

// series are what an edge counts: counters and histograms.
func (x *lineage) series() map[string]float64 {
	x.t.Helper()
	w := httptest.NewRecorder()
	x.e.told.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	all := map[string]float64{}
	for line := range strings.Lines(w.Body.String()) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if at := strings.LastIndexByte(line, '}'); at > 0 {
			name, value = line[:at+1], strings.TrimSpace(line[at+1:])
		}
		bare, _, _ := strings.Cut(name, "{")
		grows := slices.ContainsFunc([]string{"_total", "_bucket", "_sum", "_count"}, func(end string) bool { return strings.HasSuffix(bare, end) })
		if v, err := strconv.ParseFloat(value, 64); err == nil && grows && strings.HasPrefix(bare, "sioedge_") {
			all[name] = v
		}
	}
	return all
}

// Who clients are, what they may do and until when, what they have used up, where they are
// and who knows it, what is revoked, and what was counted: all of it goes on over five
// handovers, and no client is told anything.
func TestPartsGoOn(t *testing.T) {
	x := found(t, partsSettings)
	claims := func(user, id string, d time.Duration, scope string) map[string]any {
		return map[string]any{"sub": user, "jti": id, "exp": time.Now().Add(d).Unix(), "scope": scope}
	}
	ann := x.enter(claims("ann", "a1", time.Hour, "may"))
	ann.await("connected")
	bob := x.enter(claims("bob", "b1", time.Hour, ""))
	bob.await("connected")
	for _, g := range []*guest{ann, bob} {
		for _, room := range []string{"room:a", "room:b"} {
			if got := g.asks("enter", room); !strings.Contains(got, `"ok":true`) {
				t.Fatalf("%s is entered: %s", room, got)
			}
		}
	}
	bob.asks("presence:get", "room:b") // what was told before has been heard
	ann.asks("presence:get", "room:b")
	brief := x.enter(claims("eve", "e1", 8*time.Second, ""))
	brief.await("connected")
	if got := ann.asks("say", 1); strings.Contains(got, "error") {
		t.Fatalf("she may not say anything: %s", got)
	}
	bob.await("say 1")
	if err := x.e.authority.Revoke(context.Background(), identity.Revocation{JTI: "gone"}); err != nil {
		t.Fatal(err)
	}
	heard := [2]int{len(ann.told()), len(bob.told())}
	before := x.series()
	for i := range 5 {
		if h := x.next(); h.Sockets < 2 || h.Stays.TLS+h.Stays.Mounted+h.Stays.Opening > 0 {
			t.Errorf("handover %d: %+v", i, h)
		}
		now := x.series()
		for name, v := range before {
			if w, ok := now[name]; !ok || w < v {
				t.Errorf("handover %d: %s was %v, and is %v (%v)", i, name, v, w, ok)
			}
		}
		before = now
		if got, want := ann.asks("presence:get", "room:a"), `{"ok":true,"room":"room:a","count":2,"members":[{"user":"ann","count":1,"nodes":1},{"user":"bob","count":1,"nodes":1}]}`; got != want {
			t.Errorf("handover %d: in the room are %s", i, got)
		}
	}
	if a, b := ann.told()[heard[0]:], bob.told()[heard[1]:]; len(a)+len(b) > 0 {
		t.Errorf("they were told %q, and %q", a, b)
	}

	// Permissions, and what has been used up.
	if got := ann.asks("own", "x"); !strings.Contains(got, `"ok":true`) {
		t.Errorf("she may not what she may: %s", got)
	}
	if got := bob.asks("own", "x"); !strings.Contains(got, `"code":403`) {
		t.Errorf("he may what he may not: %s", got)
	}
	for i, want := range []bool{false, false, true} {
		if got := ann.asks("say", i+2); strings.Contains(got, "429") != want {
			t.Errorf("what she says behind the first: %s", got)
		}
	}
	bob.await("say 3")
	// Seats, and what is revoked.
	second := x.enter(claims("ann", "a2", time.Hour, ""))
	second.await("connected")
	x.enter(claims("ann", "a3", time.Hour, "")).await(`refused {"code":429`)
	x.enter(claims("zoe", "gone", time.Hour, "")).await(`refused {"code":401,"reason":"revoked"`)
	if err := x.e.authority.Revoke(context.Background(), identity.Revocation{JTI: "b1"}); err != nil {
		t.Fatal(err)
	}
	bob.await("disconnected")
	// The one whose token was brief was told, and ended with it.
	brief.await("disconnected")
	if got := brief.told(); !slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, identity.ExpiringEvent) }) || got[len(got)-1] != "disconnected 4401" {
		t.Errorf("who had a brief token was told %q", got)
	}
	if slices.ContainsFunc(ann.told(), func(s string) bool { return strings.HasPrefix(s, "disconnected") }) {
		t.Errorf("she was told %q", ann.told())
	}
}

// Backends are told of each client once that it has come, and once that it has gone: also of
// one that was away when another process took over, and could not come back in time.
func TestBackendsAreToldOnceOverHandovers(t *testing.T) {
	const secret = "the only secret of the backend"
	h := newHook(t, secret)
	x := found(t, partsSettings+fmt.Sprintf(`    hooks: [connected, disconnect, room]
recovery: 2s
webhook: { url: %s, secret: %s }
`, h.URL, secret))
	enter := func(user string) *guest {
		g := x.enter(map[string]any{"sub": user, "exp": time.Now().Add(time.Hour).Unix()})
		g.await("connected")
		return g
	}
	ann, away := enter("ann"), enter("away")
	ann.asks("enter", "room:a")
	cut := func(user string) {
		all, _ := x.e.srv.Find("/r/1")
		for _, s := range all.Sockets() {
			if x.e.user(s) == user {
				s.CloseConn()
			}
		}
	}
	cut("away")
	away.await("disconnected")
	for range 3 {
		x.next()
	}
	await := func(what string, n int) {
		t.Helper()
		for end := time.Now().Add(time.Minute); h.has(what) < n; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("of %s it is told %d times, want %d", what, h.has(what), n)
			}
		}
	}
	await("disconnect", 1) // its time was over behind the handovers, or between them
	for end := time.Now().Add(time.Minute); x.e.roster.Stats().Entries != 1; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) { // the backend's answer has come long since
			t.Fatalf("the roster is %+v", x.e.roster.Stats())
		}
	}
	x.next()
	cut("ann")
	ann.await("disconnected")
	enter("zoe")
	await("disconnect", 2)
	await("connected", 3)
	for what, n := range map[string]int{"disconnect": 2, "connected": 3, "lost": 0} {
		if got := h.has(what); got != n {
			t.Errorf("of %s it is told %d times, want %d", what, got, n)
		}
	}
}
