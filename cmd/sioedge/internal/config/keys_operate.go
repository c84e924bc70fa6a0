package config

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/bcrypt"
)

var tlsKeys = Section{"TLS", `For listeners that say tls://. Certificates and keys are PEM, or paths of files of it, which are looked at again as they
change: live connections go on.`, []Key{
	{Path: "tls.cert", Flag: "tls-cert", Reload: true, Doc: "certificate with its chain, in PEM, or the path of a file of it, repeatable: the names in it say for which it is, the first is for all others"},
	{Path: "tls.key", Flag: "tls-key", Secret: true, Reload: true, Doc: "its key, likewise, in the same order"},
	{Path: "tls.client_ca", Flag: "tls-client-ca", Reload: true, Doc: "who signs certificates of clients, in PEM, or the path of a file of it; empty: they are not asked for any"},
	{Path: "tls.client_auth", Flag: "tls-client-auth", Default: "require", OneOf: []string{"require", "optional"}, Reload: true, Doc: "whether a client must have a certificate, where there is a --tls-client-ca"},
	{Path: "tls.min_version", Flag: "tls-min-version", Default: "1.2", OneOf: []string{"1.2", "1.3"}, Reload: true, Doc: "the oldest TLS that is spoken"},
	{Path: "tls.reload", Flag: "tls-reload", Default: "10s", Least: int64(time.Second), Reload: true, Doc: "how often files of certificates and keys are looked at"},
	{Path: "tls.handshakes", Flag: "tls-handshakes", Default: "0", Most: 65536, Doc: "handshakes at a time, others wait; 0: four for each loop"},
	{Path: "tls.handshake_timeout", Flag: "tls-handshake-timeout", Default: "10s", Least: 1, Doc: "how long a connection may take to be open: for a handshake, and a PROXY preface in front of it"},
	{Path: "tls.acme.domains", Flag: "acme-domains", Commas: true, Doc: "names for which certificates are asked for from an authority (ACME, by tls-alpn-01 on a tls:// listener); empty: none are"},
	{Path: "tls.acme.email", Flag: "acme-email", Doc: "address at which the authority can reach the operator"},
	{Path: "tls.acme.directory", Flag: "acme-directory", Doc: "URL of the authority's directory; empty: Let's Encrypt's"},
	{Path: "tls.acme.ca", Flag: "acme-ca", Doc: "who has signed the authority's own certificate, in PEM, or the path of a file of it; empty: those of the system"},
	{Path: "tls.acme.cache", Flag: "acme-cache", Default: "acme", Doc: "directory that keeps account and certificates"},
}}

var operateKeys = Section{"Operation", `Health, metrics and the page for operators are on the internal listener.`, []Key{
	{Path: "drain", Flag: "drain", Default: "30s", Reload: true, Doc: "how long stopping may take: clients leave one after the other over half of it, then what is queued is sent and backends are told"},
	{Path: "drain_delay", Flag: "drain-delay", Default: "5s", Reload: true, Doc: "how long before that health is red while everybody is still served, so that balancers look away first"},
	{Path: "health.path", Flag: "health-path", Default: "/healthz", Doc: "path of the public listeners that says 200 or 503, and no more; empty: none but OPTIONS"},
	{Path: "adapter.required", Flag: "adapter-required", Default: "true", Reload: true, Doc: "not ready without the cluster's Redis"},
	{Path: "metrics", Flag: "metrics", Default: "true", Doc: "serve /metrics, for Prometheus, on the internal listener"},
	{Path: "admin.enabled", Flag: "admin", Default: "false", Doc: "serve a page for operators at /admin/ on the internal listener"},
	{Path: "admin.user", Flag: "admin-user", Default: "admin", Reload: true, Doc: "who may use it, and the Admin UI's namespace"},
	{Path: "admin.password", Flag: "admin-password", Secret: true, Reload: true, check: checkBcrypt, Doc: "bcrypt hash of the password; empty: a key of the API is one"},
	{Path: "admin.readonly", Flag: "admin-readonly", Default: "false", Reload: true, Doc: "nothing can be changed there"},
	{Path: "admin.hosts", Flag: "admin-hosts", Commas: true, Reload: true, check: checkHost, Doc: "names by which it may be asked for, beside addresses and localhost, such as admin.example.com: those of others, which DNS leads here, are refused"},
	{Path: "admin.namespace", Flag: "admin-namespace", Doc: "namespace, such as /admin, that speaks the protocol of @socket.io/admin-ui on the public listeners; empty: none"},
	{Path: "admin.mode", Flag: "admin-mode", Default: "production", OneOf: []string{"production", "development"}, Doc: "of that protocol: production (counts alone) or development (each socket and event, up to 1,000 sockets)"},
}}

