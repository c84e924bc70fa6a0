// Package action is the vocabulary of what can be done to sockets: JSON in, calls of
// sio out. Backends answer in it, and commands of the HTTP API are it. What is read may
// come from anybody: every text, list and nesting has a bound, an error names the member
// that is wrong, and arguments of events are passed on as they came, never decoded.
package action

import (
	"encoding/json"
	"time"

	"github.com/sioedge/sioedge/sio"
)

// An Op says what an Action does.
type Op uint8

// The operations, by their names in JSON.
const (
	OpEmit       Op = iota + 1 // emit
	OpJoin                     // join
	OpLeave                    // leave
	OpData                     // data
	OpDisconnect               // disconnect
)

var ops = map[string]Op{"emit": OpEmit, "join": OpJoin, "leave": OpLeave, "data": OpData, "disconnect": OpDisconnect}

// String returns the name in JSON.
func (o Op) String() string {
	for name, op := range ops {
		if op == o {
			return name
		}
	}
	return "unknown"
}

// SID stands for the socket's own id in Emit.To and Emit.Except.
const SID = "$sid"

// An Emit is an event for sockets of one namespace, on all servers of the cluster.
//
//	{"nsp":"/chat","to":["r1"],"except":["$sid"],"ev":"message","args":[{"text":"hi"}],
//	 "attachments":["<base64>"],"volatile":true,"compress":false,"local":true}
//
// On behalf of a socket, without nsp, to and except, it is for that socket alone; with
// to or except and without nsp, for its own namespace. Without a socket no nsp is "/".
// To is nil for everybody; that is not what an empty list addresses: nobody.
type Emit struct {
	Namespace  string // "": it was not given
	To, Except []string
	Event      string
	Args       sio.Args
	Volatile   bool
	Local      bool  // not to other servers
	Compress   *bool // nil: it was not given
}

// An Action is one thing to do on behalf of a socket.
//
//	{"op":"emit", …}                                  as of Emit
//	{"op":"join","rooms":["r2"]}                      and leave
//	{"op":"data","set":{"seen":991,"old":null}}       null takes a member out
//	{"op":"disconnect","code":4403,"reason":"banned","close":true}
type Action struct {
	Op     Op
	Emit   *Emit           // of OpEmit
	Rooms  []string        // of OpJoin and OpLeave
	Set    json.RawMessage // of OpData: an object whose members are set, or taken out by null
	Close  bool            // of OpDisconnect: the connection, too
	Code   uint16          // of OpDisconnect with Close: 1000 or 3000 to 4999; 0: none
	Reason string          // of OpDisconnect with Close: at most 123 bytes

	most int // Limits.Data
}

// A Refusal is what a client is told that may not connect: err.message and err.data.
type Refusal struct {
	Message string
	Data    json.RawMessage // nil: none
}

// A Result is what a backend answers to one item. If Fault is set, so is nothing else but
// ID.
type Result struct {
	ID    string
	Fault *FieldError // why the rest is not known: it could not be used; nil: it could

	Error    *Refusal // of connect; nil: it is admitted
	User     string   // of connect: who the client is; "": it was not said
	Scope    []string // of connect: permissions, as a token's
	Rooms    []string // of connect: names of rooms, with * at the end perhaps, that it may join, as a token's
	Data     json.RawMessage
	Join     []string
	ExpireAt int64         // seconds since 1970; 0: never
	CacheTTL time.Duration // how long the same may be answered to who brings the same; JSON: cache_ttl, in seconds

	Ack     *sio.Args // of an event; nil: it is not acknowledged
	Emit    []Emit    // done before Actions
	Actions []Action
}

// Limits bound what is parsed. Zero fields mean the defaults.
type Limits struct {
	Body        int // bytes of an answer, 1 MiB
	Depth       int // nesting of arrays and objects in args, data and the like, 64; the arguments' own array is the first level
	Results     int // of an answer, 4096
	Actions     int // of a result, Emit among them, 256
	Rooms       int // of one list, 256
	Attachments int // of an event or acknowledgement, 10: clients refuse more unless they are told
	Data        int // bytes of a socket's data as JSON, 16 KiB
}

const (
	// MaxEventName bounds the name of an event, MaxRoomName that of a room or
	// namespace, in bytes: as sio has it of those that clients send.
	MaxEventName = 256
	MaxRoomName  = 1 << 10
	// MaxArgs bounds the arguments of an event, as sio has it of those that clients send.
	MaxArgs = 4096
	// MaxReason bounds why a connection is closed, in bytes, as WebSocket has it.
	MaxReason  = 123
	maxID      = 128 // bytes of a result's id
	maxUser    = 256
	maxMessage = 1 << 10 // bytes of a refusal's
)

// withDefaults returns l with its zero fields set.
func (l Limits) withDefaults() Limits {
	for _, x := range []struct {
		n      *int
		orElse int
	}{{&l.Body, 1 << 20}, {&l.Depth, 64}, {&l.Results, 4096}, {&l.Actions, 256}, {&l.Rooms, 256}, {&l.Attachments, 10}, {&l.Data, 16 << 10}} {
		if *x.n == 0 {
			*x.n = x.orElse
		}
	}
	return l
}

// A Code is a kind of FieldError, for programs.
type Code string

// The codes.
const (
	Missing    Code = "missing"           // the member has to be there
	WrongType  Code = "wrong_type"        // it is JSON of another type
	Malformed  Code = "malformed"         // it is not JSON, not base64, or a value that cannot be
	TooLong    Code = "too_long"          // a text, or JSON, of too many bytes
	TooMany    Code = "too_many"          // elements
	TooDeep    Code = "too_deep"          // nested
	Reserved   Code = "reserved"          // an event's name that the protocol has for itself
	UnknownOp  Code = "unknown_op"        // an op that there is not
	UnknownNsp Code = "unknown_namespace" // a namespace that no client can join
	Duplicate  Code = "duplicate"         // an id that was there before
	// UnknownMember is one that there is not, where that matters.
	UnknownMember Code = "unknown_member"
	Placeholder   Code = "placeholder" // one that names no attachment, or one too often
)

// A FieldError says which member of a JSON text is wrong, and why.
type FieldError struct {
	Field string // such as actions[2].to[0]; "": the whole
	Code  Code
	Err   error // in words
}

// Error names the member and says what is wrong with it.
func (e *FieldError) Error() string {
	if e.Field == "" {
		return e.Err.Error()
	}
	return e.Field + ": " + e.Err.Error()
}

// Unwrap returns e.Err.
func (e *FieldError) Unwrap() error { return e.Err }
