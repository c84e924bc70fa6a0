package demo

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

// lobby is a server with the chat, and who joins a room of it when he connects.
func lobby(t *testing.T) (srv *siotest.Server, chat *Chat, enter func(nick string) *siotest.Client) {
	srv = siotest.New(t, sio.Options{})
	chat = Serve(srv.Of("/"))
	return srv, chat, func(nick string) *siotest.Client {
		t.Helper()
		return srv.ConnectWith("/", siotest.Options{Auth: joinRequest{"lobby", nick}})
	}
}

// members is what a client is told of a room's members.
type members struct {
	Room    string
	Count   int
	Members []member
}

func (m members) nicks() (nicks []string) {
	for _, x := range m.Members {
		nicks = append(nicks, x.Nick)
	}
	return nicks
}

// refusal asks for something, and returns the error that the client is answered; ""
// if there is none.
func refusal(c *siotest.Client, event string, arg any) string {
	var answer struct{ Error string }
	c.EmitAck(event, arg).Decode(&answer)
	return answer.Error
}

func TestJoin(t *testing.T) {
	_, _, enter := lobby(t)
	alice := enter("alice")
	if m := siotest.Expect[members](alice, "members"); m.Count != 1 || m.Room != "lobby" || !slices.Equal(m.nicks(), []string{"alice"}) {
		t.Errorf("alice is told of %+v", m)
	}
	bob := enter("bob")
	var joined struct {
		Room   string
		Member member
	}
	if alice.Expect("joined", &joined); joined.Room != "lobby" || joined.Member != (member{bob.ID(), "bob"}) {
		t.Errorf("alice is told that %+v has joined", joined)
	}
	for _, c := range []*siotest.Client{alice, bob} {
		if m := siotest.Expect[members](c, "members"); m.Count != 2 || !slices.Equal(m.nicks(), []string{"alice", "bob"}) {
			t.Errorf("%v is told of %+v", c, m)
		}
		c.ExpectNothing()
	}

	// Who joins again, and is there, changes nothing.
	if a := siotest.Ask[joinAnswer](bob, "join", joinRequest{" lobby ", "bob "}); a.Count != 2 || a.Room != "lobby" || a.Nick != "bob" {
		t.Errorf("bob is answered %+v", a)
	}
	alice.ExpectNothing()

	// Another room is left for.
	if a := siotest.Ask[joinAnswer](bob, "join", joinRequest{"kitchen", "bob"}); a.Count != 1 || len(a.History) != 0 {
		t.Errorf("bob is answered %+v", a)
	}
	if alice.Expect("left", &joined); joined.Member.Nick != "bob" {
		t.Errorf("alice is told that %+v has left", joined)
	}
	alice.Expect("members")
	bob.Drop()
	alice.ExpectNothing()
}

func TestLeaveByLosingTheConnection(t *testing.T) {
	_, chat, enter := lobby(t)
	alice, bob := enter("alice"), enter("bob")
	alice.Received()
	bob.Stall(true)
	alice.Settle()
	bob.Drop()
	alice.Expect("left")
	if m := siotest.Expect[members](alice, "members"); m.Count != 1 {
		t.Errorf("alice is told of %+v", m)
	}
	alice.Disconnect()
	if len(chat.users) != 0 || len(chat.rooms) != 0 {
		t.Errorf("of an empty lobby there is left %v %v", chat.users, chat.rooms)
	}
}

func TestMessages(t *testing.T) {
	srv, _, enter := lobby(t)
	alice, bob, carol := enter("alice"), enter("bob"), srv.Connect("/")
	alice.Received()
	bob.Received()
	type say struct{ Room, Text, Key string }
	done := siotest.Ask[receipt](alice, "message", say{"lobby", "hello", "k1"})
	var e entry
	if bob.Expect("message", &e); e.Text != "hello" || e.From.Nick != "alice" || e.ID != done.ID || e.Key != "k1" || e.At != done.At {
		t.Errorf("bob received %+v", e)
	}
	alice.ExpectNothing()
	carol.ExpectNothing()
	for range maxHistory {
		siotest.Ask[receipt](bob, "message", say{"lobby", "more", "k"})
	}
	a := siotest.Ask[joinAnswer](carol, "join", joinRequest{"lobby", "carol"})
	if len(a.History) != maxHistory || a.History[0].Text != "more" || a.Count != 3 {
		t.Errorf("carol finds %d members and %d entries, want 3 and the last %d", a.Count, len(a.History), maxHistory)
	}
	for want, m := range map[string]say{
		"text must have 1 to 2000 characters": {"lobby", " ", "k"},
		"key must have 1 to 64 characters":    {"lobby", "x", ""},
		"you are not in this room":            {"kitchen", "x", "k"},
	} {
		if got := refusal(bob, "message", m); got != want {
			t.Errorf("%+v is answered %q, want %q", m, got, want)
		}
	}
	for want, r := range map[string]joinRequest{
		"nick must have 1 to 24 characters": {"lobby", strings.Repeat("ä", 25)},
		"room must have 1 to 32 characters": {"", "carol"},
	} {
		if got := refusal(carol, "join", r); got != want {
			t.Errorf("%+v is answered %q, want %q", r, got, want)
		}
	}
}

