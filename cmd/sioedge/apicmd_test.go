package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/api/wire"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
)

const testKey = "a-key-of-the-tests-that-is-long"

// fakeAPI answers as a test says, and keeps what it was asked: method, URI and body.
type fakeAPI struct {
	*httptest.Server
	asked []string
}

func newFakeAPI(t *testing.T, answers map[string]string) *fakeAPI {
	t.Helper()
	f := &fakeAPI{}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		f.asked = append(f.asked, strings.TrimSpace(r.Method+" "+r.RequestURI+" "+string(b)))
		if r.Header.Get("Authorization") != "Bearer "+testKey {
			w.WriteHeader(401)
			_, _ = io.WriteString(w, `{"error":{"code":"wrong_key","message":"that is no key"}}`)
			return
		}
		answer, ok := answers[r.RequestURI]
		if !ok {
			w.WriteHeader(404)
			return
		}
		if status, rest, ok := strings.Cut(answer, " "); ok && len(status) == 3 {
			var n int
			_, _ = fmt.Sscan(status, &n)
			w.Header().Set("Retry-After", "3")
			w.WriteHeader(n)
			answer = rest
		}
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(f.Close)
	return f
}

// ask runs a command with standard input, and gives it the API's place and the key.
func (f *fakeAPI) ask(in string, args ...string) (stdout, stderr string, err error) {
	var out, errs bytes.Buffer
	cmd := command()
	cmd.SetArgs(append(args, "--url", f.URL, "--api-key", testKey))
	cmd.SetIn(strings.NewReader(in))
	cmd.SetOut(&out)
	cmd.SetErr(&errs)
	err = cmd.Execute()
	return out.String(), errs.String(), err
}

