package host

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

// A CPU is processor time.
type CPU struct {
	User, System time.Duration // in ticks of 10 ms
	Threads      time.Duration // both, of the threads alive, to the ns; 0 where unknown
}

// CPUOf returns what a process has used, from Linux's /proc: proc(5).
func CPUOf(pid int) (CPU, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return CPU{}, err
	}
	c, err := parseStat(b)
	if err != nil {
		return c, fmt.Errorf("process %d: %w", pid, err)
	}
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	for _, name := range tasks {
		c.Threads += RunTime(name)
	}
	return c, nil
}

// parseStat parses a stat file.
func parseStat(b []byte) (c CPU, err error) {
	// The command's name, in parentheses, may hold anything.
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(fields) < 13 {
		return c, errors.New("stat is too short")
	}
	user, err1 := strconv.ParseInt(string(fields[11]), 10, 64)
	system, err2 := strconv.ParseInt(string(fields[12]), 10, 64)
	return CPU{User: time.Duration(user) * tick, System: time.Duration(system) * tick}, errors.Join(err1, err2)
}

// RunTime returns the first number of a schedstat file: the time a thread has been
// on a processor; 0 where it is unknown.
func RunTime(path string) time.Duration {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	first, _, _ := bytes.Cut(b, []byte(" "))
	n, _ := strconv.ParseInt(string(first), 10, 64)
	return time.Duration(n)
}

// Plus returns the sum of both.
func (c CPU) Plus(d CPU) CPU { return CPU{c.User + d.User, c.System + d.System, c.Threads + d.Threads} }

// Since returns c less what was used before.
func (c CPU) Since(before CPU) CPU {
	return CPU{c.User - before.User, c.System - before.System, c.Threads - before.Threads}
}

// Total is the finer of the two sums: that of the threads, unless one has ended
// and taken its time with it.
func (c CPU) Total() time.Duration {
	ticks := c.User + c.System
	if c.Threads <= 0 || c.Threads < ticks-3*tick {
		return ticks
	}
	return c.Threads
}
