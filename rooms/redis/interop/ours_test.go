//go:build interop

package interop

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/rooms/redis"
	"github.com/sioedge/sioedge/sio"
)

// ourOptions make a server of this project.
type ourOptions struct {
	Name    string
	Redis   string
	Addr    string                                           // "" is any
	Adapter func(addr string, o redis.Options) rooms.Adapter // nil is redis.PubSub
	redis.Options
}

// ours is a server of this project that does commands.
type ours struct {
	name string
	srv  *sio.Server

	mu    sync.Mutex
	heard []any
}

// newOurs starts one that listens, and returns its URL. It serves until ctx is
// done.
func newOurs(ctx context.Context, o ourOptions) (n *ours, url string, served chan error, err error) {
	quiet := slog.New(slog.DiscardHandler)
	o.Options.Name, o.Logger = o.Name, quiet
	n = &ours{name: o.Name}
	adapter := redis.PubSub
	if o.Adapter != nil {
		adapter = o.Adapter
	}
	if n.srv, err = sio.New(sio.Options{Adapter: adapter(o.Redis, o.Options), KeepHandshake: sio.KeepAlways, Logger: quiet}); err != nil {
		return nil, "", nil, err
	}
	n.register()
	addr, err := n.srv.Listen(cmp.Or(o.Addr, "127.0.0.1:0"))
	if err != nil {
		return nil, "", nil, err
	}
	served = make(chan error, 1)
	// ends when the server is shut down, or with ctx
	go func() { served <- n.srv.Serve(ctx) }()
	return n, "http://" + addr.String(), served, nil
}

// register is what server.mjs does in begin.
func (n *ours) register() {
	names := []string{"/", "/other", "/campaigns/:id"}
	for i := range 10 {
		names = append(names, fmt.Sprintf("/ns%d/:id", i))
	}
	for _, name := range names {
		ns := n.srv.Of(name)
		ns.OnConnect(func(s sio.Socket) error {
			var auth struct{ Name string }
			err := s.Auth(&auth)
			s.SetData(map[string]any{"name": auth.Name})
			return err
		})
		for _, event := range []string{"news", "ask"} {
			ns.HandleServerSide(event, func(m *sio.Msg) error { return n.hear(name, m) })
		}
	}
}

func (n *ours) hear(ns string, m *sio.Msg) error {
	args := unpack(m.Args)
	n.mu.Lock()
	n.heard = append(n.heard, append([]any{ns, m.Event()}, args...))
	n.mu.Unlock()
	way := ""
	if len(args) > 0 {
		way, _ = args[0].(string)
	}
	switch {
	case !m.WantsAck() || way == "all but" && slices.Contains(args[1:], any(n.name)):
		return nil
	case way == "binary":
		return m.Ack(append([]byte(n.name), 0, 255))
	case way == "nested":
		return m.Ack(map[string]any{"from": n.name, "bytes": []any{[]byte(n.name)}})
	case way == "nothing":
		return m.Ack()
	case way == "null":
		return m.Ack(nil)
	}
	return m.Ack(n.name)
}

// all addresses a namespace.
func (n *ours) all(ns string) sio.BroadcastOperator {
	if at := strings.LastIndexByte(ns, '/'); at > 0 {
		return n.srv.Of(ns[:at] + "/:id").Instance(ns)
	}
	return n.srv.Of(ns).All()
}

func (n *ours) socket(ns, id string) (sio.Socket, error) {
	found := n.all(ns).To(id).Sockets()
	if len(found) != 1 {
		return sio.Socket{}, fmt.Errorf("%d sockets of %s are called %s", len(found), ns, id)
	}
	return found[0], nil
}

func (n *ours) to(c command) (sio.BroadcastOperator, error) {
	b := n.all(c.NS)
	if c.From != "" {
		s, err := n.socket(c.NS, c.From)
		if err != nil {
			return b, err
		}
		b = s.Broadcast()
	}
	if b = b.Except(strs(c.Except)...); len(strs(c.Rooms)) > 0 {
		b = b.To(strs(c.Rooms)...)
	}
	if c.Volatile {
		b = b.Volatile()
	}
	if c.Plain {
		b = b.Compress(false)
	}
	if c.Local {
		b = b.Local()
	}
	return b, nil
}

// within returns a context for a command.
func within(c command) (context.Context, context.CancelFunc) {
	if c.Timeout == 0 {
		return context.WithCancel(context.Background())
	}
	return context.WithTimeout(context.Background(), time.Duration(c.Timeout)*time.Millisecond)
}

// perform does a command and returns its answer.
func (n *ours) perform(c command) (any, error) {
	b, err := n.to(c)
	if err != nil {
		return nil, err
	}
	ctx, cancel := within(c)
	defer cancel()
	if known, err := act(b, c); known {
		return nil, err
	}
	switch c.Op {
	case "disconnect":
		return nil, b.Disconnect(sio.DisconnectOptions{Conn: c.Close})
	case "ask":
		answers, err := b.EmitAck(ctx, c.Event, c.Args...)
		return answersOf(answers, err), nil
	case "askServers":
		answers, err := b.ServerSideAsk(ctx, c.Event, c.Args...)
		return answersOf(answers, err), nil
	case "rooms":
		names, err := b.FetchRooms(ctx)
		slices.Sort(names)
		return names, err
	case "fetch":
		return n.fetch(ctx, b)
	case "count":
		return b.CountAll(ctx)
	case "remote":
		return n.remote(ctx, b, c)
	default:
		return n.performHere(c)
	}
}

