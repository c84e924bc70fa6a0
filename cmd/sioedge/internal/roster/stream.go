package roster

import (
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

// What a server's ledger is, two others keep: those of highest score among the servers
// that are there. They are told what has changed, in the order of versions, one message
// after the other: each says up to which version it has heard, and is told again from
// there when it does not. One that begins is told everything from version 0: of what has
// changed since, only how it is now.

const (
	keepers     = 2
	flushEvery  = 20 * time.Millisecond
	resendEvery = time.Second
	greetEvery  = 200 * time.Millisecond
	maxRows     = 1024
	softBytes   = 48 << 10
	maxAhead    = 8 * maxRows // versions that are told and not heard of
	burst       = 4           // messages at one time
)

// A stream is what this server tells of its ledger.
type stream struct {
	version    uint64
	log        []slot // in the order of versions
	stale      int    // slots without an entry, or of one that was removed
	keepers    []*keeper
	epoch      uint64
	stint      uint32
	flushed    time.Time
	beat       time.Time // the next heartbeat
	beaten     time.Time // the last one
	met        bool      // somebody was met, or is to be
	reconciled time.Time
	answers    map[life]*message
	full       []*message // answers
	took       *message
	takings    map[*entry]*taking
}

// A slot is where an entry was put when it was changed; nil: it was changed again.
type slot struct {
	version uint64
	e       *entry
}

// A keeper is a server that keeps this one's ledger.
type keeper struct {
	name        string
	epoch       uint64
	acked, sent uint64
	open        bool // it has heard something
	said        bool // something was said
	at          time.Time
}

// score is how much a server is to keep the ledger of another.
func score(of, by string) uint64 {
	h := uint64(14695981039346656037) // FNV-1a
	for _, s := range [...]string{of, by} {
		for i := range len(s) {
			h = (h ^ uint64(s[i])) * 1099511628211
		}
		h = (h ^ 0xff) * 1099511628211
	}
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// choose decides who keeps the ledger. Anew is a server that has begun anew.
func (b *book) choose(anew string) {
	var names []string
	for name, p := range b.peers.All() {
		if !p.Gone {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(x, y string) int {
		if score(b.self, x) > score(b.self, y) {
			return -1
		}
		return 1
	})
	names = names[:min(len(names), keepers)]
	old := b.stream.keepers
	b.stream.keepers = nil
	for _, name := range names {
		if i := slices.IndexFunc(old, func(k *keeper) bool { return k.name == name && name != anew }); i >= 0 {
			b.stream.keepers = append(b.stream.keepers, old[i])
			continue
		}
		b.epoch++
		b.stream.keepers = append(b.stream.keepers, &keeper{name: name, epoch: b.epoch})
	}
	b.trim()
}

// restart has a keeper be told everything.
func (b *book) restart(name string) {
	for _, k := range b.stream.keepers {
		if k.name == name {
			b.epoch++
			b.resyncs++
			*k = keeper{name: name, epoch: b.epoch}
		}
	}
}

// touch gives an entry of this server the next version.
func (b *book) touch(e *entry) {
	if !b.o.cluster || e.home != b.own {
		return
	}
	if i, ok := b.find(e.version); ok && b.log[i].e == e {
		b.log[i].e = nil
		b.stale++
	} else if e.is(removed) {
		return // it never was there, or is not any more
	}
	b.version++
	e.version = b.version
	if e.is(removed) {
		if b.stale++; len(b.stream.keepers) == 0 {
			return
		}
	}
	b.log = append(b.log, slot{e.version, e})
	if b.stale > len(b.log)/2+maxRows {
		b.trim()
	}
}

// find returns where the first slot of a version is, or of a later one.
func (b *book) find(version uint64) (i int, ok bool) {
	i = sort.Search(len(b.log), func(i int) bool { return b.log[i].version >= version })
	return i, i < len(b.log) && b.log[i].version == version
}

// trim forgets slots that nobody needs. A keeper for which too many that were removed are
// kept begins anew.
func (b *book) trim() {
	acked, dead := b.version, 0
	for _, k := range b.stream.keepers {
		acked = min(acked, k.acked)
	}
	kept := b.log[:0:0]
	for pass := range 2 {
		kept, dead = b.log[:0:0], 0
		for _, s := range b.log {
			if s.e == nil || s.e.is(removed) && s.version <= acked {
				continue
			}
			if s.e.is(removed) {
				dead++
			}
			kept = append(kept, s)
		}
		if dead <= len(b.own.entries)+16*maxRows || pass == 1 {
			break
		}
		for _, k := range slices.Clone(b.stream.keepers) {
			if k.acked < b.version {
				b.restart(k.name)
			}
		}
		acked = b.version
	}
	b.log, b.stale = kept, dead
}

// replicated tells whether those who keep the ledger have an entry as it is.
func (b *book) replicated(e *entry) bool {
	for _, k := range b.stream.keepers {
		if k.acked < e.version {
			return false
		}
	}
	return true
}

// kept tells whether those who keep the ledger have all of it.
func (b *book) kept() bool {
	for _, k := range b.stream.keepers {
		if !k.open || k.acked < b.version {
			return false
		}
	}
	return len(b.stream.keepers) > 0
}

// speak tells the others what is due.
func (b *book) speak(now time.Time, sooner func(time.Time)) {
	for _, a := range b.takeAnswers() {
		b.say(a)
	}
	if m := b.took; m != nil {
		b.took = nil
		b.sayTook(m)
	}
	b.flush(now, sooner)
	if !b.beat.After(now) {
		m := &message{Kind: here, Hello: b.met, Holds: b.holds(now)}
		if b.kept() { // else those who kept it before do still
			for _, k := range b.stream.keepers {
				m.To2 = append(m.To2, target{k.name, k.epoch})
			}
		}
		b.say(m)
		b.met = false
		b.beaten, b.beat = now, now.Add(b.o.heartbeat)
	}
	sooner(b.beat)
}

// flush tells keepers what has changed.
func (b *book) flush(now time.Time, sooner func(time.Time)) {
	if since := now.Sub(b.flushed); since < flushEvery && since >= 0 {
		for _, k := range b.stream.keepers {
			if !k.said || k.sent < b.version || k.acked < k.sent {
				sooner(b.flushed.Add(flushEvery))
				return
			}
		}
		return
	}
	sent := false
	for range burst {
		var from uint64
		var to []target
		for _, k := range b.stream.keepers {
			if (k.sent > k.acked || !k.open) && k.said && now.Sub(k.at) >= resendEvery {
				k.sent, k.said = k.acked, false
			}
			ahead := k.sent > k.acked && k.sent-k.acked > maxAhead
			if k.said && (k.sent >= b.version || ahead || !k.open) || len(to) > 0 && k.sent != from {
				continue
			}
			from = k.sent
			to = append(to, target{k.name, k.epoch})
		}
		if len(to) == 0 {
			break
		}
		m := b.rows(from, now)
		m.To2 = to
		b.say(m)
		sent = true
		for _, k := range b.stream.keepers {
			if slices.Contains(to, target{k.name, k.epoch}) {
				k.sent, k.said, k.at = m.Upto, true, now
			}
		}
	}
	if sent {
		b.flushed = now
	}
	for _, k := range b.stream.keepers {
		switch {
		case k.sent > k.acked || !k.open:
			sooner(k.at.Add(resendEvery))
			fallthrough
		case k.sent < b.version:
			if k.open && k.sent < b.version {
				sooner(b.flushed.Add(flushEvery))
			}
		}
	}
}

// rows makes a message of what has changed behind a version.
func (b *book) rows(from uint64, now time.Time) *message {
	w := &writer{m: &message{Kind: rows, Stint: b.stint, From: from, Upto: b.version, Base: now.UnixMilli()}, places: map[*place]int{}, now: now}
	i, _ := b.find(from + 1)
	for ; i < len(b.log); i++ {
		s := b.log[i]
		if s.e == nil {
			continue
		}
		if len(w.m.SIDs) >= maxRows || w.bytes >= softBytes {
			break
		}
		w.row(s.e, b.claimed[s.e])
		w.m.Upto = s.version
	}
	if i == len(b.log) {
		w.m.Upto = b.version
	}
	b.rowsSaid += int64(len(w.m.SIDs))
	return w.m
}

// heardAck is told by a keeper.
func (b *book) heardAck(from string, m *message) {
	if m.To != b.self || m.Of != b.run {
		return
	}
	for _, k := range b.stream.keepers {
		switch {
		case k.name != from || k.epoch != m.Epoch:
		case m.Lacks:
			b.restart(from)
		default:
			k.open = true
			k.acked = max(k.acked, min(m.Upto, b.version))
			k.sent = max(k.sent, k.acked)
		}
	}
	if b.stale > maxRows && b.stale > len(b.log)/2 {
		b.trim()
	}
}

// heardRows is told by a server that has this one keep its ledger, or another one.
func (b *book) heardRows(from string, m *message, now time.Time) {
	l := b.copies[from]
	i := slices.IndexFunc(m.To2, func(t target) bool { return t.Name == b.self })
	if i < 0 {
		return
	}
	epoch := m.To2[i].Epoch
	switch {
	case l != nil && epoch < l.epoch:
		return // it comes late
	case l != nil && epoch == l.epoch:
	case m.From != 0:
		b.say(&message{Kind: ack, To: from, Of: m.Run, Epoch: epoch, Lacks: true})
		return
	default:
		if l != nil {
			b.forget(l)
		}
		l = newLedger(from, m.Run)
		l.epoch = epoch
		b.copies[from] = l
	}
	if m.From == l.have {
		l.stint = m.Stint
		b.takeRows(l, m, now)
		l.have = m.Upto
	}
	b.say(&message{Kind: ack, To: from, Of: m.Run, Epoch: epoch, Upto: l.have})
}

// heardKeepers is told by a server whose ledger is kept by some: no others have to any
// more, and those are told again what they do not have.
func (b *book) heardKeepers(from string, m *message) {
	l := b.copies[from]
	i := slices.IndexFunc(m.To2, func(t target) bool { return t.Name == b.self })
	switch {
	case i >= 0 && (l == nil || l.epoch < m.To2[i].Epoch):
		b.say(&message{Kind: ack, To: from, Of: m.Run, Epoch: m.To2[i].Epoch, Lacks: true})
	case i < 0 && l != nil && len(m.To2) > 0:
		b.forget(l)
		delete(b.copies, from)
	}
}

// takeRows changes a copy as its server's ledger has changed.
func (b *book) takeRows(l *ledger, m *message, now time.Time) {
	extras, room := m.Extras, 2*b.o.entries-b.copied()
	for i, sid := range m.SIDs {
		var x extra
		if len(extras) > 0 && extras[0].Row == i {
			x, extras = extras[0], extras[1:]
		}
		b.rowsHeard++
		e := l.entries[sid]
		if e != nil {
			b.remove(e)
			room++
		}
		switch {
		case x.Removed:
			continue
		case room <= 0:
			b.unkept++
			continue
		}
		room--
		names := m.Places[m.At[i]]
		e = &entry{sid: strings.Clone(sid), user: m.Users[i], home: l, index: -1, born: m.Base - m.Born[i], gen: x.Gen, hop: x.Hop}
		e.place = b.at(keyOf(names), names[3:])
		e.set(told, x.Told)
		if x.Left > 0 {
			e.state = away
			e.due = now.UnixMilli() + x.Due
			e.parting = &parting{reason: x.Reason, left: m.Base - x.Left, recoverable: x.Recoverable}
		}
		if x.Claimed != "" {
			if p := b.peers.Get(x.Claimed); p != nil {
				b.claimed[e] = &claimed{by: x.Claimed, run: p.Run}
			} else if x.Claimed == b.self {
				b.claimed[e] = &claimed{by: b.self, run: b.run}
			}
		}
		l.entries[e.sid] = e
	}
}

// copied returns how many entries of others are kept.
func (b *book) copied() (n int) {
	for _, l := range b.copies {
		n += len(l.entries)
	}
	for _, l := range b.lost {
		n += len(l.entries)
	}
	for _, l := range b.returning {
		n += len(l.entries)
	}
	return n
}

// keyOf returns the key of a place, as it is told: backend, route, namespace, and names
// with values.
func keyOf(names []string) placeKey {
	return placeKey{backend: names[0], route: names[1], namespace: names[2], params: paramsKey(names[3:])}
}

// paramsKey makes a key of names with values.
func paramsKey(names []string) string {
	var s strings.Builder
	for _, n := range names {
		s.WriteString(strconv.Itoa(len(n)))
		s.WriteByte(':')
		s.WriteString(n)
	}
	return s.String()
}
