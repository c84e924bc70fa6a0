package metrics

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/sio"
)

// patience is how long anything is waited for that is to happen.
const patience = 60 * time.Second

// serve serves on a real listener until the test ends, and returns the base URL of
// Engine.IO.
func serve(t *testing.T, srv *sio.Server) string {
	t.Helper()
	addr, err := srv.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	// ends with the test
	go func() { served <- srv.Serve(context.Background()) }()
	t.Cleanup(func() {
		ctx, done := context.WithTimeout(context.Background(), patience)
		defer done()
		if err := srv.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return fmt.Sprintf("http://%s/socket.io/?EIO=4&transport=polling", addr)
}

// A poller is a client of HTTP long-polling.
type poller struct {
	t   *testing.T
	url string
	web *http.Client
}

func newPoller(t *testing.T, url string) *poller {
	p := &poller{t, url, &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}}
	sid := regexp.MustCompile(`"sid":"([^"]+)"`).FindStringSubmatch(p.get())
	if sid == nil {
		t.Fatal("no session")
	}
	p.url += "&sid=" + sid[1]
	return p
}

func (p *poller) get() string {
	p.t.Helper()
	res, err := p.web.Get(p.url)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		p.t.Fatalf("%d %s %v", res.StatusCode, b, err)
	}
	return string(b)
}

func (p *poller) post(packets string) error {
	res, err := p.web.Post(p.url, "text/plain", strings.NewReader(packets))
	if err != nil {
		return err
	}
	return res.Body.Close()
}

// A loop that is stuck is told to be, with what it told before; others are not waited
// with.
func TestStuckLoop(t *testing.T) {
	srv, err := sio.New(sio.Options{Loop: loop.Options{Loops: 2}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	begun, end := make(chan struct{}), make(chan struct{})
	srv.Of("/").HandleInline("block", func(sio.Socket, *sio.Msg) error {
		close(begun)
		<-end
		return nil
	})
	m := New(Sources{Server: srv})
	p := newPoller(t, serve(t, srv))
	if err := p.post("40"); err != nil {
		t.Fatal(err)
	}
	p.get()
	late := func() (which []string, all map[string]float64) {
		all = exposition(t, scrape(t, m).Body.String())
		for _, l := range []string{"0", "1"} {
			if all[`loop_late_seconds{loop="`+l+`"}`] > 0 {
				which = append(which, l)
			}
		}
		return which, all
	}
	for began := time.Now(); ; {
		if which, _ := late(); len(which) == 0 {
			break
		} else if time.Since(began) > patience {
			t.Fatalf("loops %v are late", which)
		}
	}
	posted := make(chan error, 1)
	// ends when the handler does
	go func() { posted <- p.post(`42["block"]`) }()
	<-begun
	which, all := late()
	if len(which) != 1 {
		t.Errorf("loops %v are late, want one", which)
	}
	if n := all[`sockets{route="/"}`]; n != 1 {
		t.Errorf("there are %v sockets, want the one that there was", n)
	}
	if n := all[`connections{transport="polling",eio="4"}`]; n != 1 {
		t.Errorf("there are %v connections, want the one that there was", n)
	}
	close(end)
	if err := <-posted; err != nil {
		t.Error(err)
	}
	for began := time.Now(); ; {
		if which, _ := late(); len(which) == 0 {
			break
		} else if time.Since(began) > patience {
			t.Fatalf("loops %v are late still", which)
		}
	}
}
