package config

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Internal is about the listener for operators and backends, which clients do not reach.
type Internal struct {
	Listen string `koanf:"listen" short:"true"` // host:port, unix:/path; empty: there is none
}

// API is about the HTTP API.
type API struct {
	Keys    []string `koanf:"keys"` // each of which opens it; empty: one made of Settings.Secret
	MaxBody Size     `koanf:"max_body"`

	MaxRequests int `koanf:"max_requests"` // of one key at a time
	MaxStreams  int `koanf:"max_streams"`  // of one key at a time, beside those

	MaxRoomData Size `koanf:"max_room_data"` // that is stored with rooms, all of them
}

// A Backend is an application that is told by HTTP requests what clients do, and says
// what becomes of it. Of those in Settings.Backends a zero field is as Settings.Webhook
// has it; see [Settings.BackendsOf].
type Backend struct {
	// URL is where requests go: http://, https://, or unix:/path/to/socket:/path. {type}
	// in its path is the kind of what is in a request, which then has no other.
	URL string `koanf:"url" short:"true"`
	// Secret signs requests; so does SecretPrevious, while secrets rotate.
	Secret         string        `koanf:"secret"`
	SecretPrevious string        `koanf:"secret_previous"`
	Timeout        time.Duration `koanf:"timeout"` // of a request
	// Events are the kinds that it is told of, and asked about.
	Events  []string `koanf:"events"`
	OnError string   `koanf:"on_error"` // close, reject or allow: what becomes of who connects while it fails

	Lanes         int           `koanf:"lanes"`
	Concurrency   int           `koanf:"concurrency"` // requests at one time
	MaxBatch      int           `koanf:"max_batch"`   // items of a request
	MaxBatchBytes Size          `koanf:"max_batch_bytes"`
	MaxAnswer     Size          `koanf:"max_answer"`
	Queue         Size          `koanf:"queue"` // all that waits
	RetryFor      time.Duration `koanf:"retry_for"`
	// DisconnectRate bounds how many disconnects a second it is told of; the others wait.
	DisconnectRate int `koanf:"disconnect_rate"`
	// AckErrors has clients that wait for an acknowledgement be told that there is none.
	AckErrors bool `koanf:"ack_errors"`

	Format         string        `koanf:"format"` // compact or cloudevents
	Binary         string        `koanf:"binary"` // base64 or multipart
	ForwardHeaders []string      `koanf:"forward_headers"`
	CacheTTL       time.Duration `koanf:"cache_ttl"` // the longest that an answer may be kept, if it says so
	CacheSize      int           `koanf:"cache_size"`

	CA   string `koanf:"ca"` // PEM, or the path of a file of it; empty: the system's
	Cert string `koanf:"cert"`
	Key  string `koanf:"key"`
}

// Hooks are the kinds that a Backend may be told of, in the order of action.Kind.
var Hooks = []string{"connect", "event", "disconnect", "connected", "room", "refresh", "node"}

// DefaultBackend is the name of the Backend of Settings.Webhook, NoBackend says in a
// Namespace that it has none.
const (
	DefaultBackend = "default"
	NoBackend      = "none"
)

// Labels of what is made of Settings.Secret. They are of the product's surface: who
// knows the secret can make the same.
const (
	labelAPI     = "sioedge api key v1"
	labelWebhook = "sioedge webhook v1 " // and the backend's name
)

// derive makes a key of the secret.
func (s *Settings) derive(label string) string {
	m := hmac.New(sha256.New, []byte(s.Secret))
	m.Write([]byte(label))
	return hex.EncodeToString(m.Sum(nil))
}

// APIKeys returns the keys that open the HTTP API; none: it is closed.
func (s *Settings) APIKeys() []string {
	if len(s.API.Keys) == 0 && s.Secret != "" {
		return []string{s.derive(labelAPI)}
	}
	return s.API.Keys
}

// BackendsOf returns the backends by name, with all that they inherit set, and secrets
// derived where there is none. The default one is among them if it has a URL.
func (s *Settings) BackendsOf() map[string]Backend {
	all := map[string]Backend{}
	add := func(name string, b Backend) {
		if b.Secret == "" && s.Secret != "" {
			b.Secret = s.derive(labelWebhook + name)
		}
		all[name] = b
	}
	if s.Webhook.URL != "" {
		add(DefaultBackend, s.Webhook)
	}
	for name, b := range s.Backends {
		inherit(&b, &s.Webhook)
		add(name, b)
	}
	return all
}

// inherit sets what is zero in b as it is in from. A secret of its own is alone.
func inherit(b, from *Backend) {
	own := b.Secret != ""
	v, w := reflect.ValueOf(b).Elem(), reflect.ValueOf(from).Elem()
	for i := range v.NumField() {
		if name := v.Type().Field(i).Name; v.Field(i).IsZero() && name != "URL" && !(own && name == "SecretPrevious") {
			v.Field(i).Set(w.Field(i))
		}
	}
}

// mostBackends bounds those that are named.
const mostBackends = 64

// backendFaults returns what is wrong with backends, each of which is well formed.
func (s *Settings) backendFaults(fault func(key, text string)) {
	if s.Secret != "" && len(s.Secret) < 32 {
		fault("secret", "must have at least 32 bytes")
	}
	for i, k := range s.API.Keys {
		if len(k) < 24 {
			fault(fmt.Sprintf("api.keys[%d]", i), "must have at least 24 bytes")
		}
	}
	if len(s.Backends) > mostBackends {
		fault("backends", fmt.Sprintf("has more than %d", mostBackends))
	}
	all := s.BackendsOf()
	for _, name := range slices.Sorted(maps.Keys(s.Backends)) {
		if name == DefaultBackend || name == NoBackend || name == "" {
			fault("backends."+name, "cannot be called that")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		b, key := all[name], "backends."+name
		if name == DefaultBackend {
			key = "webhook"
		}
		b.faults(func(field, text string) { fault(key+"."+field, text) })
	}
}

// faults returns what is wrong with a backend that has inherited.
func (b *Backend) faults(fault func(field, text string)) {
	if err := checkBackendURL(b.URL); err != nil {
		fault("url", err.Error())
	}
	for field, secret := range map[string]string{"secret": b.Secret, "secret_previous": b.SecretPrevious} {
		if secret != "" && len(secret) < 24 {
			fault(field, "must have at least 24 bytes")
		}
	}
	if b.Secret == "" {
		fault("secret", "is missing: without it, or secret (--secret), the backend cannot know whose requests it gets")
	}
	if (b.Cert == "") != (b.Key == "") {
		fault("cert", "goes with key, and key with cert")
	}
}

// checkBackendURL tells what is wrong with where requests go.
func checkBackendURL(text string) error {
	if path, ok := strings.CutPrefix(text, "unix:"); ok {
		socket, _, _ := strings.Cut(path, ":")
		if !strings.HasPrefix(socket, "/") {
			return errors.New("is not unix:/path/to/socket, with :/path behind it if need be")
		}
		return nil
	}
	u, err := url.Parse(text)
	switch {
	case text == "":
		return errors.New("is missing: http://host:port/path, https://… or unix:/path/to/socket:/path")
	case err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "":
		return errors.New("is no URL of http or https, and no unix:/path/to/socket:/path")
	case u.User != nil:
		return errors.New("has a user: requests are signed by webhook.secret")
	case u.Fragment != "":
		return errors.New("has a fragment, which is sent to nobody")
	case strings.ContainsAny(u.Host+u.RawQuery, "{}"):
		return errors.New("has a placeholder outside of its path")
	}
	return nil
}
