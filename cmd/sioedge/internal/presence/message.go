package presence

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"time"
)

// Kinds of messages.
const (
	here    = "here"    // I am there, and this is the sum of what I have
	changes = "changes" // some of my buckets are one version further
	state   = "state"   // these are my buckets
	ask     = "ask"     // tell me your buckets whose hashes are not these
	bye     = "bye"     // I end
)

// A message is what a server says to the others.
type message struct {
	Kind  string   `json:"k"`
	Run   int64    `json:"r"`
	Sum   uint64   `json:"s,omitempty"`  // of here
	Hello bool     `json:"n,omitempty"`  // of here: I have begun, who are you?
	Names []string `json:"t,omitempty"`  // of namespaces, rooms and users
	Parts []part   `json:"p,omitempty"`  // of changes and state
	To    string   `json:"to,omitempty"` // of ask: the server that is asked
	Have  []byte   `json:"h,omitempty"`  // of ask: hashes of buckets, 8 bytes each
	// Linger is, of bye, for how many ms the members are shown still.
	Linger int64 `json:"l,omitempty"`
}

// A part is of a bucket.
type part struct {
	Bucket  int    `json:"b"`
	Version uint64 `json:"v"`
	Hash    uint64 `json:"h,omitempty"` // of state: that of the whole bucket
	Slice   int    `json:"j,omitempty"` // of state: this one
	Slices  int    `json:"k,omitempty"` // of state: of so many, a power of two
	// Entries are in groups of four: namespace, room and user, by their place in
	// Names, and connections, -1 for a member that is there no more.
	Entries []int32 `json:"e"`
}

// What is said at one time, about: a part is never divided.
const (
	softBytes   = 48 << 10
	softEntries = 1024
	maxName     = 1 << 10     // bytes of one
	maxLinger   = 10 * 60_000 // ms
)

var errShape = errors.New("no message of presence")

// A writer makes messages of parts.
type writer struct {
	kind  string
	say   func(*message)
	m     *message
	index map[string]int32
	bytes int
	count int
}

func (w *writer) name(s string) int32 {
	i, ok := w.index[s]
	if !ok {
		i = int32(len(w.m.Names))
		w.index[s] = i
		w.m.Names = append(w.m.Names, s)
		w.bytes += len(s) + 3
	}
	return i
}

// begin has room for a part.
func (w *writer) begin() {
	if w.m != nil && (w.bytes >= softBytes || w.count >= softEntries) {
		w.end()
	}
	if w.m == nil {
		w.m, w.index, w.bytes, w.count = &message{Kind: w.kind}, map[string]int32{}, 0, 0
	}
}

func (w *writer) entry(p *part, m *member, conns int32) {
	at := m.room.at
	p.Entries = append(p.Entries, w.name(at.instance), w.name(at.room), w.name(m.user), conns)
	w.bytes += 16
	w.count++
}

func (w *writer) end() {
	if w.m != nil {
		w.say(w.m)
		w.m = nil
	}
}

// flush tells what has changed.
func (v *view) flush(now time.Time) {
	if len(v.changed) == 0 {
		return
	}
	v.flushed = now
	by := map[int][]*member{}
	for m := range v.changed {
		b := bucketOf(hashOf(m.room.at, m.user))
		by[b] = append(by[b], m)
	}
	v.changed = map[*member]struct{}{}
	w := &writer{kind: changes, say: v.say}
	for b, all := range by {
		for len(all) > 0 {
			w.begin()
			v.own[b].version++
			p := part{Bucket: b, Version: v.own[b].version}
			for len(all) > 0 && len(p.Entries) < 4*softEntries && w.bytes < 2*softBytes {
				conns := int32(-1)
				// It may have come anew since, as another member of that name.
				if m := v.find(all[0].room.at, all[0].user); m != nil && m.mine {
					conns = m.own
				}
				w.entry(&p, all[0], conns)
				all = all[1:]
			}
			w.m.Parts = append(w.m.Parts, p)
		}
	}
	w.end()
}

// reply tells some of the buckets that were asked for, the rest the next time.
func (v *view) reply(now time.Time) {
	v.replied = now
	told := 0
	w := &writer{kind: state, say: func(m *message) { v.say(m) }}
	for b := range v.wanted {
		if !v.wanted[b] {
			continue
		}
		if told > 2*softEntries {
			break
		}
		v.wanted[b] = false
		v.wants--
		v.answered++
		told += len(v.own[b].members) + 1
		v.tellBucket(w, b)
	}
	w.end()
}

// tellBucket writes the whole of a bucket, in slices that are not too long.
func (v *view) tellBucket(w *writer, b int) {
	own, size := &v.own[b], 0
	for m := range own.members {
		size += len(m.user) + len(m.room.at.room) + 32
	}
	slices := 1
	for slices < maxSlices && (size/slices > softBytes || len(own.members)/slices > softEntries) {
		slices *= 2
	}
	in := make([][]*member, slices)
	for m := range own.members {
		i := sliceOf(hashOf(m.room.at, m.user), slices)
		in[i] = append(in[i], m)
	}
	for i, all := range in {
		w.begin()
		p := part{Bucket: b, Version: own.version, Hash: own.hash, Slice: i, Slices: slices}
		for _, m := range all {
			w.entry(&p, m, m.own)
		}
		w.m.Parts = append(w.m.Parts, p)
	}
}

// question asks a server for what it has and this one does not.
func (n *node) question(name string) *message {
	m := &message{Kind: ask, To: name}
	for i := range n.buckets {
		m.Have = binary.LittleEndian.AppendUint64(m.Have, n.buckets[i].hash)
	}
	return m
}

