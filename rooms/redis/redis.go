// Package redis joins servers to a cluster through Redis, in the wire protocols
// of Socket.IO's npm packages: servers of both kinds can be in one cluster, and
// programs that emit through Redis reach the clients of both.
//
//	srv, err := sio.New(sio.Options{Adapter: redis.PubSub("localhost:6379", redis.Options{})})
//
// PubSub is what createAdapter of @socket.io/redis-adapter does, by far the most
// common; Sharded is its createShardedAdapter; Streams is createAdapter of
// @socket.io/redis-streams-adapter. All servers of a cluster must use the same.
//
// The server delivers to its own clients first and by itself. What the others
// need is queued, and sent in batches by one goroutine, so nobody waits for
// Redis; when Redis is slow or gone, the queue grows to a bound, what does not
// fit is lost and counted, and subscriptions are made again when it is back.
// Pub/sub gives no more than that: a message that is published while a server is
// not connected does not reach its clients. With Streams, the server reads it
// later.
//
// Servers of this kind know each other by heartbeats, so that requests do not
// wait for one that is dead, and can say who did not answer.
package redis

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/rooms/redis/wire"
)

// Options of an adapter. The zero value is the default of the npm packages.
type Options struct {
	// Client holds what else the connection needs: TLS, user and password,
	// Sentinel, a database. The address goes first, as InitAddress.
	Client rueidis.ClientOption
	// Prefix is what the names of channels begin with. Zero means "socket.io".
	// Node: key, channelPrefix.
	Prefix string
	// Timeout bounds the wait for other servers where the context of a call has no
	// deadline, and the wait for Redis. Zero means 5 s. Node: requestsTimeout.
	Timeout time.Duration
	// MaxQueue bounds what waits to be published, in bytes; with a Redis Cluster, for
	// each of its nodes. Zero means 64 MiB.
	MaxQueue int
	// MaxSubscriptions bounds the channels that are subscribed to at one time. Rooms
	// beyond it get nothing from other servers, which is counted and logged, and
	// JoinWait fails for them. Zero means 1,048,576.
	MaxSubscriptions int
	// Linger is how long the subscription of a room that has become empty is kept.
	// Zero means 10 s.
	Linger time.Duration
	// Patterns has PubSub subscribe to all rooms of a namespace with one pattern,
	// as Node does, instead of to those that have members here. Each pattern costs
	// Redis time for every message published by anyone.
	Patterns bool
	// OwnResponses has PubSub answer servers of Node on their own channels, which
	// those of version 8 listen to. Node: publishOnSpecificResponseChannel.
	OwnResponses bool
	// Mode says which channels Sharded uses; all servers must agree. Node:
	// subscriptionMode.
	Mode Mode
	// StreamName is the key of the stream that Streams uses, or what their keys
	// begin with. Zero means Prefix, so that clusters with different prefixes have
	// nothing in common. Node: streamName, which is "socket.io" unless set.
	StreamName string
	// Streams is how many streams the namespaces are spread over. Zero means 1.
	// Node: streamCount.
	Streams int
	// MaxLen is how many entries a stream keeps, about. Zero means 10000. Node:
	// maxLen.
	MaxLen int
	// SessionPrefix is what the keys of sessions that may be recovered begin with.
	// Zero means "sio:session:", or with another Prefix than "socket.io" that and
	// ":session:". Node: sessionKeyPrefix.
	SessionPrefix string
	// ShardedPubSub has Streams use sharded channels for requests. It needs Redis 7.
	// Node: useShardedPubSub.
	ShardedPubSub bool
	// Name is how this server is called where people read it. Zero means the
	// host's name and the process.
	Name string
	// Logger gets what an operator should know. Nil means slog.Default().
	Logger *slog.Logger
}

// A Mode is which channels the sharded adapter has beside that of a namespace.
type Mode = wire.ShardedMode

// The modes.
const (
	Dynamic        = wire.Dynamic        // one for each room, but those of single sockets
	DynamicPrivate = wire.DynamicPrivate // one for each room
	Static         = wire.Static         // none
)

