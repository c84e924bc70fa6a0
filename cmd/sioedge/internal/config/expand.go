package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

const (
	mostIncluded = 64 << 10 // bytes of a file that ${file:…} names
	mostExpanded = 4 << 20  // bytes of all that has been put in place of ${…}
)

// An expander puts values in place of ${env:NAME}, ${env:NAME:-default} and
// ${file:/path} in texts. $${ is written for ${ itself. What has been put in is not
// looked at again.
type expander struct {
	env  map[string]string
	dir  string // that relative paths are below
	used int    // bytes that have been put in
}

func (x *expander) expand(s string) (string, error) {
	var b strings.Builder
	for {
		at := strings.Index(s, "${")
		if at < 0 {
			b.WriteString(s)
			return b.String(), nil
		}
		if at > 0 && s[at-1] == '$' {
			b.WriteString(s[:at-1] + "${")
			s = s[at+2:]
			continue
		}
		end := strings.IndexByte(s[at:], '}')
		if end < 0 {
			return "", errors.New("has ${ without } ($${ stands for ${ itself)")
		}
		v, err := x.value(s[at+2 : at+end])
		if err != nil {
			return "", err
		}
		if x.used += len(v); x.used > mostExpanded {
			return "", fmt.Errorf("makes more than %v of all ${…} of the file", Size(mostExpanded))
		}
		b.WriteString(s[:at] + v)
		s = s[at+end+1:]
	}
}

// value returns what stands for a name between ${ and }.
func (x *expander) value(name string) (string, error) {
	kind, what, _ := strings.Cut(name, ":")
	switch kind {
	case "env":
		what, instead, ok := strings.Cut(what, ":-")
		v, set := x.env[what]
		if v == "" && ok {
			return instead, nil
		}
		if !set {
			return "", fmt.Errorf("needs the environment variable %s, which is not set", what)
		}
		return v, nil
	case "file":
		return x.file(what)
	}
	return "", fmt.Errorf("has ${%s}: there are ${env:NAME}, ${env:NAME:-default} and ${file:/path} ($${ stands for ${ itself)", name)
}

// file returns what a file has, without the end of its last line.
func (x *expander) file(path string) (string, error) {
	if !filepath.IsAbs(path) {
		path = filepath.Join(x.dir, path)
	}
	b, err := readFile(path, mostIncluded, true)
	if err != nil {
		return "", err
	}
	s := strings.TrimSuffix(string(b), "\n")
	return strings.TrimSuffix(s, "\r"), nil
}

// mostPEM bounds a file of keys or certificates, in bytes.
const mostPEM = 1 << 20

// IsPEM tells whether a text is PEM (RFC 7468), and not the path of a file of it.
func IsPEM(text string) bool { return strings.Contains(text, "-----BEGIN ") }

// PEM returns what a setting has that is PEM, or the path of a file of it: what is read is
// bounded. The error is that of reading.
func PEM(text string) ([]byte, error) {
	if IsPEM(text) {
		return []byte(text), nil
	}
	return readFile(text, mostPEM, false)
}

// readFile reads a file of at most so many bytes. One that is not regular (a device, a
// pipe, which may never end) is read only if it is not required to be.
func readFile(path string, most int64, regular bool) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return nil, &os.PathError{Op: "read", Path: path, Err: errors.New("is a directory")}
	}
	if regular && !info.Mode().IsRegular() {
		return nil, &os.PathError{Op: "read", Path: path, Err: errors.New("is not a regular file")}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > most {
		return nil, &os.PathError{Op: "read", Path: path, Err: fmt.Errorf("has more than %v", Size(most))}
	}
	after, err := f.Stat()
	if err == nil && info.Mode().IsRegular() && (after.Size() != int64(len(b)) || !after.ModTime().Equal(info.ModTime())) {
		err = &os.PathError{Op: "read", Path: path, Err: errors.New("is being written")}
	}
	return b, err
}
