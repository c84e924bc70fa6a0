package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/api/wire"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/terminal"
)

func upgradeCommand() *cobra.Command {
	var a apiSpec
	var order wire.Upgrade
	cmd := &cobra.Command{
		Use: "upgrade", Short: "Have a new version take over the clients of a server, by the HTTP API",
		Long: `Have a new version take over the clients of a server, by its HTTP API.

The server starts the program that lies where it was started from, with its own
arguments and environment, and gives it all clients, who notice a pause. If that
comes to nothing, it goes on as before, and the reason is printed.`,
		Example: `  install -m 755 sioedge-new /usr/local/bin/sioedge && sioedge upgrade --config /etc/sioedge/sioedge.yaml`,
		Args:    noArgs,
	}
	a.flags(cmd)
	cmd.Flags().BoolVar(&order.DryRun, "dry-run", false, "find out whether the new version would be ready, and no more")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		var up wire.Upgraded
		if err := c.Post(cmd.Context(), wire.UpgradePath, nil, order, &up); err != nil {
			return err
		}
		if a.json {
			return json.NewEncoder(cmd.OutOrStdout()).Encode(up)
		}
		fmt.Fprintln(cmd.OutOrStdout(), upgradedText(up))
		return nil
	}
	return cmd
}

// upgradedText says for people what an upgrade was like.
func upgradedText(up wire.Upgraded) string {
	who := terminal.Text(up.Version)
	if up.DryRun {
		return fmt.Sprintf("%s would be ready", who)
	}
	pause := time.Duration(up.Pause * float64(time.Millisecond)).Round(100 * time.Microsecond)
	text := fmt.Sprintf("%s has taken over as process %d: %d connections, %d sessions, %d sockets; nobody was served for %v", who, up.PID, up.Connections, up.Sessions, up.Sockets, pause)
	if stays := staysText(up.Stays); stays != "" {
		text += "\nwhat the process before still serves: " + stays
	}
	return text
}

// staysText says what stays, by why; empty: nothing does.
func staysText(s wire.Stays) string {
	var all []string
	for _, x := range []struct {
		n   int
		why string
	}{{s.TLS, "over TLS"}, {s.Mounted, "with a request that is not Socket.IO's"}, {s.Opening, "not open yet"}, {s.Tunnels, "tunnels between servers"}} {
		if x.n > 0 {
			all = append(all, fmt.Sprintf("%d %s", x.n, x.why))
		}
	}
	return strings.Join(all, ", ")
}
