// Package clientfiles serves the files of the browser client.
package clientfiles

import (
	"fmt"
	"io/fs"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop/http1/encoding"
)

// names are the files that are served, each with its source map. Nothing else under
// the path is.
var names = []string{"socket.io.js", "socket.io.min.js", "socket.io.esm.min.js", "socket.io.msgpack.min.js"}

// Files are served from memory, whole, and compressed to whoever takes that. All
// clients share the bytes. Immutable.
type Files struct {
	files   map[string]*file // by path
	version string           // the client's
}

// A file is compressed when it is first asked for.
type file struct {
	plain   []byte
	gzipped func() []byte
}

var version = regexp.MustCompile(`Socket\.IO v(\d+\.\d+\.\d+)`)

// New reads the files that fsys has; prefix is the path they are under, with
// slashes around it. It is an error if there are none, or none names its version.
func New(fsys fs.FS, prefix string) (*Files, error) {
	c := &Files{files: map[string]*file{}}
	for _, name := range names {
		for _, name := range []string{name, name + ".map"} {
			b, err := fs.ReadFile(fsys, name)
			if err != nil {
				continue
			}
			c.files[prefix+name] = &file{b, sync.OnceValue(func() []byte { return encoding.Gzip.Append(nil, b) })}
			if m := version.FindSubmatch(b[:min(len(b), 200)]); m != nil {
				c.version = string(m[1])
			}
		}
	}
	if c.version == "" {
		return nil, fmt.Errorf("sio: no client files, or none that names its version")
	}
	return c, nil
}

// Has tells whether there is a file of a path.
func (c *Files) Has(path string) bool { return c.files[path] != nil }

// ServeHTTP answers with the file of the request's path, which Has knows.
func (c *Files) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "public, max-age=0")
	h.Set("Vary", "Accept-Encoding")
	h.Set("Content-Type", "application/javascript; charset=utf-8")
	if strings.HasSuffix(r.URL.Path, ".map") {
		h.Set("Content-Type", "application/json; charset=utf-8")
	}
	// Each form has a tag of its own, as a part of one is not that of the other:
	// RFC 9110, 8.8.3.3.
	f := c.files[r.URL.Path]
	body, tag := f.plain, c.version
	if len(body) >= 1024 && encoding.Choose([]byte(strings.Join(r.Header["Accept-Encoding"], ","))) == encoding.Gzip {
		body, tag = f.gzipped(), tag+"-gzip"
		h.Set("Content-Encoding", string(encoding.Gzip))
	}
	tag = strconv.Quote(tag)
	h.Set("ETag", tag)
	if isTagged(r.Header["If-None-Match"], tag) {
		for _, name := range []string{"Content-Type", "Content-Encoding"} {
			h.Del(name)
		}
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = eio.WriteShared(w, body) // who has gone needs none
}

// isTagged tells whether a list of entity tags, that of If-None-Match, has one:
// RFC 9110, 13.1.2. Weak ones count.
func isTagged(lists []string, tag string) bool {
	for _, list := range lists {
		for t := range strings.SplitSeq(list, ",") {
			if t = strings.TrimSpace(t); t == "*" || strings.TrimPrefix(t, "W/") == tag {
				return true
			}
		}
	}
	return false
}
