package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/sio"
)

func TestOriginsOfTheFlags(t *testing.T) {
	for _, c := range []struct {
		args, env   string
		origins     string
		credentials bool
	}{
		{"", "", "", false},
		{"--origins=", "", "", false},
		{"--origins=*", "", "*", false},
		{"--origins=https://a.example,https://*.b.example", "", "https://a.example,https://*.b.example", true},
		{"--origins=https://a.example --origins=http://localhost:*", "", "https://a.example,http://localhost:*", true},
		{"--demo", "", "*", false},
		{"--demo --origins=https://a.example", "", "https://a.example", true},
		{"", "SIOEDGE_ORIGINS=https://a.example,https://b.example", "https://a.example,https://b.example", true},
	} {
		o := optionsOf(t, settings(t, c.args, c.env))
		cors := o.CORS
		if cors == nil || strings.Join(cors.Origins, ",") != c.origins || cors.Credentials != c.credentials || !strings.Contains(cors.Hint, "--origins") {
			t.Errorf("%q %q give %+v, want %q and credentials %t", c.args, c.env, cors, c.origins, c.credentials)
		}
		o.Loop.Loops = 1
		srv, err := sio.New(o)
		if err != nil {
			t.Fatalf("%q %q: %v", c.args, c.env, err)
		}
		if err := srv.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// What ordinary programs do on Node's server they can do on this one, without a
// flag; 0 is the library's default, which is Node's.
func TestDefaultsServeWhatNodeServes(t *testing.T) {
	conf := settings(t, "--cookie=sticky")
	o := optionsOf(t, conf)
	if o.Cookie == nil || o.Cookie.Name != "sticky" {
		t.Errorf("--cookie=sticky gives the cookie %v", o.Cookie)
	}
	e, l := o.Engine, o.Loop
	for name, ok := range map[string]bool{
		"rooms of a socket":           o.MaxRooms >= 10_000,
		"namespaces of a connection":  o.MaxNamespaces >= 128,
		"the main namespace":          slices.Contains(patterns(conf), "/"),
		"no recovery":                 o.Recovery.Window == 0,
		"the interval of pings":       o.PingInterval == 25*time.Second && o.PingTimeout == 20*time.Second,
		"time to upgrade":             o.UpgradeTimeout == 10*time.Second,
		"time to join":                o.ConnectTimeout == 45*time.Second,
		"a payload":                   o.MaxHTTPBufferSize == 1e6,
		"attachments":                 o.Limits.MaxAttachments == 10,
		"idle connections of proxies": e.IdleTimeout > 60*time.Second,
		"heads":                       e.MaxHeaderBytes >= 16<<10 && e.MaxHeaderFields >= 100,
		"both transports":             len(o.Transports) == 2,
		"no Socket.IO 2":              !o.AllowEIO3,
		"as many connections":         l.MaxConns == 0,
	} {
		if !ok {
			t.Errorf("the defaults have not what Node's have: %s", name)
		}
	}
}
