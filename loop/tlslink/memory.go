package tlslink

import (
	"bytes"
	"crypto/tls"
	"reflect"
	"time"
	"unsafe"
)

// Where a tls.Conn has two buffers, for which it has no method: what came and was not
// made records, and what is left of handshake messages. 0: it has none such.
var rawInput, handInput = bufferOf("rawInput"), bufferOf("hand")

// bufferOf returns the offset of a field of tls.Conn that is a bytes.Buffer, 0 if there
// is none.
func bufferOf(name string) uintptr {
	f, ok := reflect.TypeFor[tls.Conn]().FieldByName(name)
	if !ok || f.Type != reflect.TypeFor[bytes.Buffer]() {
		return 0
	}
	return f.Offset
}

// field returns a buffer of k's, or an empty one that is nobody's.
func (k *Link) field(offset uintptr) *bytes.Buffer {
	return (*bytes.Buffer)(unsafe.Add(unsafe.Pointer(k.tc), offset))
}

// lend has crypto/tls read into a buffer of the pool, if nothing is left from before.
func (k *Link) lend() *[]byte {
	if rawInput == 0 || k.lent {
		return nil
	}
	raw := k.field(rawInput)
	if raw.Len() > 0 {
		return nil
	}
	b := buffers.Get().(*[]byte)
	*raw = *bytes.NewBuffer((*b)[:0])
	k.lent = true
	return b
}

// settle takes back b, which was lent unless it is nil, and leaves crypto/tls a copy of
// what it has not used, or nothing. If part of a record may be left that it has
// deciphered in place, it keeps the buffer.
func (k *Link) settle(b *[]byte, part bool) {
	if rawInput == 0 || part {
		return
	}
	raw := k.field(rawInput)
	switch {
	case raw.Len() == 0:
		*raw = bytes.Buffer{}
	case b != nil || k.lent:
		*raw = *bytes.NewBuffer(bytes.Clone(raw.Bytes()))
	}
	k.lent = false
	if b != nil {
		buffers.Put(b)
	}
}

// trim gives up what the handshake has needed.
func (k *Link) trim() {
	if rawInput != 0 {
		if raw := k.field(rawInput); raw.Len() == 0 {
			*raw = bytes.Buffer{}
		} else {
			*raw = *bytes.NewBuffer(bytes.Clone(raw.Bytes()))
		}
	}
	if handInput != 0 {
		if hand := k.field(handInput); hand.Len() == 0 {
			*hand = bytes.Buffer{}
		}
	}
}

// postHandshake counts messages behind the handshake, of which key_update is the one that
// is allowed, and tells whether there were too many, or one is too long.
func (k *Link) postHandshake() (flood bool) {
	if handInput == 0 {
		return false
	}
	hand := k.field(handInput)
	if hand.Cap() == 0 {
		return false
	}
	if hand.Len() > 0 {
		return hand.Len() > maxHand
	}
	*hand = bytes.Buffer{}
	if now := uint16(time.Now().Unix() / 60); now != k.minute {
		k.minute, k.posts = now, 0
	}
	k.posts++
	return k.posts > maxPosts
}
