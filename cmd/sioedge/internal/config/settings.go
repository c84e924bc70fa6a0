// Package config is the one tree of the server's settings: where each comes from
// (defaults, a file, the environment, flags), what is wrong with it, and how it is
// documented.
package config

import (
	"reflect"
	"time"

	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"
)

// A Size is a number of bytes, written as 65536, 64KiB or 1MB.
type Size int64

// Auth says how clients prove who they are.
type Auth struct {
	// Mode is none, jwt, header, webhook or jwt+webhook.
	Mode        string      `koanf:"mode" short:"true"`
	JWT         JWT         `koanf:"jwt"`
	Header      Header      `koanf:"header"`
	Certificate Certificate `koanf:"certificate"`
	// CacheSize bounds how many verified tokens are remembered.
	CacheSize int `koanf:"cache_size"`
	// MaxToken bounds a token, in bytes.
	MaxToken Size `koanf:"max_token"`
	// MaxRevocations bounds the revocations that are in force at one time.
	MaxRevocations int `koanf:"max_revocations"`
	// RevocationTTL is how long a revocation is in force unless it says so itself: as
	// long as tokens live.
	RevocationTTL time.Duration `koanf:"revocation_ttl"`
	// Revoked are tokens that are not believed, as long as they are listed.
	Revoked []Revoked `koanf:"revoked"`
}

// Revoked says which tokens are not believed: one by its id, or those of a user, or of
// all, that were issued before a time.
type Revoked struct {
	JTI    string `koanf:"jti"`
	User   string `koanf:"user"`
	Before string `koanf:"before"` // RFC 3339
}

// JWT says which tokens are believed (RFC 7519, RFC 8725).
type JWT struct {
	Secret         string `koanf:"secret"`          // HS256, HS384, HS512
	SecretPrevious string `koanf:"secret_previous"` // is still believed, while secrets rotate
	PublicKey      string `koanf:"public_key"`      // PEM, or the path of a file of it: RS, PS, ES, EdDSA
	JWKSURL        string `koanf:"jwks_url"`        // RFC 7517

	// JWKSRefresh is how often the keys are fetched again; an unknown key id has them
	// fetched sooner, but not more often than JWKSFloor.
	JWKSRefresh time.Duration `koanf:"jwks_refresh"`
	JWKSFloor   time.Duration `koanf:"jwks_floor"`
	JWKSTimeout time.Duration `koanf:"jwks_timeout"`
	// JWKSAllowHTTP lets JWKSURL be http beyond this machine: whoever is in between can
	// sign tokens then.
	JWKSAllowHTTP bool `koanf:"jwks_allow_http"`
	// JWKSFile keeps the last keys that were fetched, for a start while their server is
	// down. Empty: they are in memory alone.
	JWKSFile string `koanf:"jwks_file"`

	Algorithms []string      `koanf:"algorithms"` // empty: all that the keys are for
	Issuer     string        `koanf:"issuer"`     // empty: any
	Audience   []string      `koanf:"audience"`   // one of these must be in the token; empty: any
	Leeway     time.Duration `koanf:"leeway"`
	// RequireExpiry refuses tokens without exp.
	RequireExpiry bool `koanf:"require_expiry"`

	// The names of claims. Those of nested ones have dots: realm_access.roles.
	UserClaim       string `koanf:"user_claim"`
	ScopeClaim      string `koanf:"scope_claim"`      // text with spaces, or a list: permissions
	RoomsClaim      string `koanf:"rooms_claim"`      // rooms that may be joined, with wildcards; permissions too
	NamespacesClaim string `koanf:"namespaces_claim"` // if there, the only namespaces that may be entered
	EventsClaim     string `koanf:"events_claim"`     // if there, the only events that may be sent

	// Expire is what becomes of a live socket whose token expires: close (4401), or ignore.
	Expire string `koanf:"expire"`
	// Grace is how long before that auth:expiring is sent.
	Grace time.Duration `koanf:"grace"`
}

// Certificate says who a client is by its certificate.
type Certificate struct {
	User string `koanf:"user"` // cn, dns, email or uri
}

// Header says which fields of a request a trusted proxy sets.
type Header struct {
	User  string `koanf:"user"`  // X-User-Id
	Scope string `koanf:"scope"` // permissions, with spaces; empty: none
	Rooms string `koanf:"rooms"` // rooms that may be joined, with spaces; empty: none
}

