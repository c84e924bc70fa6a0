package sio

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop/handle"
	"github.com/sioedge/sioedge/loop/passing"
	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/sio/internal/packetlog"
	"github.com/sioedge/sioedge/sio/internal/passage"
	"github.com/sioedge/sioedge/sio/parser"
)

// An adoption is of a loop that gets what another server's had. Nothing of what comes is
// trusted to have a shape.
type adoption struct {
	sh                       *shard
	conns, sessions, sockets int

	begun  bool     // the table has come
	head   []byte   // of a body: passage.More
	shared [][]byte // passage.Shared

	// Room for states: what keeps anything of one keeps no pointer to it.
	connState    eio.ConnState
	sessionState eio.SessionState
}

func newAdoption(sh *shard) *adoption { return &adoption{sh: sh} }

// An heirloom is what is done for a loop's clients once they are served: see inherit.
type heirloom struct {
	joins  []join
	gone   []lost
	waits  []waiting
	follow []Socket // whose rooms nobody was told of
}

// A join is a CONNECT packet that is handled anew.
type join struct {
	es eio.Session
	joinRecord
}

// A lost is a socket of a namespace that there is no more.
type lost struct {
	es   eio.Session
	name string
}

// A waiting is a JoinReplay that has begun elsewhere.
type waiting struct {
	s Socket
	waitRecord
}

var errHandover = errors.New("sio: handover: what has come contradicts itself")

// adopt puts a record in its place: see export. It is called before the loops run.
func (a *adoption) adopt(r passing.Record) error {
	switch {
	case r.Kind != passage.Table && !a.begun, r.Kind == passage.Table && a.begun,
		len(r.Files) != 0 && (r.Kind != passage.Conn || len(r.Files) > 1):
		closeFiles(r.Files)
		return errHandover
	case r.Kind == passage.Shared:
		a.shared = append(a.shared, r.Body)
		return nil
	case r.Kind == passage.More:
		if len(a.head)+len(r.Body) > bodyLen {
			return errHandover
		}
		a.head = append(a.head, r.Body...)
		return nil
	}
	body := r.Body
	if len(a.head) > 0 {
		body, a.head = append(a.head, body...), nil
	}
	switch r.Kind {
	case passage.Table:
		return a.table(body)
	case passage.Conn:
		err := a.conn(body, r.Files)
		if err != nil {
			closeFiles(r.Files)
		}
		return err
	}
	return a.session(body)
}

func (a *adoption) table(body []byte) error {
	var t tableRecord
	if err := passage.Unmarshal(body, &t); err != nil {
		return err
	}
	a.begun = true
	if err := a.sh.srv.eio.ImportTable(a.sh.loop, t.Sessions); err != nil {
		return err
	}
	if err := a.sh.sockets.Import(t.Sockets, handle.MaxSlot); err != nil {
		return fmt.Errorf("%w: %w", errHandover, err)
	}
	return nil
}

// bytes returns the bytes of pieces.
func (a *adoption) bytes(dst [][]byte, all []pieceRecord) ([][]byte, error) {
	for _, p := range all {
		switch {
		case p.Count == 0:
			dst = append(dst, p.Data)
		case p.First == 0 || uint64(p.First)+uint64(p.Count)-1 > uint64(len(a.shared)):
			return nil, errHandover
		default:
			dst = append(dst, a.shared[p.First-1:p.First-1+p.Count]...)
		}
	}
	return dst, nil
}

func (a *adoption) conn(body []byte, files []int) error {
	a.connState = eio.ConnState{}
	r := connRecord{State: &a.connState}
	if err := passage.Unmarshal(body, &r); err != nil {
		return err
	}
	st := r.State
	if len(files) != 1 || st == nil || len(st.Output) > 0 {
		return errHandover
	}
	st.FD = files[0]
	var err error
	if st.Output, err = a.bytes(nil, r.Output); err != nil {
		return err
	}
	if err := a.sh.srv.eio.ImportConn(a.sh.loop, st); err != nil {
		return err
	}
	a.conns++
	return nil
}

