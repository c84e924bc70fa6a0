// Package host is what benchmarks share: servers as processes, what they and the
// kernel use, and what to say of the machine beside a figure.
package host

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// A Server is a running process. It belongs to who started it.
type Server struct {
	Addr string // host:port
	*exec.Cmd
}

// patience is how long a server may take to listen.
const patience = 20 * time.Second

// Start runs a command that prints, on a line of either output, that it is
// listening and its address of 127.0.0.1. Whoever calls it ends the server.
func Start(name string, cmd []string) (*Server, error) {
	c := exec.Command(cmd[0], cmd[1:]...)
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	c.Stdout, c.Stderr = w, w
	err = c.Start()
	w.Close()
	if err != nil {
		r.Close()
		return nil, err
	}
	late := time.AfterFunc(patience, func() { _ = c.Process.Kill() })
	defer late.Stop()
	said := ""
	for lines := bufio.NewScanner(r); lines.Scan(); {
		if addr, ok := parseListening(lines.Bytes()); ok {
			// ends with the server
			go func() {
				defer r.Close()
				_, _ = io.Copy(io.Discard, r)
			}()
			return &Server{addr, c}, nil
		}
		said = lines.Text()
	}
	r.Close()
	_ = c.Process.Kill()
	_ = c.Wait()
	return nil, fmt.Errorf("%s printed no address but %q", name, said)
}

// parseListening finds the address for clients in a line that says so.
func parseListening(line []byte) (string, bool) {
	const host = "127.0.0.1:"
	if bytes.Contains(line, []byte("listening for ")) { // somebody else
		return "", false
	}
	_, after, ok := bytes.Cut(line, []byte("listening"))
	if !ok {
		_, after, ok = bytes.Cut(line, []byte("serving")) // Centrifugo
	}
	_, after, there := bytes.Cut(after, []byte(host))
	if !ok || !there {
		return "", false
	}
	end := bytes.IndexFunc(append(bytes.Clone(after), ' '), func(r rune) bool { return r < '0' || r > '9' })
	return host + string(after[:end]), end > 0
}

// Kill ends the server at once and waits for its end. On nil it does nothing.
func (s *Server) Kill() {
	if s != nil {
		_ = s.Process.Kill()
		_ = s.Wait()
	}
}

// Resident is the RSS of a process in bytes. Linux.
func Resident(pid int) (int64, error) {
	return kilobytes(fmt.Sprintf("/proc/%d/status", pid), "VmRSS:")
}

// Slab is what the kernel's own objects take, in bytes. Linux.
func Slab() (int64, error) { return kilobytes("/proc/meminfo", "Slab:") }

func kilobytes(path, name string) (int64, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kb << 10, err
		}
	}
	return 0, fmt.Errorf("%s has no %s", path, name)
}

// TCP is how many sockets the kernel has open and the bytes it holds in their
// buffers, to the page. Linux.
func TCP() (sockets, buffers int64, err error) {
	b, err := os.ReadFile("/proc/net/sockstat")
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "TCP:"); ok {
			f := strings.Fields(rest)
			for i := 0; i+1 < len(f); i += 2 {
				n, err := strconv.ParseInt(f[i+1], 10, 64)
				if err != nil {
					return 0, 0, err
				}
				switch f[i] {
				case "inuse":
					sockets = n
				case "mem":
					buffers = n * int64(os.Getpagesize())
				}
			}
			return sockets, buffers, nil
		}
	}
	return 0, 0, errors.New("/proc/net/sockstat has no TCP")
}

// Machine says what figures were measured on.
func Machine() string {
	return fmt.Sprintf("%s, %d cores, %s, %s, Node %s", processor(), runtime.NumCPU(), Said("uname", "-sr"), runtime.Version(), Said("node", "--version"))
}

func processor() string {
	b, _ := os.ReadFile("/proc/cpuinfo")
	_, after, ok := bytes.Cut(b, []byte("model name"))
	line, _, _ := bytes.Cut(after, []byte("\n"))
	if !ok {
		return runtime.GOARCH
	}
	return strings.Trim(string(line), "\t :")
}

// Said is the first line that a command prints, or "none".
func Said(name string, args ...string) string {
	b, err := exec.Command(name, args...).Output()
	if err != nil {
		return "none"
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(b)), "\n")
	return line
}

// Shorten gives flags values in place of their defaults, after flag.Parse; those
// that the command line has set stay.
func Shorten(values map[string]int) {
	set := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { set[f.Name] = true })
	for name, v := range values {
		if set[name] {
			continue
		}
		if err := flag.Set(name, strconv.Itoa(v)); err != nil {
			panic("host: " + err.Error()) // there is no such number
		}
	}
}

// Save writes b to a file that did not exist: name.txt, or name-2.txt and on. It
// returns the file's path.
func Save(dir, name string, b []byte) (string, error) {
	for n := 1; ; n++ {
		path := filepath.Join(dir, name+".txt")
		if n > 1 {
			path = filepath.Join(dir, fmt.Sprintf("%s-%d.txt", name, n))
		}
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if errors.Is(err, os.ErrExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		_, err = f.Write(b)
		return path, errors.Join(err, f.Close())
	}
}
