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
//
// # How it is built
//
//	adapter   classic, shardedAdapter, streams   messages of its kind (package wire), rooms as topics
//	core      one for each adapter               what they have in common: namespaces, requests, peers, status
//	broker    one for each core                  Redis: a queue of commands, subscriptions, connections
//
//	out   Emit, Join, … note a command in the queue and return   one goroutine sends it, in batches and in order;
//	                                                             with a Redis Cluster one for each node
//	in    receive, on the goroutine of the connection            hands over to the Host; what may wait (a question)
//	                                                             goes on a goroutine of its own, at most 16,384
//
// A topic (a channel, a pattern) is subscribed to as long as it has owners: namespaces,
// rooms, requests that wait for answers. They are counted, since two names may lead to
// one channel. Asking for one takes a lock for a few instructions, since rooms do so under
// theirs; a goroutine for each connection brings Redis in line.
//
// A request asks all servers and waits for those that are known by name, and for as many
// others as Redis counts. An answer of a kind that was not asked for, a second one, or one
// that cannot be read is counted as malformed and not taken for an answer.
//
// # Limits, and who ends what
//
//	what                                       bound                       beyond it
//	commands that wait                         Options.MaxQueue            the new one is lost (Losses.Full)
//	subscriptions                              Options.MaxSubscriptions    the room is parked (Status.Parked)
//	those that linger without owners           8,192                       the oldest is ended
//	questions of others that are answered      16,384                      not answered (Status.Refused)
//	peers by name, the size of a heartbeat     4,096; 64 KiB               not known by name; malformed
//	sessions that are asked for at one time    8,192, of Redis 256         errBusy; they wait
//	what comes during a handover               64 MiB                      the heir gives up; of streams, it waits in Redis
//
// After a failure, what is to be published is held back until this server and as many
// of its kind as it knows are subscribed again, 3 s at most. What was on its way when a
// connection failed is not sent again: it may have arrived.
//
// # Where to look
//
//	what is subscribed to, and why        topics.go, changes.go, confirm.go
//	which node of a Redis Cluster has it  nodes.go
//	who is there, who is dead             peers.go, seek.go
//	who did not answer                    request.go
//	what is lost                          publish.go, senders.go; Status.Losses
//	when publishing is held back          holdback.go; which master it is: master.go
//	streams, sessions, what was missed    streams.go, streamread.go, streamlog.go
//	another process takes the place       move.go, moveheir.go, movestreams.go, gate.go; who is counted twice: standin.go
package redis

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"strconv"
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
	c := &classic{core: newCore(o.withDefaults(addr))}
	c.move.how = fmt.Sprintf("pub/sub, prefix %q, patterns %t", c.o.Prefix, c.o.Patterns)
	return c
}

// Sharded returns an adapter of the sharded kind, for servers with the adapter
// that createShardedAdapter of @socket.io/redis-adapter makes. It needs Redis 7.
func Sharded(addr string, o Options) rooms.Adapter {
	s := &shardedAdapter{family: family{core: newCore(o.withDefaults(addr))}}
	s.move.how = fmt.Sprintf("sharded pub/sub, prefix %q, mode %d", s.o.Prefix, s.o.Mode)
	return s
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
	s := &streams{family: family{core: newCore(o.withDefaults(addr))}}
	s.move.how = fmt.Sprintf("%d streams %q, prefix %q, sharded %t", s.o.Streams, s.o.StreamName, s.o.Prefix, s.o.ShardedPubSub)
	return s
}

