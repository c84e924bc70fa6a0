package packetlog

import "time"

// Progress tells, on one loop, when everything up to a place had been given to the
// sessions it was for. With what a session's client has proven to have had, that
// says which events it need not be sent again, although it has told no offset.
// Owned by the loop.
type Progress struct {
	waiting []passed    // members are still being visited for what came before
	marks   []milestone // in order
}

// passed is a place in a loop's part of the rooms.
type passed struct {
	place    uint64
	enqueued uint64 // broadcasts before it
}

// A milestone is when everything up to a place had been given.
type milestone struct {
	at    int64 // ms of the loop's clock
	place uint64
}

const (
	// MarkEvery is how exactly it is known when something was delivered.
	MarkEvery = time.Second
	maxMarks  = 512
)

// Pass notes that everything up to a place has been posted to the loop, whose time
// it is; enqueued and visited are rooms.Local's Progress.
func (p *Progress) Pass(place uint64, now int64, enqueued, visited uint64) {
	p.waiting = append(p.waiting, passed{place, enqueued})
	done := 0
	for done < len(p.waiting) && p.waiting[done].enqueued <= visited {
		p.marks = append(p.marks, milestone{now, p.waiting[done].place})
		done++
	}
	if p.waiting = p.waiting[done:]; len(p.waiting) > maxMarks {
		p.waiting = p.waiting[1:]
	}
	if len(p.marks) > maxMarks {
		p.marks = append([]milestone(nil), p.marks[len(p.marks)/2:]...)
	}
}

// Marks returns the places of which it is known when everything up to them had been
// given.
func (p *Progress) Marks() (places []uint64) {
	for _, m := range p.marks {
		places = append(places, m.place)
	}
	return places
}

// Before returns the last place up to which everything had been given before a time,
// 0 if none is known.
func (p *Progress) Before(at int64) uint64 {
	if p == nil {
		return 0
	}
	for i := len(p.marks) - 1; i >= 0; i-- {
		if p.marks[i].at < at {
			return p.marks[i].place
		}
	}
	return 0
}
