package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/demo"
	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/parser"
)

// sizes are the flags that are numbers of bytes.
type sizes struct{ queue, queueHard, budget, broadcasts, behind, lowat, recovery int }

func (c *config) sizes() (s sizes, err error) {
	for _, x := range []struct {
		n    *int
		flag string
		text string
	}{
		{&s.queue, "queue-max", c.queueMax}, {&s.queueHard, "queue-hard-max", c.queueHard}, {&s.budget, "conn-budget", c.connBudget},
		{&s.broadcasts, "max-broadcasts", c.maxBroadcasts}, {&s.behind, "max-left-behind", c.leftBehind}, {&s.lowat, "tcp-notsent-lowat", c.lowat}, {&s.recovery, "recovery-buffer", c.recoveryBuf},
	} {
		if *x.n, err = size(x.flag, x.text); err != nil {
			return s, err
		}
	}
	if s.lowat == 0 {
		s.lowat = -1 // off
	}
	return s, nil
}

// check says which flag has a value that it cannot have.
func (c *config) check(s sizes) error {
	if c.demo && c.env == "production" {
		return errors.New("--demo is refused in --env=production")
	}
	for name, n := range map[string]int{
		"max-payload": c.maxPayload, "max-attachments": c.attachments, "max-fragments": c.fragments, "queue-max": s.queue, "max-left-behind": s.behind,
		"max-namespaces": c.maxNamespaces, "recovery-buffer": s.recovery, "max-pending-acks": c.maxAcks, "max-event-name": c.maxEvent,
		"max-depth": c.maxDepth, "max-forwards": c.maxForwards, "max-tunnels": c.maxTunnels, "max-sessions-per-ip": c.maxPerIP,
	} {
		if n < 1 {
			return fmt.Errorf("--%s must be at least 1", name)
		}
	}
	for name, d := range map[string]time.Duration{
		"header-timeout": c.headTimeout, "body-timeout": c.bodyTimeout, "idle-timeout": c.idleTimeout, "slow-after": c.slowAfter,
	} {
		if d <= 0 {
			return fmt.Errorf("--%s must be positive", name)
		}
	}
	if s.queueHard < s.queue {
		return errors.New("--queue-hard-max must be at least --queue-max")
	}
	if c.loops < 0 || c.loops > 256 {
		return errors.New("--loops must be from 0 to 256")
	}
	return nil
}

// options makes the library's options of the flags.
func (c *config) options() (sio.Options, error) {
	logger, err := c.logger()
	if err != nil {
		return sio.Options{}, err
	}
	s, err := c.sizes()
	if err != nil {
		return sio.Options{}, err
	}
	if err := c.check(s); err != nil {
		return sio.Options{}, err
	}
	memory, err := c.memoryLimit()
	if err != nil {
		return sio.Options{}, err
	}
	packets, err := c.packets()
	if err != nil {
		return sio.Options{}, err
	}
	o := c.plain(s)
	o.Logger, o.MemoryLimit, o.Parser = logger, memory, packets
	if o.PerMessageDeflate, err = c.compression(); err != nil {
		return sio.Options{}, err
	}
	if o.Adapter, err = c.cluster(logger); err != nil {
		return sio.Options{}, err
	}
	if c.serveClient {
		o.Client, err = c.client()
	}
	if c.demo {
		o.Handler = demo.Page()
	}
	return o, err
}

