// Package wire reads and writes the messages of the link between an edge and a process of
// an application, as protocol.md has them.
package wire

import "fmt"

// Version is that of the protocol, and Subprotocol names it in a WebSocket's handshake.
const (
	Version     = 1
	Subprotocol = "sioedge-bridge.1"
)

// None is an ID that is nil: nobody waits for an answer.
const None int64 = -1

// maxNumber is the greatest that JavaScript counts to.
const maxNumber = 1<<53 - 1

// maxDepth is how deep what a side does not know may be nested.
const maxDepth = 16

// A Side is one end of a link.
type Side uint8

const (
	Edge Side = iota
	Application
)

// A Kind is the number in front of a message.
type Kind uint8

// What an edge sends.
const (
	KindWelcome         Kind = 1
	KindConnection      Kind = 2
	KindSocket          Kind = 3
	KindEvent           Kind = 4
	KindAnswer          Kind = 5
	KindLeft            Kind = 6
	KindConnectionEnded Kind = 7
	KindAnswers         Kind = 8
	KindPeers           Kind = 9
	KindRelayed         Kind = 10
	KindUpgraded        Kind = 11
	KindDrained         Kind = 12
	KindSettings        Kind = 13
	KindEnding          Kind = 14
)

// What a process of an application sends.
const (
	KindHello         Kind = 32
	KindAccept        Kind = 33
	KindRefuse        Kind = 34
	KindEmit          Kind = 35
	KindReply         Kind = 36
	KindBroadcast     Kind = 37
	KindJoin          Kind = 38
	KindLeave         Kind = 39
	KindJoinAll       Kind = 40
	KindLeaveAll      Kind = 41
	KindDisconnect    Kind = 42
	KindClose         Kind = 43
	KindDisconnectAll Kind = 44
	KindData          Kind = 45
	KindClosed        Kind = 46
	KindRelay         Kind = 47
	KindDraining      Kind = 48
	KindHandOver      Kind = 49
	KindHandedOver    Kind = 50
	KindChange        Kind = 51
	KindForget        Kind = 52
)

// Side returns who sends messages of a kind.
func (k Kind) Side() Side {
	if k < KindHello {
		return Edge
	}
	return Application
}

// String returns what a kind is called in errors.
func (k Kind) String() string {
	if int(k) < len(layouts) && layouts[k].name != "" {
		return layouts[k].name
	}
	return fmt.Sprintf("message %d", uint8(k))
}

// Flags of what is emitted.
type Flags uint64

const (
	Volatile     Flags = 1
	Uncompressed Flags = 2
)

// Why an edge ends a link.
const (
	CodeDraining = "draining"
	CodeReplaced = "replaced"
	CodeProtocol = "protocol"
	CodeUnknown  = "unknown"
)

// A Message is one as it was read. Which fields are set is the kind's; the others are
// zero, and ID None. Bytes and lists are views of the batch.
type Message struct {
	Kind Kind
	Conn uint64 // a connection's number
	Sock uint64 // a socket's
	ID   int64  // of an acknowledgement, an emit or a request; None: nil

	Nsp           []byte
	Rooms, Except Texts
	Names         Texts // rooms to join or leave, and of a relay the uids; empty: all
	Flags         Flags
	Timeout       uint64 // ms; 0: nil
	JSON          []byte // text; whether it is JSON was not looked at
	Bins          Bins
	Data          []byte // a socket's, JSON; nil: as it was sent last
	Close         bool
	Payload       []byte
	Hello         *Hello
	Change        *Change

	// What only an edge sends.
	UID       []byte
	SID       []byte // a socket's id
	Auth      []byte // JSON; nil: none
	State     *State
	Identity  *Identity
	Text      []byte // a reason, a transport, a text for people
	Code      []byte
	Kept      bool
	Done      bool
	Count     uint64
	Answers   []Reply
	Peers     []Peer
	Welcome   *Welcome
	Settings  *Settings
	Handshake *Handshake
}

// A Hello is what a process says of itself first.
type Hello struct {
	Version    uint64
	UID        string // 1 to 64 of A-Za-z0-9_-
	Resume     string // the session; empty: a new one
	Received   uint64 // batches of the edge
	Window     uint64 // bytes, at least 1
	Namespaces []string
	Direct     bool
	Package    string
	SocketIO   string
}

// A Change is what changed of a Hello.
type Change struct {
	Namespaces    []string
	Direct        bool
	HasNamespaces bool
	HasDirect     bool
}

// Settings of an edge. Sizes are bytes, times ms.
type Settings struct {
	Window, MaxMessage, MaxData uint64
	Timeout, Grace, Takeover    uint64
	Data                        string // "drain" or "eager"
	Recovery                    uint64 // 0: off
	Has                         Setting
}

// A Setting is a set of members of Settings.
type Setting uint16

const (
	HasWindow Setting = 1 << iota
	HasMaxMessage
	HasMaxData
	HasTimeout
	HasGrace
	HasTakeover
	HasData
	HasRecovery

	HasAll = HasRecovery<<1 - 1
)

// A Welcome is what an edge says of itself first, with all Settings whatever Has says.
type Welcome struct {
	Version  uint64
	Edge     string
	Session  string
	Resumed  bool
	Received uint64 // batches of the process, if resumed
	Settings
	Server string
}

// A Handshake is how a client's connection began.
type Handshake struct {
	ID        string
	Address   string
	Port      uint64
	Headers   []Header
	URL       string
	Secure    bool
	Issued    uint64 // ms since 1970
	Transport string // "polling" or "websocket"
	Protocol  uint64 // 4 or 3
}

// A Header is a field of a request: a lower-case name and its text.
type Header struct{ Name, Value string }

// A State is that of a socket that was there before.
type State struct {
	Rooms []string
	Data  []byte // JSON; nil: none
	Taken bool   // its client was connected all the time
}

// An Identity is who a client is, as the edge knows.
type Identity struct {
	User   string
	Claims []byte // JSON; nil: none
}

// A Reply is what one client answered to a broadcast.
type Reply struct {
	JSON []byte
	Bins [][]byte
}

// A Peer is another process of a bridge.
type Peer struct {
	UID        string
	Namespaces []string
	Direct     bool
}

// An Error says what is wrong with a batch, and where.
type Error struct {
	Kind   Kind   // 0: the batch
	Member string // empty: the message
	What   string
}

func (e *Error) Error() string {
	switch {
	case e.Kind == 0 && e.Member == "":
		return "wire: batch: " + e.What
	case e.Kind == 0:
		return "wire: batch: " + e.Member + ": " + e.What
	case e.Member == "":
		return fmt.Sprintf("wire: %s (%d): %s", e.Kind, uint8(e.Kind), e.What)
	}
	return fmt.Sprintf("wire: %s (%d): %s: %s", e.Kind, uint8(e.Kind), e.Member, e.What)
}
