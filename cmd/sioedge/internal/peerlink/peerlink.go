// Package peerlink is what servers of the edge say to each other: events between
// servers, in a namespace that no client can join. What others say is checked, and
// bounded, before a handler gets it. Servers of Node in the same cluster do not have
// the namespace, and hear nothing.
package peerlink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"

	"github.com/sioedge/sioedge/loop/notice"
	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/sio"
)

const (
	// Namespace is where servers speak, and below it each has one in which it is asked
	// alone. A client that asks for them is told what it is told of one that there is
	// not.
	Namespace = "/sioedge.servers"
	// Version is that of what is said. Servers of another one are not understood, and
	// counted: they are there for a while when servers are replaced one by one.
	Version = 1
	// MaxBytes is how much is said at one time.
	MaxBytes = 1 << 20

	maxNode = 64 // bytes of a server's name
)

// ErrTooLong is returned for what is over MaxBytes.
var ErrTooLong = errors.New("peerlink: more than servers say at one time")

// A Link is a server's end. Any goroutine may use it.
type Link struct {
	// Immutable.
	ns     *sio.Namespace
	own    *sio.Namespace // in which this server is asked alone
	others *sio.Namespace // a pattern: those of the others
	node   string
	notice *notice.Log

	malformed, foreign atomic.Int64
}

// New returns a Link of a server. What is refused is logged, now and then; nil log
// discards.
func New(srv *sio.Server, log *slog.Logger) *Link {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	l := &Link{ns: srv.Of(Namespace), node: srv.Node(), notice: notice.New(log, 0)}
	l.own, l.others = srv.Of(alone(l.node)), srv.Of(alone(":node"))
	for _, ns := range []*sio.Namespace{l.ns, l.own, l.others} {
		ns.ServersOnly()
	}
	return l
}

// alone is the name of the namespace in which a server is asked alone.
func alone(node string) string { return Namespace + "/" + node }

// Owns tells whether a namespace, or a pattern of some, is one of those where servers
// speak.
func Owns(namespace string) bool {
	return namespace == Namespace || strings.HasPrefix(namespace, Namespace+"/")
}

// Node is the name by which others know this server.
func (l *Link) Node() string { return l.node }

// Stats counts what was not understood.
type Stats struct {
	Malformed int64 // what others said that is no message, or too long
	Foreign   int64 // what is of another Version
}

// Stats returns the counts. Any goroutine may ask.
func (l *Link) Stats() Stats { return Stats{l.malformed.Load(), l.foreign.Load()} }

// Emit says something to all other servers that listen to topic. It does not wait, and
// may be lost. The error is ErrTooLong or json.Marshal's.
func (l *Link) Emit(topic string, body any) error {
	raw, err := l.encode(body)
	if err != nil {
		return err
	}
	return l.ns.ServerSideEmit(topic, Version, l.node, raw)
}

// Ask is Emit and waits, for an answer of each of the other servers or for ctx. If some
// did not answer the error is a *rooms.IncompleteError, and comes with the answers of
// the others. Those that do not listen to topic answer nothing, so ctx should have a
// deadline.
func (l *Link) Ask(ctx context.Context, topic string, body any) ([]json.RawMessage, error) {
	raw, err := l.encode(body)
	if err != nil {
		return nil, err
	}
	return l.ask(ctx, l.ns.All(), topic, raw)
}

// AskOne asks one server, whose handler is one of HandleAsked, and waits for its answer,
// or for ctx: how the others are does not matter. If there is no answer the error is a
// *rooms.IncompleteError that names the server.
func (l *Link) AskOne(ctx context.Context, node, topic string, body any) (json.RawMessage, error) {
	raw, err := l.encode(body)
	if err != nil {
		return nil, err
	}
	answers, err := l.ask(ctx, l.others.Instance(alone(node)), topic, raw)
	if len(answers) > 0 {
		return answers[0], nil
	}
	if missing := (&rooms.IncompleteError{}); err == nil || errors.As(err, &missing) {
		err = &rooms.IncompleteError{Missing: []string{node}, Cause: missing.Cause}
	}
	return nil, err
}

func (l *Link) ask(ctx context.Context, to sio.BroadcastOperator, topic string, raw json.RawMessage) ([]json.RawMessage, error) {
	answers, err := to.ServerSideAsk(ctx, topic, Version, l.node, raw)
	var all []json.RawMessage
	for _, a := range answers {
		if a.Len() == 1 && len(a.Raw(0)) <= MaxBytes {
			all = append(all, a.Raw(0))
		}
	}
	return all, err
}

func (l *Link) encode(body any) (json.RawMessage, error) {
	raw, err := json.Marshal(body)
	if err == nil && len(raw) > MaxBytes {
		err = ErrTooLong
	}
	return raw, err
}

// Handle sets the handler of a topic. It is called with what other servers say, one at
// a time for all topics of the server, and in the order of each; it may block, and hold
// the others up. From is the name of the server that says it, which is taken at its
// word. Body is JSON of MaxBytes at most, and the handler's. What the handler returns is
// what Ask of the other server answers, nil included; its error is for the log: the body
// was malformed.
func (l *Link) Handle(topic string, h func(from string, body json.RawMessage) (answer any, err error)) {
	l.ns.HandleServerSide(topic, l.handler(topic, h))
}

// HandleAsked is Handle, and the handler gets what this server is asked alone, too. That
// does not wait for the rest: the handler may be called twice at a time.
func (l *Link) HandleAsked(topic string, h func(from string, body json.RawMessage) (answer any, err error)) {
	l.Handle(topic, h)
	l.own.HandleServerSide(topic, l.handler(topic, h))
}

func (l *Link) handler(topic string, h func(from string, body json.RawMessage) (answer any, err error)) func(m *sio.Msg) error {
	return func(m *sio.Msg) error {
		from, body, ok := l.read(m)
		if !ok {
			return nil
		}
		answer, err := h(from, body)
		if err != nil {
			l.refuse(topic, from, err)
			return nil
		}
		if m.WantsAck() {
			return m.Ack(answer)
		}
		return nil
	}
}

// read returns what a message has, if it is one of this Version.
func (l *Link) read(m *sio.Msg) (from string, body json.RawMessage, ok bool) {
	var version int
	if err := m.Decode(&version); err != nil || m.Len() < 1 {
		l.refuse(m.Event(), "", errors.New("no version"))
		return "", nil, false
	}
	if version != Version {
		l.foreign.Add(1)
		l.notice.Info("a server of another version is not understood", "topic", m.Event(), "version", version)
		return "", nil, false
	}
	if m.Len() != 3 || len(m.Raw(1)) > maxNode || json.Unmarshal(m.Raw(1), &from) != nil || !isName(from) {
		l.refuse(m.Event(), "", errors.New("no name of a server"))
		return "", nil, false
	}
	if from == l.node {
		return "", nil, false
	}
	if body = json.RawMessage(m.Raw(2)); len(body) > MaxBytes {
		l.refuse(m.Event(), from, fmt.Errorf("%w: %d bytes", ErrTooLong, len(body)))
		return "", nil, false
	}
	return from, body, true
}

// isName tells whether a server can be called that.
func isName(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}

func (l *Link) refuse(topic, from string, err error) {
	l.malformed.Add(1)
	l.notice.Warn("what another server said is not understood", "topic", topic, "server", from, "error", err)
}
