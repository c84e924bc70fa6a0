package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/sioedge/sioedge/cmd/sioedge/demo"
	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/parser"
)

// bundle is the browser client, if it was there when the binary was built.
//
//go:embed client
var bundle embed.FS

func serveCommand() *cobra.Command {
	var c config
	cmd := &cobra.Command{Use: "serve", Short: "Run the server (default)", Args: noArgs}
	f := flags(&c)
	cmd.Flags().AddFlagSet(f)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := environment(f, os.Environ()); err != nil {
			return usageError{err}
		}
		return serve(cmd.Context(), &c)
	}
	return cmd
}

// serve runs the server until it is told to stop.
func serve(ctx context.Context, c *config) error {
	if ctx == nil {
		ctx = context.Background()
	}
	o, err := c.options()
	if err != nil {
		return usageError{err}
	}
	if o.Loop.Loops == 0 {
		o.Loop.Loops = min(runtime.GOMAXPROCS(0), 256)
	}
	o.Loop.KeepProcessors = true
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + o.Loop.Loops)
	srv, err := sio.New(o)
	if err != nil {
		return usageError{err}
	}
	if err := c.open(srv); err != nil {
		return usageError{err}
	}
	if c.demo {
		demo.Serve(srv.Of("/chat"))
		serveLoad(srv.Of("/"), o.Adapter != nil)
	}
	var addrs []net.Addr
	for _, l := range c.listen {
		addr, err := srv.Listen(l)
		if err != nil {
			return fmt.Errorf("listen on %s: %w", l, err)
		}
		addrs = append(addrs, addr)
	}
	c.announce(o.Logger, addrs, srv, o.Client != nil)

	stop, cancel := signal.NotifyContext(ctx, syscall.SIGTERM, os.Interrupt)
	defer cancel()
	// ends with the process, or when it has shut the server down
	go func() {
		<-stop.Done()
		cancel() // the second signal ends the process
		o.Logger.Info("stopping", "drain", c.drain.String())
		deadline, done := context.WithTimeout(context.Background(), c.drain)
		defer done()
		if err := srv.Shutdown(deadline); err != nil {
			o.Logger.Warn("stopped before everything was sent", "error", err)
		}
	}()
	running, ended := context.WithCancel(context.Background())
	defer ended()
	go trim(running, srv) // ends with serve
	err = srv.Serve(context.Background())
	o.Logger.Info("stopped")
	return err
}

