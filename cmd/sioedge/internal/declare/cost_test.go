package declare

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/action"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/limit"
	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/wsframe"
)

// A scene is ten clients in a room, of which one sends what the others get: by a rule,
// or by a handler that a program has for it.
type scene struct {
	sim   *loop.Sim
	peers []*loop.Peer
	event []byte
}

const sceneName = "/campaigns/42/trends"

// byHand is what the rule of declared does.
func byHand(srv *sio.Server) {
	ns := srv.Of("/campaigns/:id/trends")
	ns.Use(func(s sio.Socket) error { s.Join("campaign:" + s.Param("id")); return nil })
	ns.HandleInline("cursor", func(s sio.Socket, m *sio.Msg) error {
		room := "campaign:" + s.Param("id")
		if !m.In(room) {
			return nil
		}
		return s.To(room).Volatile().Emit("cursor", m.Args)
	})
}

func declared(t testing.TB, srv *sio.Server, auth string) {
	d := config.Namespace{
		Pattern: "/campaigns/:id/trends", Params: map[string]string{"id": "[0-9]+"}, Auth: auth, JoinOnConnect: []string{"campaign:{id}"},
		Events: map[string]config.Event{"cursor": {Action: "relay", To: []string{"campaign:{id}"}, MemberOnly: true, Volatile: true, MaxBytes: 512}},
	}
	quiet := slog.New(slog.DiscardHandler)
	limiter, err := limit.New(config.Limits{}, limit.Options{Now: srv.Now, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	a := newAuthority(t, jwtSettings, quiet, false)
	a.Register(srv)
	if err := New(srv, Parts{Authority: a, Limiter: limiter, Logger: quiet}).Apply(compile(t, d)); err != nil {
		t.Fatal(err)
	}
}

// scenes are the ways of doing the same.
var scenes = []struct {
	name  string
	setup func(t testing.TB, srv *sio.Server)
}{
	{"by hand", func(_ testing.TB, srv *sio.Server) { byHand(srv) }},
	{"declared", func(t testing.TB, srv *sio.Server) { declared(t, srv, "none") }},
	{"declared, with users", func(t testing.TB, srv *sio.Server) { declared(t, srv, "required") }},
	{"to a backend", toBackend},
}

// A relayBackend does with an event at once what the rule of declared does.
type relayBackend struct{ backend }

func (b *relayBackend) Event(s sio.Socket, m *sio.Msg, _ action.Entry, _ action.EventOptions) error {
	const room = "campaign:42"
	if !m.In(room) {
		return nil
	}
	return s.To(room).Volatile().Emit("cursor", m.Args)
}

// toBackend has the event go to a backend, with all that a rule may look at before.
func toBackend(t testing.TB, srv *sio.Server) {
	p, err := Compile([]config.Namespace{{
		Pattern: "/campaigns/:id/trends", JoinOnConnect: []string{"campaign:{id}"}, Limits: config.NamespaceLimits{Events: "100000/s"},
		Events: map[string]config.Event{"cursor": {Action: "webhook", MaxBytes: 512}},
	}}, Options{Auth: true, Backends: known})
	if err != nil {
		t.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	limiter, err := limit.New(config.Limits{}, limit.Options{Now: srv.Now, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	a, b := newAuthority(t, jwtSettings, quiet, false), &relayBackend{}
	a.Register(srv)
	if err := New(srv, Parts{Authority: a, Limiter: limiter, Backend: func(string) action.Backend { return b }, Logger: quiet}).Apply(p); err != nil {
		t.Fatal(err)
	}
}

func newScene(t testing.TB, setup func(t testing.TB, srv *sio.Server)) *scene {
	t.Helper()
	o := sio.Options{Logger: slog.New(slog.DiscardHandler)}
	o.Loop.Loops = 1
	srv, sim, err := sio.NewSim(o)
	if err != nil {
		t.Fatal(err)
	}
	setup(t, srv)
	x := &scene{sim: sim, event: frameOf(`42` + sceneName + `,["cursor",{"x":125,"y":301}]`)}
	for range 10 {
		p := sim.Connect(0)
		p.Send(wsframe.AppendClientHandshake(nil, "h", "/socket.io/?EIO=4&transport=websocket", [16]byte{1}))
		p.Send(frameOf(`40` + sceneName + `,{"token":"` + token(srv.Now(), "ann", nil) + `"}`))
		x.peers = append(x.peers, p)
	}
	got := make([]string, len(x.peers))
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) { // middlewares have goroutines
		sim.Turn()
		ready := true
		for i, p := range x.peers {
			got[i] += string(p.Received())
			ready = ready && strings.Contains(got[i], `40`+sceneName+`,{"sid"`)
		}
		if ready {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("got %q", got)
		}
	}
	// OnConnect runs on a goroutine as well: until it has, events wait.
	for end := time.Now().Add(10 * time.Second); x.send() != 9; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nobody gets the event")
		}
	}
	return x
}

func frameOf(text string) []byte {
	return wsframe.AppendMaskedFrame(nil, wsframe.Text, []byte(text), [4]byte{1, 2, 3, 4})
}

// send sends the event, and returns how many got it.
func (x *scene) send() (n int) {
	x.peers[0].Send(x.event)
	x.sim.Turn()
	for _, p := range x.peers {
		if len(p.Received()) > 0 {
			n++
		}
	}
	return n
}

// A rule allocates what a handler does that says the same.
func TestARuleAllocatesNoMoreThanAHandler(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector has more escape")
	}
	var allocs []float64
	for _, s := range scenes {
		x := newScene(t, s.setup)
		allocs = append(allocs, testing.AllocsPerRun(200, func() {
			if n := x.send(); n != 9 {
				t.Fatalf("%s: %d got it", s.name, n)
			}
		}))
	}
	for i, n := range allocs {
		most := allocs[0]
		if scenes[i].name == "to a backend" {
			most-- // the name of the room, which the others make
		}
		if n > most {
			t.Errorf("%s: %v allocations, want %v as by hand", scenes[i].name, n, most)
		}
	}
}

// An event to the nine others of a room.
func BenchmarkRelay(b *testing.B) {
	for _, s := range scenes {
		b.Run(s.name, func(b *testing.B) {
			x := newScene(b, s.setup)
			b.ReportAllocs()
			for b.Loop() {
				x.send()
			}
		})
	}
}
