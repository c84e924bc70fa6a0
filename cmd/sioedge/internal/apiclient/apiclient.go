// Package apiclient asks a server by its HTTP API. Its errors say what the server said, and
// what to do about it.
package apiclient

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/api/wire"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/terminal"
)

// DefaultURL is where the API of a server is unless it is told otherwise.
const DefaultURL = "http://127.0.0.1:9000"

// Bounds of what a server may answer.
const (
	maxAnswer = 64 << 20 // bytes
	maxLine   = 16 << 20 // bytes of a line of a stream
)

// A Client asks one server. It may be used by any goroutine.
type Client struct {
	base *url.URL
	at   string // as it was given
	key  string
	http http.Client
}

// New makes a Client of a URL, http:, https: or unix:/path, and a key.
func New(at, key string) (*Client, error) {
	c := &Client{at: at, key: key}
	t := &http.Transport{MaxResponseHeaderBytes: 64 << 10, DisableCompression: true}
	if path, ok := strings.CutPrefix(at, "unix:"); ok {
		if path == "" {
			return nil, errors.New("unix: is followed by the path of a socket")
		}
		c.base = &url.URL{Scheme: "http", Host: "localhost"}
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		}
	} else {
		u, err := url.Parse(at)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
			return nil, fmt.Errorf("%q is not where an API is: http://host:port, https://host:port or unix:/path", at)
		}
		c.base = &url.URL{Scheme: u.Scheme, Host: u.Host}
	}
	// The key goes to no other server, wherever this one sends to.
	c.http = http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return c, nil
}

// A Failure is an answer that is no success.
type Failure struct {
	Is     wire.Error // zero: the answer is not of this API
	Status int
	Retry  time.Duration // when to try again, if the server says so
}

// Error says what the server said, and what to do.
func (f *Failure) Error() string {
	text := terminal.Text(f.Is.Error()) // one line, whatever the server says
	if text == "" {
		text = fmt.Sprintf("the server answered %d %s", f.Status, http.StatusText(f.Status))
	}
	for _, d := range f.Is.Details {
		text += "\n  " + terminal.Text(d)
	}
	switch {
	case f.Status == http.StatusUnauthorized:
		text += "\n  --api-key gives the key; --secret, or --config with the server's file, make it"
	case f.Status == http.StatusNotFound && f.Is.Code == "":
		text += "\n  --url gives the internal listener, which is not the one for clients"
	case f.Status >= 300 && f.Status < 400:
		text += "\n  --url gives the server itself"
	case f.Retry > 0:
		text += fmt.Sprintf("\n  it may be tried again in %v", f.Retry)
	}
	return text
}

// Get asks, and decodes the answer into out.
func (c *Client) Get(ctx context.Context, path string, query url.Values, out any) error {
	return c.call(ctx, http.MethodGet, path, query, nil, out)
}

// Post says in, and decodes the answer into out, unless that is nil.
func (c *Client) Post(ctx context.Context, path string, query url.Values, in, out any) error {
	return c.call(ctx, http.MethodPost, path, query, in, out)
}

func (c *Client) call(ctx context.Context, method, path string, query url.Values, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	answer, err := c.do(ctx, method, path, query, wire.JSON, wire.JSON, body)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	switch {
	case err != nil:
		return c.explain(err)
	case len(b) > maxAnswer:
		return fmt.Errorf("an answer of over %d MiB", maxAnswer>>20)
	case out == nil:
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("%s is not this API: its answer is not understood: %w", c.at, err)
	}
	return nil
}

// Lines says body, whatever kind of content that is, and calls f for each line of the
// answer, as they come, until it returns an error. What f is given is its own.
func (c *Client) Lines(ctx context.Context, path string, query url.Values, kind string, body io.Reader, f func(line []byte) error) error {
	answer, err := c.do(ctx, http.MethodPost, path, query, kind, wire.NDJSON, body)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	in := bufio.NewScanner(answer.Body)
	in.Buffer(nil, maxLine)
	for in.Scan() {
		if line := bytes.TrimSpace(in.Bytes()); len(line) > 0 {
			if err := f(bytes.Clone(line)); err != nil {
				return err
			}
		}
	}
	if err := in.Err(); err != nil {
		return c.explain(err)
	}
	return nil
}

// do asks, and returns the answer if that is a success.
func (c *Client) do(ctx context.Context, method, path string, query url.Values, kind, accept string, body io.Reader) (*http.Response, error) {
	target := c.base.String() + path // its segments are escaped
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, err
	}
	if c.key != "" {
		r.Header.Set("Authorization", "Bearer "+c.key)
	}
	r.Header.Set("Accept", accept)
	if body != nil {
		r.Header.Set("Content-Type", kind)
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return nil, c.explain(err)
	}
	if answer.StatusCode/100 == 2 {
		return answer, nil
	}
	defer func() { _ = answer.Body.Close() }()
	return nil, failure(answer)
}

// explain says what an error of the connection means.
func (c *Client) explain(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOENT) {
		return fmt.Errorf("no server at %s: %w\n  --url gives where its internal listener is (internal.listen), which serves if there is a key (api.keys, secret)", c.at, err)
	}
	return fmt.Errorf("%s: %w", c.at, err)
}

// failure is what an answer that is no success says.
func failure(r *http.Response) error {
	f := &Failure{Status: r.StatusCode}
	if seconds, err := time.ParseDuration(r.Header.Get("Retry-After") + "s"); err == nil {
		f.Retry = seconds
	}
	b, _ := io.ReadAll(io.LimitReader(r.Body, 64<<10))
	var said wire.Failure
	if json.Unmarshal(b, &said) == nil {
		f.Is = said.Error
	}
	return f
}