func (o Options) withDefaults(addr string) Options {
	if addr != "" {
		o.Client.InitAddress = append([]string{addr}, o.Client.InitAddress...)
	}
	o.Prefix = cmp.Or(o.Prefix, "socket.io")
	o.Timeout = cmp.Or(o.Timeout, 5*time.Second)
	o.MaxQueue = cmp.Or(o.MaxQueue, 64<<20)
	o.MaxSubscriptions = cmp.Or(o.MaxSubscriptions, 1<<20)
	o.Linger = cmp.Or(o.Linger, 10*time.Second)
	o.StreamName = cmp.Or(o.StreamName, o.Prefix)
	o.Streams = cmp.Or(o.Streams, 1)
	o.MaxLen = cmp.Or(o.MaxLen, 10_000)
	if o.SessionPrefix == "" && o.Prefix == "socket.io" {
		o.SessionPrefix = "sio:session:"
	}
	o.SessionPrefix = cmp.Or(o.SessionPrefix, o.Prefix+":session:")
	o.Logger = cmp.Or(o.Logger, slog.Default())
	if o.Name == "" {
		host, _ := os.Hostname()
		o.Name = fmt.Sprintf("%s#%d", host, os.Getpid())
	}
	return o
}

// PubSub returns an adapter of the classic kind, for servers with the adapter
// that createAdapter of @socket.io/redis-adapter makes. Addr is "host:port"; if
// it is empty, Options.Client has it.
func PubSub(addr string, o Options) rooms.Adapter {
	return &classic{core: newCore(o.withDefaults(addr))}
}

// Sharded returns an adapter of the sharded kind, for servers with the adapter
// that createShardedAdapter of @socket.io/redis-adapter makes. It needs Redis 7.
func Sharded(addr string, o Options) rooms.Adapter {
	return &shardedAdapter{family: family{core: newCore(o.withDefaults(addr))}}
}

// Streams returns an adapter for servers with the one that createAdapter of
// @socket.io/redis-streams-adapter 0.3 makes. Events are added to a stream, which
// servers go on reading where they were when a connection to Redis has failed;
// requests, and their answers, are published. What goes one way is in order, but
// nothing is said of the order between the two.
//
// It is a [rooms.Log]: with connection state recovery, a client can come back to
// any server of the cluster, of either kind. Then events go to the server's own
// clients too when they have been read from the stream, unless that takes too long
// (Recovery.Patience in package sio). About MaxLen of them can be missed.
func Streams(addr string, o Options) rooms.Adapter {
	return &streams{family: family{core: newCore(o.withDefaults(addr))}}
}

// Parse returns the adapter that a URL names: redis:// or rediss:// for PubSub,
// redis+sharded:// or rediss+sharded:// for Sharded, redis+streams:// or
// rediss+streams:// for Streams, with user, password, host,
// port and database as in Redis' own URLs; addr=host:port, more than once, for
// further nodes, master_set=name for Sentinel. O.Client is replaced but for what
// a URL cannot say.
func Parse(addr string, o Options) (rooms.Adapter, error) {
	u, err := url.Parse(addr)
	if err != nil {
		return nil, fmt.Errorf("redis: not a URL: %w", hide(err))
	}
	scheme, variant, _ := strings.Cut(u.Scheme, "+")
	u.Scheme = scheme
	client, err := rueidis.ParseURL(u.String())
	if err != nil {
		return nil, fmt.Errorf("redis: %w", hide(err))
	}
	client.Dialer.KeepAlive, client.TLSConfig = o.Client.Dialer.KeepAlive, cmp.Or(client.TLSConfig, o.Client.TLSConfig)
	client.Sentinel.Username, client.Sentinel.Password = o.Client.Sentinel.Username, o.Client.Sentinel.Password
	o.Client = client
	switch variant {
	case "":
		return PubSub("", o), nil
	case "sharded":
		return Sharded("", o), nil
	case "streams":
		return Streams("", o), nil
	}
	return nil, fmt.Errorf("redis: no adapter is called %q", u.Scheme+"+"+variant)
}

// hide returns err without the URL in it, which may have a password.
func hide(err error) error {
	if u, ok := err.(*url.Error); ok {
		return u.Err
	}
	return err
}

// deadline returns ctx, with a deadline if it has none.
func deadline(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, d)
}
