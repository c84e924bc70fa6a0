package main

import (
	"math"
	"testing"
)

func TestMemoryLimitFlag(t *testing.T) {
	for text, want := range map[string]int64{"auto": 0, "0": math.MaxInt64, "1GiB": 1 << 30} { // as Options.MemoryLimit has it
		c := config{memory: text}
		if n, err := c.memoryLimit(); n != want || err != nil {
			t.Errorf("--memory-limit=%s is %d, %v, want %d", text, n, err, want)
		}
	}
	if _, err := (&config{memory: "much"}).memoryLimit(); err == nil {
		t.Error("--memory-limit=much is taken")
	}
}
