// Command stalled measures what clients cost that have stopped reading: bytes in
// the server, and in the kernel's buffers of both ends.
//
//	make build && go run ./bench/stalled -clients 500
//
// First all of them stay away from a stream of broadcasts, until the server
// gives them up. Then others ask for echoes that they do not read, until the
// server does not read from them any more. Their own kernel buffers are as small
// as can be.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/sioedge/sioedge/bench/host"
	"github.com/sioedge/sioedge/wsframe"
)

func main() {
	clients := flag.Int("clients", 500, "clients that stop reading")
	flag.Parse()
	if err := run(*clients); err != nil {
		fmt.Fprintln(os.Stderr, "stalled:", err)
		os.Exit(1)
	}
}

func run(n int) error {
	for _, measure := range []func(*host.Server, int) error{broadcasts, echoes} {
		s, err := host.Start("sioedge", []string{"bin/sioedge", "serve", "--demo", "--listen", "127.0.0.1:0", "--log-format", "text"})
		if err != nil {
			return err
		}
		err = measure(s, n)
		s.Kill()
		if err != nil {
			return err
		}
	}
	return nil
}

// held is what the server and the kernel hold.
type held struct{ server, kernel int64 }

func hold(s *host.Server) (h held, err error) {
	if h.server, err = host.Resident(s.Process.Pid); err == nil {
		_, h.kernel, err = host.TCP()
	}
	return h, err
}

// a is what h is beyond before, for each of n clients.
func (h held) beyond(before held, n int) string {
	return fmt.Sprintf("%8d B in the server, %8d B in the kernel", (h.server-before.server)/int64(n), (h.kernel-before.kernel)/int64(n))
}

const size = 1000 // bytes of a payload

// broadcasts has a client publish to all, n of which do not read.
func broadcasts(s *host.Server, n int) error {
	all, err := dialAll(s.Addr, n, true)
	defer closeAll(all)
	if err != nil {
		return err
	}
	pub, err := dial(s.Addr, false)
	if err != nil {
		return err
	}
	defer pub.Close()
	before, err := hold(s)
	if err != nil {
		return err
	}
	fmt.Printf("%d clients that do not read broadcasts of %d bytes, each:\n", n, size)
	payload := strings.Repeat("x", size)
	for sent, next := 1, 64; sent <= 512; sent++ {
		if err := send(pub, fmt.Sprintf(`42["publish","","%d%s"]`, sent, payload)); err != nil {
			return err
		}
		if err := await(pub, fmt.Sprintf(`["msg","%d%s`, sent, payload)); err != nil {
			return err
		}
		if sent == next {
			time.Sleep(200 * time.Millisecond) // for what goes on behind our own message
			h, err := hold(s)
			if err != nil {
				return err
			}
			fmt.Printf("  after %4d KB  %s\n", sent*size/1000, h.beyond(before, n))
			next *= 2
		}
	}
	return nil
}

// echoes has n clients ask for what they do not read, until nobody listens.
func echoes(s *host.Server, n int) error {
	all, err := dialAll(s.Addr, n, true)
	defer closeAll(all)
	if err != nil {
		return err
	}
	before, err := hold(s)
	if err != nil {
		return err
	}
	payload := strings.Repeat("x", size)
	sent := 0
	for open := all; len(open) > 0; {
		var more []net.Conn
		for i, c := range open {
			_ = c.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
			switch err := send(c, fmt.Sprintf(`42%d["echo","%d%s"]`, sent, i, payload)); {
			case err == nil:
				sent++
				more = append(more, c)
			case !errors.Is(err, os.ErrDeadlineExceeded):
				return fmt.Errorf("after %d echoes: %w", sent, err)
			}
		}
		open = more
	}
	time.Sleep(200 * time.Millisecond)
	h, err := hold(s)
	if err != nil {
		return err
	}
	fmt.Printf("%d clients that do not read their echoes of %d bytes, each:\n", n, size)
	fmt.Printf("  after %4d KB  %s, and the server reads no more\n", sent*size/1000/n, h.beyond(before, n))
	return nil
}

func dialAll(addr string, n int, small bool) (all []net.Conn, err error) {
	for range n {
		c, err := dial(addr, small)
		if err != nil {
			return all, err
		}
		all = append(all, c)
	}
	return all, nil
}

func closeAll(all []net.Conn) {
	for _, c := range all {
		c.Close()
	}
}

// dial connects to the namespace / over a WebSocket, with small buffers in the
// kernel or with usual ones.
func dial(addr string, small bool) (net.Conn, error) {
	d := net.Dialer{Timeout: 10 * time.Second}
	if small {
		d.Control = func(_, _ string, c syscall.RawConn) error {
			return errors.Join(c.Control(func(fd uintptr) {
				_ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 1)
				_ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDBUF, 1)
			}))
		}
	}
	c, err := d.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	const opening = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
	if _, err = c.Write([]byte(opening)); err == nil {
		err = send(c, "40")
	}
	if err == nil {
		err = await(c, `40{"sid":`)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func send(c net.Conn, packet string) error {
	_, err := c.Write(wsframe.AppendMaskedFrame(nil, wsframe.Text, []byte(packet), [4]byte{1, 2, 3, 4}))
	return err
}

// await reads until text has come.
func await(c net.Conn, text string) error {
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	var all []byte
	for b := make([]byte, 4096); ; {
		n, err := c.Read(b)
		all = append(all, b[:n]...)
		if bytes.Contains(all, []byte(text)) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("waiting for %.40s: %w", text, err)
		}
	}
}
