package eio

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"sync"
)

// IDLen is the length of an id: 20 characters of A-Z a-z 0-9 - _, the shape
// that sticky balancers and the cluster adapters of Node look for. The first
// NodeLen of them name the node that made it.
const (
	IDLen   = 20
	NodeLen = 4
)

// A Node names a process of a cluster: NodeLen characters of A-Z a-z 0-9 - _.
// Who sees an id of another node knows where to send what is for it.
type Node string

// NewNode returns a random Node, one of 16 million.
func NewNode() Node {
	var raw [NodeLen * 6 / 8]byte
	_, _ = rand.Read(raw[:]) // never fails
	return Node(base64.RawURLEncoding.EncodeToString(raw[:]))
}

// Valid tells whether n can be the beginning of an id.
func (n Node) Valid() bool {
	if len(n) != NodeLen {
		return false
	}
	_, err := base64.RawURLEncoding.DecodeString(string(n))
	return err == nil
}

// NodeOf returns the node that an id names, "" if it does not look like an id.
// The id may be forged: only its node can tell.
func NodeOf(id []byte) Node {
	var raw [IDLen * 6 / 8]byte
	if len(id) != IDLen {
		return ""
	}
	if n, err := base64.RawURLEncoding.Decode(raw[:], id); err != nil || n != len(raw) {
		return ""
	}
	return Node(id[:NodeLen])
}

// IDs makes the public names of what a reference names inside: a session or a
// socket. Behind the node, an id is the reference, encrypted together with a
// 40-bit tag of itself under a key of this process (a synthetic initialisation
// vector): it tells nothing, cannot be guessed, finds its owner without an
// index, and need not be stored. Any goroutine may use it.
//
// A reference has 8 bits of loop, 24 of generation and 32 of slot, of which the
// upper 8 must be zero: handle.MaxSlot.
type IDs struct {
	node  Node
	key   []byte
	block cipher.Block
	blank [8]byte   // of the purpose, whole: codecs may share a key
	bufs  sync.Pool // *idBuf; AES' arguments escape, and ids are made on hot paths
}

type idBuf struct{ in, out [aes.BlockSize]byte }

const (
	refLen = 7
	tagLen = 5
	raws   = refLen + tagLen // what is behind the node, before base64
)

// NewIDs returns a codec with a fresh key. Codecs of different purposes do
// not accept each other's ids.
func NewIDs(node Node, purpose string) (*IDs, error) {
	var key [IDKeyLen]byte
	_, _ = rand.Read(key[:]) // never fails
	return NewIDsWithKey(node, purpose, key[:])
}

// IDKeyLen is the length of a codec's key, in bytes.
const IDKeyLen = 16

// NewIDsWithKey is NewIDs with the key of another codec, of the same node: one of
// another purpose, or one whose process has ended, and whose records have been restored
// in this one.
func NewIDsWithKey(node Node, purpose string, key []byte) (*IDs, error) {
	if !node.Valid() {
		return nil, fmt.Errorf("eio: %q cannot name a node", string(node))
	}
	if len(key) != IDKeyLen {
		return nil, fmt.Errorf("eio: a key of ids has %d bytes, not %d", IDKeyLen, len(key))
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	x := &IDs{node: node, key: bytes.Clone(key), block: block, bufs: sync.Pool{New: func() any { return new(idBuf) }}}
	sum := sha256.Sum256([]byte(purpose))
	copy(x.blank[:], sum[:])
	return x, nil
}

// Key returns a copy of the key, for NewIDsWithKey. Who has it can make ids.
func (x *IDs) Key() []byte { return bytes.Clone(x.key) }

// tag is a keyed function of ref, pad one of a tag; the last byte of the
// block tells them apart.
func (x *IDs) tag(b *idBuf, ref uint64) [tagLen]byte {
	binary.BigEndian.PutUint64(b.in[:8], ref)
	copy(b.in[8:], x.blank[:7])
	b.in[15] = 1
	x.block.Encrypt(b.out[:], b.in[:])
	return [tagLen]byte(b.out[:tagLen])
}

func (x *IDs) pad(b *idBuf, tag [tagLen]byte) uint64 {
	copy(b.in[:tagLen], tag[:])
	clear(b.in[tagLen:15])
	b.in[15] = 2
	x.block.Encrypt(b.out[:], b.in[:])
	return binary.BigEndian.Uint64(b.out[:8]) >> 8
}

// A reference is packed into 56 bits by leaving out those that are zero.
func pack(ref uint64) uint64   { return ref>>32<<24 | ref&(1<<24-1) }
func unpack(ref uint64) uint64 { return ref>>24<<32 | ref&(1<<24-1) }

// Append appends the id of ref to dst.
func (x *IDs) Append(dst []byte, ref uint64) []byte {
	b := x.bufs.Get().(*idBuf)
	ref = pack(ref)
	tag := x.tag(b, ref)
	var raw [8 + tagLen]byte // the first byte stays zero
	binary.BigEndian.PutUint64(raw[:8], ref^x.pad(b, tag))
	copy(raw[8:], tag[:])
	x.bufs.Put(b)
	return base64.RawURLEncoding.AppendEncode(append(dst, x.node...), raw[1:])
}

// Parse returns the reference that id names. It is false when this codec did
// not make id; a reference may still be stale.
func (x *IDs) Parse(id []byte) (ref uint64, ok bool) {
	if len(id) != IDLen || Node(id[:NodeLen]) != x.node {
		return 0, false
	}
	var raw [8 + tagLen]byte
	if n, err := base64.RawURLEncoding.Decode(raw[1:], id[NodeLen:]); err != nil || n != raws {
		return 0, false
	}
	b := x.bufs.Get().(*idBuf)
	ref = binary.BigEndian.Uint64(raw[:8]) ^ x.pad(b, [tagLen]byte(raw[8:]))
	tag := x.tag(b, ref)
	x.bufs.Put(b)
	return unpack(ref), subtle.ConstantTimeCompare(tag[:], raw[8:]) == 1
}
