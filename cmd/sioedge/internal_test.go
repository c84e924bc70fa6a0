package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/api"
)

const (
	apiKey      = "0123456789abcdefghijklmn"
	otherAPIKey = "nmlkjihgfedcba9876543210"
)

// internalOf starts a server whose internal listener is a socket, and returns that.
func internalOf(t *testing.T, settings string, args ...string) (s *served, socket, file string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "api") // a short path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket, file = filepath.Join(dir, "s"), filepath.Join(dir, "f.yaml")
	writeSettings(t, file, fmt.Sprintf("internal: {listen: 'unix:%s'}\n%s", socket, settings))
	return startServer(t, append([]string{"--config", file}, args...)...), socket, file
}

// request asks the API by a socket.
func request(t *testing.T, socket, method, path, key, body string) (status int, answer string) {
	t.Helper()
	web := http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", socket) }, DisableKeepAlives: true}}
	r, err := http.NewRequest(method, "http://sioedge"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-API-Key", key)
	res, err := web.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// The listener is there, on a socket that nobody else may open, and its API when there is a
// key; keys are replaced while it serves, and a reload is asked for through it.
func TestInternalListener(t *testing.T) {
	const base = "loops: 1\n"
	s, socket, file := internalOf(t, base)
	reload := func(text string) {
		t.Helper()
		writeSettings(t, file, fmt.Sprintf("internal: {listen: 'unix:%s'}\n%s", socket, text))
		if err := s.process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		s.next(t, "reloaded")
	}
	s.next(t, "listening") // is said first: of the listener for clients
	s.next(t, "listening for operators and backends")
	if status, answer := request(t, socket, "POST", "/api/emit", apiKey, `{"ev":"x"}`); status != 403 || !strings.Contains(answer, "no_keys") || !strings.Contains(answer, "--api-key") {
		t.Errorf("without a key the API answers %d %s", status, answer)
	}
	reload(base + "api: {keys: [" + apiKey + "]}\n")
	if st, err := os.Stat(socket); err != nil || st.Mode() != fs.ModeSocket|0o600 {
		t.Fatalf("the socket is %v, %v", st, err)
	}
	if status, answer := request(t, socket, "POST", "/api/emit", apiKey, `{"ev":"x"}`); status != 200 || answer != `{}` {
		t.Errorf("%d %s", status, answer)
	}
	if status, _ := request(t, socket, "POST", "/api/emit", otherAPIKey, `{"ev":"x"}`); status != 401 {
		t.Errorf("a wrong key is answered %d", status)
	}
	if status, _ := request(t, socket, "GET", "/elsewhere", apiKey, ""); status != 404 {
		t.Errorf("another path is answered %d", status)
	}
	reload(base + "api: {keys: [" + otherAPIKey + "]}\n")
	if status, _ := request(t, socket, "POST", "/api/emit", apiKey, `{"ev":"x"}`); status != 401 {
		t.Errorf("a key that is none any more is answered %d", status)
	}
	writeSettings(t, file, fmt.Sprintf("internal: {listen: 'unix:%s'}\n%s", socket, base+"api: {keys: ["+otherAPIKey+"]}\npath: /x/\ndrain: 2s\n"))
	status, answer := request(t, socket, "POST", "/api/reload", otherAPIKey, "")
	if want := `{"applied":["drain"],"restart":["path"]}`; status != 200 || answer != want {
		t.Errorf("a reload is answered %d %s, want %s", status, answer, want)
	}
	writeSettings(t, file, "drain: soon\n")
	status, answer = request(t, socket, "POST", "/api/reload", otherAPIKey, "")
	var f struct {
		Error struct {
			Code    string
			Details []string
		}
	}
	if err := json.Unmarshal([]byte(answer), &f); err != nil || status != 422 || f.Error.Code != "not_reloaded" || len(f.Error.Details) != 1 || !strings.HasPrefix(f.Error.Details[0], file+":1: drain: ") {
		t.Errorf("one that is wrong is answered %d %s", status, answer)
	}
	if err := s.process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	s.next(t, "stopped")
}

// An address that cannot be had ends the start, and names the flag.
func TestInternalListenerThatCannotBe(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, _, err = run("serve", "--listen=127.0.0.1:0", "--loops=1", "--internal-listen="+ln.Addr().String(), "--api-key="+apiKey)
	if err == nil || !strings.HasPrefix(err.Error(), "--internal-listen: ") || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("the error is %v", err)
	}
}

// That the address which nobody has chosen is taken, as by a second server on a machine, is
// a line of the log, unless something that is asked for would be there.
func TestDefaultInternalAddressThatIsTaken(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for _, test := range []struct {
		args   string
		failed bool
	}{
		{"--loops=1", false},
		{"--loops=1 --api-key=" + apiKey, true},
		{"--loops=1 --admin --secret=" + apiKey + apiKey, true},
		{"--loops=1 --internal-listen=127.0.0.1:9000", true},
		{"--loops=1 --secret=" + apiKey + apiKey, false},
	} {
		var log bytes.Buffer
		in := &internal{log: slog.New(slog.NewTextHandler(&log, nil)), listen: ln.Addr().String(), api: new(api.API)}
		l := settings(t, test.args)
		if needed(l) != test.failed {
			t.Errorf("%s: needed = %t", test.args, !test.failed)
		}
		if err := in.apply(l); (err != nil) != test.failed || err != nil && !strings.HasPrefix(err.Error(), "--internal-listen: ") {
			t.Errorf("%s: %v", test.args, err)
		} else if err == nil && (!strings.Contains(log.String(), "address already in use") || !strings.Contains(log.String(), "--internal-listen")) {
			t.Errorf("%s: the log is %q", test.args, log.String())
		}
	}
}

// When the server stops a stream is told so, and what is under way is answered.
func TestInternalListenerAtTheEnd(t *testing.T) {
	s, socket, _ := internalOf(t, "loops: 1\ndrain: 1h\n", "--api-key="+apiKey) // a test does not last so long
	eventually := time.Now().Add(20 * time.Second)
	var conn net.Conn
	var err error
	for conn, err = net.Dial("unix", socket); err != nil && time.Now().Before(eventually); conn, err = net.Dial("unix", socket) {
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	line := `{"emit":{"ev":"x"}}` + "\n"
	fmt.Fprintf(conn, "POST /api/stream HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", apiKey, len(line), line)
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(res.Body)
	if got, err := in.ReadString('\n'); err != nil || got != "{\"result\":{}}\n" {
		t.Fatalf("%q, %v", got, err)
	}
	if err := s.process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(in); err != nil || !strings.Contains(string(got), `"stopping"`) {
		t.Errorf("at the end the stream is told %q, %v", got, err)
	}
	s.next(t, "stopped")
}

// A server that is told to stop before it serves stops, and that is no failure.
func TestStoppedBeforeItServes(t *testing.T) {
	for range 20 { // whichever comes first then
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := serve(ctx, settings(t, "--listen=127.0.0.1:0 --loops=1 --log-level=error --drain-delay=0s"), nil); err != nil {
			t.Fatalf("serve = %v", err)
		}
	}
}

// serveBounded serves with a listener's bounds, on a socket of the test's.
func serveBounded(t *testing.T, b bounds, h http.Handler) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	web := b.server(h)
	done := make(chan error, 1)
	// ends with the test
	go func() { done <- web.Serve(b.listener(ln, slog.New(slog.DiscardHandler))) }()
	t.Cleanup(func() { _ = web.Close(); <-done })
	return ln.Addr().String()
}

func dialAddr(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// Who does not finish its header, or its body, is cut off; the times are the server's
// alone, those of the test are none.
func TestInternalListenerCutsOffWhoIsSlow(t *testing.T) {
	failed := make(chan error, 1)
	b := internalBounds
	b.head, b.body, b.idle = 50*time.Millisecond, 100*time.Millisecond, 50*time.Millisecond
	addr := serveBounded(t, b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		failed <- err
	}))
	for what, sent := range map[string]string{
		"nothing":           "",
		"a part of a head":  "POST /api/emit HTTP/1.1\r\nHost: x\r\nX-",
		"a body that stops": "POST /api/emit HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{",
		"an idle one":       "GET /api/info HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		conn := dialAddr(t, addr)
		if _, err := io.WriteString(conn, sent); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, conn); err != nil && !errors.Is(err, syscall.ECONNRESET) { // until it is closed
			t.Errorf("%s: %v", what, err)
		}
		if strings.HasSuffix(sent, "{") {
			if err := <-failed; err == nil {
				t.Error("a part of a body is taken for all of it")
			}
		} else if strings.HasPrefix(sent, "GET") {
			<-failed
		}
	}
	conn := dialAddr(t, addr)
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: x\r\nX: %s\r\n\r\n", strings.Repeat("x", 2*internalHeader))
	if res, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a long header is answered %v, %v", res, err)
	}
}
