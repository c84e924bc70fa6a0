package swarm

import "errors"

// selfRSS is the resident memory of this process in bytes, 0 where unknown.
func selfRSS() int64 { return 0 }

// usageOf needs Linux's /proc.
func usageOf(pids []int) (usage, error) {
	if len(pids) == 0 {
		return usage{softirq: -1}, nil
	}
	return usage{}, errors.New("swarm: --pid: the CPU time and memory of another process are only read on Linux")
}
