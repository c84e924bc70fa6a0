package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/sioedge/sioedge/rooms"
)

// control returns a connection to Redis for the test itself.
func control(t testing.TB, addr string, password ...string) func(words ...string) rueidis.RedisResult {
	t.Helper()
	var client rueidis.Client
	var err error
	for range 50 { // one that has just begun to listen may cut the first that come
		client, err = rueidis.NewClient(rueidis.ClientOption{
			InitAddress: []string{addr}, Password: strings.Join(password, ""), DisableCache: true, ForceSingleClient: true,
		})
		if err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return func(words ...string) rueidis.RedisResult {
		return client.Do(context.Background(), client.B().Arbitrary(words...).Build())
	}
}

// killReaders closes the connections on which streams are read, and returns how
// many there were.
func killReaders(do func(words ...string) rueidis.RedisResult) (n int) {
	list, _ := do("CLIENT", "LIST").ToString()
	for line := range strings.Lines(list) {
		if strings.Contains(line, "cmd=xread ") {
			id, _, _ := strings.Cut(strings.TrimPrefix(line, "id="), " ")
			if killed, _ := do("CLIENT", "KILL", "ID", id).AsInt64(); killed == 1 {
				n++
			}
		}
	}
	return n
}

// A server whose connection fails again and again gets everything, in order.
func TestStreamsLoseNothing(t *testing.T) {
	addr := server(t)
	hosts, adapters := join(t, "streams", addr, 2, Options{Prefix: "p"})
	do := control(t, addr)
	const n, kills = 3000, 5
	killed := 0
	var want []string
	for i := range n {
		adapters[0].Emit(rooms.Target{Namespace: "/"}, rooms.Event{Data: fmt.Appendf(nil, `["e",%d]`, i)})
		want = append(want, fmt.Sprintf(`deliver {/ [] []} ["e",%d] [] false false`, i))
		if i%(n/kills) == n/kills/2 {
			eventually(t, "killing readers", func() bool { killed += killReaders(do); return killed > 2*i*kills/n })
		}
	}
	if got := hosts[1].got(t, n); !slices.Equal(got, want) {
		t.Errorf("it was told %d things, want the %d that were emitted, in order", len(got), n)
	}
	if killed < kills {
		t.Errorf("%d connections were killed, want at least %d", killed, kills)
	}
}

// What is added to a stream that nobody has added to before is read, however long
// that takes; and what was there before is not.
func TestStreamsBeginAtTheirEnd(t *testing.T) {
	addr := server(t)
	do := control(t, addr)
	add := func(id, ns, event string) {
		do("XADD", "p", id, "uid", "x", "nsp", ns, "type", "3", "data", `{"packet":{"type":2,"data":["`+event+`"]},"opts":{"rooms":[],"except":[],"flags":{}}}`)
	}
	add("*", "/", "before")
	hosts, adapters := join(t, "streams", addr, 1, Options{Prefix: "p"})
	add("*", "/not here", "e")
	do("XADD", "p", "*", "what", "else") // Node's servers do not look at such
	do("XADD", "p", "*", "uid", "x", "nsp", "/", "type", "3", "data", "{")
	add("*", "/", "after")
	if got := hosts[0].got(t, 1); !slices.Equal(got, []string{`deliver {/ [] []} ["after"] [] false false`}) {
		t.Errorf("it was told %q, want what was added after it began", got)
	}
	if s := adapters[0].Status(); s.Discarded != 2 || s.Malformed != 1 {
		t.Errorf("Status = %+v, want 2 discarded, 1 malformed", s)
	}
	// Redis has lost the stream, and its clock is behind.
	do("DEL", "p")
	add("1-0", "/", "lost")
	killReaders(do)
	eventually(t, "reading again", func() bool {
		list, _ := do("CLIENT", "LIST").ToString()
		return strings.Contains(list, "cmd=xread ")
	})
	add("2-0", "/", "in a new stream")
	if got := hosts[0].got(t, 1); !slices.Equal(got, []string{`deliver {/ [] []} ["in a new stream"] [] false false`}) {
		t.Errorf("it was told %q, want what is in the new stream", got)
	}
}

// Node's servers write to streams with a negative number, and do not read them.
func TestStreamsAreReadThatNodeDoesNotRead(t *testing.T) {
	addr := server(t)
	hosts, adapters := join(t, "streams, 4, sharded", addr, 1, Options{Prefix: "p"})
	adapters[0].Open("/campaigns/1/trends")
	control(t, addr)("XADD", "p--1", "*", "uid", "x", "nsp", "/campaigns/1/trends", "type", "3",
		"data", `{"packet":{"type":2,"data":["e"]},"opts":{"rooms":[],"except":[],"flags":{}}}`)
	if got := hosts[0].got(t, 1); !slices.Equal(got, []string{`deliver {/campaigns/1/trends [] []} ["e"] [] false false`}) {
		t.Errorf("it was told %q", got)
	}
}

func TestStreamsOnTheNodesOfACluster(t *testing.T) {
	addr := masters(t, 1)[0].addr
	hosts, adapters := join(t, "streams, 4, sharded", addr, 2, Options{Prefix: "p"})
	names := []string{"/", "/admin", "/news", "/users", "/campaigns/1/trends"}
	var want []string
	for _, ns := range names {
		adapters[0].Open(ns)
		adapters[1].Open(ns)
		adapters[0].Emit(rooms.Target{Namespace: ns}, rooms.Event{Data: []byte(`["e"]`)})
		want = append(want, `deliver {`+ns+` [] []} ["e"] [] false false`)
	}
	got := hosts[1].got(t, len(want))
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("it was told %q, want %q", got, want)
	}
}

