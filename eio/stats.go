package eio

import (
	"github.com/sioedge/sioedge/loop"
)

// Stats are counts since the start, of what was refused and closed and why, and
// gauges, which say so: what there is now.
type Stats struct {
	Refused                   [CodeUnsupportedVersion + 1]int64 // by code
	Origins                   int64                             // of the forbidden ones: for their origin
	Unproven                  int64                             // of the forbidden ones: for a forged ForwardedHeader
	Draining                  int64                             // with 503: new sessions, and WebSockets of other nodes' sessions, after Drain
	Full                      int64                             // with 503: new sessions for MaxSessions, or for which their loop had no room
	Guests                    int64                             // with 503: new sessions for MaxSessionsPerIP
	Pressed                   int64                             // with 503: new sessions while memory was short
	TooMany                   int64                             // with 503: new sessions for AcceptRate
	Late                      int64                             // with 503: new sessions while their loop was late
	PerIPConns, PerIPSessions int64                             // with 429: requests on connections, and new sessions, for MaxConnsPerIP; connections that were cut for it
	Malformed                 int64                             // no HTTP, or too large, or too slow
	TooLarge                  int64                             // of the malformed ones: bodies longer than MaxPayload
	HeadLarge                 int64                             // of the malformed ones: heads over MaxHeaderBytes or MaxHeaderFields
	TooSlow                   int64                             // of the malformed ones: for HeadTimeout or BodyTimeout

	Opened   Sessions // that were opened
	Upgraded int64    // sessions that went from polling to a WebSocket
	Probed   int64    // upgrades that were begun: those that are neither Upgraded nor Probing have failed
	Expired  int64    // upgrades that failed for UpgradeTimeout
	Barred   int64    // upgrades that were not begun: of sessions that were upgrading, or had
	Open     Sessions // a gauge: sessions that are open
	Probing  int64    // a gauge: upgrades in progress

	Closed   Closes // sessions, by the reason that the handler was told
	Overlaps int64  // of these, with TransportError: two polls, or two posts, at once
	Slow     int64  // of these: over polling, not asking for what waited, or for MaxQueueHard
	Overflow int64  // of Slow: for MaxQueueHard
	Frames   int64  // WebSockets that broke their protocol, MaxFragments or MaxPayload
	Oversize int64  // of Frames: for MaxPayload, or MaxInflated
	Budget   int64  // sessions closed for what they had kept on their behalf: ConnBudget
	Stuck    int64  // sessions closed because handlers did nothing about what was kept
	Gone     int64  // sessions closed because their clients had gone while these were not read from for ConnBudget
	Pauses   int64  // times a client was not read from until handlers had caught up with it
	Delays   int64  // times a client was not read from for a while: Session.PauseReadFor

	Held      int64 // a gauge: bytes that are kept on behalf of sessions
	Queued    int64 // a gauge: bytes that wait for polls, as they are held
	Entries   int64 // a gauge: places in the queues for polls
	Polls     int64 // a gauge: polls that wait
	Bodies    int64 // a gauge: bodies that are being received
	BodyBytes int64 // a gauge: bytes that have come of them; those of sessions are in Held too
	Unacked   int64 // a gauge: posts whose acknowledgement is kept back
	Apart     int64 // a gauge: requests for which something is done on a goroutine
	Tunnels   int64 // a gauge: WebSockets of other nodes' sessions
	Accounts  int64 // a gauge: sessions for which something is kept, or was a moment ago
	Swamped   int64 // a gauge: sessions for whose polls more than MaxQueue waits, or has, and more than half of it does
	Largest   int64 // a gauge: bytes of the largest queue for polls of a session, in this minute and the last; of several loops, the largest

	Traffic Traffic
	In      Frames // that WebSockets have sent
	Out     Frames // that they were sent: given to their connections
	Codes   Codes
	Times   Times
}

// Sessions are counted by their transport, Polling and WebSocket, and those of Engine.IO
// 3 apart, Polling3 and WebSocket3.
type Sessions struct{ Polling, WebSocket, Polling3, WebSocket3 int64 }

// of returns the count for sessions with these flags.
func (n *Sessions) of(f flags) *int64 {
	switch {
	case f.has(overWS) && f.has(revision3):
		return &n.WebSocket3
	case f.has(overWS):
		return &n.WebSocket
	case f.has(revision3):
		return &n.Polling3
	}
	return &n.Polling
}

// Sum returns how many sessions that are.
func (n Sessions) Sum() int64 { return n.Polling + n.WebSocket + n.Polling3 + n.WebSocket3 }

func (n *Sessions) add(m *Sessions) {
	n.Polling += m.Polling
	n.WebSocket += m.WebSocket
	n.Polling3 += m.Polling3
	n.WebSocket3 += m.WebSocket3
}

// Closes are counted by their Reason.
type Closes struct {
	// Each is the number of those with the Reason of its name.
	TransportClose, TransportError, PingTimeout, ParseError, ForcedClose int64
}

