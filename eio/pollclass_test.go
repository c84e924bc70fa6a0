package eio

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/class"
	"github.com/sioedge/sioedge/loop/http1"
)

// A listener is a client that notes what it is sent, over polling and a WebSocket.
type listener struct {
	t       *testing.T
	packets []string // what it has got: text behind 4, binary behind b
	body    []byte   // of answers that have not come wholly
	frames  []byte   // likewise
}

// answers notes what has come on a connection of polls, and how many answers that is.
func (l *listener) answers(b []byte) (n int) {
	l.body = append(l.body, b...)
	for {
		head, rest, ok := bytes.Cut(l.body, []byte("\r\n\r\n"))
		if !ok {
			return n
		}
		_, length, _ := strings.Cut(string(head), "Content-Length: ")
		length, _, _ = strings.Cut(length, "\r\n")
		size, err := strconv.Atoi(length)
		if err != nil || !bytes.HasPrefix(head, []byte("HTTP/1.1 200")) {
			l.t.Fatalf("an answer begins %q", head)
		}
		if len(rest) < size {
			return n
		}
		for p := range strings.SplitSeq(string(rest[:size]), "\x1e") {
			l.packet(p)
		}
		l.body = rest[size:]
		n++
	}
}

func (l *listener) packet(p string) {
	switch {
	case strings.HasPrefix(p, "b"):
		data, err := base64.StdEncoding.DecodeString(p[1:])
		if err != nil {
			l.t.Fatal(err)
		}
		l.packets = append(l.packets, "b"+string(data))
	case strings.HasPrefix(p, "4"):
		l.packets = append(l.packets, p)
	}
}

// received notes what has come on a WebSocket.
func (l *listener) received(b []byte) {
	if head, rest, ok := bytes.Cut(b, []byte("\r\n\r\n")); ok && bytes.HasPrefix(head, []byte("HTTP/1.1 101")) {
		b = rest
	}
	l.frames = append(l.frames, b...)
	for len(l.frames) > 1 {
		n, at := int(l.frames[1]), 2
		switch {
		case n == 126 && len(l.frames) >= 4:
			n, at = int(binary.BigEndian.Uint16(l.frames[2:])), 4
		case n >= 126:
			return
		}
		if len(l.frames) < at+n {
			return
		}
		p := l.frames[at : at+n]
		if l.frames[0]&0x40 != 0 {
			p = inflated(l.t, p)
		}
		switch l.frames[0] & 15 {
		case 1:
			l.packet(string(p))
		case 2:
			l.packets = append(l.packets, "b"+string(p))
		}
		l.frames = l.frames[at+n:]
	}
}

// spoken are messages by name, each "name:number:padding", of which those with a + have
// an attachment "name:number".
type spoken map[string][]int

func (l *listener) heard() (all spoken) {
	all = spoken{}
	for i := 0; i < len(l.packets); i++ {
		parts := strings.Split(l.packets[i], ":")
		if len(parts) != 3 || parts[0][0] != '4' || strings.Trim(parts[2], "x+") != "" {
			l.t.Fatalf("a torn message: %.80q", l.packets[i])
		}
		n, err := strconv.Atoi(parts[1])
		if err != nil {
			l.t.Fatal(err)
		}
		name := parts[0][1:]
		if strings.HasPrefix(parts[2], "+") {
			if i++; i == len(l.packets) || l.packets[i] != fmt.Sprintf("b%s:%d", name, n) {
				l.t.Fatalf("the attachment of %s %d is not behind it", name, n)
			}
		}
		all[name] = append(all[name], n)
	}
	return all
}

// Over polling, a WebSocket, or one after the other, with compression and attachments:
// each message was received whole, or counted as dropped, and none that may not be
// dropped was.
func TestSentIsReceivedOrDropped(t *testing.T) {
	seeds := uint64(700)
	if raceEnabled {
		seeds = 60
	}
	for _, way := range []string{"polling", "websocket", "upgrade"} {
		for seed := range seeds {
			t.Run(fmt.Sprint(way, " ", seed), func(t *testing.T) { runKinds(t, way, rand.New(rand.NewPCG(seed, 5))) })
		}
	}
}

// A talk is one such run.
type talk struct {
	*listener
	r       *rand.Rand
	srv     *Server
	sim     *loop.Sim
	session Session
	polls   *loop.Peer // nil: there is none
	ws      *loop.Peer // likewise
	polling bool
	kinds   map[string]*class.Kind
	sent    spoken
	dropped map[string]int
}

