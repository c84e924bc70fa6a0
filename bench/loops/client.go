package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"github.com/sioedge/sioedge/wsframe"
)

// patience is how long a client waits for what must come, in seconds.
const patience = 30

var nonce = [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}

// A client is a descriptor that blocks: reading is one system call.
type client struct {
	fd int
}

// A dial makes a connection to a server.
type dial func() (*client, error)

// pair connects by two Unix sockets, of which the server adopts one.
func (b *bed) pair() (*client, error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	f := os.NewFile(uintptr(fds[1]), "pair")
	conn, err := net.FileConn(f)
	f.Close()
	if err == nil {
		if err = b.srv.Adopt(conn, nil); err == nil {
			return newClient(fds[0])
		}
		conn.Close()
	}
	_ = syscall.Close(fds[0])
	return nil, err
}

// tcp connects to a port of loopback.
func tcp(port int) (*client, error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	err = syscall.Connect(fd, &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
	if err == nil {
		err = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
	}
	if err != nil {
		_ = syscall.Close(fd)
		return nil, os.NewSyscallError("connect", err)
	}
	return newClient(fd)
}

func newClient(fd int) (*client, error) {
	err := syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &syscall.Timeval{Sec: patience})
	if err != nil {
		_ = syscall.Close(fd)
		return nil, os.NewSyscallError("setsockopt", err)
	}
	return &client{fd}, nil
}

func (c *client) close() { _ = syscall.Close(c.fd) }

func (c *client) write(b []byte) error {
	for len(b) > 0 {
		n, err := syscall.Write(c.fd, b)
		if err != nil && err != syscall.EINTR {
			return os.NewSyscallError("write", err)
		}
		b = b[max(n, 0):]
	}
	return nil
}

// read reads something.
func (c *client) read(b []byte) (n int, err error) {
	for err = syscall.EINTR; err == syscall.EINTR; {
		n, err = syscall.Read(c.fd, b)
	}
	switch {
	case err != nil:
		return 0, os.NewSyscallError("read", err)
	case n == 0:
		return 0, errors.New("the server has closed a connection")
	}
	return n, nil
}

// take reads exactly n bytes, the last of which are want.
func (d *driver) take(c *client, n int, want []byte) error {
	last := 0
	for n > 0 {
		got, err := c.read(d.buf[:min(n, len(d.buf))])
		if err != nil {
			return err
		}
		n, last = n-got, got
	}
	if k := min(last, len(want)); string(d.buf[last-k:last]) != string(want[len(want)-k:]) {
		return fmt.Errorf("got …%q, want …%q", d.buf[last-k:last], want)
	}
	return nil
}

// packet is a text message as clients send it.
func packet(text string) []byte {
	return wsframe.AppendMaskedFrame(nil, wsframe.Text, []byte(text), [4]byte{1, 2, 3, 4})
}

// message is one as servers do.
func message(text string) []byte { return wsframe.AppendFrame(nil, wsframe.Text, []byte(text)) }

// await reads one message that begins so, with the answer to the handshake before it if
// there is one; nothing else may come behind it.
func (d *driver) await(c *client, prefix string) error {
	for n := 0; ; {
		got, err := c.read(d.buf[n:])
		if err != nil {
			return err
		}
		n += got
		b := d.buf[:n]
		if strings.HasPrefix(string(b[:min(n, 4)]), "HTTP") {
			head, err := wsframe.CheckAccept(b, nonce)
			if err != nil {
				return err
			}
			if b = b[head:]; head == 0 {
				continue
			}
		}
		h, head, err := wsframe.ParseHeader(b)
		if err != nil {
			return err
		}
		if head == 0 || int64(len(b)-head) < h.Length {
			continue
		}
		if b = b[head:]; !strings.HasPrefix(string(b), prefix) || int64(len(b)) != h.Length {
			return fmt.Errorf("got %q, want %s…", b, prefix)
		}
		return nil
	}
}

// join connects clients to a namespace: all of them at once, one step after the other.
func (d *driver) join(n int, dial dial, namespace string) (all []*client, err error) {
	defer func() {
		if err != nil {
			closeAll(all)
		}
	}()
	for range n {
		c, err := dial()
		if err != nil {
			return all, err
		}
		all = append(all, c)
	}
	name := ""
	if namespace != "/" {
		name = namespace + ","
	}
	hello := wsframe.AppendClientHandshake(nil, "h", "/socket.io/?EIO=4&transport=websocket", nonce)
	for _, step := range []struct {
		send []byte
		get  string
	}{{hello, "0{"}, {packet("40" + name), "40" + name + "{"}} {
		for _, c := range all {
			if err := c.write(step.send); err != nil {
				return all, err
			}
		}
		for _, c := range all {
			if err := d.await(c, step.get); err != nil {
				return all, err
			}
		}
	}
	return all, nil
}

func closeAll(all []*client) {
	for _, c := range all {
		c.close()
	}
}

// A driver is some of the clients, on a thread of its own, whose cost is counted apart.
type driver struct {
	number  int
	clients []*client
	rooms   []string // of ten of these each
	buf     []byte
	used    usage // by what it has done
	jobs    chan func(d *driver) error
	done    chan error
}

func newDriver(number int) *driver {
	d := &driver{number: number, buf: make([]byte, 64<<10), jobs: make(chan func(*driver) error), done: make(chan error, 1)}
	// ends when jobs is closed
	go func() {
		runtime.LockOSThread()
		for job := range d.jobs {
			before := ofThread()
			err := job(d)
			d.used = d.used.plus(ofThread().minus(before))
			d.done <- err
		}
	}()
	return d
}

// all has all drivers do something, while meanwhile runs, and waits for both.
func (b *bed) all(job func(d *driver) error, meanwhile func() error) error {
	for _, d := range b.drivers {
		d.jobs <- job
	}
	err := error(nil)
	if meanwhile != nil {
		err = meanwhile()
	}
	for _, d := range b.drivers {
		err = errors.Join(err, <-d.done)
	}
	return err
}

// together calls f on so many goroutines at once, with their numbers, and waits.
func together(n int, f func(i int) error) error {
	errs, left := make([]error, n), sync.WaitGroup{}
	for i := range n {
		left.Go(func() { errs[i] = f(i) }) // ends with f
	}
	left.Wait()
	return errors.Join(errs...)
}
