package redis

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sioedge/sioedge/rooms"
)

// A ledger is the host of a server in all its processes: it has what each publisher has
// said, by number.
type ledger struct {
	fake

	mu     sync.Mutex
	last   map[string]int
	wrongs []string
}

func newLedger(node string) *ledger { return &ledger{fake: fake{node: node}, last: map[string]int{}} }

func (l *ledger) Deliver(_ rooms.Target, e rooms.Event) {
	var words []any
	if err := json.Unmarshal(e.Data, &words); err != nil || len(words) != 2 {
		return
	}
	l.came(words[0].(string), int(words[1].(float64)))
}

// Changes are numbered by the names of rooms: "publisher/number".
func (l *ledger) Join(_ rooms.Target, names []string) {
	var n int
	who, number, _ := strings.Cut(names[0], "/")
	_, _ = fmt.Sscan(number, &n)
	l.came(who, n)
}

func (l *ledger) came(who string, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n != l.last[who]+1 && len(l.wrongs) < 20 {
		l.wrongs = append(l.wrongs, fmt.Sprintf("%s: %d behind %d", who, n, l.last[who]))
	}
	l.last[who] = n
}

func (l *ledger) had(who string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last[who]
}

// check waits until all that was said has come, and says what was lost, or has come twice,
// or in another order.
func (l *ledger) check(t *testing.T, said map[string]int) {
	t.Helper()
	for who, n := range said {
		eventually(t, fmt.Sprintf("that %d of %s come to %s", n, who, l.node), func() bool { return l.had(who) >= n })
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, x := range l.wrongs {
		t.Errorf("at %s: %s", l.node, x)
	}
	for who, n := range said {
		if l.last[who] != n {
			t.Errorf("at %s: %d of %s, want %d", l.node, l.last[who], who, n)
		}
	}
}

// A talker emits, without pause, to all there is in turn.
type talker struct {
	end, ended chan struct{}
	n          int
}

// talk begins behind so many.
func talk(a interface {
	Emit(rooms.Target, rooms.Event)
	Join(rooms.Target, []string)
}, who string, said int, to ...string) *talker {
	k := &talker{end: make(chan struct{}), ended: make(chan struct{}), n: said}
	// ends with stop
	go func() {
		defer close(k.ended)
		for {
			select {
			case <-k.end:
				return
			case <-time.After(100 * time.Microsecond):
			}
			for _, room := range to {
				k.n++
				t := rooms.Target{Namespace: "/"}
				if room != "" {
					t.Rooms = []string{room}
				}
				if k.n%5 == 0 {
					a.Join(rooms.Target{Namespace: "/"}, []string{fmt.Sprintf("%s/%d", who, k.n)})
				} else {
					a.Emit(t, rooms.Event{Data: fmt.Appendf(nil, "[%q,%d]", who, k.n)})
				}
			}
		}
	}()
	return k
}

// stop returns how much was said.
func (k *talker) stop() int {
	close(k.end)
	<-k.ended
	return k.n
}

// A lineage is a server that goes from one process to the next.
type lineage struct {
	t    testing.TB
	host rooms.Host
	kind string
	addr string
	o    Options
	now  rooms.Movable
}

func (x *lineage) make() rooms.Movable {
	x.o.Logger = slog.New(slog.DiscardHandler)
	return kinds[x.kind](x.addr, x.o).(rooms.Movable)
}

func lineageOf(t testing.TB, kind, addr string, h rooms.Host, o Options) *lineage {
	t.Helper()
	x := &lineage{t: t, host: h, kind: kind, addr: addr, o: o}
	x.now = x.make()
	if err := x.now.Start(h); err != nil {
		t.Fatal(err)
	}
	x.now.Open("/")
	x.now.Occupied("/", "r")
	t.Cleanup(func() { x.close(x.now) })
	eventually(t, "being up", func() bool { return x.now.Status().Up })
	return x
}

func (x *lineage) close(a rooms.Adapter) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := a.Close(ctx); err != nil {
		x.t.Errorf("Close: %v", err)
	}
}

// heir starts one, which the server goes to with next.
func (x *lineage) heir() rooms.Movable {
	x.t.Helper()
	offer, err := x.now.Offer()
	if err != nil {
		x.t.Fatal(err)
	}
	next := x.make()
	if err := errors.Join(next.Inherit(offer), next.Start(x.host)); err != nil {
		x.t.Fatal(err)
	}
	next.Open("/")
	return next
}

// split goes as far as that the heir can succeed.
func (x *lineage) split(ctx context.Context, next rooms.Movable) (place []byte, err error) {
	offer, err := x.now.Offer()
	if err == nil {
		err = next.Follow(ctx, offer)
	}
	if err == nil {
		place, err = x.now.Mark(ctx)
	}
	return place, err
}

// hand gives the server to another process, all in all.
func (x *lineage) hand(between func(), names ...string) {
	x.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	next := x.heir()
	place, err := x.split(ctx, next)
	if err != nil {
		x.t.Fatal(err)
	}
	between()
	for _, name := range append(names, "r") {
		next.Occupied("/", name)
	}
	if err := next.Succeed(place); err != nil {
		x.t.Fatal(err)
	}
	if err := x.now.Gone(ctx, false); err != nil {
		x.t.Fatal(err)
	}
	x.close(x.now)
	x.now = next
}

