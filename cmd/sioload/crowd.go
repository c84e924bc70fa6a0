package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/sioedge/sioedge/bench/crowd"
)

// crowdArg is the argument with which sioload starts itself as a worker of a crowd.
const crowdArg = "run-crowd"

// perCrowd is how many clients a process takes: who polls or upgrades has two descriptors.
const perCrowd = 6000

func crowdCommand(stdout, stderr io.Writer) *cobra.Command {
	var (
		c        crowd.Config
		kinds    []string
		procs    int
		duration time.Duration
		asJSON   bool
	)
	cmd := &cobra.Command{
		Use:   "crowd ws://host:port",
		Short: "Clients of every kind at once: polling, upgrading, compressed, in halves, slow; each message is counted",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return &usageError{fmt.Errorf("one URL is needed, not %d", len(args))}
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			u, err := url.Parse(args[0])
			if err != nil || u.Port() == "" || u.Scheme != "ws" && u.Scheme != "http" {
				return &usageError{fmt.Errorf("%q must be ws://host:port or http://host:port", args[0])}
			}
			c.Addr, c.Name = u.Host, fmt.Sprintf("crowd-%d-", os.Getpid())
			for _, k := range kinds {
				c.Kinds = append(c.Kinds, crowd.Kind(k))
			}
			if c.Clients < 1 || c.Rate <= 0 || c.Every <= 0 || c.Publish <= 0 || c.Room < 1 {
				return &usageError{fmt.Errorf("clients, rates and times are above zero")}
			}
			if procs == 0 {
				procs = (c.Clients + perCrowd - 1) / perCrowd
			}
			return loadCrowd(c, procs, duration, asJSON, stdout, stderr)
		},
	}
	all := make([]string, len(crowd.Kinds))
	for i, k := range crowd.Kinds {
		all[i] = string(k)
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.IntVar(&c.Clients, "clients", 100, "clients to connect")
	f.StringSliceVar(&kinds, "kinds", nil, "kinds that are dealt to the clients (default all: "+strings.Join(all, ",")+")")
	f.IntVar(&c.Room, "room", 10, "clients of a room")
	f.DurationVar(&c.Every, "every", time.Second, "between two questions of a client")
	f.DurationVar(&c.Publish, "publish", time.Second, "between two numbers that a room gets")
	f.Float64Var(&c.Rate, "rate", 500, "connections a second")
	f.DurationVar(&duration, "duration", 10*time.Second, "how long they talk, when all have come")
	f.IntVar(&procs, "procs", 0, fmt.Sprintf("processes (default one for each %d clients)", perCrowd))
	f.BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

func crowdWorker() *cobra.Command {
	return &cobra.Command{
		Use: crowdArg, Hidden: true, Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			signal.Ignore(os.Interrupt) // it reaches the whole process group
			return crowd.Work(os.Stdin, os.Stdout)
		},
	}
}

// loadCrowd has a crowd talk, and prints what it has seen.
func loadCrowd(c crowd.Config, procs int, duration time.Duration, asJSON bool, stdout, stderr io.Writer) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	f, err := crowd.Start([]string{self, crowdArg}, c, procs)
	if err != nil {
		return err
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(stop)
	began := time.Now()
	fmt.Fprintf(stderr, "%d clients have come\n", c.Clients)
	select {
	case <-stop:
	case <-time.After(duration):
	}
	ended := time.Now()
	r, err := f.Stop()
	if err != nil {
		return err
	}
	if asJSON {
		if err := json.NewEncoder(stdout).Encode(r); err != nil {
			return err
		}
	} else {
		l := r.Latencies(began, ended, 0.5, 0.99, 1)
		fmt.Fprintf(stdout, "%s\nacknowledgements took (at most): p50 %v, p99 %v, all %v\n", r.String(), l[0], l[1], l[2])
		for _, p := range r.Problems {
			fmt.Fprintln(stdout, p)
		}
	}
	if !r.Flawless() {
		return errNotOK
	}
	return nil
}
