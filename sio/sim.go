package sio

import "github.com/sioedge/sioedge/loop"

// NewSim returns a Server on simulated loops: no sockets and a clock of its own,
// for tests of applications and for benchmarks with more connections than a
// machine has descriptors for. The Server's handlers must be inline, unless the
// caller waits for their goroutines by other means. See loop.Sim.
func NewSim(o Options) (*Server, *loop.Sim, error) {
	srv, err := newServer(o.withDefaults())
	if err != nil {
		return nil, nil, err
	}
	sim := loop.NewSim(srv.eio, srv.o.Loop)
	srv.bind(sim.Engine().Loops())
	if srv.log != nil {
		srv.log.now = srv.shards[0].loop.Now
	}
	return srv, sim, nil
}
