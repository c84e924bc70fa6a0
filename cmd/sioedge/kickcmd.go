package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/api/wire"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/apiclient"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/terminal"
)

// A kickSpec is what the flags of kick say.
type kickSpec struct {
	api                          apiSpec
	user, sid, room, nsp, reason string
	code                         int
	close, yes                   bool
}

func kickCommand() *cobra.Command {
	var s kickSpec
	cmd := &cobra.Command{
		Use: "kick", Short: "Disconnect a user, a socket or all of a room, by the HTTP API",
		Long: `Disconnect a user, a socket or all of a room, by the HTTP API of a server.

A user is disconnected everywhere. A socket, or all of a room, leave their namespace;
with --close, --code or --reason they leave all namespaces, and their connections are
closed. Clients are told, and stay away until their program has them connect again. At a
terminal it is asked first if it may be more than one.`,
		Example: `  sioedge kick --user u7 --reason banned
  sioedge kick --room room:42 --nsp /chat --yes`,
		Args: noArgs,
	}
	s.api.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&s.user, "user", "", "user")
	f.StringVar(&s.sid, "sid", "", "id of a socket")
	f.StringVar(&s.room, "room", "", "room")
	f.StringVar(&s.nsp, "nsp", "/", "namespace of the socket, or of the room")
	f.IntVar(&s.code, "code", 0, "code that connections are closed with: 1000, or 3000 to 4999")
	f.StringVar(&s.reason, "reason", "", "reason that they are closed with")
	f.BoolVar(&s.close, "close", false, "close the whole connection")
	f.BoolVar(&s.yes, "yes", false, "do not ask first")
	cmd.MarkFlagsMutuallyExclusive("user", "sid", "room")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if s.user == "" && s.sid == "" && s.room == "" {
			return usageError{errors.New("kick whom? --user, --sid or --room")}
		}
		c, err := s.api.client()
		if err != nil {
			return err
		}
		if err := s.confirm(cmd, c); err != nil {
			return err
		}
		return s.kick(cmd, c)
	}
	return cmd
}

// filter is who leaves a namespace.
func (s *kickSpec) filter() wire.Filter {
	in := s.sid
	if in == "" {
		in = s.room
	}
	return wire.Filter{Nsp: s.nsp, In: []string{in}}
}

// confirm asks the person at the terminal, if there is one and it may be several sockets.
func (s *kickSpec) confirm(cmd *cobra.Command, c *apiclient.Client) error {
	if s.yes || s.sid != "" || !atTerminal(cmd.InOrStdin()) {
		return nil
	}
	whom := fmt.Sprintf("user %q, wherever they are connected", s.user)
	if s.room != "" {
		var page wire.Sockets
		if err := c.Post(cmd.Context(), wire.QueryPath, nil, &wire.Query{Filter: s.filter(), Fields: []string{"user"}, Limit: maxPage}, &page); err != nil {
			return err
		}
		n := fmt.Sprint(len(page.Sockets))
		if page.Cursor != "" {
			n = "over " + n
		}
		if n == "1" || n == "0" {
			return nil
		}
		whom = fmt.Sprintf("%s sockets of room %q in %s", n, s.room, s.nsp)
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "disconnect %s? [y/N] ", terminal.Text(whom))
	answer, err := bufio.NewReader(io.LimitReader(cmd.InOrStdin(), 64)).ReadString('\n')
	if err != nil && err != io.EOF {
		return err
	}
	if a := strings.ToLower(strings.TrimSpace(answer)); a != "y" && a != "yes" {
		return errors.New("nobody was disconnected")
	}
	return nil
}

// atTerminal tells whether somebody can be asked. Tests say so themselves.
var atTerminal = func(in io.Reader) bool { return terminal.Is(in) }

func (s *kickSpec) kick(cmd *cobra.Command, c *apiclient.Client) error {
	var answer wire.Changed
	var err error
	if s.user != "" {
		err = c.Post(cmd.Context(), wire.UsersPath+url.PathEscape(s.user)+"/disconnect", nil, &wire.UserDisconnect{Code: s.code, Reason: s.reason}, &answer)
	} else {
		err = c.Post(cmd.Context(), wire.DisconnectPath, nil,
			&wire.Change{Filter: s.filter(), Code: s.code, Reason: s.reason, Close: s.close || s.code != 0 || s.reason != ""}, &answer)
	}
	if err != nil {
		return err
	}
	sayPartial(cmd, answer.Partial)
	if s.api.json {
		fmt.Fprintf(cmd.OutOrStdout(), `{"sockets":%d}`+"\n", answer.Sockets)
		return nil
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%d disconnected\n", answer.Sockets)
	return nil
}
