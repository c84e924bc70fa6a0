// Centrifuge is a server of github.com/centrifugal/centrifuge for the load
// generator with --protocol centrifuge: clients subscribe to channels, publish
// to them, and call the procedure echo.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"

	"github.com/centrifugal/centrifuge"
)

func main() {
	node, err := centrifuge.New(centrifuge.Config{})
	if err != nil {
		fatal(err)
	}
	node.OnConnecting(func(context.Context, centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		return centrifuge.ConnectReply{Credentials: &centrifuge.Credentials{}}, nil
	})
	node.OnConnect(func(c *centrifuge.Client) { serve(node, c) })
	if err := node.Run(); err != nil {
		fatal(err)
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		fatal(err)
	}
	http.Handle("/", centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{
		CheckOrigin: func(*http.Request) bool { return true }, UseWriteBufferPool: true, ReadBufferSize: 1024,
	}))
	fmt.Println("listening on", l.Addr())
	fatal(http.Serve(l, nil))
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, "centrifuge:", err)
	os.Exit(1)
}

func serve(node *centrifuge.Node, c *centrifuge.Client) {
	c.OnSubscribe(func(_ centrifuge.SubscribeEvent, done centrifuge.SubscribeCallback) {
		done(centrifuge.SubscribeReply{}, nil)
	})
	c.OnPublish(func(e centrifuge.PublishEvent, done centrifuge.PublishCallback) {
		// Published by the node, so that the message does not name its client.
		result, err := node.Publish(e.Channel, e.Data)
		done(centrifuge.PublishReply{Result: &result}, err)
	})
	c.OnRPC(func(e centrifuge.RPCEvent, done centrifuge.RPCCallback) {
		if e.Method != "echo" {
			done(centrifuge.RPCReply{}, errors.New("no such method"))
			return
		}
		done(centrifuge.RPCReply{Data: e.Data}, nil)
	})
}
