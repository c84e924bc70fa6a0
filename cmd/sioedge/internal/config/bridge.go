package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// A Bridge is an application in Node whose processes dial the internal listener and have
// the handlers of namespaces.
type Bridge struct {
	// Keys each admit a process; empty: those that open the HTTP API. See
	// [Settings.BridgesOf].
	Keys []string `koanf:"keys" short:"true"`

	Takeover time.Duration `koanf:"takeover"` // how long clients without a process wait for another
	Timeout  time.Duration `koanf:"timeout"`  // of a link on which nothing comes
	Grace    time.Duration `koanf:"grace"`    // how long a process whose link ended may come back
	// Data says when the application tells the sockets' data: drain, as it hands them
	// over, or eager, whenever it changes.
	Data    string `koanf:"data"`
	MaxData Size   `koanf:"max_data"` // of one socket, as JSON

	Window     Size `koanf:"window"`      // under way to a process
	MaxMessage Size `koanf:"max_message"` // in each direction
	MaxWaiting Size `koanf:"max_waiting"` // events of one connection that wait for a process
	MaxLinks   int  `koanf:"max_links"`
}

const (
	mostBridges    = 64
	mostBridgeName = 64 // bytes
	mostLinks      = 4096
)

// BridgesOf returns the bridges by name, those without keys with those of the HTTP API.
func (s *Settings) BridgesOf() map[string]Bridge {
	all := maps.Clone(s.Bridges)
	for name, b := range all {
		if len(b.Keys) == 0 {
			b.Keys = s.APIKeys()
			all[name] = b
		}
	}
	return all
}

// bridgeFaults returns what is wrong with bridges, each of which is well formed.
func (s *Settings) bridgeFaults(fault func(key, text string)) {
	if len(s.Bridges) > mostBridges {
		fault("bridges", fmt.Sprintf("has more than %d", mostBridges))
	}
	if len(s.Bridges) > 0 && s.Internal.Listen == "" {
		fault("internal.listen", "is empty, and processes of bridges dial that listener (--internal-listen)")
	}
	for _, name := range slices.Sorted(maps.Keys(s.Bridges)) {
		b, key := s.Bridges[name], "bridges."+name
		if name == "" || len(name) > mostBridgeName || strings.Trim(name, nameBytes) != "" {
			fault(key, fmt.Sprintf("cannot be called that: a name has 1 to %d of A-Z, a-z, 0-9, - and _", mostBridgeName))
		}
		for i, k := range b.Keys {
			if len(k) < 24 {
				fault(fmt.Sprintf("%s.keys[%d]", key, i), "must have at least 24 bytes")
			}
		}
		if least := 2 * s.Limits.MaxPayload; b.MaxMessage < least {
			fault(key+".max_message", fmt.Sprintf("must be at least twice limits.max_payload (--max-payload), %s: an event is in one message", least))
		}
	}
}

// nameBytes are what names of bridges are made of.
const nameBytes = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// bridgeDoubts returns what is no mistake in bridges, and is hardly meant.
func (s *Settings) bridgeDoubts() (all []error) {
	for _, name := range slices.Sorted(maps.Keys(s.Bridges)) {
		doubt := func(text string) { all = append(all, &Fault{"bridges." + name, errors.New(text)}) }
		if !slices.ContainsFunc(s.Namespaces, func(n Namespace) bool { return n.Bridge == name }) {
			doubt("is named by no namespace (bridge): a process that dials it gets no clients")
		}
		if len(s.Bridges[name].Keys) == 0 && len(s.APIKeys()) == 0 {
			doubt("has no key, and neither has the API (api.keys, or --secret that one is made of): no process can dial it")
		}
	}
	return all
}
