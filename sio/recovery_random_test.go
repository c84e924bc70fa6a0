package sio_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/wsframe"
)

// A wanderer is a client that loses its connection again and again, and what
// there is to say of it: it is the same as ever, and has had exactly what was for
// it, or it is a new one.
type wanderer struct {
	*extra
	sid, pid, offset string
	online, waiting  bool            // has a connection; has no answer to its CONNECT
	rooms            map[string]bool // that the server has put it into, also while it was away
	revoked          bool
	due, had         []int // events for it since it was new, and those that it received
}

// A journey is a server whose clients wander, in a time of its own.
type journey struct {
	*stage
	rng            *rand.Rand
	all            []*wanderer
	n              int
	recovered, new int
	log            []string
	prefix         string // of packets: the namespace, unless it is the main one
}

// newJourney returns one whose clients are in a namespace of a pattern, or in the main one.
func newJourney(t *testing.T, seed uint64, patterned bool) *journey {
	j := &journey{rng: rand.New(rand.NewPCG(seed, 1))}
	sec := func(from, to int) time.Duration { return time.Duration(from+j.rng.IntN(to-from+1)) * time.Second }
	j.stage = newStage(t, sio.Options{
		Engine: eio.Options{PingInterval: sec(1, 5), PingTimeout: sec(1, 3)}, Loop: loop.Options{Loops: 1 + j.rng.IntN(3)},
		Recovery: sio.Recovery{Window: sec(2, 30), MaxBytes: int64(j.rng.IntN(3)+1) * 3_000 << (2 * j.rng.IntN(5))},
	})
	if patterned {
		j.ns, j.prefix = j.Of("/x/:id"), "/x/1,"
	}
	for range 6 {
		j.all = append(j.all, &wanderer{rooms: map[string]bool{}})
	}
	return j
}

func (j *journey) note(format string, args ...any) {
	j.log = append(j.log, fmt.Sprintf(format, args...))
}

func (j *journey) fatal(w *wanderer, format string, args ...any) {
	j.t.Helper()
	j.t.Fatalf("client %d: %s\n%s", slices.Index(j.all, w), fmt.Sprintf(format, args...), strings.Join(j.log, "\n"))
}

// come connects a client; the connection may end before it has an answer.
func (j *journey) come(w *wanderer) {
	w.extra = &extra{t: j.t, peer: j.sim.Connect(j.rng.IntN(len(j.sim.Engine().Loops())))}
	w.peer.Send(wsframe.AppendClientHandshake(nil, "h", "/socket.io/?EIO=4&transport=websocket", [16]byte{1}))
	w.peer.Received()
	auth := map[string]string{}
	for k, v := range map[string]string{"pid": w.pid, "offset": w.offset} {
		if v != "" {
			auth[k] = v
		}
	}
	text, _ := json.Marshal(auth)
	w.online, w.waiting = true, true
	for range 2 * j.rng.IntN(8) { // it takes its time, and answers pings
		j.pass(500 * time.Millisecond)
		if slices.Contains(w.received(), "2") {
			w.send("3")
		}
	}
	j.note("client %d comes with %s", slices.Index(j.all, w), text)
	w.send("40" + j.prefix + string(text))
	j.pass(1500 * time.Millisecond) // somebody else may be asked whether it is there
	j.read(w, j.rng.IntN(4) > 0)
}

// read has a client take what it was sent, or a part of it before it goes.
func (j *journey) read(w *wanderer, all bool) {
	if !w.online {
		return
	}
	packets := w.received()
	if !all {
		packets = packets[:j.rng.IntN(len(packets)+1)]
	}
	if w.waiting {
		i := slices.IndexFunc(packets, func(p string) bool { return strings.HasPrefix(p, "40"+j.prefix) })
		if i < 0 {
			packets = nil // a client that is not connected forgets them
		} else {
			j.answer(w, packets[i], packets[:i])
			packets = slices.Concat(packets[:i], packets[i+1:])
		}
	}
	for _, p := range packets {
		switch {
		case p == "2" && all:
			w.send("3")
		case strings.HasPrefix(p, "42"+j.prefix):
			j.event(w, p)
		}
	}
	if !all {
		j.note("client %d goes", slices.Index(j.all, w))
		w.peer.Close()
		j.sim.Turn()
	}
	if w.online = !w.peer.Closed(); w.online && !w.waiting && !slices.Equal(w.had, w.due) {
		j.fatal(w, "has had %v, want %v", w.had, w.due)
	}
}

// answer takes the answer to a CONNECT, and what came before.
func (j *journey) answer(w *wanderer, p string, before []string) {
	var answer struct{ SID, PID string }
	if err := json.Unmarshal([]byte(p[2+len(j.prefix):]), &answer); err != nil {
		j.fatal(w, "CONNECT was answered %s", p)
	}
	w.waiting = false
	switch {
	case answer.SID == w.sid && w.revoked:
		j.fatal(w, "was recovered although it had been disconnected")
	case answer.SID == w.sid:
		j.recovered++
		return
	case slices.ContainsFunc(before, func(p string) bool { return p != "2" }):
		j.fatal(w, "is new, and received %q before that", before)
	}
	j.new++
	// What was emitted since it is new and this answer is among what follows: due
	// is told to it by emit, which knows nobody as long as that is waiting.
	w.sid, w.pid, w.due, w.had, w.rooms, w.revoked = answer.SID, answer.PID, nil, nil, map[string]bool{}, false
	j.note("client %d is new", slices.Index(j.all, w))
}

