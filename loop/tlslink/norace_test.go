//go:build !race

package tlslink

const raced = false
