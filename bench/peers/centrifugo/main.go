// Centrifugo starts Centrifugo's own binary, which is beside this one, on a free port,
// set up for clients with tokens (RFC 7519): it becomes that process.
package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

func main() {
	if len(os.Args) != 3 {
		fatal(fmt.Errorf("usage: %s CENTRIFUGO SECRET", filepath.Base(os.Args[0])))
	}
	port, err := freePort()
	if err != nil {
		fatal(err)
	}
	binary, err := filepath.Abs(os.Args[1])
	if err != nil {
		fatal(err)
	}
	// It finds no file of settings in a directory of its own.
	dir, err := os.MkdirTemp("", "centrifugo")
	if err == nil {
		err = os.Chdir(dir)
	}
	if err != nil {
		fatal(err)
	}
	fatal(syscall.Exec(binary, []string{binary}, append(os.Environ(),
		"CENTRIFUGO_HTTP_SERVER_ADDRESS=127.0.0.1",
		"CENTRIFUGO_HTTP_SERVER_PORT="+strconv.Itoa(port),
		"CENTRIFUGO_CLIENT_TOKEN_HMAC_SECRET_KEY="+os.Args[2],
		"CENTRIFUGO_CLIENT_ALLOWED_ORIGINS=*",
		"CENTRIFUGO_LOG_LEVEL=info",
	)))
}

func freePort() (int, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, "centrifugo:", err)
	os.Exit(1)
}
