package swarm

import "slices"

// A ledger follows numbered streams and tells what became of each number:
// delivered, missing, delivered twice, or delivered late. A stream that has
// nothing wrong costs four bytes; only gaps are remembered beside it.
//
// Owned by one worker.
type ledger struct {
	next []uint32         // by stream: the number expected next
	gaps map[int32][]span // by stream: numbers skipped and not seen since

	delivered  uint64 // distinct numbers
	missing    uint64 // in gaps, now
	duplicated uint64
	outOfOrder uint64 // arrived after a higher number
}

// A span is the numbers from..to, to excluded.
type span struct{ from, to uint32 }

func newLedger(streams int) *ledger {
	return &ledger{next: make([]uint32, streams), gaps: map[int32][]span{}}
}

// observe notes the arrival of seq on stream i and returns by how much the
// stream's next number moved.
func (l *ledger) observe(i int32, seq uint32) (moved uint32) {
	next := l.next[i]
	if seq < next {
		l.late(i, seq)
		return 0
	}
	if seq > next {
		l.gaps[i] = append(l.gaps[i], span{next, seq})
		l.missing += uint64(seq - next)
	}
	l.delivered++
	l.next[i] = seq + 1
	return seq + 1 - next
}

// late settles a number below the expected one: out of a gap it was only late,
// otherwise it was there before.
func (l *ledger) late(i int32, seq uint32) {
	spans := l.gaps[i]
	at := slices.IndexFunc(spans, func(s span) bool { return s.from <= seq && seq < s.to })
	if at < 0 {
		l.duplicated++
		return
	}
	l.outOfOrder++
	l.delivered++
	l.missing--
	s := spans[at]
	spans = slices.Delete(spans, at, at+1)
	if seq+1 < s.to {
		spans = slices.Insert(spans, at, span{seq + 1, s.to})
	}
	if s.from < seq {
		spans = slices.Insert(spans, at, span{s.from, seq})
	}
	if len(spans) == 0 {
		delete(l.gaps, i)
		return
	}
	l.gaps[i] = spans
}

// forget drops what stream i still misses: its receiver is gone, and that is
// counted as a disconnection.
func (l *ledger) forget(i int32) {
	for _, s := range l.gaps[i] {
		l.missing -= uint64(s.to - s.from)
	}
	delete(l.gaps, i)
}

// bytes is the memory the ledger keeps for streams with nothing wrong.
func (l *ledger) bytes() int { return 4 * len(l.next) }
