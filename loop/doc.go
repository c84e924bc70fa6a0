// Package loop runs connections on event loops: listeners, reads, write
// queues, timers and a mailbox for each loop. Only this package touches file
// descriptors.
//
// It stands on gnet's poller (gnet/v2/pkg/netpoll: epoll and kqueue) and not
// on gnet.Run. The engine behind gnet.Run keeps 360 to 410 bytes and four
// garbage-collected objects for each connection, ends the whole server when
// accept runs out of descriptors, cannot stop accepting, tells nobody when a
// connection can be written again, so that a backlog is copied once for each
// recipient, lets a task that posts itself again starve reads, and drops unsent
// data on close. Its poller has none of that.
//
// # Types, and who may touch them
//
// An [Engine] is a number of loops with one [Handler]; any goroutine may call it.
// A [Loop] is one goroutine with a poller, its listeners, its connections and its
// timers: everything about a connection is touched there only, and builds with the
// race detector check it at the entries ([Loop.Check]). The way in from any other
// goroutine is the loop's mailbox: [Loop.Post], [Loop.Mail], [Loop.Ask]. A [Conn] is
// a comparable name of a connection, without a pointer to it: one that is stale
// does nothing. A [Sim] is an engine without sockets or real time, for tests.
//
// # Steps
//
// The loop advances in steps. A step serves one event: a connection became
// readable or writable, a listener has somebody waiting, or the loop was woken. At
// its end the loop drains its mailbox, runs due timers, calls the OnTurn function,
// sends what was queued with one system call for each connection, and then does
// what was put off: opens, closes, moves, redeliveries. It repeats this while
// there is more, a bounded number of times. Long work is done in slices, between
// which sockets are served: [Loop.OnWork], [Loop.Hold].
//
// Writing never calls a Handler and a Handler is never entered twice: an error
// of a write becomes a Close at the end of the step.
//
// # The life of a connection
//
//	accept ─► opening ─► entering ─► open ──────► leaving ─► (another loop: open)
//	            │  Opener   │          │ Handler
//	            ▼           ▼          ▼
//	          closing ───► flushing ──► waiting ──► free
//	          cutting ────────┴─────────────────► free
//
// An [Opener] of the listener has it first, if there is one: a preface, a handshake,
// one behind the other. What that writes is sent as it is; then comes the [Link]
// that it has named, if there is one, and the handler:
// Open, Data with what came (a view that is good until Data returns; what it leaves
// comes again), Drained, Close. After [Conn.Close] the handler is told at the end
// of the step, what is queued is sent, our end is sent, and the peer's is waited
// for. [Conn.Abort] does without. life.go has the table.
//
// The bytes go through the socket itself, or a [Link]: TLS, or a [Stream] within
// another connection. [Conn.Detach] and [Loop.Attach] take a connection out of one
// engine and into another, [Engine.ListenerFiles] and [ListenOptions].Files a
// listener.
//
// # Limits, and who ends what
//
// Each is an option, is counted ([Stats]), and leaves a line in the log, one a while.
//
//   - who takes nothing of what is queued: SlowAfter → ErrSlowPeer (slow.go)
//   - for whom too much is queued: MaxOutbound → ErrQueueFull (write.go); above
//     SoftOutbound it is not read from
//   - who does not open its connection: OpeningTimeout, OpeningBytes, MaxOpening
//     (opening.go)
//   - who does not end after a graceful close: LingerTimeout (close.go)
//   - more connections than MaxConns: accepting pauses (listen.go)
//   - a goroutine that posts faster than the loop works: waits in [Loop.Admit]
//     (mailbox.go)
//   - a loop that does not come: [Engine.Late] (gather.go)
//
// What a peer sends is bounded by what the handler leaves of it: Data's business.
//
// # Where to look
//
// From readiness to Data: run.go, read.go. From Write to send: write.go, queue.go.
// Accept: listen.go, attach.go. The end: close.go. Sockets and what stands for
// them: sys.go, link.go, sim.go. Clocks: clock.go, timer.go.
//
// # Memory
//
// An idle connection is a record and a word of 20 bytes, without pointers, and
// four bytes in a table by descriptor. What only some connections need (queued
// output, input that was not consumed, a link) is a pooled object that exists while
// it is needed.
package loop
