// Package eio serves Engine.IO 4, and 3 if allowed: sessions over HTTP long
// polling and WebSocket, with the live upgrade from one to the other.
//
// # The conversation
//
// A session over polling, then upgraded (Engine.IO protocol 4):
//
//	GET  ?EIO=4&transport=polling             200 0{"sid":"…","upgrades":["websocket"],…}
//	POST &sid=S          40                   200 ok
//	GET  &sid=S                               200 40{"sid":"…"}␞42["hello"]
//	GET  &sid=S &transport=websocket          101
//	     2probe                                   3probe          a pending GET is answered 6
//	     5                                        from here on everything goes over the WebSocket
//	                                              2               every pingInterval; the client answers
//	     3                                                        within pingTimeout
//
// # What there is, and whose it is
//
// A [Server] is a loop.Handler. Everything else about a client belongs to one loop,
// without a lock: a method that is bound to a loop begins with a check of that in
// builds with the race detector.
//
//	shard      the server's part of a loop: all that follows
//	httpConn   a connection that speaks HTTP; freed when it ends or becomes a WebSocket
//	exchange   its request and the answer, as data in a state that has a name; the states
//	           are at its type, and what ends each before its answer is abandon
//	work       what an exchange has done on a goroutine: middleware, AllowRequest, Seek,
//	           the handler of Route or Forward, the RoundTripper of Tunnel
//	session    24 bytes without pointers, in a table; [Session] is its handle
//	ext        what only some sessions need: a queue, polls, an upgrade, a message in pieces
//	transport  polling or webSocket: how a session and its client talk
//	wheel      the deadlines of all heartbeats
//	account    what is kept on a session's behalf on the way in
//	tunnel     a WebSocket whose session is another node's
//
// A session's id is its place, sealed: loop, slot and generation. There is no index of
// sessions; a request that reaches another loop moves its connection to the one that
// the id names. A stale id names nobody.
//
// Across loops there are the number of sessions, the guests of each address, and the
// two switches of [Server.Drain] and [Server.Press].
//
// # The way of a request, and of a message
//
// Data has the bytes, by the connection's tag. HTTP: the head is parsed in place,
// start makes an exchange, request and engineRequest find who answers: Route, CORS,
// Middleware, then Node's order of checks, then the session. A body is received in one
// of three states and comes to bodyWhole; a payload is cut into packets by payload,
// some a step; packet and binaryPacket hand messages to the [Handler]. A WebSocket: dataWS
// reads frames in place, unmasked where they lie, and messageWS does the same.
// Views of requests and messages are valid until the Handler returns.
//
// Out: [Session.SendPrepared] gives a message that was encoded once to the connection,
// or puts a reference into the queue for polls; flushPollers answers polls at the end
// of the step, with as much as one answer may have.
//
// # Who may end what
//
// A session is in one of six states: polling (no poll waits), waiting (one does), probing
// (an upgrade is in progress), upgraded (a WebSocket, from the start or since), closing
// (the handler knows, the client not yet) and closed. What happens to it, by what comes;
// "!" is the reason the Handler is told, and a dash: nothing.
//
//	                     polling            waiting               probing              upgraded            closing       closed
//	Session.Send         queued             answers the poll      queued               sent                -             -
//	Session.Close        ! forced close,    ! the poll gets 1     ! closing            ! close frame       -             -
//	                     closing
//	Session.Cut          ! transport error  ! the poll gets 1     ! close frame        ! cut               -             -
//	Server.CloseSome     ! forced close     ! the poll gets 503   ! close frame        ! close frame       -             -
//	a poll               waits              400, the other 1,     waits; 6 in 100 ms   400                 6␞1, closed   400
//	                                        ! transport error
//	a post               ok                 ok                    ok                   400                 ok, dropped   400
//	a close packet       ! transport close  ! the poll gets 6     ! close frame        ! (in a frame)      ok            400
//	an upgrade           probing            probing               close frame          close frame         close frame   400
//	5 on the new one     .                  .                     upgraded             -                   .             .
//	its end              .                  .                     polling              ! transport close   .             .
//	end of the poll      .                  ! transport error     .                    .                   .             .
//	silence              ! ping timeout     ! ping timeout        ! ping timeout       ! ping timeout      CloseTimeout  -
//
// TestWhoMayEndWhat goes through this table. A protocol violation ends a session with
// "transport error" or "parse error", as Node does. All of them come to one function,
// closeWith: the handler is told once, then the transport tells the client.
// A request ends before its answer in abandon: TestAbandon goes through its states.
//
// # Limits
//
//	MaxPayload, MaxFragments           a message, a body               413, or 1009 and 1008
//	MaxHeaderBytes, MaxHeaderFields    a head                          431
//	HeadTimeout, BodyTimeout           a head; each 64 KiB of a body   408
//	IdleTimeout                        the next request                the end
//	PingInterval, PingTimeout          a sign of life                  "ping timeout"
//	UpgradeTimeout, CloseTimeout       an upgrade; a last poll         the upgrade, the session ends
//	MaxQueue, SlowAfter                what waits for a poll           "transport error" for who asks for nothing
//	MaxQueueHard                       however fast it asks            "transport error"
//	ConnBudget                         what is kept on the way in      no reading; "transport error", 1009
//	MaxSessions, MaxSessionsPerIP      sessions; those of an address   503
//
// Packets, bytes and inflated bytes a step are bounded by constants (step.go). Each
// refusal and close is counted in [Stats], by reason, and logged at a bounded rate with
// the flag that sets the limit. Of a WebSocket, what waits to be sent is the loop's to
// bound.
//
// # Where to look
//
//	who disconnects a slow client, over a WebSocket     loop/slow.go, lookSlow
//	and one that does not poll                          pollqueue.go, watchSlow
//	who disconnects a silent one                        heartbeat.go, deadlinePassed
//	until when a view is valid                          eio.go, Handler
//	what an unknown session gets                        forward.go, sessionElsewhere: 400, code 1
//	which address a client has                          client.go
//	what a client that sends too fast meets             budget.go, pause.go, step.go
//	how a server stops                                  stop.go
//	how all of it moves to another process              move.go, moveconn.go, snapshot.go, restore.go
//	what a client is told that looks for it here        move.go, answerElsewhere
//	how a frame is made once for many                   prepared.go
package eio
