package action

import "github.com/sioedge/sioedge/sio"

// A Bridge is an application in Node whose processes are linked to this server, and have
// the handlers of namespaces. Any goroutine may call its methods.
type Bridge interface {
	// Add has a namespace be one of the bridge's, for good: processes may emit to it. It
	// may be called again.
	Add(ns *sio.Namespace)
	// Connect asks whether a client may connect, in a middleware: it blocks until a
	// process has said so. The error is a *sio.Error that the client is told; if the
	// connection was closed instead, since there is no process, that of a client that
	// comes back.
	Connect(s sio.Socket, e Entry) error
	// Came is called from OnConnect.
	Came(s sio.Socket) error
	// Event sends an event on. It does not block, and is called on the event loop; if too
	// much waits it goes on by m.Later, and the client is not read from meanwhile. M is
	// not kept. What the application answers is done later.
	Event(s sio.Socket, m *sio.Msg) error
	// Left is called from OnDisconnecting, also of sockets that Came was not called with. Of
	// one that leaves between Connect and Came it may not be called: its Context ends.
	Left(s sio.Socket, reason sio.Reason)
}
