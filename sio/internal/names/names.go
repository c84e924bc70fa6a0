// Package names has sets of names that clients choose.
package names

import "sync"

// Counts are names with how many have each. The zero value is empty and ready for use.
// Any goroutine may use it.
type Counts struct {
	mu sync.Mutex
	m  map[string]int
}

// Add counts by more of a name, which may be negative; "" is none.
func (c *Counts) Add(name string, by int) {
	if name == "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m == nil {
		c.m = map[string]int{}
	}
	if c.m[name] += by; c.m[name] == 0 {
		delete(c.m, name)
	}
	if len(c.m) == 0 {
		c.m = nil // maps do not shrink
	}
}

// Has tells whether anybody has a name.
func (c *Counts) Has(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.m[name] > 0
}

// Len returns how many names there are.
func (c *Counts) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.m)
}

const (
	maxKept   = 256 // names
	maxLength = 64  // bytes
)

// Kept are names that come again and again, as strings of which there is one each. It
// takes 40 KB at most. The zero value is empty and ready for use; one goroutine may
// use it.
type Kept struct{ m map[string]string }

// String returns a name as a string, which is new unless it came not long ago.
func (k *Kept) String(name []byte) string {
	if s, ok := k.m[string(name)]; ok {
		return s
	}
	s := string(name)
	if len(s) > maxLength {
		return s
	}
	if k.m == nil || len(k.m) == maxKept {
		k.m = map[string]string{}
	}
	k.m[s] = s
	return s
}
