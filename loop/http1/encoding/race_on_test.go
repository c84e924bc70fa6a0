//go:build race

package encoding

// race is whether sync.Pool drops what is put into it at random.
const race = true
