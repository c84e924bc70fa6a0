package metrics

// messages are events, by namespace and all.
func messages(c *catalogue) {
	c.in("Namespaces and events")
	c.gauge("sockets", "Sockets: clients in a namespace.", route).field("Route.Sockets")
	c.gauge("namespace_instances", "Namespaces that there are of a pattern.", route).field("Route.Instances")
	in := c.counter("events_received", "Events (binary: with attachments) and acknowledgements that clients sent. Kinds that a namespace has not had yet are not there.", route, one("kind")).whereAny()
	out := c.counter("events_sent", "Events (binary: with attachments) and acknowledgements that clients were sent, for each of them. Kinds that a namespace has not had yet are not there.", route, one("kind")).whereAny()
	for _, of := range [][2]string{{"event", "Events"}, {"binary", "Binary"}, {"ack", "Acks"}} {
		in.field("Route.In."+of[1], of[0])
		out.field("Route.Out."+of[1], of[0])
	}
	c.counter("acks", "Acknowledgements that clients were asked for, by what became of them, for each client.", result).
		field("Server.Acks.Answered", "answered").field("Server.Acks.Late", "timeout").field("Server.Acks.Left", "left")
	c.counter("disconnects", "Sockets that left, by Node's reasons. Those that a namespace has not had yet are not there.", route, reason).whereAny().
		field("Route.Left.Closes.TransportClose", "transport close").field("Route.Left.Closes.TransportError", "transport error").
		field("Route.Left.Closes.PingTimeout", "ping timeout").field("Route.Left.Closes.ParseError", "parse error").field("Route.Left.Closes.ForcedClose", "forced close").
		field("Route.Left.Client", "client namespace disconnect").field("Route.Left.Server", "server namespace disconnect").field("Route.Left.Shutdown", "server shutting down")
	c.counter("room_joins", "Rooms that sockets joined, their own left out.", route).field("Route.Joins")
	c.counter("sockets_refused", "Sockets that were refused, for want of a place or by what the application says. Namespaces without are not there.", route).whereAny().field("Route.Refused")
	c.counter("dropped", "Events that were dropped for slow clients, for each of them. Namespaces without are not there: see sioedge_queue_dropped_total.", route).whereAny().field("Route.Dropped")
	c.counter("queue_dropped", "Events that were dropped for slow clients, by the policy of their class.", one("policy")).
		field("Server.Loop.Dropped.New", "drop-new").field("Server.Loop.Dropped.Oldest", "drop-oldest").field("Server.Loop.Dropped.Conflated", "conflate")
	c.counter("events_discarded", "Events that were not sent, or not handled.", reason).
		field("Server.Drops.Volatile", "volatile").field("Server.Drops.Overloaded", "max_broadcasts").field("Server.Drops.Acks", "max_pending_acks").
		field("Server.Drops.Crossed", "crossed").field("Server.Drops.Unhandled", "max_left_behind").field("Server.Drops.Gated", "gate").field("Server.Drops.Unheard", "server_events")
	c.counter("connect_errors", "Sockets that were refused, for whatever reason, unknown namespaces among them.").field("Server.Refused")
	c.counter("refused", "Namespaces and rooms that were refused for a limit.", reason).
		field("Server.Drops.Namespaces", "max_namespaces").field("Server.Drops.Full", "loop_full").field("Server.Drops.Rooms", "max_rooms").field("Server.Drops.Jammed", "max_left_behind")
	c.counter("sockets_expired", "Sockets whose deadline has come, as a token's.").field("Server.Expired")
	c.counter("handler_errors", "Errors that handlers returned.").field("Server.Errors")
	c.counter("handler_panics", "Panics of handlers.").field("Server.Panics")
	c.gauge("handlers_waiting", "Events and connections that wait for handlers on goroutines.").field("Server.Backlog.Tasks")
	c.gauge("left_behind_bytes", "Bytes of events that wait of sockets that have left.").field("Server.Backlog.LeftBehind")
	c.gauge("room_moves_waiting_bytes", "Bytes of what waits for functions of rooms.").field("Server.Backlog.Moves")
}