// A recorder that notes what it is told.
type recorder struct {
	mu      sync.Mutex
	entries []rooms.Entry
	passed  rooms.Place
}

func (r *recorder) Recorded(_ string, e rooms.Entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.entries = append(r.entries, e)
}

func (r *recorder) Passed(_ string, p rooms.Place) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.passed = p
}

func (r *recorder) got(t *testing.T, n int) []rooms.Entry {
	t.Helper()
	eventually(t, "what was to be recorded", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.entries) >= n && r.passed >= r.entries[n-1].Place
	})
	return r.entries
}

// log starts a Log whose events are recorded.
func log(t *testing.T, addr string, o Options) (rooms.Log, *recorder) {
	t.Helper()
	a, r := Streams(addr, o).(rooms.Log), &recorder{}
	a.Record(r)
	if err := a.Start(&fake{node: newID(4)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close(context.Background()) })
	a.Open("/")
	eventually(t, "being up", func() bool { return a.Status().Up })
	return a, r
}

// What a server appends comes back to it with its number, and to the others as an
// event; both see the same order.
func TestLogHasOneOrder(t *testing.T) {
	addr := server(t)
	a, ra := log(t, addr, Options{})
	b, rb := log(t, addr, Options{})
	all := rooms.Target{Namespace: "/"}
	const n = 200
	for i := range uint64(n) {
		a.Append(all, rooms.Event{Data: []byte(`["a"]`)}, i+1)
		b.Append(all, rooms.Event{Data: []byte(`["b"]`)}, i+1)
	}
	as, bs := ra.got(t, 2*n), rb.got(t, 2*n)
	for i := range as {
		if as[i].Place != bs[i].Place || (as[i].Own == 0) == (bs[i].Own == 0) || i > 0 && as[i].Place <= as[i-1].Place {
			t.Fatalf("entry %d is %v here and %v there", i, as[i], bs[i])
		}
	}
}