// Of returns the number of those with a Reason of this package.
func (n *Closes) Of(r Reason) *int64 {
	switch r {
	case TransportClose:
		return &n.TransportClose
	case PingTimeout:
		return &n.PingTimeout
	case ParseError:
		return &n.ParseError
	case ForcedClose:
		return &n.ForcedClose
	}
	return &n.TransportError
}

// Add adds those of m.
func (n *Closes) Add(m *Closes) {
	n.TransportClose += m.TransportClose
	n.TransportError += m.TransportError
	n.PingTimeout += m.PingTimeout
	n.ParseError += m.ParseError
	n.ForcedClose += m.ForcedClose
}

// Add adds the counts and gauges of another loop.
func (s *Stats) Add(o Stats) {
	for code := range s.Refused {
		s.Refused[code] += o.Refused[code]
	}
	s.Opened.add(&o.Opened)
	s.Open.add(&o.Open)
	s.Closed.Add(&o.Closed)
	s.Largest = max(s.Largest, o.Largest)
	s.Traffic.add(&o.Traffic)
	s.In.add(&o.In)
	s.Out.add(&o.Out)
	for i, n := range o.Codes {
		s.Codes[i] += n
	}
	s.Times.add(&o.Times)
	mine, theirs := s.numbers(), o.numbers()
	for i, n := range mine {
		*n += *theirs[i]
	}
}

// numbers returns the fields that are one number each.
func (s *Stats) numbers() [40]*int64 {
	return [...]*int64{
		&s.Origins, &s.Unproven, &s.Draining, &s.Full, &s.Guests, &s.Pressed, &s.TooMany, &s.Late, &s.PerIPConns, &s.PerIPSessions, &s.Malformed, &s.TooLarge, &s.HeadLarge, &s.TooSlow,
		&s.Upgraded, &s.Probed, &s.Expired, &s.Barred, &s.Probing,
		&s.Overlaps, &s.Slow, &s.Overflow, &s.Frames, &s.Oversize, &s.Budget, &s.Stuck, &s.Gone, &s.Pauses, &s.Delays,
		&s.Held, &s.Queued, &s.Entries, &s.Polls, &s.Bodies, &s.BodyBytes, &s.Unacked, &s.Apart, &s.Tunnels, &s.Accounts, &s.Swamped,
	}
}

// CompressionStats counts what compression did since the start.
type CompressionStats struct {
	Deflated     int64 // WebSocket messages that were compressed: of a Prepared at most once for all its recipients
	DeflatedFrom int64 // their bytes
	DeflatedTo   int64 // their bytes, compressed
	Inflated     int64 // WebSocket messages that were inflated
	Refused      int64 // WebSocket messages that were corrupt or too large inflated; their sessions were closed
	Polls        int64 // answers to polls that were compressed
}

// Add adds the counts of another loop.
func (c *CompressionStats) Add(o CompressionStats) {
	c.Deflated += o.Deflated
	c.DeflatedFrom += o.DeflatedFrom
	c.DeflatedTo += o.DeflatedTo
	c.Inflated += o.Inflated
	c.Refused += o.Refused
	c.Polls += o.Polls
}

// LoopStats returns the counts of l. It must be called on l.
func (s *Server) LoopStats(l *loop.Loop) Stats {
	l.Check()
	sh := s.shards[l.Index()]
	st := sh.tally
	st.Held = sh.heldBytes.Load()
	for x, n := range sh.exchanges {
		switch x := state(x); {
		case x == statePoll:
			st.Polls += n
		case x == stateUnacked:
			st.Unacked += n
		case x.receives():
			st.Bodies += n
		case x.apart():
			st.Apart += n
		}
	}
	st.Largest, st.Traffic = sh.largest.Of(l.Engine().Now()/largestWindow), sh.traffic()
	st.Tunnels, st.Accounts = int64(len(sh.tunnels)), int64(len(sh.accounts))
	return st
}

// LoopCompression is LoopStats for compression.
func (s *Server) LoopCompression(l *loop.Loop) CompressionStats {
	l.Check()
	return s.shards[l.Index()].zip.tally
}

// Stats returns the sums over all loops; of a loop that does not come within 100 ms,
// what it had when it came last. Any goroutine may call it.
func (s *Server) Stats() (sum Stats) {
	for _, n := range s.gather() {
		sum.Add(n.stats)
	}
	return sum
}

// CompressionStats is Stats for compression. Any goroutine may call it.
func (s *Server) CompressionStats() (sum CompressionStats) {
	for _, n := range s.gather() {
		sum.Add(n.compression)
	}
	return sum
}

// counts are those of one loop.
type counts struct {
	stats       Stats
	compression CompressionStats
}

// gather returns the latest counts of each loop.
func (s *Server) gather() []counts {
	if len(s.shards) == 0 {
		return nil
	}
	all, _ := s.latest.Gather(s.shards[0].loop.Engine(), func(l *loop.Loop) counts {
		return counts{s.LoopStats(l), s.LoopCompression(l)}
	})
	return all
}
