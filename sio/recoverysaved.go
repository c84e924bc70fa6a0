package sio

// expire forgets sockets that did not come back, at most so many; mu is held.
func (l *packetLog) expire(now int64, most int) {
	for range most {
		s := l.away.first()
		if s == nil || s.until >= now {
			return
		}
		l.away.remove(s)
	}
}

// save remembers a socket that has gone from a loop.
func (l *packetLog) save(s *savedSocket, loop int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	l.expire(now, 64)
	if s.from+1 < l.first {
		return // what it may lack is not there
	}
	// It has Window from when it left; but what it has not had for longer than it
	// would take to notice that counts from then, however often it comes and goes.
	s.left = now
	if s.from < l.last() {
		s.left = min(now, l.at(s.from+1).at+l.proof.Milliseconds())
	}
	if s.until = s.left + l.window.Milliseconds(); s.until <= now {
		return
	}
	l.away.add(s)
	for _, r := range l.active {
		if !r.done[loop] && r.selects(s) {
			l.revise(s, r)
		}
	}
	for l.away.bytes > l.most/2 {
		l.counts.Evicted++
		l.away.remove(l.away.first())
	}
	l.prune(64)
	l.wanted()
}

// claim returns the saved socket of a pid, once, and where in the log its client
// stands; offset is nil if the client names none, wall the time in ms that
// deadlines are judged by. It is nil if the socket cannot be recovered.
func (l *packetLog) claim(name, pid, identity string, offset *string, wall int64) (*savedSocket, uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	l.expire(now, 64)
	s := l.away.byPID[pid]
	if s == nil || s.name != name || s.status != isAway || s.until < now || s.expires != 0 && s.expires <= wall {
		l.counts.Unknown++
		return nil, 0
	}
	if s.identity != identity {
		l.counts.Alien++
		return nil, 0
	}
	from := s.from
	if offset != nil {
		place, ok := l.place(*offset)
		if !ok || place > l.last() {
			l.counts.Lost++
			return nil, 0
		}
		// An older one is of a session that the client had before.
		from = max(from, place)
	}
	if l.lacks(from) {
		l.counts.Lost++
		return nil, 0
	}
	s.status = isClaimed
	return s, from
}

// lacks tells whether something behind a place is not kept any more; mu is held.
func (l *packetLog) lacks(from uint64) bool { return from+1 < l.first }

// unclaim puts a socket back that went again before it was recovered. Its time
// goes on.
func (l *packetLog) unclaim(s *savedSocket) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.status == isClaimed {
		s.status = isAway
	}
}

// back notes that a claimed socket is connected.
func (l *packetLog) back(s *savedSocket) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.away.back(s)
}
