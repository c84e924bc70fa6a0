package redis

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sioedge/sioedge/rooms"
)

// pair returns two servers that know each other: one that moves, and another.
func pair(t testing.TB, kind, addr string, o Options) (x *lineage, moves, stays *ledger, other *lineage) {
	t.Helper()
	moves, stays = newLedger("nod0"), newLedger("nod1")
	other = lineageOf(t, kind, addr, stays, o)
	x = lineageOf(t, kind, addr, moves, o)
	eventually(t, "knowing each other", func() bool {
		return len(coreOf(other.now).peers.having("/")) == 1 && len(coreOf(x.now).peers.having("/")) == 1
	})
	return x, moves, stays, other
}

// say emits numbers from one on.
func say(a rooms.Adapter, who string, from, to int) {
	for n := from; n <= to; n++ {
		t := rooms.Target{Namespace: "/"}
		if n%2 == 0 {
			t.Rooms = []string{"r"}
		}
		a.Emit(t, rooms.Event{Data: fmt.Appendf(nil, "[%q,%d]", who, n)})
	}
}

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// What was kept back since the place was marked comes when the server goes on, in order,
// and the next handover is as if nothing had been.
func TestBackDeliversWhatWasKept(t *testing.T) {
	addr := server(t)
	for kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			x, moves, stays, other := pair(t, kind, addr, Options{Prefix: strings.ReplaceAll(kind, " ", "")})
			say(other.now, "other", 1, 100)
			next := x.heir()
			if _, err := x.split(within(t), next); err != nil {
				t.Fatal(err)
			}
			at := moves.had("other")
			say(other.now, "other", 101, 200)
			say(x.now, "own", 1, 10) // of a timer of the program's
			stays.check(t, map[string]int{"own": 10})
			if n := moves.had("other"); n != at {
				t.Errorf("%d came behind the place, want none", n-at)
			}
			x.now.Back()
			x.close(next)
			say(other.now, "other", 201, 300)
			moves.check(t, map[string]int{"other": 300})
			if c := coreOf(other.now); !c.peers.has(coreOf(x.now).uid) {
				t.Error("an heir has said that the server leaves")
			}
			x.hand(func() { say(other.now, "other", 301, 400) })
			say(other.now, "other", 401, 500)
			moves.check(t, map[string]int{"other": 500})
		})
	}
}

// Sockets that cannot go stay with the process that goes, which is another server from
// then on: what each of the two says comes to the other, and what others say to both.
func TestWhatStaysIsAServerWithoutAName(t *testing.T) {
	addr := server(t)
	for kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			x, old, stays, other := pair(t, kind, addr, Options{Prefix: strings.ReplaceAll(kind, " ", ""), Timeout: patience})
			uid := coreOf(x.now).uid
			goes, heir := x.now, newLedger("nod0")
			x.host = heir
			next := x.heir()
			say(other.now, "other", 1, 50)
			place, err := x.split(within(t), next)
			if err != nil {
				t.Fatal(err)
			}
			say(goes, "timer", 1, 3)
			say(other.now, "other", 51, 100)
			next.Occupied("/", "r")
			if err := next.Succeed(place); err != nil {
				t.Fatal(err)
			}
			x.now = next
			say(next, "heir", 1, 50)
			stays.check(t, map[string]int{"timer": 3, "heir": 50})
			if err := goes.Gone(within(t), true); err != nil {
				t.Fatal(err)
			}
			say(goes, "old", 1, 50)
			say(next, "heir", 51, 100)
			say(other.now, "other", 101, 150)
			old.check(t, map[string]int{"other": 150, "heir": 100, "timer": 0, "old": 0})
			stays.check(t, map[string]int{"timer": 3, "heir": 100, "old": 50})
			eventually(t, "what is behind the place", func() bool { return heir.had("other") >= 150 && heir.had("old") >= 50 })
			heir.mu.Lock()
			wrongs := heir.wrongs
			heir.mu.Unlock()
			if len(wrongs) > 1 || heir.had("other") != 150 || heir.had("old") != 50 || heir.had("timer") != 0 || heir.had("heir") != 0 {
				t.Errorf("the heir had %v, with gaps %q, want one gap: what came before", heir.last, wrongs)
			}
			for name, a := range map[string]rooms.Adapter{"another server": other.now, "who stays": goes, "the heir": next} {
				members, err := a.Members(within(t), rooms.Target{Namespace: "/"})
				if err != nil || len(members) != 2 {
					t.Errorf("Members, asked by %s = %d, %v, want those of two", name, len(members), err)
				}
			}
			x.close(goes)
			if _, err := other.now.Members(within(t), rooms.Target{Namespace: "/"}); err != nil {
				t.Errorf("Members = %v", err)
			}
			if c := coreOf(other.now); !c.peers.has(uid) || c.peers.count() != 1 || len(coreOf(next).peers.alive()) != 1 {
				t.Errorf("others know %v, and the heir %v, want one each", c.peers.alive(), coreOf(next).peers.alive())
			}
		})
	}
}

