//go:build linux

// Command sendloop is the bare limit of a broadcast: the same connections and the same
// bytes as a Socket.IO server has, and for each message nothing but one sendto
// per connection, in the order they were accepted. This is the limit for Go;
// sendloop.c beside it, built with
//
//	gcc -O2 -Wall -Wextra -pthread -o sendloop sendloop.c
//
// is the limit for anything, and answers to the other events of sioload too. Both
// take a port (0: any), listen on 127.0.0.1, print the address, and end by
// themselves after ten minutes or after one without any connection.
//
// This one speaks as much of HTTP, WebSocket (RFC 6455), Engine.IO 4 and Socket.IO 5
// as the broadcast scenario of sioload needs: the handshake, the open packet, the
// answer to CONNECT, and publish (room, payload…), taken for a message to everybody.
// The ping interval it announces is longer than it lives. It is no server: input is
// trusted, a full socket is waited for.
package main

import (
	"bytes"
	"context"
	"crypto/sha1" // RFC 6455, 4.2.2
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	life   = 10 * time.Minute
	lonely = time.Minute
)

func main() {
	port := 3000
	if len(os.Args) > 1 {
		var err error
		if port, err = strconv.Atoi(os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, "sendloop: usage: sendloop [port]")
			os.Exit(2)
		}
	}
	s, err := listen(port)
	if err == nil {
		fmt.Printf("listening on 127.0.0.1:%d\n", s.port)
		ctx, cancel := context.WithTimeout(context.Background(), life)
		defer cancel()
		err = s.run(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "sendloop:", err)
		os.Exit(1)
	}
}

// server is the whole program; owned by the goroutine of run.
type server struct {
	port     int
	listener int
	epoll    int
	conns    []int32 // descriptors in accept order, -1 once closed
	live     int
	byFD     map[int32]*conn
	in       []byte
	out      []byte // the frame being broadcast
}

// conn is what is known of a connection besides its place in the order.
type conn struct {
	place    int
	upgraded bool
	kept     []byte // what is not whole yet
}

func listen(port int) (*server, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) // inherited by what it accepts
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return nil, err
	}
	if err := unix.Listen(fd, 4096); err != nil {
		return nil, err
	}
	bound, err := unix.Getsockname(fd)
	if err != nil {
		return nil, err
	}
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	s := &server{port: bound.(*unix.SockaddrInet4).Port, listener: fd, epoll: epoll,
		byFD: map[int32]*conn{}, in: make([]byte, 1<<20)}
	return s, s.watch(fd)
}

