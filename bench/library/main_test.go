package main

import (
	"context"
	"testing"
	"time"

	"github.com/sioedge/sioedge/bench/swarm"
	"github.com/sioedge/sioedge/sio"
)

func TestTheApplicationAnswersTheLoad(t *testing.T) {
	srv, err := sio.New(sio.Options{})
	if err != nil {
		t.Fatal(err)
	}
	register(srv.Of("/"))
	addr, err := srv.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	// ends with ctx
	go func() {
		defer close(done)
		_ = srv.Serve(ctx)
	}()
	defer func() { stop(); <-done }()
	for _, cfg := range []swarm.Config{
		{Scenario: swarm.Echo, Clients: 20, Messages: 500, Inflight: 4},
		{Scenario: swarm.Rooms, Clients: 40, Rooms: 4, Publishers: 8, Messages: 100},
		{Scenario: swarm.Broadcast, Clients: 20, Messages: 50},
	} {
		cfg.URL, cfg.Timeout, cfg.Rate = "ws://"+addr.String(), time.Minute, 1e5
		rep, err := swarm.Run(t.Context(), cfg, swarm.Goroutines(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if !rep.OK || rep.Total.Delivered < uint64(cfg.Messages) {
			t.Errorf("%s: delivered %d of %d messages; %q %v", cfg.Scenario, rep.Total.Delivered, cfg.Messages, rep.Problems, rep.Errors)
		}
	}
}
