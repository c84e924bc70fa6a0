//go:build !linux

package loop

// A dozer is for Linux: kqueue's poller waits by itself.
type dozer struct{}
