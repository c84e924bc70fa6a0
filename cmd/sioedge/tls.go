package main

import (
	"cmp"
	"errors"
	"log/slog"
	"runtime"
	"slices"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/listen"
)

// newTLS returns what addresses with TLS are served with, nil if there are none. What is
// wrong with the settings is an error also then, and what clients would refuse if the
// settings are only looked at.
func newTLS(l *config.Loaded, log *slog.Logger, alone bool) (*listen.TLS, error) {
	s := l.TLS
	secure := slices.ContainsFunc(l.Listen, func(text string) bool {
		a, err := config.ParseListen(text)
		return err == nil && a.TLS
	})
	switch {
	case alone:
		if err := listen.CheckTLS(s, time.Now()); err != nil {
			return nil, err
		}
	case !secure:
		return nil, nil
	}
	if secure && len(s.Cert) == 0 && len(s.ACME.Domains) == 0 {
		return nil, &config.Fault{Key: "listen", Err: errors.New("there is an address with TLS, and no certificate (--tls-cert, --acme-domains)")}
	}
	if !secure && len(s.ACME.Domains) > 0 {
		return nil, &config.Fault{Key: "tls.acme.domains", Err: errors.New("certificates are asked for by a listener such as tls://:443, and there is none")}
	}
	loops := cmp.Or(l.Loops, runtime.GOMAXPROCS(0))
	return listen.NewTLS(s, cmp.Or(s.Handshakes, 4*loops), log)
}