func TestAPICommands(t *testing.T) {
	for _, c := range []struct {
		name, args string // with | between arguments
		answers    map[string]string
		asked      string
		out, errs  string
		fails      string // part of the error
		code       int
	}{
		{"emit", `emit|--to|r1|--to|r2|--except|x|--nsp|/n|--volatile|--id|i1|chat message|{"a":1}|two words|2|@FILE`,
			map[string]string{"/api/emit": `{}`},
			`POST /api/emit {"nsp":"/n","to":["r1","r2"],"except":["x"],"ev":"chat message","args":[{"a":1},"two words",2,{"_placeholder":true,"num":0}],"attachments":["AAH/"],"volatile":true,"id":"i1"}`, "", "", "", 0},
		{"emit to nobody that there is", `emit|x`, map[string]string{"/api/emit": `404 {"error":{"code":"unknown_namespace","message":"there is no /","field":"nsp"}}`},
			`POST /api/emit {"nsp":"/","ev":"x"}`, "", "", "nsp: there is no /", 1},
		{"emit bad JSON", `emit|x|{"a"`, nil, "", "", "", "does not end", 2},
		{"acknowledgements", "emit|x|--ack|5s", map[string]string{"/api/emit?ack=5s": `{"response":{"v":"\u001b"}}` + "\n" + `{"response":"` + "\u009b" + `"}` + "\n" + `{"done":true,"clients":3,"missing":1,"partial":{"missing":["b"],"reason":"late"}}`},
			`POST /api/emit?ack=5s {"nsp":"/","ev":"x"}`, "{\"v\":\"\\u001b\"}\n\"\\u009b\"\n", "this is not all: b (late)\n", "1 of 3 have not answered", 5},
		{"all answer", "emit|x|--ack|1m|--json", map[string]string{"/api/emit?ack=1m0s": `{"done":true,"clients":0,"missing":0}`},
			`POST /api/emit?ack=1m0s {"nsp":"/","ev":"x"}`, `{"done":true,"clients":0,"missing":0}` + "\n", "all 0 have answered\n", "", 0},
		{"no end", "emit|x|--ack|5s", map[string]string{"/api/emit?ack=5s": `{"response":1}`}, `POST /api/emit?ack=5s {"nsp":"/","ev":"x"}`, "1\n", "", "the answer has no end", 1},
		{"an error in between", "emit|x|--ack|5s", map[string]string{"/api/emit?ack=5s": `{"done":true,"error":{"code":"x","message":"it broke"}}`}, `POST /api/emit?ack=5s {"nsp":"/","ev":"x"}`, "", "", "it broke", 1},
		{"sockets", "ls|--room|r|--user|u|--where|data.plan=pro|--where|data.n=1|--limit|2", map[string]string{"/api/sockets/query": `{"sockets":[{"sid":"S1","nsp":"/","user":"u\u001b","rooms":["S1","r"],"data":{"plan":"pro"},"handshake":{"address":"::1"}},{"sid":"LONGER","nsp":"/"}],"cursor":"c2"}`},
			`POST /api/sockets/query {"nsp":"/","in":["r"],"user":"u","where":{"data.n":1,"data.plan":"pro"},"fields":["rooms","data","user","handshake"],"limit":2}`,
			"SID     USER     NODE  ADDRESS  ROOMS  DATA\nS1      u\\u001b        ::1      r      {\"plan\":\"pro\"}\nLONGER\n", "there are more: --all, or --cursor c2\n", "", 0},
		{"rooms", "ls|rooms|--prefix|a b|--cursor|c|--json", map[string]string{"/api/rooms?cursor=c&limit=100&nsp=%2F&prefix=a+b": `{"rooms":[{"room":"<a> b\u202e","sockets":2}]}`},
			"GET /api/rooms?cursor=c&limit=100&nsp=%2F&prefix=a+b", `{"room":"<a> b\u202e","sockets":2}` + "\n", "", "", 0},
		{"a cursor that stays", "ls|rooms|--all", map[string]string{"/api/rooms?limit=1000&nsp=%2F": `{"rooms":[],"cursor":"x"}`, "/api/rooms?cursor=x&limit=1000&nsp=%2F": `{"rooms":[],"cursor":"x"}`},
			"GET /api/rooms?limit=1000&nsp=%2F", "ROOM  SOCKETS\nROOM  SOCKETS\n", "", "where this one did", 1},
		{"users", "ls|users|--all", map[string]string{"/api/sockets/query": `{"sockets":[{"sid":"1","user":"b","node":"x"},{"sid":"2","user":"a","node":"x"},{"sid":"3","user":"b","node":"y"}]}`},
			`POST /api/sockets/query {"nsp":"/","fields":["user"],"limit":1000}`, "USER  SOCKETS  NODES\na     1        1\nb     2        2\n", "", "", 0},
		{"namespaces", "ls|namespaces", map[string]string{"/api/namespaces": `{"namespaces":[{"name":"/c/:id","sockets":5}]}`}, "GET /api/namespaces",
			"NAMESPACE  SOCKETS  INSTANCES  EVENTS  EMITS  REFUSED\n/c/:id     5        0          0       0      0\n", "", "", 0},
		{"nodes", "ls|nodes|--json", map[string]string{"/api/nodes": `{"nodes":[{"node":"n1","sessions":1,"sockets":2}],"cluster":{"adapter":true,"reason":"down"}}`}, "GET /api/nodes",
			`{"node":"n1","sessions":1,"sockets":2}` + "\n", "the cluster cannot be reached: down\n", "", 0},
		{"ls of nothing", "ls|cats", nil, "", "", "", "ls lists one of namespaces, nodes, rooms, sockets, users", 2},
		{"kick a user", "kick|--user|u/7|--reason|banned|--code|4403", map[string]string{"/api/users/u%2F7/disconnect": `{"sockets":2}`}, `POST /api/users/u%2F7/disconnect {"code":4403,"reason":"banned"}`, "2 disconnected\n", "", "", 0},
		{"kick a socket", "kick|--sid|s|--nsp|/n|--json", map[string]string{"/api/sockets/disconnect": `{"sockets":1}`}, `POST /api/sockets/disconnect {"nsp":"/n","in":["s"]}`, "{\"sockets\":1}\n", "", "", 0},
		{"kick a room", "kick|--room|r|--reason|x", map[string]string{"/api/sockets/disconnect": `{"sockets":0,"partial":{"unnamed":2}}`}, `POST /api/sockets/disconnect {"nsp":"/","in":["r"],"reason":"x","close":true}`, "0 disconnected\n", "this is not all: 2 servers\n", "", 0},
		{"kick nobody", "kick", nil, "", "", "", "kick whom?", 2},
		{"not this API", "ls|nodes", map[string]string{"/api/nodes": "<html>"}, "GET /api/nodes", "", "", "is not this API", 1},
		{"no API there", "ls|nodes", map[string]string{}, "GET /api/nodes", "", "", "the server answered 404 Not Found\n  --url gives the internal listener", 1},
		{"too many", "ls|nodes", map[string]string{"/api/nodes": `429 {"error":{"code":"x","message":"too many","details":["a\u001bb"]}}`}, "GET /api/nodes", "", "", "too many\n  a\\u001bb\n  it may be tried again in 3s", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFakeAPI(t, c.answers)
			file := filepath.Join(t.TempDir(), "file")
			writeSettings(t, file, "\x00\x01\xff")
			out, errs, err := f.ask("", strings.Split(strings.ReplaceAll(c.args, "FILE", file), "|")...)
			if len(f.asked) == 0 {
				f.asked = []string{""}
			}
			if f.asked[0] != c.asked || out != c.out || errs != c.errs || !failsAs(err, c.fails, c.code) {
				t.Errorf("asked %s\nwrote %q, %q, %v\nwant\n%s\n%q, %q, %s", f.asked[0], out, errs, err, c.asked, c.out, c.errs, c.fails)
			}
		})
	}
}

