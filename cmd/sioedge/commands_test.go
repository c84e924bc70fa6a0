package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
)

// run runs a command and returns what it has printed.
func run(args ...string) (stdout, stderr string, err error) {
	var out, errs bytes.Buffer
	cmd := command()
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(&errs)
	err = cmd.Execute()
	return out.String(), errs.String(), err
}

// settingsFile writes a file of settings.
func settingsFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sioedge.yaml")
	writeSettings(t, path, text)
	return path
}

// writeSettings replaces a file at once.
func writeSettings(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// check says all that a start would say, each with its place, and what would be ignored.
func TestCheckWarns(t *testing.T) {
	path := settingsFile(t, "auth: webhook\nnamespaces: [/a]\nwebhook: {url: 'http://a', secret: 'of twenty-four bytes and more', on_error: allow}\n")
	out, errs, err := run("check", "--config", path)
	if want := "warning: " + path + ":3: webhook.on_error: is allow, but /a needs an identity"; err != nil || out != "ok\n" || !strings.HasPrefix(errs, want) {
		t.Errorf("check = %v, printed %q and %q, want %q", err, out, errs, want)
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		name, text string
		args       []string
		want       string // FILE is its path; empty: ok
	}{
		{"nothing", "", nil, ""},
		{"a server", "listen: ':0'\nloops: 1\nnamespaces: [/, '/c/:id']", nil, ""},
		{"a cluster that is not there", "adapter: 'redis+streams://127.0.0.1:1'\ncluster: {advertise: 'http://a:1'}", nil, ""},
		{"an unknown setting", "loop: 1", nil, "FILE:1: loop: there is no such setting; did you mean loops?"},
		{"all together", "loop: 1\npath: '/a b/'\norigins: example.com", nil,
			"FILE:1: loop: there is no such setting; did you mean loops?\nFILE:2: path: \"/a b/\" cannot be a path"},
		{"an origin", "origins: [example.com]", nil, "FILE:1: origins: \"example.com\" is not an origin such as https://*.example.com"},
		{"an origin of a flag", "", []string{"--origins=example.com"}, "--origins: \"example.com\" is not an origin such as https://*.example.com"},
		{"a cookie", "cookie: a b", nil, "FILE:1: cookie: "},
		{"namespaces", "namespaces: ['/a,b', /b, 'c#']", nil, "FILE:1: namespaces[0].pattern: "},
		{"a namespace of a flag", "", []string{"--namespace=/a,b"}, "--namespace: "},
		{"an adapter", "adapter: {url: 'redis+pigeon://localhost'}", nil, "FILE:1: adapter.url: redis: no adapter is called \"redis+pigeon\""},
		{"a password", "adapter: {url: 'redis://u:hidden/1@localhost'}", nil, "FILE:1: adapter.url: redis: not a URL; what is special in a password is written as in %2F"},
		{"an advertised path", "adapter: redis://localhost\ncluster: {advertise: 'http://a/b'}", nil, "FILE:2: cluster.advertise: \"http://a/b\" is not a URL such as http://10.0.0.5:3000"},
		{"client files", "client: {dir: /nonexistent}", nil, "FILE:1: client.dir: stat /nonexistent: no such file or directory"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := settingsFile(t, c.text)
			out, errs, err := run(append([]string{"check", "--config", path}, c.args...)...)
			var said saidError
			switch {
			case c.want == "" && (err != nil || out != "ok\n" || errs != ""):
				t.Errorf("check = %v, printed %q and %q, want ok", err, out, errs)
			case c.want != "" && (!errors.As(err, &said) || out != "" || !strings.HasPrefix(errs, strings.ReplaceAll(c.want, "FILE", path))):
				t.Errorf("check = %v, printed %q and\n%swant\n%s", err, out, errs, c.want)
			}
		})
	}
}

