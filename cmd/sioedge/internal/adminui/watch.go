package adminui

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/sioedge/sioedge/sio"
)

const (
	development = "development" // admin.mode
	statsEvent  = "server_stats"

	tickEvery   = 2 * time.Second // server_stats; as Node's servers
	flushEvery  = 50 * time.Millisecond
	peerTime    = 4 * tickEvery // for so long a server has pages that has said so
	askEvery    = 10 * time.Second
	askTime     = 2 * time.Second
	foreignTime = 2*askEvery + askTime
	resyncEvery = 10 * time.Second

	// With more sockets than maxSockets in the cluster pages get counts alone, until there
	// are no more than fewSockets.
	maxSockets = 1000
	fewSockets = 800

	maxPeers       = 256              // servers that are told apart
	maxForeign     = 64               // pages that are connected to servers of Node
	maxPeerRecords = 4096             // of one batch
	maxBatch       = 700_000          // bytes of one, of peerlink.MaxBytes
	topicWatch     = "adminui.watch"  // the sender has pages: watchMessage, watchAnswer
	topicEvents    = "adminui.events" // for the pages of the others: batch
	answerTime     = time.Second
)

// toldEvents are those that servers send to each other's pages.
var toldEvents = []string{statsEvent, "socket_connected", "socket_updated", "socket_disconnected", "room_joined", "room_left", "event_received", "event_sent"}

// A level is what is done for those who look.
type level struct {
	stats   bool   // server_stats are told
	stop    func() // ends that sockets are observed; nil: they are not
	crowded bool   // there are too many sockets to tell of each
	hurry   bool   // who looks has changed: it is told at once

	lossy   bool // pages here have missed something, and are to be told who is there
	syncing bool // and are being told
	synced  time.Time

	lost int64 // of Stats.Lost, what was logged
}

func (l *level) observing() bool { return l.stop != nil }

// A peer is another server of the edge.
type peer struct {
	until   time.Time // it has pages
	events  bool      // which want to know of each socket
	seen    time.Time
	sockets int64
	spaces  []string
}

// foreign are pages that are connected to servers of Node.
type foreign struct {
	asking bool
	asked  time.Time
	until  time.Time
	ids    []string
}

// watchMessage says that a server has pages, or has none any more.
type watchMessage struct {
	Pages  int  `json:"pages"`
	Events bool `json:"events"`
}

// watchAnswer says what a server has.
type watchAnswer struct {
	Node    string   `json:"node"`
	Sockets int64    `json:"sockets"`
	Spaces  []string `json:"spaces"`
}

// A batch is what pages are to be told.
type batch struct {
	Lossy  bool        `json:"lossy,omitempty"` // something is missing before
	Events []peerEvent `json:"events"`
}

type peerEvent struct {
	Event  string          `json:"ev"`
	Args   json.RawMessage `json:"args"`
	Binary []string        `json:"bin,omitempty"` // base64
}

// run does what there is to do, until Close.
func (u *UI) run() {
	defer close(u.ended)
	defer u.quit()
	var ticker *time.Ticker
	var tick <-chan time.Time // nil: nobody looks, and nobody else has to be asked
	for {
		switch on := u.link != nil || u.watched(); {
		case on && ticker == nil:
			ticker = time.NewTicker(tickEvery)
			tick = ticker.C
		case !on && ticker != nil:
			ticker.Stop()
			ticker, tick = nil, nil
		}
		select {
		case <-u.stopped.Done():
			return
		case <-tick:
			u.tick()
		case <-u.wake:
			u.flush()
			select { // so that a batch is one
			case <-u.stopped.Done():
				return
			case <-time.After(flushEvery):
			}
		}
	}
}

// quit ends what is done for those who look.
func (u *UI) quit() {
	u.mu.Lock()
	if u.level.stop != nil {
		u.level.stop()
		u.level.stop = nil
	}
	u.mu.Unlock()
	u.tasks.Wait()
}

// do has f called on a goroutine, which Close waits for.
func (u *UI) do(f func()) {
	u.tasks.Add(1)
	// ends with f
	go func() { defer u.tasks.Done(); f() }()
}

