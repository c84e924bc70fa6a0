package roster

import "github.com/sioedge/sioedge/cmd/sioedge/internal/peerlink"

// Stats are counts since the start, and gauges, which say so.
type Stats struct {
	Entries, Copied, Waiting, Queued, Telling int // gauges: sockets here; of others; that may come back; that wait to be told; that are being told
	Servers, Keepers                          int // gauges: others that are known; those of them that keep the ledger

	Connected, Disconnected int64 // that backends have been told; of disconnects, that they have taken
	Recovered               int64 // sockets whose clients came back unnoticed
	Again                   int64 // that backends were told to be there after all
	Retried                 int64 // disconnects that were lost on the way
	Refused                 int64 // sockets that are not kept: MaxEntries
	Unkept                  int64 // of others: likewise
	Dropped                 int64 // disconnects that were tried for Keep, or were left when the server ended
	Nobody                  int64 // that were for a backend which there is not any more
	Roomless                int64 // disconnects whose rooms are not said, since they are too many
	Strays                  int64 // leaves of who is not kept
	Lost, Back              int64 // servers that fell silent, and that were not lost after all
	Unclaimed               int64 // sockets that came back, and of which no server knew
	Resyncs                 int64 // that a server was told the whole ledger again
	Rows, RowsHeard         int64 // changes of ledgers that were told, and heard
	Unsaid                  int64 // messages to others that could not be sent
	Strangers               int64 // messages of servers that are too many
	Links                   peerlink.Stats
}

// Stats returns the counts.
func (r *Roster) Stats() Stats {
	r.mu.Lock()
	b := r.b
	st := Stats{
		Entries: len(b.own.entries), Copied: b.copied(), Waiting: len(b.waiting), Servers: b.peers.Len(), Keepers: len(b.stream.keepers),
		Connected: b.connected, Disconnected: b.disconnected, Recovered: b.recovered, Again: b.again, Retried: b.retried, Refused: b.refused,
		Unkept: b.unkept, Dropped: b.dropped, Nobody: b.nobody, Roomless: b.roomless, Strays: b.strays, Lost: b.nodesLost, Back: b.nodesBack,
		Unclaimed: b.claimsLost, Resyncs: b.resyncs, Rows: b.rowsSaid, RowsHeard: b.rowsHeard, Unsaid: r.unsaid.Load(), Strangers: b.peers.Strangers,
	}
	for _, q := range b.queues {
		st.Queued, st.Telling = st.Queued+len(q.all), st.Telling+q.away
	}
	r.mu.Unlock()
	if r.link != nil {
		st.Links = r.link.Stats()
	}
	return st
}
