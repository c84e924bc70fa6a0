//go:build !race

package encoding

const race = false
