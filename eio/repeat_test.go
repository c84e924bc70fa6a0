package eio

import (
	"strings"
	"testing"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/http1"
)

// A poll that another server passed on, and that is asked again as it was when that
// server has gone, was not answered for all that its client knows: the session ends.
// Another poll is, whatever became of that server, and so is the same one as long as
// it is there: some clients count seconds.
func TestRepeatedPolls(t *testing.T) {
	for _, c := range []struct {
		name, again string
		gone, lives bool
	}{
		{"asked again, the server has gone", "&t=1", true, false},
		{"the next poll, the server has gone", "&t=2", true, true},
		{"asked again, the server is there", "&t=1", false, true},
		{"nothing tells polls apart, the server has gone", "", true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			closed := make(chan Reason, 1)
			sessions := make(chan Session, 1)
			_, addr := start(t, &hooks{
				close: func(_ Session, r Reason) { closed <- r },
				message: func(s Session, data []byte, _ bool) {
					s.Send(AppendText(nil, data))
					sessions <- s
				},
			}, Options{}, 1)
			client, via, other := dial(t, addr), dial(t, addr), dial(t, addr)
			query := "EIO=4&transport=polling&sid=" + client.open()
			client.must(postRequest(query, "4one"), 200)
			<-sessions
			relayed := func(stamp string) []byte {
				if c.again == "" {
					stamp = ""
				}
				return []byte(strings.Replace(string(getRequest(query+stamp)), "\r\n\r\n", "\r\n"+ForwardedHeader+": x\r\n\r\n", 1))
			}
			if got := via.must(relayed("&t=1"), 200); got != "4one" {
				t.Fatalf("the poll that is passed on = %q, want 4one", got)
			}
			if c.gone {
				via.Close()
			}
			client.must(postRequest(query, "4two"), 200)
			<-sessions
			if c.lives {
				if got := other.must(relayed(c.again), 200); got != "4two" {
					t.Errorf("the poll = %q, want 4two", got)
				}
				client.must(postRequest(query, "1"), 200)
				return
			}
			other.must(relayed(c.again), 400)
			if r := <-closed; r != TransportError {
				t.Errorf("the reason is %q, want %q", r, TransportError)
			}
		})
	}
}

// A server has gone, but what tells of that comes behind the poll that a proxy asks
// again because of it.
func TestRepeatedPollsBeforeTheEndIsNoticed(t *testing.T) {
	var s Session
	var reasons []Reason
	var happens func()
	_, sim := newSim(t, &hooks{
		open:    func(es Session, _ *http1.Request) { s = es },
		message: func(Session, []byte, bool) { happens() },
		close:   func(_ Session, r Reason) { reasons = append(reasons, r) },
	}, Options{}, loop.Options{})
	client, other, via := sim.Connect(0), sim.Connect(0), sim.Connect(0)
	client.Send(getRequest("EIO=4&transport=polling"))
	query := "EIO=4&transport=polling&sid=" + s.ID()
	relayed := []byte(strings.Replace(string(getRequest(query+"&t=1")), "\r\n\r\n", "\r\n"+ForwardedHeader+": x\r\n\r\n", 1))
	s.Send(AppendText(nil, []byte("one")))
	via.Send(relayed)
	if got := string(via.Received()); !strings.HasSuffix(got, "4one") {
		t.Fatalf("the poll that is passed on = %q, want 4one", got)
	}
	happens = func() { // in one turn of the poller, and in this order
		s.Send(AppendText(nil, []byte("two")))
		other.Send(relayed)
		via.Close()
	}
	client.Send(postRequest(query, "4now"))
	if got := statuses(other.Received()); number(got, "400") != 1 || len(reasons) != 1 || reasons[0] != TransportError {
		t.Errorf("the poll that is asked again is answered %v, and the session ended for %v; want 400 and %q", got, reasons, TransportError)
	}
}
