package sio_test

import (
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/sio"
)

// The browser client's files: eight names below the path, and nothing else.
func TestClientFiles(t *testing.T) {
	const script, sourceMap = "/*!\n * Socket.IO v4.8.4\n */\nlet x = 1\n", `{"version":3}`
	files := fstest.MapFS{"secret.txt": {Data: []byte("no")}, "socket.io.js.gz": {Data: []byte("no")}}
	names := []string{"socket.io.js", "socket.io.min.js", "socket.io.esm.min.js", "socket.io.msgpack.min.js"}
	for _, name := range names {
		files[name] = &fstest.MapFile{Data: []byte(script)}
		files[name+".map"] = &fstest.MapFile{Data: []byte(sourceMap)}
	}
	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "page "+r.URL.Path) })
	srv := serve(t, sio.Options{Client: files, Handler: page}, func(srv *sio.Server) { srv.Of("/") })

	get := func(method, path string, header ...string) (*http.Response, string) {
		t.Helper()
		r, err := http.NewRequest(method, "http://"+srv.addr+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Close = true
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp, string(b)
	}
	for _, name := range names {
		for suffix, want := range map[string][2]string{
			"":           {"application/javascript; charset=utf-8", script},
			".map":       {"application/json; charset=utf-8", sourceMap},
			"?v=1&EIO=4": {"application/javascript; charset=utf-8", script},
		} {
			resp, body := get("GET", "/socket.io/"+name+suffix)
			h := resp.Header
			if resp.StatusCode != 200 || body != want[1] || h.Get("Content-Type") != want[0] ||
				h.Get("ETag") != `"4.8.4"` || h.Get("Cache-Control") != "public, max-age=0" {
				t.Errorf("GET %s%s = %d %q %v", name, suffix, resp.StatusCode, body, h)
			}
		}
	}
	for _, tag := range []string{`"4.8.4"`, `W/"4.8.4"`} {
		if resp, body := get("GET", "/socket.io/socket.io.js", "If-None-Match", tag); resp.StatusCode != 304 || body != "" {
			t.Errorf("GET with If-None-Match %s = %d %q, want 304", tag, resp.StatusCode, body)
		}
	}
	if resp, _ := get("GET", "/socket.io/socket.io.js", "If-None-Match", `"4.8.3"`); resp.StatusCode != 200 {
		t.Errorf("GET with another If-None-Match = %d, want 200", resp.StatusCode)
	}
	for _, tag := range []string{`"a", W/"4.8.4"`, "*"} {
		if resp, body := get("GET", "/socket.io/socket.io.js", "If-None-Match", tag); resp.StatusCode != 304 || body != "" || resp.Header.Get("ETag") != `"4.8.4"` {
			t.Errorf("GET with If-None-Match %s = %d %q %v, want 304 and the tag", tag, resp.StatusCode, body, resp.Header)
		}
	}
	if resp, body := get("GET", "/socket.io/socket.io.js", "Range", "bytes=0-4"); resp.StatusCode != 200 || body != script {
		t.Errorf("GET of a range = %d %q, want 200 and the whole: RFC 9110, 14.2", resp.StatusCode, body)
	}
	if resp, _ := get("HEAD", "/socket.io/socket.io.js"); resp.ContentLength != int64(len(script)) {
		t.Errorf("HEAD has the length %d, want %d", resp.ContentLength, len(script))
	}
	if resp, body := get("HEAD", "/socket.io/socket.io.js"); resp.StatusCode != 200 || body != "" || resp.Header.Get("ETag") == "" {
		t.Errorf("HEAD = %d %q %v, want 200 and the header", resp.StatusCode, body, resp.Header)
	}
	const unknown = `{"code":0,"message":"Transport unknown"}`
	for _, path := range []string{"secret.txt", "socket.io.js.gz", "socket.io.js/", "../socket.io.js", "socket.io.slim.js", "admin/"} {
		if resp, body := get("GET", "/socket.io/"+path); resp.StatusCode != 400 || body != unknown {
			t.Errorf("GET /socket.io/%s = %d %q, want 400 %s", path, resp.StatusCode, body, unknown)
		}
	}
	for _, path := range []string{"/", "/socket.iox", "/index.html"} {
		if resp, body := get("GET", path); resp.StatusCode != 200 || body != "page "+path {
			t.Errorf("GET %s = %d %q, want the page", path, resp.StatusCode, body)
		}
	}
}

// TestClientFilesAreThereOnce: however many clients ask for a file and do not take
// it, its bytes are not copied for each.
func TestClientFilesAreThereOnce(t *testing.T) {
	large := []byte("/*!\n * Socket.IO v4.8.4\n */\n" + strings.Repeat("x", 1<<20))
	_, sim, err := sio.NewSim(sio.Options{Client: fstest.MapFS{"socket.io.js": {Data: large}}, Loop: loop.Options{Loops: 1}})
	if err != nil {
		t.Fatal(err)
	}
	before := heapInUse()
	const clients = 100
	var peers []*loop.Peer
	for range clients {
		p := sim.Connect(0)
		p.Stall(true)
		p.Send([]byte("GET /socket.io/socket.io.js HTTP/1.1\r\nHost: h\r\n\r\n"))
		peers = append(peers, p)
	}
	want := int64(clients * len(large))
	for deadline := time.Now().Add(patience); sim.Engine().Stats().Queued < want && time.Now().Before(deadline); {
		sim.Turn() // the answers are made on goroutines
		time.Sleep(time.Millisecond)
	}
	if n := sim.Engine().Stats().Queued; n < want {
		t.Fatalf("%d bytes wait for the clients, want %d", n, want)
	}
	if held := heapInUse() - before; held > 4<<20 {
		t.Errorf("%d bytes are held for a file of %d that %d clients wait for", held, len(large), clients)
	}
	for i, p := range peers {
		p.Discard(true)
		p.Stall(false)
		if n := p.Count(); n < int64(len(large)) {
			t.Errorf("client %d got %d bytes, want all %d", i, n, len(large))
		}
	}
}

func heapInUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestNoClientFiles(t *testing.T) {
	srv := serve(t, sio.Options{}, func(srv *sio.Server) { srv.Of("/") })
	for path, want := range map[string]int{"/socket.io/socket.io.js": 400, "/": 404} {
		resp, err := http.Get("http://" + srv.addr + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("GET %s = %d, want %d", path, resp.StatusCode, want)
		}
	}
	if _, err := sio.New(sio.Options{Client: fstest.MapFS{"socket.io.js": {Data: []byte("no version")}}}); err == nil {
		t.Error("New with client files of no version = nil, want an error")
	}
	http.DefaultClient.CloseIdleConnections()
}
