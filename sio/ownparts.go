package sio

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/sioedge/sioedge/sio/internal/framing"
	"github.com/sioedge/sioedge/sio/internal/freight"
	"github.com/sioedge/sioedge/sio/internal/history"
	"github.com/sioedge/sioedge/sio/internal/passage"
	"github.com/sioedge/sioedge/sio/internal/pattern"
)

// ownParts are what the server has beside its sockets, in the order in which they are
// exported and imported. A successor that has turned something off does without.
func (srv *Server) ownParts() []Part {
	r := &srv.registry
	parts := []Part{
		{Name: "sio.instances", Export: r.export, Import: r.inherit, Taken: r.settle},
		{Name: "sio.relay", Optional: true, Export: srv.exportToken, Import: srv.inheritToken},
		{Name: "sio.history", Optional: true, Export: srv.exportHistory, Import: srv.inheritHistory, Taken: srv.settleHistory},
	}
	switch q := srv.seq.(type) {
	case *logged:
		parts = append(parts, Part{Name: "sio.recovery", Optional: true, Export: q.export, Moved: q.moved, Import: q.inherit})
	case *clustered:
		parts = append(parts, Part{Name: "sio.recovery.cluster", Optional: true, Export: q.export, Import: q.inherit})
	}
	return parts
}

// maxToken bounds what other servers know a server by, in bytes.
const maxToken = 256

var errToken = errors.New("sio: that is no token of a server")

// exportToken returns what the other servers know this one by.
func (srv *Server) exportToken() ([]byte, error) { return []byte(srv.relay.Token()), nil }

// inheritToken has them know this server by the same.
func (srv *Server) inheritToken(data []byte) error {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	if len(data) == 0 || len(data) > maxToken || len(bytes.Trim(data, letters)) > 0 {
		return errToken
	}
	srv.relay.Inherit(string(data))
	return nil
}

// A carriedInstance is an instance that is live.
type carriedInstance struct {
	Label string `cbor:"1,keyasint"` // of its namespace
	Name  string `cbor:"2,keyasint"`
	Acks  uint64 `cbor:"3,keyasint,omitempty"` // the next id of an acknowledgement
}

