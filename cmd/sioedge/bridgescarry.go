package main

import (
	"context"
	"sync"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/bridge"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/carried"
	"github.com/sioedge/sioedge/sio"
)

// part has the links of processes, and what clients have with these, go along with the
// server's clients.
func (x *bridges) part() sio.Part {
	return sio.Part{
		Name:    "bridges",
		Hold:    func(ctx context.Context) error { return x.each(func(b *bridge.Bridge) error { return b.Hold(ctx) }) },
		Still:   func(ctx context.Context) error { return x.each(func(b *bridge.Bridge) error { return b.Still(ctx) }) },
		Release: func() { _ = x.each(func(b *bridge.Bridge) error { b.Release(); return nil }) },
		Export:  x.export,
		Moved:   func() { _ = x.each(func(b *bridge.Bridge) error { b.Moved(); return nil }) },
		Import:  x.carry,
		Taken:   func() { _ = x.each(func(b *bridge.Bridge) error { b.Taken(); return nil }) },
		Serving: func() {
			_ = x.each(func(b *bridge.Bridge) error { b.Serving(); return nil })
			close(x.serving)
		},
	}
}

// each has all do something at once, and returns one of the errors.
func (x *bridges) each(f func(b *bridge.Bridge) error) error {
	all := x.running()
	errs := make(chan error, len(all))
	var each sync.WaitGroup
	for _, b := range all {
		each.Go(func() { errs <- f(b.Bridge) }) // ends with f
	}
	each.Wait()
	for range all {
		if err := <-errs; err != nil {
			return err
		}
	}
	return nil
}

func (x *bridges) export() ([]byte, error) {
	all := map[string][]byte{}
	for name, b := range x.running() {
		data, err := b.Export()
		if err != nil {
			return nil, err
		}
		all[name] = data
	}
	return carried.Marshal(all)
}

// carry takes what another server's bridges have. What is of one that there is not any more
// ends: its processes find no bridge, and its clients' namespaces have none.
func (x *bridges) carry(data []byte) error {
	var all map[string][]byte
	if err := carried.Unmarshal(data, &all); err != nil {
		return err
	}
	running := x.running()
	for name, p := range all {
		b := running[name]
		if b == nil {
			x.note.Warn("a bridge is not in the settings any more: its links end", "bridge", name)
			continue
		}
		if err := b.Import(p); err != nil {
			return err
		}
	}
	return nil
}