// roomsAndBroadcasts are what is sent to many.
func roomsAndBroadcasts(c *catalogue) {
	c.in("Rooms and broadcasts")
	c.gauge("rooms", "Rooms with members, sockets' own left out.", route).field("Route.Rooms")
	c.counter("broadcasts", "Events to rooms or all sockets, from here or from other servers, when their last recipient has been visited.", route).field("Route.Broadcasts")
	c.histogram("broadcast_recipients", "How many sockets of this server a broadcast was for.").counted("Server.Spread.Recipients", 1, 1<<20, 1)
	c.histogram("broadcast_duration_seconds", "How long it took from a broadcast until its last recipient had been visited.").counted("Server.Spread.Took", 1<<5, 1<<24, 1e-6)
	c.histogram("emit_to_write_seconds", "How long it took from a broadcast until a loop began to send it to its recipients, for each loop.").counted("Server.Spread.Waited", 1<<5, 1<<22, 1e-6)
	c.gauge("directory_rooms", "Rooms with members, or that some are expected in.").field("Server.Directory.Rooms")
	c.gauge("namespaces_occupied", "Namespaces with sockets.").field("Server.Directory.Namespaces")
	c.gauge("room_shards", "Of 64 parts of the directory of rooms: those with rooms.").field("Server.Directory.Shards")
	c.gauge("room_members", "Sockets that are in a namespace.").field("Server.Rooms.Members")
	c.gauge("room_memberships", "Memberships of sockets in rooms.").field("Server.Rooms.Memberships")
	c.gauge("room_sets", "Rooms and namespaces with members on a loop, for each loop.").field("Server.Rooms.Sets")
	c.counter("broadcast_runs", "Broadcasts, for each loop with members.", one("state")).
		field("Server.Rooms.Broadcasts", "enqueued").field("Server.Rooms.Runs", "finished")
	c.counter("broadcast_members", "Members that broadcasts came to.", result).
		of(serverPart, func(x *seen) float64 {
			return float64(x.Server.Rooms.Visited - min(x.Server.Rooms.Skipped, x.Server.Rooms.Visited))
		}, "delivered").
		field("Server.Rooms.Skipped", "skipped")
	c.counter("broadcast_catch_ups", "Broadcasts that were delivered to one socket ahead of the others.").field("Server.Rooms.CaughtUp")
	c.counter("room_memberships_changed", "Rooms that sockets joined and left, when they went too.", one("change")).
		field("Server.Rooms.Joins", "joined").field("Server.Rooms.Leaves", "left")
	c.gauge("broadcasts_waiting", "Broadcasts whose members are to be visited, for each loop.").field("Server.Rooms.Queued")
	c.gauge("broadcasts_waiting_bytes", "Bytes of broadcasts whose members are to be visited.").field("Server.Backlog.Broadcasts")
	c.gauge("broadcasts_held_bytes", "Bytes of broadcasts whose members are to be visited, for each loop.").field("Server.Rooms.QueuedBytes")
}

// recovery is who comes back, and what is kept for that.
func recovery(c *catalogue) {
	c.in("Recovery and history")
	c.counter("recoveries", "Clients that wanted to go on where they had been.", result).
		field("Server.Recovery.Recovered", "recovered").field("Server.Recovery.Unknown", "unknown").field("Server.Recovery.Lost", "lost").
		field("Server.Recovery.TooLarge", "too_large").field("Server.Recovery.Alien", "alien").field("Server.Recovery.Alive", "alive")
	c.counter("recovered_packets", "Events that recovered clients had missed, and were sent.").field("Server.Recovery.Replayed")
	c.gauge("recovery_log_bytes", "Memory, in bytes, of what is kept for those who may come back, about.").field("Server.Recovery.Bytes")
	c.gauge("recovery_log_events", "Events that are kept for those who may come back.").field("Server.Recovery.Events")
	c.gauge("recovery_sessions", "Clients that may come back.").field("Server.Recovery.Away")
	c.counter("recovery_evicted", "What was forgotten before its time, for recovery.buffer.", one("what")).
		field("Server.Recovery.Evicted", "session").field("Server.Recovery.Dropped", "event")
	c.counter("recovery_revoked", "Clients that were away, and may not come back any more.").field("Server.Recovery.Revoked")
	c.counter("recovery_early", "Events that were delivered before the log of the cluster had them.").field("Server.Recovery.Early")
	c.gauge("history_rooms", "Rooms of which events are kept.").field("Server.History.Rooms")
	c.gauge("history_events", "Events that are kept of rooms, one of several rooms in each.").field("Server.History.Events")
	c.gauge("history_bytes", "Memory, in bytes, of what is kept of rooms.").field("Server.History.Bytes")
	c.counter("history_kept", "Events that were kept of rooms.").field("Server.History.Kept")
	c.counter("history_dropped", "Events of rooms that are not kept any more.", reason).
		field("Server.History.Evicted", "max_bytes").field("Server.History.Expired", "ttl")
	c.counter("history_asked", "Rooms of which other servers were asked.").field("Server.History.Asked")
	c.counter("history_merged", "Events of rooms that came from other servers.").field("Server.History.Merged")
	c.counter("history_replays", "Sockets that were sent what was kept of rooms that they joined.").field("Server.History.Replays")
	c.counter("history_replayed", "Events that sockets were sent of what was kept.", result).
		field("Server.History.Replayed", "sent").field("Server.History.Shortened", "left_out")
}

