package redis

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sioedge/sioedge/rooms"
)

const patience = 20 * time.Second

// server starts a Redis of the test's own and returns its address.
func server(t testing.TB, args ...string) string {
	t.Helper()
	bin, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("there is no redis-server")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	_, port, _ := net.SplitHostPort(addr)
	cmd := exec.Command(bin, "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
	cmd.Args = append(cmd.Args, args...)
	cmd.Dir = t.TempDir()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	eventually(t, "redis-server", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return addr
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s did not happen", what)
		}
	}
}

// A fake is a host that notes what it is told.
type fake struct {
	node string
	hang chan struct{} // if not nil, Members waits for it

	mu    sync.Mutex
	noted []string
}

func (f *fake) note(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.noted = append(f.noted, fmt.Sprintf(format, args...))
}

func (f *fake) Node() string      { return f.node }
func (f *fake) Advertise() string { return "http://" + f.node }
func (f *fake) Token() string     { return "token of " + f.node }
func (f *fake) Load() rooms.Load  { return rooms.Load{Sockets: 7} }

func (f *fake) Deliver(t rooms.Target, e rooms.Event) {
	f.note("deliver %v %s %x %t %t", t, e.Data, e.Attachments, e.Volatile, e.Plain)
}

func (f *fake) DeliverAck(_ context.Context, t rooms.Target, e rooms.Event, counted func(int), answer func(rooms.Value)) {
	f.note("ask %v %s", t, e.Data)
	counted(2)
	answer(rooms.Value{Data: []byte(`"` + f.node + `"`)})
	answer(rooms.Value{Data: []byte(`{"_placeholder":true,"num":0}`), Attachments: [][]byte{{1, 2}}})
}
func (f *fake) Join(t rooms.Target, names []string)     { f.note("join %v %v", t, names) }
func (f *fake) Leave(t rooms.Target, names []string)    { f.note("leave %v %v", t, names) }
func (f *fake) Disconnect(t rooms.Target, closing bool) { f.note("disconnect %v %t", t, closing) }
func (f *fake) RoomNames(ns string) []string            { return []string{f.node, "r"} }
func (f *fake) Count(rooms.Target) int                  { return 50 } // more than Members

func (f *fake) Members(t rooms.Target) []rooms.Member {
	if f.hang != nil {
		<-f.hang
	}
	return []rooms.Member{{ID: f.node + "1", Handshake: json.RawMessage(`{"url":"/"}`), Rooms: []string{"r"}, Data: json.RawMessage(`{"a":1}`)}}
}

func (f *fake) ServerSide(ns string, e rooms.Event, answer func(rooms.Value)) {
	f.note("server side %s %s %t", ns, e.Data, answer != nil)
	if answer != nil {
		answer(rooms.Value{Data: []byte(`"` + f.node + `"`)})
	}
}

// got waits for n notes and returns all.
func (f *fake) got(t testing.TB, n int) []string {
	t.Helper()
	eventually(t, "what the others were to be told", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return len(f.noted) >= n
	})
	f.mu.Lock()
	defer f.mu.Unlock()
	defer func() { f.noted = nil }()
	return f.noted
}

// kinds are the adapters.
var kinds = map[string]func(addr string, o Options) rooms.Adapter{
	"classic": PubSub,
	"classic with patterns": func(addr string, o Options) rooms.Adapter {
		o.Patterns = true
		return PubSub(addr, o)
	},
	"sharded": Sharded,
	"sharded, static": func(addr string, o Options) rooms.Adapter {
		o.Mode = Static
		return Sharded(addr, o)
	},
	"streams": Streams,
	"streams, 4, sharded": func(addr string, o Options) rooms.Adapter {
		o.Streams, o.ShardedPubSub = 4, true
		return Streams(addr, o)
	},
}

// join starts n adapters of a kind, with "/" open and "r" occupied on each.
func join(t testing.TB, kind, addr string, n int, o Options) (hosts []*fake, adapters []rooms.Adapter) {
	t.Helper()
	o.Logger = slog.New(slog.DiscardHandler)
	for i := range n {
		h := &fake{node: fmt.Sprintf("nod%d", i)}
		o.Name = h.node
		a := kinds[kind](addr, o)
		if err := a.Start(h); err != nil {
			t.Fatal(err)
		}
		a.Open("/")
		a.Occupied("/", "r")
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			if err := a.Close(ctx); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
		hosts, adapters = append(hosts, h), append(adapters, a)
	}
	for _, a := range adapters {
		eventually(t, "being up", func() bool {
			s := a.Status()
			return s.Up && len(s.Peers) == n-1 && len(coreOf(a).peers.having("/")) == n-1
		})
	}
	return hosts, adapters
}

