//go:build !linux

package main

import "time"

// threadTime is unknown.
func threadTime() time.Duration { return 0 }
