package ioclient

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/sioedge/sioedge/sio/parser"
)

// Names of transports.
const (
	Polling   = "polling"
	WebSocket = "websocket"
)

// Options say how to connect. Zero fields are as the stock client has them.
type Options struct {
	// Target is the server, and the first namespace.
	Target Target
	// Path is Engine.IO's. Empty means /socket.io/.
	Path string
	// Transports are tried in this order: a session begins with the first, and goes from
	// polling to WebSocket if both are here. Nil means polling, then WebSocket.
	Transports []string
	// Header goes with each request; Host in it is the host that is asked for.
	Header http.Header
	// Auth is a JSON object, the payload of each CONNECT. Nil means none.
	Auth json.RawMessage
	// TLS is for https and wss. Nil means the system's authorities.
	TLS *tls.Config

	// OpenTimeout is how long a session may take to open, and an upgrade. Zero means
	// 20 s. The stock client: timeout.
	OpenTimeout time.Duration
	// Backoff is how long to wait before connecting again.
	Backoff Backoff
	// Attempts is how many times in a row connecting again is tried. Zero means for ever,
	// negative never.
	// The stock client: reconnectionAttempts.
	Attempts int
	// FailFirst has Run return when the very first attempt fails.
	FailFirst bool

	// MaxMessage bounds a message of the server, and an answer to a poll, in bytes. Zero
	// means 16 MiB.
	MaxMessage int
	// Limits bound packets. Zero fields: 256 attachments of 32 MiB together.
	Limits parser.Limits
	// MaxQueue bounds what waits to be sent, in bytes. Zero means 16 MiB.
	MaxQueue int

	// Notify is told of all that happens, in order, by one goroutine; until it returns
	// nothing more is read. What is in a Notice belongs to it.
	Notify func(Notice)
}

// Bounds of what a server may say of itself.
const (
	maxHead    = 64 << 10 // bytes of the head of an answer
	maxID      = 1 << 10  // bytes of a session's id, a socket's, or an offset
	maxRefusal = 4 << 10  // bytes of the body of a refusal
	maxBeat    = 24 * time.Hour
)

// normalize sets what is zero, and says what is wrong.
func (o *Options) normalize() error {
	o.Path = cmp.Or(o.Path, "/socket.io/")
	if !strings.HasPrefix(o.Path, "/") {
		return fmt.Errorf("a path begins with a slash, %q does not", o.Path)
	}
	if err := CheckNamespace(o.Target.Namespace); err != nil {
		return err
	}
	if len(o.Transports) == 0 {
		o.Transports = []string{Polling, WebSocket}
	}
	for _, t := range o.Transports {
		if t != Polling && t != WebSocket {
			return fmt.Errorf("there is no transport %q: polling, websocket", t)
		}
	}
	if o.Auth != nil && !json.Valid(o.Auth) || o.Auth != nil && o.Auth[0] != '{' {
		return errors.New("what authenticates is a JSON object")
	}
	for name, values := range o.Header {
		for _, v := range values {
			if !fieldName(name) || strings.ContainsFunc(v, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
				return fmt.Errorf("%q cannot be a header", name+": "+v)
			}
		}
	}
	o.OpenTimeout = cmp.Or(o.OpenTimeout, 20*time.Second)
	o.MaxMessage = cmp.Or(o.MaxMessage, 16<<20)
	o.MaxQueue = cmp.Or(o.MaxQueue, 16<<20)
	o.Limits.MaxAttachments = cmp.Or(o.Limits.MaxAttachments, 256)
	o.Limits.MaxAttachmentBytes = cmp.Or(o.Limits.MaxAttachmentBytes, 32<<20)
	if o.Notify == nil {
		o.Notify = func(Notice) {}
	}
	return o.Backoff.normalize()
}

// fieldName tells whether a name can be that of a header field: a token.
func fieldName(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`()<>@,;:\"/[]?={}`, r)
	})
}

// dial connects to the server's host.
func (o *Options) dial(ctx context.Context, network, address string) (net.Conn, error) {
	return (&net.Dialer{KeepAlive: 15 * time.Second}).DialContext(ctx, network, address)
}
