package sio_test

import (
	"encoding/hex"
	"fmt"
	"log"
	"strings"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/parser"
)

// Bytes in arguments travel as they are, wherever they stand.
func ExampleBinary() {
	type File struct {
		Name string     `json:"name"`
		Data sio.Binary `json:"data"` // []byte would do too
	}
	srv, err := sio.New(sio.Options{})
	if err != nil {
		log.Fatal(err)
	}
	sio.On(srv.Of("/"), "upload", func(s sio.Socket, f File) error {
		fmt.Println(f.Name, "has", len(f.Data), "bytes")
		return s.Emit("stored", map[string]any{"first": f.Data[:2], "name": f.Name})
	})

	demonstrate(srv, func(p *port) {
		c := p.connect()
		c.join("/")
		c.send(`51-["upload",{"name":"a.png","data":{"_placeholder":true,"num":0}}]`, "<89504e47>")
		fmt.Println(c.receive())
		fmt.Println(c.receive())
	})
	// Output:
	// a.png has 4 bytes
	// 51-["stored",{"first":{"_placeholder":true,"num":0},"name":"a.png"}]
	// <8950>
}

// What is incompressible is left as it is, where messages are compressed.
func ExampleBroadcastOperator_Compress() {
	srv, err := sio.New(sio.Options{
		Engine: eio.Options{Compression: &eio.Compression{Threshold: 100}},
	})
	if err != nil {
		log.Fatal(err)
	}
	ns := srv.Of("/")

	demonstrate(srv, func(p *port) {
		c := p.connect("Sec-WebSocket-Extensions: permessage-deflate")
		c.join("/")
		long := strings.Repeat("long ", 100)
		if err := ns.Emit("text", long); err != nil {
			log.Fatal(err)
		}
		if err := ns.All().Compress(false).Emit("picture", long); err != nil {
			log.Fatal(err)
		}
		c.receive()
		fmt.Println(c.receive()[:12])
		fmt.Println(srv.CompressionStats().Deflated, "was compressed")
	})
	// Output:
	// 2["picture",
	// 1 was compressed
}

// Clients of both parsers in one room. Handlers see no difference.
func ExampleParser() {
	srv, err := sio.New(sio.Options{Parser: sio.EitherParser})
	if err != nil {
		log.Fatal(err)
	}
	ns := srv.Of("/")
	sio.On(ns, "say", func(s sio.Socket, text string) error { return ns.Emit("said", text) })

	demonstrate(srv, func(p *port) {
		ann, bob := p.connect(), p.connect()
		ann.join("/")
		bob.send(packed("0"))
		bob.receive()
		bob.send(packed(`2["say","hi from MessagePack"]`))
		fmt.Println(ann.receive())
		fmt.Println(strings.Contains(bob.receive(), hex.EncodeToString([]byte("hi from MessagePack"))))
	})
	// Output:
	// 2["said","hi from MessagePack"]
	// true
}

// packed turns a packet in JSON into one in MessagePack, as <hex>.
func packed(packet string) string {
	var p parser.Packet
	if err := parser.Parse([]byte(packet), parser.Limits{}, &p); err != nil {
		log.Fatal(err)
	}
	b, err := parser.AppendMsgpackPacket(nil, &p)
	if err != nil {
		log.Fatal(err)
	}
	return "<" + hex.EncodeToString(b) + ">"
}