func (u *UI) watched() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.level.stats
}

// came is called when a page has been let in.
func (u *UI) came(s sio.Socket) error {
	u.mu.Lock()
	u.pages[s] = struct{}{}
	u.settle(u.now())
	features := u.features()
	u.mu.Unlock()
	if err := s.Emit("config", features); err != nil {
		return nil // it has left
	}
	if u.link != nil {
		u.announce()
	}
	u.recount()
	u.mu.Lock()
	each := u.telling()
	u.mu.Unlock()
	if each {
		if list, ok := u.gather(u.spaces()); ok {
			_ = s.Emit("all_sockets", json.RawMessage(list)) // unless it has left
		}
	}
	u.hurry()
	return nil
}

// left is called when a page has gone.
func (u *UI) left(s sio.Socket) {
	u.mu.Lock()
	delete(u.pages, s)
	none := len(u.pages) == 0
	u.settle(u.now())
	u.mu.Unlock()
	if none && u.link != nil {
		_ = u.link.Emit(topicWatch, watchMessage{}) // a message that is not too long
	}
	u.awake()
}

// hurry has what is told every so often told now.
func (u *UI) hurry() {
	u.mu.Lock()
	u.level.hurry = true
	u.mu.Unlock()
	u.awake()
}

// looking tells who looks: servers with pages, those that want to know of each socket, and
// pages that are connected to servers of Node. Mu is held.
func (u *UI) looking(now time.Time) (peers, events bool, ids []string) {
	for _, p := range u.peers {
		if p.until.After(now) {
			peers, events = true, events || p.events
		}
	}
	if u.node.until.After(now) {
		ids = u.node.ids
	}
	return peers, events, ids
}

// settle has done what is to be done for those who look now. Mu is held.
func (u *UI) settle(now time.Time) {
	peers, events, ids := u.looking(now)
	u.level.stats = len(u.pages) > 0 || peers || len(ids) > 0
	each := u.telling() && (len(u.pages) > 0 || events || len(ids) > 0 && !u.o.Logged)
	switch {
	case u.stopped.Err() != nil:
	case each && u.level.stop == nil:
		u.level.stop = u.srv.Observe(u.tap.see)
	case !each && u.level.stop != nil:
		u.level.stop()
		u.level.stop = nil
	}
}

// telling tells whether pages are told of each socket. Mu is held.
func (u *UI) telling() bool { return u.o.Mode == development && !u.level.crowded }

// A feature is something that a page can have done, or will be told.
type features struct {
	Supported []string `json:"supportedFeatures"`
}

// features returns those that there are. Mu is held.
func (u *UI) features() (f features) {
	if !u.rules.Load().ReadOnly {
		f.Supported = []string{"EMIT", "JOIN", "LEAVE", "DISCONNECT", "MJOIN", "MLEAVE", "MDISCONNECT"}
	}
	f.Supported = append(f.Supported, "AGGREGATED_EVENTS")
	if u.telling() {
		f.Supported = append(f.Supported, "ALL_EVENTS")
	}
	return f
}

// sayFeatures tells the pages here what features there are.
func (u *UI) sayFeatures() {
	u.mu.Lock()
	f := u.features()
	u.mu.Unlock()
	_ = u.ns.All().Local().Emit("config", f) // which can be encoded; too much may wait
}

// spaces returns the names of the namespaces that have sockets here or on other servers of
// the edge, or are literal.
func (u *UI) spaces() (names []string) {
	here, _ := u.here()
	for _, x := range here {
		names = append(names, x.Name)
	}
	u.mu.Lock()
	for _, p := range u.peers {
		names = append(names, p.spaces...)
	}
	u.mu.Unlock()
	slices.Sort(names)
	names = slices.Compact(names)
	return names[:min(len(names), 2*maxNamespaces)]
}