// options makes the library's options of the flags.
func (c *config) options() (sio.Options, error) {
	logger, err := c.logger()
	if err != nil {
		return sio.Options{}, err
	}
	queue, err := size("queue-max", c.queueMax)
	if err != nil {
		return sio.Options{}, err
	}
	queueHard, err := size("queue-hard-max", c.queueHard)
	if err != nil {
		return sio.Options{}, err
	}
	if queueHard < queue {
		return sio.Options{}, errors.New("--queue-hard-max must be at least --queue-max")
	}
	if c.slowAfter <= 0 {
		return sio.Options{}, errors.New("--slow-after must be more than 0")
	}
	connBudget, err := size("conn-budget", c.connBudget)
	if err != nil {
		return sio.Options{}, err
	}
	memory, err := c.memoryLimit()
	if err != nil {
		return sio.Options{}, err
	}
	broadcasts, err := size("max-broadcasts", c.maxBroadcasts)
	if err != nil {
		return sio.Options{}, err
	}
	lowat, err := size("tcp-notsent-lowat", c.lowat)
	if err != nil {
		return sio.Options{}, err
	}
	buffer, err := size("recovery-buffer", c.recoveryBuf)
	if err != nil {
		return sio.Options{}, err
	}
	if c.demo && c.env == "production" {
		return sio.Options{}, errors.New("--demo is refused in --env=production")
	}
	for name, n := range map[string]int{"max-payload": c.maxPayload, "max-attachments": c.attachments, "max-fragments": c.fragments, "queue-max": queue,
		"max-namespaces": c.maxNamespaces, "recovery-buffer": buffer, "max-pending-acks": c.maxAcks, "max-event-name": c.maxEvent, "max-depth": c.maxDepth, "max-forwards": c.maxForwards, "max-tunnels": c.maxTunnels, "max-sessions-per-ip": c.maxPerIP} {
		if n < 1 {
			return sio.Options{}, fmt.Errorf("--%s must be at least 1", name)
		}
	}
	for name, d := range map[string]time.Duration{"header-timeout": c.headTimeout, "body-timeout": c.bodyTimeout, "idle-timeout": c.idleTimeout} {
		if d <= 0 {
			return sio.Options{}, fmt.Errorf("--%s must be positive", name)
		}
	}
	parsers := map[string]sio.Parser{"default": sio.JSON, "msgpack": sio.MessagePack, "auto": sio.EitherParser}
	packets, ok := parsers[c.parser]
	if !ok {
		return sio.Options{}, fmt.Errorf("--parser: %q is not default, msgpack or auto", c.parser)
	}
	if c.loops < 0 || c.loops > 256 {
		return sio.Options{}, errors.New("--loops must be from 0 to 256")
	}
	if lowat == 0 {
		lowat = -1
	}
	o := sio.Options{
		Engine: eio.Options{
			Path: c.path, Transports: c.transports, AllowEIO3: c.eio3,
			PingInterval: c.pingInterval, PingTimeout: c.pingTimeout, UpgradeTimeout: c.upgrade,
			MaxPayload: c.maxPayload, MaxFragments: c.fragments, MaxQueue: queue, MaxQueueHard: queueHard, SlowAfter: c.slowAfter, ConnBudget: connBudget,
			MaxSessions: c.maxSessions, MaxSessionsPerIP: c.maxPerIP,
			HeadTimeout: c.headTimeout, BodyTimeout: c.bodyTimeout, IdleTimeout: c.idleTimeout,
			MaxHeaderBytes: c.headBytes, MaxHeaderFields: c.headFields,
			CORS: c.cors(),
		},
		Loop: loop.Options{
			Loops: c.loops, MaxConns: c.maxConns, SoftOutbound: queue, MaxOutbound: queueHard, SlowAfter: c.slowAfter,
			UserTimeout: c.userTimeout, NotSentLowat: lowat, SendBuffer: c.sndbuf, RecvBuffer: c.rcvbuf,
		},
		ConnectTimeout: c.connect,
		Parser:         packets,
		MaxNamespaces:  c.maxNamespaces,
		MemoryLimit:    memory,
		MaxRooms:       c.maxRooms,
		MaxPendingAcks: c.maxAcks,
		MaxEventName:   c.maxEvent,
		MaxInstances:   c.maxInstances,
		MaxBroadcasts:  broadcasts,
		Advertise:      c.advertise,
		ClusterSecret:  c.clusterSecret,
		MaxForwards:    c.maxForwards,
		MaxTunnels:     c.maxTunnels,
		Recovery:       sio.Recovery{Window: c.recovery, MaxBytes: int64(buffer)},
		Limits:         parser.Limits{MaxAttachments: c.attachments, MaxDepth: c.maxDepth},
		DropHandshake:  !c.keepHandshake,
		Logger:         logger,
	}
	if c.cookie != "" {
		o.Engine.Cookie = &http.Cookie{Name: c.cookie}
	}
	o.Engine.HTTPCompression = &eio.HTTPCompression{Threshold: c.compressFrom}
	if o.Engine.Compression, err = c.compression(); err != nil {
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
	if inflated == 0 {
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

func (c *config) logger() (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.logLevel)); err != nil {
		return nil, fmt.Errorf("--log-level: %q is not debug, info, warn or error", c.logLevel)
	}
	o := &slog.HandlerOptions{Level: level}
	format := c.logFormat
	if format == "" {
		format = "json"
		if term.IsTerminal(int(os.Stderr.Fd())) {
			format = "text"
		}
	}
	switch format {
	case "json":
		return slog.New(slog.NewJSONHandler(os.Stderr, o)), nil
	case "text":
		return slog.New(slog.NewTextHandler(os.Stderr, o)), nil
	}
	return nil, fmt.Errorf("--log-format: %q is not json or text", c.logFormat)
}

// announce says what listens where and which limits bind.
func (c *config) announce(log *slog.Logger, addrs []net.Addr, srv *sio.Server, client bool) {
	for _, a := range addrs {
		log.Info("listening", "address", a.String(), "network", a.Network(), "path", c.path, "transports", strings.Join(c.transports, ","))
	}
	log.Info("limits", "loops", len(srv.Engine().Loops()), "descriptors", descriptors(), "connections", srv.Engine().MaxConns(),
		"max-payload", c.maxPayload, "queue-max", c.queueMax)
	if c.adapter != "memory" {
		log.Info("cluster", "node", srv.Node(), "prefix", c.adapterPrefix, "advertise", c.advertise)
	}
	switch origins := c.allowed(); {
	case slices.Contains(origins, "*"):
		log.Info("origins: pages of any site may connect", "demo", c.demo)
	default:
		log.Info("origins: pages of this host may connect, and of those named", "origins", strings.Join(origins, ","))
	}
	if c.serveClient && !client {
		log.Warn("the browser client is not built in; build with make, or give --client-dir")
	}
	if !c.demo {
		return
	}
	for _, a := range addrs {
		if t, ok := a.(*net.TCPAddr); ok {
			host := "localhost"
			if !t.IP.IsUnspecified() {
				host = t.IP.String()
			}
			log.Info("demo: open this page in two windows; anybody may use it", "url", "http://"+net.JoinHostPort(host, fmt.Sprint(t.Port))+demo.Path)
		}
	}
}

func descriptors() uint64 {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 0
	}
	return uint64(l.Cur)
}
