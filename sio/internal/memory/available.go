package memory

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Available returns how much memory the process may use: its control
// group's limit, or that of one of the groups around it, or the machine's memory;
// 0 if none is known. root is where the file system begins.
func Available(root string) int64 {
	least := int64(math.MaxInt64)
	bound := func(n int64) {
		if n > 0 {
			least = min(least, n)
		}
	}
	bound(machineMemory(filepath.Join(root, "proc/meminfo")))
	groups, _ := os.ReadFile(filepath.Join(root, "proc/self/cgroup"))
	for line := range strings.Lines(string(groups)) {
		_, controllers, _ := strings.Cut(strings.TrimSpace(line), ":")
		controllers, path, ok := strings.Cut(controllers, ":")
		file, top := "memory.max", filepath.Join(root, "sys/fs/cgroup")
		if controllers == "memory" { // version 1
			file, top = "memory.limit_in_bytes", filepath.Join(root, "sys/fs/cgroup/memory")
		} else if !ok || controllers != "" {
			continue
		}
		// In a container its own group is at the top, and the path that of the host.
		bound(numberIn(filepath.Join(top, file)))
		for path = filepath.Clean("/" + path); path != "/"; path = filepath.Dir(path) {
			bound(numberIn(filepath.Join(top, path, file)))
		}
	}
	if least == math.MaxInt64 {
		return 0
	}
	return least
}

// machineMemory reads MemTotal, which is in KiB.
func machineMemory(file string) int64 {
	text, _ := os.ReadFile(file)
	for line := range strings.Lines(string(text)) {
		var kib int64
		if n, _ := fmt.Sscanf(line, "MemTotal: %d kB", &kib); n == 1 {
			return kib << 10
		}
	}
	return 0
}

// numberIn reads a file with a number in it; 0 if it has none, such as "max".
func numberIn(file string) int64 {
	text, _ := os.ReadFile(file)
	n, _ := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return n
}