func (a *adoption) session(body []byte) error {
	sh := a.sh
	a.sessionState = eio.SessionState{}
	r := sessionRecord{Session: &a.sessionState}
	if err := passage.Unmarshal(body, &r); err != nil {
		return err
	}
	st := r.Session
	if st == nil || len(r.Queue) != len(st.Queue) || len(r.Sockets)+len(r.Joins) > 1<<16 {
		return errHandover
	}
	for i := range r.Queue {
		all, err := a.bytes(nil, r.Queue[i:i+1])
		if err != nil {
			return err
		}
		if st.Queue[i].Frames = all[0]; len(all) > 1 {
			st.Queue[i].Frames = slices.Concat(all...)
		}
	}
	st.User = 0
	if r.Packed {
		st.User |= packedSession
	}
	if r.Joined {
		st.User |= everJoined
	}
	es, err := sh.srv.eio.Import(sh.loop, st)
	if err != nil {
		return err
	}
	a.sessions++
	if err := a.belongings(es, &r); err != nil {
		return err
	}
	for i := range r.Sockets {
		if err := a.socket(es, &r, &r.Sockets[i]); err != nil {
			return err
		}
	}
	for _, j := range r.Joins {
		sh.heirlooms.joins = append(sh.heirlooms.joins, join{es, j})
	}
	return nil
}

// belongings is what there is of a session beside its sockets.
func (a *adoption) belongings(es eio.Session, r *sessionRecord) error {
	sh := a.sh
	if es.User()&everJoined == 0 {
		sh.arrivals.queue = append(sh.arrivals.queue, arrival{es.Ref(), sh.loop.Now() + min(max(r.Arrives, 0), sh.srv.o.ConnectTimeout).Milliseconds()})
	}
	if r.Request > 0 && sh.srv.keepsHandshake() {
		q := r.request(r.Request)
		if q == nil || !sh.keepRequest(es, q) {
			return errHandover
		}
	}
	values, err := sh.srv.carried.unpack(r.Values)
	if err != nil {
		return err
	}
	if values != nil {
		sh.srv.conns.Put(es.Ref(), values)
	}
	if r.Replayed > 0 {
		sh.replayed[es.Ref()] = r.Replayed
	}
	sh.justEnded.Restore(sh.loop, es, r.Ended)
	if r.Packet != nil {
		return a.packet(es, r.Packet)
	}
	return nil
}

// packet goes on with one whose attachments have not come.
func (a *adoption) packet(es eio.Session, p *packetRecord) error {
	sh := a.sh
	own := &assembly{account: es.Budget(), charged: len(p.Text) + assemblyOverhead, size: len(p.Text)}
	for _, b := range p.Attachments {
		own.charged += len(b) + attachmentOverhead
		own.size += len(b)
	}
	if !own.account.Charge(own.charged) {
		return fmt.Errorf("%w: a packet is larger than it may be here", errHandover)
	}
	if err := own.Restore(p.Text, p.Attachments, sh.srv.o.Limits); err != nil {
		return err
	}
	sh.assemblies[es.Ref()] = own
	sh.awaitAttachment(es, own)
	return nil
}

// request returns one of the session's requests, from 1; nil if there is none.
func (r *sessionRecord) request(i int) *request {
	if i < 1 || i > len(r.Requests) {
		return nil
	}
	return r.Requests[i-1].request()
}

// socket puts a socket into its session.
func (a *adoption) socket(es eio.Session, r *sessionRecord, rec *socketRecord) error {
	sh := a.sh
	a.sockets++
	x, err := a.state(r, rec)
	if err != nil {
		return err
	}
	switch slot, err := sh.restoreSocket(es, x, nil); {
	case errors.Is(err, errNoNamespace):
		sh.heirlooms.gone = append(sh.heirlooms.gone, lost{es, rec.Name})
		return nil
	case err != nil:
		return err
	case slot != rec.Slot || sh.sockets.Gen(slot) != rec.Gen:
		return errHandover
	}
	s := sh.socket(rec.Slot)
	if rec.Is&wasMarked != 0 {
		sh.sockets.Mark(rec.Slot, rec.Gen)
	}
	if rec.Resumed != 0 {
		sh.resumed[rec.Slot] = milestone{sh.loop.Now() - min(max(rec.ResumedS, 0), 1<<40), rec.Resumed}
	}
	for _, w := range rec.Waits {
		sh.heirlooms.waits = append(sh.heirlooms.waits, waiting{s, w})
	}
	t := s.in.ns.table.Load()
	for i := range rec.Tasks {
		if err := a.task(es, s, t, &rec.Tasks[i]); err != nil {
			return err
		}
	}
	return nil
}

