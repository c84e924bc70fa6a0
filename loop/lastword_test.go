package loop

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sioedge/sioedge/loop/class"
)

// A talker sends messages of a length in front, and LAST as its last word.
type talker struct {
	hooks
	last string
}

func (k *talker) LastWord(_ Conn, why error) []byte {
	if k.last == "" {
		return nil
	}
	return talk(fmt.Sprintf("%s: %v", k.last, why))
}

func (k *talker) Rest(p []byte, sent int) int {
	for at := 0; at < sent && at+2 <= len(p); {
		end := at + 2 + int(p[at])<<8 + int(p[at+1])
		if sent < end {
			return end - sent
		}
		at = end
	}
	return 0
}

// talk returns a message.
func talk(text string) []byte {
	return append([]byte{byte(len(text) >> 8), byte(len(text))}, text...)
}

// heard returns the messages in b, which must be whole.
func heard(t *testing.T, b []byte) (all []string) {
	t.Helper()
	for len(b) > 0 {
		if len(b) < 2 || len(b) < 2+int(b[0])<<8+int(b[1]) {
			t.Fatalf("behind %d messages there are %d bytes of a part of one", len(all), len(b))
		}
		n := 2 + int(b[0])<<8 + int(b[1])
		all, b = append(all, string(b[2:n])), b[n:]
	}
	return all
}

// Whoever is closed for taking too little gets the rest of what was begun, and then the
// last word, wherever the sends have ended and however what it did not take was kept.
func TestTheLastWordTakesThePlaceOfWhatIsQueued(t *testing.T) {
	kind := &class.Kind{Policy: class.DropNew}
	for seed := range uint64(400) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		reason := error(nil)
		k := &talker{last: "bye"}
		var c Conn
		k.open = func(x Conn) { c = x }
		k.close = func(_ Conn, err error) { reason = err }
		s := newSim(k, Options{SoftOutbound: 3000, MaxOutbound: 20_000, SlowAfter: 10 * time.Second})
		p := s.Connect(0)
		p.Limit(1 + rnd.IntN(3000))
		if p.Stall(rnd.IntN(3) > 0); rnd.IntN(2) == 0 {
			p.Take(rnd.IntN(4000))
		}
		var sent []string
		message := func() []byte {
			text := fmt.Sprint(len(sent), " ", string(bytes.Repeat([]byte{'x'}, rnd.IntN(1+1<<rnd.IntN(13)))))
			sent = append(sent, text)
			return talk(text)
		}
		abort := rnd.IntN(3) == 0
		for range rnd.IntN(60) {
			if !c.Valid() {
				break
			}
			several := append(message(), message()...)
			switch one := message(); rnd.IntN(6) {
			case 0:
				c.Write(append(several, one...))
			case 1:
				c.WriteShared(append(several, one...))
			case 2:
				c.SendShared(append(several, one...))
			case 3:
				c.Write(several)
				c.WriteKind(one, kind)
			case 4:
				all := append(several, one...)
				parts := []class.Part{{End: len(several)}, {Kind: kind, End: len(all)}}
				if rnd.IntN(2) == 0 {
					c.SendParts(all, parts)
				} else {
					c.WriteParts(all, parts)
				}
			case 5:
				for _, m := range [][]byte{several, one} {
					c.Write(m)
				}
			}
			switch rnd.IntN(4) {
			case 0:
				s.Turn()
			case 1:
				p.Stall(true)
				p.Take(rnd.IntN(2000))
			}
		}
		p.Stall(true)
		switch {
		case abort:
			c.AbortWith(talk("bye: abort"))
			s.Turn()
		default:
			for range 15 { // those for which much is queued are closed
				if s.Advance(time.Second); !c.Valid() {
					break
				}
			}
		}
		closed := !c.Valid()
		p.Take(rnd.IntN(100))
		p.Limit(0)
		p.Stall(false)
		s.Turn()
		all := heard(t, p.Received())
		if n := len(all) - 1; closed && (n < 0 || len(all[n]) < 3 || all[n][:3] != "bye") || !closed && n >= 0 && all[n][:1] == "b" {
			t.Fatalf("seed %d: closed %v with %v, and the last of %d messages is %.20q", seed, closed, reason, len(all), all[max(n, 0):])
		}
		if closed {
			all = all[:len(all)-1]
		}
		at := 0
		for _, text := range all { // in order; those of a kind may be missing
			for at < len(sent) && sent[at] != text {
				at++
			}
			if at == len(sent) {
				t.Fatalf("seed %d: received %.20q, which was not sent then", seed, text)
			}
		}
		s.Advance(time.Minute)
		if closed && (!p.Closed() || s.e.Stats().Queued != 0) {
			t.Fatalf("seed %d: it is not closed", seed)
		}
		p.Close()
		checkGauges(t, s.e)
	}
}

