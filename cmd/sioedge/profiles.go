package main

import (
	"net/http"
	"net/http/pprof"
	"os"
	"strconv"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/api"
)

// mostProfiled bounds how long a profile is taken, in seconds.
const mostProfiled = 300

// profiles are those of Go's runtime, for who has a key: one is taken at a time, and what
// is in the command line is not told, as secrets may be.
func profiles(a *api.API) http.Handler {
	taken := make(chan struct{}, 1)
	one := func(h http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if s := r.FormValue("seconds"); s != "" {
				if n, err := strconv.ParseFloat(s, 64); err != nil || !(n >= 0 && n <= mostProfiled) {
					http.Error(w, "seconds is to be a number up to "+strconv.Itoa(mostProfiled), http.StatusBadRequest)
					return
				}
			}
			select {
			case taken <- struct{}{}:
				defer func() { <-taken }()
				h(w, r)
			default:
				w.Header().Set("Retry-After", "10")
				http.Error(w, "another profile is being taken, and there is one at a time", http.StatusTooManyRequests)
			}
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/{$}", pprof.Index)
	mux.HandleFunc("/debug/pprof/{profile}", one(pprof.Index))
	mux.HandleFunc("/debug/pprof/profile", one(pprof.Profile))
	mux.HandleFunc("/debug/pprof/trace", one(pprof.Trace))
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/cmdline", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte(os.Args[0]))
	})
	return a.Guard(mux)
}
