package sio

import (
	"bytes"
	"fmt"
	"io/fs"
	"net/http"
	"regexp"
	"strings"
	"time"
)

// clientNames are the files of the browser client that are served, each with
// its source map. Nothing else under the path is.
var clientNames = []string{"socket.io.js", "socket.io.min.js", "socket.io.esm.min.js", "socket.io.msgpack.min.js"}

// clientFiles serves the browser client from memory.
type clientFiles struct {
	files map[string][]byte // by path
	etag  string            // the client's version, quoted
}

var clientVersion = regexp.MustCompile(`Socket\.IO v(\d+\.\d+\.\d+)`)

// newClientFiles reads the files that fsys has; prefix is the path they are
// under, with slashes around it.
func newClientFiles(fsys fs.FS, prefix string) (*clientFiles, error) {
	c := &clientFiles{files: map[string][]byte{}}
	for _, name := range clientNames {
		for _, name := range []string{name, name + ".map"} {
			b, err := fs.ReadFile(fsys, name)
			if err != nil {
				continue
			}
			c.files[prefix+name] = b
			if m := clientVersion.FindSubmatch(b[:min(len(b), 200)]); m != nil {
				c.etag = `"` + string(m[1]) + `"`
			}
		}
	}
	if c.etag == "" {
		return nil, fmt.Errorf("sio: no client files, or none that names its version")
	}
	return c, nil
}

func (c *clientFiles) has(path string) bool { return c.files[path] != nil }

func (c *clientFiles) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "public, max-age=0")
	h.Set("ETag", c.etag)
	h.Set("Content-Type", "application/javascript; charset=utf-8")
	if strings.HasSuffix(r.URL.Path, ".map") {
		h.Set("Content-Type", "application/json; charset=utf-8")
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(c.files[r.URL.Path]))
}
