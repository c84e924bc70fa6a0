package sio

import (
	"cmp"
	"fmt"
	"log/slog"
	"math"
	"reflect"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/sio/internal/memory"
	"github.com/sioedge/sioedge/sio/internal/relay"
)

// maxMaxRooms bounds Options.MaxRooms: rooms are counted in 16 bits, also those
// of a socket that joined as many before it was recovered.
const maxMaxRooms = math.MaxUint16

// passed are the options that have Node's names and are those of Engine.
var passed = []struct{ name, engine string }{
	{"Path", "Path"}, {"PingInterval", "PingInterval"}, {"PingTimeout", "PingTimeout"}, {"UpgradeTimeout", "UpgradeTimeout"},
	{"MaxHTTPBufferSize", "MaxPayload"}, {"Transports", "Transports"}, {"NoUpgrades", "NoUpgrades"}, {"AllowEIO3", "AllowEIO3"},
	{"AllowRequest", "AllowRequest"}, {"CORS", "CORS"}, {"Cookie", "Cookie"}, {"PerMessageDeflate", "Compression"},
	{"HTTPCompression", "HTTPCompression"}, {"InitialPacket", "InitialPacket"},
}

// complete returns o with what is passed on, and what its zero values mean, or tells
// what is wrong with it.
func (o Options) complete() (Options, error) {
	here, engine := reflect.ValueOf(&o).Elem(), reflect.ValueOf(&o.Engine).Elem()
	for _, p := range passed {
		v, to := here.FieldByName(p.name), engine.FieldByName(p.engine)
		switch {
		case v.IsZero():
		case to.IsZero():
			to.Set(v)
		case !reflect.DeepEqual(v.Interface(), to.Interface()): // functions never are equal
			return o, fmt.Errorf("sio: Options.%s and Options.Engine.%s are both set, and differ", p.name, p.engine)
		}
	}
	for _, name := range []string{"Route", "Forward", "Tunnel", "Seek", "Proven"} {
		if (name == "Route" || o.Adapter != nil) && !engine.FieldByName(name).IsZero() {
			return o, fmt.Errorf("sio: Options.Engine.%s is the Server's own (with an Adapter; Route always: see Options.Handler)", name)
		}
	}
	o = o.withDefaults()
	return o, o.check()
}

// withDefaults returns o with what its zero values mean.
func (o Options) withDefaults() Options {
	switch {
	case o.MemoryLimit == 0:
		o.MemoryLimit = memory.Available("/") / 4 * 3
	case o.MemoryLimit == math.MaxInt64:
		o.MemoryLimit = 0 // none
	}
	o.ConnectTimeout = cmp.Or(o.ConnectTimeout, 45*time.Second)
	o.MaxRooms = cmp.Or(o.MaxRooms, 10_000)
	o.MaxInstances = cmp.Or(o.MaxInstances, 100_000)
	o.MaxNamespaces = cmp.Or(o.MaxNamespaces, 128)
	o.MaxPendingAcks = cmp.Or(o.MaxPendingAcks, 1024)
	o.MaxBroadcasts = cmp.Or(o.MaxBroadcasts, 256<<20)
	o.MaxLeftBehind = cmp.Or(o.MaxLeftBehind, 64<<20)
	o.MaxForwards = cmp.Or(o.MaxForwards, 8192)
	o.MaxTunnels = cmp.Or(o.MaxTunnels, 4096)
	o.MaxEventName = cmp.Or(o.MaxEventName, 256)
	o.Logger = cmp.Or(o.Logger, slog.Default())
	o.Engine.Node = cmp.Or(o.Engine.Node, eio.NewNode())
	o.Engine.Path = cmp.Or(o.Engine.Path, "/socket.io/")
	o.Engine.Logger = cmp.Or(o.Engine.Logger, o.Logger)
	o.Loop.Logger = cmp.Or(o.Loop.Logger, o.Logger)
	// Whoever takes nothing for as long as a pong may take is gone anyway.
	o.Loop.SlowAfter = min(cmp.Or(o.Loop.SlowAfter, 10*time.Second), cmp.Or(o.Engine.PingTimeout, 20*time.Second))
	return o
}

// check tells what is wrong with o, which has its defaults.
func (o Options) check() error {
	if !o.QueuePolicy.Valid() {
		return fmt.Errorf("sio: Options.QueuePolicy is %d, which is none", o.QueuePolicy)
	}
	if o.MaxRooms > maxMaxRooms {
		return fmt.Errorf("sio: Options.MaxRooms is %d, more than %d", o.MaxRooms, maxMaxRooms)
	}
	r, l := o.Recovery, o.Limits
	for _, x := range []struct {
		name string
		n    int64
	}{
		{"MaxRooms", int64(o.MaxRooms)}, {"MaxNamespaces", int64(o.MaxNamespaces)}, {"MaxPendingAcks", int64(o.MaxPendingAcks)},
		{"MaxEventName", int64(o.MaxEventName)}, {"MaxBroadcasts", int64(o.MaxBroadcasts)}, {"MaxLeftBehind", int64(o.MaxLeftBehind)},
		{"MaxForwards", int64(o.MaxForwards)}, {"MemoryLimit", o.MemoryLimit}, {"MaxTunnels", int64(o.MaxTunnels)}, {"MaxInstances", int64(o.MaxInstances)},
		{"ConnectTimeout", int64(o.ConnectTimeout)}, {"Recovery.Window", int64(r.Window)}, {"Recovery.Patience", int64(r.Patience)},
		{"Recovery.MaxBytes", r.MaxBytes}, {"Limits.MaxAttachments", int64(l.MaxAttachments)},
		{"Limits.MaxAttachmentBytes", int64(l.MaxAttachmentBytes)}, {"Limits.MaxDepth", int64(l.MaxDepth)}, {"Limits.MaxArgs", int64(l.MaxArgs)},
		{"PingInterval", int64(o.Engine.PingInterval)}, {"PingTimeout", int64(o.Engine.PingTimeout)},
		{"UpgradeTimeout", int64(o.Engine.UpgradeTimeout)}, {"MaxHTTPBufferSize", int64(o.Engine.MaxPayload)},
	} {
		if x.n < 0 {
			return fmt.Errorf("sio: Options.%s is negative", x.name)
		}
	}
	if o.Advertise != "" {
		if _, err := relay.ParseURL(o.Advertise); err != nil {
			return err
		}
	}
	return nil
}
