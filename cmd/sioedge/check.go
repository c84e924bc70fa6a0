package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
)

// settingsOf gives a command the flags of all settings, and returns what reads these
// from all their sources.
func settingsOf(cmd *cobra.Command) func() (*config.Loaded, error) {
	f := config.Flags(cmd.Name())
	cmd.Flags().AddFlagSet(f)
	return func() (*config.Loaded, error) {
		return config.Load(config.Sources{Flags: f, Environ: os.Environ()})
	}
}

func checkCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "check", Short: "Say what is wrong with the settings, without serving", Args: noArgs}
	load := settingsOf(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		l, err := load()
		if err == nil {
			err = check(l)
		}
		if err != nil {
			fmt.Fprintln(cmd.ErrOrStderr(), err)
			return saidError{err}
		}
		config.Each(l.Place(l.Doubts()), func(err error) { fmt.Fprintln(cmd.ErrOrStderr(), "warning:", err) })
		fmt.Fprintln(cmd.OutOrStdout(), "ok")
		return nil
	}
	return cmd
}

// check makes all that serve makes of the settings, and lets it go. It listens to
// nothing and joins no cluster.
func check(l *config.Loaded) error {
	faults := l.Unknown
	e, err := assemble(l, slog.New(slog.DiscardHandler), true)
	if err != nil {
		return errors.Join(append(faults, err)...)
	}
	ctx, done := context.WithTimeout(context.Background(), time.Second)
	defer done()
	_ = e.srv.Shutdown(ctx) // nobody is there who would have to be told
	e.close(ctx)
	return errors.Join(faults...)
}