// Parse returns the adapter that a URL names: redis:// or rediss:// for PubSub,
// redis+sharded:// or rediss+sharded:// for Sharded, redis+streams:// or
// rediss+streams:// for Streams, with user, password, host, port and database as in
// Redis' own URLs. What the URL says replaces what is in o.Client, all else is kept.
// It may have these parameters:
//
//	addr=host:port            another node, or Sentinel; more than once
//	db=n, client_name=name, protocol=2
//	dial_timeout=5s, write_timeout=5s
//	skip_verify=true          certificates are not verified (rediss)
//	master_set=name           the addresses are Sentinels, which know the master called so
//	sentinel_username=name, sentinel_password=text
//	sentinel_tls=true         the Sentinels have TLS, as rediss says of the servers
//
// A parameter that is none of these is an error.
func Parse(addr string, o Options) (rooms.Adapter, error) {
	u, err := url.Parse(addr)
	if err != nil {
		// The cause may quote some of a password.
		return nil, errors.New("redis: not a URL; what is special in a password is written as in %2F")
	}
	scheme, variant, _ := strings.Cut(u.Scheme, "+")
	u.Scheme = scheme
	if o.Client, err = clientOf(u, o.Client); err != nil {
		return nil, err
	}
	switch variant {
	case "":
		return PubSub("", o), nil
	case "sharded":
		return Sharded("", o), nil
	case "streams":
		return Streams("", o), nil
	}
	return nil, fmt.Errorf("redis: no adapter is called %q", scheme+"+"+variant)
}

// parameters are those that a URL may have.
var parameters = []string{
	"addr", "db", "client_name", "protocol", "dial_timeout", "write_timeout", "skip_verify",
	"master_set", "sentinel_username", "sentinel_password", "sentinel_tls", "client_cache", "max_retries",
}

// clientOf returns o with what a URL says.
func clientOf(u *url.URL, o rueidis.ClientOption) (rueidis.ClientOption, error) {
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return o, errors.New("redis: the URL's parameters are not well formed")
	}
	for name := range q {
		if !slices.Contains(parameters, name) {
			return o, fmt.Errorf("redis: a URL has no parameter %q; there are %s", name, strings.Join(parameters, ", "))
		}
	}
	said, err := rueidis.ParseURL(u.String())
	if err != nil {
		return o, fmt.Errorf("redis: %w", hide(err))
	}
	o.InitAddress = said.InitAddress
	if said.DialCtxFn != nil { // of a unix socket
		o.DialCtxFn = said.DialCtxFn
	}
	o.Username, o.Password = cmp.Or(said.Username, o.Username), cmp.Or(said.Password, o.Password)
	o.SelectDB, o.ClientName = cmp.Or(said.SelectDB, o.SelectDB), cmp.Or(said.ClientName, o.ClientName)
	o.TLSConfig = cmp.Or(said.TLSConfig, o.TLSConfig)
	o.Dialer.Timeout = cmp.Or(said.Dialer.Timeout, o.Dialer.Timeout)
	o.ConnWriteTimeout = cmp.Or(said.ConnWriteTimeout, o.ConnWriteTimeout)
	o.AlwaysRESP2, o.DisableRetry = said.AlwaysRESP2 || o.AlwaysRESP2, said.DisableRetry || o.DisableRetry
	if said.TLSConfig != nil && len(o.InitAddress) > 1 || said.Sentinel.MasterSet != "" && said.TLSConfig != nil {
		said.TLSConfig.ServerName = "" // each server's own, not the first address'
	}
	x := &o.Sentinel
	x.MasterSet = cmp.Or(said.Sentinel.MasterSet, x.MasterSet)
	x.Username, x.Password = cmp.Or(q.Get("sentinel_username"), x.Username), cmp.Or(q.Get("sentinel_password"), x.Password)
	if text := q.Get("sentinel_tls"); text != "" {
		on, err := strconv.ParseBool(text)
		if err != nil {
			return o, fmt.Errorf("redis: sentinel_tls=%s is neither true nor false", text)
		}
		x.TLSConfig = nil
		if on {
			x.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: o.TLSConfig != nil && o.TLSConfig.InsecureSkipVerify}
		}
	}
	if x.MasterSet == "" && (x.Username != "" || x.Password != "" || x.TLSConfig != nil) {
		return o, errors.New("redis: there is something for Sentinels, but no master_set")
	}
	return o, nil
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
