package main

import (
	"flag"
	"os"
	"testing"
	"time"
)

var built programs

func TestMain(m *testing.M) {
	flag.Parse()
	if race || testing.Short() {
		return
	}
	dir, err := os.MkdirTemp("", "attack")
	if err == nil {
		built, err = build(dir)
	}
	if err != nil {
		panic(err)
	}
	if err := flag.Set("test.parallel", "12"); err != nil { // they wait most of the time
		panic(err)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// Each attack is tried in a short form: go run ./bench/attack is the long one.
func TestAttacks(t *testing.T) {
	for _, x := range attacks() {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			all, err := x.try(built, short)
			t.Logf("%.1f s", time.Since(began).Seconds())
			if err != nil {
				t.Error(err)
			}
			for _, r := range all {
				t.Logf("%d: %d bytes sent, %d held, %d echoes, %d lines of log, %s", r.attackers, r.sent, r.held, r.answered, r.lines, r.refused)
			}
		})
	}
}
