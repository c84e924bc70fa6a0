package config

import (
	"strings"
	"testing"
)

func TestDoubts(t *testing.T) {
	for _, c := range []struct {
		name string
		s    Settings
		want string
	}{
		{"the backend alone says who it is", Settings{Auth: Auth{Mode: "webhook"}, Namespaces: []Namespace{{Pattern: "/a"}}}, "webhook.on_error: is allow, but /a needs"},
		{"required without a mode", Settings{Auth: Auth{Mode: "none"}, Namespaces: []Namespace{{Pattern: "/a", Auth: "required"}}}, "webhook.on_error: "},
		{"a backend of its own", Settings{Auth: Auth{Mode: "webhook"}, Backends: map[string]Backend{"b": {URL: "http://b"}}, Namespaces: []Namespace{{Pattern: "/a", Backend: "b", Hooks: []string{"connect"}}}}, "backends.b.on_error: "},
		{"a token", Settings{Auth: Auth{Mode: "jwt+webhook"}, Namespaces: []Namespace{{Pattern: "/a", Auth: "required"}}}, ""},
		{"optional", Settings{Auth: Auth{Mode: "webhook"}, Namespaces: []Namespace{{Pattern: "/a", Auth: "optional"}}}, ""},
		{"no mode", Settings{Auth: Auth{Mode: "none"}, Namespaces: []Namespace{{Pattern: "/a"}}}, ""},
		{"not asked", Settings{Auth: Auth{Mode: "none"}, Namespaces: []Namespace{{Pattern: "/a", Auth: "required", Hooks: []string{"event"}}}}, ""},
		{"no backend", Settings{Auth: Auth{Mode: "none"}, Namespaces: []Namespace{{Pattern: "/a", Auth: "required", Backend: NoBackend}}}, ""},
		{"a bridge without a namespace", Settings{Secret: "x", Bridges: map[string]Bridge{"b": {}}}, "bridges.b: is named by no namespace"},
		{"a bridge without a key", Settings{Bridges: map[string]Bridge{"b": {}}, Namespaces: []Namespace{{Pattern: "/a", Bridge: "b"}}}, "bridges.b: has no key"},
		{"a bridge", Settings{Bridges: map[string]Bridge{"b": {Keys: []string{"k"}}}, Namespaces: []Namespace{{Pattern: "/a", Bridge: "b"}}}, ""},
	} {
		c.s.Webhook = Backend{URL: "http://a", OnError: "allow", Events: []string{"connect", "event"}}
		got := ""
		if err := c.s.Doubts(); err != nil {
			got = err.Error()
		}
		if (c.want == "") != (got == "") || !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		if c.s.Webhook.OnError = "reject"; c.s.Bridges == nil && c.s.Doubts() != nil {
			t.Errorf("%s: with reject, %v", c.name, c.s.Doubts())
		}
	}
}
