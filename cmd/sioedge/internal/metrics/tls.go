package metrics

import (
	"fmt"
	"maps"
	"slices"

	"github.com/sioedge/sioedge/loop/tlslink"
)

// tlsOf is TLS in the process: what a balancer does instead is not seen.
func tlsOf(c *catalogue) {
	c.in("TLS")
	done := c.counter("tls_handshakes", "Handshakes of TLS that have ended: done, or why not.", result).field("TLS.Link.Done", "done")
	broken := c.counter("tls_connections_broken", "Connections that were closed for what was wrong with their TLS, behind the handshake.", reason)
	for why := tlslink.Reason(1); why < tlslink.Reasons; why++ {
		done.field(fmt.Sprintf("TLS.Link.Failed[%d]", why), why.String())
		broken.field(fmt.Sprintf("TLS.Link.Broken[%d]", why), why.String())
	}
	c.counter("tls_resumptions", "Handshakes of TLS that went on with a session that was there before.").field("TLS.Link.Resumed")
	c.counter("tls_sessions", "Handshakes of TLS that were done, by its version.", one("version")).field("TLS.Link.TLS12", "1.2").
		of(tlsPart, func(x *seen) float64 { return float64(max(x.TLS.Link.Done-x.TLS.Link.TLS12, 0)) }, "1.3")
	c.gauge("tls_handshakes_running", "Handshakes of TLS under way.").field("TLS.Link.Running")
	c.gauge("tls_handshakes_waiting", "Handshakes of TLS that wait for their turn: tls.handshakes.").field("TLS.Link.Waiting")
	c.histogram("tls_handshake_duration_seconds", "How long handshakes of TLS took, from the client's first record on, its turn awaited.").
		counted("TLS.Link.Times", 1<<8, 1<<24, 1e-6)
	name := label{name: "name", from: "the first name in a certificate that you serve"}
	c.dynamic(tlsPart, c.gauge("tls_certificate_expiry_timestamp_seconds", "When a certificate that is served ends, in Unix time: of several with a name the first.", name), func(x *seen, s *series) {
		ends := map[string]int64{}
		for _, of := range x.TLS.Certificates {
			name := ""
			if len(of.Names) > 0 {
				name = of.Names[0]
			}
			if end := of.NotAfter.Unix(); ends[name] == 0 || end < ends[name] {
				ends[name] = end
			}
		}
		for _, name := range slices.Sorted(maps.Keys(ends)) {
			s.set(float64(ends[name]), name)
		}
	})
	c.counter("tls_certificate_reloads", "Times that certificates were read again, by whether they were taken.", result).
		field("TLS.Reloads", "success").field("TLS.Failures", "failure")
	c.counter("tls_acme_certificates", "Times that an authority gave a certificate, or did not.", result).field("TLS.Issued", "issued").field("TLS.Refused", "refused")
}
