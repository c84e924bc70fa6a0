package rooms

// Stats are what a Local, or several of them, have and did. They are plain data; a
// gauge is of the moment of the call, a count of all the time before.
type Stats struct {
	Members     int // gauge: sockets connected
	Memberships int // gauge: of sockets in rooms
	Sets        int // gauge: rooms with members on the loop, and namespaces
	Queued      int // gauge: broadcasts with members that are to be visited
	// QueuedBytes is a gauge of what these hold, in bytes; one that waits in several
	// loops counts in each, where Directory.Waiting counts it once.
	QueuedBytes int64

	Broadcasts uint64 // enqueued, for members that there were
	Runs       uint64 // of broadcasts, visited to the end
	Visited    uint64 // members that a step came to
	Skipped    uint64 // of these, who had it already or is not connected
	CaughtUp   uint64 // runs, or parts of them, delivered to one socket ahead of the others
	Joins      uint64 // of rooms
	Leaves     uint64 // of rooms, those of sockets that went among them
}

// Add adds what another Local has and did.
func (s *Stats) Add(o Stats) {
	s.Members += o.Members
	s.Memberships += o.Memberships
	s.Sets += o.Sets
	s.Queued += o.Queued
	s.QueuedBytes += o.QueuedBytes
	s.Broadcasts += o.Broadcasts
	s.Runs += o.Runs
	s.Visited += o.Visited
	s.Skipped += o.Skipped
	s.CaughtUp += o.CaughtUp
	s.Joins += o.Joins
	s.Leaves += o.Leaves
}

// Stats returns what the loop has and did. It costs the same whatever that is.
func (l *Local) Stats() Stats {
	l.own()
	s := l.stats
	enqueued, visited := l.Progress()
	s.Broadcasts, s.Queued, s.Sets = enqueued, int(enqueued-visited), l.table.used
	return s
}

// DirectoryStats are gauges of what all loops have together.
type DirectoryStats struct {
	Rooms      int   // with members, or that some are expected in
	Namespaces int   // with sockets that are connected
	Waiting    int64 // Directory.Waiting
	Shards     int   // of 64 in which the names of rooms are spread: those that have some
}

// Stats counts the rooms, a 64th of them locked at a time, without going through
// them. Any goroutine may ask.
func (d *Directory) Stats() DirectoryStats {
	s := DirectoryStats{Waiting: d.Waiting()}
	for i := range d.shards {
		x := &d.shards[i]
		x.mu.Lock()
		named, all := x.named, x.rooms.Len()
		x.mu.Unlock()
		s.Rooms += named
		s.Namespaces += all - named
		if named > 0 {
			s.Shards++
		}
	}
	return s
}

// RoomsOf returns how many rooms each namespace has that has some, as Stats counts them;
// it costs as much as there are, times 64 at most. Any goroutine may ask.
func (d *Directory) RoomsOf() map[uint32]int {
	all := map[uint32]int{}
	for i := range d.shards {
		x := &d.shards[i]
		x.mu.Lock()
		for ns, n := range x.of {
			all[ns] += n
		}
		x.mu.Unlock()
	}
	return all
}
