package ioclient

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/sioedge/sioedge/sio"
)

// modes are the ways to begin a session.
var modes = map[string][]string{"polling": {Polling}, "websocket": {WebSocket}, "upgrade": nil}

func TestClient(t *testing.T) {
	url := listen(t, sio.Options{PingInterval: 100 * time.Millisecond, KeepHandshake: sio.KeepAlways, Recovery: sio.Recovery{Window: recoveryWindow}}, serve)
	play(t, url)
}

// play goes through all that a client does, with a server of the application.
func play(t *testing.T, url string) {
	for name, transports := range modes {
		t.Run(name, func(t *testing.T) {
			t.Run("messages", func(t *testing.T) { playMessages(t, url, transports) })
			t.Run("namespaces", func(t *testing.T) { playNamespaces(t, url, transports) })
			t.Run("recovery", func(t *testing.T) { playRecovery(t, url, transports) })
		})
	}
}

func playMessages(t *testing.T, to string, transports []string) {
	c := connect(t, to+"/?a=b", Options{Transports: transports, Header: http.Header{"X-Test": {"yes"}}})
	if err := c.Emit("/", "echo", json.RawMessage(`{"early": [1, "€"]}`)); err != nil { // before it is connected
		t.Fatal(err)
	}
	if n := c.await(Connected); n.Namespace != "/" || n.SID == "" || n.Recovered {
		t.Errorf("connected: %+v", n)
	}
	if n := c.await(Arrived); n.Event != "echo" || string(n.Args[0]) != `{"early":[1,"€"]}` {
		t.Errorf("%s %s came first", n.Event, n.Args)
	}
	if transports == nil {
		if n := c.await(Upgraded); n.Transport != WebSocket {
			t.Errorf("upgraded: %+v", n)
		}
	}
	file := bytes.Repeat([]byte{0, 1, 0x1e, 255}, 5000)
	a := c.ask("/", "echo", "text\u2028", file, json.RawMessage(`{"n":1.50}`), []any{[]byte("x")})
	if got := fmt.Sprintf("%s", a.Args); len(a.Attachments) != 2 || !bytes.Equal(a.Attachments[0], file) || string(a.Attachments[1]) != "x" {
		t.Errorf("echo of bytes: %s, %d attachments", got, len(a.Attachments))
	}
	var shake struct{ Query, Headers map[string]string }
	if err := json.Unmarshal(c.ask("/", "handshake").Args[0], &shake); err != nil || shake.Query["a"] != "b" || shake.Headers["x-test"] != "yes" {
		t.Errorf("handshake: %+v, %v", shake, err)
	}
	if a := c.ask("/", "blob", 100_000); len(a.Attachments) != 1 || len(a.Attachments[0]) != 100_000 {
		t.Errorf("blob: %d attachments", len(a.Attachments))
	}
	playOrder(t, c)
	playAsked(t, c)
	if took, err := c.Ping(t.Context()); err != nil || took <= 0 {
		t.Errorf("Ping = %v, %v", took, err)
	}
	time.Sleep(250 * time.Millisecond) // some heartbeats
	if c.ask("/", "echo"); c.Info().Stats.Sessions != 1 {
		t.Errorf("%d sessions", c.Info().Stats.Sessions)
	}
}