// Limits bound what clients may do. Rates are written "100/s burst 200 drop".
type Limits struct {
	Events   string            `koanf:"events"`    // a socket's
	Bytes    string            `koanf:"bytes"`     // a socket's, on the way in: "64KiB/s burst 256KiB close"
	PerEvent map[string]string `koanf:"per_event"` // by the event's name, a socket's

	MaxConnsPerIP    int `koanf:"max_conns_per_ip"`
	MaxSessionsPerIP int `koanf:"max_sessions_per_ip"`
	MaxConnsPerUser  int `koanf:"max_conns_per_user"`
	// AcceptRate bounds new sessions a second; 0: by how late the loops are; negative: any number.
	AcceptRate int `koanf:"accept_rate"`

	// The bounds of the library's options of these names.
	MaxConns        int  `koanf:"max_conns"`
	MaxSessions     int  `koanf:"max_sessions"`
	MaxPayload      Size `koanf:"max_payload"`
	MaxAttachments  int  `koanf:"max_attachments"`
	MaxFragments    int  `koanf:"max_fragments"`
	MaxHeaderBytes  Size `koanf:"max_header_bytes"`
	MaxHeaderFields int  `koanf:"max_header_fields"`
	MaxNamespaces   int  `koanf:"max_namespaces"`
	MaxInstances    int  `koanf:"max_instances"` // 0: any number
	MaxRooms        int  `koanf:"max_rooms"`
	MaxPendingAcks  int  `koanf:"max_pending_acks"`
	MaxEventName    int  `koanf:"max_event_name"`
	MaxDepth        int  `koanf:"max_depth"`
	ConnBudget      Size `koanf:"conn_budget"`
	MaxBroadcasts   Size `koanf:"max_broadcasts"`
	MaxLeftBehind   Size `koanf:"max_left_behind"`
	// MaxBackendSockets bounds the sockets of which backends will be told that they have gone.
	MaxBackendSockets int    `koanf:"max_backend_sockets"`
	Memory            string `koanf:"memory"` // auto, or a size; 0: none
}

// TLS is for listeners that say tls://.
type TLS struct {
	// Cert and Key are PEM, or paths of files of it, in the same order: the first is for
	// clients that ask for a name that no certificate has.
	Cert []string `koanf:"cert"`
	Key  []string `koanf:"key"`

	ClientCA   string `koanf:"client_ca"`   // PEM or a path: who signs certificates of clients; empty: they are not asked for any
	ClientAuth string `koanf:"client_auth"` // require, or optional

	MinVersion       string        `koanf:"min_version"`       // 1.2 or 1.3
	Reload           time.Duration `koanf:"reload"`            // how often files are looked at
	Handshakes       int           `koanf:"handshakes"`        // at a time; 0: four for each loop
	HandshakeTimeout time.Duration `koanf:"handshake_timeout"` // from accept on
	ACME             ACME          `koanf:"acme"`
}

// ACME has certificates issued by an authority (RFC 8555).
type ACME struct {
	Domains   []string `koanf:"domains"` // empty: no certificate is asked for
	Email     string   `koanf:"email"`
	Directory string   `koanf:"directory"` // of the authority; empty: Let's Encrypt's
	CA        string   `koanf:"ca"`        // PEM or a path: who has signed the authority's own certificate; empty: those of the system
	Cache     string   `koanf:"cache"`     // directory that keeps account and certificates
}

// Admin is the page for operators, and the Admin UI's protocol.
type Admin struct {
	Enabled   bool   `koanf:"enabled" short:"true"`
	Namespace string `koanf:"namespace"` // that speaks @socket.io/admin-ui's protocol; empty: none
	User      string `koanf:"user"`
	Password  string `koanf:"password"` // its bcrypt hash
	ReadOnly  bool   `koanf:"readonly"`
	Mode      string `koanf:"mode"` // of the protocol: production or development
	// Hosts are names by which the page may be asked for, beside addresses and localhost.
	Hosts []string `koanf:"hosts"`
}

