package redis

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
)

// A gate holds back what is to be published after a failure until those who are to
// get it are subscribed again: this server, whose connections fail together with
// those of the others, and as many of its kind as it knows. It opens by itself after
// a while.
type gate struct {
	shut  atomic.Bool
	since atomic.Int64 // Unix ns
}

// gateWait bounds how long a gate is shut.
const gateWait = lastPause + time.Second

func (g *gate) close() {
	if !g.shut.Swap(true) {
		g.since.Store(time.Now().UnixNano())
	}
}

// pass waits until the gate is open. The connection may have failed meanwhile, as
// the others have: alive asks it, and tells.
func (b *broker) pass(alive func() error) error {
	if !b.gate.shut.Load() {
		return nil
	}
	for !b.opens() {
		select {
		case <-b.ctx.Done():
			return b.ctx.Err()
		case <-time.After(firstPause / 2):
		}
		if err := alive(); err != nil {
			return err
		}
	}
	b.gate.shut.Store(false)
	return alive()
}

// opens tells whether a gate that is shut may be opened.
func (b *broker) opens() bool {
	if time.Since(time.Unix(0, b.gate.since.Load())) > gateWait {
		return true
	}
	ok, _ := b.subs.settled()
	return ok && (b.together == nil || b.together())
}

var (
	errReplica  = errors.New("redis: this is a replica, and the master is not known yet")
	errSwitched = errors.New("redis: another server is the master now")
)

// reached asks a connection whether its server is there, and the one to talk to: a
// replica gets what is published, but passes nothing on.
func (b *broker) reached(client rueidis.Client, conn rueidis.CoreClient) error {
	if client.Mode() != rueidis.ClientModeSentinel {
		return b.ping(conn)
	}
	ctx, cancel := context.WithTimeout(b.ctx, b.timeout)
	defer cancel()
	role, err := conn.Do(ctx, conn.B().Role().Build()).ToArray()
	if err != nil || len(role) == 0 {
		return err
	}
	if what, err := role[0].ToString(); err == nil && what != "master" {
		return errReplica
	}
	return nil
}

// stays is an error if the Sentinels have another master than at, since a
// connection to the old one need not fail.
func (b *broker) stays(client rueidis.Client, at string) error {
	if at == "" || b.master(client) == at {
		return nil
	}
	return errSwitched
}

// master returns the address of the master, "" without Sentinels.
func (b *broker) master(client rueidis.Client) string {
	if client.Mode() != rueidis.ClientModeSentinel {
		return ""
	}
	for addr := range client.Nodes() {
		return addr
	}
	return ""
}
