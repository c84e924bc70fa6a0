package main

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/sioedge/sioedge/sio"
)

// What is wrong with the Admin UI's settings is told by its key.
func TestCheckOfTheAdminUI(t *testing.T) {
	const key = "--api-key=0123456789abcdef0123456789abcdef "
	for _, x := range []struct{ args, want string }{
		{key + "--admin-namespace=/admin", ""},
		{"--admin-namespace=/admin", "--admin-password: is missing"},
		{key + "--admin-namespace=admin", "--admin-namespace: must begin with a slash"},
		{key + "--admin-namespace=/", "--admin-namespace: must begin with a slash"},
		{key + "--admin-namespace=/:id", "--admin-namespace: cannot have"},
		{key + "--admin-namespace=/sioedge.servers", "--admin-namespace: is where servers speak"},
		{key + "--admin-namespace=/chat --demo", "--admin-namespace: is a namespace of the demonstration"},
	} {
		l, err := load(x.args)
		if err == nil {
			err = check(l)
		}
		if x.want == "" && err != nil || x.want != "" && (err == nil || !strings.Contains(err.Error(), x.want)) {
			t.Errorf("%s: %v, want %q", x.args, err, x.want)
		}
	}
}

// A namespace that is declared cannot be the Admin UI's too.
func TestAdminUINamespaceIsDeclared(t *testing.T) {
	file := settingsFile(t, "admin: { namespace: /admin }\napi: { keys: [ 0123456789abcdef0123456789abcdef ] }\nnamespaces: [ { pattern: /admin } ]\n")
	l, err := load("--config=" + file)
	if err == nil {
		err = check(l)
	}
	if err == nil || !strings.Contains(err.Error(), "namespaces[0].pattern: is a namespace of the server's own") {
		t.Errorf("%v", err)
	}
}

// In development mode, and there alone, requests are kept to be shown.
func TestAdminUIKeepsRequests(t *testing.T) {
	for mode, want := range map[string]sio.KeepHandshake{"production": sio.KeepForFirst, "development": sio.KeepAlways} {
		l := settings(t, "--api-key=0123456789abcdef0123456789abcdef --admin-namespace=/admin --admin-mode="+mode)
		o := sio.Options{KeepHandshake: sio.KeepForFirst}
		if adminUIOptions(l, &o); o.KeepHandshake != want {
			t.Errorf("%s: %v, want %v", mode, o.KeepHandshake, want)
		}
		e, err := assemble(l, slog.New(slog.DiscardHandler), true)
		if err != nil {
			t.Fatal(err)
		}
		if e.ui == nil {
			t.Error("there is no Admin UI")
		}
		_ = e.srv.Shutdown(context.Background())
		e.close(context.Background())
	}
}