func runKinds(t *testing.T, way string, r *rand.Rand) {
	x := &talk{listener: &listener{t: t}, r: r, sent: spoken{}, dropped: map[string]int{}, kinds: map[string]*class.Kind{"firm": nil}}
	for p := class.DropNew; p <= class.Conflate; p++ {
		for key := range 2 {
			name := fmt.Sprint(p, key)
			x.kinds[name] = &class.Kind{Policy: p, Key: name, Owner: name, Ordered: key == 1}
		}
	}
	soft := 1000 + r.IntN(3000)
	var zip *Compression
	if r.IntN(8) == 0 { // compressors take a while to make
		zip = &Compression{Threshold: 150}
	}
	x.srv, x.sim = newSim(t, &hooks{open: func(s Session, _ *http1.Request) { x.session = s }},
		Options{MaxQueue: soft, Compression: zip}, loop.Options{SoftOutbound: soft, MaxOutbound: 1 << 20})
	x.sim.Engine().Loops()[0].OnDrop(func(k *class.Kind, n int) { x.dropped[k.Owner.(string)] += n })
	x.open(way)
	upgradeAt := 10 + r.IntN(30)
	for round := range 50 {
		x.step(x.say)
		if way == "upgrade" && round == upgradeAt {
			x.upgrade()
		}
		x.listen()
		sh := x.srv.shards[0]
		if e := sh.peekExt(x.session.slot); e != nil {
			checkPollQueue(t, sh, e)
		}
	}
	x.finish()
}

func (x *talk) open(way string) {
	c := x.sim.Connect(0)
	if way == "websocket" {
		c.Send(deflateRequest("EIO=4&transport=websocket"))
		x.ws = c
		x.received(c.Received())
		x.ws.Stall(true)
		return
	}
	c.Send(getRequest("EIO=4&transport=polling"))
	x.answers(c.Received())
	x.packets, x.polls = nil, c
}

// step has f called in a step of the loop.
func (x *talk) step(f func()) {
	x.sim.Engine().Loops()[0].Post(loop.TaskFunc(func(*loop.Loop) { f() }))
	x.sim.Turn()
}

// say sends some messages, in some of the ways there are.
func (x *talk) say() {
	names := []string{"firm", "drop-new0", "drop-new1", "drop-oldest0", "drop-oldest1", "conflate0", "conflate1"}
	var joined []*Prepared
	for range x.r.IntN(8) {
		name := names[x.r.IntN(len(names))]
		n, k := len(x.sent[name])+1, x.kinds[name]
		x.sent[name] = append(x.sent[name], n)
		pad := strings.Repeat("x", x.r.IntN(300))
		with := x.r.IntN(4) == 0
		if with {
			pad = "+" + pad
		}
		frames := AppendText(nil, fmt.Appendf(nil, "%s:%d:%s", name, n, pad))
		if with {
			frames = AppendBinary(frames, fmt.Appendf(nil, "%s:%d", name, n))
		}
		if len(joined) == 0 && x.r.IntN(2) == 0 {
			x.session.SendKind(frames, x.r.IntN(2) == 0, k)
			clear(frames)
			continue
		}
		joined = append(joined, PrepareFrames(frames).OfKind(k))
	}
	switch {
	case len(joined) > 1:
		x.session.SendPrepared(x.srv.Concat(joined), x.r.IntN(2) == 0)
	case len(joined) == 1:
		x.session.SendPrepared(joined[0], x.r.IntN(2) == 0)
	}
}

// listen has the client take something, or not.
func (x *talk) listen() {
	if x.ws != nil {
		x.ws.Take(x.r.IntN(800))
		if x.r.IntN(8) == 0 {
			x.ws.Stall(false)
			x.sim.Turn()
			x.ws.Stall(true)
		}
		x.sim.Turn()
		x.received(x.ws.Received())
	}
	if x.polls == nil {
		return
	}
	if x.polling && x.answers(x.polls.Received()) > 0 {
		x.polling = false
	}
	if !x.polling && x.r.IntN(4) == 0 {
		x.polls.Send(getRequest("EIO=4&transport=polling&sid=" + x.session.ID()))
		x.polling = x.answers(x.polls.Received()) == 0
	}
}

// upgrade goes on over a WebSocket, with the last poll answered.
func (x *talk) upgrade() {
	x.ws = x.sim.Connect(0)
	x.ws.Send(deflateRequest("EIO=4&transport=websocket&sid=" + x.session.ID()))
	x.ws.Send(textFrame("2probe"))
	x.step(x.say)
	x.sim.Advance(150 * time.Millisecond) // for the noop
	if x.polling && x.answers(x.polls.Received()) == 0 {
		x.t.Fatal("the poll is not answered while the client upgrades")
	}
	x.received(x.ws.Received())
	x.ws.Stall(x.r.IntN(2) == 0)
	x.ws.Send(textFrame("5"))
	x.polling, x.polls = false, nil
}

