package webhook

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// An Outcome is what became of a request.
type Outcome uint8

// The outcomes. What is done about each is in the table below.
const (
	Answered    Outcome = iota // 2xx, with an answer that can be read, or none
	Garbled                    // 2xx, with an answer that is no result, or too large
	Unreachable                // no connection
	Broken                     // the connection has ended before the answer
	TimedOut                   // no answer within webhook.timeout
	Busy                       // 408, 425, 429, 502, 503, 504
	Failed                     // 500 and other 5xx
	Denied                     // 401, 403, 404, 405, 407 and the like: something is set wrongly
	Redirected                 // 3xx: it is not followed
	Foreign                    // 2xx, but not of JSON, or encoded: it is not the application that has answered
	Refused                    // 400, 413, 415, 422: what is in the request
	Gone                       // 410
	Shut                       // it was not made: the breaker is open
	outcomes
)

// treatments say what is done about outcomes.
var treatments = [outcomes]struct {
	name  string
	taken bool // the backend has what was sent
	again bool // it may take it another time
	split bool // it may take a part of it
	ill   bool // the breaker counts it
}{
	Answered:    {name: "ok", taken: true},
	Garbled:     {name: "garbled", taken: true, ill: true},
	Unreachable: {name: "unreachable", again: true, ill: true},
	Broken:      {name: "broken", again: true, ill: true},
	TimedOut:    {name: "timeout", again: true, ill: true},
	Busy:        {name: "busy", again: true, ill: true},
	Failed:      {name: "failed", again: true, split: true, ill: true},
	Denied:      {name: "denied", again: true, ill: true},
	Redirected:  {name: "redirected", again: true, ill: true},
	Foreign:     {name: "foreign", again: true, ill: true},
	Refused:     {name: "refused", split: true},
	Gone:        {name: "gone"},
	Shut:        {name: "breaker_open"},
}

// String names the outcome as metrics do.
func (o Outcome) String() string {
	if o < outcomes {
		return treatments[o].name
	}
	return "unknown"
}

// Outcomes returns all of them.
func Outcomes() (all []Outcome) {
	for o := range outcomes {
		all = append(all, o)
	}
	return all
}

// outcomeOf sorts an answer by its status.
func outcomeOf(status int) Outcome {
	switch {
	case status >= 200 && status < 300:
		return Answered
	case status >= 300 && status < 400:
		return Redirected
	case status == http.StatusGone:
		return Gone
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly, status == http.StatusTooManyRequests,
		status == http.StatusBadGateway, status == http.StatusServiceUnavailable, status == http.StatusGatewayTimeout:
		return Busy
	case status == http.StatusBadRequest, status == http.StatusRequestEntityTooLarge, status == http.StatusUnsupportedMediaType,
		status == http.StatusUnprocessableEntity, status == http.StatusConflict:
		return Refused
	case status >= 500:
		return Failed
	}
	return Denied
}

// An answer is what a request came to.
type answer struct {
	outcome Outcome
	status  int           // 0: none
	body    []byte        // of Answered; nil: none
	wait    time.Duration // Retry-After; 0: none
	trial   bool          // the breaker was open: no event is lost by it
	why     string        // in words of this program, for the log: nothing of what the backend sent
}

// The bounds of Retry-After: a backend does not decide how much waits for it.
const maxRetryAfter = time.Minute

// drained is how much is read of the body of an answer that nobody reads, so that its
// connection can be used again.
const drained = 16 << 10

// announced is the longest answer that room is made for before it has come.
const announced = 64 << 10

// read reads an answer of at most so many bytes. The response's body is the caller's.
func read(resp *http.Response, most int64) answer {
	a := answer{outcome: outcomeOf(resp.StatusCode), status: resp.StatusCode}
	if a.outcome != Answered {
		_, _ = io.CopyN(io.Discard, resp.Body, drained)
		if a.outcome == Busy {
			a.wait = retryAfter(resp.Header.Get("Retry-After"), time.Now())
		}
		if a.outcome == Redirected {
			a.why = "it answers with a redirect, which is not followed"
		}
		return a
	}
	if resp.StatusCode == http.StatusNoContent || resp.ContentLength == 0 {
		return a
	}
	if resp.ContentLength > most {
		return answer{outcome: Garbled, status: a.status, why: "its answer is larger than max_answer"}
	}
	var err error
	if resp.ContentLength > 0 && resp.ContentLength <= announced {
		a.body = make([]byte, resp.ContentLength)
		_, err = io.ReadFull(resp.Body, a.body)
	} else {
		a.body, err = io.ReadAll(io.LimitReader(resp.Body, most+1))
	}
	switch {
	case err != nil:
		return failure(err)
	case int64(len(a.body)) > most:
		return answer{outcome: Garbled, status: a.status, why: "its answer is larger than max_answer"}
	case len(a.body) == 0:
		return a
	}
	if why := foreign(resp.Header); why != "" {
		return answer{outcome: Foreign, status: a.status, why: why}
	}
	return a
}

// foreign tells why an answer cannot be one of the application.
func foreign(h http.Header) string {
	if e := h.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return "its answer has a Content-Encoding, which was not asked for"
	}
	kind, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil || kind != "application/json" && !strings.HasSuffix(kind, "+json") {
		return "the Content-Type of its answer is not application/json"
	}
	return ""
}

// failure sorts the error of a request that has got no answer.
func failure(err error) answer {
	var dial *net.OpError
	var cert *tls.CertificateVerificationError
	var timeout net.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return answer{outcome: TimedOut, why: "it has not answered within timeout"}
	case errors.As(err, &cert):
		return answer{outcome: Unreachable, why: "its certificate is not trusted: " + cert.Err.Error()}
	case errors.As(err, &dial) && dial.Op == "dial":
		return answer{outcome: Unreachable, why: "no connection: " + dial.Error()}
	case errors.As(err, &dial) && (dial.Op == "remote error" || dial.Op == "local error"): // TLS alerts
		return answer{outcome: Unreachable, why: "no connection by TLS: " + dial.Err.Error()}
	case errors.As(err, &timeout) && timeout.Timeout():
		return answer{outcome: TimedOut, why: "it has not answered within timeout"}
	}
	return answer{outcome: Broken, why: "the connection has ended before the answer"}
}

// retryAfter returns how long a backend asks to be left alone (RFC 9110, 10.2.3), within
// bounds; 0 if it does not.
func retryAfter(text string, now time.Time) time.Duration {
	if n, err := strconv.ParseUint(text, 10, 31); err == nil {
		return min(time.Duration(n)*time.Second, maxRetryAfter)
	}
	if t, err := http.ParseTime(text); err == nil {
		return min(max(t.Sub(now), 0), maxRetryAfter)
	}
	return 0
}
