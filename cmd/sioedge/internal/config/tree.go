package config

import (
	"errors"
	"net/netip"
	"time"
)

// Settings are all that can be set. What each of them means is in the table of [Keys].
type Settings struct {
	Listen        []string       `koanf:"listen"`
	Path          string         `koanf:"path"`
	Transports    []string       `koanf:"transports"`
	EIO3          bool           `koanf:"eio3"`
	Parser        string         `koanf:"parser"`
	Origins       []string       `koanf:"origins"`
	TrustProxy    []netip.Prefix `koanf:"trust_proxy"`
	ProxyHeaders  string         `koanf:"proxy_headers"` // in which they say it: x-forwarded or forwarded
	Cookie        string         `koanf:"cookie"`
	KeepHandshake bool           `koanf:"keep_handshake"`
	Loops         int            `koanf:"loops"`
	Drain         time.Duration  `koanf:"drain"`
	DrainDelay    time.Duration  `koanf:"drain_delay"`
	Env           string         `koanf:"env"`
	Demo          bool           `koanf:"demo"`

	Client   Client   `koanf:"client"`
	Ping     Ping     `koanf:"ping"`
	Timeouts Timeouts `koanf:"timeouts"`
	Compress Compress `koanf:"compress"`
	Recovery Recovery `koanf:"recovery"`
	Queue    Queue    `koanf:"queue"`
	Adapter  Adapter  `koanf:"adapter"`
	Cluster  Cluster  `koanf:"cluster"`
	TCP      TCP      `koanf:"tcp"`
	Log      Log      `koanf:"log"`
	TLS      TLS      `koanf:"tls"`
	Health   Health   `koanf:"health"`
	Admin    Admin    `koanf:"admin"`
	Metrics  bool     `koanf:"metrics"`
	Handover Handover `koanf:"handover"`

	Limits     Limits      `koanf:"limits"`
	Auth       Auth        `koanf:"auth"`
	Namespaces []Namespace `koanf:"namespaces"`

	Secret   string             `koanf:"secret"`
	Internal Internal           `koanf:"internal"`
	API      API                `koanf:"api"`
	Webhook  Backend            `koanf:"webhook"`
	Backends map[string]Backend `koanf:"backends"`
	Bridges  map[string]Bridge  `koanf:"bridges"`
}

// Handover is how another process takes over.
type Handover struct {
	Socket  string `koanf:"socket" short:"true"` // path; empty: nobody finds the server there
	Program string `koanf:"program"`             // path; empty: that of this process
	Stay    string `koanf:"stay"`                // auto, always or never

	ReadyTimeout time.Duration `koanf:"ready_timeout"`
	HoldTimeout  time.Duration `koanf:"hold_timeout"`
	TakeTimeout  time.Duration `koanf:"take_timeout"`
}

// Client is about the files of the browser client.
type Client struct {
	Serve bool   `koanf:"serve"`
	Dir   string `koanf:"dir"`
}

// Ping is the heartbeat.
type Ping struct {
	Interval time.Duration `koanf:"interval"`
	Timeout  time.Duration `koanf:"timeout"`
}

// Timeouts bound what clients may take their time for.
type Timeouts struct {
	Upgrade time.Duration `koanf:"upgrade"`
	Connect time.Duration `koanf:"connect"`
	Header  time.Duration `koanf:"header"`
	Body    time.Duration `koanf:"body"`
	Idle    time.Duration `koanf:"idle"`
}

// Compress is about permessage-deflate, and the answers to polls.
type Compress struct {
	Mode        string `koanf:"mode" short:"true"` // off, broadcast or all
	Threshold   Size   `koanf:"threshold"`
	Level       int    `koanf:"level"`
	MaxInflated Size   `koanf:"max_inflated"` // 0: four times Limits.MaxPayload
}

// Recovery is connection state recovery.
type Recovery struct {
	Window time.Duration `koanf:"window" short:"true"`
	Buffer Size          `koanf:"buffer"`
}

// Queue is about what waits for one client on the way out.
type Queue struct {
	Max       Size          `koanf:"max"`
	HardMax   Size          `koanf:"hard_max"`
	SlowAfter time.Duration `koanf:"slow_after"`
	Policy    string        `koanf:"policy"` // as of a Class
}

// Adapter joins servers to a cluster.
type Adapter struct {
	URL              string `koanf:"url" short:"true"` // memory, a kind, or a URL
	Prefix           string `koanf:"prefix"`
	MaxSubscriptions int    `koanf:"max_subscriptions"`
	Required         bool   `koanf:"required"` // to be ready
}

// Cluster is about what the servers of a cluster pass on to each other.
type Cluster struct {
	Secret      string `koanf:"secret"`
	Advertise   string `koanf:"advertise"`
	MaxForwards int    `koanf:"max_forwards"`
	MaxTunnels  int    `koanf:"max_tunnels"`
}

// TCP is about the kernel's sockets.
type TCP struct {
	UserTimeout  time.Duration `koanf:"user_timeout"`
	NotSentLowat Size          `koanf:"notsent_lowat"`
	SendBuffer   Size          `koanf:"send_buffer"`
	RecvBuffer   Size          `koanf:"recv_buffer"`
}

// Log is about the log.
type Log struct {
	Level  string `koanf:"level"`
	Format string `koanf:"format"`
	File   string `koanf:"file"`
	// ConnSample is the part of connections, a number from 0 to 1, that are logged.
	ConnSample string `koanf:"conn_sample"`
}

// Health is what a balancer sees on public listeners.
type Health struct {
	Path string `koanf:"path"`
}

// check returns what is wrong with settings that are each well formed.
func (s *Settings) check() error {
	var all []error
	fault := func(key, text string) { all = append(all, &Fault{key, errors.New(text)}) }
	if s.Demo && s.Env == "production" {
		fault("demo", "is refused in the environment production (--env)")
	}
	if s.Auth.Mode == "header" && len(s.TrustProxy) == 0 {
		fault("auth.mode", "header needs trust_proxy (--trust-proxy): who may say it")
	}
	if s.Auth.Mode == "certificate" && s.TLS.ClientCA == "" {
		fault("auth.mode", "certificate needs tls.client_ca (--tls-client-ca): who signs certificates of clients")
	}
	if s.Queue.HardMax < s.Queue.Max {
		fault("queue.hard_max", "must be at least queue.max (--queue-max)")
	}
	if budget := s.Limits.ConnBudget; budget != 0 && budget < 2*s.Limits.MaxPayload+256<<10 {
		fault("limits.conn_budget", "must be at least twice limits.max_payload and 256 KiB (--max-payload)")
	}
	if s.EIO3 && s.Ping.Interval+s.Ping.Timeout > mostPing {
		fault("ping.interval", "must with ping.timeout be at most 24 days for clients of Socket.IO 2 (--eio3)")
	}
	for key, n := range map[string]int{"listen": len(s.Listen), "transports": len(s.Transports)} {
		if n == 0 {
			fault(key, "must name at least one")
		}
	}
	seen := map[string]bool{}
	for _, t := range s.Transports {
		if seen[t] {
			fault("transports", "names "+t+" twice")
		}
		seen[t] = true
	}
	if s.Admin.Enabled && s.Admin.Password == "" && len(s.APIKeys()) == 0 {
		fault("admin.password", "is missing, and so is a key of the API: nobody could use the page for operators (--admin)")
	}
	s.backendFaults(fault)
	s.bridgeFaults(fault)
	return errors.Join(all...)
}