// A last word is not waited for longer than SlowAfter, however often the peer takes a
// byte; and without one the connection is cut, as it always was.
func TestTheLastWordIsNotWaitedForLong(t *testing.T) {
	for _, last := range []string{"bye", ""} {
		var c Conn
		var reason error
		k := &talker{last: last}
		k.open = func(x Conn) { c = x }
		k.close = func(_ Conn, err error) { reason = err }
		s := newSim(k, Options{SoftOutbound: 1000, SlowAfter: 10 * time.Second})
		p := s.Connect(0)
		p.Stall(true)
		c.Write(talk(string(make([]byte, 50_000))))
		p.Take(10)
		for range 13 {
			if s.Advance(time.Second); !c.Valid() {
				break
			}
		}
		if !errors.Is(reason, ErrSlowPeer) || c.Valid() {
			t.Fatalf("closed with %v, want ErrSlowPeer", reason)
		}
		seconds := 0
		for ; !p.closed && seconds < 100; seconds++ {
			p.Take(1)
			s.Advance(time.Second)
		}
		if most := 13; seconds > most || last == "" && seconds > 0 || last != "" && seconds < 5 {
			t.Errorf("with the last word %q it is closed after %d s more", last, seconds)
		}
		if st := s.e.Stats(); st.Closes.Slow != 1 || st.Queued != 0 || st.Held != 0 {
			t.Errorf("the counts are %+v", st)
		}
		checkGauges(t, s.e)
	}
}

// What was begun is known however it was written.
func TestWhatWasBegunIsKnown(t *testing.T) {
	kind := &class.Kind{Policy: class.DropNew}
	one, two := talk("one "+string(make([]byte, 500))), talk("two "+string(make([]byte, 500)))
	both := append(append([]byte(nil), one...), two...)
	parts := []class.Part{{Kind: kind, End: len(one)}, {Kind: kind, End: len(both)}}
	for name, write := range map[string]func(c Conn){
		"Write":       func(c Conn) { c.Write(both) },
		"WriteShared": func(c Conn) { c.WriteShared(both) },
		"SendShared":  func(c Conn) { c.SendShared(both) },
		"WriteParts":  func(c Conn) { c.WriteParts(both, parts) },
		"SendParts":   func(c Conn) { c.SendParts(both, parts) },
		"WriteKind":   func(c Conn) { c.WriteKind(one, kind); c.WriteKind(two, kind) },
	} {
		for _, room := range []int{0, 1, 100, len(one) - 1, len(one), len(one) + 1, len(both) - 1, len(both)} {
			for _, more := range []int{0, 5} {
				var c Conn
				k := &talker{}
				k.open = func(x Conn) { c = x }
				s := newSim(k, Options{})
				p := s.Connect(0)
				p.Stall(true)
				p.Take(room)
				write(c)
				s.Turn()
				p.Take(more)
				c.AbortWith(talk("bye"))
				s.Turn()
				p.Stall(false)
				n, got := room+more, heard(t, p.Received())
				want := 1
				if n > 0 {
					want++
				}
				if n > len(one) {
					want++
				}
				if len(got) != want || got[want-1] != "bye" {
					t.Errorf("%s, of which %d and %d bytes were taken: %d messages were received, want %d", name, room, more, len(got), want)
				}
			}
		}
	}
}
