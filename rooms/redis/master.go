package redis

import (
	"context"
	"errors"

	"github.com/redis/rueidis"
)

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