// label names a namespace for a successor: as it is called, or, with a function, by its
// number.
func (r *registry) label(ns *Namespace) string {
	if ns.match == nil {
		return ns.name
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, f := range r.functions {
		if f == ns {
			return strconv.Itoa(i)
		}
	}
	return ""
}

// labelled is the other way round; nil if there is no such namespace here.
func (r *registry) labelled(label string) *Namespace {
	if in := (*r.literals.Load())[label]; in != nil {
		return in.ns
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if i, err := strconv.Atoi(label); err == nil && i >= 0 && i < len(r.functions) {
		return r.functions[i]
	}
	return r.texts[label]
}

// instancesAtOnce is how many go in one piece.
const instancesAtOnce = 1024

// export returns the instances there are.
func (r *registry) export() ([]byte, error) {
	var all []carriedInstance
	for _, ns := range *r.all.Load() {
		label := r.label(ns)
		for _, in := range r.of(ns) {
			all = append(all, carriedInstance{label, in.name, in.acks.Load()})
		}
	}
	var b bytes.Buffer
	for len(all) > 0 {
		n := min(len(all), instancesAtOnce)
		if err := passage.Write(&b, all[:n]); err != nil {
			return nil, err
		}
		all = all[n:]
	}
	return b.Bytes(), nil
}

// inherit makes the instances that another server has had, which live until settle even
// without sockets: so who was in one is, and nobody is asked whether it may.
func (r *registry) inherit(data []byte) (err error) {
	for len(data) > 0 {
		var some []carriedInstance
		if data, err = passage.Next(data, &some); err != nil {
			return err
		}
		for _, x := range some {
			ns := r.labelled(x.Label)
			if ns == nil || len(x.Name) > maxNamespaceName {
				continue // its sockets will say so
			}
			in := r.reopen(ns, x.Name)
			if in == nil {
				continue
			}
			in.raiseAcks(x.Acks)
		}
	}
	return nil
}

// reopen returns the instance of ns that is called name, and keeps one that is not ns's own
// until settle; nil if ns cannot have it.
func (r *registry) reopen(ns *Namespace, name string) *instance {
	if ns.in != nil {
		if ns.in.name != name {
			return nil
		}
		return ns.in
	}
	if !strings.HasPrefix(name, "/") || !namesInstance(name) {
		return nil
	}
	params, ok := ns.paramsOf(name)
	if !ok {
		return nil
	}
	in, _ := r.open(ns, name, params)
	if in != nil {
		r.mu.Lock()
		r.inherited = append(r.inherited, in)
		r.mu.Unlock()
	}
	return in
}

// paramsOf returns the parameters that an instance of ns with a name has.
func (n *Namespace) paramsOf(name string) (params []pattern.Param, ok bool) {
	if n.pattern == nil {
		return nil, true
	}
	return n.pattern.Match(name)
}

// settle ends inherit: the sockets are there.
func (r *registry) settle() {
	r.mu.Lock()
	all := r.inherited
	r.inherited = nil
	r.mu.Unlock()
	for _, in := range all {
		r.release(in)
	}
}

// rejoin returns the instance of a name that is live for one more socket, which was in it:
// nobody is asked. It is nil if there is none.
func (r *registry) rejoin(name string) *instance {
	if in := (*r.literals.Load())[name]; in != nil {
		return in
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	in := r.live[name]
	if in != nil {
		in.holds++
	}
	return in
}

// raiseAcks has ids of acknowledgements begin at next, at least.
func (in *instance) raiseAcks(next uint64) {
	for now := in.acks.Load(); now < next && !in.acks.CompareAndSwap(now, next); now = in.acks.Load() {
	}
}

// A carriedHistory is what a namespace keeps of rooms.
type carriedHistory struct {
	Label string `cbor:"1,keyasint"`
	Data  []byte `cbor:"2,keyasint"`
}

func (srv *Server) exportHistory() ([]byte, error) {
	var b bytes.Buffer
	for _, ns := range *srv.registry.all.Load() {
		k := ns.history.Load()
		if k == nil {
			continue
		}
		data, err := k.store.Export(historyCarrier{srv})
		if err != nil {
			return nil, err
		}
		if err := passage.Write(&b, carriedHistory{srv.registry.label(ns), data}); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

func (srv *Server) inheritHistory(data []byte) (err error) {
	for len(data) > 0 {
		var x carriedHistory
		if data, err = passage.Next(data, &x); err != nil {
			return err
		}
		ns := srv.registry.labelled(x.Label)
		if ns == nil {
			continue
		}
		if k := ns.history.Load(); k != nil {
			if err := k.store.Import(historyCarrier{srv}, x.Data); err != nil {
				return fmt.Errorf("of %s: %w", ns.name, err)
			}
		}
	}
	return nil
}

func (srv *Server) settleHistory() {
	for _, ns := range *srv.registry.all.Load() {
		if k := ns.history.Load(); k != nil {
			k.store.Settle(func(instance, room string) bool {
				in := srv.registry.named(ns, instance)
				return in != nil && srv.rooms.Count(in.id, room) > 0
			})
		}
	}
}

// packMessage returns what a message is to a successor.
func packMessage(m *message) freight.Message {
	return freight.Message{Frames: m.json.Frames(), Tail: m.tail, Plain: m.json.Plain, Kind: m.json.Kind()}
}

var errNoMessage = errors.New("sio: what another process has kept is no event")

// unpackMessage is the other way round.
func (srv *Server) unpackMessage(instance string, x freight.Message) (*message, error) {
	if !framing.IsWhole(x.Frames, x.Tail) {
		return nil, errNoMessage
	}
	m := newMessage(x.Frames, x.Plain)
	m.tail = x.Tail
	if k := x.Kind; k != nil {
		if k.Owner == nil { // it may be that of others, which have it
			in := srv.registry.instanceOf(instance)
			if in == nil {
				return m, nil
			}
			k.Owner = in.ns
		}
		m.of(k)
	}
	return m, nil
}

type historyCarrier struct{ srv *Server }

func (historyCarrier) Pack(m history.Message) freight.Message { return packMessage(m.(*message)) }

func (c historyCarrier) Unpack(instance string, m freight.Message) (history.Message, error) {
	return c.srv.unpackMessage(instance, m)
}

// What data of a socket is as data: by the program's functions, or JSON that has come
// through a cluster.
const (
	dataEncoded = iota
	dataTravelled
)

// packData encodes what a program has stored with a socket.
func (srv *Server) packData(data any) (p []byte, err error) {
	if text, ok := data.(travelled); ok {
		return append([]byte{dataTravelled}, text...), nil
	}
	encode := srv.o.EncodeData
	if encode == nil {
		encode = json.Marshal
	}
	err = srv.guard(func() (err error) {
		p, err = encode(data)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("sio: data of a socket: %w", err)
	}
	return append([]byte{dataEncoded}, p...), nil
}

var errNoData = errors.New("sio: what another process has sent is no data of a socket")

// unpackData is the other way round.
func (srv *Server) unpackData(p []byte) (data any, err error) {
	switch {
	case len(p) == 0, p[0] > dataTravelled, p[0] == dataTravelled && !json.Valid(p[1:]):
		return nil, errNoData
	case p[0] == dataTravelled:
		return travelled(p[1:]), nil
	}
	err = srv.guard(func() (err error) {
		if srv.o.DecodeData != nil {
			data, err = srv.o.DecodeData(p[1:])
			return err
		}
		return json.Unmarshal(p[1:], &data)
	})
	if err != nil {
		err = fmt.Errorf("sio: data of a socket: %w", err)
	}
	return data, err
}
