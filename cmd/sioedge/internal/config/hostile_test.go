package config

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/knadh/koanf/v2"
)

// bomb is a file whose aliases stand for nine to the tenth lists.
func bomb() string {
	var b strings.Builder
	b.WriteString("a0: &a0 [x,x,x,x,x,x,x,x,x]\n")
	for i := 1; i <= 10; i++ {
		ref := fmt.Sprintf("*a%d", i-1)
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i, i, strings.Repeat(ref+",", 8)+ref)
	}
	return b.String()
}

// Whatever the file is, it costs little, and what is wrong is said.
func TestHostileFiles(t *testing.T) {
	merges := "namespaces:\n- &a0 {pattern: /}\n"
	for i := 1; i < 20; i++ {
		merges += fmt.Sprintf("- &a%d {<<: [%s*a%d]}\n", i, strings.Repeat(fmt.Sprintf("*a%d,", i-1), 8), i-1)
	}
	for name, c := range map[string]struct{ text, want string }{
		"huge":                   {strings.Repeat("#", mostFile+1), "has more than 1MiB"},
		"deep":                   {"listen: " + strings.Repeat("[", 20_000), "exceeded max depth"},
		"deep, where it may be":  {"listen: " + strings.Repeat("[", 100) + strings.Repeat("]", 100), "want a text"},
		"a bomb of aliases":      {"x: 1\n" + bomb() + "\nnamespaces: *a10\norigins: *a10", "want"},
		"a bomb of namespaces":   {"namespaces:\n- &n {pattern: /, join_on_connect: &j [" + strings.Repeat("r,", 2000) + "r]}\n" + strings.Repeat("- *n\n", 2000), "too much in the file"},
		"a bomb of merges":       {merges, "too much in the file"},
		"many merges":            {"namespaces:\n- &n {pattern: /, <<: [" + strings.Repeat("{},", 200_000) + "{}]}", "too much in the file"},
		"an alias of itself":     {"namespaces: &a [*a]", "want a group of settings"},
		"a merge of itself":      {"namespaces:\n- &a {<<: *a}", "deep"},
		"an unknown alias":       {"listen: *x", "unknown anchor"},
		"binary":                 {"\x00\x01\x02", "control characters"},
		"UTF-8 that is none":     {"cookie: \xff\xfe", "invalid"},
		"a long name":            {strings.Repeat("n", 300) + ": 1", "a name is a text"},
		"a long value":           {"loops: " + strings.Repeat("9", 100_000), "is not a whole number"},
		"names without end":      {"limits: {per_event: {" + strings.Repeat("a: [x], ", 5000) + "}}", "and "},
		"many unknown ones":      {"a: 1\nloops: x", "is not a whole number"},
		"a tag":                  {"!!python/object:os.system {}: 1", "a name is a text"},
		"a directive":            {"%YAML 9.9\n---\nloops: 1", "YAML"},
		"an include of a device": {"cookie: ${file:/dev/zero}", "is not a regular file"},
		"a huge include":         {"cookie: ${file:huge}", "has more than 64KiB"},
		"many includes":          {"origins: [" + strings.Repeat(`"${file:full}${file:full}${file:full}",`, 30) + "]", "makes more than 4MiB"},
		"an include that is not": {"cookie: ${file:/nonexistent}", "no such file"},
		"an include of a folder": {"cookie: ${file:.}", "is a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			path := file(t, c.text)
			for name, n := range map[string]int{"huge": mostIncluded + 1, "full": mostIncluded} {
				if err := os.WriteFile(filepath.Join(filepath.Dir(path), name), []byte(strings.Repeat("x", n)), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			_, err := Load(Sources{Environ: []string{"SIOEDGE_CONFIG=" + path}})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Load = %.300v, want an error with %q", err, c.want)
			} else if !strings.HasPrefix(err.Error(), path) || len(err.Error()) > 64<<10 {
				t.Errorf("Load = %.300v (%d bytes), want an error that names the file, and not all of it", err, len(err.Error()))
			}
		})
	}
}

func TestFilesThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	locked := filepath.Join(dir, "locked")
	if err := os.WriteFile(locked, nil, 0); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		dir:                         dir + ": cannot be read: is a directory",
		dir + "/none":               dir + "/none: cannot be read: no such file or directory",
		locked:                      locked + ": cannot be read: permission denied",
		dir + "/none\x00":           dir + "/none\x00: cannot be read: invalid argument",
		strings.Repeat("long", 300): strings.Repeat("long", 300) + ": cannot be read: file name too long",
	} {
		if path == locked && os.Getuid() == 0 {
			continue // nothing is locked for who may do everything
		}
		if _, err := Load(Sources{Environ: []string{"SIOEDGE_CONFIG=" + path}}); err == nil || err.Error() != want {
			t.Errorf("Load = %v, want %s", err, want)
		}
	}
	// A pipe may be all that there is to read once; it is not read again.
	wrote := make(chan error, 1)
	// ends when the pipe has been read
	go func() { wrote <- os.WriteFile(pipe, []byte("loops: 2"), 0o600) }()
	l, err := Load(Sources{Environ: []string{"SIOEDGE_CONFIG=" + pipe}})
	if err != nil || l.Loops != 2 || <-wrote != nil {
		t.Fatalf("Load of a pipe = %v, %v", l, err)
	}
	if _, err := l.Reload(); err == nil || !strings.Contains(err.Error(), "is not a regular file") {
		t.Errorf("Reload of a pipe = %v, want an error", err)
	}
}

