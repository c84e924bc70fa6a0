// Package trial measures what a server on this machine spends on a connect, a delivery and a refusal, in a few seconds.
package trial

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/capacity"
)

// A Server listens on loopback, in a process of its own.
type Server struct {
	Addr string
	PID  int
	End  func()
}

// A Start starts sioedge serve with these arguments, and those that have it listen on loopback
// alone and say so.
type Start func(args ...string) (*Server, error)

const (
	clients  = 400
	dialers  = 8 // at a time
	rounds   = 60
	refusals = 1000
	patience = 10 * time.Second

	address = "127.0.0.1:0"
)

// Here is the Source of what Measure has measured.
const Here = "measured on this machine"

// Measure returns the costs of base, but for those that it has measured: of a connect, a
// delivery and a refusal, and of TLS and tokens by HS256 on top. Each takes less than a
// second of work. Others' work on the machine is in it as far as it has them wait for memory
// and caches; with both ends on it, so is the receiver's part of the kernel.
func Measure(start Start, base capacity.Costs) (capacity.Costs, error) {
	plain, err := declaring(start, setting{})
	if err != nil {
		return base, err
	}
	secure, err := declaring(start, setting{tls: true})
	if err != nil {
		return base, err
	}
	known, err := declaring(start, setting{known: true})
	if err != nil {
		return base, err
	}
	refused, err := refuse(start)
	if err != nil {
		return base, err
	}
	for _, c := range []struct {
		cost  *capacity.Cost
		value float64
	}{
		{&base.Connect, plain.connect}, {&base.Delivery, plain.delivery}, {&base.Refusal, refused},
		{&base.Handshake, secure.connect - plain.connect}, {&base.DeliveryTLS, secure.delivery - plain.delivery},
		{&base.Token, known.connect - plain.connect},
	} {
		// A difference may drown in what else the machine does.
		if c.value > 0 {
			c.cost.Value, c.cost.Source = c.value, Here
		}
	}
	return base, nil
}

// A setting is a server, and how its clients come.
type setting struct {
	args  []string // of sioedge serve
	tls   bool
	known bool // clients have tokens
}

// spent is µs of the server's CPU, for one.
type spent struct{ connect, delivery float64 }

func run(start Start, s setting) (spent, error) {
	server, err := start(s.args...)
	if err != nil {
		return spent{}, err
	}
	defer server.End()
	before, err := cpuOf(server.PID)
	if err != nil {
		return spent{}, err
	}
	all, err := connect(server.Addr, s)
	defer func() {
		for _, c := range all {
			_ = c.Close()
		}
	}()
	if err != nil {
		return spent{}, err
	}
	connected, err := cpuOf(server.PID)
	if err != nil {
		return spent{}, err
	}
	for _, c := range all {
		if err := join(c); err != nil {
			return spent{}, err
		}
	}
	joined, err := cpuOf(server.PID)
	if err != nil {
		return spent{}, err
	}
	for range rounds {
		if err := broadcast(all); err != nil {
			return spent{}, err
		}
	}
	after, err := cpuOf(server.PID)
	return spent{micros(connected-before) / clients, micros(after-joined) / (clients * rounds)}, err
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

// connect returns clients that are in the namespace /, or those that are when it fails.
func connect(addr string, s setting) ([]net.Conn, error) {
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		all  []net.Conn
		errs []error
	)
	for d := range dialers {
		wg.Go(func() { // ends when its share is connected
			for i := d; i < clients; i += dialers {
				c, err := dial(addr, s, i)
				mu.Lock()
				if c != nil {
					all = append(all, c)
				}
				if err != nil {
					errs = append(errs, err)
				}
				mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return all, errors.Join(errs...)
}

func dial(addr string, s setting, i int) (net.Conn, error) {
	d := net.Dialer{Timeout: patience}
	c, err := d.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	if s.tls {
		c = tls.Client(c, &tls.Config{InsecureSkipVerify: true}) // the certificate is this process's own
	}
	_ = c.SetDeadline(time.Now().Add(patience))
	packet := "40"
	if s.known {
		packet += `{"token":"` + token(i) + `"}`
	}
	if _, err := io.WriteString(c, request); err != nil {
		return c, err
	}
	if err := await(c, "0{", "}"); err != nil {
		return c, fmt.Errorf("client %d has no session: %w", i, err)
	}
	if _, err := c.Write(masked(packet)); err != nil {
		return c, err
	}
	if err := await(c, "40{", "}"); err != nil {
		return c, fmt.Errorf("client %d is in no namespace: %w", i, err)
	}
	return c, nil
}

// join puts a client into the room of all.
func join(c net.Conn) error {
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write(masked(`420["join"]`)); err != nil {
		return err
	}
	return await(c, "430[", "]")
}

// broadcast has a message sent to all, and returns when all have it.
func broadcast(all []net.Conn) error {
	deadline := time.Now().Add(patience)
	_ = all[0].SetDeadline(deadline)
	if _, err := all[0].Write(masked(`42["publish",` + text + `]`)); err != nil {
		return err
	}
	b := make([]byte, 2+len(message))
	for _, c := range all {
		_ = c.SetReadDeadline(deadline)
		if _, err := io.ReadFull(c, b); err != nil {
			return fmt.Errorf("a broadcast did not come: %w", err)
		}
		if string(b[2:]) != message {
			return fmt.Errorf("%q came where a broadcast should", b[2:])
		}
	}
	return nil
}

// refuse returns what a client costs that comes too fast.
func refuse(start Start) (float64, error) {
	server, err := start("--listen", address, "--accept-rate", "1")
	if err != nil {
		return 0, err
	}
	defer server.End()
	var before time.Duration
	for i := range refusals + 10 {
		if i == 10 { // who was let in is among those before
			if before, err = cpuOf(server.PID); err != nil {
				return 0, err
			}
		}
		if err := knock(server.Addr); err != nil {
			return 0, err
		}
	}
	after, err := cpuOf(server.PID)
	return micros(after-before) / refusals, err
}

func knock(addr string) error {
	c, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, request); err != nil {
		return err
	}
	_, err = io.ReadFull(c, make([]byte, len("HTTP/1.1 503")))
	return err
}
