package metrics

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/sioedge/sioedge/eio"
)

// Labels that several series have.
var (
	transport = one("transport")
	revision  = one("eio")
	reason    = one("reason")
	result    = one("result")
)

// transports adds the metrics of an eio.Sessions.
func (s *series) transports(path string) *series {
	return s.field(path+".Polling", "polling", "4").field(path+".WebSocket", "websocket", "4").
		field(path+".Polling3", "polling", "3").field(path+".WebSocket3", "websocket", "3")
}

// refused are how eio's codes are called.
var refused = [eio.CodeUnsupportedVersion + 1]string{
	eio.CodeUnknownTransport: "unknown_transport", eio.CodeUnknownSID: "unknown_sid", eio.CodeBadHandshakeMethod: "bad_method",
	eio.CodeBadRequest: "bad_request", eio.CodeForbidden: "forbidden", eio.CodeUnsupportedVersion: "unsupported_version",
}

// clients are clients' connections.
func clients(c *catalogue) {
	c.in("Connections of clients")
	c.gauge("connections", "Connections of Engine.IO that are open, whatever their clients have joined.", transport, revision).transports("Server.Engine.Open")
	c.counter("connections_opened", "Connections of Engine.IO that were opened, by their first transport.", transport, revision).transports("Server.Engine.Opened")
	c.counter("connections_closed", "Connections of Engine.IO that were closed, by the reasons of Engine.IO.", reason).
		field("Server.Engine.Closed.TransportClose", "transport close").field("Server.Engine.Closed.TransportError", "transport error").
		field("Server.Engine.Closed.PingTimeout", "ping timeout").field("Server.Engine.Closed.ParseError", "parse error").field("Server.Engine.Closed.ForcedClose", "forced close")
	h := c.counter("handshakes", "Requests that opened a connection of Engine.IO or were refused by it; those that were refused as there was too much are in sioedge_admission_rejected_total.", result)
	h.of(serverPart, func(x *seen) float64 { return float64(x.Server.Engine.Opened.Sum()) }, "opened")
	for code, name := range refused {
		if code != eio.CodeForbidden {
			h.field(fmt.Sprintf("Server.Engine.Refused[%d]", code), name)
		}
	}
	h.field("Server.Engine.Origins", "bad_origin").field("Server.Engine.Unproven", "unproven").of(serverPart, func(x *seen) float64 {
		e := &x.Server.Engine
		return float64(max(e.Refused[eio.CodeForbidden]-e.Origins-e.Unproven, 0))
	}, refused[eio.CodeForbidden])
	c.counter("admission_rejected", "Clients that were refused as there were too many, or it was too much: with 503 or 429, by a cut connection, or, for limits of users, with an error of their namespace.", reason).
		field("Server.Engine.Draining", "draining").field("Server.Engine.Full", "max_sessions").field("Server.Engine.Guests", "max_guests").
		field("Server.Engine.Pressed", "memory").field("Server.Engine.TooMany", "accept_rate").field("Server.Engine.Late", "loop_late").
		field("Server.Engine.PerIPConns", "max_conns_per_ip").field("Server.Engine.PerIPSessions", "max_sessions_per_ip").
		field("Limits.Users", "max_conns_per_user").field("Limits.NamespaceUsers", "max_conns_per_user_of_namespace")
	var failed int64 // does not become less when loops tell at different times
	c.counter("upgrades", "Upgrades from polling to WebSocket that have ended; refused ones were not begun, as there was one.", result).
		field("Server.Engine.Upgraded", "upgraded").field("Server.Engine.Expired", "timeout").field("Server.Engine.Barred", "refused").
		of(serverPart, func(x *seen) float64 {
			e := &x.Server.Engine
			failed = max(failed, e.Probed-e.Upgraded-e.Probing-e.Expired)
			return float64(failed)
		}, "failed")
	c.gauge("upgrades_pending", "Upgrades in progress.").field("Server.Engine.Probing")
	c.counter("ping_timeouts", "Connections that were closed as their clients did not answer a ping.").field("Server.Engine.Closed.PingTimeout")
	c.histogram("handshake_duration_seconds", "How long handshakes of Engine.IO took, from the first byte of the request until the answer was written, that of TLS left out.").
		counted("Server.Engine.Times.Handshakes", 1<<6, 1<<23, 1e-6)
	c.histogram("ping_rtt_seconds", "How long pings took to be answered; above 4 s: 4.094.").counted("Server.Engine.Times.RTT", 1, 1<<12, 1e-3)
	c.histogram("connection_age_seconds", "How long connections had been open when they were closed.").counted("Server.Engine.Times.Ages", 1, 1<<20, 1)
}

