package sio

import (
	"context"
	"slices"
)

// JoinWait is [Socket.Join] and waits: when it returns nil, the socket is in the
// rooms, and what any server of the cluster emits to them from now on reaches it.
// A server that subscribes to rooms one by one, as with Redis, does so when the
// first of its sockets joins, and hears of that a moment later: after a plain Join,
// an event that another server emits within that moment may be lost. Use JoinWait
// before the client is told that it has joined.
//
// It is an error if the socket has left (ErrClosed), if it may join no more rooms
// (ErrTooManyRooms), if a name is too long (ErrRoomName), or if ctx is done before; then it may be in some of the rooms,
// and what is emitted reaches it as after Join. It must not be called in an inline
// handler, whose loop it would keep waiting.
func (s Socket) JoinWait(ctx context.Context, rooms ...string) error {
	switch {
	case s.gone():
		return ErrClosed
	case s.srv().waits():
		return ErrInline
	}
	rooms = slices.Clone(rooms) // the caller's to use again
	s.Join(rooms...)
	full := false
	there := s.ask(func(sh *shard, slot uint32) {
		full = slices.ContainsFunc(rooms, func(room string) bool { return !sh.in(slot, room) })
	})
	switch {
	case !there:
		return ErrClosed
	case full && slices.ContainsFunc(rooms, func(room string) bool { return len(room) > maxRoomName }):
		return ErrRoomName
	case full:
		return ErrTooManyRooms
	}
	srv := s.srv()
	if srv.cluster == nil {
		return nil
	}
	srv.registry.announce(s.in)
	return srv.cluster.Await(ctx, s.in.name, rooms)
}