func TestAdaptersTellEachOther(t *testing.T) {
	addr := server(t)
	for kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			hosts, adapters := join(t, kind, addr, 2, Options{Prefix: strings.ReplaceAll(kind, " ", "")})
			a, b := adapters[0], hosts[1]
			all, room := rooms.Target{Namespace: "/"}, rooms.Target{Namespace: "/", Rooms: []string{"r"}, Except: []string{"x"}}
			own := rooms.Target{Namespace: "/", Rooms: []string{"nod1abcdefghijklmnop"}}
			a.Emit(all, rooms.Event{Data: []byte(`["e",1]`)})
			a.Emit(room, rooms.Event{Data: []byte(`["e",{"_placeholder":true,"num":0}]`), Attachments: [][]byte{{1}}, Volatile: true, Plain: true})
			a.Emit(own, rooms.Event{Data: []byte(`["own"]`)})
			a.Emit(rooms.Target{Namespace: "/", Rooms: []string{"r", "q"}}, rooms.Event{Data: []byte(`["two"]`)})
			a.Join(room, []string{"s", "t"})
			a.Leave(all, []string{"s"})
			a.Disconnect(room, true)
			a.ServerSideEmit("/", rooms.Event{Data: []byte(`["news",1]`)})
			want := []string{
				`deliver {/ [] []} ["e",1] [] false false`,
				`deliver {/ [r] [x]} ["e",{"_placeholder":true,"num":0}] [01] true true`,
				`deliver {/ [nod1abcdefghijklmnop] []} ["own"] [] false false`,
				`deliver {/ [r q] []} ["two"] [] false false`,
				`join {/ [r] [x]} [s t]`, `leave {/ [] []} [s]`, `disconnect {/ [r] [x]} true`, `server side / ["news",1] false`,
			}
			got := b.got(t, len(want))
			// There are two ways with streams, each with an order.
			slices.SortStableFunc(got, func(a, b string) int { return published(a) - published(b) })
			if !slices.Equal(got, want) {
				t.Errorf("it was told\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			if n := len(hosts[0].got(t, 0)); n != 0 {
				t.Errorf("the sender was told %d things, want none", n)
			}
		})
	}
}

// Clusters with prefixes of their own share nothing of one Redis: no message, and
// no key.
func TestPrefixesKeepClustersApart(t *testing.T) {
	for kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			addr := server(t)
			hosts, adapters := join(t, kind, addr, 2, Options{Prefix: "one"})
			others, more := join(t, kind, addr, 2, Options{Prefix: "two"})
			for _, a := range []rooms.Adapter{adapters[0], more[0]} {
				if log, ok := a.(rooms.Log); ok {
					log.Keep(rooms.Session{PID: "pid", ID: "id", Namespace: "/"}, time.Minute)
				}
			}
			adapters[0].Emit(rooms.Target{Namespace: "/"}, rooms.Event{Data: []byte(`["one"]`)})
			more[0].Emit(rooms.Target{Namespace: "/"}, rooms.Event{Data: []byte(`["two"]`)})
			for _, x := range []struct {
				host *fake
				want string
			}{{hosts[1], `deliver {/ [] []} ["one"] [] false false`}, {others[1], `deliver {/ [] []} ["two"] [] false false`}} {
				if got := x.host.got(t, 1); len(got) != 1 || got[0] != x.want {
					t.Errorf("a server was told %q, want %q alone", got, x.want)
				}
			}
			_, logs := adapters[0].(rooms.Log)
			do := control(t, addr)
			var keys []string
			eventually(t, "the keys of both", func() bool {
				keys, _ = do("KEYS", "*").AsStrSlice()
				return !logs || len(keys) >= 4 // a stream and a session each
			})
			for _, key := range keys {
				if !strings.HasPrefix(key, "one") && !strings.HasPrefix(key, "two") {
					t.Errorf("the key %q has neither prefix", key)
				}
			}
		})
	}
}

// published counts what streams are not for.
func published(note string) int { return strings.Count(note, "server side") }

