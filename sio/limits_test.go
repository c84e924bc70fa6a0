package sio_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/parser"
)

func TestBoundsAreChecked(t *testing.T) {
	for _, o := range []sio.Options{{MaxRooms: -1}, {MaxRooms: 65_536}, {MaxNamespaces: -1}, {MaxPendingAcks: -1}, {MaxEventName: -1},
		{ConnectTimeout: -1}, {Recovery: sio.Recovery{Window: -1}}, {Recovery: sio.Recovery{MaxBytes: -1}}, {Recovery: sio.Recovery{Patience: -1}}} {
		if _, err := sio.New(o); err == nil {
			t.Errorf("New(%d rooms, %d namespaces, %d acks, %d bytes) = nil error, want one", o.MaxRooms, o.MaxNamespaces, o.MaxPendingAcks, o.MaxEventName)
		}
	}
}

func TestMaxRooms(t *testing.T) {
	srv := simulate(t, sio.Options{MaxRooms: 3}, func(srv *sio.Server) { echo(srv.Of("/")) })
	joined := sockets(srv.Of("/"))
	srv.join("40")
	s := take(t, joined)
	rooms := func(want ...string) {
		t.Helper()
		if got := s.Rooms()[1:]; !slices.Equal(got, want) {
			t.Errorf("Rooms() = %v, want %v", got, want)
		}
	}
	s.Join("a", "b", s.ID(), "b", "c", "d", "a")
	rooms("a", "b", "c")
	if got := take(t, srv.log.new); got != "join: "+sio.ErrTooManyRooms.Error() {
		t.Errorf("OnError got %q, want join and ErrTooManyRooms", got)
	}
	s.Leave("b", "b", "never joined", s.ID())
	srv.Of("/").To(s.ID()).Join("e", "f")
	rooms("a", "c", "e")
	srv.Of("/").All().Leave("a")
	s.Join("g")
	rooms("c", "e", "g")
	if n := srv.Stats().Drops.Rooms; n != 2 {
		t.Errorf("Stats().Drops.Rooms = %d, want 2: d and f", n)
	}
	// The room that was not joined is not kept alive, nor does it get anything.
	if err := srv.Of("/").To("d", "f").Emit("nobody"); err != nil {
		t.Error(err)
	}
}