// performHere does what is about this server alone.
func (n *ours) performHere(c command) (any, error) {
	switch c.Op {
	case "heard":
		n.mu.Lock()
		defer n.mu.Unlock()
		heard := append([]any{}, n.heard...)
		n.heard = nil
		return heard, nil
	case "status":
		return n.srv.Cluster(), nil
	}
	s, err := n.socket(c.NS, c.SID)
	if err != nil {
		return nil, err
	}
	switch c.Op {
	case "put":
		s.Join(strs(c.Names)...)
	case "joinWait":
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		return nil, s.JoinWait(ctx, strs(c.Names)...)
	case "joinReplay":
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		return nil, s.JoinReplayWait(ctx, strs(c.Names), 100)
	case "takeOut":
		s.Leave(strs(c.Names)...)
	case "roomsOf":
		names := s.Rooms()
		slices.Sort(names)
		return names, nil
	default:
		return nil, fmt.Errorf("no command is called %s", c.Op)
	}
	return nil, nil
}

// answers of clients or servers, and why there are not more.
type answers struct {
	Answers []any    `json:"answers"`
	Error   string   `json:"error"`
	Missing []string `json:"missing,omitempty"`
	Unnamed int      `json:"unnamed,omitempty"`
	Cause   string   `json:"cause,omitempty"`
}

func answersOf(all []sio.Args, err error) (a answers) {
	a.Answers = []any{}
	for _, args := range all {
		if list := unpack(args); len(list) > 0 {
			a.Answers = append(a.Answers, list[0])
		} else {
			a.Answers = append(a.Answers, undefined)
		}
	}
	a.why(err)
	return a
}

func (a *answers) why(err error) {
	var incomplete *rooms.IncompleteError
	if errors.As(err, &incomplete) {
		a.Missing, a.Unnamed = incomplete.Missing, incomplete.Unnamed
		if incomplete.Cause != nil {
			a.Cause = incomplete.Cause.Error()
		}
	}
	if err != nil {
		a.Error = err.Error()
	}
}

// A found is a socket as another server sees it.
type found struct {
	ID        string          `json:"id"`
	Rooms     []string        `json:"rooms"`
	Data      json.RawMessage `json:"data"`
	Auth      json.RawMessage `json:"auth"`
	Header    string          `json:"header"`
	Transport string          `json:"transport"`
	Address   string          `json:"address"`
}

func (n *ours) fetch(ctx context.Context, b sio.BroadcastOperator) (any, error) {
	sockets, err := b.FetchSockets(ctx)
	all := []found{}
	for _, s := range sockets {
		h := s.Handshake()
		f := found{ID: s.ID(), Rooms: slices.Clone(s.Rooms()), Header: h.Header().Get("X-Name"), Transport: h.Query().Get("transport")}
		f.Address = h.Address().Addr().String()
		err = errors.Join(err, s.Data(&f.Data), s.Auth(&f.Auth))
		slices.Sort(f.Rooms)
		f.Rooms = slices.Compact(f.Rooms)
		all = append(all, f)
	}
	return all, err
}

// remote does something through a RemoteSocket, the only one there is.
func (n *ours) remote(ctx context.Context, b sio.BroadcastOperator, c command) (any, error) {
	all, err := b.FetchSockets(ctx)
	if err != nil || len(all) != 1 {
		return nil, errors.Join(err, fmt.Errorf("%d sockets were found", len(all)))
	}
	switch s := all[0]; c.What {
	case "emit":
		err = s.Emit(c.Event, c.Args...)
	case "ask":
		args, err := s.EmitAck(ctx, c.Event, c.Args...)
		return answersOf([]sio.Args{args}, nil).Answers, err
	case "join":
		s.Join(strs(c.Names)...)
	case "leave":
		s.Leave(strs(c.Names)...)
	case "disconnect":
		err = s.Disconnect(sio.DisconnectOptions{Conn: c.Close})
	}
	return nil, err
}

// ourServer starts a server of this project in this process.
func ourServer(t testing.TB, o ourOptions) (*peer, *ours) {
	t.Helper()
	n, url, served, err := newOurs(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := n.srv.Shutdown(ctx); err != nil {
			t.Errorf("%s: Shutdown: %v", o.Name, err)
		}
		if err := <-served; err != nil {
			t.Errorf("%s: Serve: %v", o.Name, err)
		}
		if p := n.srv.Engine().Stats().Panics; p > 0 {
			t.Errorf("%s: %d panics", o.Name, p)
		}
	})
	return inProcess(t, o.Name, url, n.perform), n
}