func TestAdaptersAskEachOther(t *testing.T) {
	addr := server(t)
	for kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			_, adapters := join(t, kind, addr, 3, Options{Prefix: strings.ReplaceAll(kind, " ", "")})
			a, all := adapters[0], rooms.Target{Namespace: "/"}
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			var answers []string
			err := a.EmitAck(ctx, all, rooms.Event{Data: []byte(`["q"]`)}, func(int) {}, func(v rooms.Value) {
				answers = append(answers, fmt.Sprintf("%s %x", v.Data, v.Attachments))
			})
			slices.Sort(answers)
			want := []string{`"nod1" []`, `"nod2" []`, `{"_placeholder":true,"num":0} [0102]`, `{"_placeholder":true,"num":0} [0102]`}
			if err != nil || !slices.Equal(answers, want) {
				t.Errorf("EmitAck = %v, %q, want %q", err, answers, want)
			}
			members, err := a.Members(ctx, all)
			slices.SortFunc(members, func(a, b rooms.Member) int { return strings.Compare(a.ID, b.ID) })
			if got := fmt.Sprintf("%s", members); err != nil || got != `[{nod11 {"url":"/"} [r] {"a":1}} {nod21 {"url":"/"} [r] {"a":1}}]` {
				t.Errorf("Members = %v, %s", err, got)
			}
			if n, err := a.(rooms.Counter).Count(ctx, all); n != 100 || err != nil {
				t.Errorf("Count = %d, %v, want the numbers of two, 100", n, err)
			}
			names, err := a.RoomNames(ctx, "/")
			if err != nil || !slices.Contains(names, "r") {
				t.Errorf("RoomNames = %v, %q", err, names)
			}
			values, err := a.ServerSideAsk(ctx, "/", rooms.Event{Data: []byte(`["q"]`)})
			if err != nil || len(values) != 2 {
				t.Errorf("ServerSideAsk = %v, %v, want two answers", err, values)
			}
			if p, ok := a.Peer("nod2"); !ok || p.Addr != "http://nod2" || p.Load.Sockets != 7 {
				t.Errorf("Peer(nod2) = %v, %t", p, ok)
			}
		})
	}
}

// A server that is suddenly gone, or hangs, is not waited for.
func TestEdge70AdaptersDoNotWaitForTheDead(t *testing.T) {
	addr := server(t)
	for kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			hosts, adapters := join(t, kind, addr, 3, Options{Prefix: strings.ReplaceAll(kind, " ", ""), Timeout: patience})
			hosts[2].hang = make(chan struct{}) // it does not answer
			q := &coreOf(adapters[2]).b.queue   // and says nothing
			q.mu.Lock()
			t.Cleanup(func() { q.mu.Unlock(); close(hosts[2].hang) })
			members, err := adapters[0].Members(context.Background(), rooms.Target{Namespace: "/"})
			var incomplete *rooms.IncompleteError
			if !errors.As(err, &incomplete) || len(members) != 1 || !slices.Equal(incomplete.Missing, []string{"nod2"}) || incomplete.Cause != nil {
				t.Errorf("Members = %v, %v, want those of nod1, and nod2 missing before the time is out", members, err)
			}
		})
	}
}

func coreOf(a rooms.Adapter) *core {
	switch a := a.(type) {
	case *classic:
		return a.core
	case *shardedAdapter:
		return a.core
	case *streams:
		return a.core
	}
	panic("unknown adapter")
}

func TestParse(t *testing.T) {
	for url, want := range map[string]string{
		"redis://user:pw@example.com:7000/2": "*redis.classic example.com:7000 user pw 2 false ",
		"rediss://example.com":               "*redis.classic example.com:6379   0 true ",
		"redis+sharded://a:1?addr=b:2":       "*redis.shardedAdapter a:1,b:2   0 false ",
		"redis+streams://a:1":                "*redis.streams a:1   0 false ",
		"redis://a:26379?master_set=m":       "*redis.classic a:26379   0 false m",
		"http://example.com":                 "error",
		"redis+what://example.com":           "error",
		"redis://user:secret@host:1/x/y":     "error",
	} {
		a, err := Parse(url, Options{})
		got := "error"
		if err == nil {
			o := coreOf(a).o.Client
			got = fmt.Sprintf("%T %s %s %s %d %t %s", a, strings.Join(o.InitAddress, ","), o.Username, o.Password, o.SelectDB, o.TLSConfig != nil, o.Sentinel.MasterSet)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("Parse(%q): the error shows the password: %v", url, err)
		}
		if got != want {
			t.Errorf("Parse(%q) = %s, %v, want %s", url, got, err, want)
		}
	}
}

