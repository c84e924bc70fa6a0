package main

import (
	"strings"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
)

// reload reads the file again and applies what can be applied to a server that runs.
// One line of the log says what that was, and what needs a restart. It runs on the
// goroutine that waits for signals. What it returns is for whoever has asked.
func (e *edge) reload() (c config.Change, err error) {
	e.manager.Reloading()
	defer e.manager.Ready()
	defer func() { e.told.Reloaded(err) }()
	c, err = e.now.Reload()
	if err == nil {
		err = e.apply(c.Next)
	}
	if err != nil {
		e.log.Error("not reloaded, and nothing is changed", "file", e.now.File, "errors", lines(err))
		return c, err
	}
	e.warn(c.Next)
	e.log.Info("reloaded", "file", c.Next.File, "applied", strings.Join(c.Applied, ","), "restart", strings.Join(c.Restart, ","))
	e.now = c.Next
	e.reloadAdmin(c.Next)
	return c, nil
}

// warn logs what is in the file for nothing.
func (e *edge) warn(l *config.Loaded) {
	if file, by, ok := l.Overridden("namespaces"); ok {
		e.log.Warn("the namespaces of the file are not there, but others", "file", file, "instead", by)
	}
	if names := readable(&l.Settings); len(names) > 0 {
		e.log.Warn("what backends are told, tokens of clients in it, is not encrypted on its way (http), and may leave this network", "backends", strings.Join(names, ","))
	}
	config.Each(l.Place(l.Doubts()), func(err error) { e.log.Warn("a setting is hardly meant", "error", err) })
	for _, what := range l.Unknown {
		e.log.Warn("a setting that there is not is ignored", "error", what.Error())
	}
}

// lines returns each of the errors that are in one.
func lines(err error) (all []string) {
	config.Each(err, func(err error) { all = append(all, err.Error()) })
	return all
}
