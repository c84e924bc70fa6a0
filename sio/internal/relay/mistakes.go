package relay

import (
	"net/http"
	"sync"
	"time"
)

// mistakes slows down clients whose requests other servers refuse again and again,
// such as those of forged ids: a request for another server costs two what it costs
// the client one. Who makes no more than some a second is never slowed down, and who
// does gets his answers, later: behind one address there may be many. Any goroutine
// may use it.
type mistakes struct {
	mu    sync.Mutex
	level map[string]*level
	swept time.Time
}

// A level is what a client has done lately.
type level struct {
	n  float64
	at time.Time
}

const (
	mistakesAtOnce   = 64.0 // are free
	mistakesPerSec   = 8.0  // are forgotten
	mistakePause     = time.Second
	maxMistakenAddrs = 4096 // further ones share a level
)

func newMistakes() *mistakes { return &mistakes{level: map[string]*level{}} }

// note notes how a client's request was answered, and returns how long the answer is
// to wait.
func (m *mistakes) note(client string, status int, now time.Time) time.Duration {
	if status < http.StatusBadRequest || status >= http.StatusInternalServerError {
		return 0
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.level[client]
	if l == nil && len(m.level) >= maxMistakenAddrs {
		if now.Sub(m.swept) > time.Second {
			m.sweep(now)
		}
		if len(m.level) >= maxMistakenAddrs {
			client = ""
			l = m.level[client]
		}
	}
	if l == nil {
		l = &level{at: now}
		m.level[client] = l
	}
	l.fall(now)
	l.n = min(l.n+1, 2*mistakesAtOnce)
	if l.n > mistakesAtOnce {
		return mistakePause
	}
	return 0
}

func (l *level) fall(now time.Time) {
	l.n = max(0, l.n-mistakesPerSec*now.Sub(l.at).Seconds())
	l.at = now
}

// sweep forgets who has made none lately.
func (m *mistakes) sweep(now time.Time) {
	m.swept = now
	for client, l := range m.level {
		if l.fall(now); l.n == 0 {
			delete(m.level, client)
		}
	}
}
