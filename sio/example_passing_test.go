package sio_test

import (
	"encoding/json"
	"fmt"
	"log"

	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

// What came as JSON, from an HTTP request or a queue, is emitted without being decoded,
// to a namespace that is known by its name alone.
func ExampleParseArgs() {
	srv := siotest.New(nil, sio.Options{})
	defer srv.Close()
	srv.Of("/campaigns/:id/trends")
	publish := func(namespace, event string, body []byte) error {
		to, ok := srv.Find(namespace)
		if !ok {
			return fmt.Errorf("there is no namespace %s", namespace)
		}
		args, err := sio.ParseArgs(body, nil)
		if err != nil {
			return err
		}
		return to.Emit(event, args)
	}

	c := srv.Connect("/campaigns/42/trends")
	if err := publish("/campaigns/42/trends", "price", []byte(`[{"usd": 1.50}]`)); err != nil {
		log.Fatal(err)
	}
	fmt.Println(c.Next())
	fmt.Println(publish("/campaigns", "price", nil))
	fmt.Println(publish("/campaigns/42/trends", "price", []byte(`{"usd": 1.50}`)))
	// Output:
	// "price" {"usd": 1.50}
	// there is no namespace /campaigns
	// sio: arguments: parser: invalid payload
}

// An inline handler hands its acknowledgement on to whoever will know the answer: no
// goroutine waits for that.
func ExampleMsg_Reply() {
	type job struct {
		size  int
		reply sio.Reply
	}
	srv := siotest.New(nil, sio.Options{})
	defer srv.Close()
	var jobs []job // a queue, say
	srv.Of("/").HandleInline("ask", func(_ sio.Socket, m *sio.Msg) error {
		jobs = append(jobs, job{len(m.Raw(0)), m.Reply()})
		return nil
	})

	c := srv.Connect("/")
	asked := c.Start("ask", "6 times 7")
	srv.Settle()
	for _, j := range jobs {
		if err := j.reply.Ack(j.size); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(asked.Await())
	// Output: 11
}

// Handlers of other sockets, and goroutines, may change a socket's data at the same time.
func ExampleSocket_EditData() {
	srv := siotest.New(nil, sio.Options{})
	defer srv.Close()
	ns := srv.Of("/")
	ns.OnConnect(func(s sio.Socket) error { s.SetData(map[string]int{}); return nil })
	sio.On(ns, "vote", func(s sio.Socket, id string) error {
		to, ok := ns.Lookup(id)
		if !ok {
			return nil
		}
		return to.EditData(func(old any) (any, error) {
			votes := old.(map[string]int)["votes"]
			return map[string]int{"votes": votes + 1}, nil
		})
	})

	ann, bob := srv.Connect("/"), srv.Connect("/")
	ann.Emit("vote", ann.ID())
	bob.Emit("vote", ann.ID())
	srv.Settle()
	data, err := json.Marshal(ann.Socket().Data())
	fmt.Println(string(data), err)
	// Output: {"votes":2} <nil>
}

// What is known of a client that seems to be slow.
func ExampleSocket_Stats() {
	srv := siotest.New(nil, sio.Options{})
	defer srv.Close()
	srv.Of("/")
	c := srv.Connect("/")
	c.Stall(true) // it does not read
	if err := c.Socket().Emit("news", make([]byte, 500_000)); err != nil {
		log.Fatal(err)
	}
	x, ok := c.Socket().Stats()
	fmt.Println(ok, x.Transport, x.Queued > 100_000)
	// Output: true websocket true
}
