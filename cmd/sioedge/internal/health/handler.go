package health

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// A Report is what is answered as JSON.
type Report struct {
	Status string  `json:"status"` // ok or unavailable
	Checks []Check `json:"checks"`
}

// Handle has /livez, /readyz and /healthz, which is the latter, answered on a mux that
// clients cannot reach: 200 or 503 with what has failed, and with ?verbose each check, as
// JSON, or in lines of text for who prefers that (Accept: text/plain, ?verbose=text).
func (h *Health) Handle(mux *http.ServeMux) {
	mux.Handle("/livez", serve(h.Live))
	mux.Handle("/readyz", serve(h.Ready))
	mux.Handle("/healthz", serve(h.Ready))
}

func serve(checks func() []Check) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case http.MethodGet, http.MethodHead, http.MethodOptions:
		default:
			w.Header().Set("Allow", "GET, HEAD, OPTIONS")
			http.Error(w, "want GET, HEAD or OPTIONS", http.StatusMethodNotAllowed)
			return
		}
		all := checks()
		wrong := failed(all)
		w.Header().Set("Cache-Control", "no-store")
		status := http.StatusOK
		if wrong != "" {
			status = http.StatusServiceUnavailable
		}
		verbose, is := r.URL.Query()["verbose"]
		switch {
		case is && verbose[0] != "text" && !strings.HasPrefix(r.Header.Get("Accept"), "text/plain"):
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_ = json.NewEncoder(w).Encode(Report{words[wrong == ""], all}) // to who may have gone
		case is:
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			w.WriteHeader(status)
			_, _ = fmt.Fprint(w, lines(all), words[wrong == ""], "\n")
		default:
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			w.WriteHeader(status)
			if wrong == "" {
				wrong = words[true]
			}
			_, _ = fmt.Fprintln(w, wrong)
		}
	})
}

var words = map[bool]string{true: "ok", false: "unavailable"}

// lines is what Kubernetes' own servers say.
func lines(all []Check) string {
	var b strings.Builder
	for _, c := range all {
		switch {
		case !c.OK:
			fmt.Fprintf(&b, "[-]%s failed: %s\n", c.Name, c.Reason)
		case c.Reason != "":
			fmt.Fprintf(&b, "[+]%s ok (%s)\n", c.Name, c.Reason)
		default:
			fmt.Fprintf(&b, "[+]%s ok\n", c.Name)
		}
	}
	return b.String()
}
