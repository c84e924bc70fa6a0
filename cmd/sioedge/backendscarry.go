package main

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/action"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/carried"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/webhook"
	"github.com/sioedge/sioedge/sio"
)

// carriedBackends are what a successor gets of backends.
type carriedBackends struct {
	Lanes uint64            `cbor:"1,keyasint,omitempty"` // action.LaneSeed
	All   map[string][]byte `cbor:"2,keyasint,omitempty"`
}

// part has what backends have to be told go along with the server's clients.
func (x *backends) part() sio.Part {
	return sio.Part{
		Name: "backends",
		Hold: func(ctx context.Context) error { return x.each(func(b *webhook.Backend) error { return b.Hold(ctx) }) },
		Still: func(ctx context.Context) error {
			return x.each(func(b *webhook.Backend) error { return b.Still(ctx) })
		},
		Release: func() { _ = x.each(func(b *webhook.Backend) error { b.Release(); return nil }) },
		Export:  x.export,
		Moved:   func() { _ = x.each(func(b *webhook.Backend) error { b.Moved(); return nil }) },
		Import:  x.carry,
		Taken:   func() { _ = x.each(func(b *webhook.Backend) error { b.Taken(); return nil }) },
		Serving: func() { _ = x.each(func(b *webhook.Backend) error { b.Release(); return nil }) },
	}
}

// each has all do something at once, and returns one of the errors.
func (x *backends) each(f func(b *webhook.Backend) error) error {
	all := x.running()
	errs := make(chan error, len(all))
	var each sync.WaitGroup
	for _, b := range all {
		each.Go(func() { errs <- f(b) }) // ends with f
	}
	each.Wait()
	for range all {
		if err := <-errs; err != nil {
			return err
		}
	}
	return nil
}

func (x *backends) export() ([]byte, error) {
	c := carriedBackends{Lanes: action.LaneSeed(), All: map[string][]byte{}}
	for name, b := range x.running() {
		data, err := b.Export()
		if err != nil {
			return nil, err
		}
		c.All[name] = data
	}
	return carried.Marshal(c)
}

// carry takes what another server's backends have to be told. What is for one that there is
// not any more is lost.
func (x *backends) carry(data []byte) error {
	var c carriedBackends
	if err := carried.Unmarshal(data, &c); err != nil {
		return err
	}
	action.SetLaneSeed(c.Lanes)
	all := x.running()
	for _, name := range slices.Sorted(maps.Keys(c.All)) {
		b := all[name]
		if b == nil {
			if n := webhook.Waiting(c.All[name]); n > 0 {
				x.log.Warn("a backend that is not in the settings any more is not told of what waited for it", "backend", name, "items", n)
			}
			continue
		}
		if err := b.Import(c.All[name]); err != nil {
			return err
		}
	}
	return nil
}
