package eio

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"sync"
)

// IDLen is the length of an id: 20 characters of A-Z a-z 0-9 - _, the shape
// that sticky balancers and the cluster adapters of Node look for.
const IDLen = 20

// IDs makes the public names of what a 64-bit reference names inside: a
// session or a socket. An id is the reference, encrypted together with a
// 56-bit tag of itself under a key of this process (a synthetic
// initialisation vector): it tells nothing, cannot be guessed, finds its
// owner without an index, and need not be stored. Any goroutine may use it.
type IDs struct {
	block cipher.Block
	blank [8]byte
	bufs  sync.Pool // *idBuf; AES' arguments escape, and ids are made on hot paths
}

type idBuf struct{ in, out [aes.BlockSize]byte }

// NewIDs returns a codec with a fresh key. Codecs of different purposes do
// not accept each other's ids, as each has its own key.
func NewIDs(purpose string) (*IDs, error) {
	var key [16]byte
	if _, err := rand.Read(key[:]); err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	x := &IDs{block: block, bufs: sync.Pool{New: func() any { return new(idBuf) }}}
	copy(x.blank[:], purpose)
	return x, nil
}

// tag is a keyed function of ref, pad one of a tag; the last byte of the
// block tells them apart.
func (x *IDs) tag(b *idBuf, ref uint64) [7]byte {
	binary.BigEndian.PutUint64(b.in[:8], ref)
	copy(b.in[8:], x.blank[:7])
	b.in[15] = 1
	x.block.Encrypt(b.out[:], b.in[:])
	return [7]byte(b.out[:7])
}

func (x *IDs) pad(b *idBuf, tag [7]byte) uint64 {
	copy(b.in[:7], tag[:])
	clear(b.in[7:15])
	b.in[15] = 2
	x.block.Encrypt(b.out[:], b.in[:])
	return binary.BigEndian.Uint64(b.out[:8])
}

// Append appends the id of ref to dst.
func (x *IDs) Append(dst []byte, ref uint64) []byte {
	b := x.bufs.Get().(*idBuf)
	tag := x.tag(b, ref)
	var raw [15]byte
	binary.BigEndian.PutUint64(raw[:8], ref^x.pad(b, tag))
	copy(raw[8:], tag[:])
	x.bufs.Put(b)
	return base64.RawURLEncoding.AppendEncode(dst, raw[:])
}

// Parse returns the reference that id names. It is false when this codec did
// not make id; a reference may still be stale.
func (x *IDs) Parse(id []byte) (ref uint64, ok bool) {
	if len(id) != IDLen {
		return 0, false
	}
	var raw [15]byte
	if n, err := base64.RawURLEncoding.Decode(raw[:], id); err != nil || n != 15 {
		return 0, false
	}
	b := x.bufs.Get().(*idBuf)
	ref = binary.BigEndian.Uint64(raw[:8]) ^ x.pad(b, [7]byte(raw[8:]))
	tag := x.tag(b, ref)
	x.bufs.Put(b)
	return ref, subtle.ConstantTimeCompare(tag[:], raw[8:]) == 1
}
