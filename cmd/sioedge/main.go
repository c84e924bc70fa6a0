// Command sioedge is a Socket.IO edge server: it holds very many connections of
// unmodified Socket.IO clients on event loops.
package main

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/terminal"
)

// A usageError is a mistake in flags or environment: the exit code is 2.
type usageError struct{ error }

// A saidError is one that the user has been told already.
type saidError struct{ error }

func main() {
	err := command().Execute()
	if err == nil {
		return
	}
	var said saidError
	if errors.As(err, &said) {
		os.Exit(1)
	}
	var code exitCode
	if errors.As(err, &code) {
		os.Exit(int(code))
	}
	fmt.Fprintln(os.Stderr, "sioedge:", terminal.Lines(err.Error()))
	var coded codedError
	if errors.As(err, &coded) {
		os.Exit(coded.code)
	}
	var usage usageError
	if errors.As(err, &usage) {
		fmt.Fprintln(os.Stderr, "Run 'sioedge COMMAND --help' for the flags; those of serve need no COMMAND.")
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
	root.AddCommand(serve, checkCommand(), configCommand(), initCommand(), doctorCommand(), tokenCommand(), clientCommand(), emitCommand(), lsCommand(), kickCommand(), drainCommand(), undrainCommand(), upgradeCommand(), healthcheckCommand(), versionCommand())
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

// release is the version of a release: go build -ldflags "-X main.release=1.2.3".
var release string

func version() string {
	if release != "" {
		return release
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}

// build says of what this program was made, as far as it knows: the revision of its source,
// and whether that was changed.
func build() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	var revision, changed string
	for _, x := range info.Settings {
		switch {
		case x.Key == "vcs.revision":
			revision = x.Value[:min(len(x.Value), 12)]
		case x.Key == "vcs.modified" && x.Value == "true":
			changed = "+changed"
		}
	}
	return strings.TrimSpace(revision + changed + " " + info.GoVersion)
}
