// Package sio is a Socket.IO server for unmodified JavaScript clients.
//
// # A first server
//
// This is a chat with rooms. Handlers are registered on a [Namespace], once, not
// on each socket as in Node:
//
//	type Chat struct{ Room, Text string }
//
//	srv, err := sio.New(sio.Options{})
//	if err != nil {
//		log.Fatal(err)
//	}
//	chat := srv.Of("/")
//	sio.On(chat, "join", func(s sio.Socket, room string) error {
//		s.Join(room)
//		return s.To(room).Emit("joined", s.ID())
//	})
//	sio.On(chat, "chat", func(s sio.Socket, m Chat) error {
//		return s.To(m.Room).Emit("chat", m.Text)
//	})
//	if err := srv.ListenAndServe(":3000"); !errors.Is(err, sio.ErrServerClosed) {
//		log.Fatal(err)
//	}
//
// A [Socket] is a client's membership of a namespace: a small comparable value
// to keep, or to use as a map key. When the client has left, its methods do
// nothing or return [ErrClosed].
//
// # Namespaces and parameters
//
// [Server.Of] makes a namespace. Segments of its name that begin with a colon
// are parameters of any value, and a last one with an asterisk takes the rest:
//
//	trends := srv.Of("/campaigns/:id/trends")
//	trends.OnConnect(func(s sio.Socket) error {
//		return s.Emit("trends of", s.Param("id"))
//	})
//
// Each name that clients join is an instance with rooms of its own, there as long
// as they are. The namespace speaks to all of them, [Namespace.Instance] to one, and
// [Server.Find] has a name of any namespace.
// [Namespace.Restrict] says which values may be joined, and [Namespace.ServersOnly] that
// none; [Server.OfFunc] takes a function that tells which names there are, [Server.Define]
// adds namespaces while clients come.
//
// # Events
//
// [On] decodes the first argument of an event, as encoding/json does, before it
// calls the handler. With [Namespace.Handle] a handler gets the [Msg] and decodes
// as many as it likes; those that the client left out stay as they are:
//
//	srv.Of("/").Handle("sum", func(s sio.Socket, m *sio.Msg) error {
//		x, y := 0.0, 1.0
//		if err := m.Decode(&x, &y); err != nil {
//			return err
//		}
//		return m.Ack(x+y, m.Len())
//	})
//
// An [Event] is a name with the type of its argument, for both ends:
//
//	const Moved = sio.Event[Move]("moved")
//
// [Namespace.HandleAny] handles what has no handler, [Namespace.UseEvent] wraps all
// handlers, and [Namespace.UseEmit] all that is emitted.
//
// What came as JSON from elsewhere is passed on undecoded by [ParseArgs].
//
// # Acknowledgements
//
// A handler of [OnAck] returns what the client is answered, or an error. The other
// way round, [Ask] and [Socket.EmitAck] ask the client and wait, for its answer or
// for their context, which should have a deadline. That the client leaves is an
// error at once:
//
//	ctx, cancel := context.WithTimeout(s.Context(), 10*time.Second)
//	defer cancel()
//	sure, err := sio.Ask[bool](ctx, s, "sure?", o.Count)
//
// An answer that somebody else will know is a [Reply], which outlives the event, or, for
// another process, the event's number: [Socket.ReplyTo].
//
// [AskFunc] and [Socket.EmitAckFunc] do not wait: a function is called with the
// answer, in its turn among the socket's handlers, and until then there is no goroutine:
//
//	sio.AskFunc(s, 10*time.Second, "who are you?", nil, func(name string, err error) {
//		fmt.Println(name, err)
//	})
//
// [BroadcastOperator.EmitAck] asks many. When its context ends it returns the
// answers so far, along with the context's error:
//
//	answers, err := voters.To("voters").EmitAck(ctx, "vote", "shall we?")
//
// # Rooms and broadcasts
//
// A room is a name that sockets have joined; there is nothing to make or to
// delete. Each socket is alone in the room of its id. To address sockets, start
// from the namespace (everybody) or from a socket (everybody else) and narrow
// that down:
//
//	return s.To("tenors", "basses").Except("soloists").Emit("to the choir")
//
// Each socket addressed gets the event once, in however many of the rooms it is.
// A [BroadcastOperator] is a value, so one can be kept and others be derived from
// it. It can also do to many what Socket does to one, as [BroadcastOperator.Join],
// [BroadcastOperator.Leave] and [BroadcastOperator.Disconnect], and list those of
// this server with [BroadcastOperator.Sockets].
//
// A namespace can keep the last events of its rooms ([Namespace.KeepHistory]): who joins
// one by [Socket.JoinReplay] is sent them first, with nothing missing or twice between
// them and what follows. In a cluster a server that has had no members of the room asks
// the others, for a second at most, and puts what they have before what it was sent
// itself. Events are told apart by their bytes there, and servers get what they emit
// themselves sooner than the others do: so the replayed part may be in an order that not
// every server had, and of equal events that were emitted at that moment one may be missing.
//
// # Who is there
//
// [Namespace.Count] and [BroadcastOperator.Count] say how many sockets there are,
// without asking anybody where it is all or those in one room; CountAll asks the other
// servers too. [Namespace.Lookup] finds a socket by its id, [BroadcastOperator.Pages]
// goes through those of all servers a page at a time, and [Namespace.Instances] and
// [BroadcastOperator.RoomCounts] list what is live:
//
//	for page, err := range ns.To("lobby").Pages(ctx, 2) {
//
// Functions of [Namespace.OnJoin], [Namespace.OnLeave], [Namespace.OnRoomCreated] and
// [Namespace.OnRoomDeleted] are told what happens in rooms, in order, for each instance
// one at a time. A client that comes back in time ([Recovery]) leaves its rooms and
// joins them again: of such a leave [Socket.Recoverable] is true, and of such a join
// [Socket.Recovered].
//
// # Middlewares and authentication
//
// A [Middleware] admits a socket to its namespace or refuses it. The client's auth
// is in [Socket.Auth], the request that it came with in [Socket.Handshake]: for
// middlewares and OnConnect, unless Options.KeepHandshake keeps them longer; a session
// that may join another namespace later keeps its request for that, if that one
// [Namespace.NeedsRequest]. Of an
// [Error] the client sees message and data, of any other "internal error":
//
//	admin.Use(func(s sio.Socket) error {
//		var login struct{ Name, Token string }
//		if err := s.Auth(&login); err != nil || login.Token != "secret" {
//			return &sio.Error{Message: "not authorized", Data: map[string]int{"code": 401}}
//		}
//		s.SetData(login.Name)
//		return nil
//	})
//
// After OnConnect, Auth finds nothing, and the log says so. A token that lasts for a
// while is a deadline of the socket, at which the connection is closed ([ExpiredCode]):
//
//	s.ExpireAt(end, nil)
//
// What concerns the connection comes before: Options.CORS says which origins may
// connect at all, WebSockets included; Options.AllowRequest decides on each new
// session; Middleware of Options.Engine sees each HTTP request.
//
// # What belongs to a socket
//
// Values that stay here have a [Key], with their type, or a [ConnKey] if the sockets
// of the same connection in other namespaces are to find them too ([Conn]). What
// [Socket.SetData] stores is shown to other servers, and comes back with a client that
// recovers; [DataOf] has its type, and [Socket.EditData] changes it:
//
//	user, _ := User.Get(s)
//	name, err := sio.DataOf[string](s)
//
// # Binary
//
// Byte slices in arguments, wherever they stand in them, travel as binary
// attachments, ten at most, and attachments are decoded into []byte or [Binary]:
//
//	type File struct {
//		Name string     `json:"name"`
//		Data sio.Binary `json:"data"` // []byte would do too
//	}
//
// With Options.Parser, clients may speak MessagePack, or either ([EitherParser]).
//
// # Volatile and compression
//
// An event that is worth nothing when it is late is emitted through Volatile, and
// dropped for each client that has something else waiting:
//
//	return s.Broadcast().Volatile().Emit("cursor", m.Raw(0))
//
// One whose newest value is what counts has a [Class]: a client that takes less than it
// is sent gets the latest price of each symbol, and who keeps up gets all of them:
//
//	board.SetClass("price", func(a sio.Args) sio.Class {
//		var symbol string
//		if a.Decode(&symbol) != nil {
//			return sio.Class{}
//		}
//		return sio.Class{Policy: sio.Conflate, Key: symbol}
//	})
//
// If Options.PerMessageDeflate is set, long messages over WebSocket are sent
// compressed to clients that can take it, and a broadcast is compressed once for
// all; [BroadcastOperator.Compress] excepts events for which it is a waste.
//
// # Recovery
//
// With [Recovery], a client that comes back soon has its id, rooms and data again,
// and what it missed is sent. To it [Socket.Recovered] is true:
//
//	if s.Recovered() {
//		return s.Emit("welcome back", s.Data())
//	}
//
// It has received each event exactly once and in order, or it is a new one: when it
// was away for too long, when what it missed is not kept any more or is more than
// may be queued for one client. Operators reach who is away: rooms are joined and
// left, and who was disconnected is a new one. A server that knows its clients has
// middlewares run again ([Recovery.RunMiddlewares]), or names its clients
// ([Recovery.Identity]): otherwise a private id is all that it takes.
//
// # Disconnecting
//
// [Socket.Disconnect] makes a socket leave; its client does not come back by
// itself. After [Socket.CloseConn] it does, and [Socket.CloseConnWith] tells it why
// first. Functions given to [Namespace.OnDisconnect] are told the [Reason], in
// Node's words.
//
// # Errors
//
// An error that a handler returns, or a panic in it as a [PanicError], goes to
// Options.OnError, which logs a warning unless set. It disconnects nobody, but for
// one of OnConnect. [OnAck] answers the client even then. Emit returns
// [ErrClosed] or an [EncodeError]; that it returns nil does not mean that anybody
// has the event. What Decode returns is a [DecodeError].
//
// # Where handlers run, and in what order
//
// The handlers of a socket run one at a time, in the order of its events, on a
// goroutine that exists only while that socket has work: so an idle one costs
// none. Middlewares go first, then the functions of OnConnect, and those of
// OnDisconnect last. All of these may block, and hold up nothing but the rest of
// that socket's events; if too many wait, reading from the client pauses. Those
// of different sockets run at the same time, so what they share needs a lock.
//
// An event loop serves thousands of sockets. Handlers of [Namespace.HandleInline]
// and functions of [Server.OfFunc] run on it, which saves the goroutine and a copy
// of the message, and must not block: where something has to wait after all, [Msg.Later]
// has a handler go on on the goroutine.
//
// All methods may be called from any goroutine. What one goroutine emits reaches
// each socket in the order emitted, direct emits and broadcasts alike, and Join
// and Leave take their place in that order.
//
// Work for a socket that goes on after its handler has returned should end with
// [Socket.Context], which is done when the client leaves.
//
// # Limits
//
// Options has what has a name of Node's, Options.Engine ([eio.Options]) what else is of
// sessions, Options.Loop ([loop.Options]) what is of connections:
//
//	o := sio.Options{PingInterval: 10 * time.Second, MaxHTTPBufferSize: 100_000}
//	o.Engine.MaxSessions = 50_000 // of Engine.IO
//	o.Loop.SlowAfter = 5 * time.Second
//
// A [Namespace.Gate] judges each event before anything is done with it, and says what
// becomes of one too many.
//
// What one client can cost is bounded: its namespaces, rooms, acknowledgements and
// names of events, what is in a packet (Limits), what is kept for it on the way in
// (Engine.ConnBudget) and out (Loop.SoftOutbound, MaxOutbound). So are live instances,
// and the memory of the process. [Server.Stats] counts who went too far, and what
// waits. [Server.Tune] has a process that does little else serve as sioedge does.
//
// # Several servers
//
// Options.Adapter joins a server to others: what is addressed to a room then
// reaches its members on all of them, unless [BroadcastOperator.Local] is asked
// for. [BroadcastOperator.FetchSockets] lists the sockets of all:
//
//	all, err := ns.To("lobby").FetchSockets(ctx)
//
// A room's first member on a server has it subscribe, which takes a moment in which
// what others emit to the room may be missed: [Socket.JoinWait] returns behind it.
//
// [Namespace.ServerSideEmit] and [Namespace.ServerSideAsk] speak to the other
// servers themselves, which listen with [Namespace.HandleServerSide].
//
// # In another server
//
// A Server can be a handler in a server of net/http; its loops run beside it:
//
//	go func() { log.Fatal(srv.Serve(context.Background())) }()
//	mux := http.NewServeMux()
//	mux.Handle("/socket.io/", srv)
//
// [Server.Adopt] takes over any connection that is TCP or Unix, Options.Handler
// answers paths that are not Socket.IO's, [Server.ListenWith] listens with options.
//
// # Shutting down
//
// [Server.Shutdown] disconnects everybody with the reason [ServerShuttingDown],
// sends what is queued, and waits for the handlers, as long as its context lasts:
//
//	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
//	defer cancel()
//	fmt.Println(srv.Shutdown(ctx))
//
// [Server.Drain], before it, has them leave one after the other, over a time, so that
// they do not all come to other servers at once.
//
// # Upgrading
//
// [Server.Handover] gives all clients, with their connections, to another process of the same
// program or a newer one, which has called [Inherit]: they notice a pause. Package
// sio/handover has the two meet. What of a socket is not the server's to encode says how it
// travels: [CarryKey], [CarryConnKey], Options.EncodeData; what a program has beside sockets
// is a [Part]. See the example of [Server.Handover].
//
// # Testing
//
// Package siotest has clients without a network, for tests of what is registered
// here: an hour of silence, or a client that does not read, happens at once and
// always in the same way, with handlers on goroutines too. What is emitted is
// recorded. It stands on [NewSim], which is for those who speak the protocol:
//
//	c.Emit("version", 2)
//	end := c.ExpectDisconnect()
//
// # How it is built
//
// A [Server] has a shard on each loop, which owns the records of its sockets; what is
// done to them from elsewhere is posted there. The files answer:
//
//   - who owns a socket's state: shard.go, record; handshake.go, detail
//   - where an emit gets its place: sequencer.go; clustered.go with a cluster's log
//   - who disconnects a slow client: loop/slow.go; one that polls: eio/pollqueue.go
//   - what is dropped for one: options.go, Class; loop/class; loop/classes.go, eio/pollclass.go
//   - until when a view is valid: [Namespace.HandleInline], msg.go; below [eio.Handler]
//   - what an unknown session gets: eio/forward.go; in a cluster internal/relay
//   - what a gate says: errors.go, Verdict
//   - connecting, events, leaving: connect.go, dispatch.go and inbox.go, leave.go
//   - broadcasts, and what else is done to many: broadcast.go, operators.go, rooms
//   - recovery: recover.go, internal/packetlog; in a cluster internal/clusterlog
//   - who is told of all that happens: [Server.Observe], observe.go
//   - who hands over, and takes over: handover.go, inherit.go, internal/passage; how handlers
//     are held, and programs kept waiting: hold.go; what goes and how: records.go, moving.go;
//     how it comes: adopt.go, restore.go; what else the server has: ownparts.go, carry.go
//   - where the rest is: internal/ pattern, memory, due, fifo, crossing, outbound, confine,
//     clientfiles, quiet, running
package sio
