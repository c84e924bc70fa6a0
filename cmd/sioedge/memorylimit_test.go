package main

import (
	"math"
	"testing"
)

func TestMemoryLimitFlag(t *testing.T) {
	for text, want := range map[string]int64{"auto": 0, "0": math.MaxInt64, "1GiB": 1 << 30} { // as Options.MemoryLimit has it
		if n := memoryLimit(&settings(t, "--memory-limit="+text).Settings); n != want {
			t.Errorf("--memory-limit=%s is %d, want %d", text, n, want)
		}
	}
	if _, err := load("--memory-limit=much"); err == nil {
		t.Error("--memory-limit=much is taken")
	}
}
