package main

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// config is what the flags say.
type config struct {
	listen        []string
	path          string
	loops         int
	transports    []string
	eio3          bool
	pingInterval  time.Duration
	pingTimeout   time.Duration
	upgrade       time.Duration
	connect       time.Duration
	maxPayload    int
	attachments   int
	fragments     int
	headTimeout   time.Duration
	bodyTimeout   time.Duration
	idleTimeout   time.Duration
	headBytes     int
	headFields    int
	maxConns      int
	maxSessions   int
	maxPerIP      int
	queueMax      string
	queueHard     string
	slowAfter     time.Duration
	connBudget    string
	memory        string
	maxBroadcasts string
	leftBehind    string
	serveClient   bool
	clientDir     string
	keepHandshake bool
	recovery      time.Duration
	recoveryBuf   string
	maxNamespaces int
	maxRooms      int
	origins       []string
	cookie        string
	compress      string
	compressFrom  int
	compressLevel int
	maxInflated   string
	parser        string
	demo          bool
	env           string
	drain         time.Duration
	userTimeout   time.Duration
	lowat         string
	sndbuf        int
	rcvbuf        int
	adapter       string
	adapterPrefix string
	maxTopics     int
	advertise     string
	clusterSecret string
	maxForwards   int
	maxTunnels    int
	namespaces    []string
	maxAcks       int
	maxEvent      int
	maxInstances  int
	maxDepth      int
	logLevel      string
	logFormat     string
}

// flags returns the flags of serve, bound to c.
func flags(c *config) *pflag.FlagSet {
	f := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	c.processFlags(f)
	c.protocolFlags(f)
	c.boundsFlags(f)
	c.clusterFlags(f)
	return f
}

// processFlags are about the machine, and how it is run.
func (c *config) processFlags(f *pflag.FlagSet) {
	port := ":3000"
	if p := os.Getenv("PORT"); p != "" {
		port = ":" + p
	}
	f.StringArrayVar(&c.listen, "listen", []string{port}, "address to listen on, repeatable: host:port, tcp://host:port, unix:/path, unix:/path?mode=0660; $PORT sets the default")
	f.IntVar(&c.loops, "loops", 0, "event loops; 0: one for each core")
	f.BoolVar(&c.demo, "demo", false, "serve a chat page at /demo/ and the load generator's application; not for production")
	f.StringVar(&c.env, "env", "", `name of the environment; "production" refuses --demo`)
	f.DurationVar(&c.drain, "drain", 30*time.Second, "how long stopping may take to send what is queued")
	f.DurationVar(&c.userTimeout, "tcp-user-timeout", 30*time.Second, "how long sent data may stay unacknowledged before the peer is given up (Linux)")
	f.StringVar(&c.lowat, "tcp-notsent-lowat", "16KiB", "bytes unsent in the kernel above which data waits in the counted queue")
	f.IntVar(&c.sndbuf, "so-sndbuf", 0, "bytes of the kernel's send buffer; 0: its own tuning")
	f.IntVar(&c.rcvbuf, "so-rcvbuf", 0, "bytes of the kernel's receive buffer; 0: its own tuning")
	f.StringVar(&c.logLevel, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&c.logFormat, "log-format", "", "json or text; empty: text on a terminal, json elsewhere")
}

