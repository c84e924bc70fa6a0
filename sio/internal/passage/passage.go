// Package passage says what the records are with which a server gives its clients to its
// successor: their kinds, in the order in which they come, and their bodies, CBOR (RFC
// 8949). Fields have numbers; those that a reader does not know are skipped.
//
//	goes                            successor
//	Hello, listening sockets        Heir
//	                                Ready, or Refuse
//	Offer                           Followed
//	Part …, Conn …, Session …, End  Taken, or Refuse
//	Go                              Serving
//
// Either may say Refuse, or be gone, before Go: then the one that was to go goes on.
package passage

import (
	"bytes"

	"github.com/fxamacker/cbor/v2"
)

// Version is that of this protocol. One that has another is refused.
const Version = 1

// Kinds of records.
const (
	Hello    = 1 + iota // a Greeting, with the files that it names
	Heir                // a Greeting
	Refuse              // a Refusal
	Ready               // it is configured, and listens
	Offer               // an adapter's
	Followed            // everything reaches it that reaches the other
	Part                // a Piece
	Conn                // of a lane, with a descriptor: an eio.ConnState
	Session             // of a lane
	Table               // of a lane: of places
	End                 // Totals: there is no more
	Taken               // Totals: all of it is here
	Go                  // it is the successor's
	Serving             // it is served
	More                // of a lane: the beginning of the body of the next record of it that is none
	Shared              // of a lane: bytes that several of what follows have; they are numbered from 1
)

// A Greeting says who somebody is.
type Greeting struct {
	Protocol int    `cbor:"1,keyasint"`
	Version  string `cbor:"2,keyasint,omitempty"` // of the program
	Build    string `cbor:"3,keyasint,omitempty"` // likewise
	Loops    int    `cbor:"4,keyasint,omitempty"`
	Node     string `cbor:"5,keyasint,omitempty"`
	IDKey    []byte `cbor:"6,keyasint,omitempty"` // secret
	// Files are what the descriptors are that come with it.
	Files []File `cbor:"7,keyasint,omitempty"`
	// Parts are those that will come; a successor that has not all that are not optional
	// refuses.
	Parts   []PartName `cbor:"8,keyasint,omitempty"`
	Note    []byte     `cbor:"9,keyasint,omitempty"` // the program's
	Adapter []byte     `cbor:"10,keyasint,omitempty"`
	DryRun  bool       `cbor:"11,keyasint,omitempty"` // it ends behind Ready
	// Needs are names of what a successor must know of this protocol.
	Needs []string `cbor:"12,keyasint,omitempty"`
}

// A File is what a descriptor is.
type File struct {
	Name  string `cbor:"1,keyasint,omitempty"` // the program's own; or
	Addr  string `cbor:"2,keyasint,omitempty"` // of loop.ListenerFile
	Label uint8  `cbor:"3,keyasint,omitempty"` // likewise
	Asked string `cbor:"4,keyasint,omitempty"` // likewise
	Own   bool   `cbor:"5,keyasint,omitempty"` // likewise: OwnPath
}

// A PartName names a part.
type PartName struct {
	Name     string `cbor:"1,keyasint"`
	Optional bool   `cbor:"2,keyasint,omitempty"`
}

// A Piece is some of what a part has to say: they follow each other.
type Piece struct {
	Name string `cbor:"1,keyasint"`
	Data []byte `cbor:"2,keyasint"`
	More bool   `cbor:"3,keyasint,omitempty"`
}

// A Refusal says why there is no handover.
type Refusal struct {
	Reason string `cbor:"1,keyasint"`
}

// Totals are how much there was.
type Totals struct {
	Conns    int    `cbor:"1,keyasint"`
	Sessions int    `cbor:"2,keyasint"`
	Sockets  int    `cbor:"3,keyasint"`
	Place    []byte `cbor:"4,keyasint,omitempty"` // of rooms.Movable
}

var (
	enc = must(cbor.EncOptions{Time: cbor.TimeUnixMicro}.UserBufferEncMode())
	// What is read has come from another process: it is bounded, and has a shape. Names
	// are a program's, and need not be UTF-8.
	dec = must(cbor.DecOptions{DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden, UTF8: cbor.UTF8DecodeInvalid, MaxNestedLevels: 16, MaxArrayElements: 1 << 20, MaxMapPairs: 1 << 20}.DecMode())
)

func must[T any](m T, err error) T {
	if err != nil {
		panic(err)
	}
	return m
}

// Append appends v's encoding.
func Append(b []byte, v any) ([]byte, error) {
	p, err := enc.Marshal(v)
	return append(b, p...), err
}

// Marshal encodes v.
func Marshal(v any) ([]byte, error) { return enc.Marshal(v) }

// Unmarshal decodes b, all of it, into v.
func Unmarshal(b []byte, v any) error { return dec.Unmarshal(b, v) }

// Write appends v's encoding to b, with no copy of its own.
func Write(b *bytes.Buffer, v any) error { return enc.MarshalToBuffer(v, b) }

// Next decodes the first item of b into v, and returns what is behind it.
func Next(b []byte, v any) (rest []byte, err error) { return dec.UnmarshalFirst(b, v) }
