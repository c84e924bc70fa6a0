package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// A machine is what bounds how many connections of which it has both ends.
type machine struct {
	available   int64 // bytes of memory
	descriptors int64 // of a process
	files       int64 // of all processes, that are not open
	ports       int64 // of one address, for connections to one other
	tracked     int64 // connections that the firewall has place for; 0: it tracks none
}

const (
	// Of one connection with both its ends, in bytes, and of a server with its load, which
	// is two processes or three. Rounded up from what this command printed before.
	pairBytes   = 11_500
	serverBytes = 100 << 20
)

// A share is how many connections each of so many servers gets.
type share struct {
	servers, each int
	binds         string // what says so
}

// deal returns how wanted connections are dealt to servers, or as many as the machine can
// hold where wanted is 0. A fifth of the memory, and a tenth of the rest, stay free.
func (m machine) deal(wanted, most int) (share, error) {
	each := min(m.descriptors*9/10, m.ports*9/10)
	if most > 0 {
		each = min(each, int64(most))
	}
	if each <= 0 {
		return share{}, fmt.Errorf("no server can have a connection: %d descriptors a process, %d ports an address", m.descriptors, m.ports)
	}
	n, binds := m.available*8/10/(pairBytes+serverBytes/each), "memory"
	if files := m.files * 9 / 10 / 2; files < n {
		n, binds = files, "descriptors of all processes"
	}
	if m.tracked > 0 && m.tracked*9/10 < n {
		n, binds = m.tracked*9/10, "connections that the firewall tracks"
	}
	if wanted > 0 {
		if int64(wanted) > n {
			return share{}, fmt.Errorf("%d connections are more than this machine can hold with both their ends: %d, for its %s", wanted, n, binds)
		}
		servers := (int64(wanted) + each - 1) / each
		return share{int(servers), int((int64(wanted) + servers - 1) / servers), "as was asked"}, nil
	}
	servers := max((n+each-1)/each, 1)
	return share{int(servers), int(n / servers), binds}, nil
}

// thisMachine reads what there is. Linux.
func thisMachine() (m machine, err error) {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return m, err
	}
	m.descriptors = int64(min(l.Cur, 1<<24))
	mem, err := memory()
	if err != nil {
		return m, err
	}
	m.available = mem.available
	if f := numbers("/proc/sys/fs/file-nr"); len(f) == 3 {
		m.files = f[2] - f[0]
	}
	if f := numbers("/proc/sys/net/ipv4/ip_local_port_range"); len(f) == 2 {
		m.ports = f[1] - f[0] + 1
	}
	// Where nothing is tracked now, though there are connections, no rule asks for it.
	if f := numbers("/proc/sys/net/netfilter/nf_conntrack_count"); len(f) == 1 && f[0] > 0 {
		if all := numbers("/proc/sys/net/netfilter/nf_conntrack_max"); len(all) == 1 {
			m.tracked = all[0] - f[0]
		}
	}
	return m, nil
}

// A usage is of the whole machine's memory, in bytes.
type usage struct{ available, slab, anonymous int64 }

func memory() (u usage, err error) {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return u, err
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		kb, _ := strconv.ParseInt(f[1], 10, 64)
		switch f[0] {
		case "MemAvailable:":
			u.available = kb << 10
		case "Slab:":
			u.slab = kb << 10
		case "AnonPages:":
			u.anonymous = kb << 10
		}
	}
	return u, nil
}

// numbers returns those in a file, nil where there is none.
func numbers(path string) (all []int64) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	for f := range strings.FieldsSeq(string(b)) {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return nil
		}
		all = append(all, n)
	}
	return all
}

// descriptors returns how many a process has open.
func descriptors(pid int) (int64, error) {
	path := fmt.Sprintf("/proc/%d/fd", pid)
	if i, err := os.Stat(path); err != nil || i.Size() > 0 { // Linux 6.2 has it there
		if err != nil {
			return 0, err
		}
		return i.Size(), nil
	}
	all, err := os.ReadDir(path)
	return int64(len(all)), err
}
