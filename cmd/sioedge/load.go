package main

import (
	"context"
	"time"

	"github.com/sioedge/sioedge/sio"
)

// serveLoad registers the application that sioload measures with:
//
//	echo payload…           acknowledged with the payload
//	join room, leave room   acknowledged with true
//	publish room, payload…  emits msg payload… to the room, or to everybody if it is ""
//
// Everything runs on the loops, since nothing here blocks, but for a cluster's join:
// that is acknowledged when nothing that any of its servers publishes to the room
// is missed.
func serveLoad(ns *sio.Namespace, cluster bool) {
	ns.HandleInline("echo", func(_ sio.Socket, m *sio.Msg) error { return m.Ack(m.Args) })
	join := func(s sio.Socket, room string) error { s.Join(room); return nil }
	handle := ns.HandleInline
	if cluster {
		join, handle = joinWait, ns.Handle
	}
	handle("join", func(s sio.Socket, m *sio.Msg) error {
		var room string
		if err := m.Decode(&room); err != nil {
			return err
		}
		if err := join(s, room); err != nil {
			return err
		}
		return m.Ack(true)
	})
	ns.HandleInline("leave", func(s sio.Socket, m *sio.Msg) error {
		var room string
		if err := m.Decode(&room); err != nil {
			return err
		}
		s.Leave(room)
		return m.Ack(true)
	})
	ns.HandleInline("publish", func(s sio.Socket, m *sio.Msg) error {
		var room string
		if err := m.Decode(&room); err != nil {
			return err
		}
		to := ns.All()
		if room != "" {
			to = ns.To(room)
		}
		if err := to.Emit("msg", m.From(1)); err != nil {
			return err
		}
		return m.Ack(true)
	})
}

func joinWait(s sio.Socket, room string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return s.JoinWait(ctx, room)
}
