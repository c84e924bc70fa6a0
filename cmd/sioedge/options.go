package main

import (
	"cmp"
	"errors"
	"io/fs"
	"log/slog"
	"math"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/sioedge/sioedge/cmd/sioedge/demo"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/action"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/listen"
	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/parser"
)

// options makes the library's options of the settings. Errors are faults of them.
func options(l *config.Loaded, logger *slog.Logger) (sio.Options, error) {
	s := &l.Settings
	o := plain(s)
	o.Logger, o.MemoryLimit, o.Parser = logger, memoryLimit(s), packets[s.Parser]
	o.PerMessageDeflate = compression(s)
	var faults [2]error
	o.Adapter, faults[0] = cluster(l, logger)
	if s.Client.Serve {
		o.Client, faults[1] = client(s)
	}
	if s.Demo {
		o.Handler = demo.Page()
	}
	return o, errors.Join(faults[:]...)
}

// plain returns the options that need no more than what the settings say.
func plain(s *config.Settings) sio.Options {
	l, q := &s.Limits, &s.Queue
	o := sio.Options{
		Engine: eio.Options{
			MaxFragments: l.MaxFragments, MaxQueue: int(q.Max), MaxQueueHard: int(q.HardMax), SlowAfter: q.SlowAfter, ConnBudget: int(l.ConnBudget),
			MaxSessions: l.MaxSessions, MaxSessionsPerIP: l.MaxSessionsPerIP, MaxConnsPerIP: l.MaxConnsPerIP, AcceptRate: l.AcceptRate,
			HeadTimeout: s.Timeouts.Header, BodyTimeout: s.Timeouts.Body, IdleTimeout: s.Timeouts.Idle,
			MaxHeaderBytes: int(l.MaxHeaderBytes), MaxHeaderFields: l.MaxHeaderFields,
			Via:        listen.Via(s.TrustProxy, s.ProxyHeaders),
			CloseCodes: true,
		},
		Loop: loop.Options{
			Loops: s.Loops, MaxConns: l.MaxConns, SoftOutbound: int(q.Max), MaxOutbound: int(q.HardMax), SlowAfter: q.SlowAfter,
			OpeningTimeout: s.TLS.HandshakeTimeout, UserTimeout: s.TCP.UserTimeout, NotSentLowat: cmp.Or(int(s.TCP.NotSentLowat), -1), SendBuffer: int(s.TCP.SendBuffer), RecvBuffer: int(s.TCP.RecvBuffer),
		},
		Path:              s.Path,
		PingInterval:      s.Ping.Interval,
		PingTimeout:       s.Ping.Timeout,
		UpgradeTimeout:    s.Timeouts.Upgrade,
		MaxHTTPBufferSize: int(l.MaxPayload),
		Transports:        s.Transports,
		AllowEIO3:         s.EIO3,
		CORS:              cors(s),
		HTTPCompression:   &eio.HTTPCompression{Threshold: int(s.Compress.Threshold)},
		ConnectTimeout:    s.Timeouts.Connect,
		Limits:            parser.Limits{MaxAttachments: l.MaxAttachments, MaxDepth: l.MaxDepth},
		MaxInstances:      cmp.Or(l.MaxInstances, math.MaxInt),
		MaxNamespaces:     l.MaxNamespaces,
		MaxRooms:          l.MaxRooms,
		MaxPendingAcks:    l.MaxPendingAcks,
		MaxEventName:      l.MaxEventName,
		MaxBroadcasts:     int(l.MaxBroadcasts),
		MaxLeftBehind:     int(l.MaxLeftBehind),
		QueuePolicy:       policies[q.Policy],
		Recovery:          sio.Recovery{Window: s.Recovery.Window, MaxBytes: int64(s.Recovery.Buffer)},
		Advertise:         s.Cluster.Advertise,
		ClusterSecret:     s.Cluster.Secret,
		MaxForwards:       s.Cluster.MaxForwards,
		MaxTunnels:        s.Cluster.MaxTunnels,
		KeepHandshake:     sio.KeepForFirst,
		EncodeData:        action.EncodeData,
		DecodeData:        action.DecodeData,
	}
	if s.KeepHandshake {
		o.KeepHandshake = sio.KeepAlways
	}
	if s.Cookie != "" {
		o.Cookie = &http.Cookie{Name: s.Cookie}
	}
	return o
}

// packets are what parser can be.
var packets = map[string]sio.Parser{"default": sio.JSON, "msgpack": sio.MessagePack, "auto": sio.EitherParser}

// policies are what queue.policy can be.
var policies = map[string]sio.Policy{"close": sio.CloseSlow, "drop-new": sio.DropNew, "drop-oldest": sio.DropOldest, "conflate": sio.Conflate}

// cors returns what the settings say of origins. Pages of those that are named may send
// their cookies; when any may come, none.
func cors(s *config.Settings) *eio.CORS {
	origins := allowed(s)
	return &eio.CORS{
		Origins: origins, Credentials: len(origins) > 0 && !slices.Contains(origins, "*"),
		Hint: "; the server's --origins says which are",
	}
}

// allowed returns the origins whose pages may use the server beside its own.
func allowed(s *config.Settings) []string {
	if s.Demo && len(s.Origins) == 0 {
		return []string{"*"}
	}
	return s.Origins
}

// compression returns what the settings say about WebSocket messages, nil for off.
func compression(s *config.Settings) *eio.Compression {
	c := &s.Compress
	if c.Mode == "off" {
		return nil
	}
	return &eio.Compression{
		Threshold: int(c.Threshold), Level: c.Level, PreparedOnly: c.Mode == "broadcast",
		// The library's default is Node's, which is the size before.
		MaxInflated: cmp.Or(int(c.MaxInflated), 4*int(s.Limits.MaxPayload)),
	}
}

// memoryLimit returns what limits.memory says, as Options.MemoryLimit has it.
func memoryLimit(s *config.Settings) int64 {
	if s.Limits.Memory == "auto" {
		return 0
	}
	n, _ := config.ParseSize(s.Limits.Memory) // has been checked
	return cmp.Or(int64(n), math.MaxInt64)    // none
}

// client returns the browser client's files; nil if the binary has none.
func client(s *config.Settings) (fs.FS, error) {
	if s.Client.Dir != "" {
		if _, err := os.Stat(s.Client.Dir); err != nil {
			return nil, &config.Fault{Key: "client.dir", Err: err}
		}
		return os.DirFS(s.Client.Dir), nil
	}
	files, err := fs.Sub(bundle, "client")
	if err != nil {
		return nil, err
	}
	if _, err := fs.Stat(files, "socket.io.js"); err != nil {
		return nil, nil
	}
	return files, nil
}

// blame returns what the library says of its options as a fault of the setting.
func blame(err error) error {
	for _, of := range []struct{ text, key string }{
		{"cannot be a path", "path"}, {"CORS: ", "origins"}, {"Cookie", "cookie"},
		{"is not the base URL of a server", "cluster.advertise"}, {" loops: ", "loops"}, {"HealthPath", "health.path"},
	} {
		if strings.Contains(err.Error(), of.text) {
			_, text, _ := strings.Cut(err.Error(), ": ") // the package
			return &config.Fault{Key: of.key, Err: errors.New(strings.TrimPrefix(text, "CORS: "))}
		}
	}
	return err
}
