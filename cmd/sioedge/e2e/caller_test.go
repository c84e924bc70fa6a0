//go:build interop

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// from returns what asks the API from a loopback address of its own.
func from(t *testing.T, addr string) *http.Client {
	d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(addr)}}
	tr := &http.Transport{DialContext: d.DialContext}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: patience}
}

// ask asks the API of a server, and returns the status, the code of the error, and the body.
func (e *edge) ask(c *http.Client, key, method, path string, body io.Reader) (status int, code string, text []byte) {
	e.t.Helper()
	req, err := http.NewRequest(method, "http://"+e.api+path, body)
	if err != nil {
		e.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := c.Do(req)
	if err != nil {
		return 0, err.Error(), nil
	}
	defer resp.Body.Close()
	text, _ = io.ReadAll(resp.Body) // as much as came
	var problem struct{ Error struct{ Code string } }
	_ = json.Unmarshal(text, &problem)
	return resp.StatusCode, problem.Error.Code, text
}

// rss returns the process's memory, in bytes.
func (e *edge) rss() int {
	e.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", e.cmd.Process.Pid))
	if err != nil {
		e.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "VmRSS:")
	n, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		e.t.Fatal(err)
	}
	return n << 10
}

// maxGrowth bounds by how much callers may have a server grow, in bytes: the bodies of 64
// at a time, with what is made of them, as much garbage, and some KiB of each connection.
const maxGrowth = 192 << 20

// Who guesses keys, sends what never ends, or holds connections, harms no client and no
// other caller, whether they have a key or not.
func TestCallersMisbehave(t *testing.T) {
	t.Parallel()
	e := start(t, write(t, office, "$SECRET", secret, "$KEY", apiKey), "--internal-listen", "127.0.0.1:0")
	x := &agents{t: t}
	ann := x.enter("4", e.url, "/", bearer("4", token(t, "ann", time.Hour, nil)))
	before, most := e.rss(), 0
	// serves checks that a client and a caller are served, now.
	serves := func(what string) {
		t.Helper()
		if got := ann.ask("enter", "room:"+what); got != `{"ok":true,"room":"room:`+what+`"}` {
			t.Errorf("%s: the client is answered %s", what, got)
		}
		if status, code, _ := e.ask(from(t, "127.0.0.9"), apiKey, "POST", "/api/emit", strings.NewReader(`{"to":["all"],"ev":"`+what+`"}`)); status != 200 {
			t.Errorf("%s: a caller is answered %d %s", what, status, code)
		}
		ann.event(what)
		most = max(most, e.rss())
		t.Logf("%s: it has %d MiB", what, e.rss()>>20)
	}
	serves("nothing")
	t.Run("guessing", func(t *testing.T) { guess(t, e); serves("guessing") })
	t.Run("bodies", func(t *testing.T) { sendBodies(t, e); serves("bodies") })
	t.Run("streams", func(t *testing.T) { sendStreams(t, e, serves) })
	t.Run("connections", func(t *testing.T) { holdConnections(t, e, serves) })
	serves("all")
	if most-before > maxGrowth {
		t.Errorf("it has grown from %d to %d MiB", before>>20, most>>20)
	}
}

// guess guesses keys from one address, whose neighbours are not to suffer.
func guess(t *testing.T, e *edge) {
	bad, good := from(t, "127.0.0.2"), from(t, "127.0.0.3")
	statuses := map[int]int{}
	for i := range 60 {
		key := apiKey[:len(apiKey)-1-i%20] + mark + fmt.Sprint(i)
		status, code, text := e.ask(bad, key, "GET", "/api/info", nil)
		statuses[status]++
		if bytes.Contains(text, []byte(mark)) || status == 401 && code != "wrong_key" || status == 429 && code != "too_many_failures" {
			t.Errorf("a wrong key is answered %d %s", status, text)
		}
	}
	if statuses[401] < 5 || statuses[429] < 30 || statuses[401]+statuses[429] != 60 {
		t.Errorf("wrong keys are answered %v", statuses)
	}
	if status, _, _ := e.ask(bad, apiKey, "GET", "/api/info", nil); status != 200 {
		t.Errorf("the right key, from there, is answered %d", status)
	}
	if status, code, _ := e.ask(good, apiKey+"x", "GET", "/api/info", nil); status != 401 || code != "wrong_key" {
		t.Errorf("the first wrong key of another address is answered %d %s", status, code)
	}
	for what, ask := range map[string]func(h http.Header){
		"a page":     func(h http.Header) { h.Set("Origin", "http://evil.example"); h.Set("Authorization", "Bearer "+apiKey) },
		"no key":     func(http.Header) {},
		"a huge key": func(h http.Header) { h.Set("X-API-Key", strings.Repeat(mark, 2000)) },
	} {
		req, _ := http.NewRequest("POST", "http://"+e.api+"/api/emit", strings.NewReader(`{"ev":"`+mark+`"}`))
		ask(req.Header)
		resp, err := from(t, "127.0.0.4").Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 401 && resp.StatusCode != 403 {
			t.Errorf("%s is answered %d", what, resp.StatusCode)
		}
	}
}