// While one server goes from process to process, each message of others comes to it once
// and in order, and each of its own to the others, who see nothing happen.
func TestEachMessageComesOnceThroughHandovers(t *testing.T) {
	addr := server(t)
	for kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			o := Options{Prefix: strings.ReplaceAll(kind, " ", "")}
			moves, stays := newLedger("nod0"), newLedger("nod1")
			other := lineageOf(t, kind, addr, stays, o)
			x := lineageOf(t, kind, addr, moves, o)
			eventually(t, "knowing each other", func() bool {
				return len(x.now.Status().Peers) == 1 && len(other.now.Status().Peers) == 1 && coreOf(x.now).peers.has(coreOf(other.now).uid) && len(coreOf(other.now).peers.having("/")) == 1
			})
			uid := coreOf(x.now).uid
			talkers := map[string]*talker{"other": talk(other.now, "other", 0, "", "r", "nod0abcdefghijklmnop")}
			if strings.HasPrefix(kind, "classic") {
				e := NewEmitter(addr, Options{Prefix: o.Prefix, Logger: slog.New(slog.DiscardHandler)})
				t.Cleanup(func() { _ = e.Close(context.Background()) })
				talkers["emitter"] = talk(e.c, "emitter", 0, "r", "", "r")
			}
			said := 0
			for range 10 {
				own := talk(x.now, "own", said, "", "r", "nod1abcdefghijklmnop")
				eventually(t, "more", func() bool { return stays.had("own") > said+30 })
				said = own.stop()
				before := moves.had("other")
				x.hand(func() {})
				eventually(t, "more", func() bool { return moves.had("other") > before+30 })
				if c := coreOf(other.now); !c.peers.has(uid) || c.peers.count() != 1 {
					t.Fatalf("the others know %v, want %s alone", c.peers.alive(), uid)
				}
			}
			all := map[string]int{}
			for who, k := range talkers {
				all[who] = k.stop()
			}
			moves.check(t, all)
			all = map[string]int{"own": said}
			stays.check(t, all)
			if n := coreOf(other.now).b.malformed.Load(); n > 0 {
				t.Errorf("%d messages could not be read by others", n)
			}
		})
	}
}

// What others ask is answered by all while one server goes from process to process, and
// nobody is counted twice.
func TestQuestionsAreAnsweredThroughHandovers(t *testing.T) {
	addr := server(t)
	for kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			o := Options{Prefix: strings.ReplaceAll(kind, " ", ""), Timeout: patience}
			other := lineageOf(t, kind, addr, &fake{node: "nod1"}, o)
			x := lineageOf(t, kind, addr, &fake{node: "nod0"}, o)
			eventually(t, "knowing each other", func() bool {
				return len(coreOf(other.now).peers.having("/")) == 1 && len(coreOf(x.now).peers.having("/")) == 1
			})
			all := rooms.Target{Namespace: "/"}
			asks := map[string]func(a rooms.Movable, ctx context.Context) (n, want int, err error){
				"Members": func(a rooms.Movable, ctx context.Context) (int, int, error) {
					members, err := a.Members(ctx, all)
					return len(members), 1, err
				},
				"Count": func(a rooms.Movable, ctx context.Context) (int, int, error) {
					n, err := a.(rooms.Counter).Count(ctx, all)
					return n, 50, err
				},
				"RoomNames": func(a rooms.Movable, ctx context.Context) (int, int, error) {
					names, err := a.RoomNames(ctx, "/")
					if strings.Contains(kind, "classic") {
						return len(names), 2, err
					}
					return 0, 0, err
				},
				"ServerSideAsk": func(a rooms.Movable, ctx context.Context) (int, int, error) {
					values, err := a.ServerSideAsk(ctx, "/", rooms.Event{Data: []byte(`["q"]`)})
					return len(values), 1, err
				},
				"EmitAck": func(a rooms.Movable, ctx context.Context) (n, want int, err error) {
					err = a.EmitAck(ctx, all, rooms.Event{Data: []byte(`["q"]`)}, func(int) {}, func(rooms.Value) { n++ })
					return n, 2, err
				},
			}
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			var wg sync.WaitGroup
			var asked, late atomic.Int64
			for what, ask := range asks {
				for range 3 {
					wg.Go(func() {
						for ctx.Err() == nil {
							ctx, cancel := context.WithTimeout(context.Background(), patience)
							n, want, err := ask(other.now, ctx)
							cancel()
							var incomplete *rooms.IncompleteError
							if errors.As(err, &incomplete) && len(incomplete.Missing) == 0 && incomplete.Cause == nil {
								late.Add(1) // it has counted who is not there any more
								err = nil
							}
							if asked.Add(1); err != nil || n != want {
								t.Errorf("%s = %d, %v, want %d", what, n, err, want)
							}
						}
					})
				}
			}
			for range 5 {
				at := asked.Load()
				x.hand(func() {
					eventually(t, "questions while there are two", func() bool { return asked.Load() > at })
				})
				at = asked.Load()
				eventually(t, "more questions", func() bool { return asked.Load() > at+20 })
			}
			cancel()
			wg.Wait()
			if n := late.Load(); n > 5 {
				t.Errorf("%d of %d questions were not answered by all that were counted, want no more than there were handovers", n, asked.Load())
			}
		})
	}
}