// protocolFlags are about what clients are told and may do.
func (c *config) protocolFlags(f *pflag.FlagSet) {
	f.StringVar(&c.path, "path", "/socket.io/", "path of Socket.IO's requests")
	f.StringSliceVar(&c.transports, "transports", []string{"polling", "websocket"}, "transports that are served")
	f.BoolVar(&c.eio3, "eio3", false, "serve clients of Socket.IO 2 as well: Engine.IO 3")
	f.DurationVar(&c.pingInterval, "ping-interval", 25*time.Second, "time between pings")
	f.DurationVar(&c.pingTimeout, "ping-timeout", 20*time.Second, "how long a ping may stay unanswered")
	f.DurationVar(&c.upgrade, "upgrade-timeout", 10*time.Second, "how long an upgrade to WebSocket may take")
	f.DurationVar(&c.connect, "connect-timeout", 45*time.Second, "how long a connection may stay without a namespace")
	f.StringVar(&c.cookie, "cookie", "", "name of a cookie with the session's id, for load balancers; empty: none")
	f.StringVar(&c.parser, "parser", "default", "how packets are encoded: default (JSON), msgpack, auto (as each client's first packet is)")
	f.StringSliceVar(&c.origins, "origins", nil, "origins whose pages may use the server, such as https://*.example.com, null, file:// or capacitor://localhost; * alone: any; empty: the server's own host, and with --demo any")
	f.StringVar(&c.compress, "compress", "off", "WebSocket messages compressed for clients that offer it: off, broadcast (once for all recipients) or all")
	f.IntVar(&c.compressFrom, "compress-threshold", 1024, "bytes from which on messages, and answers to polls, are compressed")
	f.IntVar(&c.compressLevel, "compress-level", 1, "from 1, the fastest, to 9, for WebSocket messages")
	f.DurationVar(&c.recovery, "recovery", 0, "how long a client that lost its connection may come back for what it missed; its events end in an offset then, as one more argument, which clients in other languages than JavaScript give to handlers; 0: never")
	f.StringVar(&c.recoveryBuf, "recovery-buffer", "64MiB", "bytes of events, and of the sessions of those clients, that are kept")
	f.StringArrayVar(&c.namespaces, "namespace", []string{"/"}, "namespace that clients may join, repeatable, such as /chat or /campaigns/:id; what other servers and programs emit reaches them there")
	f.BoolVar(&c.serveClient, "serve-client", true, "serve the browser client under the path")
	f.StringVar(&c.clientDir, "client-dir", "", "read the browser client's files from here instead of the binary")
	f.BoolVar(&c.keepHandshake, "keep-handshake", false, "keep each session's first request in memory after it has joined a namespace")
}

// boundsFlags are about what there may be of everything.
func (c *config) boundsFlags(f *pflag.FlagSet) {
	f.IntVar(&c.maxPayload, "max-payload", 1_000_000, "bytes of an incoming message or request body")
	f.IntVar(&c.attachments, "max-attachments", 10, "binary attachments of a packet, in and out; JavaScript clients take 10 unless they are told otherwise")
	f.IntVar(&c.fragments, "max-fragments", 65536, "fragments of a WebSocket message")
	f.DurationVar(&c.headTimeout, "header-timeout", 10*time.Second, "how long a connection's first request may take to come, and the head of each")
	f.DurationVar(&c.bodyTimeout, "body-timeout", time.Minute, "how long the body of a request, or each 64 KiB of it, may take")
	f.DurationVar(&c.idleTimeout, "idle-timeout", 75*time.Second, "how long a connection waits for its next request; longer than a proxy in front keeps it")
	f.IntVar(&c.headBytes, "max-header-bytes", 32<<10, "bytes of the head of a request")
	f.IntVar(&c.headFields, "max-header-fields", 256, "fields of the head of a request")
	f.IntVar(&c.maxConns, "max-conns", 0, "connections; 0: the descriptor limit less 5 %")
	f.IntVar(&c.maxSessions, "max-sessions", 0, "sessions, those over polling among them, which need no descriptor; 0: four times the connections, at least 65536")
	f.IntVar(&c.maxPerIP, "max-sessions-per-ip", 16384, "sessions over polling of one address that have joined no namespace")
	f.StringVar(&c.queueMax, "queue-max", "256KiB", "bytes held for what is queued for one client; above it volatile events are dropped, reading from it pauses, and it must take some within --slow-after")
	f.StringVar(&c.queueHard, "queue-hard-max", "16MiB", "bytes held for what is queued for one client before it is closed, however fast it takes them")
	f.DurationVar(&c.slowAfter, "slow-after", 10*time.Second, "how long a client with more than --queue-max queued may take nothing before it is closed; at most --ping-timeout")
	f.StringVar(&c.connBudget, "conn-budget", "0", "bytes kept on behalf of one client on the way in; it waits above half of it, and is closed beyond; 0: 4MiB, or four times --max-payload if that is more")
	f.StringVar(&c.memory, "memory-limit", "auto", "bytes of memory above which new sessions are refused and volatile events dropped, and then clients closed, those first that take nothing; auto: three quarters of what the control group or the machine has; 0: none")
	f.IntVar(&c.maxNamespaces, "max-namespaces", 128, "namespaces of one connection")
	f.IntVar(&c.maxRooms, "max-rooms", 10_000, "rooms of one socket beside its own, up to 65535; 0: 10000")
	f.IntVar(&c.maxInstances, "max-instances", 100_000, "live namespaces of all patterns; 0: any number")
	f.IntVar(&c.maxAcks, "max-pending-acks", 1024, "acknowledgements that one socket may owe")
	f.IntVar(&c.maxEvent, "max-event-name", 256, "bytes of the name of an event")
	f.IntVar(&c.maxDepth, "max-depth", 128, "arrays and objects nested in a packet")
	f.StringVar(&c.maxInflated, "max-inflated", "0", "bytes of an incoming message after decompression; 0: four times --max-payload")
	f.StringVar(&c.maxBroadcasts, "max-broadcasts", "256MiB", "bytes of events that wait for loops to visit their recipients; more are not sent, volatile ones from half of it on")
	f.StringVar(&c.leftBehind, "max-left-behind", "64MiB", "bytes of events that wait for their handlers although their clients have left, of all of these; what one more leaves behind is forgotten")
}

