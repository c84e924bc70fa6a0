package redis

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"time"

	"github.com/sioedge/sioedge/rooms"
)

// An offer is what an heir needs to hear all that the process hears which goes. It is the
// length of its head, 4 bytes, big endian; the head, JSON, whose fields may become more;
// and the names of topics, deflated, each behind its kind, a byte, and its length, a varint.
type offer struct {
	// How is how the server joins its cluster, in words: the heir does so likewise.
	How string `json:"how"`
	// UID, Node and Began, in ns since 1970, are the server's in the eyes of the others.
	UID   string `json:"uid"`
	Node  string `json:"node"`
	Began int64  `json:"began"`
	// Age is how often the server's place has gone to another process.
	Age int `json:"age,omitempty"`
	// Secret is what markers begin with, and Marks are where they come.
	Secret string   `json:"secret"`
	Marks  []string `json:"marks"`
	// At is the node of a Redis Cluster that has what is not sharded.
	At string `json:"at,omitempty"`
	// Namespaces are those that are open.
	Namespaces []string `json:"nsps,omitempty"`
	// Peers are the others, those that have fallen silent among them.
	Peers []offeredPeer `json:"peers,omitempty"`

	topics []topic // all but those of heartbeats, markers and answers
}

// An offeredPeer is a server that is known by name.
type offeredPeer struct {
	heartbeat
	Silent     time.Duration `json:"silent"` // since it was last heard of
	Gone       bool          `json:"gone,omitempty"`
	Unanswered int64         `json:"unanswered,omitempty"`
}

// A place is where Mark has split what comes.
type place struct {
	Secret string `json:"secret"`
	N      uint64 `json:"n"`
	// Streams are the entries up to which streams have been read, by their names.
	Streams map[string]string `json:"streams,omitempty"`
}

const (
	// maxOffered bounds the topics of an offer, and what they are undeflated, in bytes.
	maxOffered      = 4 << 20
	maxOfferedBytes = 512 << 20
)

var errOffer = errors.New("redis: what the other process says of its place in the cluster cannot be read")

// encode returns an offer's bytes.
func (o *offer) encode() ([]byte, error) {
	head, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.Write(binary.BigEndian.AppendUint32(nil, uint32(len(head))))
	b.Write(head)
	w, err := flate.NewWriter(&b, flate.BestSpeed)
	if err != nil {
		return nil, err
	}
	var line []byte
	for _, t := range o.topics {
		line = binary.AppendUvarint(append(line[:0], byte(t.kind)), uint64(len(t.name)))
		if _, err = w.Write(append(line, t.name...)); err != nil {
			return nil, err
		}
	}
	err = w.Close()
	return b.Bytes(), err
}

// parseOffer parses what encode has made.
func parseOffer(p []byte) (o *offer, err error) {
	if len(p) < 4 {
		return nil, errOffer
	}
	n := binary.BigEndian.Uint32(p)
	if p = p[4:]; uint64(n) > uint64(len(p)) {
		return nil, errOffer
	}
	o = &offer{}
	if json.Unmarshal(p[:n], o) != nil || o.UID == "" || o.Secret == "" {
		return nil, errOffer
	}
	names, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(p[n:])), maxOfferedBytes+1))
	if err != nil || len(names) > maxOfferedBytes {
		return nil, errOffer
	}
	for len(names) > 0 {
		k := kind(names[0])
		size, width := binary.Uvarint(names[1:])
		if k > sharded || width <= 0 || size > uint64(len(names)-1-width) || len(o.topics) == maxOffered {
			return nil, errOffer
		}
		name := names[1+width:][:size]
		o.topics = append(o.topics, topic{k, string(name)})
		names = names[1+width+int(size):]
	}
	return o, nil
}

func parsePlace(p []byte) (x place, err error) {
	if json.Unmarshal(p, &x) != nil || x.Secret == "" || x.N == 0 {
		return place{}, errOffer
	}
	return x, nil
}

// offered returns the other servers as data.
func (p *peers) offered(now time.Time) (all []offeredPeer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	add := func(uid string, x rooms.Peer, began int64, namespaces []string, gone bool) {
		all = append(all, offeredPeer{
			heartbeat{UID: uid, Node: x.Node, Name: x.Name, Addr: x.Addr, Token: x.Token, Load: x.Load, Namespaces: namespaces, Began: began},
			now.Sub(x.Seen), gone, x.Unanswered,
		})
	}
	for uid, x := range p.known {
		add(uid, x.Peer, x.began, x.namespaces, false)
	}
	for _, x := range p.silent {
		add("", x, 0, nil, true)
	}
	return all
}

// inherit takes down other servers as another process of this one knew them.
func (p *peers) inherit(all []offeredPeer, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known = map[string]*peer{}
	for _, b := range all {
		x := rooms.Peer{
			Node: b.Node, Name: b.Name, Addr: b.Addr, Token: b.Token, Load: b.Load, Unanswered: b.Unanswered, Seen: now.Add(-max(b.Silent, 0)),
		}
		switch {
		case b.Gone:
			p.silence(x)
		case b.UID != "" && len(p.known) < maxPeers:
			p.known[b.UID] = &peer{x, b.Namespaces, b.Began}
		}
	}
}
