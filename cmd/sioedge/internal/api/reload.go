package api

import (
	"errors"
	"net/http"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/api/wire"
)

// reload is the endpoint.
func (c *call) reload() (any, error) {
	if c.a.o.Reload == nil {
		return nil, fail(http.StatusUnprocessableEntity, "not_reloaded", "there is no configuration to read")
	}
	applied, restart, err := c.a.o.Reload()
	if err != nil {
		p := fail(http.StatusUnprocessableEntity, "not_reloaded", "nothing is changed: something is wrong with the settings")
		p.is.Details = texts(err)
		return nil, p
	}
	return wire.Reloaded{Applied: append([]string{}, applied...), Restart: append([]string{}, restart...)}, nil
}

// texts returns each of the errors that are joined.
func texts(err error) (all []string) {
	var joined interface{ Unwrap() []error }
	if !errors.As(err, &joined) {
		return []string{err.Error()}
	}
	for _, err := range joined.Unwrap() {
		all = append(all, texts(err)...)
	}
	return all
}
