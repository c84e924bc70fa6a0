// Package keyed keeps values by keys for those that a number names, such as sockets:
// a few for each, one or none for most. A value alone takes 24 bytes and its place in
// a map.
package keyed

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/sioedge/sioedge/loop/handle"
)

// A Key is the name of a value: its address.
type Key struct {
	// Ended, if set, is for whoever has the values to call of one that ends with whom
	// it is of.
	Ended atomic.Pointer[func(v any)]
}

// A List are the values of one. Immutable; nil: none.
type List *value

type value struct {
	key   *Key // nil: value is several: a *[2]value, or more as a []value
	value any
}

// all returns the values of a list of several.
func (v *value) all() []value {
	if two, ok := v.value.(*[2]value); ok {
		return two[:]
	}
	return v.value.([]value)
}

// listOf returns values as a List.
func listOf(all []value) List {
	switch len(all) {
	case 0:
		return nil
	case 1:
		return &value{all[0].key, all[0].value}
	case 2:
		return &value{value: &[2]value{all[0], all[1]}}
	}
	return &value{value: all}
}

// Get returns the value of a list by its key; it is false if there is none.
func Get(l List, k *Key) (v any, ok bool) {
	switch {
	case l == nil:
		return nil, false
	case l.key == k:
		return l.value, true
	case l.key != nil:
		return nil, false
	}
	for _, x := range (*value)(l).all() {
		if x.key == k {
			return x.value, true
		}
	}
	return nil, false
}

// Each calls f with all values of a list.
func Each(l List, f func(k *Key, v any)) {
	switch {
	case l == nil:
	case l.key != nil:
		f(l.key, l.value)
	default:
		for _, x := range (*value)(l).all() {
			f(x.key, x.value)
		}
	}
}

// With returns l with a value in place of what it has by that key.
func With(l List, k *Key, v any) List {
	one := &value{k, v}
	switch l = Without(l, k); {
	case l == nil:
		return one
	case l.key != nil:
		return &value{value: &[2]value{*l, *one}}
	}
	return listOf(append(slices.Clip((*value)(l).all()), *one))
}

// Without returns l without a key's value.
func Without(l List, k *Key) List {
	switch {
	case l == nil || l.key == k:
		return nil
	case l.key != nil:
		return l
	}
	return listOf(slices.DeleteFunc(slices.Clone((*value)(l).all()), func(x value) bool { return x.key == k }))
}

// A Store has the Lists of all: of records, by their handle.Ref. The zero value is empty and ready for use. Any
// goroutine may use it.
type Store struct {
	shards [handle.Shards]struct {
		mu sync.Mutex
		m  map[uint64]List
		_  [48]byte // no false sharing
	}
}

// Of returns the values of one.
func (s *Store) Of(who uint64) List {
	sh := &s.shards[handle.Ref(who).Shard()]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.m[who]
}

// Edit replaces the values of one by what f makes of them, with nobody else looking
// meanwhile: f must not call the Store.
func (s *Store) Edit(who uint64, f func(List) List) {
	sh := &s.shards[handle.Ref(who).Shard()]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	old := sh.m[who]
	switch l := f(old); {
	case l != nil:
		if sh.m == nil {
			sh.m = map[uint64]List{}
		}
		sh.m[who] = l
	case old != nil:
		if delete(sh.m, who); len(sh.m) == 0 {
			sh.m = nil // maps do not shrink
		}
	}
}

// Put is Edit to l.
func (s *Store) Put(who uint64, l List) { s.Edit(who, func(List) List { return l }) }

// Take forgets the values of one, and returns them.
func (s *Store) Take(who uint64) (l List) {
	s.Edit(who, func(old List) List { l = old; return nil })
	return l
}

// Len returns how many have values.
func (s *Store) Len() (n int) {
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		n += len(sh.m)
		sh.mu.Unlock()
	}
	return n
}
