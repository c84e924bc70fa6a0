// Package ioclient is a Socket.IO client: Engine.IO 4 by WebSocket, or by long-polling
// with an upgrade to it, and Socket.IO 5 with namespaces, acknowledgements both ways,
// binary attachments, reconnection and connection state recovery. It behaves as the
// stock client does where that shows to a server, and it believes no server: what one
// may have it hold is bounded, and what one may have it do is one answer a packet.
//
//	Client            one for each server: namespaces, and when to connect again
//	  session         one for each Engine.IO session: heartbeat, queue, upgrade
//	    wire          polling or socket: bytes
//
// Goroutines: Client.Run is the one that reads, and that calls Options.Notify; a session
// has one that writes, and one while it tries to upgrade. They end before the session's
// serve returns.
package ioclient
