package config

import (
	"errors"
	"fmt"
	"strings"
)

// A Fault is a mistake in the settings. What makes something of them returns all that it
// finds, joined by errors.Join; where they stand is known here.
type Fault struct {
	Key string // such as namespaces[1].events.subscribe.room
	Err error
}

// Error names the key and the cause.
func (f *Fault) Error() string { return f.Key + ": " + f.Err.Error() }

// Unwrap returns the cause.
func (f *Fault) Unwrap() error { return f.Err }

// A Placed fault is one of which it is known where it stands.
type Placed struct {
	Place string // file:line, --flag or a variable's name
	Key   string // empty: Place says it
	Err   error
}

// Error is place: key: cause.
func (p *Placed) Error() string {
	text := p.Err.Error()
	if p.Key != "" {
		text = p.Key + ": " + text
	}
	return p.Place + ": " + text
}

// Unwrap returns the cause.
func (p *Placed) Unwrap() error { return p.Err }

// mostFaults bounds how many faults are told at one time.
const mostFaults = 100

// joined returns faults as one error, nil for none.
func joined(all []error) error {
	if n := len(all); n > mostFaults {
		all = append(all[:mostFaults:mostFaults], fmt.Errorf("and %d more", n-mostFaults))
	}
	return errors.Join(all...)
}

// Each calls f with each of the errors that errors.Join has put into one.
func Each(err error, f func(error)) {
	if err == nil {
		return
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range many.Unwrap() {
			Each(e, f)
		}
		return
	}
	f(err)
}

// quoted shows a value that is wrong, unless nobody may see it.
func (k *Key) quoted(text string) string {
	if k.Secret {
		return "the value"
	}
	if len(text) > 80 {
		text = strings.ToValidUTF8(text[:80], "") + "…"
	}
	return fmt.Sprintf("%q", text)
}
