//go:build race

package admin

const many = 20_000 // sockets, each of which takes longer with the race detector
