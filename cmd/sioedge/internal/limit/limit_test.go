package limit

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

// guarded returns a server whose root is guarded, and answers what passes.
func guarded(t *testing.T, l config.Limits, rules func() *Rules) (*siotest.Server, *Limiter, *bytes.Buffer) {
	t.Helper()
	srv := siotest.New(t, sio.Options{})
	var log bytes.Buffer
	x, err := New(l, Options{Now: srv.Now, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	ns := srv.Of("/")
	x.Guard(ns, rules)
	ns.HandleAny(func(_ sio.Socket, m *sio.Msg) error { return m.Ack("ok") })
	return srv, x, &log
}

func rate(t *testing.T, text string) Rate {
	t.Helper()
	r, err := ParseRate(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// send sends events with acknowledgements and says what became of each: o is handled, n
// refused, - not answered.
func send(c *siotest.Client, event string, n int, args ...any) string {
	var all []*siotest.Ack
	for range n {
		if c.Connected() {
			all = append(all, c.Start(event, args...))
		}
	}
	var b strings.Builder
	for _, a := range all {
		switch {
		case !a.Done():
			b.WriteByte('-')
		case a.Args().String() == `"ok"`:
			b.WriteByte('o')
		case a.Args().String() == `{"data":{"code":429},"error":"rate limit"}`:
			b.WriteByte('n')
		default:
			b.WriteString(a.Args().String())
		}
	}
	return b.String()
}

func TestActions(t *testing.T) {
	for action, want := range map[string]string{"nack": "ooonn", "drop": "ooo--", "close": "ooo-", "delay": "oooo-"} {
		srv, x, log := guarded(t, config.Limits{Events: "1/s burst 3 " + action}, nil)
		c, other := srv.Connect("/"), srv.Connect("/")
		if got := send(c, "x", 5); got != want {
			t.Errorf("%s: %s, want %s", action, got, want)
		}
		if got := send(other, "x", 3); got != "ooo" {
			t.Errorf("%s: another socket: %s", action, got)
		}
		if n := x.Stats().Events; n.Delayed+n.Nacked+n.Dropped+n.Closed < 1 || !strings.Contains(log.String(), "key=limits.events") {
			t.Errorf("%s: %+v, and the log has %s", action, n, log)
		}
		if action == "close" {
			if d := c.ExpectDisconnect(); d.Code != 4029 || d.Text != "rate limit" {
				t.Errorf("closed with %d %q", d.Code, d.Text)
			}
			continue
		}
		srv.Advance(time.Hour)
		if got := send(c, "x", 3); got != "ooo" {
			t.Errorf("%s: an hour later: %s", action, got)
		}
	}
}

// What is delayed has, from then on, the speed of the rate.
func TestDelay(t *testing.T) {
	srv, x, _ := guarded(t, config.Limits{Events: "2/s burst 3 delay"}, nil)
	c := srv.Connect("/")
	var acks []*siotest.Ack
	for range 12 {
		acks = append(acks, c.Start("x"))
	}
	done := func() (n int) {
		for _, a := range acks {
			if a.Done() {
				n++
			}
		}
		return n
	}
	for i, want := range []int{4, 5, 6, 7, 8, 9} { // the one that is too many passes
		if got := done(); got != want {
			t.Errorf("after %d halves of a second %d have passed, want %d", i, got, want)
		}
		srv.Advance(500 * time.Millisecond)
	}
	srv.Advance(time.Minute)
	if got := done(); got != 12 || x.Stats().Events.Delayed != 9 {
		t.Errorf("%d have passed, %d of them with a delay", got, x.Stats().Events.Delayed)
	}
}

func TestBytes(t *testing.T) {
	srv, x, _ := guarded(t, config.Limits{Bytes: "1KiB/s burst 4KiB nack"}, nil)
	c := srv.Connect("/")
	if got := send(c, "x", 5, make([]byte, 1000)); got != "ooonn" {
		t.Errorf("attachments: %s", got)
	}
	if got := send(c, "x", 1); got != "o" { // a small one has room
		t.Errorf("a small one: %s", got)
	}
	srv.Advance(time.Second)
	if got := send(c, "x", 2, strings.Repeat("y", 1000)); got != "on" {
		t.Errorf("after a second: %s", got)
	}
	if got := x.Stats().Bytes; got != (Actions{Nacked: 3}) {
		t.Errorf("counted: %+v", got)
	}
}

// The strictest of all that an event is over decides, and what does not pass costs
// nothing.
func TestRulesTogether(t *testing.T) {
	own := &Rules{
		Events:   rate(t, "1/m burst 5 nack"),
		PerEvent: map[string]Rate{"typing": rate(t, "1/m burst 2 drop"), "free": {}, "*": rate(t, "1/m burst 3 nack")},
	}
	srv, x, log := guarded(t, config.Limits{Events: "1/m burst 8 close", PerEvent: map[string]string{"typing": "1/m burst 4 close"}}, func() *Rules { return own })
	c := srv.Connect("/")
	for _, step := range []struct {
		event string
		n     int
		want  string
	}{
		{"typing", 3, "oo-"}, {"typing", 50, strings.Repeat("-", 50)}, // of these nothing is taken from the others
		{"free", 1, "o"}, {"a", 1, "o"}, {"b", 1, "o"}, {"c", 1, "n"}, {"free", 1, "n"},
	} {
		if got := send(c, step.event, step.n); got != step.want {
			t.Fatalf("%d %s: %s, want %s", step.n, step.event, got, step.want)
		}
	}
	st := x.Stats()
	if st.NamespaceEvent.Dropped != 51 || st.NamespaceEvents.Nacked != 2 || st.Events != (Actions{}) || st.Event != (Actions{}) {
		t.Errorf("counted: %+v", st)
	}
	for _, want := range []string{"namespaces[].events.typing.rate", "action=drop", `rate="1/m burst 2 drop"`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log has no %s:\n%s", want, log)
		}
	}
	srv.Advance(time.Hour)
	own = nil
	if got := send(c, "typing", 5); got != "oooo-" || c.Connected() {
		t.Errorf("without rules of the namespace: %s", got)
	}
}

// Names that clients invent make no buckets.
func TestInventedNames(t *testing.T) {
	srv, x, _ := guarded(t, config.Limits{PerEvent: map[string]string{"a": "100/s"}}, func() *Rules {
		return &Rules{PerEvent: map[string]Rate{"a": rate(t, "100/s"), "*": rate(t, "1000/s")}}
	})
	c := srv.Connect("/")
	for i := range 500 {
		c.Emit(fmt.Sprint("invented", i))
		c.Emit("a")
		c.Emit("*")
		c.Emit("")
	}
	s := c.Socket()
	st := x.holders.lock(s)
	defer st.mu.Unlock()
	if h := st.find(s); h == nil || len(h.named) != 3 {
		t.Errorf("the socket has %+v, want buckets of a, twice, and *", h)
	}
}

// Rates may change while clients use them, and go on from what was used up.
func TestReload(t *testing.T) {
	srv, x, _ := guarded(t, config.Limits{Events: "1/s burst 10"}, nil)
	c := srv.Connect("/")
	change := func(events string) {
		t.Helper()
		if err := x.Reload(config.Limits{Events: events}); err != nil {
			t.Fatal(err)
		}
	}
	if got := send(c, "x", 8); got != "oooooooo" {
		t.Fatal(got)
	}
	change("1/m burst 10")
	if got := send(c, "x", 3); got != "oon" {
		t.Errorf("slower: %s", got)
	}
	change("1/s burst 2")
	if got := send(c, "x", 1); got != "n" { // 10 are used up
		t.Errorf("with a smaller burst: %s", got)
	}
	srv.Advance(9 * time.Second)
	if got := send(c, "x", 2); got != "on" {
		t.Errorf("with a smaller burst, later: %s", got)
	}
	change("")
	if got := send(c, "x", 20); got != strings.Repeat("o", 20) {
		t.Errorf("without: %s", got)
	}
	err := x.Reload(config.Limits{Events: "5 KiB/s", Bytes: "fast", PerEvent: map[string]string{"a": "1KiB/s"}, MaxConnsPerUser: -1})
	for _, want := range []string{"limits.events: ", "limits.bytes: ", "limits.per_event.a: ", "not of bytes", "limits.max_conns_per_user: is negative"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Reload with faults: %v, want %s", err, want)
		}
	}
	if got := send(c, "x", 1); got != "o" {
		t.Errorf("after a reload that failed: %s", got)
	}
}

// In no time does more pass than the burst and what the rate gives in it; and who is
// below the rate is never refused.
func TestNeverMoreThanTheRate(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	units := []time.Duration{time.Second, time.Minute, time.Hour}
	for range 30 {
		r := Rate{N: 1 + rnd.Int64N(2000), Burst: 1 + rnd.Int64N(50), Per: units[rnd.IntN(3)], Action: Action(Nack)}
		now := time.Unix(0, 0)
		srv := siotest.New(t, sio.Options{})
		srv.Of("/")
		x, err := New(config.Limits{Events: r.String()}, Options{Now: func() time.Time { return now }, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		greedy, patient := srv.Connect("/").Socket(), srv.Connect("/").Socket()
		in := sio.Inbound{Event: []byte("x"), Bytes: 10}
		passes := func(s sio.Socket) bool {
			v := x.judge(s, in, x.global.Load(), nil)
			return v == sio.Pass
		}
		each := time.Duration((int64(r.Per) + r.N - 1) / r.N) // a token, rounded up
		var passed []time.Time
		for range 400 {
			now = now.Add(time.Duration(rnd.Int64N(int64(3 * each))))
			for range rnd.IntN(4) {
				if passes(greedy) {
					passed = append(passed, now)
				}
			}
		}
		for range 400 {
			if now = now.Add(each + time.Microsecond); !passes(patient) {
				t.Fatalf("%v: one each %v is refused", r, each)
			}
		}
		for i := range passed {
			for j := i; j < len(passed); j++ {
				most := float64(r.Burst) + float64(r.N)*passed[j].Sub(passed[i]).Seconds()/r.Per.Seconds()
				if float64(j-i+1) > most+1e-6 {
					t.Fatalf("%v: %d passed in %v, want at most %v", r, j-i+1, passed[j].Sub(passed[i]), most)
				}
			}
		}
	}
}

// There is something of sockets that have used something up, and of no others.
func TestHoldersAreForgotten(t *testing.T) {
	srv, x, _ := guarded(t, config.Limits{Events: "1/m burst 60"}, nil)
	var clients []*siotest.Client
	for range 200 {
		c := srv.Connect("/")
		c.Emit("x")
		clients = append(clients, c)
	}
	if n := x.Stats().Buckets; n != 200 {
		t.Fatalf("there are %d holders, want 200", n)
	}
	x.holders.sweep(x.clock())
	for _, c := range clients[:50] {
		c.Drop()
	}
	x.holders.sweep(x.clock())
	if n := x.Stats().Buckets; n != 150 {
		t.Errorf("with 50 gone there are %d holders, want 150", n)
	}
	srv.Advance(59 * time.Second)
	clients[199].Emit("x")
	srv.Advance(time.Second)
	x.holders.sweep(x.clock())
	if n := x.Stats().Buckets; n != 1 {
		t.Errorf("when all but one have everything back there are %d holders, want 1", n)
	}
	srv.Advance(time.Minute)
	x.holders.sweep(x.clock())
	for i := range x.holders.parts {
		if p := &x.holders.parts[i]; p.at != nil || p.all != nil {
			t.Errorf("store %d keeps memory", i)
		}
	}

	// Those that come and go do not pile up between sweeps.
	for range 1500 {
		c := srv.Connect("/")
		c.Emit("x")
		c.Drop()
	}
	if n := x.Stats().Buckets; n > 2*stores {
		t.Errorf("of 1500 that came and went there are %d holders", n)
	}
}

// An event that passes costs no allocation, but for the first of a while.
func TestJudgeAllocates(t *testing.T) {
	srv, x, _ := guarded(t, config.Limits{Events: "1000000/s burst 1000000", Bytes: "100MiB/s", PerEvent: map[string]string{"x": "1000000/s"}}, nil)
	own := &Rules{Events: rate(t, "1000000/s"), PerEvent: map[string]Rate{"x": rate(t, "1000000/s")}}
	s := srv.Connect("/").Socket()
	in := sio.Inbound{Event: []byte("x"), Bytes: 10}
	if n := testing.AllocsPerRun(1000, func() { x.judge(s, in, x.global.Load(), own) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
