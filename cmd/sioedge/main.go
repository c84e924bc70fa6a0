// Command sioedge is a Socket.IO edge server: it holds very many connections of
// unmodified Socket.IO clients on event loops.
package main

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// A usageError is a mistake in flags or environment: the exit code is 2.
type usageError struct{ error }

func main() {
	err := command().Execute()
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "sioedge:", err)
	var usage usageError
	if errors.As(err, &usage) {
		fmt.Fprintln(os.Stderr, "Run 'sioedge serve --help' for the flags.")
		os.Exit(2)
	}
	os.Exit(1)
}

func command() *cobra.Command {
	serve := serveCommand()
	root := &cobra.Command{
		Use:           "sioedge",
		Short:         "Socket.IO edge server",
		Args:          noArgs,
		RunE:          serve.RunE, // serve is what a bare sioedge does
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.Flags().AddFlagSet(serve.Flags())
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(serve, doctorCommand(), versionCommand())
	return root
}

func noArgs(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("unknown command or argument %q", args[0])}
	}
	return nil
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: noArgs,
		Run: func(c *cobra.Command, _ []string) { fmt.Fprintln(c.OutOrStdout(), "sioedge", version()) },
	}
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
