package webhook

import (
	"errors"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"
)

// The breaker opens when half of the requests of the last breakerWindow, and at least
// breakerLeast, have failed; after breakerOpen one of them may try.
const (
	breakerWindow = 5 * time.Second
	breakerBucket = time.Second
	breakerLeast  = 20
	breakerOpen   = 2 * time.Second
)

// A breaker keeps requests from a backend that fails. Any goroutine may use it.
type breaker struct {
	two *gobreaker.TwoStepCircuitBreaker[struct{}]

	// Guarded by mu.
	mu      sync.Mutex
	opened  time.Time     // when it has opened last
	changed chan struct{} // closed, and another, when its state changes
	opens   int64
}

// errIll is what the breaker is told of a request that speaks against the backend.
var errIll = errors.New("webhook: the backend fails")

// newBreaker returns a closed one. told is called with each state, and must not call it.
func newBreaker(name string, told func(State)) *breaker {
	b := &breaker{changed: make(chan struct{})}
	b.two = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name: name, MaxRequests: 1, Interval: breakerWindow, BucketPeriod: breakerBucket, Timeout: breakerOpen,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			return c.Requests >= breakerLeast && 2*c.TotalFailures >= c.TotalSuccesses+c.TotalFailures
		},
		OnStateChange: func(_ string, _, to gobreaker.State) {
			b.mu.Lock()
			if to == gobreaker.StateOpen {
				b.opened = time.Now()
				b.opens++
			}
			close(b.changed)
			b.changed = make(chan struct{})
			b.mu.Unlock()
			told(State(to))
		},
	})
	return b
}

// A State is that of a breaker, as metrics have it.
type State int

// The states: requests are made; one is, to try; none are.
const (
	Closed   = State(gobreaker.StateClosed)
	HalfOpen = State(gobreaker.StateHalfOpen)
	Open     = State(gobreaker.StateOpen)
)

// String names the state.
func (s State) String() string { return gobreaker.State(s).String() }

// state returns it as it is now.
func (b *breaker) state() State { return State(b.two.State()) }

// allow tells whether a request may be made, whose outcome done is then called with, and
// whether it is only to try. Otherwise it says when to ask again: after d, or when changed
// is closed.
func (b *breaker) allow() (done func(Outcome), trial bool, changed <-chan struct{}, d time.Duration) {
	b.mu.Lock()
	changed = b.changed // of a state before that which Allow sees
	b.mu.Unlock()
	told, err := b.two.Allow()
	if err == nil {
		return func(o Outcome) {
			if treatments[o].ill {
				told(errIll)
			} else {
				told(nil)
			}
		}, b.state() == HalfOpen, nil, 0
	}
	if errors.Is(err, gobreaker.ErrTooManyRequests) {
		return nil, false, changed, breakerOpen // what comes of the one that tries changes the state
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return nil, false, changed, max(time.Until(b.opened.Add(breakerOpen)), 0) + breakerOpen/100
}

// trip opens it, as another server's was.
func (b *breaker) trip() {
	for range breakerLeast {
		if told, err := b.two.Allow(); err == nil {
			told(errIll)
		}
	}
}

// addOpened counts how often that has opened, and takes what trip has counted for it.
func (b *breaker) addOpened(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.opens = max(b.opens, n)
}

// count returns how often it has opened.
func (b *breaker) count() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.opens
}
