package api

import (
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// cpu is what the process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// A request to emit to a room where nobody is, with a client that costs next to nothing:
// what the server uses for one.
func BenchmarkEmit(b *testing.B) {
	a := start(b, nil, nil)
	conn, err := net.Dial("tcp", strings.TrimPrefix(a.in.URL, "http://"))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	body := `{"nsp":"/","to":["room"],"ev":"message","args":[{"text":"hello","id":17}]}`
	request := []byte("POST /api/emit HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer " + testKey + "\r\nContent-Type: application/json\r\nContent-Length: " +
		strconv.Itoa(len(body)) + "\r\n\r\n" + body)
	answer := make([]byte, 4096)
	b.ReportAllocs()
	before := cpu()
	n := 0
	for b.Loop() {
		if _, err := conn.Write(request); err != nil {
			b.Fatal(err)
		}
		if _, err := conn.Read(answer); err != nil {
			b.Fatal(err)
		}
		n++
	}
	b.ReportMetric(float64(cpu()-before)/float64(n)/1e3, "cpu-µs/op")
	if !strings.HasPrefix(string(answer), "HTTP/1.1 200") {
		b.Fatalf("%s", answer)
	}
}

// The same by a stream.
func BenchmarkStream(b *testing.B) {
	a := start(b, nil, nil)
	line := []byte(`{"emit":{"nsp":"/","to":["room"],"ev":"message","args":[{"text":"hello","id":17}]}}` + "\n")
	in, out := io.Pipe()
	r, _ := http.NewRequest("POST", a.in.URL+"/api/stream", in)
	r.Header.Set("X-Api-Key", testKey)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		b.Fatal(err)
	}
	const batch = 200
	piece := []byte(strings.Repeat(string(line), batch))
	want := int64(batch * len("{\"result\":{}}\n"))
	b.ReportAllocs()
	before := cpu()
	n := 0
	for b.Loop() {
		if n++; n%batch != 1 {
			continue
		}
		// ends when it is read
		go func() { _, _ = out.Write(piece) }()
		if _, err := io.CopyN(io.Discard, res.Body, want); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(cpu()-before)/float64(n)/1e3, "cpu-µs/op")
	_ = out.Close()
}
