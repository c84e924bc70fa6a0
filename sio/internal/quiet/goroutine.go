package quiet

import (
	"fmt"
	"runtime"
	"strings"
)

// A goroutine is one as a dump of all of them shows it.
type goroutine struct{ state, stack string }

// blocked tells whether it waits for something.
func (g goroutine) blocked() bool {
	for _, state := range []string{"chan ", "select", "sleep", "sync.", "semacquire", "IO wait"} {
		if strings.HasPrefix(g.state, state) {
			return true
		}
	}
	return false
}

// place returns where it is, without what changes while it is there.
func (g goroutine) place() string {
	var lines []string
	for line := range strings.Lines(g.stack) {
		if strings.HasPrefix(line, "\t") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

// function returns the name of the function that it is in.
func (g goroutine) function() string {
	_, f, _ := strings.Cut(g.stack, "\n")
	f, _, _ = strings.Cut(f, "\n")
	if i := strings.LastIndexByte(f, '('); i > 0 {
		f = f[:i]
	}
	return f
}

// goroutines returns all of them, by their numbers.
func goroutines() map[uint64]goroutine {
	buf := make([]byte, 64<<10)
	n := runtime.Stack(buf, true)
	for n == len(buf) {
		buf = make([]byte, 2*len(buf))
		n = runtime.Stack(buf, true)
	}
	all := map[uint64]goroutine{}
	for _, stack := range strings.Split(strings.TrimSpace(string(buf[:n])), "\n\n") {
		var id uint64
		if _, err := fmt.Sscanf(stack, "goroutine %d [", &id); err != nil {
			continue
		}
		_, state, _ := strings.Cut(stack, "[")
		all[id] = goroutine{state, stack}
	}
	return all
}

// goroutineID returns the number of the caller's goroutine.
func goroutineID() (id uint64) {
	var buf [64]byte
	for _, c := range buf[len("goroutine "):runtime.Stack(buf[:], false)] {
		if c < '0' || c > '9' {
			break
		}
		id = id*10 + uint64(c-'0')
	}
	return id
}
