//go:build !race

package declare

const raceEnabled = false
