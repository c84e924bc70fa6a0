package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/terminal"
)

func healthcheckCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "healthcheck", Short: "Ask a server on this machine whether it is ready, for containers",
		Long: `Ask a server on this machine whether it is ready: exit code 0 or 1.

It has the server's settings, from the same file, environment and flags, and asks the
internal listener of these; where there is none, the first public one.`,
		Example: `  HEALTHCHECK CMD ["/sioedge", "healthcheck"]
  sioedge healthcheck --live --url unix:/run/sioedge.sock`,
		Args: noArgs,
	}
	var at string
	var live bool
	var timeout time.Duration
	f := cmd.Flags()
	f.StringVar(&at, "url", "", "where to ask: http://host:port or unix:/path, of the internal listener; empty: what the settings say")
	f.BoolVar(&live, "live", false, "ask whether it lives, in place of whether it is ready")
	f.DurationVar(&timeout, "timeout", 3*time.Second, "how long it may take")
	load := settingsOf(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		path := map[bool]string{false: "/readyz", true: "/livez"}[live]
		if at == "" {
			l, err := load()
			if err != nil {
				return err
			}
			if at = listenerURL(l.Internal.Listen); at == "" {
				if at, path, err = publicHealth(&l.Settings); err != nil {
					return err
				}
			}
		}
		ctx, done := context.WithTimeout(context.Background(), timeout)
		defer done()
		said, err := askHealth(ctx, at, path)
		if err != nil {
			return err
		}
		fmt.Fprintln(cmd.OutOrStdout(), said)
		return nil
	}
	return cmd
}

// publicHealth is where the first public listener that can be asked says how it is.
func publicHealth(s *config.Settings) (at, path string, err error) {
	for _, text := range s.Listen {
		l, err := config.ParseListen(text)
		if err != nil || l.Proxy != "" || s.Health.Path == "" {
			continue
		}
		if at = listenerURL(text); at != "" {
			if l.TLS && l.Network == "tcp" {
				at = "https" + strings.TrimPrefix(at, "http")
			}
			return at, s.Health.Path, nil
		}
	}
	return "", "", errors.New("the settings have no listener that can be asked (internal.listen): --url gives one")
}

// mostSaid bounds what is read of an answer, in bytes.
const mostSaid = 4 << 10

// askHealth asks, and returns what is said. Anything but 200 is an error.
func askHealth(ctx context.Context, at, path string) (said string, err error) {
	// It is asked on this machine, by an address that no certificate is for.
	t := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // see above
	if socket, ok := strings.CutPrefix(at, "unix:"); ok {
		socket = strings.TrimPrefix(socket, "//")
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}
		at = "http://localhost"
	}
	u, err := url.Parse(at)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return "", usageError{fmt.Errorf("--url %q is not http://host:port or unix:/path", at)}
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.Scheme+"://"+u.Host+cmp.Or(strings.TrimSuffix(u.Path, "/"), path), nil)
	if err != nil {
		return "", err
	}
	web := http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := web.Do(r)
	if err != nil {
		return "", err
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(res.Body, mostSaid))
	if err != nil {
		return "", err
	}
	said = strings.TrimSpace(terminal.Text(strings.TrimSpace(string(b))))
	if res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%d: %s", res.StatusCode, said)
	}
	return said, nil
}
