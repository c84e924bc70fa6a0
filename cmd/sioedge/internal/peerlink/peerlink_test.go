package peerlink

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/bustest"
	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

// join returns the links of servers that are joined.
func join(t testing.TB, n int) (all []*Link) {
	t.Helper()
	bus := bustest.New()
	for range n {
		srv, err := sio.New(sio.Options{Adapter: bus.Adapter(), Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		// ends with the test
		go func() { done <- srv.Serve(ctx) }()
		t.Cleanup(func() { cancel(); <-done })
		all = append(all, New(srv, nil))
	}
	return all
}

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestServersHearEachOtherInOrder(t *testing.T) {
	all := join(t, 3)
	heard := make(chan string, 100)
	for i, l := range all {
		l.Handle("count", func(from string, body json.RawMessage) (any, error) {
			heard <- strings.Join([]string{string(rune('a' + i)), from, string(body)}, " ")
			return nil, nil
		})
	}
	for i := range 5 {
		if err := all[0].Emit("count", i); err != nil {
			t.Fatal(err)
		}
	}
	got := map[string][]string{}
	for range 10 {
		select {
		case x := <-heard:
			got[x[:1]] = append(got[x[:1]], x[2:])
		case <-within(t).Done():
			t.Fatal("not all is heard")
		}
	}
	for _, who := range []string{"b", "c"} {
		for i, x := range got[who] {
			if want := all[0].Node() + " " + string(rune('0'+i)); x != want {
				t.Errorf("server %s hears %q as number %d, want %q", who, x, i, want)
			}
		}
	}
	if len(got["a"]) > 0 {
		t.Errorf("a server hears itself: %q", got["a"])
	}
}

func TestAskHasTheAnswersOfTheOthers(t *testing.T) {
	all := join(t, 3)
	for i, l := range all {
		l.Handle("who", func(string, json.RawMessage) (any, error) { return i, nil })
	}
	answers, err := all[0].Ask(within(t), "who", nil)
	if err != nil || len(answers) != 2 {
		t.Fatalf("Ask = %q, %v, want two answers", answers, err)
	}
	sum := ""
	for _, a := range answers {
		sum += string(a)
	}
	if sum != "12" && sum != "21" {
		t.Errorf("the answers are %q, want 1 and 2", answers)
	}
}

// What servers say that is malformed, too long, of themselves or of another version is
// no handler's.
func TestWhatIsNoMessageIsRefused(t *testing.T) {
	all := join(t, 2)
	a, b := all[0], all[1]
	heard := make(chan json.RawMessage, 100)
	b.Handle("x", func(_ string, body json.RawMessage) (any, error) {
		heard <- bytes.Clone(body)
		if string(body) == `"bad"` {
			return nil, errors.New("bad")
		}
		return nil, nil
	})
	long := strings.Repeat("x", MaxBytes)
	for _, args := range [][]any{
		{}, {"1"}, {1}, {1, "n"}, {1, "n", "v", "more"}, {1, "", "v"}, {1, 5, "v"}, {1, "a b", "v"}, {1, "a\n", "v"},
		{1, strings.Repeat("n", 65), "v"}, {1, "n", long}, {map[string]any{}, "n", "v"}, {nil, "n"},
		{2, "n", "v"}, {0, "n", "v"}, {1, b.Node(), "of itself"}, {1, "n", "bad"},
	} {
		if err := a.ns.ServerSideEmit("x", args...); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Emit("x", "end"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"bad"`, `"end"`} {
		select {
		case body := <-heard:
			if string(body) != want {
				t.Errorf("a handler is given %.50q, want %q", body, want)
			}
		case <-within(t).Done():
			t.Fatal("what is well-formed is not heard")
		}
	}
	if st := b.Stats(); st.Malformed != 13 || st.Foreign != 3 {
		t.Errorf("Stats = %+v, want 13 malformed and 3 of other versions", st)
	}
	if err := a.Emit("x", long); !errors.Is(err, ErrTooLong) {
		t.Errorf("Emit of too much = %v, want ErrTooLong", err)
	}
	if err := a.Emit("x", func() {}); err == nil {
		t.Error("Emit of what is no JSON is no error")
	}
}

// Clients are told of the namespace what they are told of one that there is not.
func TestClientsDoNotFindTheNamespace(t *testing.T) {
	o := sio.Options{}
	o.Engine.AllowEIO3 = true
	srv := siotest.New(t, o)
	New(srv.Server, nil)
	New(srv.Server, nil)
	srv.Of("/")
	for _, o := range []siotest.Options{{}, {V2: true}} {
		first := "40"
		if o.V2 {
			first = ""
		}
		answers := map[string]string{}
		for _, ns := range []string{Namespace, "/unknown"} {
			c := srv.Dial(o)
			if first != "" {
				c.Send(first)
			}
			c.Send("40" + ns + `,{"token":"t"}`)
			got := c.Received()
			answers[ns] = strings.ReplaceAll(got[len(got)-1], ns, "/?")
			c.Drop()
		}
		if answers[Namespace] != answers["/unknown"] || !strings.Contains(answers["/unknown"], "Invalid namespace") {
			t.Errorf("clients hear %q, want what they hear of an unknown one: %q", answers[Namespace], answers["/unknown"])
		}
	}
}

// One server is asked alone: the others do not hear it, and are not waited for.
func TestAskOne(t *testing.T) {
	all := join(t, 3)
	for i, l := range all {
		l.HandleAsked("who", func(from string, body json.RawMessage) (any, error) {
			return strings.Join([]string{string(rune('a' + i)), from, string(body)}, " "), nil
		})
	}
	got, err := all[0].AskOne(within(t), all[2].Node(), "who", 7)
	if want := `"c ` + all[0].Node() + ` 7"`; err != nil || string(got) != want {
		t.Errorf("%s, %v, want %s", got, err, want)
	}
	if got, err := all[0].Ask(within(t), "who", 8); err != nil || len(got) != 2 {
		t.Errorf("all answer %s, %v", got, err)
	}
	var e *rooms.IncompleteError
	if got, err := all[0].AskOne(within(t), "nobody", "who", 7); got != nil || !errors.As(err, &e) || strings.Join(e.Missing, " ") != "nobody" {
		t.Errorf("nobody answers %s, %v", got, err)
	}
	if _, err := all[0].AskOne(within(t), all[1].Node(), "who", strings.Repeat("x", MaxBytes)); !errors.Is(err, ErrTooLong) {
		t.Errorf("too much is %v", err)
	}
	for name, want := range map[string]bool{Namespace: true, alone(all[0].Node()): true, alone(":node"): true, Namespace + "x": false, "/": false} {
		if Owns(name) != want {
			t.Errorf("Owns(%q) is not %t", name, want)
		}
	}
}