func TestLogKeepsWhatIsMissed(t *testing.T) {
	addr := server(t)
	a, r := log(t, addr, Options{})
	all := rooms.Target{Namespace: "/"}
	for i := range uint64(readCount + 3) {
		a.Append(all, rooms.Event{Data: fmt.Appendf(nil, `["e",%d]`, i)}, i+1)
	}
	a.Emit(all, rooms.Event{Data: []byte(`["v"]`), Volatile: true})
	a.Append(rooms.Target{Namespace: "/other"}, rooms.Event{Data: []byte(`["other"]`)}, 1000)
	a.Append(rooms.Target{Namespace: "/:pattern"}, rooms.Event{Data: []byte(`["pattern"]`)}, 1001)
	entries := r.got(t, readCount+5)
	read := func(from, to rooms.Place) (got []string, complete bool) {
		complete, err := a.Missed(context.Background(), "/", "/:pattern", from, to, func(e rooms.Entry) bool {
			got = append(got, string(e.Event.Data))
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
		return got, complete
	}
	got, complete := read(entries[0].Place, entries[len(entries)-1].Place)
	if len(got) != readCount+3 || got[0] != `["e",1]` || got[readCount+2] != `["pattern"]` || !complete {
		t.Errorf("Missed = %d events, %t, want %d, and that these are all", len(got), complete, readCount+3)
	}
	if got, complete := read(1, entries[2].Place); len(got) != 3 || !complete {
		t.Errorf("Missed since before the first = %q, %t, want three, and that these are all", got, complete)
	}
	control(t, addr)("XTRIM", "socket.io", "MAXLEN", "3")
	if _, complete := read(entries[0].Place, entries[2].Place); complete {
		t.Error("Missed of what is not kept = true, want that it is not complete")
	}
}

func TestLogGivesASessionOnce(t *testing.T) {
	addr := server(t)
	a, _ := log(t, addr, Options{})
	want := rooms.Session{ID: "s", PID: "p", Rooms: []string{"s", "r"}, Data: []byte(`{"a":1}`), Namespace: "/", Since: 7 << 20,
		Until: time.UnixMilli(1_900_000_000_000), At: 9 << 20, Behind: 3, Identity: "alice", Direct: []byte(`[{"at":"9-0.3","data":["e"]}]`)}
	ctx := context.Background()
	a.Keep(want, time.Minute)
	got, ok, err := a.Take(ctx, "p")
	if err != nil || !ok || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("Take = %v, %t, %v, want %v", got, ok, err, want)
	}
	if _, ok, err := a.Take(ctx, "p"); ok || err != nil {
		t.Errorf("a second Take = %t, %v, want none", ok, err)
	}
	// What goes with a session beside the log is nothing that a server of Node could
	// replay: it must not take it for one.
	do := control(t, addr)
	a.Keep(want, time.Minute)
	eventually(t, "keeping the session", func() bool {
		value, err := do("GET", "sio:session:p").ToString()
		return err == nil && strings.HasPrefix(value, "w") // 0xc1, which begins no value of MessagePack
	})
	a.Keep(want, time.Millisecond)
	eventually(t, "forgetting the session", func() bool {
		n, err := do("EXISTS", "sio:session:p").AsInt64()
		return err == nil && n == 0 && a.(*streams).b.queue.empty()
	})
	if _, ok, err := a.Take(ctx, "p"); ok || err != nil {
		t.Errorf("Take behind the window = %t, %v, want none", ok, err)
	}
	// As a server of Node sets it.
	do("SET", "sio:session:zHrO_QyNVBakYw5QAAAB", "hKNzaWS0djFockRwQmFxdjRvSkY5NEFBQUGjcGlktHpIck9fUXlOVkJha1l3NVFBQUFCpXJvb21zkrR2MWhyRHBCYXF2NG9KRjk0QUFBQaVyb29tMaRkYXRhgaR1c2VygaFuo2JvYg==")
	got, ok, err = a.Take(ctx, "zHrO_QyNVBakYw5QAAAB")
	if err != nil || !ok || got.ID != "v1hrDpBaqv4oJF94AAAA" || string(got.Data) != `{"user":{"n":"bob"}}` || got.Since != 0 || got.Rooms[1] != "room1" {
		t.Errorf("Take of Node's = %v, %t, %v", got, ok, err)
	}
}

// A Redis whose clock has stepped back counts on at the last time that it had; what
// it counts is set on before a place has no room for it.
func TestAStreamWhoseClockIsAhead(t *testing.T) {
	addr := server(t)
	do := control(t, addr)
	const ahead, n = 9_999_999_999_999, 1000
	add := func(number int) {
		t.Helper()
		if err := do("XADD", "socket.io", fmt.Sprintf("%d-%d", ahead, number), "x", "y").Error(); err != nil {
			t.Fatal(err)
		}
	}
	last := func() (number int) {
		t.Helper()
		entries, err := do("XREVRANGE", "socket.io", "+", "-", "COUNT", "1").AsXRange()
		if err != nil || len(entries) != 1 {
			t.Fatal(entries, err)
		}
		_, text, _ := strings.Cut(entries[0].ID, "-")
		number, _ = strconv.Atoi(text)
		return number
	}
	add(600_000)
	hosts, adapters := join(t, "streams", addr, 2, Options{Prefix: "socket.io"})
	emit := func() {
		t.Helper()
		for i := range n {
			adapters[0].Emit(rooms.Target{Namespace: "/"}, rooms.Event{Data: fmt.Appendf(nil, "[%d]", i)})
		}
		for i, note := range hosts[1].got(t, n) {
			if want := fmt.Sprintf("deliver {/ [] []} [%d] [] false false", i); note != want {
				t.Fatalf("received %s, want %s", note, want)
			}
		}
		if got := last(); got > 2*n {
			t.Errorf("the last number is %d, want it to have begun again", got)
		}
	}
	emit() // they began when it was ahead already
	if err := do("XADD", "socket.io", fmt.Sprintf("%d-%d", ahead+5, 1<<20-10), "x", "y").Error(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "setting it on", func() bool { return last() == 0 })
	emit()
	for i, a := range adapters {
		if got := a.Status().Malformed; got != 0 {
			t.Errorf("server %d: %d entries are malformed, want none", i, got)
		}
	}
}

// A session that a client names costs Redis one command, whether there is one or
// not, and so many at one time.
func TestSessionsThatClientsNameCostLittle(t *testing.T) {
	addr := server(t)
	do := control(t, addr)
	_, adapters := join(t, "streams", addr, 1, Options{Prefix: "socket.io"})
	s := adapters[0].(*streams)
	ctx := context.Background()
	before, err := do("INFO", "commandstats").ToString()
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		if _, ok, err := s.Take(ctx, fmt.Sprint("nobody", i)); ok || err != nil {
			t.Fatalf("Take = %t, %v, want nothing", ok, err)
		}
	}
	if _, ok, err := s.Take(ctx, strings.Repeat("x", 1000)); ok || err != nil {
		t.Errorf("Take = %t, %v, want nothing", ok, err)
	}
	after, err := do("INFO", "commandstats").ToString()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(before, "getdel") || !strings.Contains(after, "cmdstat_getdel:calls=10,") || strings.Contains(after, "cmdstat_multi") {
		t.Errorf("it cost %s, want a GETDEL each", after)
	}
	for range maxTakes {
		s.takes <- struct{}{}
	}
	if _, ok, err := s.Take(ctx, "p"); ok || !errors.Is(err, errBusy) || s.Status().Refused != 1 {
		t.Errorf("Take when there are too many = %t, %v, %d refused, want errBusy and 1", ok, err, s.Status().Refused)
	}
}

// The clients of a server that has gone come back together, all with their sessions.
func TestManySessionsAreTakenAtOnce(t *testing.T) {
	const many = 4000
	_, adapters := join(t, "streams", server(t), 1, Options{})
	s := adapters[0].(*streams)
	for i := range many {
		s.Keep(rooms.Session{ID: "id", PID: fmt.Sprint("p", i), Namespace: "/"}, time.Hour)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var failed atomic.Int64
	var all sync.WaitGroup
	for i := range many {
		all.Go(func() {
			if x, ok, err := s.Take(ctx, fmt.Sprint("p", i)); !ok || err != nil || x.ID != "id" {
				failed.Add(1)
			}
		})
	}
	all.Wait()
	if n := failed.Load(); n != 0 {
		t.Errorf("%d of %d sessions were not found", n, many)
	}
}
