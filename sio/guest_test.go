package sio_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/sio"
)

// TestWhoHasJoinedIsNoGuest: sessions over polling of one address are bounded
// until they have joined a namespace, and again when they have left all.
func TestWhoHasJoinedIsNoGuest(t *testing.T) {
	srv, sim, err := sio.NewSim(sio.Options{Loop: loop.Options{Loops: 1}, Engine: eio.Options{MaxSessionsPerIP: 4}})
	if err != nil {
		t.Fatal(err)
	}
	srv.Of("/")
	request := func(method, query, body string) string {
		p := sim.Connect(0)
		defer p.Close()
		p.Send([]byte(method + " /socket.io/?EIO=4&transport=polling" + query + " HTTP/1.1\r\nHost: h\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body))
		sim.Turn()
		return string(p.Received())
	}
	open := func() (sid string, ok bool) {
		_, sid, ok = strings.Cut(request("GET", "", ""), `"sid":"`)
		return sid[:min(len(sid), eio.IDLen)], ok
	}
	var sids []string
	for {
		sid, ok := open()
		if !ok {
			break
		}
		sids = append(sids, sid)
	}
	if len(sids) != 4 {
		t.Fatalf("%d sessions could be opened, want 4", len(sids))
	}
	for i := range 2 {
		request("POST", "&sid="+sids[i], "40")
		if _, ok := open(); !ok {
			t.Errorf("after %d had joined, no other one could come", i+1)
		}
	}
	request("POST", "&sid="+sids[0], "41") // there are five then
	request("POST", "&sid="+sids[2], "40")
	if _, ok := open(); ok {
		t.Error("one that has left all is no guest again")
	}
	request("POST", "&sid="+sids[3], "40")
	if _, ok := open(); !ok {
		t.Error("after another had joined, no other one could come")
	}
	if n := srv.Stats().Engine.Guests; n != 2 {
		t.Errorf("Guests = %d, want 2", n)
	}
}
