package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/sioedge/sioedge/bench/host"
	"github.com/sioedge/sioedge/wsframe"
)

// refusals measures what a server spends on a client that it refuses: a connection, its
// request for a WebSocket, the answer 503, the end. In µs of CPU.
func refusals(n int) (float64, error) {
	server, err := serve("--accept-rate", "1")
	if err != nil {
		return 0, err
	}
	defer server.Kill()
	before, refused := host.CPU{}, 0
	for i := 0; refused < n; i++ {
		if i > 2*n {
			return 0, errors.New("most of those that come too fast are let in")
		}
		if i == 10 { // it has let in all that there was time for
			if before, err = host.CPUOf(server.Process.Pid); err != nil {
				return 0, err
			}
			refused = 0
		}
		is, err := refuses(server.Addr)
		if err != nil {
			return 0, fmt.Errorf("client %d: %w", i, err)
		}
		if is {
			refused++
		}
	}
	after, err := host.CPUOf(server.Process.Pid)
	return float64(after.Since(before).Total().Nanoseconds()) / 1000 / float64(n), err
}

var nonce = [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}

// refuses tells whether the server answers a client with 503. Who is let in goes again.
func refuses(addr string) (bool, error) {
	c, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return false, err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := c.Write(wsframe.AppendClientHandshake(nil, addr, "/socket.io/?EIO=4&transport=websocket", nonce)); err != nil {
		return false, err
	}
	head := make([]byte, len("HTTP/1.1 503"))
	if _, err := io.ReadFull(c, head); err != nil {
		return false, err
	}
	return bytes.HasSuffix(head, []byte("503")), nil
}