// A logbook is a log that tests look at.
type logbook struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logbook) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.b.String(), text)
}

// What an heir may have missed, or cannot keep, calls the handover off; the other has all.
func TestAnHeirThatHasNotAllDoesNotSucceed(t *testing.T) {
	addr := server(t)
	for kind := range kinds {
		for why, x := range map[string]struct {
			harm func(c *core)
			want error
		}{
			"its connection is lost": {func(c *core) { c.b.subs.at(c.b.subs.first).(interface{ Close() }).Close() }, nil},
			"more comes than it keeps": {func(c *core) {
				c.b.gate.mu.Lock()
				defer c.b.gate.mu.Unlock()
				c.b.gate.most = 500
			}, errKept},
		} {
			if strings.HasPrefix(kind, "streams") && x.want == errKept {
				continue // events are in the stream
			}
			t.Run(kind+", "+why, func(t *testing.T) {
				t.Parallel()
				book := &logbook{}
				lineage, moves, _, other := pair(t, kind, addr, Options{Prefix: strings.ReplaceAll(kind+why, " ", "")})
				next := lineage.heir()
				coreOf(next).b.log = slog.New(slog.NewTextHandler(book, nil))
				ctx := within(t)
				offer, err := lineage.now.Offer()
				if err := errors.Join(err, next.Follow(ctx, offer)); err != nil {
					t.Fatal(err)
				}
				x.harm(coreOf(next))
				if x.want == nil {
					eventually(t, "noticing", func() bool {
						g := &coreOf(next).b.gate
						g.mu.Lock()
						defer g.mu.Unlock()
						return g.failed != nil
					})
				}
				place, err := lineage.now.Mark(ctx)
				if err != nil {
					t.Fatal(err)
				}
				say(other.now, "other", 1, 100)
				if x.want != nil {
					eventually(t, "too much", func() bool {
						g := &coreOf(next).b.gate
						g.mu.Lock()
						defer g.mu.Unlock()
						return g.failed != nil
					})
				}
				if err := next.Succeed(place); err == nil || x.want != nil && !errors.Is(err, x.want) {
					t.Fatalf("Succeed = %v, want an error, of %v", err, x.want)
				}
				if !book.has("called off") {
					t.Error("nobody is told why there is no handover")
				}
				lineage.now.Back()
				lineage.close(next)
				say(other.now, "other", 101, 200)
				moves.check(t, map[string]int{"other": 200})
			})
		}
	}
}

// An heir at another Redis would hear other things.
func TestAnHeirAtAnotherRedisDoesNotFollow(t *testing.T) {
	one, two := server(t), server(t)
	for kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			x, _, _, _ := pair(t, kind, one, Options{Prefix: strings.ReplaceAll(kind, " ", "")})
			x.addr = two
			next := x.heir()
			defer x.close(next)
			offer, err := x.now.Offer()
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
			defer cancel()
			if err := next.Follow(ctx, offer); !errors.Is(err, errNotThere) {
				t.Errorf("Follow = %v, want %v", err, errNotThere)
			}
		})
	}
}

// Settings that differ are refused before anything is begun.
func TestAnHeirIsInTheSameCluster(t *testing.T) {
	addr := server(t)
	x, _, _, _ := pair(t, "sharded", addr, Options{Prefix: "p"})
	offer, err := x.now.Offer()
	if err != nil {
		t.Fatal(err)
	}
	for kind := range kinds {
		err := kinds[kind](addr, Options{Prefix: "p"}).(rooms.Movable).Inherit(offer)
		if (err == nil) != (kind == "sharded") {
			t.Errorf("Inherit by %s = %v", kind, err)
		}
	}
	if err := Sharded(addr, Options{Prefix: "q"}).(rooms.Movable).Inherit(offer); err == nil {
		t.Error("Inherit with another prefix has no error, want one")
	}
}