func TestImages(t *testing.T) {
	_, _, enter := lobby(t)
	alice, bob := enter("alice"), enter("bob")
	alice.Received()
	bob.Received()
	picture := map[string]any{"room": "lobby", "name": "a.png", "type": "image/png", "key": "k", "data": []byte("png")}
	siotest.Ask[receipt](alice, "image", picture)
	var got image
	if bob.Expect("image", &got); string(got.Data) != "png" || got.Name != "a.png" || got.Type != "image/png" {
		t.Errorf("bob received %+v", got)
	}
	for want, data := range map[string]any{"": []byte("x"), "image must have 1 to 500000 bytes": []byte{}} {
		picture["data"] = data
		if got := refusal(alice, "image", picture); got != want {
			t.Errorf("%d bytes are answered %q, want %q", len(data.([]byte)), got, want)
		}
	}
	picture["type"] = "image/svg+xml"
	if got := refusal(alice, "image", picture); got != "image must be png, jpeg, gif or webp" {
		t.Errorf("a picture with programs in it is answered %q", got)
	}
}

func TestTyping(t *testing.T) {
	srv, _, enter := lobby(t)
	alice, bob := enter("alice"), enter("bob")
	alice.Received()
	bob.Received()
	type typing struct {
		Room string
		On   bool
	}
	alice.Emit("typing", typing{"lobby", true})
	if bob.Expect("typing"); !srv.ExpectEmit("typing").Volatile {
		t.Error("that somebody types is not volatile")
	}
	alice.Emit("typing", typing{"kitchen", true}) // where she is not
	bob.ExpectNothing()
	if got := siotest.Ask[int](bob, "rtt", 7); got != 7 {
		t.Errorf("rtt is answered %d, want 7", got)
	}
	srv.Advance(time.Hour)
	bob.ExpectNothing()
}

// Others are told up to where somebody has read, and who comes later is, as long as that
// one is there.
func TestReadReceipts(t *testing.T) {
	srv, _, enter := lobby(t)
	alice, bob, carol := enter("alice"), enter("bob"), srv.Connect("/")
	done := siotest.Ask[receipt](alice, "message", map[string]string{"room": "lobby", "text": "hello", "key": "k"})
	alice.Received()
	bob.Received()
	type read struct{ Room, ID string }
	bob.Emit("read", read{"lobby", done.ID})
	if got, want := siotest.Expect[seen](alice, "read"), (seen{"lobby", "bob", done.ID}); got != want {
		t.Errorf("alice is told of %+v, want %+v", got, want)
	}
	for _, r := range []read{{"lobby", done.ID}, {"lobby", done.ID + "0"}, {"lobby", "x"}, {"kitchen", done.ID}} {
		bob.Emit("read", r) // again, of what nobody has said, of nothing, elsewhere
	}
	carol.Emit("read", read{"lobby", done.ID})
	alice.ExpectNothing()
	bob.ExpectNothing()
	if a := siotest.Ask[joinAnswer](carol, "join", joinRequest{"lobby", "carol"}); !slices.Equal(a.Read, []seen{{User: "bob", ID: done.ID}}) {
		t.Errorf("carol is told that there were read %+v", a.Read)
	}
	bob.Drop()
	alice.Received()
	if a := siotest.Ask[joinAnswer](carol, "join", joinRequest{"lobby", "carol"}); len(a.Read) != 0 {
		t.Errorf("of who has left is kept %+v", a.Read)
	}
}
