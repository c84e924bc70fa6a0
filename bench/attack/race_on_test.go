//go:build race

package main

// The servers are processes of their own, in which the detector does not look.
const race = true