// clusterFlags are about how servers are joined to each other.
func (c *config) clusterFlags(f *pflag.FlagSet) {
	f.StringVar(&c.adapter, "adapter", "memory", "how servers are joined to a cluster: memory (they are not), or a URL of Redis: redis://, redis+sharded://, redis+streams://, with rediss for TLS; without :// the address is $REDIS_URL")
	f.StringVar(&c.adapterPrefix, "adapter-prefix", "socket.io", "what the names of the cluster's channels, streams and sessions begin with")
	f.IntVar(&c.maxTopics, "adapter-max-subscriptions", 1<<20, "channels that are subscribed to at one time; rooms beyond it get nothing from other servers")
	f.StringVar(&c.clusterSecret, "cluster-secret", "", "what servers of a cluster prove to each other with that they are of it, the same for all, best as $SIOEDGE_CLUSTER_SECRET; empty: whoever can write to the cluster's Redis is believed")
	f.StringVar(&c.advertise, "advertise", "", "base URL at which the cluster's other servers reach this one, to forward polling requests and WebSockets; empty: they do not")
	f.IntVar(&c.maxForwards, "max-forwards", 8192, "requests at once that are forwarded to other servers, at most half of them for one address, three quarters for one server")
	f.IntVar(&c.maxTunnels, "max-tunnels", 4096, "WebSockets at once that are passed on to other servers, at most half of them for one address, three quarters for one server; clients beyond go on polling")
}

// foreign are the variables that Kubernetes and Docker set for a Service, or a
// linked container, called sioedge or sioedge-something: they name no flag and are
// nobody's mistake.
var foreign = regexp.MustCompile(`^SIOEDGE_(.*_)?(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)

// environment sets the flags that were not given from SIOEDGE_… variables, those
// of lists split at commas, and refuses variables that name no flag.
func environment(f *pflag.FlagSet, environ []string) error {
	names := map[string]*pflag.Flag{}
	f.VisitAll(func(g *pflag.Flag) {
		names["SIOEDGE_"+strings.ToUpper(strings.ReplaceAll(g.Name, "-", "_"))] = g
	})
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		if !strings.HasPrefix(name, "SIOEDGE_") {
			continue
		}
		g := names[name]
		if g == nil && foreign.MatchString(name) {
			continue
		}
		if g == nil {
			return fmt.Errorf("environment variable %s names no flag", name)
		}
		if g.Changed {
			continue
		}
		values := []string{value}
		if g.Value.Type() == "stringArray" {
			values = strings.Split(value, ",")
		}
		for _, value := range values {
			if err := f.Set(g.Name, strings.TrimSpace(value)); err != nil {
				return fmt.Errorf("environment variable %s: %w", name, err)
			}
		}
	}
	return nil
}

// size parses a number of bytes: 65536, 64KiB, 1MB.
func size(flag, s string) (int, error) {
	units := []struct {
		suffix string
		factor int
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"kB", 1000}, {"KB", 1000}, {"MB", 1_000_000}, {"GB", 1_000_000_000}, {"B", 1}, {"", 1}}
	for _, u := range units {
		if number, ok := strings.CutSuffix(s, u.suffix); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
			if err != nil || n < 0 || n*float64(u.factor) > 1<<40 {
				break
			}
			return int(n * float64(u.factor)), nil
		}
	}
	return 0, fmt.Errorf("--%s: %q is not a size such as 256KiB", flag, s)
}