// plain returns the options that need no more than what the flags say.
func (c *config) plain(s sizes) sio.Options {
	o := sio.Options{
		Engine: eio.Options{
			MaxFragments: c.fragments, MaxQueue: s.queue, MaxQueueHard: s.queueHard, SlowAfter: c.slowAfter, ConnBudget: s.budget,
			MaxSessions: c.maxSessions, MaxSessionsPerIP: c.maxPerIP,
			HeadTimeout: c.headTimeout, BodyTimeout: c.bodyTimeout, IdleTimeout: c.idleTimeout,
			MaxHeaderBytes: c.headBytes, MaxHeaderFields: c.headFields,
		},
		Loop: loop.Options{
			Loops: c.loops, MaxConns: c.maxConns, SoftOutbound: s.queue, MaxOutbound: s.queueHard, SlowAfter: c.slowAfter,
			UserTimeout: c.userTimeout, NotSentLowat: s.lowat, SendBuffer: c.sndbuf, RecvBuffer: c.rcvbuf,
		},
		Path:              c.path,
		PingInterval:      c.pingInterval,
		PingTimeout:       c.pingTimeout,
		UpgradeTimeout:    c.upgrade,
		MaxHTTPBufferSize: c.maxPayload,
		Transports:        c.transports,
		AllowEIO3:         c.eio3,
		CORS:              c.cors(),
		HTTPCompression:   &eio.HTTPCompression{Threshold: c.compressFrom},
		ConnectTimeout:    c.connect,
		Limits:            parser.Limits{MaxAttachments: c.attachments, MaxDepth: c.maxDepth},
		MaxInstances:      cmp.Or(c.maxInstances, math.MaxInt),
		MaxNamespaces:     c.maxNamespaces,
		MaxRooms:          c.maxRooms,
		MaxPendingAcks:    c.maxAcks,
		MaxEventName:      c.maxEvent,
		MaxBroadcasts:     s.broadcasts,
		MaxLeftBehind:     s.behind,
		Recovery:          sio.Recovery{Window: c.recovery, MaxBytes: int64(s.recovery)},
		Advertise:         c.advertise,
		ClusterSecret:     c.clusterSecret,
		MaxForwards:       c.maxForwards,
		MaxTunnels:        c.maxTunnels,
		KeepHandshake:     c.keepHandshake,
	}
	if c.cookie != "" {
		o.Cookie = &http.Cookie{Name: c.cookie}
	}
	return o
}

// packets returns what --parser says.
func (c *config) packets() (sio.Parser, error) {
	p, ok := map[string]sio.Parser{"default": sio.JSON, "msgpack": sio.MessagePack, "auto": sio.EitherParser}[c.parser]
	if !ok {
		return p, fmt.Errorf("--parser: %q is not default, msgpack or auto", c.parser)
	}
	return p, nil
}

// cors returns what --origins says. Pages of origins that are named may send
// their cookies; when any may come, none.
func (c *config) cors() *eio.CORS {
	origins := c.allowed()
	return &eio.CORS{
		Origins: origins, Credentials: len(origins) > 0 && !slices.Contains(origins, "*"),
		Hint: "; the server's --origins says which are",
	}
}

// allowed returns the origins whose pages may use the server beside its own.
func (c *config) allowed() []string {
	if c.demo && len(c.origins) == 0 {
		return []string{"*"}
	}
	return c.origins
}

// compression returns what the flags say about WebSocket messages, nil for off.
func (c *config) compression() (*eio.Compression, error) {
	inflated, err := size("max-inflated", c.maxInflated)
	if err != nil {
		return nil, err
	}
	if inflated == 0 { // the library's is Node's, which is the size before
		inflated = 4 * c.maxPayload
	}
	if c.compressFrom < 1 {
		return nil, errors.New("--compress-threshold must be at least 1")
	}
	if c.compressLevel < 1 || c.compressLevel > 9 {
		return nil, errors.New("--compress-level must be from 1 to 9")
	}
	o := &eio.Compression{Threshold: c.compressFrom, Level: c.compressLevel, MaxInflated: inflated}
	switch c.compress {
	case "off":
		return nil, nil
	case "broadcast":
		o.PreparedOnly = true
	case "all":
	default:
		return nil, fmt.Errorf("--compress: %q is not off, broadcast or all", c.compress)
	}
	return o, nil
}

// memoryLimit returns what --memory-limit says, as Options.MemoryLimit has it.
func (c *config) memoryLimit() (int64, error) {
	if c.memory == "auto" {
		return 0, nil
	}
	n, err := size("memory-limit", c.memory)
	if n == 0 {
		return math.MaxInt64, err // none
	}
	return int64(n), err
}

// client returns the browser client's files; nil if the binary has none.
func (c *config) client() (fs.FS, error) {
	if c.clientDir != "" {
		if _, err := os.Stat(c.clientDir); err != nil {
			return nil, fmt.Errorf("--client-dir: %w", err)
		}
		return os.DirFS(c.clientDir), nil
	}
	files, err := fs.Sub(bundle, "client")
	if err != nil {
		return nil, err
	}
	if _, err := fs.Stat(files, "socket.io.js"); err != nil {
		return nil, nil
	}
	return files, nil
}
