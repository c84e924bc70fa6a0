package sio_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// A poller is a client over HTTP long polling that speaks in the packets of
// [client].
type poller struct {
	t    testing.TB
	srv  *server
	http *http.Client
	base string
	url  string // of the session
	sid  string
	got  []string // packets that were received and not taken yet
	id   string
}

// poll opens a session over polling.
func (srv *server) poll() *poller { return srv.pollQuery("EIO=4&transport=polling") }

func (srv *server) pollQuery(query string) *poller {
	srv.t.Helper()
	tr := &http.Transport{}
	srv.t.Cleanup(tr.CloseIdleConnections)
	p := &poller{t: srv.t, srv: srv, http: &http.Client{Transport: tr, Timeout: patience}, base: "http://" + srv.addr + "/socket.io/"}
	p.url = p.base + "?" + query
	_, body := p.get()
	var open struct{ SID string }
	if err := json.Unmarshal([]byte(body[max(strings.Index(body, "{"), 0):]), &open); err != nil {
		srv.t.Fatalf("the open packet is %q: %v", body, err)
	}
	p.sid = open.SID
	p.url += "&sid=" + p.sid
	return p
}

// joinPolling opens a session and joins "/".
func (srv *server) joinPolling() *poller {
	srv.t.Helper()
	p := srv.poll()
	p.send("40")
	p.expect(`40{"sid":"$sid"}`)
	return p
}

func (p *poller) do(method, body string) (status int, answer string, err error) {
	r, err := http.NewRequest(method, p.url, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "text/plain;charset=UTF-8")
	}
	resp, err := p.http.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

func (p *poller) get() (int, string) {
	p.t.Helper()
	status, body, err := p.do(http.MethodGet, "")
	if err != nil {
		p.t.Fatalf("GET: %v", err)
	}
	return status, body
}

// wantGet makes a request and compares the answer.
func (p *poller) wantGet(status int, body string) {
	p.t.Helper()
	if s, b := p.get(); s != status || b != body {
		p.t.Fatalf("GET = %d %q, want %d %q", s, b, status, body)
	}
}

func (p *poller) post(body string) (int, string) {
	p.t.Helper()
	status, answer, err := p.do(http.MethodPost, body)
	if err != nil {
		p.t.Fatalf("POST: %v", err)
	}
	return status, answer
}

// pending makes a request whose answer comes later.
func (p *poller) pending() chan string {
	answer := make(chan string, 1)
	// ends when the answer has come
	go func() {
		status, body, err := p.do(http.MethodGet, "")
		switch {
		case err != nil:
			answer <- err.Error()
		case status != http.StatusOK:
			answer <- http.StatusText(status) + " " + body
		default:
			answer <- body
		}
	}()
	return answer
}

// send sends packets in one payload.
func (p *poller) send(packets ...string) {
	p.t.Helper()
	for i, s := range packets {
		if data, ok := binary(s); ok {
			packets[i] = "b" + base64.StdEncoding.EncodeToString(data)
		}
	}
	if status, answer := p.post(strings.Join(packets, "\x1e")); status != http.StatusOK || answer != "ok" {
		p.t.Fatalf("POST = %d %q, want 200 ok", status, answer)
	}
}

// next returns the next packet.
func (p *poller) next() string {
	p.t.Helper()
	for len(p.got) == 0 {
		status, body := p.get()
		if status != http.StatusOK {
			return http.StatusText(status) + " " + body
		}
		p.take(body)
	}
	s := p.got[0]
	p.got = p.got[1:]
	return s
}

// take cuts a payload into packets.
func (p *poller) take(body string) {
	for _, s := range strings.Split(body, "\x1e") {
		if b, ok := strings.CutPrefix(s, "b"); ok {
			data, err := base64.StdEncoding.DecodeString(b)
			if err != nil {
				p.t.Fatalf("received %q: %v", s, err)
			}
			s = "<" + hex.EncodeToString(data) + ">"
		}
		p.got = append(p.got, s)
	}
}

func (p *poller) expect(want ...string) {
	p.t.Helper()
	for _, w := range want {
		got := p.next()
		id, ok := match(got, w)
		if !ok {
			p.t.Fatalf("received %s, want %s", got, w)
		}
		if id != "" {
			p.id = id
		}
	}
}

// upgrade makes the session a WebSocket's, as the JavaScript client does it;
// meanwhile is called while the poll that the client waits for may be out. What
// the poll brings is what the client receives first.
func (p *poller) upgrade(meanwhile func()) *client {
	p.t.Helper()
	get := p.pending()
	c := p.srv.handshake("EIO=4&transport=websocket&sid=" + p.sid)
	c.send("2probe")
	c.expect("3probe")
	meanwhile()
	p.take(take(p.t, get))
	c.early = slices.DeleteFunc(p.got, func(s string) bool { return s == "6" })
	p.got = nil
	c.send("5")
	return c
}
