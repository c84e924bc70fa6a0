package metrics

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

// A scrape of a server with 15,000 sockets in 1,000 declared namespaces, each of which has
// rooms, events, acknowledgements, broadcasts and departures, in a process with as many
// descriptors.
func BenchmarkScrape(b *testing.B) {
	const conns, each, routes = 300, 50, 1000
	srv := siotest.New(b, sio.Options{Loop: loop.Options{Loops: 2}})
	for i := range routes {
		ns := srv.Of(fmt.Sprintf("/namespaces/number%d/:id", i))
		ns.Handle("say", func(s sio.Socket, m *sio.Msg) error {
			s.Join("all")
			return errors.Join(s.To("all").Emit("said", 1), m.Ack(1))
		})
	}
	for i := range conns {
		first := srv.Connect(fmt.Sprintf("/namespaces/number%d/1", i*each%routes))
		for k := 1; k < each; k++ {
			c := srv.ConnectWith(fmt.Sprintf("/namespaces/number%d/1", (i*each+k)%routes), siotest.Options{On: first})
			c.EmitAck("say", 1)
			if i*each < routes {
				c.Disconnect()
			}
		}
	}
	var files []*os.File
	for range 15000 {
		if f, err := os.Open(os.DevNull); err == nil {
			files = append(files, f)
		}
	}
	defer func() {
		for _, f := range files {
			_ = f.Close()
		}
	}()
	m := New(Sources{Server: srv.Server, Version: "v1.2.3"})
	for _, as := range []struct{ name, accept, encoding string }{
		{"format=text", "text/plain;version=0.0.4", ""},
		{"format=openmetrics", "application/openmetrics-text;version=1.0.0", ""},
		{"format=text/gzip", "text/plain;version=0.0.4", "gzip"},
	} {
		b.Run(as.name, func(b *testing.B) {
			r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
			r.Header.Set("Accept", as.accept)
			r.Header.Set("Accept-Encoding", as.encoding)
			began, size := cpu(), 0
			b.ReportAllocs()
			for b.Loop() {
				w := httptest.NewRecorder()
				m.ServeHTTP(w, r)
				size = w.Body.Len()
			}
			b.ReportMetric(float64(cpu()-began)/1e6/float64(b.N), "cpu-ms/scrape")
			b.ReportMetric(float64(size), "B/scrape")
			b.ReportMetric(float64(len(files)), "descriptors")
		})
	}
}

// cpu returns what the process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
