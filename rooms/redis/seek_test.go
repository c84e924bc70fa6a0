package redis

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/rooms"
)

// A server asks for who it does not know when it can hear the answer, and hears of
// who starts only then; of who leaves it learns that it is gone for good.
func TestServersAreSought(t *testing.T) {
	addr := server(t)
	for kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			o := Options{Prefix: strings.ReplaceAll(kind, " ", ""), Logger: slog.New(slog.DiscardHandler)}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			start := func(node string) rooms.Adapter {
				a := kinds[kind](addr, o)
				if err := a.Start(&fake{node: node}); err != nil {
					t.Fatal(err)
				}
				return a
			}
			end := func(a rooms.Adapter) {
				if err := a.Close(ctx); err != nil {
					t.Error(err)
				}
			}
			old := start("old0")
			defer end(old)
			eventually(t, "being up", func() bool { return old.Status().Up })
			late := start("new0")
			late.Seek(ctx, "old0")
			if p, ok := late.Peer("old0"); !ok || p.Addr != "http://old0" || p.Token != "token of old0" {
				t.Errorf("Peer of who was there = %+v, %t, want its address and token", p, ok)
			}
			for _, p := range late.Status().Peers {
				if p.Token != "" {
					t.Errorf("Status tells the token %q", p.Token)
				}
			}
			sought := make(chan bool)
			// ends when the search has
			go func() {
				old.Seek(ctx, "new1")
				_, ok := old.Peer("new1")
				sought <- ok
			}()
			defer end(start("new1"))
			if !<-sought {
				t.Error("who starts while it is sought is not found")
			}
			end(late)
			eventually(t, "forgetting who has left", func() bool { _, ok := old.Peer("new0"); return !ok })
			old.Seek(ctx, "new0") // returns: it has said so
			if ctx.Err() != nil {
				t.Error("who has left was waited for")
			}
			moment, stop := context.WithTimeout(ctx, 50*time.Millisecond)
			defer stop()
			old.Seek(moment, "none")
			if _, ok := old.Peer("none"); ok || moment.Err() == nil {
				t.Error("a search for nobody ended before its time")
			}
		})
	}
}

// Who has fallen silent can still be asked, until nobody can be waiting for it, and
// counts as one of the servers no more; so does not who has left.
func TestSilentServersAreRemembered(t *testing.T) {
	var p peers
	now := time.Now()
	p.note(heartbeat{UID: "1", Node: "aaaa", Addr: "http://a"})
	p.note(heartbeat{UID: "2", Node: "bbbb", Addr: "http://b"})
	p.note(heartbeat{UID: "2", Node: "bbbb", Bye: true})
	p.sweep(now.Add(deadAfter+time.Second), now)
	if got, ok := p.node("aaaa"); !ok || got.Addr != "http://a" || len(p.list()) != 0 || len(p.alive()) != 0 {
		t.Errorf("who is silent: %+v, %t, and %v alive, want its address, and nobody", got, ok, p.alive())
	}
	if _, ok := p.node("bbbb"); ok {
		t.Error("who has left can be asked")
	}
	if known, _ := p.sought("bbbb"); !known {
		t.Error("it is not known of who has left that it has")
	}
	p.note(heartbeat{UID: "3", Node: "aaaa", Addr: "http://c"})
	if got, _ := p.node("aaaa"); got.Addr != "http://c" || len(p.silent) != 0 {
		t.Errorf("who is back: %+v, and %d silent, want its new address and 0", got, len(p.silent))
	}
	p.sweep(now.Add(deadAfter+time.Second), now)
	p.sweep(now.Add(silentFor+leftFor), now)
	if _, ok := p.node("aaaa"); ok || len(p.left) != 0 {
		t.Errorf("after all that time who was silent can be asked: %t; %d have left, want false and 0", ok, len(p.left))
	}
}
