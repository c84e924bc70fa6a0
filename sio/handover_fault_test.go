package sio_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sioedge/sioedge/loop/passing"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/internal/passage"
)

// A trouble is what happens to one record of a handover.
type trouble struct {
	name string
	late bool // the record comes
	// do gets the record, and what it is sent on by. It is false if nothing follows.
	do func(r passing.Record, to, back *passing.Stream) bool
}

func pass(r passing.Record, to, _ *passing.Stream) bool {
	err := to.Send(r.Kind, r.Lane, r.Body, r.Files...)
	if err == nil {
		err = to.Flush()
	}
	for _, fd := range r.Files {
		_ = os.NewFile(uintptr(fd), "").Close()
	}
	return err == nil
}

func refusal(to *passing.Stream) {
	body, _ := passage.Marshal(passage.Refusal{Reason: "as the test wants it"})
	_ = to.Send(passage.Refuse, 0, body)
	_ = to.Flush()
}

var troubles = []trouble{
	{"the stream is cut before", false, func(_ passing.Record, to, back *passing.Stream) bool {
		_, _ = to.Close(), back.Close()
		return false
	}},
	{"the stream is cut behind", true, func(r passing.Record, to, back *passing.Stream) bool {
		pass(r, to, back)
		_, _ = to.Close(), back.Close()
		return false
	}},
	{"both are refused", false, func(_ passing.Record, to, back *passing.Stream) bool {
		refusal(to)
		refusal(back)
		return false
	}},
	{"it is garbage", false, func(r passing.Record, to, _ *passing.Stream) bool {
		for i := range r.Body {
			r.Body[i] ^= 0x55
		}
		if len(r.Body) == 0 {
			r.Kind = 99
		}
		return pass(r, to, nil)
	}},
	{"it is another", false, func(r passing.Record, to, _ *passing.Stream) bool {
		r.Kind = passage.Followed
		return pass(r, to, nil)
	}},
	{"it comes twice", true, func(r passing.Record, to, _ *passing.Stream) bool {
		return to.Send(r.Kind, r.Lane, r.Body) == nil && pass(r, to, nil)
	}},
	{"it does not come, and nothing behind it", false, func(passing.Record, *passing.Stream, *passing.Stream) bool { return false }},
}

// between is a connection of two that are handed over by each other, in whose middle
// something happens to record nth of those that the one who goes sends, or of the answers.
// It returns which records there were, when both streams have ended.
func between(t *testing.T, answers bool, nth int, do func(r passing.Record, to, back *passing.Stream) bool) (goes, heir *net.UnixConn, kinds func() [2][]uint8) {
	t.Helper()
	goes, a := socketpair(t)
	heir, b := socketpair(t)
	left, right := passing.New(a), passing.New(b)
	var over sync.WaitGroup
	var seen [2][]uint8
	for i, s := range [][2]*passing.Stream{{left, right}, {right, left}} {
		over.Go(func() {
			defer s[1].Close()
			for n := 0; ; n++ {
				r, err := s[0].Receive()
				if err != nil {
					return
				}
				seen[i] = append(seen[i], r.Kind)
				f := pass
				if n == nth && answers == (i == 1) {
					f = do
				}
				if !f(r, s[1], s[0]) {
					for { // what follows is lost
						if _, err := s[0].Receive(); err != nil {
							return
						}
					}
				}
			}
		})
	}
	return goes, heir, func() [2][]uint8 { over.Wait(); return seen }
}

// Whatever happens to any record of a handover, in either direction: it fails on both
// sides, clients go on in the server that they were in, notice nothing, and a later one
// succeeds.
func TestHandoversThatFailAreNotNoticed(t *testing.T) {
	var over atomic.Bool
	x := begin(t, sio.Options{Loop: loops(2)}, func(srv *sio.Server) {
		ns := srv.Of("/")
		echo(ns)
		ns.OnDisconnect(func(_ sio.Socket, r sio.Reason) {
			if !over.Load() {
				t.Errorf("a socket leaves for %s", r)
			}
		})
	})
	c, p := x.srv.join("40"), x.srv.joinPolling()
	waits := p.pending()
	n := 0
	goOn := func(what string) {
		t.Helper()
		n++
		if err := x.srv.Of("/").Emit("news", n); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		c.expect(fmt.Sprintf(`42["news",%d]`, n))
		p.take(take(t, waits))
		p.expect(fmt.Sprintf(`42["news",%d]`, n))
		c.send(fmt.Sprintf(`42%d["echo",%d]`, n, n))
		c.expect(fmt.Sprintf(`43%d[%d]`, n, n))
		waits = p.pending()
		eventually(t, "a poll", func() bool { return x.srv.Stats().Engine.Polls > 0 })
	}
	goOn("the beginning")

	kinds := x.through(between(t, false, -1, pass))
	if len(kinds[0]) < 6 || len(kinds[1]) != 4 {
		t.Fatalf("the records of a handover are %v", kinds)
	}
	goOn("a handover")
	for i, answers := range []bool{false, true} {
		for nth, kind := range kinds[i] {
			if kind == passage.Serving {
				continue // whoever gets none sees to it that the other has ended
			}
			for _, what := range troubles {
				if what.late && (kind == passage.Go || kind == passage.Taken) {
					continue // likewise: Go has come
				}
				name := fmt.Sprintf("record %d (kind %d) of side %d: %s", nth, kind, i, what.name)
				x.fail(name, kind, answers, nth, what)
				goOn(name)
			}
		}
	}
	x.next()
	goOn("a handover behind all those")
	over.Store(true)
	c.conn.Close()
	p.http.CloseIdleConnections()
}

// through has a next server take over by way of a relay.
func (x *succession) through(goes, others *net.UnixConn, kinds func() [2][]uint8) [2][]uint8 {
	x.t.Helper()
	done := x.handOver(context.Background(), goes, sio.HandoverOptions{})
	srv, err := x.heir(others)
	if err != nil {
		x.t.Fatal(err)
	}
	before, served := x.srv, x.served
	x.take(srv, x.srv.addr)
	x.serve()
	if got := take(x.t, done); got.err != nil {
		x.t.Fatalf("Handover: %v", got.err)
	}
	x.end(before, served)
	return kinds()
}

// fail has a handover fail by what happens to a record.
func (x *succession) fail(name string, kind uint8, answers bool, nth int, what trouble) {
	x.t.Helper()
	limit := time.Second // of what does not come
	goes, others, kinds := between(x.t, answers, nth, what.do)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if what.name == "it does not come, and nothing behind it" {
		limit = 200 * time.Millisecond
		ctx, cancel = context.WithTimeout(ctx, 2*limit)
		defer cancel()
	}
	done := x.handOver(context.Background(), goes, sio.HandoverOptions{Ready: limit, Take: limit})
	in, err := sio.Inherit(ctx, others, "v2", "b2")
	if err == nil {
		srv := x.make(in)
		if _, lerr := srv.Listen("127.0.0.1:0"); lerr != nil {
			x.t.Fatal(lerr)
		}
		err = srv.Serve(context.Background())
	}
	got := take(x.t, done)
	if got.err == nil || err == nil {
		x.t.Fatalf("%s: Handover returns %v, and Serve %v", name, got.err, err)
	}
	kinds()
}
