package sio

import (
	"crypto/x509"
	"net/netip"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/sio/internal/crossing"
)

// What a server gives of a loop to its successor, see shard.export: a tableRecord, then
// connections, then sessions. Fields that a reader does not know are skipped, so those
// there are do not change their meaning.

// A tableRecord has how often places have been used, of passage.Table.
type tableRecord struct {
	Sessions []byte `cbor:"1,keyasint"` // see eio.Server.ExportTable
	Sockets  []byte `cbor:"2,keyasint"` // of handle.Table.Export
}

// A connRecord is a connection, of passage.Conn. What is queued of it is in Output alone.
type connRecord struct {
	State  *eio.ConnState `cbor:"1,keyasint"`
	Output []pieceRecord  `cbor:"2,keyasint,omitempty"`
}

// A pieceRecord is bytes that are queued: Data, or so many of passage.Shared from First on.
type pieceRecord struct {
	Data  []byte `cbor:"1,keyasint,omitempty"`
	First uint32 `cbor:"2,keyasint,omitempty"`
	Count uint32 `cbor:"3,keyasint,omitempty"`
}

// A sessionRecord is a session with its sockets, of passage.Session.
type sessionRecord struct {
	Session *eio.SessionState `cbor:"1,keyasint"`
	Queue   []pieceRecord     `cbor:"2,keyasint,omitempty"` // Frames of Session.Queue
	Sockets []socketRecord    `cbor:"3,keyasint,omitempty"` // in the order of joining
	// Joins are what a client has asked for that is not done, or half: it is begun anew.
	Joins    []joinRecord     `cbor:"4,keyasint,omitempty"`
	Requests []requestRecord  `cbor:"5,keyasint,omitempty"` // of Request and Sockets
	Request  int              `cbor:"6,keyasint,omitempty"` // which the first was, from 1
	Values   []carriedValue   `cbor:"7,keyasint,omitempty"` // of ConnKeys
	Arrives  time.Duration    `cbor:"8,keyasint,omitempty"` // of ConnectTimeout, while it has joined nothing
	Replayed int64            `cbor:"9,keyasint,omitempty"`
	Ended    []crossing.State `cbor:"10,keyasint,omitempty"`
	Packet   *packetRecord    `cbor:"11,keyasint,omitempty"` // whose attachments have not come
	Packed   bool             `cbor:"12,keyasint,omitempty"` // it speaks MessagePack
	Joined   bool             `cbor:"13,keyasint,omitempty"` // it has joined a namespace, now or before
}

// A packetRecord is a packet of which attachments are to come.
type packetRecord struct {
	Text        []byte        `cbor:"1,keyasint"`
	Attachments [][]byte      `cbor:"2,keyasint,omitempty"`
	Left        time.Duration `cbor:"3,keyasint,omitempty"` // for the next one
}

// A joinRecord is a CONNECT packet.
type joinRecord struct {
	Name  string `cbor:"1,keyasint"`
	Auth  string `cbor:"2,keyasint,omitempty"`
	Query string `cbor:"3,keyasint,omitempty"`
}

// A requestRecord is a request.
type requestRecord struct {
	Text    string         `cbor:"1,keyasint,omitempty"`
	Query   string         `cbor:"2,keyasint,omitempty"`
	Address netip.AddrPort `cbor:"3,keyasint,omitzero"`
	Peer    netip.AddrPort `cbor:"4,keyasint,omitzero"`
	HasPeer bool           `cbor:"5,keyasint,omitempty"`
	Issued  int64          `cbor:"6,keyasint,omitempty"`
	Secure  bool           `cbor:"7,keyasint,omitempty"`
	Cert    []byte         `cbor:"8,keyasint,omitempty"` // DER
}

func (r *request) record() requestRecord {
	f := r.particulars()
	x := requestRecord{Text: f.text, Query: f.query, Address: f.address, Peer: f.peer, HasPeer: f.peer.IsValid(), Issued: f.issued, Secure: f.secure}
	if f.cert != nil {
		x.Cert = f.cert.Raw
	}
	return x
}

func (x *requestRecord) request() *request {
	f := particulars{text: x.Text, query: x.Query, address: x.Address, issued: x.Issued, secure: x.Secure}
	if x.HasPeer {
		f.peer = x.Peer
	}
	if x.Cert != nil {
		f.cert, _ = x509.ParseCertificate(x.Cert) // it was verified where it came
	}
	return f.pack()
}

// A socketRecord is a socket that is connected.
type socketRecord struct {
	Name string `cbor:"1,keyasint"`
	Slot uint32 `cbor:"4,keyasint"`
	Gen  uint32 `cbor:"5,keyasint"`

	Own      string         `cbor:"6,keyasint,omitempty"` // its id, unless that is of its place
	PID      string         `cbor:"7,keyasint,omitempty"` // likewise
	Rooms    []string       `cbor:"8,keyasint,omitempty"`
	Data     []byte         `cbor:"9,keyasint,omitempty"`
	Values   []carriedValue `cbor:"10,keyasint,omitempty"`
	Identity string         `cbor:"11,keyasint,omitempty"`
	Expires  int64          `cbor:"12,keyasint,omitempty"`

	Request  int    `cbor:"13,keyasint,omitempty"` // that it came with, while that is kept: of sessionRecord.Requests, from 1
	Auth     string `cbor:"14,keyasint,omitempty"`
	Is       uint32 `cbor:"15,keyasint,omitempty"` // see below
	From     uint64 `cbor:"17,keyasint,omitempty"`
	Resumed  uint64 `cbor:"18,keyasint,omitempty"` // up to which place events were replayed
	ResumedS int64  `cbor:"19,keyasint,omitempty"` // and how long ago, in ms; with Resumed

	Tasks []taskRecord `cbor:"20,keyasint,omitempty"` // events that wait for handlers
	Waits []waitRecord `cbor:"21,keyasint,omitempty"` // JoinReplay
}

// Bits of socketRecord.Is.
const (
	wasHeard = 1 << iota
	wasCrowded
	wasFollowed
	wasRecovered
	wasTimed  // its deadline has a function, or had one
	wasMarked // no event of it is handled any more
)

// A taskRecord is an event that waits.
type taskRecord struct {
	Event       string   `cbor:"1,keyasint"`
	ID          uint64   `cbor:"2,keyasint,omitempty"`
	Wants       bool     `cbor:"3,keyasint,omitempty"`
	Answered    bool     `cbor:"4,keyasint,omitempty"`
	Args        [][]byte `cbor:"5,keyasint,omitempty"`
	Attachments [][]byte `cbor:"6,keyasint,omitempty"`
}

// A waitRecord are rooms that are joined when other servers have said what they keep of them.
type waitRecord struct {
	Rooms []string `cbor:"1,keyasint"`
	N     int      `cbor:"2,keyasint"`
}
