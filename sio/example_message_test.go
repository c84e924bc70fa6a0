package sio_test

import (
	"fmt"
	"log"
	"strings"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

// Bytes in arguments travel as they are, wherever they stand.
func ExampleBinary() {
	type File struct {
		Name string     `json:"name"`
		Data sio.Binary `json:"data"` // []byte would do too
	}
	srv := siotest.New(nil, sio.Options{})
	defer srv.Close()
	sio.On(srv.Of("/"), "upload", func(s sio.Socket, f File) error {
		fmt.Println(f.Name, "has", len(f.Data), "bytes")
		return s.Emit("stored", map[string]any{"first": f.Data[:2], "name": f.Name})
	})

	c := srv.Connect("/")
	c.Emit("upload", File{"a.png", sio.Binary("\x89PNG")})
	stored := siotest.Expect[struct{ First []byte }](c, "stored")
	fmt.Printf("%q\n", stored.First)
	// Output:
	// a.png has 4 bytes
	// "\x89P"
}

// What is incompressible is left as it is, where messages are compressed.
func ExampleBroadcastOperator_Compress() {
	srv := siotest.New(nil, sio.Options{
		Engine: eio.Options{Compression: &eio.Compression{Threshold: 100}},
	})
	defer srv.Close()
	ns := srv.Of("/")

	long := strings.Repeat("long ", 100)
	if err := ns.Emit("text", long); err != nil {
		log.Fatal(err)
	}
	if err := ns.All().Compress(false).Emit("picture", long); err != nil {
		log.Fatal(err)
	}
	for _, e := range srv.Emits() {
		fmt.Println(e.Name, "may be compressed:", !e.Uncompressed)
	}
	// Output:
	// text may be compressed: true
	// picture may be compressed: false
}

// Clients of both parsers in one room. Handlers see no difference.
func ExampleParser() {
	srv := siotest.New(nil, sio.Options{Parser: sio.EitherParser})
	defer srv.Close()
	ns := srv.Of("/")
	sio.On(ns, "say", func(s sio.Socket, text string) error { return ns.Emit("said", text) })

	ann, bob := srv.Connect("/"), srv.ConnectWith("/", siotest.Options{MessagePack: true})
	bob.Emit("say", "hi from MessagePack")
	fmt.Println(ann.Next())
	fmt.Println(bob.Next())
	// Output:
	// "said" "hi from MessagePack"
	// "said" "hi from MessagePack"
}
