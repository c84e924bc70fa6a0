package ioclient

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
	"unicode/utf8"
)

// polling is long-polling: a request that waits for packets, and one for each writing.
type polling struct {
	o      *Options
	client *http.Client
	jar    *cookies
	sid    string
	most   int      // bytes of a request, as the server says; zero: any
	early  []packet // what came with the packet that opened the session
}

func newPolling(o *Options, jar *cookies) *polling {
	t := &http.Transport{
		DialContext: o.dial, TLSClientConfig: o.TLS, MaxResponseHeaderBytes: maxHead,
		DisableCompression: true, // what an answer inflates to has no bound
	}
	return &polling{o: o, jar: jar, client: &http.Client{
		Transport: t,
		// Where a server sends its clients is not where a token belongs.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// begin goes on with the session that has been opened.
func (p *polling) begin(sid string, most int) { p.sid, p.most = sid, most }

func (p *polling) name() string { return Polling }

func (p *polling) close() { p.client.CloseIdleConnections() }

// request does one request and returns its body, at most MaxMessage bytes.
func (p *polling) request(ctx context.Context, body []byte) ([]byte, error) {
	method := http.MethodGet
	var content io.Reader
	if body != nil {
		method, content = http.MethodPost, bytes.NewReader(body)
	}
	u := p.o.engineURL(Polling, p.sid)
	r, err := http.NewRequestWithContext(ctx, method, u.String(), content)
	if err != nil {
		return nil, err
	}
	r.Header = p.jar.header(p.o.Header)
	r.Host = r.Header.Get("Host")
	r.Header.Del("Host")
	if body != nil {
		r.Header.Set("Content-Type", "text/plain;charset=UTF-8")
	}
	answer, err := p.client.Do(r)
	if err != nil {
		return nil, cause(err)
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return nil, refusal(answer)
	}
	p.jar.take(answer)
	b, err := io.ReadAll(io.LimitReader(answer.Body, int64(p.o.MaxMessage)+1))
	if err == nil && len(b) > p.o.MaxMessage {
		err = &endError{closing{reason: reasonParse, err: fmt.Errorf("an answer of over %d bytes", p.o.MaxMessage)}}
	}
	return b, err
}

// cause is an error of net/http without the URL, which may hold secrets.
func cause(err error) error {
	if inner := errors.Unwrap(err); inner != nil {
		return inner
	}
	return err
}

func (p *polling) read(ctx context.Context, f func(packet) error) error {
	for len(p.early) > 0 {
		k := p.early[0]
		if p.early = p.early[1:]; len(p.early) == 0 {
			p.early = nil
		}
		if err := f(k); err != nil {
			return err
		}
	}
	b, err := p.request(ctx, nil)
	if err != nil {
		return err
	}
	return eachPacket(b, f)
}

const separator = 0x1e // between the packets of a payload

// eachPacket calls f for the packets of a payload.
func eachPacket(payload []byte, f func(packet) error) error {
	for part := range bytes.SplitSeq(payload, []byte{separator}) {
		k := packet{data: part}
		if len(part) > 0 && part[0] == 'b' {
			data, err := base64.StdEncoding.AppendDecode(nil, part[1:])
			if err != nil {
				return &endError{closing{reason: reasonParse, err: errors.New("a binary packet that is not base64")}}
			}
			k = packet{data, true}
		}
		if err := f(k); err != nil {
			return err
		}
	}
	return nil
}

// appendPacket appends one packet to a payload.
func appendPacket(dst []byte, k packet) []byte {
	if len(dst) > 0 {
		dst = append(dst, separator)
	}
	if k.binary {
		return base64.StdEncoding.AppendEncode(append(dst, 'b'), k.data)
	}
	return append(dst, k.data...)
}

// write sends packets, in as few requests as the server takes.
func (p *polling) write(ctx context.Context, ps []packet) error {
	var body []byte
	for i, k := range ps {
		body = appendPacket(body, k)
		if i+1 < len(ps) && (p.most <= 0 || len(body)+1+base64.StdEncoding.EncodedLen(len(ps[i+1].data))+1 <= p.most) {
			continue
		}
		if _, err := p.request(ctx, body); err != nil {
			return err
		}
		body = body[:0]
	}
	return nil
}

// ping sends a pong that nobody asked for, which servers ignore, and waits for the answer
// to the request.
func (p *polling) ping(ctx context.Context) (time.Duration, error) {
	start := time.Now()
	_, err := p.request(ctx, []byte{typePong})
	return time.Since(start), err
}

// A refusedError is an answer other than what was asked for.
type refusedError struct {
	status  int
	code    int // Engine.IO's; negative: none
	message string
}

// Error says what the server did.
func (e *refusedError) Error() string {
	text := fmt.Sprintf("the server answered %d %s", e.status, http.StatusText(e.status))
	if e.message != "" {
		text += ": " + e.message
	}
	return text
}

// refusal makes an error of an answer: what it says is an Engine.IO error, or a text.
func refusal(r *http.Response) error {
	b, _ := io.ReadAll(io.LimitReader(r.Body, maxRefusal))
	e := &refusedError{status: r.StatusCode, code: -1}
	var said struct {
		Code    *int
		Message string
	}
	switch {
	case json.Unmarshal(b, &said) == nil && said.Code != nil:
		e.code, e.message = *said.Code, said.Message
	case r.StatusCode >= 300 && r.StatusCode < 400:
		e.message = "it sends to " + r.Header.Get("Location")
	case utf8.Valid(b) && len(b) < 200 && !bytes.HasPrefix(bytes.TrimSpace(b), []byte("<")):
		e.message = string(bytes.TrimSpace(b))
	}
	return e
}

// newBounded reads what has been read, then the rest, and no more than most bytes.
func newBounded(read []byte, rest io.Reader, most int64) *bufio.Reader {
	return bufio.NewReader(io.LimitReader(io.MultiReader(bytes.NewReader(read), rest), most))
}
