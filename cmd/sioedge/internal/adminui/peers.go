package adminui

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/peerlink"
	"github.com/sioedge/sioedge/sio"
)

// join has the server hear the others.
func (u *UI) join() {
	u.link = peerlink.New(u.srv, u.o.Logger)
	u.link.Handle(topicWatch, u.heardWatch)
	u.link.Handle(topicEvents, u.heardEvents)
}

// announce tells the other servers that there are pages here, and learns what they have.
func (u *UI) announce() {
	u.mu.Lock()
	m := watchMessage{Pages: len(u.pages), Events: u.telling()}
	u.mu.Unlock()
	ctx, done := context.WithTimeout(u.stopped, answerTime)
	defer done()
	answers, _ := u.link.Ask(ctx, topicWatch, m) // what does not answer serves no pages
	for _, raw := range answers {
		var a watchAnswer
		if json.Unmarshal(raw, &a) != nil || a.Node == "" || len(a.Node) > maxName || a.Sockets < 0 {
			continue
		}
		u.mu.Lock()
		if p := u.peer(a.Node); p != nil {
			p.sockets, p.spaces = min(a.Sockets, 1<<40), a.Spaces[:min(len(a.Spaces), maxNamespaces)]
		}
		u.mu.Unlock()
	}
}

// peer returns another server, which has been heard; nil if there are too many. Mu is held.
func (u *UI) peer(node string) *peer {
	p := u.peers[node]
	if p == nil {
		if len(u.peers) >= maxPeers {
			return nil
		}
		p = &peer{}
		u.peers[node] = p
	}
	p.seen = u.now()
	return p
}

// heardWatch is told that another server has pages, or none any more.
func (u *UI) heardWatch(from string, body json.RawMessage) (any, error) {
	var m watchMessage
	if err := json.Unmarshal(body, &m); err != nil {
		return nil, err
	}
	u.mu.Lock()
	p, now := u.peer(from), u.now()
	fresh := false
	if p != nil {
		fresh = m.Pages > 0 && !p.until.After(now)
		p.until, p.events = now, m.Events
		if m.Pages > 0 {
			p.until = now.Add(peerTime)
		}
	}
	u.settle(now)
	u.mu.Unlock()
	if fresh {
		u.hurry()
	}
	all, sockets := u.here()
	a := watchAnswer{Node: u.link.Node(), Sockets: sockets}
	for _, x := range all {
		a.Spaces = append(a.Spaces, x.Name)
	}
	return a, nil
}

// heardEvents is told what has happened on another server.
func (u *UI) heardEvents(from string, body json.RawMessage) (any, error) {
	var b batch
	if err := json.Unmarshal(body, &b); err != nil {
		return nil, err
	}
	u.mu.Lock()
	pages := len(u.pages)
	u.level.lossy = u.level.lossy || b.Lossy && pages > 0
	u.mu.Unlock()
	if pages == 0 {
		return nil, nil
	}
	var broken error
	for _, e := range b.Events[:min(len(b.Events), maxPeerRecords)] {
		args, err := e.args()
		if err != nil {
			broken = err
			continue
		}
		u.emitHere(e.Event, from, args)
	}
	return nil, broken
}

// args returns an event's arguments, which another server says are some.
func (e *peerEvent) args() (a sio.Args, err error) {
	if !slices.Contains(toldEvents, e.Event) {
		return a, errors.New("no event of the Admin UI")
	}
	var attachments [][]byte
	for _, text := range e.Binary {
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return a, err
		}
		attachments = append(attachments, b)
	}
	return sio.ParseArgs(e.Args, attachments)
}

// A batcher sends records to other servers, as many at a time as fit.
type batcher struct {
	u *UI
	batch
	size int
}

func (b *batcher) add(r *record) {
	e := peerEvent{Event: r.event, Args: r.text()}
	size := len(e.Args) + 64
	for _, a := range r.attachments {
		e.Binary = append(e.Binary, base64.StdEncoding.EncodeToString(a))
		size += 2 * len(a)
	}
	if b.size+size > maxBatch || len(b.Events) >= maxPeerRecords {
		b.send()
	}
	b.Events, b.size = append(b.Events, e), b.size+size
}

func (b *batcher) send() {
	if len(b.Events) == 0 && !b.Lossy {
		return
	}
	if err := b.u.link.Emit(topicEvents, b.batch); err != nil {
		b.u.counts.lost.Add(int64(len(b.Events)))
	}
	b.batch, b.size = batch{}, 0
}

// askForeign finds out whether pages are connected to servers of Node.
func (u *UI) askForeign() {
	ctx, done := context.WithTimeout(u.stopped, askTime)
	defer done()
	all, err := u.ns.All().FetchForeign(ctx)
	var ids []string
	for _, r := range all[:min(len(all), maxForeign)] {
		if id := r.ID(); id != "" && len(id) <= maxName {
			ids = append(ids, id)
		}
	}
	u.mu.Lock()
	now := u.now()
	u.node.asking = false
	fresh := len(ids) > 0 && !u.node.until.After(now)
	if len(ids) > 0 || err == nil {
		u.node.ids, u.node.until = ids, now.Add(foreignTime)
	}
	u.settle(now)
	u.mu.Unlock()
	if fresh {
		u.hurry()
	}
}
