package adminui

import (
	"encoding/json"
	"errors"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/peerlink"
	"github.com/sioedge/sioedge/rooms/value"
	"github.com/sioedge/sioedge/sio"
)

// maxName bounds names of namespaces, rooms and events, in bytes.
const maxName = 1 << 10

// acts are what pages can have done, by the names of their events, to the sockets of a
// filter in the whole cluster.
var acts = map[string]func(u *UI, m *sio.Msg) error{
	"emit": func(u *UI, m *sio.Msg) error {
		to, err := u.target(m, 0, 1)
		if err != nil {
			return err
		}
		event, err := text(m, 2)
		if err != nil || value.Reserved(event) {
			return errMalformed
		}
		return to.Emit(event, m.Args.From(3))
	},
	"join": func(u *UI, m *sio.Msg) error {
		to, err := u.target(m, 0, 2)
		if err != nil {
			return err
		}
		room, err := text(m, 1)
		if err == nil {
			to.Join(room)
		}
		return err
	},
	"leave": func(u *UI, m *sio.Msg) error {
		to, err := u.target(m, 0, 2)
		if err != nil {
			return err
		}
		room, err := text(m, 1)
		if err == nil {
			to.Leave(room)
		}
		return err
	},
	"_disconnect": func(u *UI, m *sio.Msg) error {
		to, err := u.target(m, 0, 2)
		if err != nil {
			return err
		}
		conn := false
		if raw := m.Raw(1); raw != nil && json.Unmarshal(raw, &conn) != nil {
			return errMalformed
		}
		return to.Disconnect(sio.DisconnectOptions{Conn: conn})
	},
}

var (
	errMalformed = errors.New("its arguments are not what they have to be")
	errUnknown   = errors.New("there is no such namespace")
)

// act has done what a page wants.
func (u *UI) act(name string, do func(*UI, *sio.Msg) error, m *sio.Msg) {
	if u.rules.Load().ReadOnly {
		return // as if there were no handler
	}
	if err := do(u, m); err != nil {
		u.counts.malformed.Add(1)
		u.note.Warn("what a page of the Admin UI wants cannot be done", "act", name, "error", err)
		return
	}
	u.counts.acts.Add(1)
	u.note.Info("a page of the Admin UI has acted on sockets", "act", name, "namespace", string(m.Raw(0)))
}

// target returns the sockets that arguments name: those of a namespace, in a room unless
// that is left out.
func (u *UI) target(m *sio.Msg, namespace, filter int) (sio.BroadcastOperator, error) {
	name, err := text(m, namespace)
	if err != nil {
		return sio.BroadcastOperator{}, err
	}
	to, ok := u.srv.Find(name)
	if !ok || peerlink.Owns(name) {
		return to, errUnknown
	}
	if raw := m.Raw(filter); raw == nil || string(raw) == "null" || string(raw) == `""` || string(raw) == "false" {
		return to, nil
	}
	room, err := text(m, filter)
	return to.To(room), err
}

// text returns an argument that is a text, and not empty.
func text(m *sio.Msg, i int) (s string, err error) {
	if raw := m.Raw(i); len(raw) > 6*maxName || json.Unmarshal(raw, &s) != nil || s == "" || len(s) > maxName {
		return "", errMalformed
	}
	return s, nil
}
