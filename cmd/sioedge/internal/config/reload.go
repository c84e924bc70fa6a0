package config

import (
	"errors"
	"reflect"
	"strings"
)

// A Change is what reading the file again has brought.
type Change struct {
	// Next are the settings that hold from now on: those that need a restart are as
	// before in it.
	Next *Loaded
	// Applied are the keys that have changed and are applied, Restart those that have
	// changed and need a restart.
	Applied, Restart []string
}

// Reload reads the file again, the environment and flags being what they were. The
// error has all faults; nothing is changed then. A file that is empty although it was not is
// a fault: it is being written.
func (l *Loaded) Reload() (Change, error) {
	if l.File == "" {
		return Change{Next: l}, nil
	}
	next, err := load(l.sources, true)
	if err != nil {
		return Change{}, err
	}
	if next.empty && !l.empty {
		return Change{}, &Placed{Place: l.File, Err: errors.New("has no settings any more")}
	}
	c := Change{Next: next}
	for _, k := range Keys() {
		if k.Path == "" || strings.Contains(k.Path, "[]") || strings.Contains(k.Path, ".*.") {
			continue
		}
		path := strings.TrimSuffix(k.Path, ".*")
		is, was := at(&next.Settings, path), at(&l.Settings, path)
		switch {
		case equal(is, was):
		case k.Reload:
			c.Applied = append(c.Applied, path)
		default:
			c.Restart = append(c.Restart, path)
			is.Set(was)
		}
	}
	// What is applied must go with what is not.
	if err := next.check(); err != nil {
		return Change{}, next.Place(err)
	}
	return c, nil
}

// at returns the value of a path without lists.
func at(s *Settings, path string) reflect.Value {
	v := reflect.ValueOf(s).Elem()
	for name := range strings.SplitSeq(path, ".") {
		for i := range v.NumField() {
			if v.Type().Field(i).Tag.Get("koanf") == name {
				v = v.Field(i)
				break
			}
		}
	}
	return v
}

// equal compares values; no list is as an empty one.
func equal(a, b reflect.Value) bool {
	if k := a.Kind(); (k == reflect.Slice || k == reflect.Map) && a.Len() == 0 && b.Len() == 0 {
		return true
	}
	return reflect.DeepEqual(a.Interface(), b.Interface())
}
