package successor

import (
	"bytes"
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// Adopt has processes whose parent ends become this one's children, as they do of process
// 1 in any case: those that have taken over from a Child are to be waited for.
func Adopt() error { return adopt() }

// Stay waits for the process that has taken over, and for all that take over later, and
// passes on to them the signals that come. It returns the exit code of the one that
// was the last. Others that have become this process's children are waited for too.
func Stay(first *Child, signals <-chan os.Signal) (code int) {
	last := make(chan int, 1)
	// ends with the last process
	go func() {
		<-first.Ended()
		last <- reap(first.Code())
	}()
	for {
		select {
		case s := <-signals:
			Pass(s)
		case code := <-last:
			return code
		}
	}
}

// Pass sends a signal to all processes that come of this one.
func Pass(s os.Signal) {
	for _, pid := range descendants(os.Getpid()) {
		_ = syscall.Kill(pid, s.(syscall.Signal)) // it may have ended
	}
}

// reap waits until there are no children, and returns the exit code of the last.
func reap(code int) int {
	for {
		var ws syscall.WaitStatus
		switch _, err := syscall.Wait4(-1, &ws, 0, nil); {
		case errors.Is(err, syscall.EINTR):
		case err != nil: // there are none
			return code
		case ws.Exited():
			code = ws.ExitStatus()
		case ws.Signaled():
			code = 128 + int(ws.Signal())
		}
	}
}

// descendants returns the processes that come of one, as /proc has them. One that loses
// its parent while it is read is looked for again: it has another one by then.
func descendants(of int) (all []int) {
	for range 10 {
		var whole bool
		if all, whole = look(of); whole {
			break
		}
	}
	return all
}

// look reads /proc once. It is not whole if a parent was not there.
func look(of int) (all []int, whole bool) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, true
	}
	parents := map[int]int{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if parent, ok := parentOf(pid); ok {
			parents[pid] = parent
		}
	}
	whole = true
	for pid := range parents {
		for at, n := parents[pid], 0; at != 0 && n < len(parents); at, n = parents[at], n+1 {
			if at == of {
				all = append(all, pid)
				break
			}
			if _, there := parents[at]; !there {
				whole = false
			}
		}
	}
	return all, whole
}

// parentOf reads it of /proc/PID/stat: proc(5).
func parentOf(pid int) (parent int, ok bool) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, false
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:])) // the name may have anything in it
	if len(fields) < 2 {
		return 0, false
	}
	parent, err = strconv.Atoi(fields[1])
	return parent, err == nil
}
