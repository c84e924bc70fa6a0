package capacity

import (
	"math"
	"time"
)

// A Storm is the return of clients that were all lost at once, to a server that lets some in,
// refuses others, and leaves waiting those that its cores have no time for.
type Storm struct {
	Clients int64
	// Rate is how many are let in a second, and as many at once; 0: as many as loops, of which
	// each core has one, have time for; negative: any number.
	Rate             float64
	Cores            int
	Connect, Refusal float64 // µs of one core
	Down             time.Duration
	Backoff          Backoff
}

// A Return is how long it takes, from the loss, until so many are back, and what it costs.
type Return struct {
	Half       Seconds `json:"half_seconds"`
	NinetyNine Seconds `json:"ninety_nine_seconds"`
	All        Seconds `json:"all_seconds"` // negative: not within an hour
	Refused    int64   `json:"refused"`     // attempts, with 503
	TimedOut   int64   `json:"timed_out"`   // attempts that the cores had no time for within 20 s
	Peak       int64   `json:"peak"`        // attempts in the worst second that the server listened
}

// Seconds is a time to a hundredth.
type Seconds float64

const (
	step     = 10 * time.Millisecond
	aSecond  = int(time.Second / step)
	horizon  = 3600 * aSecond
	patience = 20 * aSecond // the client's timeout
	// classes are the attempts that differ; those after the last wait as long.
	classes = 8
)

// A group of clients made the same attempt at the same time, and waits to be answered.
type group struct {
	at, class int
	n         float64
}

// A storm is one run. Clients are parts of a whole: what each draws does not matter, as they
// are many, and a run has the same result each time.
type storm struct {
	Storm
	spreads [classes][]share
	due     [][classes]float64 // by step
	waiting []group
	queued  float64 // those that wait
	gate    admission
	back    float64
	refused float64
	timed   float64
}

// Run computes it.
func (s Storm) Run() (r Return) {
	m := storm{Storm: s, due: make([][classes]float64, 1), gate: admission{
		rate: s.Rate, loops: float64(s.Cores), room: max(s.Rate, 0), most: float64(s.Cores) * 1e6 / s.Connect * advisedShare}}
	for i := range m.spreads {
		m.spreads[i] = s.Backoff.spread(i)
	}
	m.again(0, -1, float64(s.Clients))
	r = Return{Half: -1, NinetyNine: -1, All: -1}
	down, second := int(s.Down/step), make([]float64, aSecond)
	peak, sum := 0.0, 0.0
	for now := 0; now < horizon; now++ {
		came := m.arrive(now, now < down)
		sum += came - second[now%aSecond]
		second[now%aSecond] = came
		peak = max(peak, sum)
		if now >= down {
			m.answer(now)
		}
		t := Seconds(float64(now+1) / float64(aSecond))
		for _, mark := range []struct {
			at   *Seconds
			part float64
		}{{&r.Half, 0.5}, {&r.NinetyNine, 0.99}, {&r.All, 1}} {
			if *mark.at < 0 && m.back >= float64(s.Clients)*mark.part-0.5 {
				*mark.at = t
			}
		}
		if r.All >= 0 {
			break
		}
	}
	r.Refused, r.TimedOut, r.Peak = round(m.refused), round(m.timed), round(peak)
	return r
}

func round(n float64) int64 { return int64(math.Round(n)) }

// again has n clients wait before their attempt after class.
func (m *storm) again(now, class int, n float64) {
	next := min(class+1, classes-1)
	for _, s := range m.spreads[next] {
		at := now + max(s.steps, 1)
		for len(m.due) <= at {
			m.due = append(m.due, [classes]float64{})
		}
		m.due[at][next] += n * s.part
	}
}

// arrive takes the attempts of a step. Those at a server that does not listen fail at once.
func (m *storm) arrive(now int, down bool) (came float64) {
	if now >= len(m.due) {
		return 0
	}
	for class, n := range m.due[now] {
		switch {
		case n == 0:
		case down:
			m.again(now, class, n)
		default:
			came, m.queued = came+n, m.queued+n
			m.waiting = append(m.waiting, group{now, class, n})
		}
	}
	return came
}

// answer has the cores work for a step: the first that wait get in as far as there is room,
// the next are refused, in what time is left.
func (m *storm) answer(now int) {
	budget := float64(m.Cores) * float64(step.Microseconds())
	for len(m.waiting) > 0 && now-m.waiting[0].at >= patience {
		g := m.waiting[0]
		m.waiting = m.waiting[1:]
		m.timed, m.queued = m.timed+g.n, m.queued-g.n
		m.again(now, g.class, g.n)
	}
	room, before, refused := m.gate.admit(now, m.queued*m.Connect/budget), m.back, m.refused
	for len(m.waiting) > 0 && budget > 0 {
		g := &m.waiting[0]
		in := min(g.n, room, budget/m.Connect)
		room, budget = room-in, max(budget-in*m.Connect, 0)
		out := min(g.n-in, budget/m.Refusal)
		if out > 0 {
			budget -= out * m.Refusal
			m.again(now, g.class, out)
		}
		m.back, m.refused, m.queued, g.n = m.back+in, m.refused+out, m.queued-in-out, g.n-in-out
		if g.n > 1e-9 {
			break
		}
		m.waiting = m.waiting[1:]
	}
	m.gate.has(m.back-before, m.refused > refused)
}
