package bridge

import (
	"sync/atomic"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/bridge/link"
)

// tally counts what a bridge did.
type tally struct {
	attached, ended                                     atomic.Int64
	accepted, refused, refusedTaken                     atomic.Int64
	events, heldEvents, dropped, tooLong, redelivered   atomic.Int64
	paused, pausedNow                                   atomic.Int64
	emits, replies, broadcasts, failed, refusedRequests atomic.Int64
	relayed, relaysDropped                              atomic.Int64
	taken, takenEnded, takenDrained                     atomic.Int64
	noProcess, deadly, stopped                          atomic.Int64
	unknown, foreign, dataTooLarge, tooManyLinks        atomic.Int64
}

// Stats are counts since the start, and gauges, which say so.
type Stats struct {
	Links     int   // a gauge: sessions of processes
	Processes int   // a gauge: different ones
	Draining  int   // a gauge: of Links, those that want nothing any more
	Sockets   int   // a gauge: that processes have
	Load      []int // a gauge: the same of each link

	WaitingConnections int   // a gauge: that wait for a process
	WaitingBytes       int64 // a gauge: of events that are held
	Paused             int64 // a gauge: clients that are not read from

	Attached, Ended int64 // links

	Accepted     int64 // sockets that processes wanted
	Refused      int64 // and did not
	RefusedTaken int64 // those of them that another process had; their connections were closed

	Events      int64 // that were sent to processes, each time
	Held        int64 // that came while no process had their socket
	Redelivered int64 // that a process had not worked off when its link ended
	Dropped     int64 // that no process got, since their connection was closed
	TooLong     int64 // that were dropped for max_message
	Pauses      int64 // events that waited for room, whose clients were not read from

	Emits           int64 // to one socket
	Replies         int64 // to events
	Broadcasts      int64 // to many
	Failed          int64 // of these, those that could not be sent: too much waits, or a reserved name
	RefusedRequests int64 // broadcasts that were not sent since too many wait for answers
	Relayed         int64 // from process to process
	RelaysDropped   int64 // that were not, since too much waits for a process

	TakenEnded   int64 // connections that went to another process since the link had ended
	TakenDrained int64 // and since the process has handed them over
	Taken        int64 // sockets that a process has taken over from another one

	ClosedNoProcess int64 // connections that were closed for want of a process
	ClosedDeadly    int64 // and since processes in a row have gone with their events
	ClosedStopped   int64 // and since the edge stopped

	Unknown      int64 // messages about what is not there, or not any more
	Foreign      int64 // messages about namespaces that are not of the bridge
	DataTooLarge int64 // data of sockets that was not stored
	TooManyLinks int64 // processes that were refused for max_links

	Link link.Totals
}

// Stats returns the counts.
func (b *Bridge) Stats() Stats {
	t := &b.tally
	st := Stats{
		Paused: t.pausedNow.Load(), Attached: t.attached.Load(), Ended: t.ended.Load(),
		Accepted: t.accepted.Load(), Refused: t.refused.Load() + t.refusedTaken.Load(), RefusedTaken: t.refusedTaken.Load(),
		Events: t.events.Load(), Held: t.heldEvents.Load(), Redelivered: t.redelivered.Load(), Dropped: t.dropped.Load(), TooLong: t.tooLong.Load(), Pauses: t.paused.Load(),
		Emits: t.emits.Load(), Replies: t.replies.Load(), Broadcasts: t.broadcasts.Load(), Failed: t.failed.Load(), RefusedRequests: t.refusedRequests.Load(),
		Relayed: t.relayed.Load(), RelaysDropped: t.relaysDropped.Load(),
		TakenEnded: t.takenEnded.Load(), TakenDrained: t.takenDrained.Load(), Taken: t.taken.Load(),
		ClosedNoProcess: t.noProcess.Load(), ClosedDeadly: t.deadly.Load(), ClosedStopped: t.stopped.Load(),
		Unknown: t.unknown.Load(), Foreign: t.foreign.Load(), DataTooLarge: t.dataTooLarge.Load(), TooManyLinks: t.tooManyLinks.Load(),
		Link: b.links.Totals(),
	}
	b.mu.Lock()
	defer b.unlock()
	processes := map[string]bool{}
	for _, m := range b.members {
		processes[m.s.UID()] = true
		st.Links++
		st.Sockets += m.load
		st.Load = append(st.Load, m.load)
		if m.draining {
			st.Draining++
		}
	}
	st.Processes = len(processes)
	for _, x := range b.waiting {
		if x.waits {
			st.WaitingConnections++
			st.WaitingBytes += int64(x.held)
		}
	}
	return st
}
