//go:build !race

package admin

const many = 100_000 // sockets