// failsAs tells whether an error has a text and an exit code.
func failsAs(err error, text string, code int) bool {
	var coded codedError
	var usage usageError
	switch {
	case code == 0:
		return err == nil
	case err == nil || !strings.Contains(err.Error(), text):
		return false
	case errors.As(err, &coded):
		return coded.code == code
	}
	return errors.As(err, &usage) == (code == 2)
}

func TestAPIPages(t *testing.T) {
	f := newFakeAPI(t, map[string]string{"/api/rooms?limit=1&nsp=%2F": `{"rooms":[{"room":"a","sockets":1}],"cursor":"a"}`})
	out, errs, err := f.ask("", "ls", "rooms", "--limit", "1")
	if err != nil || out != "ROOM  SOCKETS\na     1\n" || errs != "there are more: --all, or --cursor a\n" || len(f.asked) != 1 {
		t.Errorf("%v, %q, %q, %q", err, out, errs, f.asked)
	}
	f = newFakeAPI(t, map[string]string{
		"/api/rooms?limit=1000&nsp=%2F":          `{"rooms":[{"room":"a","sockets":1}],"cursor":"a"}`,
		"/api/rooms?cursor=a&limit=1000&nsp=%2F": `{"rooms":[{"room":"b","sockets":1}]}`,
	})
	out, errs, err = f.ask("", "ls", "rooms", "--all", "--json")
	if err != nil || out != "{\"room\":\"a\",\"sockets\":1}\n{\"room\":\"b\",\"sockets\":1}\n" || errs != "" {
		t.Errorf("%v, %q, %q", err, out, errs)
	}
}