// recount finds out whether there are too many sockets to tell of each, and tells the
// pages here when that has changed.
func (u *UI) recount() {
	_, total := u.here()
	u.mu.Lock()
	for _, p := range u.peers {
		total += p.sockets
	}
	was := u.level.crowded
	if total > maxSockets {
		u.level.crowded = true
	} else if total <= fewSockets && u.now().Sub(u.level.synced) >= resyncEvery {
		u.level.crowded = false
	}
	changed := was != u.level.crowded
	if changed && was {
		u.level.lossy = true
	}
	u.settle(u.now())
	u.mu.Unlock()
	if changed && u.o.Mode == development {
		u.sayCrowded(!was)
	}
}

func (u *UI) sayCrowded(now bool) {
	if now {
		u.note.Info("there are too many sockets for the Admin UI to show each: it has counts alone", "most", maxSockets)
	}
	u.sayFeatures()
}

// tick is called every so often while somebody looks, or may look.
func (u *UI) tick() {
	u.recount()
	now := u.now()
	u.mu.Lock()
	for node, p := range u.peers {
		if now.Sub(p.seen) > peerTime {
			delete(u.peers, node)
		}
	}
	u.settle(now)
	watched, pages := u.level.stats, len(u.pages)
	ask := u.link != nil && !u.node.asking && now.Sub(u.node.asked) >= askEvery
	if ask {
		u.node.asking, u.node.asked = true, now
	}
	sync := u.level.lossy && pages > 0 && u.telling() && !u.level.syncing && now.Sub(u.level.synced) >= resyncEvery
	if sync {
		u.level.lossy, u.level.syncing, u.level.synced = false, true, now
	}
	lost := u.counts.lost.Load() - u.level.lost
	u.level.lost += lost
	u.mu.Unlock()
	if lost > 0 {
		u.note.Warn("pages of the Admin UI are not told of all events, since there are too many", "events", lost)
	}
	if watched {
		u.publish([]record{u.serverStats(now)}, false)
	}
	if pages > 0 && u.link != nil {
		u.do(u.announce)
	}
	if ask {
		u.do(u.askForeign)
	}
	if sync {
		u.do(u.resync)
	}
}

// resync tells the pages here who is there.
func (u *UI) resync() {
	if list, ok := u.gather(u.spaces()); ok {
		_ = u.ns.All().Local().Emit("all_sockets", json.RawMessage(list)) // too much may wait
	}
	u.mu.Lock()
	u.level.syncing = false
	u.mu.Unlock()
}

// flush tells what has happened.
func (u *UI) flush() {
	u.mu.Lock()
	hurry := u.level.hurry
	u.level.hurry = false
	u.mu.Unlock()
	all, lossy := u.tap.take()
	if lossy {
		u.mu.Lock()
		u.level.lossy = true
		u.mu.Unlock()
	}
	if len(all) > 0 || lossy {
		u.publish(all, lossy)
	}
	if hurry {
		u.tick()
	}
}

// publish tells all pages that there are, wherever they are connected.
func (u *UI) publish(all []record, lossy bool) {
	u.mu.Lock()
	peers, events, ids := u.looking(u.now())
	pages := len(u.pages)
	u.mu.Unlock()
	b := &batcher{u: u, batch: batch{Lossy: lossy && events}}
	for i := range all {
		r := &all[i]
		args, err := sio.ParseArgs(slices.Clone(r.text()), r.attachments)
		if err != nil {
			u.counts.lost.Add(1)
			continue
		}
		if pages > 0 {
			u.emitHere(r.event, u.me.id, args)
		}
		if peers && (events || r.event == statsEvent) {
			b.add(r)
		}
		if len(ids) > 0 && (!u.o.Logged || r.event == statsEvent) {
			_ = u.ns.To(ids...).Emit(r.event, args) // too much may wait
		}
	}
	b.send()
}

// emitHere sends an event of a server to the pages that are connected here.
func (u *UI) emitHere(event, server string, args sio.Args) {
	class := sio.Class{Policy: sio.DropNew}
	if event == statsEvent {
		class = sio.Class{Policy: sio.Conflate, Key: server}
	}
	_ = u.ns.All().Local().Class(class).Emit(event, args) // too much may wait
}
