package trial

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	request = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

	// A message of 64 B, as an event has it: with its quotes.
	text    = `"0123456789012345678901234567890123456789012345678901234567890123"`
	message = `42["msg",` + text + `]`

	secret = "of servers that doctor starts: 32 bytes and more"
)

// masked is a client's frame, less than 64 KiB. The mask is zero.
func masked(packet string) []byte {
	b := []byte{0x81, 0x80 | byte(len(packet))}
	if len(packet) > 125 {
		b = []byte{0x81, 0x80 | 126, byte(len(packet) >> 8), byte(len(packet))}
	}
	return append(append(b, 0, 0, 0, 0), packet...)
}

// await reads until what has come has these, one behind the other, and ends there: nothing
// comes unasked behind them.
func await(r io.Reader, first, then string) error {
	b := make([]byte, 0, 2048)
	for len(b) < cap(b) {
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if _, rest, ok := bytes.Cut(b, []byte(first)); ok && bytes.Contains(rest, []byte(then)) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w after %.60q", err, b)
		}
	}
	return errors.New("more came than was expected")
}

// token is a JSON Web Token of a client (RFC 7519), signed by HS256.
func token(i int) string {
	enc := base64.RawURLEncoding
	claims := fmt.Sprintf(`{"sub":"user-%d","iat":%d,"exp":%d}`, i, time.Now().Unix(), time.Now().Add(time.Hour).Unix())
	text := enc.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + enc.EncodeToString([]byte(claims))
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(text))
	return text + "." + enc.EncodeToString(mac.Sum(nil))
}

// declared are the settings of all servers, but for who may come, and into which room: clients
// may join one, and send to it.
const (
	declared = "namespaces: [{ pattern: /, events: { join: { action: join, room: all }, publish: { action: relay, to: all, as: msg, self: true } }%s }]\n"
	somebody = "auth: { mode: jwt, jwt: { secret: \"" + secret + "\" } }\n"
)

// declaring is run with what a setting takes in files, which are gone afterwards.
func declaring(start Start, s setting) (spent, error) {
	dir, err := os.MkdirTemp("", "sioedge-doctor-")
	if err != nil {
		return spent{}, err
	}
	defer os.RemoveAll(dir)
	text, listen := fmt.Sprintf(declared, ""), address
	if s.known {
		text = somebody + fmt.Sprintf(declared, ", auth: required, join_on_connect: [\"user:{user}\"]")
	}
	if s.tls {
		cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
		if err := certify(cert, key); err != nil {
			return spent{}, err
		}
		s.args, listen = append(s.args, "--tls-cert", cert, "--tls-key", key), "tls://"+address
	}
	file := filepath.Join(dir, "edge.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return spent{}, err
	}
	s.args = append(s.args, "--config", file, "--listen", listen)
	return run(start, s)
}

func certify(cert, key string) error {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(60 * 24 * time.Hour)}
	signed, err := x509.CreateCertificate(rand.Reader, c, c, &k.PublicKey, k)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signed}), 0o600),
		os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
}

// cpuOf returns the time that the threads of a process have been on a processor, when it
// has nothing to do any more. Linux: proc(5), schedstat.
func cpuOf(pid int) (sum time.Duration, err error) {
	time.Sleep(50 * time.Millisecond)
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			continue // the thread has ended
		}
		first, _, _ := strings.Cut(string(b), " ")
		n, err := strconv.ParseInt(first, 10, 64)
		if err != nil {
			return 0, err
		}
		sum += time.Duration(n)
	}
	if sum == 0 {
		return 0, errors.New("this system does not say what processor time the threads of a process have had")
	}
	return sum, nil
}
