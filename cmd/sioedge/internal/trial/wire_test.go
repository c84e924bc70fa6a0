package trial

import (
	"crypto/tls"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/capacity"
)

func TestFramesOfClients(t *testing.T) {
	if got := string(masked("40")); got != "\x81\x82\x00\x00\x00\x0040" {
		t.Errorf("masked(40) = %q", got)
	}
	long := strings.Repeat("x", 300)
	if got := string(masked(long)); got != "\x81\xfe\x01\x2c\x00\x00\x00\x00"+long {
		t.Errorf("masked of 300 B = %q", got[:12])
	}
	if len(text) != 66 || len(message) > 125 {
		t.Errorf("the message has %d bytes, its packet %d", len(text)-2, len(message))
	}
	if parts := strings.Split(token(7), "."); len(parts) != 3 || token(7) == token(8) {
		t.Errorf("token(7) = %q", token(7))
	}
}

func TestAwait(t *testing.T) {
	const answer = "HTTP/1.1 101\r\n\r\n\x81\x050{\"a\":1}"
	for name, r := range map[string]io.Reader{"whole": strings.NewReader(answer), "in pieces": iotest.OneByteReader(strings.NewReader(answer))} {
		if err := await(r, "0{", "}"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := await(strings.NewReader("HTTP/1.1 503"), "0{", "}"); !errors.Is(err, io.EOF) {
		t.Errorf("await of a refusal = %v, want that it has ended", err)
	}
	if err := await(strings.NewReader(strings.Repeat("x", 9000)), "0{", "}"); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("await of too much = %v", err)
	}
}

func TestCertificateIsOne(t *testing.T) {
	cert, key := filepath.Join(t.TempDir(), "c"), filepath.Join(t.TempDir(), "k")
	if err := certify(cert, key); err != nil {
		t.Fatal(err)
	}
	if _, err := tls.LoadX509KeyPair(cert, key); err != nil {
		t.Error(err)
	}
}

// A server that does not start, or answers nothing, is an error, and the costs stay.
func TestMeasureFails(t *testing.T) {
	no := errors.New("no")
	c, err := Measure(func(...string) (*Server, error) { return nil, no }, capacity.Measured)
	if !errors.Is(err, no) || c != capacity.Measured {
		t.Errorf("Measure = %v, want that of the start", err)
	}
	ended := 0
	_, err = Measure(func(...string) (*Server, error) {
		return &Server{Addr: "127.0.0.1:1", PID: os.Getpid(), End: func() { ended++ }}, nil
	}, capacity.Measured)
	if err == nil || ended != 1 {
		t.Errorf("Measure where nobody listens = %v, and %d servers were ended", err, ended)
	}
	if _, err := cpuOf(1 << 30); err == nil {
		t.Error("a process that there is not has used processor time")
	}
}
