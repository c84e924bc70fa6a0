package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// tick is the unit of utime and stime; USER_HZ is 100 on every Linux that Go runs
// on.
const tick = 10 * time.Millisecond

// cpuTime is what a process has used, in user space and in the kernel.
type cpuTime struct {
	ticks   time.Duration // in ticks
	threads time.Duration // of the threads alive, to the ns; 0 where unknown
}

// cpuOf reads it from Linux's /proc: proc(5).
func cpuOf(pid int) (cpuTime, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return cpuTime{}, err
	}
	var t cpuTime
	if t.ticks, err = parseStat(b); err != nil {
		return t, fmt.Errorf("process %d: %w", pid, err)
	}
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	for _, name := range tasks {
		if b, err := os.ReadFile(name); err == nil {
			first, _, _ := bytes.Cut(b, []byte(" "))
			n, _ := strconv.ParseInt(string(first), 10, 64)
			t.threads += time.Duration(n)
		}
	}
	return t, nil
}

// parseStat returns utime and stime of a stat file.
func parseStat(b []byte) (time.Duration, error) {
	// The command's name, in parentheses, may hold anything.
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(fields) < 13 {
		return 0, errors.New("stat is too short")
	}
	user, err1 := strconv.ParseInt(string(fields[11]), 10, 64)
	system, err2 := strconv.ParseInt(string(fields[12]), 10, 64)
	return time.Duration(user+system) * tick, errors.Join(err1, err2)
}

// since is the finer of the two differences: that of the threads, unless one has
// ended and taken its time with it.
func (t cpuTime) since(before cpuTime) time.Duration {
	ticks, threads := t.ticks-before.ticks, t.threads-before.threads
	if threads <= 0 || threads < ticks-3*tick {
		return ticks
	}
	return threads
}
