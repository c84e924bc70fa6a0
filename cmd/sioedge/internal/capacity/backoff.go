package capacity

import (
	"math"
	"time"
)

// A Backoff is how long a client waits before it tries again: reconnectionDelay,
// reconnectionDelayMax and randomizationFactor of socket.io-client.
type Backoff struct {
	Delay, Max time.Duration
	Jitter     float64 // of the delay, up or down
}

// Default is what clients do that say nothing else.
var Default = Backoff{time.Second, 5 * time.Second, 0.5}

// Wait returns the delay before attempt n, from 0, of a client that has drawn random, which
// is in [0, 1). One number decides both how far the delay is from its middle and, by its
// first decimal, to which side, so that they fill every other band of a tenth of the
// jitter. Of those beyond Max nothing is left: with the defaults, from the fifth attempt on
// each waits for 5 s, and who came together comes together again.
func (b Backoff) Wait(n int, random float64) time.Duration {
	ms := float64(b.Delay.Milliseconds()) * math.Pow(2, float64(n))
	deviation := math.Floor(random * b.Jitter * ms)
	if int(random*10)&1 == 0 {
		ms -= deviation
	} else {
		ms += deviation
	}
	return time.Duration(min(ms, float64(b.Max.Milliseconds()))) * time.Millisecond
}

// A share is a part of those that wait, and for how many steps.
type share struct {
	steps int
	part  float64
}

// draws is how many numbers, evenly apart, stand for all that may be drawn.
const draws = 1000

// spread returns how those that wait before attempt n come.
func (b Backoff) spread(n int) (all []share) {
	parts := map[int]int{}
	last := 0
	for i := range draws {
		steps := int(b.Wait(n, (float64(i)+0.5)/draws) / step)
		parts[steps]++
		last = max(last, steps)
	}
	for s := range last + 1 {
		if parts[s] > 0 {
			all = append(all, share{s, float64(parts[s]) / draws})
		}
	}
	return all
}