// finish has the client take everything, and compares.
func (x *talk) finish() {
	if x.ws != nil {
		x.ws.Stall(false)
		x.sim.Turn()
		x.received(x.ws.Received())
	}
	for range 200 {
		if x.polls == nil || x.polling {
			break
		}
		x.polls.Send(getRequest("EIO=4&transport=polling&sid=" + x.session.ID()))
		x.polling = x.answers(x.polls.Received()) == 0
	}
	heard := x.heard()
	sum := 0
	for name, sent := range x.sent {
		got := heard[name]
		if len(got)+x.dropped[name] != len(sent) {
			x.t.Errorf("of %s %d were sent, %d received, %d dropped", name, len(sent), len(got), x.dropped[name])
		}
		if !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != len(got) {
			x.t.Errorf("%s came in the order %v", name, got)
		}
		if !strings.HasPrefix(name, "drop-new") && (len(got) == 0 || got[len(got)-1] != len(sent)) {
			x.t.Errorf("the newest of %s is %d, received was %v", name, len(sent), got)
		}
		sum += x.dropped[name]
	}
	if st := x.sim.Engine().Stats(); int(st.Dropped.Sum()) != sum || st.Queued != 0 || x.srv.Stats().Queued != 0 || x.srv.Stats().Entries != 0 {
		x.t.Errorf("%d were dropped, Stats say %+v, %+v", sum, st.Dropped, x.srv.Stats().Queued)
	}
}

// checkPollQueue recounts a queue.
func checkPollQueue(t *testing.T, sh *shard, e *ext) {
	t.Helper()
	bytes, dead, marked := 0, 0, 0
	for i, q := range e.queue {
		if q.frames == nil {
			dead++
			continue
		}
		bytes += q.size()
		if q.mark != 0 {
			marked++
			if at := e.index.Place(q.mark); at != e.base+uint32(i) {
				t.Fatalf("queue[%d] is %d for the index", i, at-e.base)
			}
		} else if q.kind != nil {
			t.Fatalf("queue[%d] was not judged at the end of the step", i)
		}
	}
	if bytes != e.queued || dead != e.dead || e.fresh != 0 || e.freshHeld != 0 || dead > len(e.queue)/2+maxPackets {
		t.Fatalf("%d bytes, %d dead of %d; the queue says %d, %d; %d fresh", bytes, dead, len(e.queue), e.queued, e.dead, e.fresh)
	}
	if st := sh.srv.Stats(); st.Queued != int64(bytes) || st.Entries != int64(len(e.queue)-dead) {
		t.Fatalf("Queued %d, Entries %d, want %d, %d", st.Queued, st.Entries, bytes, len(e.queue)-dead)
	}
	if e.index != nil && e.index.Len() != marked {
		t.Fatalf("the index has %d messages, want %d", e.index.Len(), marked)
	}
}

// A client that does not poll is closed for what may not be dropped alone, and by the
// ping otherwise.
func TestAPollerIsNotSlowForWhatMayBeDropped(t *testing.T) {
	for _, k := range []*class.Kind{nil, {Policy: class.DropNew}, {Policy: class.DropOldest}, {Policy: class.Conflate}} {
		var now Session
		var reason Reason
		srv, sim := newSim(t, &hooks{
			open:  func(s Session, _ *http1.Request) { now = s },
			close: func(_ Session, r Reason) { reason = r },
		}, Options{MaxQueue: 1000, SlowAfter: time.Second, PingInterval: 20 * time.Second}, loop.Options{})
		c := sim.Connect(0)
		c.Send(getRequest("EIO=4&transport=polling"))
		frames := AppendText(nil, []byte(strings.Repeat("x", 400)))
		for range 10 {
			sim.Engine().Loops()[0].Post(loop.TaskFunc(func(*loop.Loop) { now.SendKind(frames, false, k) }))
			sim.Advance(time.Second)
		}
		want := Reason("")
		if k == nil {
			want = TransportError
		}
		if reason != want || k != nil && srv.Stats().Queued > 2000 {
			t.Errorf("%v: closed with %q, %d bytes are queued, want %q", k, reason, srv.Stats().Queued, want)
		}
		if sim.Advance(time.Minute); k != nil && reason != PingTimeout {
			t.Errorf("%v: closed with %q, want %q", k, reason, PingTimeout)
		}
	}
}

// A poller gets the hard bound as an end only if nothing makes room.
func TestTheHardBoundOfAPollersQueue(t *testing.T) {
	for _, k := range []*class.Kind{nil, {Policy: class.DropNew}, {Policy: class.DropOldest}, {Policy: class.Conflate}} {
		var now Session
		srv, sim := newSim(t, &hooks{open: func(s Session, _ *http1.Request) { now = s }},
			Options{MaxQueue: 1000, MaxQueueHard: 4000, SlowAfter: time.Hour, PingTimeout: time.Hour}, loop.Options{})
		sim.Connect(0).Send(getRequest("EIO=4&transport=polling"))
		frames := AppendText(nil, []byte(strings.Repeat("x", 300)))
		sim.Engine().Loops()[0].Post(loop.TaskFunc(func(*loop.Loop) {
			for range 100 { // in one step
				now.SendKind(frames, false, k)
			}
		}))
		sim.Turn()
		if open := now.Valid(); open != (k != nil) || srv.Stats().Overflow != map[bool]int64{true: 1}[k == nil] {
			t.Errorf("%v: open %v, Stats().Overflow %d", k, open, srv.Stats().Overflow)
		}
	}
}
