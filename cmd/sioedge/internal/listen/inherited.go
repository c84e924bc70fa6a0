package listen

import (
	"encoding/json"
	"net"
	"strings"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
)

// Addresses say where a process listens by what its settings call that, for the process
// that takes over from it: an address of settings, such as :3000, leaves open where it is.
type Addresses struct {
	Public   []Bound `json:"public"`
	Internal Bound   `json:"internal"`           // of the listener for operators and backends
	Handover string  `json:"handover,omitempty"` // path at which processes take over
}

// A Bound is an address of the settings, and where that is.
type Bound struct {
	As string   `json:"as"`
	At []string `json:"at"` // in the form of loop.Engine.Listen
}

// Inherited are the sockets of the process whose clients are taken over. A nil one has none.
type Inherited struct {
	names Addresses
	taken []bool // of names.Public
}

// ParseInherited parses what Addresses are as JSON, from another process.
func ParseInherited(note []byte) (*Inherited, error) {
	h := &Inherited{}
	if err := json.Unmarshal(note, &h.names); err != nil {
		return nil, err
	}
	h.taken = make([]bool, len(h.names.Public))
	return h, nil
}

// As is what Bound.As is of an address of the settings: options of it may be others in
// the next process.
func As(text string) string {
	l, err := config.ParseListen(text)
	if err != nil {
		return ""
	}
	return l.Network + " " + l.Address
}

// At is what Bound.At has of addresses.
func At(addrs ...net.Addr) (at []string) {
	for _, a := range addrs {
		if a.Network() == "unix" {
			at = append(at, "unix:"+a.String())
		} else {
			at = append(at, "tcp://"+a.String())
		}
	}
	return at
}

// is tells whether an address of the settings is this one: called so, or where it is.
func (b Bound) is(l config.Listen) bool {
	at := "tcp://"
	switch l.Network {
	case "unix":
		at = "unix:"
	case "systemd":
		return b.As == l.Network+" "+l.Address
	}
	return b.As == l.Network+" "+l.Address || len(b.At) == 1 && b.At[0] == at+l.Address
}

// take returns where the other process listens for an address of the settings, once.
func (h *Inherited) take(l config.Listen) []string {
	if h == nil {
		return nil
	}
	for i, b := range h.names.Public {
		if !h.taken[i] && b.is(l) {
			h.taken[i] = true
			return b.At
		}
	}
	return nil
}

// Left returns where nobody listens any more: the addresses that were not asked for, and
// which of them are paths that nobody else removes.
func (h *Inherited) Left() (at, paths []string) {
	if h == nil {
		return nil, nil
	}
	for i, b := range h.names.Public {
		if h.taken[i] {
			continue
		}
		for _, a := range b.At {
			at = append(at, a)
			if path, ok := strings.CutPrefix(a, "unix:"); ok && strings.HasPrefix(b.As, "unix ") {
				paths = append(paths, path)
			}
		}
	}
	return at, paths
}

// Internal tells whether an address of the settings is that of the other's listener for
// operators and backends, and Handover whether a path is where processes take over from
// it.
func (h *Inherited) Internal(text string) bool {
	if h == nil || len(h.names.Internal.At) == 0 {
		return false
	}
	l, err := config.ParseListen(text)
	return err == nil && h.names.Internal.is(l)
}

// Handover is the path at which processes took over from the other; empty: there was none.
func (h *Inherited) Handover() string {
	if h == nil {
		return ""
	}
	return h.names.Handover
}
