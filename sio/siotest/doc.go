// Package siotest tests what applications do on package sio: clients without a
// network, which come to a server in the test's own process, on loops that are
// simulated and with a clock that the test moves.
//
//	func TestChat(t *testing.T) {
//		srv := siotest.New(t, sio.Options{})
//		app.Register(srv.Server) // what main does, too
//
//		alice := srv.ConnectWith("/", siotest.Options{Auth: app.Login{Name: "alice"}})
//		bob := srv.Connect("/")
//		alice.Emit("join", "lobby")
//		bob.Emit("join", "lobby")
//		alice.Expect("joined")
//
//		if n := siotest.Ask[int](bob, "say", "hello"); n != 1 {
//			t.Errorf("%d heard it, want 1", n)
//		}
//		if got := siotest.Expect[string](alice, "said"); got != "hello" {
//			t.Errorf("alice received %q", got)
//		}
//		if e := srv.ExpectEmit("said"); !e.Reached(alice) {
//			t.Errorf("emitted %v, want it to reach alice alone", e)
//		}
//		bob.ExpectNothing()
//		srv.Advance(time.Hour) // heartbeats go on
//	}
//
// # When things happen
//
// Nothing happens by itself. Each method of a client or of the Server does what it
// is for, and then runs the server until it is quiet: the loops have nothing to do,
// and each handler, on the loop or on its goroutine, has returned, or waits in a
// call of package sio for something that only the test can give, such as EmitAck for
// the client's answer. So what an event leads to has happened when Emit returns, the
// next line of the test may look at it, and no test ever sleeps. Handlers run one at
// a time, in the order in which their events came, so that a test does the same each
// time that it runs.
//
//	c.Emit(…)         an event              c.EmitAck(…)   one to be acknowledged: Decode, Args
//	c.Start(…)        one whose handler waits for the test by itself
//	c.Expect("e")     the next event is e   c.Await("e")   e comes, now or later
//	c.Received()      all of them           c.Answer(…)    questions of the server, by itself
//	c.ExpectNothing() there is none         c.Next().Ack() or by the test
//	c.Disconnect()    c.Drop(), c.Reconnect(), c.Stall(true): what happens to clients
//	c.ExpectDisconnect()                    why, as both ends have it
//	srv.Try(…)        the connect error     srv.ExpectError("e")  what a handler returned
//	srv.Emits(), srv.ExpectEmit("e")        what was emitted, and to whom
//
// A handler that asks its client, and is answered by the test, is written down in the
// order in which it happens:
//
//	joined := alice.EmitAck("join", "lobby")
//	alice.Expect("who are you?").Ack("Alice") // the handler waits for this, and goes on
//	joined.Decode(&welcome)
//
// What a handler waits for by other means (a database, time.Sleep) is waited for in
// real time, up to Server.Patience; then the test fails, and shows where the handler
// is. While it waits others may run. A handler that waits for the end of its socket's
// Context, and for nothing else, waits for the test. One that waits for a channel or
// the like, which the test is to feed, has its event sent by Start:
//
//	order := alice.Start("order", "tea") // does not wait for handlers that are blocked
//	kitchen <- "ready"                   // the handler goes on
//	order.Decode(&answer)                // and is waited for
//
// Other methods do wait for it. So what handlers of connections wait for, or handlers
// for the second time, is made ready before: in a channel with a buffer, or by a
// goroutine of the test, go func() { kitchen <- "ready" }().
//
// What goroutines do that handlers have started is not waited for. Client.Await,
// Ack.Await and Server.Until wait for it in real time.
//
// # The clock
//
// Advance moves the clock of the server: heartbeats, time-outs of all kinds,
// ExpireAt and the window of recovery, and deadlines of contexts for as long as their
// handler waits in package sio. srv.Now is what it says, and a deadline by time.Now is
// as far off as it would be. Clients answer pings, unless they are stalled. What the
// program itself does by the time of the machine is not moved: time.Sleep, time.After.
// A test for those runs in a bubble of testing/synctest, where they take no time as
// long as nothing else happens:
//
//	synctest.Test(t, func(t *testing.T) {
//		srv := siotest.New(t, sio.Options{})
//		…
//	})
//
// The two clocks are apart: in a bubble, Patience is of the bubble, as is whatever
// the handlers sleep.
package siotest
