// Package rooms knows which sockets are in which rooms, carries a broadcast to each
// of them once, and says what an adapter to other servers is.
//
// # Who knows what
//
// Sockets belong to event loops, and are named by a [Ref] (loop, slot, generation).
//
//	Directory   all goroutines, 64 shards by name, each with a lock   which rooms there are, how many members each
//	                                                                  has, and which loops have some
//	Local       one for each loop, touched by that loop alone         which of the loop's sockets the members are,
//	                                                                  and the broadcasts on their way to them
//	Broadcast   immutable once it is published                        a message and whom it is for
//
// A room exists from its first member, or the first that is expected, to its last.
// Its entry in the Directory is never used again: a room of that name made later is
// another one, so that what was published to the former does not reach it. A socket
// is in its namespace, a room without a name, from Add to Remove. A socket's id is a
// room that nobody stores: who publishes decodes ids into Refs.
//
// # The way of a broadcast
//
//	any goroutine   Directory.Publish   names are looked up, the broadcast is
//	                                    posted to each loop with members
//	each loop       Local.Enqueue       it waits behind those before it, or
//	                                    becomes one Run with the last of them
//	each loop       Local.Step          the members are visited in slot order,
//	                                    a few hundred at a time; what is for few
//	                                    others does not wait for the last of many
//	each member     Deliver             sends the run's messages
//
// A broadcast takes place in a loop at the moment it is enqueued: it is for
// the members of that moment, although the last of them may be visited much
// later. Whatever is about to change for one socket before its visit (its
// rooms, its connection, or a message to it alone) therefore first delivers
// what that socket has not had yet; see [Local.CatchUp].
//
// # What is in order
//
// What one goroutine publishes, all members get in that order; and the messages of one
// room, whoever publishes them, all members get in one order. For that, Publish holds the
// locks of the rooms until it has posted to the last loop, and loops enqueue in
// the order of posting. Locks are taken in the order of their shards; while they are
// held nothing is called but post, which may lock a mailbox, [Broadcast.Sequenced], and
// the watchers ([Directory.Watch]). A Join that is still on its way to its loop is announced by
// [Directory.Expect], so that a broadcast published after it finds the room.
//
// # Memory and bounds
//
// A socket is a record of 32 bytes without a pointer, in chunks by slot; members of a
// room are a few slots in place, a sorted list, or blocks of bitmaps (set.go, block.go).
// A recipient costs no allocation, a broadcast at most four in each loop. A Run is bounded by
// [MaxRunBytes] and [MaxRunMessages], a step by its caller. [Directory.Waiting] is what
// published broadcasts hold, in bytes, until the last loop has visited their members:
// who publishes compares it with a bound of its own. Names come from clients and may
// be any; their hash is seeded.
//
// # Other servers
//
// An [Adapter] carries what is for sockets elsewhere, and gives the server, its [Host],
// what comes from there. Everything between them is plain data: a [Target] says for
// whom, an [Event] what, a [Value] is an answer, a [Member] a socket of another
// server. What an adapter hands over was written by another process: it is valid
// JSON whose placeholders name its attachments, and nothing else is certain of it; who
// reads a Member's handshake or data must not rely on the kind of what is in them. A [Log]
// keeps events in one order ([Place]), and sessions whose clients may come back.
//
// # Where to look
//
//	who is in a room                 local.go, set.go, block.go, list.go
//	whom a broadcast is for          directory.go (Publish, resolve)
//	who does not wait for many       step.go (overtake)
//	what waits, in which order       queue.go, step.go
//	why a socket got it earlier      queue.go (CatchUp)
//	who hears of rooms               directory.go (Watch)
//	counters                         stats.go; of adapters: Status
//	moving sockets elsewhere         snapshot.go
//
// The package does no I/O, reads no clock and starts no goroutine.
package rooms
