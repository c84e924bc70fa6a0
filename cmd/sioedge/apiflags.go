package main

import (
	"cmp"
	"errors"
	"net"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/apiclient"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
)

// An apiSpec says which server's HTTP API is asked, and by which key.
type apiSpec struct {
	url, key, secret, file string
	json                   bool
}

func (a *apiSpec) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&a.url, "url", "", "where the internal listener is, http://host:port or unix:/path; empty: $SIOEDGE_API_URL, what --config says, or "+apiclient.DefaultURL)
	f.StringVar(&a.key, "api-key", "", "key of the API; best as $SIOEDGE_API_KEY")
	f.StringVar(&a.secret, "secret", "", "the server's secret, which the key is made of where the server has no other; best as $SIOEDGE_SECRET")
	f.StringVar(&a.file, "config", "", "the server's file, for its listener and its key")
	f.BoolVar(&a.json, "json", false, "write JSON, one object a line")
}

// client makes what asks the server.
func (a *apiSpec) client() (*apiclient.Client, error) {
	at, key := cmp.Or(a.url, os.Getenv(config.APIURLVariable)), a.key
	if key == "" && a.secret != "" {
		key = firstKey(&config.Settings{Secret: a.secret})
	}
	if a.file != "" && (at == "" || key == "") {
		s, err := a.settings()
		if err != nil {
			return nil, err
		}
		key = cmp.Or(key, firstKey(s))
		if at == "" {
			if at = listenerURL(s.Internal.Listen); at == "" {
				return nil, errors.New("the settings have no internal listener (internal.listen) that is known by its address: --url gives it")
			}
		}
	}
	if key == "" {
		keys, _, _ := strings.Cut(os.Getenv("SIOEDGE_API_KEY"), ",") // any of them
		key = cmp.Or(strings.TrimSpace(keys), firstKey(&config.Settings{Secret: os.Getenv("SIOEDGE_SECRET")}))
	}
	if key == "" {
		return nil, usageError{errors.New("no key: --api-key gives it; --secret, or --config with the server's file, make it")}
	}
	c, err := apiclient.New(cmp.Or(at, apiclient.DefaultURL), key)
	if err != nil {
		return nil, usageError{errors.Join(errors.New("--url"), err)}
	}
	return c, nil
}

// settings are those of the server: of its file, and of the environment.
func (a *apiSpec) settings() (*config.Settings, error) {
	f := config.Flags("settings")
	if err := f.Set(config.ConfigFlag, a.file); err != nil {
		return nil, err
	}
	l, err := config.Load(config.Sources{Flags: f, Environ: os.Environ()})
	if err != nil {
		return nil, err
	}
	return &l.Settings, nil
}

// firstKey is a key that opens the API; empty: there is none.
func firstKey(s *config.Settings) string {
	if keys := s.APIKeys(); len(keys) > 0 {
		return keys[0]
	}
	return ""
}

// listenerURL is where somebody on the same machine reaches a listener.
func listenerURL(listen string) string {
	l, err := config.ParseListen(listen)
	if listen == "" || err != nil || l.Network == "systemd" {
		return ""
	}
	if l.Network == "unix" {
		return "unix:" + l.Address
	}
	host, port, _ := net.SplitHostPort(l.Address) // has been checked
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port)
}
