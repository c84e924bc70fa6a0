package ioclient

import (
	"cmp"
	"errors"
	"math"
	"math/rand/v2"
	"time"
)

// A Backoff says how long to wait before each further attempt, as the stock client does:
// twice as long each time, and by chance up to Jitter of it less or more.
type Backoff struct {
	Min    time.Duration // zero: 1 s. The stock client: reconnectionDelay
	Max    time.Duration // zero: 5 s. The stock client: reconnectionDelayMax
	Jitter float64       // zero: 0.5. The stock client: randomizationFactor

	random func() float64 // in [0, 1); nil: math/rand's
}

func (b *Backoff) normalize() error {
	b.Min, b.Max, b.Jitter = cmp.Or(b.Min, time.Second), cmp.Or(b.Max, 5*time.Second), cmp.Or(b.Jitter, 0.5)
	if b.random == nil {
		b.random = rand.Float64
	}
	if b.Min < 0 || b.Max < 0 || b.Jitter < 0 || b.Jitter > 1 {
		return errors.New("a delay cannot be negative, nor its jitter beyond 0 to 1")
	}
	return nil
}

// delay returns how long to wait before attempt n, which counts from 0.
func (b *Backoff) delay(n int) time.Duration {
	ms := float64(b.Min.Milliseconds()) * math.Pow(2, float64(min(n, 62)))
	r := b.random()
	deviation := math.Floor(r * b.Jitter * ms)
	if int(r*10)&1 == 0 {
		deviation = -deviation
	}
	return time.Duration(min(ms+deviation, float64(b.Max.Milliseconds()))) * time.Millisecond
}
