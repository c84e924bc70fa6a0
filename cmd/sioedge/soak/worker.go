package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/ioclient"
)

// readyLine is what a worker prints when all its clients have been answered.
const readyLine = "ready\n"

// kinds are the transports, one after the other.
var kinds = [][]string{{ioclient.WebSocket}, {ioclient.Polling}, {ioclient.Polling, ioclient.WebSocket}}

// work is n clients of a server until standard input ends, and then they go.
func work(url string, n int) error {
	target, err := ioclient.ParseTarget(url)
	if err != nil {
		return err
	}
	var (
		all  = make([]*ioclient.Client, n)
		wait sync.WaitGroup
		many = make(chan struct{}, 100) // that connect at a time
		mu   sync.Mutex
		bad  error
	)
	for i := range all {
		many <- struct{}{}
		c, err := ioclient.New(ioclient.Options{Target: target, Transports: kinds[i%len(kinds)], OpenTimeout: time.Minute})
		if err != nil {
			return err
		}
		all[i] = c
		wait.Go(func() { // ends with Run, as below
			defer func() { <-many }()
			if err := talk(c); err != nil {
				mu.Lock()
				bad = errors.Join(bad, fmt.Errorf("client %d: %w", i, err))
				mu.Unlock()
			}
		})
	}
	if wait.Wait(); bad != nil {
		return bad
	}
	fmt.Print(readyLine)
	_, _ = io.Copy(io.Discard, os.Stdin)
	ctx, done := context.WithTimeout(context.Background(), time.Minute)
	defer done()
	for _, c := range all {
		wait.Go(func() { c.Close(ctx) })
	}
	wait.Wait()
	return nil
}

// talk connects a client and has it answered.
func talk(c *ioclient.Client) error {
	go func() { _ = c.Run() }() // ends with Close, or the process
	ctx, done := context.WithTimeout(context.Background(), 2*time.Minute)
	defer done()
	_, err := c.Ask(ctx, "/", "echo", "a text", 1)
	return err
}