// cluster is what goes between servers.
func cluster(c *catalogue) {
	c.in("Cluster")
	c.gauge("adapter_up", "Whether the adapter is connected, with all subscriptions in place.").field("Cluster.Up")
	c.gauge("cluster_nodes", "Servers of the cluster that are known, this one among them.").
		of(clusterPart, func(x *seen) float64 { return float64(len(x.Cluster.Peers) + 1) })
	kinds := c.counter("adapter_messages", "Messages between servers, by what they are: those that were to be sent (out), and that were understood (in).", one("dir"), one("kind"))
	for _, of := range [][2]string{{"event", "Events"}, {"change", "Changes"}, {"server_side", "ServerSide"}, {"question", "Questions"}, {"answer", "Answers"}, {"heartbeat", "Heartbeats"}} {
		kinds.field("Cluster.Out."+of[1], "out", of[0]).field("Cluster.In."+of[1], "in", of[0])
	}
	c.gauge("adapter_lag_seconds", "How long what this server sent last took until it came back; 0: nothing has.").field("Cluster.Lag")
	c.counter("adapter_transfers", "Messages that the adapter sent and received.", one("dir")).field("Cluster.Sent", "out").field("Cluster.Received", "in")
	c.counter("adapter_discarded", "Messages that were received and are for nobody here.", reason).
		field("Cluster.Discards.Own", "own").field("Cluster.Discards.Unwanted", "unwanted").field("Cluster.Discards.Late", "late").field("Cluster.Malformed", "malformed")
	c.counter("adapter_lost", "Messages that were not sent.", reason).
		field("Cluster.Losses.Full", "queue_full").field("Cluster.Losses.Failed", "failed").field("Cluster.Losses.Refused", "refused").
		field("Cluster.Losses.Left", "closed").field("Cluster.Losses.Unwritten", "unwritten")
	c.counter("adapter_reconnects", "Times that the adapter had to connect again.").field("Cluster.Reconnects")
	c.gauge("adapter_queue", "Messages that wait to be sent to other servers.").field("Cluster.Waiting")
	c.gauge("adapter_queue_bytes", "Bytes of messages that wait to be sent to other servers.").field("Cluster.WaitingBytes")
	c.gauge("adapter_subscriptions", "Subscriptions: of namespaces, rooms and this server.").field("Cluster.Subscriptions")
	c.gauge("adapter_subscriptions_parked", "Subscriptions that are beyond adapter.max_subscriptions: these rooms get nothing from others.").field("Cluster.Parked")
	asked := c.counter("cluster_requests", "Questions to other servers that have ended: all answered, some did not, or nobody could be asked.", one("kind"), result)
	for _, of := range [][2]string{{"ack", "Acks"}, {"server_side", "ServerSide"}, {"sockets", "Members"}, {"rooms", "Rooms"}} {
		at := "Cluster.Questions." + of[1]
		asked.field(at+".Complete", of[0], "complete").field(at+".Incomplete", of[0], "incomplete").field(at+".Failed", of[0], "failed")
	}
	c.counter("cluster_requests_sent", "Questions to other servers that were sent.").field("Cluster.Requests")
	c.counter("cluster_requests_refused", "Questions of other servers that were not answered, since there were too many.").field("Cluster.Refused")
	c.gauge("cluster_requests_pending", "Questions to other servers whose answers are awaited.").field("Cluster.Pending")
	c.gauge("cluster_requests_answering", "Questions of other servers that are being answered.").field("Cluster.Answering")
	c.counter("forwarded_requests", "Requests for sessions of other servers.", result).field("Server.Forwarded", "answered").
		field("Server.ForwardLimited", "max_forwards").field("Server.ForwardUnproven", "unproven").
		of(serverPart, func(x *seen) float64 {
			return float64(max(x.Server.ForwardFailed-x.Server.ForwardLimited-x.Server.ForwardUnproven, 0))
		}, "failed")
	c.gauge("tunnels", "WebSockets of sessions of other servers that are passed on.").field("Server.Tunnels")
	c.gauge("tunnels_here", "WebSockets of this server's sessions that come by way of others.").field("Server.Engine.Tunnels")
	c.counter("tunnels_opened", "WebSockets of sessions of other servers that were to be passed on.", result).field("Server.Tunnelled", "opened").
		field("Server.TunnelLimited", "max_tunnels").of(serverPart, func(x *seen) float64 {
		return float64(max(x.Server.TunnelFailed-x.Server.TunnelLimited, 0))
	}, "failed")
	links := c.counter("peer_messages_refused", "Messages of other servers' parts that were not understood, or of another version.", one("part"), reason)
	for _, of := range [][2]string{{"api", "API.Questions.Links"}, {"identity", "Auth.Peers"}, {"presence", "Presence.Links"}, {"roster", "Roster.Links"}} {
		links.field(of[1]+".Malformed", of[0], "malformed").field(of[1]+".Foreign", of[0], "version")
	}
}
