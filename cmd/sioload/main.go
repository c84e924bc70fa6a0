// Command sioload puts load on a Socket.IO server and counts what becomes of every
// message. See the package bench/swarm for what the server must answer to.
//
// It exits with 0 when everything arrived once and in order, 1 when not, and 2
// for flags that make no sense.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sioedge/sioedge/bench/swarm"
)

// workerArg is the argument with which sioload starts itself as a worker.
const workerArg = "run-worker"

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// errNotOK ends a run whose report says what is wrong.
var errNotOK = errors.New("not ok")

// run is main with its surroundings passed in; it returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	cmd := command(stdout, stderr)
	cmd.SetArgs(args)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	err := cmd.Execute()
	var bad *swarm.ConfigError
	var usage *usageError
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errNotOK):
		return 1
	case errors.As(err, &bad), errors.As(err, &usage):
		fmt.Fprintf(stderr, "sioload: %v\nsee sioload --help\n", err)
		return 2
	}
	fmt.Fprintf(stderr, "sioload: %v\n", err)
	return 1
}

// A usageError is a command line that cannot be understood.
type usageError struct{ error }

func command(stdout, stderr io.Writer) *cobra.Command {
	var cfg swarm.Config
	var asJSON bool
	var scenario string
	cmd := &cobra.Command{
		Use:   "sioload ws://host:port",
		Short: "Load a Socket.IO server and count every message",
		Example: `  sioload ws://127.0.0.1:3000 --clients 15000 --scenario broadcast --size 512 --pid 4711 --busy-poll
  sioload ws://127.0.0.1:3000 --clients 100 --scenario echo --msg-rate 5000 --duration 30s --json`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return &usageError{fmt.Errorf("one URL is needed, not %d", len(args))}
			}
			return nil
		},
		SilenceUsage: true, SilenceErrors: true,
		RunE: func(_ *cobra.Command, args []string) error {
			cfg.URL, cfg.Scenario = args[0], swarm.Scenario(scenario)
			return load(cfg, asJSON, stdout, stderr)
		},
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	flags(cmd.Flags(), &cfg, &scenario)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object instead of a table")
	cmd.AddCommand(worker(), crowdCommand(stdout, stderr), crowdWorker())
	cmd.CompletionOptions.DisableDefaultCmd = true
	return cmd
}

func flags(f *pflag.FlagSet, cfg *swarm.Config, scenario *string) {
	f.SortFlags = false
	f.StringVar(scenario, "scenario", "idle", "idle, broadcast, echo, rooms, churn, reader, jitter or avalanche")
	f.IntVar(&cfg.Clients, "clients", 100, "clients to connect")
	f.Float64Var(&cfg.Rate, "rate", 2000, "connections a second; in churn reconnections too")
	f.DurationVar(&cfg.Duration, "duration", 0, "length of the measured window (default 10s, without limit with --messages)")
	f.IntVar(&cfg.Messages, "messages", 0, "end the window after so many messages, all senders together")
	f.IntVar(&cfg.Inflight, "inflight", 0, "closed loop: messages under way per publisher or active client (default 1)")
	f.BoolVar(&cfg.Burst, "burst", false, "closed loop: send --inflight messages together, when those before have arrived")
	f.Float64Var(&cfg.MsgRate, "msg-rate", 0, "open loop instead: messages a second, all senders together")
	f.IntVar(&cfg.Size, "size", 0, "bytes of a message's WebSocket payload (default 64)")
	f.IntVar(&cfg.Active, "active", 0, "echo: clients that send (default all); reader: clients that echo beside the broadcast (default 1)")
	f.Float64Var(&cfg.EchoRate, "echo-rate", 0, "reader: echoes a second (default 500)")
	f.Float64Var(&cfg.Cut, "cut", 0, "jitter: share of the clients away at any moment (default 0.1)")
	f.DurationVar(&cfg.Away, "away", 0, "jitter: how long a client that was cut stays away (default 2s)")
	f.IntVar(&cfg.Rooms, "rooms", 0, "rooms: how many the clients are dealt to (default 100)")
	f.IntVar(&cfg.Publishers, "publishers", 0, "broadcast, rooms, reader, jitter: clients that publish (default 1)")
	f.BoolVar(&cfg.OwnRoom, "own-room", false, "rooms: a publisher sends to its own room, not to random ones")
	f.StringVar(&cfg.Protocol, "protocol", "socket.io", "socket.io, or centrifuge (its JSON protocol)")
	f.StringVar(&cfg.Namespace, "namespace", "/", "namespace to connect to")
	f.StringVar(&cfg.Auth, "auth", "", "JSON object for the CONNECT packet")
	f.StringVar(&cfg.TokenSecret, "token-secret", "", "have each client bring a JSON Web Token of its own, signed by HS256 with this, as auth.token")
	f.DurationVar(&cfg.Warmup, "warmup", 0, "send so long before the window begins")
	f.DurationVar(&cfg.Settle, "settle", 0, "pause between the last connect and the first message")
	f.DurationVar(&cfg.Drain, "drain", 0, "how long to wait for what is owed at the end (default 10s)")
	f.DurationVar(&cfg.ConnectTimeout, "connect-timeout", 0, "for one client's connect (default 20s)")
	f.DurationVar(&cfg.Timeout, "timeout", 0, "end everything after so long (default from the other flags)")
	f.IntVar(&cfg.Procs, "procs", 0, "worker processes (default as many as the descriptor limit asks for)")
	f.StringSliceVar(&cfg.Sources, "source", nil, "local addresses to connect from (default automatic on 127.0.0.0/8)")
	f.BoolVar(&cfg.BusyPoll, "busy-poll", false, "workers never sleep: on loopback a sleeping client is woken at the server's cost")
	f.IntSliceVar(&cfg.PIDs, "pid", nil, "the server's processes, for its CPU time and memory (Linux)")
}

func worker() *cobra.Command {
	return &cobra.Command{
		Use: workerArg, Hidden: true, Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			// Ctrl-C reaches the whole process group; the coordinator says when to stop.
			signal.Ignore(os.Interrupt)
			return swarm.Worker(os.Stdin, os.Stdout)
		},
	}
}

// load runs cfg and prints the report.
func load(cfg swarm.Config, asJSON bool, stdout, stderr io.Writer) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process at once
	show, done := progress(stderr)
	rep, err := swarm.Run(ctx, cfg, swarm.Exec(self, workerArg), show)
	done()
	if err != nil {
		return err
	}
	if asJSON {
		b, err := json.MarshalIndent(rep, "", "  ")
		if err != nil {
			return err
		}
		fmt.Fprintf(stdout, "%s\n", b)
		for _, why := range rep.Reasons {
			fmt.Fprintf(stderr, "the load generator was the bottleneck: %s\n", why)
		}
	} else if err := rep.WriteTable(stdout); err != nil {
		return err
	}
	if !rep.OK {
		return errNotOK
	}
	return nil
}

// progress returns what shows a status on w, over and over on one line if w is
// a terminal, and what ends that line.
func progress(w io.Writer) (show func(swarm.Status), done func()) {
	f, ok := w.(*os.File)
	if ok {
		info, err := f.Stat()
		ok = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	if !ok {
		return func(s swarm.Status) { fmt.Fprintln(w, s) }, func() {}
	}
	shown := false
	return func(s swarm.Status) { shown = true; fmt.Fprintf(w, "\r\x1b[K%s", s) }, func() {
		if shown {
			fmt.Fprint(w, "\r\x1b[K")
		}
	}
}
