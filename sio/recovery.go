package sio

import (
	"strings"
	"time"

	"github.com/sioedge/sioedge/eio"
)

// Recovery are the options of connection state recovery: a client that comes
// back within Window gets its id, rooms and data again and exactly what it missed,
// or else it is a new one. Node: connectionStateRecovery.
//
// Every event ends in one more argument then, its offset, as Node's do: the
// JavaScript client takes it off, those in some other languages give it to
// handlers. Clients of Socket.IO 2, which could not come back, do not get it.
type Recovery struct {
	// Window is how long a disconnected socket is remembered: as long as it lacks
	// nothing, from when it left. What it lacks is kept for Window, and for as long
	// before as a client's silence can go unnoticed: a client that comes and goes
	// without receiving what it missed is a new one after that. Zero means that
	// recovery is off. Node: maxDisconnectionDuration, 2 min.
	Window time.Duration
	// MaxBytes bounds the memory of the events kept for those who may come back, in
	// every form that they have been sent in, and of their sockets, which may take
	// up to half of it. When it is passed the oldest go, and with them the recovery
	// of who needs them. What applications have stored by SetData is not counted.
	// Zero means 64 MiB.
	MaxBytes int64
	// RunMiddlewares has a recovered socket go through its middlewares, where
	// Recovered is already true and Data is what it was. A server that
	// authenticates in them wants it: otherwise the private id that a client was
	// given is all that it needs. One that they refuse may come back until its time
	// is over. Node: skipMiddlewares, the other way round.
	RunMiddlewares bool
	// Identity returns who a client is, by what it brought: its Handshake and Auth.
	// It is asked once for each connecting socket, before middlewares, on the event
	// loop, and must not block. Whoever comes back must be who it was, or is a new
	// one, and does no harm to the other. Nil, or "" for both: the private id is
	// enough.
	Identity func(s Socket) string
	// Patience is how long an event may take to come back from the log of the
	// cluster, with an Adapter that is a [rooms.Log]. After that, events are
	// delivered at once, and a client that is recovered may get some twice. Zero
	// means 1 s.
	Patience time.Duration
}

// Recoveries counts what became of attempts to recover.
type Recoveries struct {
	Recovered int64 // sockets that were recovered
	Replayed  int64 // events that they had missed
	Unknown   int64 // nobody knew the session: too late, used, revoked, or of another server
	Lost      int64 // the events it needs are not kept any more, or its offset is none
	TooLarge  int64 // it had missed more than may be queued for a client
	Alien     int64 // somebody else than it was by Recovery.Identity
	Alive     int64 // the client that had it was there, and answered
	Early     int64 // events that were delivered before the log of the cluster had them

	Revoked int64 // sessions of clients that were away, ended by Disconnect
	Evicted int64 // sessions that were forgotten before their time, by MaxBytes
	Dropped int64 // events that somebody may have needed, dropped by MaxBytes

	Away   int64 // sessions that are kept now
	Events int64 // events that are kept now
	Bytes  int64 // what all that is kept takes now, about
}

// An offset is offsetMark, the log's nonce, and a place in digits of base 64: of
// one length, so that it can be written into an encoded packet, and unlike what
// applications send as a last argument.
const (
	offsetMark   = '~'
	placeDigits  = 8
	offsetLen    = 1 + 4 + placeDigits
	offsetTail   = len(`,""`) + offsetLen // what it adds to an event
	base64Digits = "-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"
)

// blankOffset has an offset's place in a packet until there is one.
const blankOffset = "~0000--------"

// write writes the offset of a place over dst.
func (l *packetLog) write(dst []byte, place uint64) {
	dst[0] = offsetMark
	copy(dst[1:], l.nonce)
	for i := offsetLen - 1; i > 4; i-- {
		dst[i] = base64Digits[place%64]
		place /= 64
	}
}

// place returns the place that an offset of this log names.
func (l *packetLog) place(offset string) (place uint64, ok bool) {
	if len(offset) != offsetLen || offset[0] != offsetMark || offset[1:5] != l.nonce {
		return 0, false
	}
	for _, c := range offset[5:] {
		d := strings.IndexRune(base64Digits, c)
		if d < 0 {
			return 0, false
		}
		place = place*64 + uint64(d)
	}
	return place, true
}

// recoverable tells whether a socket that left for a reason may come back.
func recoverable(r Reason) bool {
	switch r {
	case eio.TransportError, eio.TransportClose, eio.ForcedClose, eio.PingTimeout, ServerShuttingDown:
		return true
	}
	return false
}
