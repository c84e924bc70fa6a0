package main

import (
	"net/http"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/metrics"
)

// metricsOf makes what /metrics answers.
func (e *edge) metricsOf(in *internal) http.Handler {
	e.told = metrics.New(metrics.Sources{
		Server: e.srv, Cluster: e.now.Adapter.URL != "memory", API: in.api, Authority: e.authority, Limiter: e.limiter, Presence: e.presence,
		Router: e.router, Roster: e.roster, Backends: e.backends.running, Bridges: e.bridges.told, Health: e.health, Preface: &e.preface, Admin: in.admin, TLS: e.tls, AdminUI: e.ui, Upgrades: e.upgrades.counts.Read, Version: version(), Logger: e.log,
	})
	e.told.Register(e.srv)
	return e.told
}