// What is put in place of ${…}, and what is said if it cannot be.
func TestExpand(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"secret": "s3cret\n", "crlf": "a\r\n", "two": "a\n\n", "none": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	x := expander{env: map[string]string{"A": "a", "EMPTY": "", "REF": "${env:A}"}, dir: dir}
	for text, want := range map[string]string{
		"":                               "",
		"plain $ { } text":               "plain $ { } text",
		"${env:A}":                       "a",
		"x${env:A}y${env:A}":             "xaya",
		"${env:EMPTY}":                   "",
		"${env:EMPTY:-other}":            "other",
		"${env:NONE:-}":                  "",
		"${env:NONE:-a:-b}":              "a:-b",
		"${env:A:-other}":                "a",
		"${env:REF}":                     "${env:A}",
		"$${env:A}":                      "${env:A}",
		"$$${env:A}":                     "$${env:A}",
		"${file:secret}":                 "s3cret",
		"${file:" + dir + "/secret}":     "s3cret",
		"${file:crlf}|${file:two}|":      "a|a\n|",
		"${file:none}":                   "",
		"{id}:${env:A}:{claims.x}":       "{id}:a:{claims.x}",
		"^[0-9]+$":                       "^[0-9]+$",
		"${env:A}{":                      "a{",
		"100$":                           "100$",
		"${env:NONE:-redis://:p@h:1/$2}": "redis://:p@h:1/$2",
	} {
		if got, err := x.expand(text); got != want || err != nil {
			t.Errorf("expand(%q) = %q, %v, want %q", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"${env:NONE}":    "needs the environment variable NONE, which is not set",
		"${env:}":        "needs the environment variable , which is not set",
		"a${":            "has ${ without }",
		"${env:A":        "has ${ without }",
		"${HOME}":        "has ${HOME}: there are",
		"${}":            "has ${}: there are",
		"${vault:x}":     "has ${vault:x}: there are",
		"${file:}":       "is a directory",
		"${file:absent}": "no such file",
	} {
		if got, err := x.expand(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("expand(%q) = %q, %v, want an error with %q", text, got, err, want)
		}
	}
}

// Values of other types come from variables and files too; what these have is shown to
// nobody when it is wrong.
func TestExpandedValues(t *testing.T) {
	l, err := of(t, "loops: ${env:N}\neio3: ${env:B:-true}\norigins: ${env:O}\nqueue: {max: '${env:S}'}\nnamespaces: ['${env:NS}']", "N=3", "O=a, b", "S=2KiB", "NS=/chat")
	if err != nil {
		t.Fatal(err)
	}
	if l.Loops != 3 || !l.EIO3 || !slices.Equal(l.Origins, []string{"a", "b"}) || l.Queue.Max != 2048 || l.Namespaces[0].Pattern != "/chat" {
		t.Errorf("got %+v", l.Settings)
	}
	_, err = of(t, "loops: ${env:N}\ntransports: '${env:N}'\nparser: x${env:N}", "N=hidden")
	if err == nil || strings.Contains(err.Error(), "hidden") || strings.Count(err.Error(), "${env:N}") != 3 {
		t.Errorf("got %v, want three errors without the value", err)
	}
}

// swap writes a file as Kubernetes does with those of a ConfigMap: what the path leads
// to changes by renaming one link.
func swap(t *testing.T, dir string, version int, text string) {
	t.Helper()
	data := fmt.Sprintf("..%d", version)
	if err := os.Mkdir(filepath.Join(dir, data), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, data, "sioedge.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(data, filepath.Join(dir, "..tmp")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data")); err != nil {
		t.Fatal(err)
	}
	if version == 0 {
		if err := os.Symlink("..data/sioedge.yaml", filepath.Join(dir, "sioedge.yaml")); err != nil {
			t.Fatal(err)
		}
	}
}

// A reload says what has changed, keeps what needs a restart as it was, and changes
// nothing when something is wrong.
func TestReload(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "sioedge.yaml")
	swap(t, dir, 0, "loops: 2\nlog: {level: debug}\nnamespaces: [/a]\nlimits: {per_event: {a: 1/s}}")
	f := Flags("serve")
	if err := f.Parse([]string{"--config=" + path, "--drain=5s"}); err != nil {
		t.Fatal(err)
	}
	l, err := Load(Sources{f, []string{"SIOEDGE_COOKIE=c"}})
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct {
		text             string
		applied, restart string
		fault            string
	}{
		{text: "loops: 2\nlog: {level: debug}\nnamespaces: [/a]\nlimits: {per_event: {a: 1/s}}"},
		{text: "loops: 3\nlog: {level: warn}\nnamespaces: [/a]\nlimits: {per_event: {a: 1/s}}", applied: "log.level", restart: "loops"},
		{text: "loops: 4\npath: /x/\nnamespaces: [/a, /b]", applied: "limits.per_event log.level namespaces", restart: "path loops"},
		{text: "loops: x", fault: ":1: loops: \"x\" is not a whole number"},
		{text: "", fault: ": has no settings any more"},
		{text: "# all is in comments now\n", fault: ": has no settings any more"},
		{text: "auth: header\ntrust_proxy: 10.0.0.0/8", fault: ":1: auth.mode: header needs trust_proxy (--trust-proxy): who may say it"},
		{text: "loops: 4\ndrain: 9s\ncookie: d\nnamespaces: [/a, /b]", restart: "loops"},
		{text: "loops: 2\nnosuch: 1\nlog: {level: error}\nauth: {jwt: {audience: a}}", applied: "log.level auth.jwt.audience namespaces"},
	} {
		swap(t, dir, i+1, c.text)
		change, err := l.Reload()
		if c.fault != "" {
			if err == nil || err.Error() != path+c.fault {
				t.Errorf("step %d: %v, want %s", i, err, c.fault)
			}
			continue
		}
		if err != nil {
			t.Errorf("step %d: %v", i, err)
			continue
		}
		if got := strings.Join(change.Applied, " "); got != c.applied {
			t.Errorf("step %d: %q is applied, want %q", i, got, c.applied)
		}
		if got := strings.Join(change.Restart, " "); got != c.restart {
			t.Errorf("step %d: %q needs a restart, want %q", i, got, c.restart)
		}
		l = change.Next
		if l.Loops != 2 || l.Path != "/socket.io/" || l.Drain.String() != "5s" || l.Cookie != "c" {
			t.Errorf("step %d: loops %d, path %s, drain %v, cookie %s have changed", i, l.Loops, l.Path, l.Drain, l.Cookie)
		}
	}
	if l.Log.Level != "error" || len(l.Namespaces) != 1 || len(l.Unknown) != 1 {
		t.Errorf("in the end: %+v, %v", l.Settings, l.Unknown)
	}
	if err := os.Remove(filepath.Join(dir, "..data")); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Reload(); err == nil || err.Error() != path+": cannot be read: no such file or directory" {
		t.Errorf("a file that is gone: %v", err)
	}
}