// What others show of settings can be served.
func TestSettingsThatAreShown(t *testing.T) {
	t.Setenv("JWT_SECRET", strings.Repeat("s", 32))
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, shown, _ := strings.Cut(string(readme), "```yaml\n")
	shown, _, ok := strings.Cut(shown, "```")
	if !ok {
		t.Fatal("README shows no settings")
	}
	if n := strings.Count(shown, "\n"); n != 10 {
		t.Errorf("README says that ten lines make a product, and shows %d", n)
	}
	for path, args := range map[string][]string{
		settingsFile(t, shown):          nil,
		"../../bench/compare/edge.yaml": {"--jwt-secret", strings.Repeat("s", 32)},
	} {
		if _, stderr, err := run(append([]string{"check", "--config", path}, args...)...); err != nil {
			t.Errorf("%s: %s", path, stderr)
		}
	}
}

func TestConfigCommands(t *testing.T) {
	path := settingsFile(t, "loops: 2\ncluster: {secret: hidden}")
	out, _, err := run("config", "print", "--only-set", "--config", path, "--eio3")
	if want := "eio3: true # --eio3\nloops: 2 # " + path + ":1\ncluster:\n  secret: '********' # " + path + ":2\n"; err != nil || out != want {
		t.Errorf("config print --only-set = %v and\n%s\nwant\n%s", err, out, want)
	}
	if out, _, err = run("config", "print"); err != nil || !strings.Contains(out, "ping:\n  interval: 25s\n") {
		t.Errorf("config print = %v and\n%s", err, out)
	}
	var usage usageError
	if _, _, err := run("config", "print", "--loops=x"); !errors.As(err, &usage) {
		t.Errorf("config print --loops=x = %v, want a usage error", err)
	}
	doc, err := os.ReadFile("docs/config.md")
	if err != nil {
		t.Fatal(err)
	}
	if out, _, err = run("config", "doc"); err != nil || out != string(doc) {
		t.Errorf("config doc = %v, and is not docs/config.md", err)
	}
	if out, _, err = run("config", "env"); err != nil || !strings.Contains(out, "\nSIOEDGE_LOG_LEVEL ") {
		t.Errorf("config env = %v and\n%s", err, out)
	}
}

// Whatever serve, check and config print take is in the table.
func TestEveryFlagIsOfTheTable(t *testing.T) {
	of := map[string]bool{}
	for _, k := range config.Keys() {
		of[k.Flag] = true
	}
	for _, name := range [][]string{{}, {"serve"}, {"check"}, {"config", "print"}} {
		cmd, _, err := command().Find(name)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			n++
			if !of[f.Name] && f.Name != "only-set" {
				t.Errorf("%v: --%s is not documented", name, f.Name)
			}
		})
		if n < 60 {
			t.Errorf("%v has %d flags", name, n)
		}
	}
}

// The files of settings that are shown to readers first are good.
func TestShownSettingsPassCheck(t *testing.T) {
	t.Setenv("JWT_SECRET", "a secret of thirty-two bytes, or more")
	t.Setenv("ADMIN_HASH", "$2y$10$abcdefghijklmnopqrstuuMPxOTzq2c0PXrhZuWMPyYmTqJ0Yo6nG")
	for _, name := range []string{"CLUSTER_SECRET", "HOOK_SECRET", "API_KEY", "EDGE_SECRET", "BRIDGE_KEY", "BRIDGE_KEY_OLD"} {
		t.Setenv(name, "a secret of thirty-two bytes, or more")
	}
	t.Setenv("ADMIN_HASH", "$2a$04$WvLF.hAc7mkWbb3BTz7LwuAB1Q0ULvt2m8N0vS1s7jUzr0Y7nYQpe")
	ssl := t.TempDir()
	writeCertificate(t, filepath.Join(ssl, "edge.pem"), filepath.Join(ssl, "edge.key"))
	for _, path := range []string{"../../README.md", "docs/bridge.md", "docs/config.md", "docs/migrate.md"} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		blocks := strings.Split(string(text), "```yaml\n")[1:]
		if len(blocks) == 0 {
			t.Errorf("%s shows no settings", path)
		}
		for _, block := range blocks {
			block, _, _ = strings.Cut(block, "```")
			block = strings.ReplaceAll(block, "/etc/ssl/", ssl+"/")
			if _, errs, err := run("check", "--config", settingsFile(t, block)); err != nil {
				t.Errorf("%s shows\n%s\nof which check says\n%s", path, block, errs)
			}
		}
	}
}
