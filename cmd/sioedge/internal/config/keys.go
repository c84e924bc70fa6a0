package config

import (
	"math"
	"strings"
	"time"
)

// A Key is one setting: where it can be set, what it is if it is not, and what it means.
type Key struct {
	// Path of it in the file, such as limits.max_conns. [] stands for each element of a
	// list, * for each name of a group whose names are free. Empty: it is in no file.
	Path string
	// Flag is its name on the command line, without dashes; empty: it has none, as what
	// is in lists and in groups with free names.
	Flag string
	// Default is what it is if nothing sets it, as it is written in the environment.
	Default string
	// Doc is one line.
	Doc string
	// OneOf are all the values that it can have; nil: what its type allows.
	OneOf []string
	// Least and Most bound a number, the bytes of a size, the nanoseconds of a duration.
	// Zero for Most: there is no bound.
	Least, Most int64
	// Commas of a list separate its elements on the command line too. (In the
	// environment they always do.)
	Commas bool
	// Secret values are shown to nobody.
	Secret bool
	// Reload says that a reload of the file applies it to a server that runs.
	Reload bool

	check func(text string) error // beyond all that; nil: nothing
}

// Env is the name of its environment variable; empty if it has none.
func (k *Key) Env() string {
	if k.Flag == "" {
		return ""
	}
	return "SIOEDGE_" + strings.ToUpper(strings.ReplaceAll(k.Flag, "-", "_"))
}

// A Section is a chapter of the reference.
type Section struct {
	Title string
	Intro string // of the chapter; empty: none
	Keys  []Key
}

const (
	mostLoops = 256
	mostRooms = 65535
	mostPing  = 24 * 24 * time.Hour // deadlines are kept in 32 bits of ms
)

// ConfigFlag is the flag that names the file, ConfigEnv its variable.
const (
	ConfigFlag = "config"
	ConfigEnv  = "SIOEDGE_CONFIG"
)

