package sio_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"strings"
	"time"

	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/wsframe"
)

// A chat with rooms.
func Example() {
	type Chat struct{ Room, Text string }

	srv, err := sio.New(sio.Options{})
	if err != nil {
		log.Fatal(err)
	}
	chat := srv.Of("/")
	sio.On(chat, "join", func(s sio.Socket, room string) error {
		s.Join(room)
		return s.To(room).Emit("joined", s.ID())
	})
	sio.On(chat, "chat", func(s sio.Socket, m Chat) error {
		return s.To(m.Room).Emit("chat", m.Text)
	})
	log.Fatal(srv.ListenAndServe(":3000"))
}

// A namespace that admits who knows the word, and tells the others why not.
func ExampleNamespace_Use() {
	srv, err := sio.New(sio.Options{})
	if err != nil {
		log.Fatal(err)
	}
	admin := srv.Of("/admin")
	admin.Use(func(s sio.Socket) error {
		var login struct{ Name, Token string }
		if err := s.Auth(&login); err != nil || login.Token != "secret" {
			return &sio.Error{Message: "not authorized", Data: map[string]int{"code": 401}}
		}
		s.SetData(login.Name)
		return nil
	})
	admin.OnConnect(func(s sio.Socket) error { return s.Emit("welcome", s.Data()) })

	demonstrate(srv, func(connect func() *demo) {
		c := connect()
		c.send(`0/admin,{"token":"guess"}`)
		fmt.Println(c.receive())
		c.send(`0/admin,{"name":"Ann","token":"secret"}`)
		c.receive() // the answer, with an id
		fmt.Println(c.receive())
	})
	// Output:
	// 4/admin,{"message":"not authorized","data":{"code":401}}
	// 2/admin,["welcome","Ann"]
}

// The client asks and is answered; the server asks the client in turn.
func ExampleOnAck() {
	type Order struct {
		Item  string `json:"item"`
		Count int    `json:"count"`
	}
	srv, err := sio.New(sio.Options{})
	if err != nil {
		log.Fatal(err)
	}
	sio.OnAck(srv.Of("/"), "order", func(s sio.Socket, o Order) (string, error) {
		if o.Count > 10 {
			return "", &sio.Error{Message: "we have no more than 10"}
		}
		ctx, cancel := context.WithTimeout(s.Context(), 10*time.Second)
		defer cancel()
		sure, err := sio.Ask[bool](ctx, s, "sure?", o.Count)
		if err != nil || !sure {
			return "cancelled", err
		}
		return fmt.Sprintf("%d %s ordered", o.Count, o.Item), nil
	})

	demonstrate(srv, func(connect func() *demo) {
		c := connect()
		c.send("0")
		c.receive()
		c.send(`21["order",{"item":"tea","count":3}]`)
		fmt.Println(c.receive())
		c.send("30[true]")
		fmt.Println(c.receive())
		c.send(`22["order",{"item":"tea","count":30}]`)
		fmt.Println(c.receive())
	})
	// Output:
	// 20["sure?",3]
	// 31["3 tea ordered"]
	// 32[{"error":"we have no more than 10"}]
}

// A question to all that are in a room; who does not answer in time is left
// out.
func ExampleBroadcastOperator_EmitAck() {
	srv, err := sio.New(sio.Options{})
	if err != nil {
		log.Fatal(err)
	}
	voters := srv.Of("/")
	voters.OnConnect(func(s sio.Socket) error {
		s.Join("voters")
		return s.Emit("ready")
	})

	demonstrate(srv, func(connect func() *demo) {
		votes := []string{`["yes"]`, `["yes"]`, `["no"]`}
		for _, vote := range votes {
			c := connect()
			c.send("0")
			c.receive()
			c.receive() // ready
			// ends when it has answered
			go func() {
				id, _, _ := strings.Cut(strings.TrimPrefix(c.receive(), "2"), "[")
				c.send("3" + id + vote)
			}()
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		answers, err := voters.To("voters").EmitAck(ctx, "vote", "shall we?")
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			log.Fatal(err)
		}
		yes := 0
		for _, a := range answers {
			var vote string
			if err := a.Decode(&vote); err == nil && vote == "yes" {
				yes++
			}
		}
		fmt.Println(yes, "of", len(answers))
	})
	// Output:
	// 2 of 3
}

// An event whose argument the compiler checks where it is emitted and where it
// is handled.
func ExampleEvent() {
	type Move struct {
		X int `json:"x"`
		Y int `json:"y"`
	}
	const Moved = sio.Event[Move]("moved")

	srv, err := sio.New(sio.Options{})
	if err != nil {
		log.Fatal(err)
	}
	board := srv.Of("/")
	Moved.On(board, func(s sio.Socket, m Move) error {
		m.X++
		return Moved.Emit(board, m)
	})

	demonstrate(srv, func(connect func() *demo) {
		c := connect()
		c.send("0")
		c.receive()
		c.send(`2["moved",{"x":1,"y":2}]`)
		fmt.Println(c.receive())
	})
	// Output:
	// 2["moved",{"x":2,"y":2}]
}

// demonstrate serves on a free port while f talks to the server, as raw clients
// that write and read Socket.IO packets.
func demonstrate(srv *sio.Server, f func(connect func() *demo)) {
	addr, err := srv.Listen("127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	// ends with the Shutdown
	go srv.Serve(context.Background())
	var all []*demo
	f(func() *demo {
		conn, err := net.Dial("tcp", addr.String())
		if err != nil {
			log.Fatal(err)
		}
		d := &demo{conn: conn}
		all = append(all, d)
		d.open(addr.String())
		return d
	})
	for _, d := range all {
		d.conn.Close()
	}
	if err := srv.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
}

// A demo is a client of an example.
type demo struct {
	conn net.Conn
	in   []byte
}

func (d *demo) open(host string) {
	var nonce [16]byte
	d.conn.Write(wsframe.AppendClientHandshake(nil, host, "/socket.io/?EIO=4&transport=websocket", nonce))
	for n := 0; n == 0; {
		d.more()
		var err error
		if n, err = wsframe.CheckAccept(d.in, nonce); err != nil {
			log.Fatal(err)
		}
		d.in = d.in[n:]
	}
	d.receive() // of Engine.IO
}

func (d *demo) more() {
	buf := make([]byte, 4096)
	n, err := d.conn.Read(buf)
	if err != nil {
		log.Fatal(err)
	}
	d.in = append(d.in, buf[:n]...)
}

func (d *demo) send(packet string) {
	d.conn.Write(wsframe.AppendMaskedFrame(nil, wsframe.Text, []byte("4"+packet), [4]byte{1, 2, 3, 4}))
}

// receive returns the next packet, without Engine.IO's type.
func (d *demo) receive() string {
	for {
		h, n, err := wsframe.ParseHeader(d.in)
		if err != nil {
			log.Fatal(err)
		}
		if end := n + int(h.Length); n > 0 && len(d.in) >= end {
			packet := string(d.in[n+1 : end])
			d.in = d.in[end:]
			return packet
		}
		d.more()
	}
}
