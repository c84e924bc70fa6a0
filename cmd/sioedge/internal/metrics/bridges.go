package metrics

// Dials count processes that were not let in where bridges are dialled, since the start.
type Dials struct {
	Page    int64 // of a browser
	Key     int64 // no key, or a wrong one
	Other   int64 // a key of another bridge
	Unknown int64 // no such bridge
	Full    int64 // too many connections
}

// bridges are applications whose processes are linked.
func bridges(c *catalogue) {
	c.in("Bridges")
	c.gauge("bridge_links", "Sessions of processes, those among them whose connection has ended a moment ago.", span).field("Bridge.Links")
	c.gauge("bridge_links_draining", "Sessions of processes that want no further clients.", span).field("Bridge.Draining")
	c.gauge("bridge_processes", "Processes that are linked, each once.", span).field("Bridge.Processes")
	c.gauge("bridge_sockets", "Sockets that processes have.", span).field("Bridge.Sockets")
	c.gauge("bridge_waiting_connections", "Connections that wait for a process.", span).field("Bridge.WaitingConnections")
	c.gauge("bridge_waiting_bytes", "Bytes of events that wait with these.", span).field("Bridge.WaitingBytes")
	c.gauge("bridge_paused_now", "Events that wait with their clients for room on the way to a process.", span).field("Bridge.Paused")
	c.counter("bridge_sessions", "Sessions of processes that began, and that have ended for good.", span, one("change")).field("Bridge.Attached", "begun").field("Bridge.Ended", "ended")
	c.counter("bridge_connects", "Sockets that processes were asked about: refused_taken are those that another process had before.", span, result).
		field("Bridge.Accepted", "accepted").field("Bridge.RefusedTaken", "refused_taken").of(bridgePart, func(x *seen) float64 { return float64(x.Bridge.Refused - x.Bridge.RefusedTaken) }, "refused")
	c.counter("bridge_events", "Events of clients that were sent to processes, each as often as it was.", span).field("Bridge.Events")
	c.counter("bridge_events_held", "Events that came while no process had their socket.", span).field("Bridge.Held")
	c.counter("bridge_events_redelivered", "Events that a process had not worked off when its session ended, and another one got.", span).field("Bridge.Redelivered")
	c.counter("bridge_events_dropped", "Events that no process got: their connection was closed, or they do not fit into max_message.", span, reason).
		field("Bridge.Dropped", "closed").field("Bridge.TooLong", "max_message")
	c.counter("bridge_paused_events", "Events that found no room on their way to a process, and waited with their clients.", span).field("Bridge.Pauses")
	c.counter("bridge_emits", "What processes sent to clients: to one socket, in answer to an event, or to many, which is one here.", span, one("kind")).
		field("Bridge.Emits", "socket").field("Bridge.Replies", "answer").field("Bridge.Broadcasts", "broadcast")
	c.counter("bridge_emits_failed", "What processes wanted sent and was not, since too much waits, or a name is reserved (failed), or too many of their broadcasts wait for answers (requests).", span, reason).
		field("Bridge.Failed", "failed").field("Bridge.RefusedRequests", "requests")
	c.counter("bridge_relayed", "What processes sent to each other, and what was not passed on since too much waits for one.", span, result).field("Bridge.Relayed", "ok").field("Bridge.RelaysDropped", "dropped")
	c.counter("bridge_takeovers", "Connections that another process got, since their own handed them over (drained), or has gone (ended).", span, reason).
		field("Bridge.TakenDrained", "drained").field("Bridge.TakenEnded", "ended")
	c.counter("bridge_sockets_taken", "Sockets that were taken over with these.", span).field("Bridge.Taken")
	c.counter("bridge_closed", "Connections that were closed so that their clients come back: there was no process in time, process after process went with their events, or the server stops.", span, reason).
		field("Bridge.ClosedNoProcess", "no_process").field("Bridge.ClosedDeadly", "deadly").field("Bridge.ClosedStopped", "stopped")
	c.counter("bridge_messages_ignored", "Messages of processes about what is not there, or not any more (unknown), and about namespaces of others (foreign).", span, reason).
		field("Bridge.Unknown", "unknown").field("Bridge.Foreign", "foreign")
	c.counter("bridge_data_refused", "Data of sockets that was not stored, for max_data.", span).field("Bridge.DataTooLarge")
	c.counter("bridge_links_refused", "Processes that dialled in vain: there are as many links as may be, or they do not say who they are as they should.", span, reason).
		field("Bridge.TooManyLinks", "max_links").field("Bridge.Link.Refused", "handshake")
	c.counter("bridge_dials_refused", "Requests that dial a bridge and may not: pages in browsers, with a wrong key or none, with one of another bridge, of a bridge that there is not, or too many.", reason).
		field("Dials.Page", "browser").field("Dials.Key", "key").field("Dials.Other", "other_bridge").field("Dials.Unknown", "unknown").field("Dials.Full", "full")
	c.counter("bridge_connections", "Connections of links: those that began a session, went on with one, could not since it is over, and gave way to another one.", span, result).
		field("Bridge.Link.Sessions", "begun").field("Bridge.Link.Resumed", "resumed").field("Bridge.Link.Unknown", "over").field("Bridge.Link.Replaced", "replaced")
	c.counter("bridge_connections_lost", "Connections of links that ended by no side's word: they were cut, nothing came or went for timeout (hung), or their process broke the protocol.", span, reason).
		of(bridgePart, func(x *seen) float64 { return float64(x.Bridge.Link.Cut - x.Bridge.Link.Hung) }, "cut").field("Bridge.Link.Hung", "hung").field("Bridge.Link.Broken", "protocol")
	c.counter("bridge_batches", "Batches of messages on links.", span, one("dir")).field("Bridge.Link.BatchesIn", "in").field("Bridge.Link.BatchesOut", "out")
	c.counter("bridge_bytes", "Bytes of these.", span, one("dir")).field("Bridge.Link.BytesIn", "in").field("Bridge.Link.BytesOut", "out")
	c.counter("bridge_batches_resent", "Batches that were sent again on another connection.", span).field("Bridge.Link.Resent")
}
