//go:build !race

package keyed

const raceOn = false