// sendBodies sends what is too large, too deep, or nonsense, with the right key and a wrong
// one, many at a time.
func sendBodies(t *testing.T, e *edge) {
	endless := func() io.Reader { return io.LimitReader(repeat(`{"ev":"`+mark+`","args":["`), 64<<20) }
	deep := strings.Repeat("[", 500_000)
	all := map[string]struct {
		path string
		body func() io.Reader
		want map[int]bool
	}{
		"endless":            {"/api/emit", endless, map[int]bool{413: true, 0: true}},
		"deep":               {"/api/raw?nsp=/", func() io.Reader { return strings.NewReader(deep) }, map[int]bool{400: true}},
		"deep arguments":     {"/api/emit", func() io.Reader { return strings.NewReader(`{"ev":"x","args":` + deep) }, map[int]bool{400: true}},
		"deep conditions":    {"/api/sockets/query", func() io.Reader { return strings.NewReader(`{"where":{"data.x":` + deep) }, map[int]bool{400: true}},
		"a million commands": {"/api/batch", func() io.Reader { return strings.NewReader(`{"commands":[` + strings.Repeat("{},", 300_000) + `{}]}`) }, map[int]bool{400: true, 413: true}},
		"a million rooms": {"/api/emit", func() io.Reader {
			return strings.NewReader(`{"ev":"x","to":["` + strings.Repeat(`a","`, 200_000) + `"]}`)
		}, map[int]bool{400: true, 413: true}},
		"nonsense":     {"/api/emit", func() io.Reader { return strings.NewReader("\x00\xff" + mark) }, map[int]bool{400: true}},
		"another type": {"/api/sockets/disconnect", func() io.Reader { return strings.NewReader(`[1,"` + mark + `"]`) }, map[int]bool{400: true}},
	}
	var wg sync.WaitGroup
	for name, x := range all {
		for i := range 8 {
			wg.Go(func() {
				status, code, text := e.ask(from(t, "127.0.0.5"), apiKey, "POST", x.path, x.body())
				if !x.want[status] || bytes.Contains(text, []byte(mark)) {
					t.Errorf("%s, number %d, is answered %d %s", name, i, status, code)
				}
			})
			wg.Go(func() {
				if status, _, _ := e.ask(from(t, "127.0.0.6"), "wrong", "POST", x.path, x.body()); status != 401 && status != 429 && status != 0 {
					t.Errorf("%s with a wrong key is answered %d", name, status)
				}
			})
		}
	}
	wg.Wait()
}

// repeat reads a text again and again.
func repeat(text string) io.Reader { return &repeated{text: strings.Repeat(text, 1000)} }

type repeated struct {
	text string
	at   int
}

func (r *repeated) Read(b []byte) (n int, err error) {
	n = copy(b, r.text[r.at:])
	r.at = (r.at + n) % len(r.text)
	return n, nil
}

// sendStreams sends lines that never end, and commands whose answers nobody reads.
func sendStreams(t *testing.T, e *edge, serves func(string)) {
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var mu sync.Mutex
	sent := 0
	for i := range 24 {
		body := repeat("x" + mark)
		if i%2 == 0 {
			body = repeat(`{"emit":{"ev":"` + mark + `","to":["nobody"]}}` + "\n")
		}
		c, err := net.Dial("tcp", e.api)
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			defer c.Close()
			go func() { <-ctx.Done(); c.Close() }()
			fmt.Fprintf(c, "POST /api/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/x-ndjson\r\nContent-Length: 1000000000000\r\n\r\n", apiKey)
			for {
				n, err := io.CopyN(c, body, 256<<10)
				mu.Lock()
				sent += int(n)
				mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	for i := range 5 {
		time.Sleep(300 * time.Millisecond)
		serves(fmt.Sprint("streams", i))
	}
	stop()
	wg.Wait()
	if sent < 8<<20 {
		t.Errorf("the streams have taken %d bytes alone", sent)
	}
}

// holdConnections opens more connections than the API takes, each with the beginning of a
// request, and some with a body that comes byte by byte.
func holdConnections(t *testing.T, e *edge, serves func(string)) {
	var all []net.Conn
	defer func() {
		for _, c := range all {
			c.Close()
		}
	}()
	const most = 4500
	d := net.Dialer{Timeout: 2 * time.Second}
	for i := range most {
		c, err := d.Dial("tcp", e.api)
		var late net.Error
		if errors.As(err, &late) && late.Timeout() {
			break // the backlog is full
		}
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		all = append(all, c)
		switch {
		case i%2 == 0:
			fmt.Fprintf(c, "POST /api/emit HTTP/1.1\r\nHost: x\r\nX-%s: ", mark)
		case i < 400: // fewer than a key may have under way
			fmt.Fprintf(c, "POST /api/emit HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: 1000000\r\n\r\n{", apiKey)
		}
	}
	if len(all) < 4096 {
		t.Fatalf("%d connections were opened", len(all))
	}
	x := &agents{t: t}
	c := x.enter("4", e.url, "/", bearer("4", token(t, "bob", time.Hour, nil))) // clients still come in
	if got := c.ask("enter", "room:held"); got != `{"ok":true,"room":"room:held"}` {
		t.Errorf("the client is answered %s", got)
	}
	for _, c := range all[:2000] {
		c.Close()
	}
	serves("connections")
}
