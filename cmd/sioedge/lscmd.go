package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/api/wire"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/apiclient"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/terminal"
)

// A filterSpec is what flags say of which sockets.
type filterSpec struct {
	wire.Filter
	where []string
}

func (s *filterSpec) flags(f *pflag.FlagSet) {
	f.StringVar(&s.Nsp, "nsp", "/", "namespace, as clients join it")
	f.StringVar(&s.User, "user", "", "of this user")
	f.StringVar(&s.IP, "ip", "", "from this address, or this prefix such as 10.0.0.0/8")
	f.StringArrayVar(&s.where, "where", nil, "with this in their data, data.KEY=VALUE, repeatable; a value is JSON or text")
}

// filter returns the filter.
func (s *filterSpec) filter() (wire.Filter, error) {
	for _, w := range s.where {
		key, text, ok := strings.Cut(w, "=")
		if !ok || key == "" {
			return s.Filter, usageError{fmt.Errorf("--where: %q is not data.KEY=VALUE", w)}
		}
		if s.Where == nil {
			s.Where = map[string]json.RawMessage{}
		}
		v := json.RawMessage(text)
		if !json.Valid(v) {
			v, _ = json.Marshal(text)
		}
		s.Where[key] = v
	}
	return s.Filter, nil
}

// A listSpec is what the flags of ls say.
type listSpec struct {
	api    apiSpec
	filter filterSpec
	rooms  []string
	prefix string
	limit  int
	cursor string
	all    bool
}

// lists are what can be listed.
var lists = map[string]func(s *listSpec, l *listing) error{
	"sockets": (*listSpec).sockets, "rooms": (*listSpec).listRooms, "users": (*listSpec).users,
	"namespaces": (*listSpec).namespaces, "nodes": (*listSpec).nodes,
}

func lsCommand() *cobra.Command {
	var s listSpec
	names := slices.Sorted(maps.Keys(lists))
	cmd := &cobra.Command{
		Use: "ls [sockets|rooms|users|namespaces|nodes]", Short: "List who is connected, by the HTTP API",
		Example: `  sioedge ls
  sioedge ls sockets --room room:42 --where data.plan=pro --json
  sioedge ls rooms --prefix campaign: --all
  sioedge ls users --room lobby`,
		ValidArgs: names,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 || len(args) == 1 && lists[args[0]] == nil {
				return usageError{fmt.Errorf("ls lists one of %s", strings.Join(names, ", "))}
			}
			return nil
		},
	}
	s.api.flags(cmd)
	f := cmd.Flags()
	s.filter.flags(f)
	f.StringArrayVar(&s.rooms, "room", nil, "in this room, repeatable: any of them")
	f.StringArrayVar(&s.filter.Except, "except", nil, "not in this room, repeatable")
	f.StringVar(&s.prefix, "prefix", "", "rooms whose names begin with this")
	f.IntVar(&s.limit, "limit", 100, "lines at most; of users: sockets that are looked at")
	f.StringVar(&s.cursor, "cursor", "", "go on where a list has ended")
	f.BoolVar(&s.all, "all", false, "all, whatever --limit")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := s.api.client()
		if err != nil {
			return err
		}
		if s.limit < 1 {
			return usageError{errors.New("--limit: at least 1")}
		}
		s.filter.In = s.rooms
		return lists[append(args, "sockets")[0]](&s, &listing{cmd, c, s.api.json})
	}
	return cmd
}

// A listing is where lists come from and go to.
type listing struct {
	cmd    *cobra.Command
	client *apiclient.Client
	json   bool
}

func (l *listing) ctx() context.Context { return l.cmd.Context() }

// write writes elements: each as a line of JSON, or as a row.
func write[T any](l *listing, head string, all []T, row func(T) []string) error {
	if l.json {
		for _, e := range all {
			var b bytes.Buffer
			enc := json.NewEncoder(&b)
			enc.SetEscapeHTML(false)
			if err := enc.Encode(e); err != nil {
				return err
			}
			writeJSON(l.cmd.OutOrStdout(), b.Bytes())
		}
		return nil
	}
	t := terminal.NewTable(l.cmd.OutOrStdout(), strings.Fields(head)...)
	for _, e := range all {
		t.Row(row(e)...)
	}
	return t.Flush()
}

// maxPage is the longest page that is asked for.
const maxPage = 1000

// pages calls page for one page after the other: it returns how many elements there were,
// and where the next page begins.
func (s *listSpec) pages(l *listing, page func(limit int, cursor string) (n int, next string, err error)) error {
	cursor := s.cursor
	for left := s.limit; s.all || left > 0; {
		limit := maxPage
		if !s.all {
			limit = min(limit, left)
		}
		n, next, err := page(limit, cursor)
		if err != nil || next == "" {
			return err
		}
		if next == cursor {
			return errors.New("the next page would begin where this one did")
		}
		cursor = next
		left -= n
	}
	fmt.Fprintf(l.cmd.ErrOrStderr(), "there are more: --all, or --cursor %s\n", terminal.Text(cursor))
	return nil
}

