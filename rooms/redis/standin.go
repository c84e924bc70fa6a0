package redis

import (
	"context"
	"crypto/subtle"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sioedge/sioedge/rooms/redis/wire"
)

// While two processes are one server, Redis counts two, and who asks all servers waits for
// as many answers as it counts. So each of the two gives an answer to what the other one
// answers: that there is nothing. It comes last, since who counted a moment before the
// second was there would take it for the answer of a server that is slower.
//
// To events between servers, Node's have no answer that is none: they get one answer, and
// wait for the other one in vain.

const (
	// standInPause is how long such an answer waits.
	standInPause = 250 * time.Millisecond
	// parted is for how long a server is answered so that has counted a process which is
	// not there any more when it asks. For Node's that waits for partedPause: there may be
	// nobody who has counted it. Those of this kind know who has not answered, and look
	// after a while how many there are.
	parted      = 500 * time.Millisecond
	partedPause = time.Second
	knownPause  = lookEvery / 5
)

// strangers is what the uids begin with that such answers are from. No server's does: they
// begin with its node's name, of the digits of base64url, or are hexadecimal.
const strangers = "~"

// standIns are those that wait.
type standIns struct {
	ended context.Context // is done with the broker

	mu      sync.Mutex
	due     []standIn
	running bool
	at      bool // none waits any more
}

type standIn struct {
	at   time.Time
	give func()
}

// add has an answer given after a pause; it is false if too many wait.
func (s *standIns) add(pause time.Duration, give func()) bool {
	s.mu.Lock()
	if len(s.due) >= maxAnswers {
		s.mu.Unlock()
		return false
	}
	if s.at {
		s.mu.Unlock()
		give()
		return true
	}
	defer s.mu.Unlock()
	x := standIn{time.Now().Add(pause), give}
	i := len(s.due)
	for i > 0 && s.due[i-1].at.After(x.at) {
		i--
	}
	s.due = slices.Insert(s.due, i, x)
	if !s.running {
		s.running = true
		// ends when none waits, or the broker is closed
		go s.run()
	}
	return true
}

func (s *standIns) run() {
	for {
		s.mu.Lock()
		if len(s.due) == 0 || s.ended.Err() != nil {
			s.running = false
			s.mu.Unlock()
			return
		}
		next := s.due[0]
		wait := time.Until(next.at)
		if wait <= 0 {
			s.due = s.due[1:]
		}
		s.mu.Unlock()
		if wait <= 0 {
			next.give()
			continue
		}
		select {
		case <-time.After(min(wait, knownPause)): // one may come that waits less
		case <-s.ended.Done():
		}
	}
}

// flush gives all answers at once, and those that will be added.
func (s *standIns) flush() {
	s.mu.Lock()
	due := s.due
	s.due, s.at = nil, true
	s.mu.Unlock()
	for _, x := range due {
		x.give()
	}
}

// cancel gives none of those that wait.
func (s *standIns) cancel() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.due = nil
}

// standIn has a question answered that is not for this process, unless it asked itself.
// Stranger is not the name of a server that is known by one.
func (c *core) standIn(uid, id string, give func(stranger string)) {
	if id == "" || c.requests.get(id) != nil {
		return
	}
	stranger, pause := c.move.stranger, standInPause
	if c.covering() {
		if pause = partedPause; c.knows(uid) {
			pause = knownPause
		}
	}
	if !c.standIns.add(pause, func() { give(stranger) }) {
		c.refused.Add(1)
	}
}

// covering tells whether the process that was this server has left a moment ago.
func (c *core) covering() bool {
	at := c.move.left.Load()
	return at != 0 && time.Since(time.Unix(0, at)) < parted
}

// cover answers a question for the process that has left, too.
func (c *core) cover(channel string, payload []byte) {
	if c.covering() {
		c.spare(channel, payload)
	}
}

// partingWord is the last word of a process that goes.
func partingWord(secret string) string { return secret + "/left" }

// heardParting handles what comes where markers do, when none is waited for.
func (c *core) heardParting(payload []byte) {
	if word := c.move.word.Load(); word != nil && subtle.ConstantTimeCompare(payload, []byte(*word)) == 1 {
		c.move.left.CompareAndSwap(0, time.Now().UnixNano())
		c.move.gone.tell()
	}
}

// knows tells whether a server is of this kind.
func (c *core) knows(uid string) bool { return uid == c.uid || c.peers.has(uid) }

// passes tells whether a message is one process' alone.
func (c *classic) passes(channel string, _ []byte) bool {
	return !strings.HasPrefix(channel, c.broadcasts) && !strings.HasPrefix(channel, c.queries) || channel == c.heartbeats().name
}

// spare answers a question that is the other process'.
func (c *classic) spare(channel string, payload []byte) {
	if !strings.HasPrefix(channel, c.queries) {
		return
	}
	r, err := wire.ParseRequest(payload)
	if err != nil {
		return
	}
	var answer wire.Response
	switch r.Type {
	case wire.RequestSockets:
		answer.SIDs = []string{}
	case wire.RequestRooms:
		answer.Rooms = []string{}
	case wire.RequestFetch:
		if answer.CountOnly = r.CountOnly; !r.CountOnly {
			answer.Sockets = []wire.SocketInfo{}
		}
	case wire.RequestBroadcast:
		answer.Type, answer.HasType = wire.ResponseClientCount, true
	case wire.RequestServerSideEmit:
		if answer.Type, answer.HasType = r.Type, true; !c.knows(r.UID) {
			return
		}
	default:
		return
	}
	c.standIn(r.UID, r.ID, func(stranger string) { c.respondAs(stranger, c.namespaceOf(channel), r, answer) })
}

// passes tells whether a message is one process' alone.
func (f *family) passes(channel string, payload []byte) bool {
	if channel == f.heartbeats().name {
		return true
	}
	m, err := wire.ParseMessage(payload)
	return err == nil && m.Response()
}

// spare answers a question that is the other process'.
func (f *family) spare(_ string, payload []byte) {
	m, err := wire.ParseMessage(payload)
	if err != nil {
		return
	}
	answer := wire.Message{Type: wire.FetchSocketsResponse, CountOnly: m.CountOnly}
	switch m.Type {
	case wire.FetchSockets:
	case wire.BroadcastMessage:
		answer.Type = wire.BroadcastClientCount
	case wire.ServerSideEmit:
		if answer.Type = wire.ServerSideEmitResponse; !f.knows(m.UID) {
			return
		}
	default:
		return
	}
	f.standIn(m.UID, m.RequestID, func(stranger string) { f.respondAs(stranger, m, answer) })
}
