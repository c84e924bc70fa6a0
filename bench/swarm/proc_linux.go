package swarm

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/sioedge/sioedge/bench/host"
)

// selfRSS is the resident memory of this process in bytes, 0 where unknown.
func selfRSS() int64 {
	n, _ := host.Resident(os.Getpid())
	return n
}

// usageOf adds up what the processes have used.
func usageOf(pids []int) (usage, error) {
	var u usage
	for _, pid := range pids {
		used, err := host.CPUOf(pid)
		if err != nil {
			return u, fmt.Errorf("swarm: process %d: %w", pid, err)
		}
		rss, err := host.Resident(pid)
		if err != nil {
			return u, fmt.Errorf("swarm: process %d: %w", pid, err)
		}
		u.CPU = u.Plus(used)
		u.rss += rss
		u.each = append(u.each, usage{CPU: used, rss: rss})
	}
	u.softirq = softirqTime()
	return u, nil
}

// softirqTime is the run time of all ksoftirqd threads, -1 when a container
// hides them.
func softirqTime() time.Duration {
	comms, _ := filepath.Glob("/proc/[0-9]*/comm")
	sum, seen := time.Duration(0), false
	for _, c := range comms {
		name, err := os.ReadFile(c)
		if err == nil && bytes.HasPrefix(name, []byte("ksoftirqd/")) {
			seen = true
			sum += host.RunTime(filepath.Join(filepath.Dir(c), "schedstat"))
		}
	}
	if !seen {
		return -1
	}
	return sum
}
