package bridge

import (
	"encoding/json"
	"errors"
	"sync"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/bridge/wire"
	"github.com/sioedge/sioedge/sio"
)

// data is what an application has stored with a socket: sio keeps it, also while the client
// is away, and what the application says after the socket has left is what comes back.
type data struct {
	mu   sync.Mutex
	json []byte // nil: nothing
}

// MarshalJSON returns the data, or an empty object.
func (d *data) MarshalJSON() ([]byte, error) {
	if text := d.text(); text != nil {
		return text, nil
	}
	return []byte("{}"), nil
}

// text returns the data as JSON, nil if there is none. Nobody may modify it.
func (d *data) text() []byte {
	if d == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.json
}

func (d *data) set(text []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.json = text
}

// dataOf returns what is stored with a socket, which is made if clients come back.
func (b *Bridge) dataOf(s sio.Socket) *data {
	d := &data{}
	switch old := s.Data().(type) {
	case *data:
		return old
	case json.RawMessage: // through a cluster
		d.json = old
	default:
		if b.o.Recovery == 0 {
			return nil // who needs it makes it
		}
	}
	s.SetData(d)
	return d
}

// takeData takes a socket's data, which may be the answer to that it has left.
func (b *Bridge) takeData(m *member, msg *wire.Message) error {
	if msg.Data != nil && !json.Valid(msg.Data) {
		return errors.New("a socket's data is not JSON")
	}
	b.mu.Lock()
	defer b.unlock()
	k := m.socks[msg.Sock]
	switch {
	case k == nil || k.member != m || k.number != msg.Sock:
		b.tally.unknown.Add(1)
	case msg.Kind == wire.KindData && k.stage != gone:
		b.setData(k, msg.Data)
	case msg.Kind == wire.KindClosed && k.stage == gone:
		b.closed(m, k, msg.Data)
	case msg.Kind == wire.KindClosed:
		b.tally.unknown.Add(1)
	}
	return nil
}

// closed takes the answer to that a socket has left. The lock is held.
func (b *Bridge) closed(m *member, k *socket, text []byte) {
	b.setData(k, text)
	delete(m.socks, k.number)
	m.left--
}

// setData stores a socket's data; nil is what there is. The lock is held.
func (b *Bridge) setData(k *socket, text []byte) {
	if text == nil {
		return
	}
	if most := int(b.settings.Load().MaxData); len(text) > most {
		b.tally.dataTooLarge.Add(1)
		b.notice.Warn("bridge: a socket's data is too large, and is as it was", "bridge", b.name, "bytes", len(text), "see", b.key+".max_data")
		return
	}
	if k.data == nil {
		k.data = &data{}
		k.s.SetData(k.data)
	}
	k.data.set(append([]byte(nil), text...))
}
