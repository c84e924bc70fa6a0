package redis

import (
	"sync/atomic"

	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/rooms/redis/wire"
)

// messageCounts count messages by what they are; see rooms.Messages.
type messageCounts struct{ events, changes, serverSide, questions, answers, heartbeats atomic.Int64 }

// message counts a message of the sharded adapter, or that of streams.
func (k *messageCounts) message(m *wire.Message) {
	switch m.Type {
	case wire.BroadcastMessage:
		k.events.Add(1)
	case wire.SocketsJoin, wire.SocketsLeave, wire.DisconnectSockets:
		k.changes.Add(1)
	case wire.FetchSockets:
		k.questions.Add(1)
	case wire.ServerSideEmit:
		k.serverSide.Add(1)
	case wire.FetchSocketsResponse, wire.ServerSideEmitResponse, wire.BroadcastClientCount, wire.BroadcastAck:
		k.answers.Add(1)
	}
}

// request counts a request of the classic adapter.
func (k *messageCounts) request(r *wire.Request) {
	switch r.Type {
	case wire.RequestBroadcast:
		k.events.Add(1)
	case wire.RequestJoin, wire.RequestLeave, wire.RequestDisconnect:
		k.changes.Add(1)
	case wire.RequestSockets, wire.RequestRooms, wire.RequestFetch:
		k.questions.Add(1)
	case wire.RequestServerSideEmit:
		k.serverSide.Add(1)
	}
}

func (k *messageCounts) messages() rooms.Messages {
	return rooms.Messages{
		Events: k.events.Load(), Changes: k.changes.Load(), ServerSide: k.serverSide.Load(),
		Questions: k.questions.Load(), Answers: k.answers.Load(), Heartbeats: k.heartbeats.Load(),
	}
}

// results count questions by what became of them; see rooms.Asked.
type results struct{ complete, incomplete, failed atomic.Int64 }

func (r *results) asked() rooms.Asked {
	return rooms.Asked{Complete: r.complete.Load(), Incomplete: r.incomplete.Load(), Failed: r.failed.Load()}
}

// questions are results by what was asked for.
type questions struct{ acks, serverSide, members, rooms results }

func (q *questions) of(want answerKind) *results {
	switch want {
	case aCount:
		return &q.acks
	case aValue:
		return &q.serverSide
	case aNames:
		return &q.rooms
	}
	return &q.members
}

func (q *questions) counts() rooms.Questions {
	return rooms.Questions{Acks: q.acks.asked(), ServerSide: q.serverSide.asked(), Members: q.members.asked(), Rooms: q.rooms.asked()}
}