// playOrder has a thousand events come and go.
func playOrder(t *testing.T, c *running) {
	c.ask("/", "burst", "tick", 1000)
	for i := range 1000 {
		if n := c.await(Arrived); n.Event != "tick" || string(n.Args[0]) != fmt.Sprint(i) {
			t.Fatalf("%s %s, want tick %d", n.Event, n.Args, i)
		}
	}
	for i := range 1000 {
		if err := c.Emit("/", "echo", i); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 1000 {
		if n := c.await(Arrived); n.Event != "echo" || string(n.Args[0]) != fmt.Sprint(i) {
			t.Fatalf("%s %s, want echo %d", n.Event, n.Args, i)
		}
	}
}

// playAsked has the server ask the client.
func playAsked(t *testing.T, c *running) {
	type result struct {
		a   Answer
		err error
	}
	got := make(chan result, 1)
	ctx, done := context.WithTimeout(t.Context(), patience)
	defer done()
	// ends with its answer
	go func() {
		a, err := c.Ask(ctx, "/", "ask", "question", []any{7}, 15_000)
		got <- result{a, err}
	}()
	n := c.await(Arrived)
	if n.Event != "question" || !n.Asks || string(n.Args[0]) != "7" {
		t.Fatalf("asked: %+v", n)
	}
	if err := c.Answer("/", n.ID+1, "x"); err != ErrNotAsked {
		t.Errorf("an answer to nothing: %v", err)
	}
	if err := c.Answer("/", n.ID, "forty", 2); err != nil {
		t.Fatal(err)
	}
	if err := c.Answer("/", n.ID, "again"); err != ErrNotAsked {
		t.Errorf("an answer given twice: %v", err)
	}
	if r := <-got; r.err != nil || string(r.a.Args[0]) != `{"answer":["forty",2]}` {
		t.Errorf("the server got %s, %v", r.a.Args, r.err)
	}
}

func playNamespaces(t *testing.T, url string, transports []string) {
	c := connect(t, url+"/other", Options{Transports: transports, Auth: json.RawMessage(`{"token":"wrong"}`)})
	if n := c.await(Connected); n.Namespace != "/other" {
		t.Errorf("connected: %+v", n)
	}
	if err := c.Of("/private"); err != nil {
		t.Fatal(err)
	}
	if n := c.await(Refused); n.Namespace != "/private" || n.Message != "not authorized" || string(n.Data) != `{"code":401,"hint":["token"]}` {
		t.Errorf("refused: %+v %s", n, n.Data)
	}
	if err := c.Emit("/private", "echo"); err != ErrNoNamespace {
		t.Errorf("Emit where it was refused: %v", err)
	}
	if err := c.Of("/"); err != nil {
		t.Fatal(err)
	}
	if n := c.await(Connected); n.Namespace != "/" {
		t.Errorf("connected: %+v", n)
	}
	if err := c.Leave(t.Context(), "/other"); err != nil {
		t.Fatal(err)
	}
	if n := c.await(Disconnected); n.Namespace != "/other" || n.Reason != reasonClient {
		t.Errorf("left: %+v", n)
	}
	if a := c.ask("/", "echo", 1); string(a.Args[0]) != "1" {
		t.Errorf("after a namespace was left: %s", a.Args)
	}
	if err := c.Emit("/", "bye", false); err != nil {
		t.Fatal(err)
	}
	if n := c.await(Disconnected); n.Namespace != "/" || n.Reason != reasonServer {
		t.Errorf("sent away: %+v", n)
	}
	if c.Active() {
		t.Error("it is active, sent away by the server")
	}
	c.Reconnect()
	names := []string{c.await(Connected).Namespace, c.await(Connected).Namespace}
	if slices.Sort(names); !slices.Equal(names, []string{"/", "/other"}) || c.Info().Stats.Sessions != 2 {
		t.Errorf("connected again: %v, %+v", names, c.Info().Stats)
	}
}

func playRecovery(t *testing.T, url string, transports []string) {
	c := connect(t, url, Options{Transports: transports})
	first := c.await(Connected)
	c.ask("/", "burst", "tick", 3) // so that there is an offset
	if i := c.Info().Namespaces[0]; !i.Recoverable || i.Offset == "" {
		t.Fatalf("no recovery: %+v", i)
	}
	if err := c.Emit("/", "cut"); err != nil {
		t.Fatal(err)
	}
	if n := c.await(Disconnected); n.Reason != reasonClosed {
		t.Errorf("cut: %+v", n)
	}
	if n := c.await(Retrying); n.Attempt != 1 {
		t.Errorf("retrying: %+v", n)
	}
	if n := c.await(Connected); !n.Recovered || n.SID != first.SID {
		t.Errorf("connected again: %+v, was %s", n, first.SID)
	}
	if s := c.Info().Stats; s.Recovered != 1 || s.Sessions != 2 {
		t.Errorf("%+v", s)
	}
}

func TestParseTarget(t *testing.T) {
	for raw, want := range map[string]Target{
		"http://h":              {Base: url.URL{Scheme: "http", Host: "h"}, Namespace: "/"},
		"wss://h:1/a/b?x=1":     {Base: url.URL{Scheme: "https", Host: "h:1"}, Namespace: "/a/b", Query: url.Values{"x": {"1"}}},
		"ws://[::1]:3000/":      {Base: url.URL{Scheme: "http", Host: "[::1]:3000"}, Namespace: "/"},
		"localhost:3000/chat":   {Base: url.URL{Scheme: "http", Host: "localhost:3000"}, Namespace: "/chat"},
		"[::1]:3000":            {Base: url.URL{Scheme: "http", Host: "[::1]:3000"}, Namespace: "/"},
		"example.com":           {Base: url.URL{Scheme: "https", Host: "example.com"}, Namespace: "/"},
		"ftp://h":               {},
		"http://":               {},
		"http://u:p@h":          {},
		"http://h/a,b":          {},
		"http://h:port":         {},
		"http://h/%zz":          {},
		"localhost.example.com": {Base: url.URL{Scheme: "https", Host: "localhost.example.com"}, Namespace: "/"},
	} {
		got, err := ParseTarget(raw)
		if (err == nil) != (want.Namespace != "") || err == nil && (got.Base != want.Base || got.Namespace != want.Namespace || got.Query.Encode() != want.Query.Encode()) {
			t.Errorf("ParseTarget(%q) = %+v, %v, want %+v", raw, got, err, want)
		}
	}
}

func TestBackoff(t *testing.T) {
	b := Backoff{}
	chance := 0.0
	b.random = func() float64 { return chance }
	if err := b.normalize(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		n      int
		chance float64
		want   time.Duration
	}{
		{0, 0, time.Second}, {0, 0.2, 900 * time.Millisecond}, {0, 0.3, 1150 * time.Millisecond},
		{1, 0, 2 * time.Second}, {2, 0, 4 * time.Second}, {3, 0, 5 * time.Second}, {3, 0.8, 4800 * time.Millisecond}, {5000, 0, 5 * time.Second},
	} {
		chance = c.chance
		if got := b.delay(c.n); got != c.want {
			t.Errorf("delay(%d) by chance %v = %v, want %v", c.n, c.chance, got, c.want)
		}
	}
}
