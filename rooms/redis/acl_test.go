package redis

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sioedge/sioedge/rooms"
)

// A said is a log that can be looked at.
type said struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func (s *said) logger() *slog.Logger { return slog.New(slog.NewTextHandler(s, nil)) }

// begin starts an adapter with a user of Redis, with "/" open and "r" occupied.
func begin(t *testing.T, kind, addr, node string, o Options) (*fake, rooms.Adapter) {
	t.Helper()
	h := &fake{node: node}
	o.Name = node
	a := kinds[kind](addr, o)
	if err := a.Start(h); err != nil {
		t.Fatal(err)
	}
	a.Open("/")
	a.Occupied("/", "r")
	t.Cleanup(func() { _ = a.Close(context.Background()) })
	return h, a
}

// With a list of channels that the documentation names, all works: with that word
// for word, and with the patterns that Node's servers must have.
func TestServersWorkWithAnAccessListOfChannels(t *testing.T) {
	for name, channels := range map[string]string{
		"what begins with the prefix": "&PREFIX#* &PREFIX-request#* &PREFIX-response#*",
		"Node's own patterns":         "&PREFIX#/#* &PREFIX#sioedge# &PREFIX-request#* &PREFIX-response#*",
	} {
		for kind := range kinds {
			if name != "what begins with the prefix" && kind != "classic" && kind != "classic with patterns" {
				continue
			}
			t.Run(name+", "+kind, func(t *testing.T) {
				t.Parallel()
				addr := server(t)
				prefix := strings.ReplaceAll(strings.ReplaceAll(kind, " ", ""), ",", "")
				user := strings.Fields("ACL SETUSER n on >pw +@all ~* resetchannels " + strings.ReplaceAll(channels, "PREFIX", prefix))
				if err := control(t, addr)(user...).Error(); err != nil {
					t.Fatal(err)
				}
				var log said
				o := Options{Prefix: prefix, Logger: log.logger()}
				o.Client.Username, o.Client.Password = "n", "pw"
				_, a := begin(t, kind, addr, "nod0", o)
				host, b := begin(t, kind, addr, "nod1", o)
				eventually(t, "being up", func() bool {
					return a.Status().Up && b.Status().Up && len(coreOf(a).peers.having("/")) == 1 && len(coreOf(b).peers.having("/")) == 1
				})
				own := "nod1aaaaaaaaaaaaaaaa"
				for _, room := range []string{"r", own} {
					if err := b.Await(context.Background(), "/", []string{room}); err != nil {
						t.Fatalf("Await(%s) = %v; the log says\n%s", room, err, log.String())
					}
				}
				var want []string
				for _, names := range [][]string{nil, {"r"}, {own}, {"r", own}} {
					target := rooms.Target{Namespace: "/", Rooms: names}
					a.Emit(target, rooms.Event{Data: []byte(`["e"]`)})
					want = append(want, fmt.Sprintf(`deliver %v ["e"] [] false false`, target))
				}
				if got := host.got(t, len(want)); !slices.Equal(got, want) {
					t.Errorf("it was told %q, want %q; the log says\n%s", got, want, log.String())
				}
				if members, err := a.Members(context.Background(), rooms.Target{Namespace: "/"}); err != nil || len(members) != 1 {
					t.Errorf("Members = %v, %v, want that of the other", members, err)
				}
				if strings.Contains(log.String(), "may not be subscribed to; its messages") {
					t.Errorf("the log says\n%s", log.String())
				}
			})
		}
	}
}

// What Redis does not let a server have is named at once, in the log and in Status,
// and takes nothing else away.
func TestARefusedChannelIsNamed(t *testing.T) {
	for kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			addr := server(t)
			do := control(t, addr)
			// All of "/" may be had, but heartbeats.
			for _, words := range []string{"ACL SETUSER n on >pw +@all ~* resetchannels &p#/#* &p-request#* &p-response#*"} {
				if err := do(strings.Fields(words)...).Error(); err != nil {
					t.Fatal(err)
				}
			}
			var log said
			o := Options{Prefix: "p", Logger: log.logger()}
			o.Client.Username, o.Client.Password = "n", "pw"
			host, a := begin(t, kind, addr, "nod0", o)
			eventually(t, "naming the channel in Status", func() bool {
				s := a.Status()
				return !s.Up && strings.Contains(s.Reason, "p#sioedge#") && strings.Contains(s.Reason, "NOPERM")
			})
			eventually(t, "naming it in the log", func() bool { return strings.Contains(log.String(), "channel=p#sioedge#") })
			if err := a.Await(context.Background(), "/", []string{"r"}); err != nil {
				t.Errorf("Await of a room that may be had = %v", err)
			}
			_, b := begin(t, kind, addr, "nod1", Options{Prefix: "p", Logger: slog.New(slog.DiscardHandler)})
			eventually(t, "being up", func() bool { return b.Status().Up })
			b.Emit(rooms.Target{Namespace: "/", Rooms: []string{"r"}}, rooms.Event{Data: []byte(`["e"]`)})
			host.got(t, 1)
			if err := do(strings.Fields("ACL SETUSER n &p#sioedge#")...).Error(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "being up when it may be had", func() bool { return a.Status().Up })
		})
	}
}

// That Redis cannot be reached, or not with this password, is said although it has
// never been otherwise.
func TestARedisThatNeverWasUpIsLogged(t *testing.T) {
	addr := server(t, "--requirepass", "right")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr().String()
	l.Close()
	for name, test := range map[string]struct{ addr, password, want string }{
		"nobody there":   {nobody, "", "connection refused"},
		"wrong password": {addr, "wrong", "WRONGPASS"},
		"no password":    {addr, "", "NOAUTH"},
	} {
		for kind := range kinds {
			t.Run(name+", "+kind, func(t *testing.T) {
				t.Parallel()
				var log said
				o := Options{Logger: log.logger()}
				o.Client.Password = test.password
				_, a := begin(t, kind, test.addr, "nod0", o)
				eventually(t, "Status", func() bool { s := a.Status(); return !s.Up && strings.Contains(s.Reason, test.want) })
				eventually(t, "a line", func() bool { return strings.Contains(log.String(), test.want) })
				if n := strings.Count(log.String(), "level=WARN"); n > 2 {
					t.Errorf("there are %d lines, want one:\n%s", n, log.String())
				}
				if test.password != "" && strings.Contains(log.String(), test.password) {
					t.Error("the log has the password")
				}
			})
		}
	}
}
