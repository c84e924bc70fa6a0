package sio_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"strings"

	"github.com/sioedge/sioedge/sio"
)

// opening is a request that opens a session over polling.
const opening = "/socket.io/?EIO=4&transport=polling"

// serveBeside has the loops of a server run, whose clients come from another
// listener, while f is called.
func serveBeside(srv *sio.Server, f func()) {
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error)
	// ends with f
	go func() { served <- srv.Serve(ctx) }()
	srv.AwaitRunning()
	f()
	cancel()
	<-served
}

// get makes a request and returns its status and the first line of the answer.
func get(url string) string {
	answer, err := http.Get(url)
	if err != nil {
		log.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		log.Fatal(err)
	}
	line, _, _ := strings.Cut(string(body), "\n")
	return fmt.Sprint(answer.StatusCode, " ", line)
}