// While the file is replaced again and again, each reload sees one of its versions.
func TestReloadWhileTheFileIsReplaced(t *testing.T) {
	dir := t.TempDir()
	swap(t, dir, 0, "cookie: a0\nlog: {format: text}")
	l, err := Load(Sources{Environ: []string{"SIOEDGE_CONFIG=" + filepath.Join(dir, "sioedge.yaml")}})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan bool)
	// ends after a hundred versions
	go func() {
		defer close(done)
		for i := 1; i <= 100; i++ {
			swap(t, dir, i, fmt.Sprintf("cookie: a%d\nlog: {format: text}\n%s", i, strings.Repeat("# x\n", i)))
		}
	}()
	for ends := false; !ends; {
		select {
		case <-done:
			ends = true
		default:
		}
		if _, err := l.Reload(); err != nil {
			t.Fatal(err)
		}
	}
	next, err := load(l.sources, true)
	if err != nil || next.Cookie != "a100" {
		t.Errorf("in the end: %v, %v", next, err)
	}
}

func TestReloadWithoutAFile(t *testing.T) {
	l, err := Load(Sources{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := l.Reload()
	if err != nil || c.Next != l || len(c.Applied)+len(c.Restart) > 0 {
		t.Errorf("Reload = %+v, %v, want nothing changed", c, err)
	}
}

// Nothing that a file has makes the reader fail in another way than by saying so, or
// grow beyond its bounds.
func FuzzFile(f *testing.F) {
	wrong, err := os.ReadFile("testdata/wrong.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, text := range []string{
		"", "loops: 1", string(wrong), bomb(), "cookie: ${env:A:-b}${env:A}$${x}", "a: &a [*a]", "namespaces:\n- &a {<<: *a, <<: [{}, *a]}",
		"namespaces: [/a, {pattern: /b, events: {'*': drop, x: {action: join, room: '{args.0}'}}, presence: true}]", "origins: a,b\ntrust_proxy: [::1, 10.0.0.0/8]", "{\"loops\": \"2\"}", "? [a]\n: b", "--- |\n x", "%TAG ! x",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r := &reader{name: "f", places: map[string]string{}, x: expander{env: map[string]string{"A": "a"}, dir: "/nonexistent"}}
		tree := r.read([]byte(text))
		if r.nodes > mostNodes+len(text)+1 {
			t.Errorf("%d values were looked at", r.nodes)
		}
		for _, err := range append(r.faults, r.unknown...) {
			if !strings.HasPrefix(err.Error(), "f:") {
				t.Errorf("%v has no place", err)
			}
		}
		if len(r.faults) > 0 {
			return
		}
		l := &Loaded{tree: koanf.New("."), lower: r.places}
		if err := l.settle(defaults(""), tree); err != nil {
			return
		}
		var b strings.Builder
		if err := l.Print(&b, false); err != nil {
			t.Fatal(err)
		}
		again := &reader{name: "f", places: map[string]string{}}
		again.read([]byte(b.String()))
		if len(again.faults)+len(again.unknown) > 0 {
			t.Errorf("%s\nis what is printed, but %v", &b, append(again.faults, again.unknown...))
		}
	})
}

// A file of keys is bounded, also one that does not say how long it is.
func TestPEM(t *testing.T) {
	const text = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, from := range []string{text, path} {
		if b, err := PEM(from); err != nil || string(b) != text {
			t.Errorf("PEM(%q) = %q, %v", from, b, err)
		}
	}
	for from, want := range map[string]string{"/dev/zero": "has more than 1MiB", "/nowhere.pem": "no such file", t.TempDir(): "is a directory"} {
		if b, err := PEM(from); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("PEM(%s) = %d bytes, %v, want %s", from, len(b), err, want)
		}
	}
}