// A bound that bites says which it is, once a socket.
func TestTooManyRoomsAreLogged(t *testing.T) {
	var log strings.Builder
	st := newStageWith(t, sio.Options{MaxRooms: 2, MaxNamespaces: 1, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	x := st.enter(0)
	for i := range 300 {
		x.s.Join(fmt.Sprint("room ", i))
	}
	st.sim.Turn()
	x.send("40/other,")
	text := log.String()
	if strings.Count(text, "--max-rooms") != 1 || strings.Count(text, "--max-namespaces") != 1 || strings.Count(text, "\n") != 2 {
		t.Errorf("the log is %q, want one line each that names --max-rooms and --max-namespaces", text)
	}
	if n := st.Stats().Drops.Rooms; n != 298 {
		t.Errorf("Stats().Drops.Rooms = %d, want 298", n)
	}
}

// A client that joins rooms as fast as it can gets as far as the bound.
func TestEdge66MaxRoomsHostile(t *testing.T) {
	const most, asked = 128, 10_000
	srv := simulate(t, sio.Options{MaxRooms: most}, func(srv *sio.Server) {
		sio.On(srv.Of("/"), "join", func(s sio.Socket, room string) error { s.Join(room); return nil })
		echo(srv.Of("/"))
	})
	joined := sockets(srv.Of("/"))
	c := srv.join("40")
	var packets []string
	for i := range asked {
		packets = append(packets, fmt.Sprintf(`42["join","room %d"]`, i))
	}
	c.send(packets...)
	c.quiet("")
	s := take(t, joined)
	if n := len(s.Rooms()) - 1; n != most || srv.Stats().Drops.Rooms != asked-most {
		t.Errorf("the socket is in %d rooms, and %d were refused; want %d and %d", n, srv.Stats().Drops.Rooms, most, asked-most)
	}
}

func TestEdge66MaxPendingAcks(t *testing.T) {
	srv := simulate(t, sio.Options{MaxPendingAcks: 2}, func(srv *sio.Server) { echo(srv.Of("/")) })
	joined := sockets(srv.Of("/"))
	c := srv.join("40")
	s := take(t, joined)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	answers := make(chan error, 2)
	for i := range 2 {
		go func() {
			_, err := s.EmitAck(ctx, "ask")
			answers <- err
		}()
		c.expect(fmt.Sprintf(`42%d["ask"]`, i))
	}
	if _, err := s.EmitAck(ctx, "ask"); !errors.Is(err, sio.ErrTooManyAcks) {
		t.Errorf("a third EmitAck = %v, want ErrTooManyAcks", err)
	}
	if all, err := srv.Of("/").All().EmitAck(ctx, "ask"); len(all) != 0 || err != nil {
		t.Errorf("EmitAck to all = %v, %v, want no answers", all, err)
	}
	c.quiet("")
	c.send("430[]", "431[]")
	for range 2 {
		if err := take(t, answers); err != nil {
			t.Errorf("EmitAck = %v, want an answer", err)
		}
	}
	go func() {
		_, err := s.EmitAck(ctx, "ask")
		answers <- err
	}()
	c.expect(`424["ask"]`)
	c.send("434[]")
	if err := take(t, answers); err != nil {
		t.Errorf("EmitAck after the answers = %v, want one more", err)
	}
	if n := srv.Stats().Drops.Acks; n != 2 {
		t.Errorf("Stats().Drops.Acks = %d, want 2", n)
	}
}

// What a client may not send ends its connection, and is counted.
func TestEdge66HostilePackets(t *testing.T) {
	name := func(n int) string { return strings.Repeat("n", n) }
	for _, c := range []struct {
		name    string
		packets []string
		bad     int64
		wrong   int64
	}{
		{"a name of 256 bytes", []string{`42["` + name(256) + `"]`}, 0, 0},
		{"a name of 257 bytes", []string{`42["` + name(257) + `"]`}, 1, 0},
		{"a name of many bytes with an attachment", []string{`451-["` + name(900_000) + `",{"_placeholder":true,"num":0}]`, "<00>"}, 1, 0},
		{"arguments as deep as they may be", []string{`42["a",` + strings.Repeat("[", 127) + strings.Repeat("]", 127) + `]`}, 0, 0},
		{"arguments that are too deep", []string{`42["a",` + strings.Repeat("[", 128) + strings.Repeat("]", 128) + `]`}, 1, 0},
		{"too many arguments", []string{`42["a"` + strings.Repeat(",1", 5000) + `]`}, 1, 0},
		{"too many attachments", []string{`4511-["a"]`}, 1, 0},
		{"an attachment of nothing", []string{"<00>"}, 1, 0},
		{"an event for a namespace that was not joined", []string{`42/x,["a"]`}, 0, 1},
		{"a second CONNECT", []string{"40"}, 0, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := simulate(t, sio.Options{}, func(srv *sio.Server) { echo(srv.Of("/")) })
			client := srv.join("40")
			client.send(c.packets...)
			if c.bad+c.wrong == 0 {
				client.quiet("")
			} else {
				client.ended("close -")
			}
			if st := srv.Stats(); st.BadPackets != c.bad || st.Violations != c.wrong {
				t.Errorf("Stats() = %+v, want %d bad packets and %d violations", st, c.bad, c.wrong)
			}
		})
	}
}

// What waits for a packet's attachments is bounded in bytes.
func TestHostileAttachments(t *testing.T) {
	srv := simulate(t, sio.Options{Limits: parser.Limits{MaxAttachmentBytes: 1000}}, func(srv *sio.Server) { echo(srv.Of("/")) })
	const head = `453-["a",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1},{"_placeholder":true,"num":2}]`
	c := srv.join("40")
	c.send(head, "<"+strings.Repeat("00", 400)+">")
	eventually(t, "the wait for the attachments", func() bool { return srv.Held()["assemblers"] == 1 })
	c.send("<" + strings.Repeat("00", 600) + ">")
	c.ended("close -")
	if st := srv.Stats(); st.BadPackets != 1 {
		t.Errorf("Stats() = %+v, want one bad packet", st)
	}
}

func TestEdge66RefusedNamespacesAreCounted(t *testing.T) {
	srv := serve(t, sio.Options{MaxNamespaces: 2, ConnectTimeout: 50 * time.Millisecond}, func(srv *sio.Server) {
		echo(srv.Of("/"))
		srv.Of("/a")
		srv.Of("/b")
		srv.Of("/private").Use(func(sio.Socket) error { return &sio.Error{Message: "no"} })
	})
	c := srv.join("40")
	for _, step := range [][2]string{
		{"40/private,", `44/private,{"message":"no"}`},
		{"40/nowhere,", `44/nowhere,{"message":"Invalid namespace"}`},
		{"40/a,", `40/a,{"sid":"$sid"}`},
		{"40/b,", `44/b,{"message":"too many namespaces"}`},
		{"40/nowhere,", `44/nowhere,{"message":"too many namespaces"}`},
	} {
		c.send(step[0])
		c.expect(step[1])
	}
	late := srv.dial()
	late.ended("close -")
	if st := srv.Stats(); st.Refused != 4 || st.Drops.Namespaces != 2 || st.Timeouts != 1 {
		t.Errorf("Stats() = %+v, want 4 refused, 2 of them for their number, and 1 too late", st)
	}
}

func TestCloseConnWith(t *testing.T) {
	srv := simulate(t, sio.Options{}, func(srv *sio.Server) { echo(srv.Of("/")) })
	joined := sockets(srv.Of("/"))
	gone := make(chan sio.Reason, 1)
	srv.Of("/").OnDisconnect(func(_ sio.Socket, r sio.Reason) { gone <- r })
	c := srv.join("40")
	s := take(t, joined)
	if err := s.CloseConnWith(1001, ""); err == nil {
		t.Error("CloseConnWith(1001) = nil, want an error")
	}
	if err := s.CloseConnWith(4401, strings.Repeat("x", 124)); err == nil {
		t.Error("CloseConnWith(4401, 124 bytes) = nil, want an error")
	}
	c.quiet("") // it is still there
	if err := s.Emit("last"); err != nil {
		t.Error(err)
	}
	if err := s.CloseConnWith(4401, "token expired"); err != nil {
		t.Errorf("CloseConnWith(4401) = %v", err)
	}
	c.ended(`42["last"]`, "close 4401")
	if r := take(t, gone); r != eio.ForcedClose {
		t.Errorf("reason = %q, want %q", r, eio.ForcedClose)
	}
	if err := s.CloseConnWith(4401, "again"); err != sio.ErrClosed {
		t.Errorf("CloseConnWith of one that has gone = %v, want %v", err, sio.ErrClosed)
	}
}

// The client's files, and what is not there, have the fields of CORS; only they
// are for everybody.
func TestCORSOfClientFiles(t *testing.T) {
	files := fstest.MapFS{"socket.io.js": {Data: []byte("/*! Socket.IO v4.8.4 */")}}
	srv := serve(t, sio.Options{Client: files, Engine: eio.Options{CORS: &eio.CORS{Origins: []string{"https://app.example"}}}},
		func(srv *sio.Server) { srv.Of("/") })
	for _, c := range []struct {
		path, origin, allowed string
		status                int
	}{
		{"socket.io.js", "https://app.example", "https://app.example", 200},
		{"socket.io.js", "https://evil.example", "", 200},
		{"socket.io.js", "", "", 200},
		{"nothing.js", "https://app.example", "https://app.example", 400},
		{"nothing.js", "https://evil.example", "", 403},
		{"?EIO=4&transport=polling", "https://evil.example", "", 403},
	} {
		r, err := http.NewRequest("GET", "http://"+srv.addr+"/socket.io/"+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Close = true
		if c.origin != "" {
			r.Header.Set("Origin", c.origin)
		}
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if got := resp.Header.Get("Access-Control-Allow-Origin"); resp.StatusCode != c.status || got != c.allowed || !slices.Contains(resp.Header["Vary"], "Origin") {
			t.Errorf("GET %s from %q = %d %v, want %d and %q allowed", c.path, c.origin, resp.StatusCode, resp.Header, c.status, c.allowed)
		}
	}
	if st := srv.Stats().Engine; st.Origins != 2 {
		t.Errorf("Stats().Engine = %+v, want 2 for their origins", st)
	}
}

// Without an option, too, there is a bound on rooms, and on their names: programs
// take them from clients.
func TestRoomsAreBoundedByDefault(t *testing.T) {
	var errs []string
	st := newStage(t, sio.Options{OnError: func(_ sio.Socket, _ string, err error) { errs = append(errs, err.Error()) }})
	x := st.enter(0)
	for i := range 10_001 {
		x.s.Join(fmt.Sprint("room ", i))
	}
	st.sim.Turn()
	if n := len(x.s.Rooms()) - 1; n != 10_000 || st.Stats().Drops.Rooms != 1 {
		t.Errorf("the socket is in %d rooms, and %d were refused, want 10,000 and 1", n, st.Stats().Drops.Rooms)
	}
	x.s.Leave("room 0")
	x.s.Join(strings.Repeat("x", 1025))
	x.s.Join(strings.Repeat("x", 1024))
	st.sim.Turn()
	if n := len(x.s.Rooms()) - 1; n != 10_000 || st.Stats().Drops.Rooms != 2 {
		t.Errorf("the socket is in %d rooms, and %d were refused, want 10,000 and 2", n, st.Stats().Drops.Rooms)
	}
	if want := []string{sio.ErrTooManyRooms.Error(), sio.ErrRoomName.Error()}; !slices.Equal(errs, want) {
		t.Errorf("OnError was told %q, want %q", errs, want)
	}
}

// Clients that come and go leave no inboxes behind that are looked through.
func TestInboxesGoWithTheirSockets(t *testing.T) {
	gone := make(chan struct{}, 1000)
	srv := serve(t, sio.Options{}, func(srv *sio.Server) {
		srv.Of("/x").OnConnect(func(sio.Socket) error { return nil })
		srv.Of("/x").OnDisconnect(func(sio.Socket, sio.Reason) { gone <- struct{}{} })
		echo(srv.Of("/"))
	})
	c := srv.join("40")
	for range 500 {
		c.send("40/x,", "41/x,")
	}
	for range 500 {
		take(t, gone)
	}
	if n := srv.Inboxes(); n > 1 {
		t.Errorf("%d inboxes are left of sockets that have gone, want none", n)
	}
	c.conn.Close()
}