// hear takes what another server says. The error says that it is no message.
func (v *view) hear(from string, m *message, now time.Time) error {
	if err := m.check(); err != nil {
		return err
	}
	if v.ended || from == v.self {
		return nil
	}
	n := v.node(from, m.Run, now)
	if n == nil {
		return nil
	}
	switch m.Kind {
	case here:
		if soon := v.beaten.Add(greetEvery); m.Hello && soon.Before(v.beat) {
			v.beat = soon
		}
		if m.Sum != n.hash && !n.short {
			n.dirty = true
		}
	case bye:
		n.leaves = now.Add(time.Duration(m.Linger) * time.Millisecond)
	case ask:
		v.askedFor(m, now)
	case changes:
		for i := range m.Parts {
			v.change(n, m, &m.Parts[i])
		}
	case state:
		for i := range m.Parts {
			v.replace(n, m, &m.Parts[i])
		}
	}
	return nil
}

// askedFor notes what is to be told.
func (v *view) askedFor(m *message, now time.Time) {
	if m.To != v.self {
		return
	}
	v.flush(now)
	for i := range v.own {
		if binary.LittleEndian.Uint64(m.Have[8*i:]) != v.own[i].hash && !v.wanted[i] {
			v.wanted[i] = true
			v.wants++
		}
	}
}

// change takes a change, if what it is one of is there.
func (v *view) change(n *node, m *message, p *part) {
	b := &n.buckets[p.Bucket]
	switch {
	case p.Version <= b.version, b.slices > 0 && p.Version <= b.coming:
		return // what is there is newer
	case p.Version > b.version+1, b.slices > 0:
		n.dirty = true
		return
	}
	b.version = p.Version
	v.putAll(n, m, p)
}

// replace takes a slice of a bucket: what is not in it is not there.
func (v *view) replace(n *node, m *message, p *part) {
	b := &n.buckets[p.Bucket]
	switch {
	case p.Version < b.version, b.slices > 0 && p.Version < b.coming, p.Version == b.version && p.Hash == b.hash:
		return
	case b.slices != p.Slices || b.coming != p.Version:
		b.coming, b.slices, b.have = p.Version, p.Slices, 0
	}
	there := make(map[*member]struct{}, len(p.Entries)/4)
	v.putAll(n, m, p)
	for e := p.Entries; len(e) > 0; e = e[4:] {
		if x := v.find(place{m.Names[e[0]], m.Names[e[1]]}, m.Names[e[2]]); x != nil {
			there[x] = struct{}{}
		}
	}
	for x := range b.members {
		if _, ok := there[x]; !ok && sliceOf(hashOf(x.room.at, x.user), p.Slices) == p.Slice {
			v.put(n, x.room.at, x.user, -1)
		}
	}
	if b.have |= 1 << p.Slice; bits.OnesCount64(b.have) == p.Slices {
		b.version, b.slices = p.Version, 0
	}
}

func (v *view) putAll(n *node, m *message, p *part) {
	for e := p.Entries; len(e) > 0; e = e[4:] {
		v.put(n, place{m.Names[e[0]], m.Names[e[1]]}, m.Names[e[2]], e[3])
	}
}

// check says what is wrong with a message.
func (m *message) check() error {
	switch m.Kind {
	case here, changes, state:
	case bye:
		if m.Linger < 0 || m.Linger > maxLinger {
			return fmt.Errorf("%w: a linger of %d ms", errShape, m.Linger)
		}
	case ask:
		if len(m.Have) != 8*buckets {
			return fmt.Errorf("%w: %d bytes of hashes", errShape, len(m.Have))
		}
	default:
		return fmt.Errorf("%w: kind %.20q", errShape, m.Kind)
	}
	for _, s := range m.Names {
		if len(s) > maxName {
			return fmt.Errorf("%w: a name of %d bytes", errShape, len(s))
		}
	}
	for i := range m.Parts {
		if err := m.Parts[i].check(m.Kind, m.Names); err != nil {
			return err
		}
	}
	return nil
}

func (p *part) check(kind string, names []string) error {
	slices := max(p.Slices, 1)
	switch {
	case p.Bucket < 0 || p.Bucket >= buckets || p.Version == math.MaxUint64:
		return fmt.Errorf("%w: bucket %d of version %d", errShape, p.Bucket, p.Version)
	case len(p.Entries)%4 != 0:
		return fmt.Errorf("%w: %d numbers are no entries", errShape, len(p.Entries))
	case (kind == state) != (p.Slices > 0), slices > maxSlices || slices&(slices-1) != 0, p.Slice < 0 || p.Slice >= slices:
		return fmt.Errorf("%w: slice %d of %d", errShape, p.Slice, p.Slices)
	}
	for e := p.Entries; len(e) > 0; e = e[4:] {
		for _, i := range e[:3] {
			if i < 0 || int(i) >= len(names) {
				return fmt.Errorf("%w: name %d of %d", errShape, i, len(names))
			}
		}
		if e[3] < -1 || e[3] > math.MaxInt32/maxNodes || kind == state && e[3] < 0 {
			return fmt.Errorf("%w: %d connections", errShape, e[3])
		}
		h := hashOf(place{names[e[0]], names[e[1]]}, names[e[2]])
		if bucketOf(h) != p.Bucket || kind == state && sliceOf(h, slices) != p.Slice {
			return fmt.Errorf("%w: a member in another's bucket", errShape)
		}
	}
	return nil
}
