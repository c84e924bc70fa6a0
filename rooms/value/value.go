// Package value reads and writes what clients and servers of Socket.IO say to each
// other, whatever frame it is in: an event's name with its arguments, the answer to
// an event, one argument. Package parser puts it into packets for clients, package
// wire into messages for other servers.
//
// There are two encodings, and everything is the same value in both:
//
//	JSON         ["file",{"_placeholder":true,"num":0}] and the attachment 0102
//	MessagePack  92 a4 "file" c4 02 0102
//
// Out: [AppendEvent], [AppendArgs] and [AppendJSON] encode values of Go as JSON and
// gather their bytes as attachments. In: [Decode] does the reverse. Between the two
// encodings: [AppendMsgpackFromJSON], [AppendJSONFromMsgpack]. What other servers
// sent, in either, is read through a [View]. Below these are the steps by which they
// go through a text ([Skip], [Unquote]) or MessagePack ([NextToken], [Scanner]).
//
// Every function works on byte slices: no I/O, no goroutine, no clock. What is
// read may come from anybody: nesting is bounded by the caller's depth, an
// attachment is named four times at most, and nothing is decoded before all of it is
// known to be valid.
package value

import "errors"

// Binary is bytes that travel as an attachment. A []byte does too; the name
// serves to tell them apart after [Decode] into an any, which yields Binary.
type Binary []byte

// MaxDepth is the nesting that encoding/json allows, and the largest depth that a
// function here takes.
const MaxDepth = 10000

var (
	// ErrSyntax is what functions return for bytes that are not one valid value of
	// the encoding, or nested too deep.
	ErrSyntax = errors.New("value: not one valid value")
	// ErrPlaceholder is what they return for a placeholder that names no attachment,
	// or one that is named too often, or that cannot be told from data.
	ErrPlaceholder = errors.New("value: illegal attachments")
)
