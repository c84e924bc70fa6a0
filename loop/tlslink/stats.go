package tlslink

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"

	"github.com/sioedge/sioedge/loop/histogram"
)

// A Reason is why a handshake came to nothing, or a connection was ended by what was
// wrong with its TLS.
type Reason uint8

// The reasons. Those from Renegotiation on are of connections whose handshake was done,
// and all but those before may be.
const (
	none           Reason = iota
	Timeout               // not done within the loop's OpeningTimeout
	Left                  // its client went away
	PlainHTTP             // an HTTP request without TLS
	Version               // of TLS: the client speaks none that is allowed
	Mismatch              // no cipher, curve or application protocol in common
	NoCertificate         // the client has none, and one is required
	BadCertificate        // the client's is not to be trusted
	NoServerName          // this server has no certificate for the name
	Internal              // a panic, or another fault of ours
	Garbage               // what was sent is not TLS, or against its rules
	Oversized             // a record is longer than any may be
	Alert                 // the client said that something is wrong, such as that it does not trust us
	Renegotiation         // a new handshake, or another message of one, in a connection of TLS 1.2
	Flood                 // too many records that carry nothing
	Truncated             // the end of the stream was in the middle of a record
	Reasons               // how many there are
)

var reasonNames = [Reasons]string{
	"", "timeout", "left", "plain_http", "version", "mismatch", "no_certificate", "bad_certificate", "no_server_name",
	"internal", "garbage", "oversized", "alert", "renegotiation", "flood", "truncated",
}

// String returns a reason's name, such as plain_http.
func (r Reason) String() string {
	if r < Reasons {
		return reasonNames[r]
	}
	return "?"
}

// texts are what the log says of a handshake.
var texts = [Reasons]string{
	PlainHTTP:      "it sent an HTTP request without TLS",
	Version:        "it speaks no version of TLS that is allowed",
	Mismatch:       "it has no cipher, curve or application protocol of TLS in common with this server",
	NoCertificate:  "it has no certificate, and must have one",
	BadCertificate: "its certificate is not to be trusted",
	NoServerName:   "there is no certificate for the name that it asked for",
	Internal:       "its TLS handshake failed by a fault of this server",
	Garbage:        "what it sent is not TLS, or against its rules",
	Oversized:      "it sent a record of TLS that is too long",
	Alert:          "it says that something is wrong with the TLS handshake",
	Flood:          "it sent too many records of TLS that carry nothing",
	Truncated:      "its TLS handshake ended in the middle",
}

// Stats are counts since the Opener was made, and gauges: Running and Waiting. It is
// plain data.
type Stats struct {
	Done    int64               // handshakes
	Resumed int64               // of these, of a session that was there before
	TLS12   int64               // of these, in TLS 1.2
	Running int64               // goroutines of handshakes
	Waiting int64               // handshakes that wait for a slot
	Failed  [Reasons]int64      // handshakes, by why they came to nothing
	Broken  [Reasons]int64      // connections whose handshake was done, by what was wrong with their TLS
	Times   histogram.Histogram // µs that handshakes took, from the client's first record on, waiting included
}

// counts are what Stats is made of. They are not on the way of messages.
type counts struct {
	done, resumed, old, running atomic.Int64
	failed, broken              [Reasons]atomic.Int64
}

func (c *counts) stats() (s Stats) {
	s.Done, s.Resumed, s.TLS12, s.Running = c.done.Load(), c.resumed.Load(), c.old.Load(), c.running.Load()
	for i := range s.Failed {
		s.Failed[i], s.Broken[i] = c.failed[i].Load(), c.broken[i].Load()
	}
	return s
}

// fragments of crypto/tls's errors, which have no types, by what they mean.
var fragments = []struct {
	part string
	why  Reason
}{
	{"client offered only unsupported versions", Version},
	{"unsupported SSLv2 handshake", Version},
	{"older than TLS 1.3", Version},
	{"inappropriate protocol fallback", Version},
	{"supported by both client and server", Mismatch},
	{"unsupported application protocols", Mismatch},
	{"no supported elliptic curves", Mismatch},
	{"support any of the certificate's signature algorithms", Mismatch},
	{"didn't provide a certificate", NoCertificate},
	{"failed to parse client certificate", BadCertificate},
	{"client certificate", BadCertificate},
	{"invalid signature by the client", BadCertificate},
	{"RSA key larger", BadCertificate},
	{"no certificates configured", NoServerName},
	{"oversized record", Oversized},
	{"record overflow", Oversized},
	{"exceeds maximum of", Oversized},
	{"too many", Flood},
	{"internal error", Internal},
	{"failed to sign", Internal},
}

// reasonOf returns what an error of crypto/tls means.
func reasonOf(err error) Reason {
	var op *net.OpError
	var cert *tls.CertificateVerificationError
	switch {
	case errors.Is(err, errFlood):
		return Flood
	case errors.Is(err, ErrNoServerName):
		return NoServerName
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return Truncated
	case errors.As(err, &cert):
		return BadCertificate
	case errors.As(err, &op) && op.Op == "remote error":
		return Alert
	}
	text := err.Error()
	for _, f := range fragments {
		if strings.Contains(text, f.part) {
			return f.why
		}
	}
	return Garbage
}
