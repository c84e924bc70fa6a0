package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/api/wire"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/apiclient"
)

func drainCommand() *cobra.Command {
	var a apiSpec
	var order wire.Drain
	var wait bool
	cmd := &cobra.Command{
		Use: "drain", Short: "Have the clients of a server leave, by the HTTP API",
		Long: `Have the clients of a server leave, by its HTTP API.

It is not ready from now on; after a delay it takes no new clients, and those that are
there leave one after the other. It goes on answering until undrain, or stops with --stop.`,
		Example: `  sioedge drain --delay 10s --over 1m --wait && systemctl restart sioedge`,
		Args:    noArgs,
	}
	a.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&order.Delay, "delay", "", "how long everybody is served before that, such as 5s; empty: the server's drain_delay")
	f.StringVar(&order.Over, "over", "", "over which time clients leave; empty: half of the server's drain")
	f.BoolVar(&order.Stop, "stop", false, "the server stops when they have left")
	f.BoolVar(&wait, "wait", false, "wait until they have left")
	cmd.MarkFlagsMutuallyExclusive("stop", "wait")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		var st wire.Draining
		if err := c.Post(cmd.Context(), wire.DrainPath, nil, order, &st); err != nil {
			return err
		}
		if wait {
			if st, err = drained(cmd.Context(), c); err != nil {
				return err
			}
		}
		return printDraining(cmd, &a, st)
	}
	return cmd
}

func undrainCommand() *cobra.Command {
	var a apiSpec
	cmd := &cobra.Command{Use: "undrain", Short: "Have a server take clients again, by the HTTP API", Args: noArgs}
	a.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		var st wire.Draining
		if err := c.Post(cmd.Context(), wire.UndrainPath, nil, nil, &st); err != nil {
			return err
		}
		return printDraining(cmd, &a, st)
	}
	return cmd
}

// drainLook is how often it is asked whether clients have left.
const drainLook = 250 * time.Millisecond

// drained waits until a server has no clients. That it is undrained meanwhile is an error.
func drained(ctx context.Context, c *apiclient.Client) (wire.Draining, error) {
	if ctx == nil {
		ctx = context.Background()
	}
	for {
		var info wire.Info
		if err := c.Get(ctx, wire.InfoPath, nil, &info); err != nil {
			return wire.Draining{}, err
		}
		switch st := info.Draining; {
		case st == nil || st.Phase == "serving":
			return wire.Draining{}, fmt.Errorf("the server is not drained any more")
		case st.Phase == "drained":
			return *st, nil
		}
		select {
		case <-time.After(drainLook):
		case <-ctx.Done():
			return wire.Draining{}, ctx.Err()
		}
	}
}

func printDraining(cmd *cobra.Command, a *apiSpec, st wire.Draining) error {
	if a.json {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(st)
	}
	if st.Phase == "serving" {
		fmt.Fprintln(cmd.OutOrStdout(), "serving")
		return nil
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s, %d sessions are left\n", st.Phase, st.Remaining)
	return nil
}
