package config

import (
	"errors"
	"fmt"
	"slices"
)

// Doubts returns what is no mistake in the settings, and is hardly meant: Faults, joined.
func (s *Settings) Doubts() error {
	all := s.bridgeDoubts()
	backends := s.BackendsOf()
	for _, n := range s.Namespaces {
		name := n.Backend
		if name == "" {
			name = DefaultBackend
		}
		b, ok := backends[name]
		hooks := n.Hooks
		if len(hooks) == 0 {
			hooks = b.Events
		}
		// With a token, or a proxy, who is let in for want of an answer is somebody still.
		alone := s.Auth.Mode == "webhook" || s.Auth.Mode == "none" || s.Auth.Mode == ""
		required := n.Auth == "required" || n.Auth == "" && s.Auth.Mode == "webhook"
		if ok && alone && required && b.OnError == "allow" && slices.Contains(hooks, "connect") {
			key := "backends." + name + ".on_error"
			if name == DefaultBackend {
				key = "webhook.on_error"
			}
			all = append(all, &Fault{key, fmt.Errorf("is allow, but %s needs an identity, which nobody has whom the backend did not name: such clients are refused as unauthorized (its auth may be optional)", n.Pattern)})
		}
	}
	return errors.Join(all...)
}