// A Redis that hangs while the place is marked, or is killed, calls the handover off: the
// server goes on when it is back.
func TestRedisEndsWhileThePlaceIsMarked(t *testing.T) {
	for kind := range kinds {
		for _, killed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, killed %t", kind, killed), func(t *testing.T) {
				t.Parallel()
				r := newRedis(t)
				book := &logbook{}
				x, moves, _, other := pair(t, kind, r.addr, Options{Prefix: "p", Timeout: 2 * time.Second})
				coreOf(x.now).b.log = slog.New(slog.NewTextHandler(book, nil))
				say(other.now, "other", 1, 10)
				moves.check(t, map[string]int{"other": 10})
				next := x.heir()
				defer x.close(next)
				ctx := within(t)
				offer, err := x.now.Offer()
				if err := errors.Join(err, next.Follow(ctx, offer)); err != nil {
					t.Fatal(err)
				}
				r.pause()
				marking, cancel := ctx, func() {}
				if !killed {
					marking, cancel = context.WithTimeout(ctx, 50*time.Millisecond)
				}
				defer cancel()
				failed := make(chan error)
				go func() {
					_, err := x.now.Mark(marking)
					failed <- err
				}()
				if killed {
					eventually(t, "the marker being on its way", func() bool {
						q := &coreOf(x.now).b.queue
						q.mu.Lock()
						defer q.mu.Unlock()
						return q.busy || len(q.commands) > 0
					})
					r.kill()
				}
				if err := <-failed; err == nil {
					t.Fatal("Mark has no error, want one")
				}
				if ctx.Err() != nil {
					t.Error("Mark has waited for what will not come")
				}
				if !book.has("called off") {
					t.Error("nobody is told why there is no handover")
				}
				if killed {
					r.start()
				} else {
					r.resume()
				}
				for _, a := range []rooms.Adapter{x.now, other.now} {
					eventually(t, "being up again", func() bool {
						_, all, _ := coreOf(a).b.subs.inPlace()
						return a.Status().Up && all
					})
				}
				say(other.now, "other", 11, 30)
				moves.check(t, map[string]int{"other": 30})
			})
		}
	}
}

// aRedis can be killed, and started anew.
type aRedis struct {
	t    testing.TB
	addr string
	cmd  *exec.Cmd
}

func newRedis(t testing.TB) *aRedis {
	r := &aRedis{t: t, addr: clusterAddr(t)}
	r.start()
	t.Cleanup(r.kill)
	return r
}