// A person is asked first where several sockets are meant.
func TestKickIsConfirmed(t *testing.T) {
	defer func(old func(io.Reader) bool) { atTerminal = old }(atTerminal)
	atTerminal = func(io.Reader) bool { return true }
	for _, c := range []struct {
		page, in string
		args     []string
		question string
		kicked   bool
	}{
		{`{"sockets":[{},{}]}`, "n\n", []string{"--room", "r"}, `disconnect 2 sockets of room "r" in /? [y/N] `, false},
		{`{"sockets":[{},{}],"cursor":"c"}`, "", []string{"--room", "r"}, `disconnect over 2 sockets of room "r" in /? [y/N] `, false},
		{`{"sockets":[{},{}]}`, "Y\n", []string{"--room", "r"}, `disconnect 2 sockets of room "r" in /? [y/N] `, true},
		{`{"sockets":[{},{}]}`, "", []string{"--room", "r", "--yes"}, "", true},
		{`{"sockets":[{}]}`, "", []string{"--room", "r"}, "", true},
		{"", "", []string{"--sid", "s"}, "", true},
		{"", "no\n", []string{"--user", "u"}, `disconnect user "u", wherever they are connected? [y/N] `, false},
		{"", "yes\n", []string{"--user", "u"}, `disconnect user "u", wherever they are connected? [y/N] `, true},
	} {
		f := newFakeAPI(t, map[string]string{"/api/sockets/query": c.page, "/api/sockets/disconnect": `{"sockets":1}`, "/api/users/u/disconnect": `{"sockets":1}`})
		_, errs, err := f.ask(c.in, append([]string{"kick"}, c.args...)...)
		kicked := len(f.asked) > 0 && strings.Contains(f.asked[len(f.asked)-1], "/disconnect")
		if errs != c.question || kicked != c.kicked || (err == nil) != c.kicked {
			t.Errorf("kick %v, %q: asked %q, then %q, %v", c.args, c.in, errs, f.asked, err)
		}
	}
}

// Commands of standard input are sent while they come, and answered one by one.
func TestEmitStream(t *testing.T) {
	var got []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != wire.StreamPath || r.Header.Get("Content-Type") != wire.NDJSON {
			t.Errorf("%s %s", r.URL, r.Header)
		}
		_ = http.NewResponseController(w).EnableFullDuplex()
		in := bufio.NewScanner(r.Body)
		for in.Scan() {
			got = append(got, in.Text())
			var c wire.Command
			_ = json.Unmarshal(in.Bytes(), &c)
			result := wire.Result{ID: c.ID}
			if c.Emit != nil && c.Emit.Ev == "bad" {
				result.Error = &wire.Error{Code: "x", Message: "no\x1b"}
			}
			_ = json.NewEncoder(w).Encode(result)
			w.(http.Flusher).Flush()
		}
	}))
	defer srv.Close()
	f := &fakeAPI{Server: srv}
	out, errs, err := f.ask(`{"ev":"a","to":["r"]}`+"\n\n"+`{"id":"mine","join":{"rooms":["x"]}}`+"\n", "emit", "-", "--json")
	if err != nil || errs != "" || out != "{\"id\":1}\n{\"id\":\"mine\"}\n" {
		t.Errorf("%v, %q, %q", err, out, errs)
	}
	if want := []string{`{"emit":{"ev":"a","to":["r"]},"id":1}`, `{"id":"mine","join":{"rooms":["x"]}}`}; strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("sent %s", got)
	}
	if _, errs, err = f.ask(`{"ev":"bad"}`+"\n"+`{"ev":"good"}`, "emit", "-"); err == nil || err.Error() != "1 of 2 commands failed" || errs != "1: no\\u001b\n" {
		t.Errorf("%v, %q", err, errs)
	}
	if _, _, err = f.ask(`{"ev":"good"}`+"\nnothing\n", "emit", "-"); err == nil || !strings.Contains(err.Error(), "line 2 of standard input is no JSON object") {
		t.Errorf("%v", err)
	}
	if _, _, err = f.ask("", "emit", "-", "--to", "r"); !failsAs(err, "in the lines", 2) {
		t.Errorf("%v", err)
	}
}