// endings are clients' connections that are closed, or held up.
func endings(c *catalogue) {
	c.in("Slow and wrong clients")
	codes := c.counter("close_codes", "Close frames that WebSockets were sent, by their code; none: without one.", one("code"))
	i := 0
	new(eio.Codes).Each(func(code uint16, _ int64) {
		name := strconv.Itoa(int(code))
		switch code {
		case 0:
			name = "none"
		case eio.OtherCode:
			name = "other"
		}
		codes.field(fmt.Sprintf("Server.Engine.Codes[%d]", i), name)
		i++
	})
	c.gauge("slow_consumers", "Clients for which more than queue.max waits.").
		of(serverPart, func(x *seen) float64 { return float64(x.Server.Loop.Slow + x.Server.Engine.Swamped) })
	c.counter("connections_cut", "Connections that were closed for what their clients did, or did not do.", reason).
		field("Server.BadPackets", "bad_packet").field("Server.Violations", "violation").field("Server.Unfinished", "attachments_missing").
		field("Server.Timeouts", "nothing_joined").field("Server.Engine.Budget", "conn_budget").field("Server.Engine.Stuck", "handlers_stuck").
		field("Server.Engine.Gone", "gone").field("Server.MemoryClosed", "memory").field("Server.Engine.Overlaps", "polling_overlap").
		field("Server.Engine.Oversize", "websocket_too_large").of(serverPart, func(x *seen) float64 {
		return float64(max(x.Server.Engine.Frames-x.Server.Engine.Oversize, 0))
	}, "websocket_error")
	c.counter("slow_consumers_closed", "Connections that were closed as their clients did not take what waited for them.", reason).
		of(serverPart, func(x *seen) float64 {
			return float64(x.Server.Loop.Closes.Slow + max(x.Server.Engine.Slow-x.Server.Engine.Overflow, 0))
		}, "slow_after").
		of(serverPart, func(x *seen) float64 { return float64(x.Server.Loop.Closes.Full + x.Server.Engine.Overflow) }, "queue_hard_max")
	c.counter("requests_malformed", "Requests that are no HTTP, or too large, or came too slowly.", reason).
		field("Server.Engine.TooLarge", "body_too_large").field("Server.Engine.HeadLarge", "head_too_large").field("Server.Engine.TooSlow", "too_slow").
		of(serverPart, func(x *seen) float64 {
			e := &x.Server.Engine
			return float64(max(e.Malformed-e.TooLarge-e.HeadLarge-e.TooSlow, 0))
		}, "malformed")
	c.counter("reads_paused", "Times that a client was not read from: until handlers had caught up with it, or for a rate.", reason).
		field("Server.Engine.Pauses", "handlers").field("Server.Engine.Delays", "rate")
	c.gauge("polls_waiting", "Polls that wait for something to be sent.").field("Server.Engine.Polls")
	c.gauge("posts_receiving", "Bodies of requests that are being received.").field("Server.Engine.Bodies")
	c.gauge("posts_receiving_bytes", "Bytes that have come of bodies that are being received.").field("Server.Engine.BodyBytes")
	c.gauge("posts_unanswered", "Posts that are answered when handlers have caught up.").field("Server.Engine.Unacked")
	c.gauge("requests_apart", "Requests for which something is done beside the loops.").field("Server.Engine.Apart")
	c.gauge("inbound_held_bytes", "Bytes that are kept on the way in, on behalf of clients.").field("Server.Engine.Held")
	c.gauge("inbound_held_connections", "Connections for which something is kept on the way in, or was a moment ago.").field("Server.Engine.Accounts")
}

