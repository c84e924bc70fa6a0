package parser

import "bytes"

// An Assembler puts the packets of one connection together from its text and
// binary messages. The zero value is ready and takes one word; memory is held
// only between the text of a packet with attachments and the last of them.
// It belongs to one goroutine. After an error it is idle again and has freed
// what it held; the connection is to be closed.
type Assembler struct {
	pending *pending
}

type pending struct {
	text    []byte
	buffers [][]byte
	due     int // attachments
	held    int // bytes of text and buffers
	limits  Limits
}

// Text takes a text message, without the Engine.IO type byte. It returns true
// if the packet is complete, which then stands in into as after [Parse].
// Otherwise into is to be ignored; msg was copied and attachments are due.
// The error is an *[Error].
func (a *Assembler) Text(msg []byte, limits Limits, into *Packet) (done bool, err error) {
	if a.pending != nil {
		a.Reset()
		return false, errUnexpectedText
	}
	if err := Parse(msg, limits, into); err != nil {
		return false, err
	}
	if into.Attachments == 0 {
		return true, nil
	}
	limits = limits.withDefaults()
	if len(msg) > limits.MaxAttachmentBytes {
		return false, errTooLarge
	}
	a.pending = &pending{text: bytes.Clone(msg), due: into.Attachments, held: len(msg), limits: limits}
	return false, nil
}

// Binary takes a binary message and copies it. It returns true with the last
// attachment of a packet, which then stands in into, its Buffers included. Its
// views point into memory that is not written again, so they may be kept (but
// for the slice Args itself and an unescaped Event). The error is an *[Error].
func (a *Assembler) Binary(data []byte, into *Packet) (done bool, err error) {
	p := a.pending
	if p == nil {
		return false, errUnexpectedBinary
	}
	if p.held += len(data); p.held > p.limits.MaxAttachmentBytes {
		a.Reset()
		return false, errTooLarge
	}
	p.buffers = append(p.buffers, append(make([]byte, 0, len(data)), data...))
	if len(p.buffers) < p.due {
		return false, nil
	}
	a.Reset()
	if err := Parse(p.text, p.limits, into); err != nil {
		return false, err
	}
	into.Buffers = p.buffers
	return true, nil
}

// State returns what has come of an incomplete packet, views: its text, and those of its
// attachments that are there. Of none they are nil.
func (a *Assembler) State() (text []byte, attachments [][]byte) {
	if a.pending == nil {
		return nil, nil
	}
	return a.pending.text, a.pending.buffers
}

// Restore goes on with an incomplete packet that another Assembler had. The error says that
// it cannot be one; its memory is the Assembler's from then on.
func (a *Assembler) Restore(text []byte, attachments [][]byte, limits Limits) error {
	var p Packet
	done, err := a.Text(text, limits, &p)
	for _, b := range attachments {
		if err != nil || done {
			break
		}
		done, err = a.Binary(b, &p)
	}
	if err == nil && done {
		err = errUnexpectedBinary // it is complete
	}
	return err
}

// Idle tells whether no attachment is due.
func (a *Assembler) Idle() bool { return a.pending == nil }

// Reset forgets an incomplete packet.
func (a *Assembler) Reset() { a.pending = nil }
