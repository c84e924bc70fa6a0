package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
)

// connSample is which part of the connections is in the log.
func connSample(l *config.Loaded) float64 {
	share, _ := strconv.ParseFloat(l.Log.ConnSample, 64) // has been checked
	return share
}

// usr1 has the log's file opened again, and says in it how the server is.
func (e *edge) usr1() {
	if e.file != nil {
		if err := e.file.Reopen(); err != nil {
			e.log.Error("the log goes on in the file where it is, since it cannot be opened again (log.file)", "error", err)
		} else {
			e.log.Info("the log's file was opened again", "file", e.now.Log.File)
		}
	}
	e.log.Info("state", e.summary()...)
}

// summary is how the server is, in a line.
func (e *edge) summary() []any {
	st := e.srv.Stats()
	sockets := int64(0)
	for _, n := range st.Namespaces {
		sockets += n.Sockets
	}
	line := []any{
		"connections", st.Loop.Open, "sessions", st.Engine.Open.Sum(), "sockets", sockets, "rooms", st.Directory.Rooms,
		"loops", len(e.srv.Engine().Loops()), "loops-late", len(st.Late), "lag-ms", st.Loop.Lag,
		"memory", st.Memory, "queued", st.Loop.Queued + st.Engine.Queued, "tasks", st.Backlog.Tasks, "draining", string(e.health.Draining().Phase), "ready", e.health.Welcome(),
	}
	if e.now.Settings.Adapter.URL != "memory" {
		c := e.srv.Cluster()
		line = append(line, "adapter-up", c.Up, "servers", len(c.Peers))
	}
	var backends []string
	all := *e.backends.all.Load()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		s := all[name].Stats()
		backends = append(backends, fmt.Sprintf("%s: %d under way, %d queued, breaker %s", name, s.Inflight, s.Queued, s.Breaker))
	}
	if len(backends) > 0 {
		line = append(line, "backends", strings.Join(backends, "; "))
	}
	return line
}
