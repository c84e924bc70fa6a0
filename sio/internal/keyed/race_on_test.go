//go:build race

package keyed

const raceOn = true
