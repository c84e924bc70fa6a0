package main

import (
	"context"
	"embed"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/sioedge/sioedge/cmd/sioedge/demo"
	"github.com/sioedge/sioedge/sio"
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
	srv, err := sio.New(o)
	if err != nil {
		return usageError{err}
	}
	srv.Tune()
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
	err = srv.Serve(context.Background())
	o.Logger.Info("stopped")
	return err
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