var handoverKeys = Section{"Upgrades", `A server that runs gives its clients to another process, a newer version: sioedge upgrade, POST /api/upgrade or SIGUSR2.`, []Key{
	{Path: "handover.socket", Flag: "handover", check: checkSocket, Doc: "path of a Unix socket, of which a process that starts takes over the clients of the one that listens there, and then listens itself; empty: only processes that the server starts take over"},
	{Path: "handover.program", Flag: "handover-program", Reload: true, check: checkPath, Doc: "path of the program that is started to take over; empty: what lies where this one was started from"},
	{Path: "handover.ready_timeout", Flag: "handover-ready-timeout", Default: "30s", Least: int64(time.Millisecond), Most: int64(time.Hour), Reload: true, Doc: "how long it may take to be ready: to read its settings, to join the cluster; everybody is served meanwhile"},
	{Path: "handover.hold_timeout", Flag: "handover-hold-timeout", Default: "10s", Least: int64(time.Millisecond), Most: int64(time.Hour), Reload: true, Doc: "how long what is under way may then take to end, such as requests to backends"},
	{Path: "handover.take_timeout", Flag: "handover-take-timeout", Default: "10s", Least: int64(time.Millisecond), Most: int64(time.Hour), Reload: true, Doc: "how long the rest may take, in which nobody is served; beyond it the upgrade is called off"},
	{Path: "handover.stay", Flag: "handover-stay", Default: "auto", OneOf: []string{"auto", "always", "never"}, Reload: true, Doc: "whether a process that has given its clients away waits for those that it has started, passes signals on to them and ends as they do; auto: as the first process of a container (process 1), which ends with it"},
}}

// checkPath checks the path of a file that need not be there.
func checkPath(text string) error {
	if text != "" && !strings.HasPrefix(text, "/") {
		return errors.New("is not an absolute path")
	}
	if strings.ContainsRune(text, 0) {
		return errors.New("is not a path")
	}
	return nil
}

// mostSocket bounds the path of a socket, in bytes: unix(7).
const mostSocket = 107

// checkSocket checks the path of a Unix socket.
func checkSocket(text string) error {
	if len(text) > mostSocket {
		return errors.New("is too long for the path of a socket, which has at most 107 bytes")
	}
	return checkPath(text)
}

// checkBcrypt checks a hash of a password.
func checkBcrypt(text string) error {
	if text == "" {
		return nil
	}
	if cost, err := bcrypt.Cost([]byte(text)); err != nil || cost > 14 {
		return errors.New("is not a bcrypt hash, such as htpasswd -nbBC 10 makes, with a cost of at most 14")
	}
	return nil
}

// checkHost checks a name of a host.
func checkHost(text string) error {
	if text == "" || strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") != "" {
		return errors.New("is not the name of a host, such as admin.example.com, without a port")
	}
	return nil
}

// checkShare checks a number from 0 to 1.
func checkShare(text string) error {
	if n, err := strconv.ParseFloat(text, 64); err != nil || !(n >= 0 && n <= 1) {
		return errors.New("is not a number from 0 to 1")
	}
	return nil
}
