package bustest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// patience is how long a Poller waits for a packet.
const patience = 20 * time.Second

// A Poller is a client by long-polling, which speaks in packets. It belongs to its test.
type Poller struct {
	t    testing.TB
	url  string
	got  chan string // packets but pings; closed at the end
	rest []string
}

// Poll opens a session at a server's base URL, when that serves. It answers pings until
// the session has ended.
func Poll(t testing.TB, base string) *Poller {
	t.Helper()
	c := &Poller{t: t, url: base + "/socket.io/?EIO=4&transport=polling", got: make(chan string, 10_000)}
	open, err := c.poll()
	for strings.Contains(open, "not running") { // yet
		open, err = c.poll()
	}
	var o struct{ SID string }
	if err != nil || json.Unmarshal([]byte(open[1:]), &o) != nil {
		t.Fatalf("%q, %v", open, err)
	}
	c.url += "&sid=" + o.SID
	go c.listen() // ends with the session
	return c
}

func (c *Poller) listen() {
	defer close(c.got)
	for {
		body, err := c.poll()
		if err != nil {
			return
		}
		for p := range strings.SplitSeq(body, "\x1e") {
			if p == "2" {
				_ = c.post("3")
			} else {
				c.got <- p
			}
		}
	}
}

func (c *Poller) poll() (string, error) {
	r, err := http.Get(c.url)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err == nil && r.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", r.Status, b)
	}
	return string(b), err
}

func (c *Poller) post(packet string) error {
	r, err := http.Post(c.url, "text/plain", strings.NewReader(packet))
	if err == nil {
		_ = r.Body.Close()
	}
	return err
}

// Send posts a packet, or several as a payload.
func (c *Poller) Send(packet string) {
	c.t.Helper()
	if err := c.post(packet); err != nil {
		c.t.Fatal(err)
	}
}

// Await waits for a packet that begins so; those before it are kept.
func (c *Poller) Await(prefix string) string {
	c.t.Helper()
	if i := c.find(prefix); i >= 0 {
		p := c.rest[i]
		c.rest = slices.Delete(c.rest, i, i+1)
		return p
	}
	end := time.After(patience)
	for {
		select {
		case p, ok := <-c.got:
			if !ok {
				c.t.Fatalf("the session has ended, waiting for %q; got %q", prefix, c.rest)
			}
			if strings.HasPrefix(p, prefix) {
				return p
			}
			c.rest = append(c.rest, p)
		case <-end:
			c.t.Fatalf("waiting for %q; got %q", prefix, c.rest)
		}
	}
}

// Has tells whether a packet that begins so has come.
func (c *Poller) Has(prefix string) bool {
	for {
		select {
		case p := <-c.got:
			c.rest = append(c.rest, p)
		default:
			return c.find(prefix) >= 0
		}
	}
}

// Rest returns what was kept.
func (c *Poller) Rest() []string { return c.rest }

// Coming yields the packets that come, until the session has ended; those that were kept
// are not among them.
func (c *Poller) Coming() <-chan string { return c.got }

func (c *Poller) find(prefix string) int {
	return slices.IndexFunc(c.rest, func(p string) bool { return strings.HasPrefix(p, prefix) })
}
