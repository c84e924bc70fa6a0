package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
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
	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/journal"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/listen"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/successor"
	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/sio/handover"
)

// bundle is the browser client, if it was there when the binary was built.
//
//go:embed client
var bundle embed.FS

func serveCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "serve", Short: "Run the server (default)", Args: noArgs}
	load := settingsOf(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		conn, err := handover.Inherited()
		if err != nil {
			return err
		}
		l, err := load()
		if err != nil {
			turnDown(conn, err)
			return usageError{err}
		}
		return serve(cmd.Context(), l, conn)
	}
	return cmd
}

// serve runs the server until it is told to stop, or another process has taken over and
// everything has left. If conn is not nil it takes over from the process there.
func serve(ctx context.Context, l *config.Loaded, conn *net.UnixConn) error {
	if ctx == nil {
		ctx = context.Background()
	}
	program := successor.Path()
	sig := listenToSignals()
	defer sig.stop()
	level := new(slog.LevelVar)
	_ = level.UnmarshalText([]byte(l.Log.Level)) // has been checked
	log, file, err := logger(l, level)
	if err != nil {
		turnDown(conn, err)
		return usageError{err}
	}
	before, err := succeed(l, conn, sig.quit, log)
	if err != nil {
		return err
	}
	e, err := assembleBehind(before, l, gather(log), false)
	if err != nil {
		return usageError{before.refuse(err)}
	}
	e.level, e.file, e.upgrades.program = level, file, program
	e.warn(l)
	e.srv.Tune()
	addrs, err := e.listen(l)
	if err != nil {
		return before.refuse(err)
	}
	if err := e.internal.apply(l); err != nil {
		return usageError{before.refuse(err)}
	}
	if before.dryRun() {
		return e.srv.Serve(ctx)
	}
	if e.upgrades.ln, err = before.welcome(l); err != nil {
		return usageError{before.refuse(err)}
	}
	e.begun(addrs)
	return e.run(ctx, sig)
}

// run serves.
func (e *edge) run(ctx context.Context, sig *signals) error {
	looking, over := context.WithCancel(context.Background())
	defer over()
	// ends with the server
	go func() {
		e.before.await() // nobody looks at clients that are still coming
		e.health.Run(looking)
	}()
	if e.tls != nil {
		go e.tls.Run(looking) // likewise
	}
	go e.arrived(looking, e.now) // likewise
	ended := make(chan struct{})
	var end ending
	// ends with the process, or when it has shut the server down
	go func() {
		defer close(ended)
		e.before.await()
		if end = e.heed(ctx, sig); end.handed != nil {
			e.leave(end.handed, sig, end.soon)
			return
		}
		signal.Stop(sig.quit) // the second signal ends the process
		e.stop(end.delay, end.over)
	}()
	err := e.srv.Serve(context.Background())
	select {
	case <-e.stopping:
		if <-ended; errors.Is(err, loop.ErrClosed) {
			err = nil // it was told to before it served
		}
		if err == nil && e.stays(end.handed) {
			return e.stay(end.handed, sig)
		}
	default:
	}
	e.log.Info("stopped")
	return err
}

// listen has the server listen to the public addresses. The error is placed.
func (e *edge) listen(l *config.Loaded) ([]net.Addr, error) {
	var addrs []net.Addr
	e.internal.sockets = listen.Passed(slices.Concat(l.Listen, []string{l.Internal.Listen}))
	o := listen.Options{Trusted: l.TrustProxy, Sockets: e.internal.sockets, Inherited: e.before.inherited(), Preface: &e.preface, Logger: e.log}
	if e.tls != nil {
		o.TLS = e.tls.Opener()
	}
	for _, text := range l.Listen {
		a, _ := config.ParseListen(text) // has been checked
		at, err := listen.Open(e.srv, a, o)
		if err != nil {
			return nil, l.Place(&config.Fault{Key: "listen", Err: fmt.Errorf("%s: %w", text, err)})
		}
		addrs = append(addrs, at...)
		e.upgrades.addresses.Public = append(e.upgrades.addresses.Public, listen.Bound{As: listen.As(text), At: listen.At(at...)})
	}
	return addrs, nil
}

// begun says that all is listened to.
func (e *edge) begun(addrs []net.Addr) {
	if names := e.internal.sockets.Close(); len(names) > 0 && e.before == nil {
		e.log.Warn("sockets that systemd has passed are not used: no address names them (systemd:name)", "names", strings.Join(names, ","))
	}
	e.announce(addrs)
	e.internal.announce()
	e.manager = listen.NewManager(e.srv.Engine(), e.log)
}

// statusOf is what the service manager shows.
func (e *edge) statusOf() string {
	return fmt.Sprintf("%d connections on %d loops", e.srv.Engine().Stats().Open, len(e.srv.Engine().Loops()))
}

// checkListen returns what is wrong with the addresses to listen on, as far as that can
// be known without listening.
func checkListen(l *config.Loaded) error {
	var faults []error
	for _, text := range l.Listen {
		a, err := config.ParseListen(text)
		if err == nil {
			err = listen.Check(a, l.TrustProxy)
		}
		if err != nil {
			faults = append(faults, &config.Fault{Key: "listen", Err: fmt.Errorf("%s: %w", text, err)})
		}
	}
	return errors.Join(faults...)
}

// logger returns what writes the log, and the file that it is in, nil if it is in none.
func logger(l *config.Loaded, level slog.Leveler) (*slog.Logger, *journal.File, error) {
	o, to := &slog.HandlerOptions{Level: level}, io.Writer(os.Stderr)
	var file *journal.File
	if l.Log.File != "" {
		var err error
		if file, err = journal.Open(l.Log.File, os.Stderr); err != nil {
			return nil, nil, l.Place(&config.Fault{Key: "log.file", Err: err})
		}
		to = file
	}
	if l.Log.Format == "text" || l.Log.Format == "" && file == nil && term.IsTerminal(int(os.Stderr.Fd())) {
		return slog.New(slog.NewTextHandler(to, o)), file, nil
	}
	return slog.New(slog.NewJSONHandler(to, o)), file, nil
}

// announce says what listens where and which limits bind.
func (e *edge) announce(addrs []net.Addr) {
	s, log, srv := &e.now.Settings, e.log, e.srv
	for _, a := range addrs {
		log.Info("listening", "address", a.String(), "network", a.Network(), "path", s.Path, "transports", strings.Join(s.Transports, ","))
	}
	log.Info("limits", "loops", len(srv.Engine().Loops()), "descriptors", descriptors(), "connections", srv.Engine().MaxConns(),
		"max-payload", s.Limits.MaxPayload, "queue-max", s.Queue.Max.String())
	if s.Adapter.URL != "memory" {
		log.Info("cluster", "node", srv.Node(), "prefix", s.Adapter.Prefix, "advertise", s.Cluster.Advertise)
	}
	switch origins := allowed(s); {
	case slices.Contains(origins, "*"):
		log.Info("origins: pages of any site may connect", "demo", s.Demo)
	default:
		log.Info("origins: pages of this host may connect, and of those named", "origins", strings.Join(origins, ","))
	}
	if s.Client.Serve && !e.client {
		log.Warn("the browser client is not built in; build with make, or give --client-dir")
	}
	if !s.Demo {
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