// A Namespace is declared: what its clients may do without a backend.
type Namespace struct {
	Pattern string            `koanf:"pattern" short:"true"` // /campaigns/:id/trends
	Params  map[string]string `koanf:"params"`               // expressions that values of parameters must match

	// Auth is required, optional or none; empty: required if there is a mode of Auth.
	Auth string `koanf:"auth"`
	// AllowConnect are permissions (templates) one of which a client must have.
	AllowConnect []string `koanf:"allow_connect"`
	// JoinOnConnect are rooms (templates) that each socket is in; those that need a user
	// are left out for who has none.
	JoinOnConnect []string `koanf:"join_on_connect"`
	// ReadOnly refuses all events of clients.
	ReadOnly bool `koanf:"readonly"`

	Events   map[string]Event `koanf:"events"` // by name; "*": those that have none of their own
	Emit     map[string]Class `koanf:"emit"`   // by name: how what is sent waits for slow clients
	Limits   NamespaceLimits  `koanf:"limits"`
	History  History          `koanf:"history"`
	Presence Presence         `koanf:"presence"`

	// Backend is the name of its backend; empty: the default one, NoBackend: it has none.
	Backend string `koanf:"backend"`
	// Hooks are what that is asked and told; empty: as the backend's Events.
	Hooks []string `koanf:"hooks"`
	// Bridge is the name of the bridge whose application has its handlers; empty: none.
	Bridge string `koanf:"bridge"`
}

// Plain tells whether a namespace has nothing but its pattern.
func (n Namespace) Plain() bool {
	tree := map[string]any{}
	keys.fill(tree, reflect.TypeFor[Namespace](), "namespaces[]")
	var plain Namespace
	k := koanf.New(".")
	if k.Load(confmap.Provider(tree, ""), nil) != nil || k.Unmarshal("", &plain) != nil {
		return false
	}
	plain.Pattern = n.Pattern
	return reflect.DeepEqual(plain, n)
}

// An Event of clients, and what is done with it.
type Event struct {
	Action string `koanf:"action" short:"true"` // join, leave, relay, drop, webhook or bridge

	Room string   `koanf:"room"` // of join and leave: a template
	To   []string `koanf:"to"`   // of relay: rooms, templates; empty: everybody in the namespace

	// Allow are patterns (templates, with * for any text) one of which each room of the
	// action must match, unless the client's token grants it. A room that has arguments
	// in it needs one or the other.
	Allow []string `koanf:"allow"`
	// Require are permissions (templates) one of which a client must have.
	Require    []string `koanf:"require"`
	MemberOnly bool     `koanf:"member_only"` // of relay: to rooms that the sender is in
	Volatile   bool     `koanf:"volatile"`    // of relay
	Self       bool     `koanf:"self"`        // of relay: the sender gets it too
	Sender     bool     `koanf:"sender"`      // of relay: one more argument, {"id", "user"}
	As         string   `koanf:"as"`          // of relay: another name for the event
	Skip       int      `koanf:"skip"`        // of relay: the first arguments, such as the room, are not passed on

	// Ack says whether a client that wants an acknowledgement gets it; nil is yes.
	Ack      *bool  `koanf:"ack"`
	Rate     string `koanf:"rate"`
	MaxBytes Size   `koanf:"max_bytes"` // of the arguments, attachments among them

	Backend string        `koanf:"backend"` // of webhook; empty: the namespace's
	Timeout time.Duration `koanf:"timeout"` // of webhook, how long an acknowledgement may take; 0: as long as a request
}

// A Class says what becomes of an event for a client that takes too little.
type Class struct {
	Policy string `koanf:"policy" short:"true"` // close, drop-new, drop-oldest, conflate
	Key    string `koanf:"key"`                 // of conflate: a template of args: the latest of each is kept
}

// NamespaceLimits bound what clients may do in one namespace.
type NamespaceLimits struct {
	MaxRooms        int    `koanf:"max_rooms"`
	Events          string `koanf:"events"`
	Bytes           string `koanf:"bytes"`
	MaxConnsPerUser int    `koanf:"max_conns_per_user"`
}

// History of the rooms of a namespace.
type History struct {
	Size         int           `koanf:"size"` // events a room; 0: none is kept
	TTL          time.Duration `koanf:"ttl"`
	MaxBytes     Size          `koanf:"max_bytes"` // of all rooms of the namespace together
	ReplayOnJoin int           `koanf:"replay_on_join"`
	Events       []string      `koanf:"events"` // that are kept; empty: all that are not volatile
}

// Presence tells clients who is in their rooms.
type Presence struct {
	Enabled  bool          `koanf:"enabled" short:"true"`
	Debounce time.Duration `koanf:"debounce"` // how long a user may be away unnoticed, beside recovery
}
