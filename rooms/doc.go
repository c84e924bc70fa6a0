// Package rooms knows which sockets are in which rooms, and carries a
// broadcast to each of them once.
//
// Sockets belong to event loops. A Directory, shared by all goroutines, knows
// the names of rooms and which loops have members of each; a Local, owned by
// one loop, knows which of that loop's sockets they are. A broadcast goes
//
//	any goroutine   Directory.Publish   names are looked up, the broadcast is
//	                                    posted to each loop with members
//	each loop       Local.Enqueue       it waits behind those before it, or
//	                                    becomes one Run with the last of them
//	each loop       Local.Step          the members are visited in slot order,
//	                                    a few hundred at a time
//	each member     Deliver             sends the run's messages
//
// A broadcast takes place in a loop at the moment it is enqueued: it is for
// the members of that moment, although the last of them may be visited much
// later. Whatever is about to change for one socket before its visit (its
// rooms, its connection, or a message to it alone) therefore first delivers
// what that socket has not had yet; see Local.CatchUp.
//
// The package does no I/O, reads no clock and starts no goroutine.
package rooms
