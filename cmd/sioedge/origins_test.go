package main

import (
	"strings"
	"testing"

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
		var conf config
		f := flags(&conf)
		if err := f.Parse(strings.Fields(c.args)); err != nil {
			t.Fatal(err)
		}
		if c.env != "" {
			if err := environment(f, []string{c.env}); err != nil {
				t.Fatal(err)
			}
		}
		o, err := conf.options()
		if err != nil {
			t.Fatal(err)
		}
		cors := o.Engine.CORS
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

func TestLimitsOfTheFlags(t *testing.T) {
	var conf config
	if err := flags(&conf).Parse([]string{"--cookie=sticky"}); err != nil {
		t.Fatal(err)
	}
	o, err := conf.options()
	if err != nil {
		t.Fatal(err)
	}
	if o.MaxRooms != 128 || o.MaxNamespaces != 16 || o.Engine.Cookie == nil || o.Engine.Cookie.Name != "sticky" {
		t.Errorf("options() has %d rooms, %d namespaces, cookie %v; want 128, 16, sticky", o.MaxRooms, o.MaxNamespaces, o.Engine.Cookie)
	}
}
