package metrics

import (
	"runtime"
	"strings"
	"testing"

	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

// After a dialogue that is known, the numbers are.
func TestDialogue(t *testing.T) {
	srv := siotest.New(t, sio.Options{})
	chat := srv.Of("/chat/:room")
	chat.OnConnect(func(s sio.Socket) error { s.Join("all", "r"+s.Param("room")); return nil })
	chat.Handle("say", func(s sio.Socket, m *sio.Msg) error { return chat.Instance(s.Name()).To("all").Emit("said", "hello") })
	chat.Handle("ask", func(s sio.Socket, m *sio.Msg) error { return m.Ack("yes") })
	chat.Handle("go", func(s sio.Socket, m *sio.Msg) error { s.Disconnect(sio.DisconnectOptions{}); return nil })
	srv.Of("/quiet")
	m := New(Sources{Server: srv.Server, Version: "v1.2.3"})

	a, b := srv.Connect("/chat/1"), srv.Connect("/chat/1")
	c := srv.ConnectWith("/chat/1", siotest.Options{Polling: true})
	if _, err := srv.Try("/nowhere/<secret>", siotest.Options{}); err == nil {
		t.Fatal("there is a namespace that there is not")
	}
	a.Emit("say", "hello")
	for _, x := range []*siotest.Client{a, b, c} {
		x.Expect("said")
	}
	a.EmitAck("ask").Await()
	d := srv.Connect("/chat/2")
	d.Emit("go")
	d.ExpectDisconnect()
	e := srv.Connect("/chat/2")
	e.Disconnect()

	x := exposition(t, scrape(t, m).Body.String())
	for name, want := range map[string]float64{
		`connections{transport="websocket",eio="4"}`:                                  3, // who disconnects closes its connection
		`connections{transport="polling",eio="4"}`:                                    1,
		`connections{transport="polling",eio="3"}`:                                    0,
		`connections_opened_total{transport="websocket",eio="4"}`:                     5,
		`handshakes_total{result="opened"}`:                                           6,
		`handshakes_total{result="bad_request"}`:                                      0,
		`sockets{route="/chat/:room"}`:                                                3,
		`sockets{route="/quiet"}`:                                                     0,
		`namespace_instances{route="/chat/:room"}`:                                    1,
		`rooms{route="/chat/:room"}`:                                                  2,
		`room_joins_total{route="/chat/:room"}`:                                       10,
		`events_received_total{route="/chat/:room",kind="event"}`:                     3,
		`events_sent_total{route="/chat/:room",kind="event"}`:                         3,
		`events_sent_total{route="/chat/:room",kind="ack"}`:                           1,
		`broadcasts_total{route="/chat/:room"}`:                                       1,
		`broadcasts_total{route="/quiet"}`:                                            0,
		`broadcast_recipients_bucket{le="2"}`:                                         0,
		`broadcast_recipients_bucket{le="4"}`:                                         1,
		`broadcast_recipients_count`:                                                  1,
		`broadcast_recipients_sum`:                                                    3,
		`connect_errors_total`:                                                        1,
		`disconnects_total{route="/chat/:room",reason="server namespace disconnect"}`: 1,
		`disconnects_total{route="/chat/:room",reason="client namespace disconnect"}`: 1,
		`handler_errors_total`:                                                        0,
		`loop_late_seconds{loop="0"}`:                                                 0,
		`loop_connections{loop="0"}`:                                                  5, // with the poll
		`build_info{version="v1.2.3",go="` + runtime.Version() + `"}`:                 1,
		`scrapes_total{result="served"}`:                                              1,
		`scrapes_total{result="busy"}`:                                                0,
	} {
		if got, ok := x[name]; !ok || got != want {
			t.Errorf("%s is %v (there: %t), want %v", name, got, ok, want)
		}
	}
	for name := range x {
		if strings.Contains(name, "secret") || strings.Contains(name, "/chat/1") {
			t.Errorf("%s has what a client said", name)
		}
	}

}