// What is wrong with the input is said, whichever way the request ends of it, and input
// that does not end is not waited for.
func TestEmitStreamSaysWhyItEnds(t *testing.T) {
	closed := errors.New("read tcp 127.0.0.1:1: use of closed network connection")
	toTheEnd := func(body io.Reader, _ func([]byte) error) error {
		_, _ = io.Copy(io.Discard, body)
		return closed
	}
	endless, w := io.Pipe()
	defer func() { _ = w.Close() }() // ends who reads it
	for _, c := range []struct {
		name, want string
		in         io.Reader
		lines      func(io.Reader, func([]byte) error) error
	}{
		{"a bad line, and a connection that is closed of it", "line 1 of standard input is no JSON object", strings.NewReader("nothing\n"), toTheEnd},
		{"an input that fails", "bad disk", iotest.ErrReader(errors.New("bad disk")), toTheEnd},
		{"a connection that breaks while nothing is read", closed.Error(), endless, func(io.Reader, func([]byte) error) error { return closed }},
		{"a server that ends the stream while nothing is read", "the server has ended the stream", endless, func(io.Reader, func([]byte) error) error { return nil }},
		{"a server that ends the stream, and says so", "1 of 1 commands failed", endless, func(_ io.Reader, f func([]byte) error) error {
			return f([]byte(`{"error":{"code":"stopping","message":"x"}}`))
		}},
		{"a command without an answer", "0 of 1 commands were answered", strings.NewReader(`{"ev":"a"}`), func(body io.Reader, _ func([]byte) error) error {
			_, err := io.Copy(io.Discard, body)
			return err
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd := emitCommand()
			cmd.SetIn(c.in)
			cmd.SetErr(io.Discard)
			if err := new(emitSpec).commands(cmd, c.lines); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// The key and the place come from flags, the environment, or the server's file.
func TestAPIPlaceAndKey(t *testing.T) {
	secret := "a secret of more than thirty-two bytes"
	derived := firstKey(&config.Settings{Secret: secret})
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	want, seen := testKey, false
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = r.Header.Get("Authorization") == "Bearer "+want
		_, _ = io.WriteString(w, `{"namespaces":[]}`)
	})}
	go func() { _ = srv.Serve(l) }() // ends with the test
	defer func() { _ = srv.Close() }()
	at := "unix:" + path
	keyed := settingsFile(t, "internal: "+at+"\napi: {keys: ["+testKey+"]}\n")
	made := settingsFile(t, "internal: {listen: '"+at+"'}\nsecret: "+secret+"\n")
	for _, c := range []struct {
		name string
		env  map[string]string
		args []string
		key  string
	}{
		{"flags", nil, []string{"--url", at, "--api-key", testKey}, testKey},
		{"a secret", nil, []string{"--url", at, "--secret", secret}, derived},
		{"a file with a key", nil, []string{"--config", keyed}, testKey},
		{"a file with a secret", nil, []string{"--config", made}, derived},
		{"a flag before a file", nil, []string{"--config", keyed, "--api-key", "another"}, "another"},
		{"the environment", map[string]string{"SIOEDGE_API_URL": at, "SIOEDGE_API_KEY": "k1,k2"}, nil, "k1"},
		{"its secret", map[string]string{"SIOEDGE_API_URL": at, "SIOEDGE_SECRET": secret}, nil, derived},
	} {
		t.Run(c.name, func(t *testing.T) {
			for k, v := range c.env {
				t.Setenv(k, v)
			}
			want, seen = c.key, false
			if _, _, err := run(append([]string{"ls", "namespaces"}, c.args...)...); err != nil || !seen {
				t.Errorf("%v, the key was right: %v", err, seen)
			}
		})
	}
	for args, says := range map[string]string{
		"ls":                                 "no key",
		"ls --api-key x --url ftp://h":       "is not where an API is",
		"ls --api-key x --url unix:/nowhere": "--url gives where its internal listener is",
		"ls --api-key x --url http://127.0.0.1:1": "--url gives where its internal listener is",
	} {
		if _, _, err := run(strings.Fields(args)...); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", args, err)
		}
	}
}

func TestListenerURL(t *testing.T) {
	for listen, want := range map[string]string{"": "", ":9000": "http://127.0.0.1:9000", "0.0.0.0:1": "http://127.0.0.1:1", "[::]:1": "http://127.0.0.1:1", "10.0.0.1:1": "http://10.0.0.1:1", "[::1]:1": "http://[::1]:1", "unix:/s": "unix:/s"} {
		if got := listenerURL(listen); got != want {
			t.Errorf("listenerURL(%q) = %q, want %q", listen, got, want)
		}
	}
}
