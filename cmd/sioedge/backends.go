package main

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/action"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/declare"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/webhook"
	"github.com/sioedge/sioedge/sio"
)

// backends are those of the settings, by name. Any goroutine may use them; one at a time
// changes them.
type backends struct {
	// Immutable.
	srv *sio.Server
	o   webhook.Options
	log *slog.Logger

	all    atomic.Pointer[map[string]*webhook.Backend] // never changed, as the next
	plain  atomic.Pointer[map[string]action.Backend]   // the same
	own    map[string]config.Backend                   // their settings; guarded by mu
	mu     sync.Mutex
	ending sync.WaitGroup // those that there are not any more
}

// backendsOf returns the settings of backends, by name: each wants what it is to be told
// by itself, and what namespaces have it told.
func backendsOf(s *config.Settings, p *declare.Program) map[string]config.Backend {
	all := s.BackendsOf()
	for name, wants := range p.Wants() {
		b := all[name]
		b.Events = slices.Clone(b.Events)
		for k := range action.Kinds {
			if wants.Has(k) && !slices.Contains(b.Events, k.String()) {
				b.Events = append(b.Events, k.String())
			}
		}
		all[name] = b
	}
	return all
}

// newBackends makes those of the settings. The error joins a *config.Fault of each that
// cannot be.
func newBackends(srv *sio.Server, s *config.Settings, p *declare.Program, log *slog.Logger) (*backends, error) {
	x := &backends{srv: srv, o: webhook.Options{ConnectTimeout: s.Timeouts.Connect, Logger: log}, log: log}
	x.store(map[string]*webhook.Backend{})
	return x, x.reload(backendsOf(s, p))
}

// store has those be there.
func (x *backends) store(all map[string]*webhook.Backend) {
	plain := make(map[string]action.Backend, len(all))
	for name, b := range all {
		plain[name] = b
	}
	x.all.Store(&all)
	x.plain.Store(&plain)
}

// named returns them by name. The map is not changed.
func (x *backends) named() map[string]action.Backend { return *x.plain.Load() }

// running returns them by name, as they are. The map is not changed.
func (x *backends) running() map[string]*webhook.Backend { return *x.all.Load() }

// get returns a backend, nil if there is none of that name.
func (x *backends) get(name string) action.Backend { return x.named()[name] }

// reload has those of other settings be there, those that are not in them any more too,
// until prune. If it returns an error, all is as it was.
func (x *backends) reload(next map[string]config.Backend) error {
	var faults []error
	all, made := maps.Clone(*x.all.Load()), map[string]*webhook.Backend{}
	for _, name := range slices.Sorted(maps.Keys(next)) {
		var err error
		if b := all[name]; b != nil {
			err = b.Reload(next[name])
		} else if b, err = webhook.New(x.srv, name, next[name], x.o); err == nil {
			made[name] = b
		}
		if err != nil {
			faults = append(faults, err)
		}
	}
	if err := errors.Join(faults...); err != nil {
		for name, own := range x.own {
			_ = all[name].Reload(own) // it has been good
		}
		for _, b := range made {
			_ = b.Close(context.Background()) // it has nothing to tell
		}
		return err
	}
	maps.Copy(all, made)
	x.mu.Lock()
	x.own = next
	x.mu.Unlock()
	x.store(all)
	return nil
}

// prune lets those go that are not in the settings any more: they tell what they have to,
// within that time.
func (x *backends) prune(within time.Duration) {
	all := maps.Clone(*x.all.Load())
	for name, b := range all {
		if _, ok := x.own[name]; ok {
			continue
		}
		delete(all, name)
		x.ending.Go(func() { // ends when it has told all, or the time is over
			ctx, done := context.WithTimeout(context.Background(), within)
			defer done()
			x.end(ctx, b)
		})
	}
	x.store(all)
}

// end lets a backend go.
func (x *backends) end(ctx context.Context, b *webhook.Backend) {
	if err := b.Close(ctx); err != nil {
		x.log.Warn("a backend has not been told everything", "error", err)
	}
}

// disconnects returns how many disconnects a second a backend is told of.
func (x *backends) disconnects(name string) int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.own[name].DisconnectRate
}

// forget has all be asked again about who connects.
func (x *backends) forget() {
	for _, b := range *x.all.Load() {
		b.Forget()
	}
}

// close has all tell what they have to until ctx ends.
func (x *backends) close(ctx context.Context) {
	for _, b := range *x.all.Load() {
		x.ending.Go(func() { x.end(ctx, b) }) // ends with ctx at the latest
	}
	x.ending.Wait()
}

// readable returns the names of backends whose requests others can read on their way:
// that are in no network of one's own, and not encrypted.
func readable(s *config.Settings) (names []string) {
	for name, b := range s.BackendsOf() {
		u, err := url.Parse(b.URL)
		if err != nil || u.Scheme != "http" {
			continue
		}
		host := u.Hostname()
		if a, err := netip.ParseAddr(host); err == nil {
			if a.IsLoopback() || a.IsPrivate() || a.IsLinkLocalUnicast() {
				continue
			}
		} else if host == "localhost" || strings.HasSuffix(host, ".localhost") || strings.HasSuffix(host, ".internal") || strings.HasSuffix(host, ".local") || !strings.Contains(host, ".") {
			continue // as names of services are, within a cluster
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
