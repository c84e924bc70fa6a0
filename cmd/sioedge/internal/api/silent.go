package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/api/wire"
	"github.com/sioedge/sioedge/rooms"
)

const (
	// silentTime is how long a server that has not answered is not waited for.
	silentTime = 10 * time.Second
	// shortTime is how long answers are waited for of others when some will not come.
	shortTime = 500 * time.Millisecond
)

// silent are servers that have not answered, by Node, until they are asked again. One
// that asks something itself is silent no more.
type silent struct {
	mu    sync.Mutex
	until map[string]time.Time
}

// add notes servers. Those of Node, which have no names, are "".
func (s *silent) add(nodes ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.until == nil {
		s.until = map[string]time.Time{}
	}
	now := time.Now()
	for node, t := range s.until {
		if t.Before(now) {
			delete(s.until, node)
		}
	}
	for _, node := range nodes {
		s.until[node] = now.Add(silentTime)
	}
}

// remove notes that one speaks.
func (s *silent) remove(node string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.until, node)
}

// has tells whether a server is not waited for.
func (s *silent) has(node string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.until[node].After(time.Now())
}

// split returns which of the servers are asked, and which are not waited for.
func (p *peers) split(nodes []string) (asked, silent []string) {
	for _, node := range nodes {
		if p.silent.has(node) {
			silent = append(silent, node)
		} else {
			asked = append(asked, node)
		}
	}
	return asked, silent
}

// wait is how long answers are waited for where those that are silent are asked too.
func (p *peers) wait() time.Duration {
	if _, silent := p.split(append(p.others(), "")); len(silent) > 0 {
		return shortTime
	}
	return askTime
}

// askThese asks some servers, each alone and all at one time. Those that are silent are
// named in part, and not waited for.
func askThese[A any](ctx context.Context, p *peers, nodes []string, topic string, question any) (all []A, part *wire.Partial, err error) {
	nodes, skipped := p.split(nodes)
	if len(skipped) > 0 {
		part = &wire.Partial{Missing: skipped}
	}
	p.asked.Add(1)
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	raws, errs := make([]json.RawMessage, len(nodes)), make([]error, len(nodes))
	var asking sync.WaitGroup
	for i, node := range nodes {
		// ends with the answer, or ctx
		asking.Go(func() { raws[i], errs[i] = p.askOne(ctx, node, topic, question) })
	}
	asking.Wait()
	for i := range nodes {
		less, err := p.partOf(errs[i])
		if err != nil {
			return nil, nil, err
		}
		part = both(part, less)
	}
	if part != nil {
		p.incomplete.Add(1)
	}
	return understood[A](p, topic, raws), part, nil
}

// askAgain is how soon a server is asked again that does not listen yet.
const askAgain = 20 * time.Millisecond

// askOne asks a server. One that has just come is known before it listens to what it is
// asked alone: it is asked again, for shortTime.
func (p *peers) askOne(ctx context.Context, node, topic string, question any) (json.RawMessage, error) {
	for end := time.Now().Add(shortTime); ; {
		raw, err := p.link.AskOne(ctx, node, topic, question)
		var e *rooms.IncompleteError
		if !errors.As(err, &e) || e.Cause != nil || time.Now().After(end) || !slices.Contains(p.others(), node) {
			return raw, err
		}
		select {
		case <-time.After(askAgain):
		case <-ctx.Done():
			return raw, err
		}
	}
}

// understood decodes answers. Those of servers that have nothing to say are left out.
func understood[A any](p *peers, topic string, raws []json.RawMessage) (all []A) {
	for _, raw := range raws {
		if raw == nil {
			continue
		}
		var x *A
		if err := json.Unmarshal(raw, &x); err != nil {
			p.a.notice.Warn("another server's answer is not understood", "topic", topic, "error", err)
		} else if x != nil {
			all = append(all, *x)
		}
	}
	return all
}

// partOf says who has not answered, if that is what an error says, by Node where that is
// known, and notes them as silent.
func (p *peers) partOf(err error) (*wire.Partial, error) {
	var e *rooms.IncompleteError
	switch {
	case errors.As(err, &e):
		part := partialOf(e)
		part.Missing = slices.Clone(e.Missing)
		for i, name := range part.Missing {
			part.Missing[i] = p.names.of(name)
		}
		if !errors.Is(err, context.Canceled) {
			p.silent.add(part.Missing...)
			if e.Unnamed > 0 {
				p.silent.add("")
			}
		}
		return part, nil
	case errors.Is(err, context.DeadlineExceeded):
		return &wire.Partial{Reason: err.Error()}, nil
	}
	return nil, err
}

// maxNames bounds the servers whose names are remembered.
const maxNames = 1024

// names are the servers that were there lately: Node by name.
type names struct {
	mu   sync.Mutex
	node map[string]string
}

// learn notes servers.
func (n *names) learn(peers []rooms.Peer) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.node == nil || len(n.node) > maxNames {
		n.node = map[string]string{}
	}
	for _, x := range peers {
		n.node[x.Name] = x.Node
	}
}

// of returns the Node of a server that is called by its name, or what it is called if that
// is none.
func (n *names) of(name string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return cmp.Or(n.node[name], name)
}