func (j *journey) event(w *wanderer, p string) {
	var args []any
	if json.Unmarshal([]byte(p[2+len(j.prefix):]), &args) != nil || len(args) < 2 {
		j.fatal(w, "received %s", p)
	}
	if s, ok := args[len(args)-1].(string); ok {
		w.offset = s
	}
	if args[0] == "e" {
		w.had = append(w.had, int(args[1].(float64)))
	}
}

// pass lets time go by, in which clients that are connected answer pings.
func (j *journey) pass(d time.Duration) {
	for ; d > 0; d -= 500 * time.Millisecond {
		j.sim.Advance(500 * time.Millisecond)
		for _, w := range j.all {
			if !w.waiting {
				j.read(w, true)
			}
		}
	}
}

// socket returns a client's socket, if it is connected as far as the server knows.
func (j *journey) socket(w *wanderer) (found sio.Socket, ok bool) {
	for _, s := range j.ns.All().Sockets() {
		if s.ID() == w.sid {
			return s, true
		}
	}
	return found, false
}

var journeyRooms = []string{"r1", "r2", "r3"}

// to addresses rooms, or everybody if there are none.
func (j *journey) to(names []string) sio.BroadcastOperator {
	if len(names) == 0 {
		return j.ns.All()
	}
	return j.ns.To(names...)
}

// some returns some rooms, or ids of clients, or nothing.
func (j *journey) some(most int) (names []string) {
	for range j.rng.IntN(most + 1) {
		if w := j.all[j.rng.IntN(len(j.all))]; j.rng.IntN(3) == 0 && w.sid != "" {
			names = append(names, w.sid)
		} else {
			names = append(names, journeyRooms[j.rng.IntN(len(journeyRooms))])
		}
	}
	return names
}

func (w *wanderer) in(names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return name == w.sid || w.rooms[name] })
}

// emit emits an event that many clients or one should get.
func (j *journey) emit() {
	j.n++
	filler := strings.Repeat("x", j.rng.IntN(200))
	if w := j.all[j.rng.IntN(len(j.all))]; j.rng.IntN(4) == 0 {
		if s, ok := j.socket(w); ok && !w.revoked {
			j.note("%d directly to client %d", j.n, slices.Index(j.all, w))
			if err := s.Emit("e", j.n, filler); err != nil {
				j.fatal(w, "%v", err)
			}
			w.due = append(w.due, j.n)
		}
		return
	}
	to, except := j.some(2), j.some(1)
	volatile := j.rng.IntN(8) == 0
	j.note("%d to %q except %q, volatile %t", j.n, to, except, volatile)
	if b := j.to(to).Except(except...); volatile {
		_ = b.Volatile().Emit("v", filler)
		return
	} else if err := b.Emit("e", j.n, filler); err != nil {
		j.t.Fatal(err)
	}
	for _, w := range j.all {
		if !w.revoked && (len(to) == 0 || w.in(to)) && !w.in(except) {
			w.due = append(w.due, j.n)
		}
	}
}

// operate joins, leaves or disconnects.
func (j *journey) operate() {
	w := j.all[j.rng.IntN(len(j.all))]
	room := journeyRooms[j.rng.IntN(len(journeyRooms))]
	s, here := j.socket(w)
	op := j.rng.IntN(24)
	j.note("operation %d with room %s on client %d", op, room, slices.Index(j.all, w))
	switch {
	case w.sid == "" || w.revoked:
	case op < 6 && here:
		s.Join(room)
		w.rooms[room] = true
	case op < 10:
		if s, ok := j.socket(w); ok {
			s.Leave(room)
			delete(w.rooms, room)
		}
	case op < 16:
		j.ns.To(w.sid).Join(room)
		w.rooms[room] = true
	case op < 20:
		j.ns.To(w.sid).Leave(room)
		delete(w.rooms, room)
	case op < 22:
		to := j.some(1)
		j.to(to).Join(room)
		for _, w := range j.all {
			if !w.revoked && (len(to) == 0 || w.in(to)) {
				w.rooms[room] = true
			}
		}
	case op == 22:
		j.ns.To(w.sid).Disconnect(sio.DisconnectOptions{Conn: j.rng.IntN(2) == 0})
		w.revoked = true
	default:
		if here {
			s.Disconnect(sio.DisconnectOptions{Conn: true})
			w.revoked = true
		}
	}
	j.sim.Turn()
}

// Whatever happens to connections, memberships and time, and however little is
// kept: who is recovered has every event exactly once and in order.
func TestRecoveryIsExact(t *testing.T) {
	seeds, steps := uint64(200), 200
	if testing.Short() {
		seeds = 30
	}
	recovered, lost := 0, int64(0)
	for seed := range seeds {
		j := newJourney(t, seed, seed%2 == 1)
		j.note("seed %d", seed)
		for range steps {
			w := j.all[j.rng.IntN(len(j.all))]
			switch n := j.rng.IntN(20); {
			case n < 9:
				j.emit()
				j.sim.Turn()
			case n < 12:
				j.operate()
			case n < 15 && !w.online:
				j.come(w)
			case n < 16 && w.online: // it comes back before anybody has noticed
				j.note("client %d is cut off", slices.Index(j.all, w))
				j.come(w)
			case n < 18:
				j.read(w, false)
			default:
				j.pass(time.Duration(j.rng.IntN(4)+1) * time.Second)
			}
		}
		recovered += j.recovered
		r := j.Recoveries()
		lost += r.Lost
		if r.Recovered < int64(j.recovered) || r.Bytes > 2<<20 {
			t.Errorf("seed %d: %d were recovered of %+v", seed, j.recovered, r)
		}
	}
	if recovered < int(seeds) || lost == 0 {
		t.Errorf("%d were recovered, %d lost: not much of a test", recovered, lost)
	}
}