// eachPage calls f with the pages of sockets.
func (s *listSpec) eachPage(l *listing, fields []string, f func([]wire.Socket) error) error {
	filter, err := s.filter.filter()
	if err != nil {
		return err
	}
	return s.pages(l, func(limit int, cursor string) (int, string, error) {
		var answer wire.Sockets
		q := wire.Query{Filter: filter, Fields: fields, Limit: limit, Cursor: cursor}
		if err := l.client.Post(l.ctx(), wire.QueryPath, nil, &q, &answer); err != nil {
			return 0, "", err
		}
		sayPartial(l.cmd, answer.Partial)
		return len(answer.Sockets), answer.Cursor, f(answer.Sockets)
	})
}

func (s *listSpec) sockets(l *listing) error {
	return s.eachPage(l, []string{"rooms", "data", "user", "handshake"}, func(page []wire.Socket) error {
		return write(l, "SID USER NODE ADDRESS ROOMS DATA", page, func(e wire.Socket) []string {
			address := ""
			if e.Handshake != nil {
				address = e.Handshake.Address
			}
			rooms := slices.DeleteFunc(slices.Clone(e.Rooms), func(r string) bool { return r == e.SID })
			return []string{e.SID, e.User, e.Node, address, strings.Join(rooms, ","), string(e.Data)}
		})
	})
}

func (s *listSpec) listRooms(l *listing) error {
	return s.pages(l, func(limit int, cursor string) (int, string, error) {
		q := url.Values{"nsp": {s.filter.Nsp}, "limit": {strconv.Itoa(limit)}}
		for name, v := range map[string]string{"prefix": s.prefix, "cursor": cursor} {
			if v != "" {
				q.Set(name, v)
			}
		}
		var answer wire.Rooms
		if err := l.client.Get(l.ctx(), wire.RoomsPath, q, &answer); err != nil {
			return 0, "", err
		}
		sayPartial(l.cmd, answer.Partial)
		return len(answer.Rooms), answer.Cursor, write(l, "ROOM SOCKETS", answer.Rooms, func(e wire.Room) []string {
			return []string{e.Room, strconv.Itoa(e.Sockets)}
		})
	})
}

// A userRow is a line of users.
type userRow struct {
	User    string `json:"user"`
	Sockets int    `json:"sockets"`
	Nodes   int    `json:"nodes"`
}

// maxUsers bounds the users that are counted.
const maxUsers = 1_000_000

// users counts the sockets of each user.
func (s *listSpec) users(l *listing) error {
	type tally struct {
		sockets int
		nodes   map[string]bool
	}
	all := map[string]*tally{}
	err := s.eachPage(l, []string{"user"}, func(page []wire.Socket) error {
		for _, e := range page {
			t := all[e.User]
			if t == nil {
				if len(all) == maxUsers {
					return fmt.Errorf("there are over %d users: --room, --ip or --where makes them fewer", maxUsers)
				}
				t = &tally{nodes: map[string]bool{}}
				all[e.User] = t
			}
			t.sockets++
			t.nodes[e.Node] = true
		}
		return nil
	})
	if err != nil {
		return err
	}
	var rows []userRow
	for _, name := range slices.Sorted(maps.Keys(all)) {
		rows = append(rows, userRow{name, all[name].sockets, len(all[name].nodes)})
	}
	return write(l, "USER SOCKETS NODES", rows, func(e userRow) []string {
		return []string{e.User, strconv.Itoa(e.Sockets), strconv.Itoa(e.Nodes)}
	})
}

func (s *listSpec) namespaces(l *listing) error {
	var answer wire.Namespaces
	if err := l.client.Get(l.ctx(), wire.NamespacesPath, nil, &answer); err != nil {
		return err
	}
	return write(l, "NAMESPACE SOCKETS INSTANCES EVENTS EMITS REFUSED", answer.Namespaces, func(e wire.Namespace) []string {
		return []string{e.Name, fmt.Sprint(e.Sockets), fmt.Sprint(e.Instances), fmt.Sprint(e.Events), fmt.Sprint(e.Emits), fmt.Sprint(e.Refused)}
	})
}

func (s *listSpec) nodes(l *listing) error {
	var answer wire.Nodes
	if err := l.client.Get(l.ctx(), wire.NodesPath, nil, &answer); err != nil {
		return err
	}
	if answer.Cluster.Adapter && !answer.Cluster.Up {
		fmt.Fprintln(l.cmd.ErrOrStderr(), terminal.Text("the cluster cannot be reached: "+answer.Cluster.Reason))
	}
	return write(l, "NODE NAME SELF ADDRESS SEEN SESSIONS SOCKETS", answer.Nodes, func(e wire.Node) []string {
		self, seen := "", ""
		if e.Self {
			self = "yes"
		}
		if e.Seen > 0 {
			seen = time.UnixMilli(e.Seen).Format(time.DateTime)
		}
		return []string{e.Node, e.Name, self, e.Address, seen, strconv.Itoa(e.Sessions), strconv.Itoa(e.Sockets)}
	})
}