func (s *server) watch(fd int) error {
	return unix.EpollCtl(s.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
}

// run serves until ctx ends, which it notices within a second, or until nobody
// has been connected for a while.
func (s *server) run(ctx context.Context) error {
	events := make([]unix.EpollEvent, 512)
	for busy := time.Now(); ; {
		n, err := unix.EpollWait(s.epoll, events, 1000)
		if err != nil && err != unix.EINTR {
			return err
		}
		for _, e := range events[:max(n, 0)] {
			if int(e.Fd) == s.listener {
				s.accept()
			} else {
				s.read(e.Fd)
			}
		}
		now := time.Now()
		if s.live > 0 {
			busy = now
		}
		if ctx.Err() != nil || now.Sub(busy) > lonely {
			return nil
		}
	}
}

func (s *server) accept() {
	for {
		fd, _, err := unix.Accept4(s.listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err != nil {
			return
		}
		if s.watch(fd) != nil {
			unix.Close(fd)
			continue
		}
		s.byFD[int32(fd)] = &conn{place: len(s.conns)}
		s.conns = append(s.conns, int32(fd))
		s.live++
	}
}

func (s *server) drop(fd int32) {
	c := s.byFD[fd]
	if c == nil {
		return
	}
	s.conns[c.place] = -1
	s.live--
	delete(s.byFD, fd)
	unix.Close(int(fd))
	for len(s.conns) > 0 && s.conns[len(s.conns)-1] < 0 {
		s.conns = s.conns[:len(s.conns)-1]
	}
}

func (s *server) read(fd int32) {
	c := s.byFD[fd]
	if c == nil {
		return
	}
	n, err := unix.Read(int(fd), s.in)
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		return
	case err != nil || n == 0:
		s.drop(fd)
		return
	}
	b := s.in[:n]
	if len(c.kept) > 0 {
		b = append(c.kept, b...)
	}
	if !c.upgraded {
		b = s.upgrade(fd, c, b)
	}
	if c.upgraded {
		b = s.frames(fd, b)
	}
	c.kept = slices.Clone(b)
}

// upgrade answers the handshake at the start of b and returns what follows it.
func (s *server) upgrade(fd int32, c *conn, b []byte) []byte {
	head, rest, ok := bytes.Cut(b, []byte("\r\n\r\n"))
	if !ok {
		return b
	}
	for _, line := range bytes.Split(head, []byte("\r\n")) {
		name, key, _ := bytes.Cut(line, []byte(":"))
		if !bytes.EqualFold(name, []byte("Sec-WebSocket-Key")) {
			continue
		}
		sum := sha1.Sum([]byte(string(bytes.TrimSpace(key)) + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
		answer := []byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
			"Sec-WebSocket-Accept: " + base64.StdEncoding.EncodeToString(sum[:]) + "\r\n\r\n")
		open := fmt.Sprintf(`0{"sid":"%020d","upgrades":[],"pingInterval":3600000,"pingTimeout":3600000,"maxPayload":1000000}`, fd)
		sendAll(fd, appendFrame(answer, []byte(open)))
		c.upgraded = true
		return rest
	}
	s.drop(fd)
	return nil
}

// frames handles the whole frames at the start of b, masked as a client's must
// be, and returns what follows them.
func (s *server) frames(fd int32, b []byte) []byte {
	for len(b) >= 6 {
		size, h := int(b[1]&0x7f), 2
		switch size {
		case 126:
			size, h = int(binary.BigEndian.Uint16(b[2:])), 4
		case 127:
			if len(b) < 14 {
				return b
			}
			size, h = int(binary.BigEndian.Uint64(b[2:])), 10
		}
		if size < 0 || len(b)-h-4 < size {
			return b
		}
		key, p := b[h:h+4], b[h+4:h+4+size]
		for i := range p {
			p[i] ^= key[i&3]
		}
		if b[0]&0x0f == 8 { // close
			s.drop(fd)
			return nil
		}
		s.message(fd, p)
		b = b[h+4+size:]
	}
	return b
}

// message handles CONNECT and publish.
func (s *server) message(fd int32, p []byte) {
	if nsp, ok := bytes.CutPrefix(p, []byte("40")); ok {
		name := []byte{}
		if len(nsp) > 0 && nsp[0] == '/' {
			name, _, _ = bytes.Cut(nsp, []byte(","))
			name = append(slices.Clone(name), ',')
		}
		sendAll(fd, appendFrame(nil, fmt.Appendf(nil, `40%s{"sid":"%020d"}`, name, fd)))
		return
	}
	head, args, ok := bytes.Cut(p, []byte(`["publish","`))
	if !ok || !bytes.HasPrefix(head, []byte("42")) {
		return
	}
	_, payload, ok := bytes.Cut(args, []byte(`"`))
	if !ok {
		return
	}
	packet := slices.Concat(head, []byte(`["msg"`), payload)
	s.out = appendFrame(s.out[:0], packet)
	s.broadcast(s.out)
}

// broadcast is what it is all about. Raw system calls: the sockets do not
// block, so the scheduler need not know.
func (s *server) broadcast(b []byte) {
	at, n := uintptr(unsafe.Pointer(&b[0])), uintptr(len(b))
	for _, fd := range s.conns {
		if fd < 0 {
			continue
		}
		k, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), at, n, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT, 0, 0)
		if k != n {
			if errno != 0 {
				k = 0
			}
			sendAll(fd, b[k:])
		}
	}
}

// sendAll sends what a socket takes and waits for it to take the rest.
func sendAll(fd int32, b []byte) {
	for len(b) > 0 {
		n, err := unix.SendmsgN(int(fd), b, nil, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
		switch err {
		case nil:
			b = b[n:]
		case unix.EAGAIN:
			_, _ = unix.Poll([]unix.PollFd{{Fd: fd, Events: unix.POLLOUT}}, 1000)
		case unix.EINTR:
		default:
			return // its end of file is still to be read
		}
	}
}

// appendFrame appends a text frame.
func appendFrame(dst, payload []byte) []byte {
	dst = append(dst, 0x81)
	switch n := len(payload); {
	case n < 126:
		dst = append(dst, byte(n))
	case n < 1<<16:
		dst = binary.BigEndian.AppendUint16(append(dst, 126), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, 127), uint64(n))
	}
	return append(dst, payload...)
}
