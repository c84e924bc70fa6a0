package eio

import "net/http"

// noteRefused counts and logs a request that was refused before Engine.IO looked at
// it, or had all of it: what an
// operator can change about it, at the rate of notice.
func (sh *shard) noteRefused(status int) {
	n := sh.srv.notice
	sh.tally.Malformed++
	switch status {
	case http.StatusRequestHeaderFieldsTooLarge:
		sh.tally.HeadLarge++
		n.Warn("request head too large", "flags", "--max-header-bytes, --max-header-fields",
			"max-header-bytes", sh.srv.limits.Head, "max-header-fields", sh.srv.limits.Fields)
	case http.StatusRequestEntityTooLarge:
		sh.tally.TooLarge++
		n.Warn("request body too large", "flag", "--max-payload", "max-payload", sh.srv.o.MaxPayload)
	case http.StatusRequestTimeout:
		sh.tally.TooSlow++
		n.Info("request too slow", "flags", "--header-timeout, --body-timeout")
	}
}