func (r *aRedis) start() {
	r.t.Helper()
	m := &master{t: r.t, addr: r.addr}
	bin, err := exec.LookPath("redis-server")
	if err != nil {
		r.t.Skip("there is no redis-server")
	}
	_, port, _ := net.SplitHostPort(m.addr)
	r.cmd = exec.Command(bin, "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
	r.cmd.Dir = r.t.TempDir()
	if err := r.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	eventually(r.t, "redis-server", func() bool {
		c, err := net.Dial("tcp", r.addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

func (r *aRedis) kill() {
	_ = r.cmd.Process.Kill()
	_ = r.cmd.Wait()
}

func (r *aRedis) pause()  { (&master{t: r.t, cmd: r.cmd}).stop() }
func (r *aRedis) resume() { (&master{t: r.t, cmd: r.cmd}).resume() }

// What comes where markers do splits nothing unless it has the secret, and is the one that
// is waited for.
func TestMarkersOfOthersSplitNothing(t *testing.T) {
	addr := server(t)
	for kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			x, moves, _, other := pair(t, kind, addr, Options{Prefix: strings.ReplaceAll(kind, " ", "")})
			do := control(t, addr)
			command := "PUBLISH"
			if coreOf(x.now).shards {
				command = "SPUBLISH"
			}
			next, ctx := x.heir(), within(t)
			offer, err := x.now.Offer()
			if err := errors.Join(err, next.Follow(ctx, offer)); err != nil {
				t.Fatal(err)
			}
			secret, mark := coreOf(x.now).move.secret, coreOf(x.now).move.marks[0].name
			for _, word := range []string{"", "/", "1", "/1", "x/1", strings.Repeat("y", 1<<20), secret, secret + "x/1", secret + "/0", secret + "/-1", secret + "/left", secret + "/99999999999999999999"} {
				if err := do(command, mark, word).Error(); err != nil {
					t.Fatal(err)
				}
				if err := do(command, mark+"more", word).Error(); err != nil {
					t.Fatal(err)
				}
			}
			say(other.now, "other", 1, 100)
			moves.check(t, map[string]int{"other": 100})
			g := &coreOf(next).b.gate
			g.mu.Lock()
			behind := len(g.behind)
			g.mu.Unlock()
			if behind != 0 {
				t.Fatal("something that is no marker has split what comes")
			}
			place, err := x.now.Mark(ctx)
			if err != nil {
				t.Fatal(err)
			}
			say(other.now, "other", 101, 150)
			for _, word := range []string{secret + "/1", secret + "/0", "z/2"} { // again
				if err := do(command, mark, word).Error(); err != nil {
					t.Fatal(err)
				}
			}
			say(other.now, "other", 151, 200)
			next.Occupied("/", "r")
			if err := errors.Join(next.Succeed(place), x.now.Gone(ctx, false)); err != nil {
				t.Fatal(err)
			}
			x.close(x.now)
			x.now = next
			moves.check(t, map[string]int{"other": 200})
		})
	}
}

// Calls that are not due are errors, and change nothing.
func TestHandoversHaveAnOrder(t *testing.T) {
	addr := server(t)
	for kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			x, moves, _, other := pair(t, kind, addr, Options{Prefix: strings.ReplaceAll(kind, " ", "")})
			ctx := within(t)
			x.now.Back()
			if _, err := x.now.Mark(ctx); err == nil {
				t.Error("Mark without an Offer has no error")
			}
			if err := errors.Join(x.now.Gone(ctx, false)); err == nil {
				t.Error("Gone without Mark has no error")
			}
			offer, err := x.now.Offer()
			if err != nil {
				t.Fatal(err)
			}
			if x.now.Inherit(offer) == nil || x.now.Follow(ctx, offer) == nil || x.now.Succeed([]byte(`{"secret":"s","n":1}`)) == nil {
				t.Error("a server that has its place inherits another one")
			}
			next := x.heir()
			for _, p := range [][]byte{nil, []byte("{}"), []byte(`{"secret":"s","n":1}`), []byte(`{"secret":"","n":1}`)} {
				if next.Succeed(p) == nil {
					t.Errorf("Succeed(%s) has no error", p)
				}
			}
			if _, err := next.Offer(); err == nil {
				t.Error("an heir offers what it has not got")
			}
			x.close(next)
			x.hand(func() {})
			say(other.now, "other", 1, 10)
			moves.check(t, map[string]int{"other": 10})
		})
	}
}

// An heir knows the other servers, and who they are to it, before it has heard them.
func TestAnHeirKnowsTheOthers(t *testing.T) {
	addr := server(t)
	x, _, _, _ := pair(t, "classic", addr, Options{Prefix: "p"})
	coreOf(x.now).peers.silence(rooms.Peer{Node: "dead", Addr: "http://dead", Seen: time.Now()})
	next := x.heir()
	defer x.close(next)
	for _, node := range []string{"nod1", "dead"} {
		want, _ := x.now.Peer(node)
		got, ok := next.Peer(node)
		if !ok || got.Addr != want.Addr || got.Token != want.Token || got.Name != want.Name {
			t.Errorf("Peer(%s) = %+v, %t, want %+v", node, got, ok, want)
		}
	}
	if c := coreOf(next); c.began.UnixNano() != coreOf(x.now).began.UnixNano() || c.uid != coreOf(x.now).uid {
		t.Error("the heir is another server in the eyes of the others")
	}
	if !slices.Equal(coreOf(next).peers.list(), next.Status().Peers) {
		t.Error("Status does not say what is known")
	}
}

func FuzzParseOffer(f *testing.F) {
	o := &offer{How: "h", UID: "u", Secret: "s", topics: []topic{{exact, "a"}, {sharded, strings.Repeat("b", 300)}, {pattern, ""}}}
	p, err := o.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(p)
	f.Add([]byte{0, 0, 0, 2, '{', '}'})
	f.Add(p[:len(p)-1])
	f.Fuzz(func(t *testing.T, p []byte) {
		o, err := parseOffer(p)
		if err != nil {
			return
		}
		again, err := o.encode()
		if err != nil {
			t.Fatal(err)
		}
		o2, err := parseOffer(again)
		if err != nil || !slices.Equal(o2.topics, o.topics) || o2.UID != o.UID {
			t.Fatalf("an offer that was encoded is another: %v", err)
		}
	})
}