// sections have every key once, in the order of the reference and of what config print
// prints.
var sections = []Section{
	{"Serving", "", []Key{
		{Path: "", Flag: ConfigFlag, Doc: "file of settings, in YAML or JSON"},
		{Path: "listen", Flag: "listen", Default: ":3000", check: checkListen, Doc: "address to listen on, repeatable: host:port, tcp://host:port, tls://host:port, unix:/path, systemd:name (sockets that systemd passes); options behind ?: proxy=v1, v2 or any (connections begin with a preface of the PROXY protocol), of unix mode=0660 and owner=user:group, of unix and systemd tls=true; $PORT sets the default"},
		{Path: "path", Flag: "path", Default: "/socket.io/", Doc: "path of Socket.IO's requests"},
		{Path: "transports", Flag: "transports", Default: "polling,websocket", Commas: true, OneOf: []string{"polling", "websocket"}, Doc: "transports that are served"},
		{Path: "eio3", Flag: "eio3", Default: "false", Doc: "serve clients of Socket.IO 2 as well: Engine.IO 3"},
		{Path: "parser", Flag: "parser", Default: "default", OneOf: []string{"default", "msgpack", "auto"}, Doc: "how packets are encoded: default (JSON), msgpack, auto (as each client's first packet is)"},
		{Path: "origins", Flag: "origins", Commas: true, Doc: "origins whose pages may use the server, such as https://*.example.com, null, file:// or capacitor://localhost; * alone: any; empty: the server's own host, and with --demo any"},
		{Path: "trust_proxy", Flag: "trust-proxy", Commas: true, Doc: "networks of proxies, such as 10.0.0.0/8, who are believed what they say of clients, by a PROXY preface, or in the fields of --proxy-headers; empty: none"},
		{Path: "proxy_headers", Flag: "proxy-headers", Default: "x-forwarded", OneOf: []string{"x-forwarded", "forwarded"}, Doc: "in which fields they say it: x-forwarded (X-Forwarded-For, -Proto and -Host) or forwarded (Forwarded, RFC 7239); the others are anybody's"},
		{Path: "cookie", Flag: "cookie", Doc: "name of a cookie with the session's id, for load balancers; empty: none"},
		{Path: "keep_handshake", Flag: "keep-handshake", Default: "false", Doc: "keep each session's first request in memory after it has joined a namespace"},
		{Path: "loops", Flag: "loops", Default: "0", Most: mostLoops, Doc: "event loops; 0: one for each core"},
		{Path: "env", Flag: "env", Doc: `name of the environment; "production" refuses --demo`},
		{Path: "demo", Flag: "demo", Default: "false", Doc: "serve a chat page at /demo/ and the load generator's application; not for production"},
		{Path: "client.serve", Flag: "serve-client", Default: "true", Doc: "serve the browser client under the path"},
		{Path: "client.dir", Flag: "client-dir", Doc: "read the browser client's files from here instead of the binary"},
	}},
	{"Time", "", []Key{
		{Path: "ping.interval", Flag: "ping-interval", Default: "25s", Least: int64(time.Millisecond), Most: int64(mostPing), Doc: "time between pings"},
		{Path: "ping.timeout", Flag: "ping-timeout", Default: "20s", Least: int64(time.Millisecond), Most: int64(mostPing), Doc: "how long a ping may stay unanswered"},
		{Path: "timeouts.upgrade", Flag: "upgrade-timeout", Default: "10s", Doc: "how long an upgrade to WebSocket may take"},
		{Path: "timeouts.connect", Flag: "connect-timeout", Default: "45s", Doc: "how long a connection may stay without a namespace"},
		{Path: "timeouts.header", Flag: "header-timeout", Default: "10s", Least: 1, Doc: "how long a connection's first request may take to come, and the head of each"},
		{Path: "timeouts.body", Flag: "body-timeout", Default: "1m", Least: 1, Doc: "how long the body of a request, or each 64 KiB of it, may take"},
		{Path: "timeouts.idle", Flag: "idle-timeout", Default: "75s", Least: 1, Doc: "how long a connection waits for its next request; longer than a proxy in front keeps it"},
	}},
	{"Compression", "", []Key{
		{Path: "compress.mode", Flag: "compress", Default: "off", OneOf: []string{"off", "broadcast", "all"}, Doc: "WebSocket messages compressed for clients that offer it: off, broadcast (once for all recipients) or all"},
		{Path: "compress.threshold", Flag: "compress-threshold", Default: "1024", Least: 1, Doc: "bytes from which on messages, and answers to polls, are compressed"},
		{Path: "compress.level", Flag: "compress-level", Default: "1", Least: 1, Most: 9, Doc: "from 1, the fastest, to 9, for WebSocket messages"},
		{Path: "compress.max_inflated", Flag: "max-inflated", Default: "0", Doc: "bytes of an incoming message after decompression; 0: four times --max-payload"},
	}},
	{"Recovery", "", []Key{
		{Path: "recovery.window", Flag: "recovery", Default: "0s", Doc: "how long a client that lost its connection may come back for what it missed; its events end in an offset then, as one more argument, which clients in other languages than JavaScript give to handlers; 0: never"},
		{Path: "recovery.buffer", Flag: "recovery-buffer", Default: "64MiB", Least: 1, Doc: "bytes of events, and of the sessions of those clients, that are kept"},
	}},
	{"Slow clients", "", []Key{
		{Path: "queue.max", Flag: "queue-max", Default: "256KiB", Least: 1, Doc: "bytes held for what is queued for one client; above it volatile events are dropped, reading from it pauses, and it must take some within --slow-after"},
		{Path: "queue.hard_max", Flag: "queue-hard-max", Default: "16MiB", Doc: "bytes held for what is queued for one client before it is closed, however fast it takes them"},
		{Path: "queue.slow_after", Flag: "slow-after", Default: "10s", Least: 1, Doc: "how long a client with more than --queue-max queued may take nothing before it is closed; at most --ping-timeout"},
		{Path: "queue.policy", Flag: "queue-policy", Default: "close", OneOf: []string{"close", "drop-new", "drop-oldest", "conflate"}, Doc: "what becomes of events for such a client, unless their namespace says it (emit): it is closed (close), events are dropped (drop-new), older ones are (drop-oldest), or only the latest of each name is kept (conflate)"},
	}},
	limitKeys,
	{"Clusters", "", []Key{
		{Path: "adapter.url", Flag: "adapter", Default: "memory", Doc: "how servers are joined to a cluster: memory (they are not), or a URL of Redis: redis://, redis+sharded://, redis+streams://, with rediss for TLS; without :// the address is $REDIS_URL"},
		{Path: "adapter.prefix", Flag: "adapter-prefix", Default: "socket.io", Doc: "what the names of the cluster's channels, streams and sessions begin with"},
		{Path: "adapter.max_subscriptions", Flag: "adapter-max-subscriptions", Default: "1048576", Doc: "channels that are subscribed to at one time; rooms beyond it get nothing from other servers"},
		{Path: "cluster.secret", Flag: "cluster-secret", Secret: true, Doc: "what servers of a cluster prove to each other with that they are of it, the same for all, best as $SIOEDGE_CLUSTER_SECRET; empty: whoever can write to the cluster's Redis is believed"},
		{Path: "cluster.advertise", Flag: "advertise", Doc: "base URL at which the cluster's other servers reach this one, to forward polling requests and WebSockets; empty: they do not"},
		{Path: "cluster.max_forwards", Flag: "max-forwards", Default: "8192", Least: 1, Doc: "requests at once that are forwarded to other servers, at most half of them for one address, three quarters for one server"},
		{Path: "cluster.max_tunnels", Flag: "max-tunnels", Default: "4096", Least: 1, Doc: "WebSockets at once that are passed on to other servers, at most half of them for one address, three quarters for one server; clients beyond go on polling"},
	}},
	{"Sockets of the kernel", "", []Key{
		{Path: "tcp.user_timeout", Flag: "tcp-user-timeout", Default: "30s", Doc: "how long sent data may stay unacknowledged before the peer is given up (Linux)"},
		{Path: "tcp.notsent_lowat", Flag: "tcp-notsent-lowat", Default: "16KiB", Doc: "bytes unsent in the kernel above which data waits in the counted queue"},
		{Path: "tcp.send_buffer", Flag: "so-sndbuf", Default: "0", Most: math.MaxInt32, Doc: "bytes of the kernel's send buffer; 0: its own tuning"},
		{Path: "tcp.recv_buffer", Flag: "so-rcvbuf", Default: "0", Most: math.MaxInt32, Doc: "bytes of the kernel's receive buffer; 0: its own tuning"},
	}},
	{"Log", "", []Key{
		{Path: "log.level", Flag: "log-level", Default: "info", Reload: true, check: checkLevel, Doc: "debug, info, warn or error"},
		{Path: "log.format", Flag: "log-format", OneOf: []string{"", "json", "text"}, Doc: "json or text; empty: text on a terminal, json elsewhere"},
		{Path: "log.file", Flag: "log-file", Doc: "file that the log is appended to, opened again by SIGUSR1; empty: standard error"},
		{Path: "log.conn_sample", Flag: "log-conn-sample", Default: "0", Reload: true, check: checkShare, Doc: "part of the connections, from 0 to 1, whose sessions, namespaces and ends are in the log"},
	}},
	authKeys,
	tlsKeys,
	operateKeys,
	handoverKeys,
	internalKeys,
	backendKeys,
	bridgeKeys,
	namespaceKeys,
}