// What a URL cannot say, or does not, is kept; what it says is used.
func TestParseKeepsWhatTheURLDoesNotSay(t *testing.T) {
	var o Options
	o.Client.Username, o.Client.Password, o.Client.SelectDB, o.Client.ClientName = "u", "p", 3, "c"
	o.Client.TLSConfig = &tls.Config{ServerName: "redis"}
	o.Client.Dialer.KeepAlive, o.Client.Dialer.Timeout = 7*time.Second, 8*time.Second
	o.Client.ShuffleInit, o.Client.RingScaleEachConn = true, 4
	o.Client.Sentinel.MasterSet, o.Client.Sentinel.Username, o.Client.Sentinel.Password = "m", "su", "sp"
	o.Client.Sentinel.TLSConfig = &tls.Config{ServerName: "sentinel"}
	a, err := Parse("redis://a:1", o)
	if err != nil {
		t.Fatal(err)
	}
	got := coreOf(a).o.Client
	want := o.Client
	want.InitAddress = []string{"a:1"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("Client = %+v, want %+v", got, want)
	}

	a, err = Parse("rediss://x:y@a:1?addr=b:2&master_set=n&sentinel_username=v&sentinel_password=w%26&sentinel_tls=true&skip_verify=true&dial_timeout=2s&write_timeout=3s&db=5&client_name=d", o)
	if err != nil {
		t.Fatal(err)
	}
	got = coreOf(a).o.Client
	s := got.Sentinel
	if s.MasterSet != "n" || s.Username != "v" || s.Password != "w&" || s.TLSConfig == nil || s.TLSConfig.ServerName != "" || !s.TLSConfig.InsecureSkipVerify {
		t.Errorf("Sentinel = %+v, want what the URL says", s)
	}
	if got.Username != "x" || got.Password != "y" || got.SelectDB != 5 || got.ClientName != "d" || got.Dialer.Timeout != 2*time.Second ||
		got.TLSConfig.ServerName != "" || !got.TLSConfig.InsecureSkipVerify {
		t.Errorf("Client = %+v, want what the URL says", got)
	}
	b := newBroker(&Options{Client: got, Timeout: time.Second, Logger: slog.New(slog.DiscardHandler)}, nil)
	if b.o.ConnWriteTimeout != 3*time.Second || b.o.Sentinel.Dialer.KeepAlive == 0 || b.o.Sentinel.Dialer.Timeout == 0 {
		t.Errorf("the client is made with %+v, want write_timeout, and times for Sentinels", b.o)
	}
	for _, url := range []string{"redis://a?sentinel_pasword=secret", "redis://a?sentinel_password=secret", "redis://a?master_set=m&sentinel_tls=secret2", "redis://a?x=%zz"} {
		if _, err := Parse(url, Options{}); err == nil || strings.Contains(err.Error(), "=secret") && !strings.Contains(err.Error(), "secret2") {
			t.Errorf("Parse(%q) = %v, want an error without the password", url, err)
		}
	}
}

func TestEdge72EmitterIsNoServer(t *testing.T) {
	addr := server(t)
	hosts, _ := join(t, "classic", addr, 1, Options{Prefix: "p"})
	e := NewEmitter(addr, Options{Prefix: "p", Logger: slog.New(slog.DiscardHandler)})
	news := e.Of("/").To("r")
	bytes := []byte{1, 2}
	if err := errors.Join(e.Emit("a", 1), news.Volatile().Compress(false).Emit("b", bytes), news.Except("x", "y").Emit("c"), e.ServerSideEmit("d")); err != nil {
		t.Fatal(err)
	}
	bytes[0] = 9 // they are ours again
	news.Join("s")
	news.Leave("s", "u")
	news.Disconnect(true)
	if err := e.Emit("disconnect"); err == nil {
		t.Error("Emit of a reserved name has no error, want one")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := e.Close(ctx); err != nil {
		t.Error(err)
	}
	want := []string{
		`deliver {/ [] []} ["a",1] [] false false`,
		`deliver {/ [r] []} ["b",{"_placeholder":true,"num":0}] [0102] true true`,
		`deliver {/ [r] [x y]} ["c"] [] false false`,
		`server side / ["d"] false`,
		`join {/ [r] []} [s]`, `leave {/ [r] []} [s u]`, `disconnect {/ [r] []} true`,
	}
	if got := hosts[0].got(t, len(want)); !slices.Equal(got, want) {
		t.Errorf("it was told\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