// traffic is what goes over the network.
func traffic(c *catalogue) {
	c.in("Network")
	c.gauge("tcp_connections", "Connections of TCP and Unix sockets that are open on the public listeners.").field("Server.Loop.Open")
	c.counter("tcp_accepted", "Connections that the public listeners accepted.").field("Server.Loop.Accepted")
	c.counter("tcp_closed", "Connections that were closed: by the peer, by the server, for a full queue, or for an error.", reason).
		field("Server.Loop.Closes.Ended", "peer").field("Server.Loop.Closes.Handler", "server").field("Server.Loop.Closes.Slow", "slow").
		field("Server.Loop.Closes.Full", "queue_full").field("Server.Loop.Closes.Failed", "error").field("Server.Loop.Closes.Panicked", "panic")
	c.counter("tcp_openings", "Connections with something in front, such as TLS or a PROXY preface, by what became of that.", result).
		field("Server.Loop.Openings.Opened", "opened").field("Server.Loop.Openings.Refused", "refused").field("Server.Loop.Openings.Late", "timeout").
		field("Server.Loop.Openings.TooLong", "too_long").field("Server.Loop.Openings.Full", "too_many").field("Server.Loop.Openings.Ended", "ended")
	c.gauge("tcp_opening", "Connections whose TLS handshake or PROXY preface has not ended.").field("Server.Loop.Openings.Now")
	c.counter("proxy_prefaces", "PROXY prefaces, on listeners with ?proxy=, by what became of them.", result).field("Preface.V1", "v1").field("Preface.V2", "v2").
		field("Preface.Untrusted", "untrusted").field("Preface.None", "none").field("Preface.Version", "version").field("Preface.Malformed", "malformed").
		field("Preface.TooLong", "too_long").field("Preface.Checksum", "checksum").field("Preface.Late", "timeout").field("Preface.Ended", "ended")
	c.counter("proxy_prefaces_local", "Of sioedge_proxy_prefaces_total: those without an address, as a balancer's own.").field("Preface.Local")
	c.counter("tcp_refused", "Connections that were closed at once, as their loop has no room.").field("Server.Loop.NoSlot")
	c.counter("accept_pauses", "Times that a listener stopped accepting, for want of descriptors or at limits.max_conns.").field("Server.Loop.AcceptPauses")
	in := c.counter("bytes_received", "Bytes that connections received, as they are on the wire but for TLS: HTTP's heads and WebSocket's frames with them.", transport)
	out := c.counter("bytes_sent", "Bytes that connections sent, likewise: when the kernel has taken them.", transport)
	for _, of := range [][2]string{{"polling", "Polling"}, {"websocket", "WebSocket"}, {"tunnel", "Tunnels"}} {
		in.field("Server.Engine.Traffic."+of[1]+".In", of[0])
		out.field("Server.Engine.Traffic."+of[1]+".Out", of[0])
	}
	c.counter("tcp_received_bytes", "Bytes that were received from the kernel.").field("Server.Loop.BytesIn")
	c.counter("tcp_sent_bytes", "Bytes that the kernel took.").field("Server.Loop.BytesOut")
	frames := c.counter("frames", "WebSocket messages and control frames; one in pieces is one.", one("dir"), one("opcode"))
	for _, op := range []string{"Text", "Binary", "Ping", "Pong", "Close"} {
		frames.field("Server.Engine.In."+op, "in", strings.ToLower(op)).field("Server.Engine.Out."+op, "out", strings.ToLower(op))
	}
	c.counter("writes", "System calls that sent something, or tried to.").field("Server.Loop.Writes")
	c.gauge("queue_bytes", "Bytes that wait to be sent to clients, shared ones once for each.").
		of(serverPart, func(x *seen) float64 { return float64(x.Server.Loop.Queued + x.Server.Engine.Queued) })
	c.gauge("queue_high_water_bytes", "Bytes of the largest queue for a client, in this minute and the last.").
		of(serverPart, func(x *seen) float64 { return float64(max(x.Server.Loop.Largest, x.Server.Engine.Largest)) })
	c.gauge("buffers_pooled_bytes", "Bytes of buffers that loops keep for themselves.").field("Server.Loop.Pooled")
	c.gauge("queue_held_bytes", "Memory, in bytes, that is held for what waits to be sent, shared by clients or not.").field("Server.Loop.Held")
	c.gauge("queue_entries", "Pieces in which what waits to be sent is queued.").
		of(serverPart, func(x *seen) float64 { return float64(x.Server.Loop.Entries + x.Server.Engine.Entries) })
	c.counter("compressed_messages", "WebSocket messages that were compressed, those for many recipients once.").field("Server.Compression.Deflated")
	c.counter("compressed_input_bytes", "Bytes of WebSocket messages before they were compressed.").field("Server.Compression.DeflatedFrom")
	c.counter("compressed_output_bytes", "Bytes of WebSocket messages when they were compressed.").field("Server.Compression.DeflatedTo")
	c.counter("compressed_polls", "Answers to polls that were compressed.").field("Server.Compression.Polls")
	c.counter("inflated_messages", "WebSocket messages of clients that were compressed.", result).
		field("Server.Compression.Inflated", "inflated").field("Server.Compression.Refused", "refused")
}

// loops are the event loops.
func loops(c *catalogue) {
	c.in("Event loops")
	c.gauge("loop_late_seconds", "How long a loop has not answered what it was asked, 0 if it does: one that is stuck. What is said of it elsewhere is what it told last.", loopNo).field("Loop.Late")
	c.gauge("loop_lag_seconds", "What a loop was late by, of late, at worst.", loopNo).scaled("Loop.Lag", 1e-3)
	c.counter("loop_iterations", "Times that a loop went through what was ready.", loopNo).field("Loop.Turns")
	c.counter("loop_busy_seconds", "Time in which a loop did something, and did not wait.", loopNo).scaled("Loop.Busy", 1e-9)
	c.gauge("loop_connections", "Connections of a loop.", loopNo).field("Loop.Open")
	c.counter("loop_away_seconds", "Time that loops were late by, in pieces of a second or more.").scaled("Server.Loop.Away", 1e-3)
	c.counter("loop_panics", "Panics that loops have caught.").field("Server.Loop.Panics")
	c.counter("loop_moves", "Connections that have gone to another loop.").field("Server.Loop.Moved")
	c.gauge("mailbox_messages", "Messages that loops have not taken out of their mailboxes.").field("Server.Loop.Mail")
	c.gauge("mailbox_bytes", "Bytes that messages in mailboxes take, about.").field("Server.Loop.MailBytes")
	c.counter("mailbox_waits", "Times that a goroutine had to wait for a loop to take what it was given.").field("Server.Loop.MailWaits")
	c.counter("loop_wakes", "Times that loops were woken by way of a descriptor: by others, or by themselves to go on with something.").field("Server.Loop.Wakes")
	c.gauge("loop_deferred", "Connections with something to be done at the end of the step.").field("Server.Loop.Deferred")
}