// task has an event wait for its handler, if it has one here.
func (a *adoption) task(es eio.Session, s Socket, t *table, rec *taskRecord) error {
	e := t.lookup([]byte(rec.Event))
	if e == nil || a.sh.sockets.Marked(s.ref.Slot(), s.ref.Gen()) {
		return nil
	}
	for _, arg := range rec.Args {
		if !json.Valid(arg) {
			return errHandover
		}
	}
	m := &Msg{Args: Args{rec.Args, rec.Attachments}, s: s, event: rec.Event, id: rec.ID, wants: rec.Wants}
	m.acked.Store(rec.Answered)
	account, size := es.Budget(), sizeOfEvent(len(m.event), m.raw, m.buffers)
	if !account.Work(size) {
		return fmt.Errorf("%w: more events of a client wait than may here", errHandover)
	}
	a.sh.inbox(s.ref.Slot()).put(task{msg: m, handler: e.run, account: account, size: size, hold: e.inline})
	return nil
}

// state is what a record says of a socket.
func (a *adoption) state(r *sessionRecord, rec *socketRecord) (x *socketState, err error) {
	srv := a.sh.srv
	ref := handle.MakeRef(a.sh.loop.Index(), rec.Slot, rec.Gen)
	x = &socketState{Socket: packetlog.Socket{
		Name: rec.Name, ID: rec.Own, PID: rec.PID, Identity: rec.Identity, Rooms: rec.Rooms, From: rec.From, Expires: rec.Expires,
	}}
	x.Ref = rooms.Ref(ref)
	if x.handed = rec; x.ID == "" {
		x.ID = string(srv.ids.Append(nil, uint64(ref)))
	}
	if len(rec.Name) > maxNamespaceName || len(x.ID) > maxRoomName || rec.Own != "" && srv.given.Has(rec.Own) {
		return nil, errHandover
	}
	x.recovered, x.timed = rec.Is&wasRecovered != 0, rec.Is&wasTimed != 0
	x.handshake.auth = rec.Auth
	if rec.Request != 0 {
		if x.handshake.r = r.request(rec.Request); x.handshake.r == nil {
			return nil, errHandover
		}
	}
	if x.handshake.auth != "" && !json.Valid([]byte(x.handshake.auth)) {
		return nil, errHandover
	}
	if rec.Data != nil {
		if x.data, err = srv.unpackData(rec.Data); err != nil {
			return nil, err
		}
	}
	x.values, err = srv.carried.unpack(rec.Values)
	return x, err
}

// settle is behind the last record.
func (a *adoption) settle() error {
	if len(a.head) > 0 {
		return errHandover
	}
	q := &a.sh.arrivals
	slices.SortFunc(q.queue, func(x, y arrival) int { return cmp.Compare(x.at, y.at) })
	if len(q.queue) > 0 {
		wait := time.Duration(max(q.queue[0].at-a.sh.loop.Now(), 0)) * time.Millisecond
		a.sh.loop.Schedule(&q.timer, wait, func() { q.expire(a.sh) })
	}
	return nil
}

// inherit begins what the loop's clients have waited for: they are the server's now.
func (sh *shard) inherit() {
	h := sh.heirlooms
	sh.heirlooms = heirloom{}
	if n := len(h.gone); n > 0 {
		sh.srv.notice.Warn("sockets of another process leave: their namespaces are not there any more", "namespace", h.gone[0].name, "sockets", n)
	}
	for _, x := range h.gone {
		sh.transmit(x.es, eio.AppendText(nil, parser.AppendDisconnect(nil, x.name)), false, nil)
		sh.justEnded.End(sh.loop, x.es, x.name)
		if x.es.User()&^userFlags == 0 {
			x.es.SetJoined(false)
		}
	}
	for _, x := range h.joins {
		sh.connect(x.es, &parser.Packet{Type: parser.Connect, Namespace: []byte(x.Name), Data: []byte(x.Auth)}, []byte(x.Query))
	}
	for _, s := range h.follow {
		if slot := sh.lookup(s.ref); slot != 0 {
			sh.follow(slot)
		}
	}
	for _, w := range h.waits {
		w.s.joinReplay(w.Rooms, w.N, nil)
	}
}
