package main

import (
	"maps"
	"slices"
	"strings"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/admin"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/webhook"
)

// newAdmin makes the page for operators, nil if there is to be none.
func (e *edge) newAdmin(in *internal) *admin.Admin {
	if !e.now.Admin.Enabled {
		return nil
	}
	e.shown.Store(e.now)
	return admin.New(admin.Options{
		Admin: e.now.Admin, Server: e.srv, API: in.api, User: e.user, Backends: e.shownBackends, Bridges: e.shownBridges, Draining: e.health.Red,
		Config: e.shownConfig, Version: version(), Logger: e.log,
	})
}

// reloadAdmin has the page show and go by other settings.
func (e *edge) reloadAdmin(l *config.Loaded) {
	if e.ui != nil {
		e.ui.Reload(l.Admin, l.APIKeys())
	}
	if a := e.internal.admin; a != nil {
		e.shown.Store(l)
		a.Reload(l.Admin)
	}
}

// shownConfig is what the page shows of the settings.
func (e *edge) shownConfig() string {
	var text strings.Builder
	if err := e.shown.Load().Print(&text, false); err != nil {
		return err.Error()
	}
	return text.String()
}

// shownBackends is what the page shows of backends.
func (e *edge) shownBackends() []admin.Backend {
	all := *e.backends.all.Load()
	shown := make([]admin.Backend, 0, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		s := all[name].Stats()
		x := admin.Backend{
			Name: name, InFlight: s.Inflight, Waiting: s.Waiting, Queued: s.Queued, Breaker: s.Breaker.String(), Opened: s.Opened, Paused: int(s.PausedNow),
			Items: s.Connects.Items + s.Others.Items, Nanos: int64(s.Connects.Took + s.Others.Took),
		}
		for _, r := range [...]webhook.Requests{s.Connects, s.Others} {
			for outcome, n := range r.Outcomes {
				if x.Requests += n; webhook.Outcome(outcome) != webhook.Answered {
					x.Failed += n
				}
			}
		}
		for _, losses := range s.Lost {
			for _, n := range losses {
				x.Lost += n
			}
		}
		shown = append(shown, x)
	}
	return shown
}
