package admin

import (
	"cmp"
	"embed"
	"net/http"
	"path"
)

//go:embed page
var files embed.FS

// kinds are the content types of the page's files.
var kinds = map[string]string{
	".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml",
}

// file serves those, which have no secret: also to who has not logged in.
func file(w http.ResponseWriter, r *http.Request) {
	name := cmp.Or(r.PathValue("file"), "index.html")
	b, err := files.ReadFile("page/" + name)
	if err != nil {
		refuse(w, http.StatusNotFound, "unknown_path", "there is no such path")
		return
	}
	w.Header().Set("Content-Type", kinds[path.Ext(name)])
	_, _ = w.Write(b) // who has gone does not get it
}
