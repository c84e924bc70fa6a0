package swarm

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// selfRSS is the resident memory of this process in bytes, 0 where unknown.
func selfRSS() int64 {
	n, _ := rssOf(os.Getpid())
	return n
}

// usage is what processes have used so far.
type usage struct {
	user, system time.Duration // in clock ticks of 10 ms
	total        time.Duration // of the threads alive, to the ns
	rss          int64         // bytes
	softirq      time.Duration // of the kernel's softirq threads; -1 where they cannot be seen
}

// tick is the unit of utime and stime in /proc/P/stat; USER_HZ is 100 on every
// Linux that Go runs on.
const tick = 10 * time.Millisecond

// usageOf adds up what the processes have used. proc(5).
func usageOf(pids []int) (usage, error) {
	var u usage
	for _, pid := range pids {
		user, system, err := statOf(pid)
		if err != nil {
			return u, fmt.Errorf("swarm: process %d: %w", pid, err)
		}
		rss, err := rssOf(pid)
		if err != nil {
			return u, fmt.Errorf("swarm: process %d: %w", pid, err)
		}
		u.user += user
		u.system += system
		u.rss += rss
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		for _, t := range tasks {
			u.total += runTime(t)
		}
	}
	u.softirq = softirqTime()
	return u, nil
}

func statOf(pid int) (user, system time.Duration, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, err
	}
	// The command's name, in parentheses, may hold anything.
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(fields) < 13 {
		return 0, 0, errors.New("stat is too short")
	}
	utime, err1 := strconv.ParseInt(string(fields[11]), 10, 64)
	stime, err2 := strconv.ParseInt(string(fields[12]), 10, 64)
	return time.Duration(utime) * tick, time.Duration(stime) * tick, errors.Join(err1, err2)
}

func rssOf(pid int) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, after, ok := bytes.Cut(b, []byte("VmRSS:"))
	fields := bytes.Fields(after)
	if !ok || len(fields) == 0 {
		return 0, errors.New("no VmRSS")
	}
	kb, err := strconv.ParseInt(string(fields[0]), 10, 64)
	return kb << 10, err
}

// runTime is the first number of a schedstat file: ns on a CPU.
func runTime(path string) time.Duration {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	first, _, _ := bytes.Cut(b, []byte(" "))
	n, _ := strconv.ParseInt(string(first), 10, 64)
	return time.Duration(n)
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
			sum += runTime(filepath.Join(filepath.Dir(c), "schedstat"))
		}
	}
	if !seen {
		return -1
	}
	return sum
}
