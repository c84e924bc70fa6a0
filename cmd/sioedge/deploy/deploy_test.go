//go:build interop

package deploy

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "sioedge")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "sioedge")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, "..")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		panic(string(out))
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// run runs a command and returns what it prints.
func run(t *testing.T, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// systemd takes the units, and finds little that the service may do and need not.
func TestUnits(t *testing.T) {
	dir := t.TempDir()
	unit := strings.ReplaceAll(read(t, "systemd/sioedge.service"), "/usr/local/bin/sioedge", binary)
	for name, text := range map[string]string{"sioedge.service": unit, "sioedge.socket": read(t, "systemd/sioedge.socket")} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out := run(t, nil, "systemd-analyze", "verify", filepath.Join(dir, "sioedge.service"), filepath.Join(dir, "sioedge.socket")); strings.Contains(out, dir) {
		t.Error(out)
	}
	run(t, nil, "systemd-analyze", "security", "--offline=true", "--threshold=20", filepath.Join(dir, "sioedge.service"))
	stop := regexp.MustCompile(`TimeoutStopSec=(\d+)s`).FindStringSubmatch(unit)
	if stop == nil {
		t.Fatal("the unit does not say how long stopping may take")
	}
	// What stopping takes unless it is set.
	var took time.Duration
	for _, key := range []string{"drain", "drain_delay"} {
		d, err := time.ParseDuration(regexp.MustCompile(`(?m)^` + key + `: (\S+)`).FindStringSubmatch(run(t, nil, binary, "config", "print"))[1])
		if err != nil {
			t.Fatal(err)
		}
		took += d
	}
	if d, _ := time.ParseDuration(stop[1] + "s"); d <= took {
		t.Errorf("the unit gives %v for stopping, which may take %v", d, took)
	}
}

// Compose's services have settings that are right, a time for stopping that is enough,
// and files that are there.
func TestCompose(t *testing.T) {
	var file struct {
		Services map[string]struct {
			Image       string            `yaml:"image"`
			Command     []string          `yaml:"command"`
			Environment map[string]string `yaml:"environment"`
			Grace       string            `yaml:"stop_grace_period"`
			Volumes     []string          `yaml:"volumes"`
			DependsOn   any               `yaml:"depends_on"`
		} `yaml:"services"`
	}
	text := read(t, "container/compose.yaml")
	if err := yaml.Unmarshal([]byte(text), &file); err != nil {
		t.Fatal(err)
	}
	edges := 0
	for name, s := range file.Services {
		for _, v := range s.Volumes {
			path, _, _ := strings.Cut(v, ":")
			read(t, filepath.Join("container", path))
		}
		if s.Image != "sioedge" {
			continue
		}
		edges++
		var env []string
		for k, v := range s.Environment {
			env = append(env, k+"="+regexp.MustCompile(`\$\{\w+:\?[^}]*\}`).ReplaceAllString(v, strings.Repeat("s", 32)))
		}
		run(t, env, binary, append([]string{"check"}, s.Command[1:]...)...)
		grace, err := time.ParseDuration(s.Grace)
		drain, err2 := time.ParseDuration(s.Environment["SIOEDGE_DRAIN"])
		delay, err3 := time.ParseDuration(s.Environment["SIOEDGE_DRAIN_DELAY"])
		if err != nil || err2 != nil || err3 != nil || grace <= drain+delay {
			t.Errorf("%s may take %v and %v for stopping, and is given %v", name, delay, drain, grace)
		}
		if want := "http://" + name + ":3000"; s.Environment["SIOEDGE_ADVERTISE"] != want {
			t.Errorf("%s is advertised as %s, want %s", name, s.Environment["SIOEDGE_ADVERTISE"], want)
		}
	}
	if edges != 2 {
		t.Errorf("there are %d servers, want 2", edges)
	}
}

// Manifests have no field that Kubernetes does not know, and settings that are right.
func TestKubernetes(t *testing.T) {
	files, err := filepath.Glob("kubernetes/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("there are no manifests")
	}
	for i := range files {
		files[i] = filepath.Base(files[i])
	}
	strict := exec.Command("go", append([]string{"run", "."}, func() (all []string) {
		for _, f := range files {
			all = append(all, filepath.Join("..", f))
		}
		return all
	}()...)...)
	strict.Dir = "kubernetes/strict"
	if out, err := strict.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	type document struct {
		Kind string            `yaml:"kind"`
		Data map[string]string `yaml:"data"`
		Spec struct {
			Template struct {
				Spec struct {
					Grace      int `yaml:"terminationGracePeriodSeconds"`
					Containers []struct {
						Lifecycle struct {
							PreStop struct {
								Sleep struct {
									Seconds int `yaml:"seconds"`
								} `yaml:"sleep"`
							} `yaml:"preStop"`
						} `yaml:"lifecycle"`
					} `yaml:"containers"`
				} `yaml:"spec"`
			} `yaml:"template"`
		} `yaml:"spec"`
	}
	var settings string
	grace, before := 0, 0
	d := yaml.NewDecoder(strings.NewReader(read(t, "kubernetes/sioedge.yaml")))
	for {
		var x document
		if d.Decode(&x) != nil {
			break
		}
		switch x.Kind {
		case "ConfigMap":
			settings = x.Data["sioedge.yaml"]
		case "Deployment":
			grace, before = x.Spec.Template.Spec.Grace, x.Spec.Template.Spec.Containers[0].Lifecycle.PreStop.Sleep.Seconds
		}
	}
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	config := filepath.Join(dir, "sioedge.yaml")
	for path, text := range map[string]string{secret: strings.Repeat("s", 64), config: strings.ReplaceAll(settings, "/run/secrets/sioedge/secret", secret)} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// Kubernetes sets variables for its Services.
	env := []string{"POD_IP=10.1.2.3", "SIOEDGE_PORT=tcp://10.0.0.1:80", "SIOEDGE_SERVICE_HOST=10.0.0.1"}
	run(t, env, binary, "check", "--config", config)
	printed := run(t, env, binary, "config", "print", "--config", config)
	stop := time.Duration(before) * time.Second
	for _, key := range []string{"drain", "drain_delay"} {
		took, err := time.ParseDuration(regexp.MustCompile(`(?m)^` + key + `: (\S+)`).FindStringSubmatch(printed)[1])
		if err != nil {
			t.Fatal(err)
		}
		stop += took
	}
	if time.Duration(grace)*time.Second <= stop {
		t.Errorf("pods are given %d s to end, which may take %v", grace, stop)
	}
}

// The image has the binary and what it needs, serves, and says that it is healthy.
func TestImage(t *testing.T) {
	dir := t.TempDir()
	context := filepath.Join(dir, "image")
	if err := os.Mkdir(context, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, from := range map[string]string{"sioedge": binary, "ca-certificates.crt": "/etc/ssl/certs/ca-certificates.crt"} {
		if err := os.WriteFile(filepath.Join(context, name), []byte(read(t, from)), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	env := []string{"STORAGE_DRIVER=vfs", "BUILDAH_ISOLATION=chroot"}
	buildah := func(args ...string) string {
		t.Helper()
		return run(t, env, "buildah", append([]string{"--root", dir + "/store", "--runroot", dir + "/run"}, args...)...)
	}
	buildah("bud", "--quiet", "--format", "docker", "--tag", "sioedge", "--file", "container/Dockerfile", context)
	name := strings.TrimSpace(buildah("from", "--pull-never", "sioedge"))
	if out := buildah("run", name, "--", "/sioedge", "version"); !strings.HasPrefix(out, "sioedge ") {
		t.Errorf("version prints %q", out)
	}
	for _, want := range []string{`"User": "65532:65532"`, `"healthcheck"`, `"/sioedge"`} {
		if out := buildah("inspect", name); !strings.Contains(out, want) {
			t.Errorf("the image has no %s", want)
		}
	}
	internal := freeAddr(t)
	serve := exec.Command("buildah", "--root", dir+"/store", "--runroot", dir+"/run", "run", name, "--", "/sioedge", "serve", "--listen", freeAddr(t), "--internal-listen", internal)
	serve.Env = append(os.Environ(), env...)
	var said strings.Builder
	serve.Stdout, serve.Stderr = &said, &said
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = serve.Process.Kill(); _ = serve.Wait() })
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if c, err := net.Dial("tcp", internal); err == nil {
			_ = c.Close()
			break
		}
		if time.Now().After(end) {
			t.Fatalf("it does not listen:\n%s", said.String())
		}
	}
	health := func() error {
		cmd := exec.Command("buildah", "--root", dir+"/store", "--runroot", dir+"/run", "run", name, "--", "/sioedge", "healthcheck", "--internal-listen", internal)
		cmd.Env = append(os.Environ(), env...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
		return err
	}
	if err := health(); err != nil {
		t.Errorf("healthcheck: %v", err)
	}
	_ = serve.Process.Signal(os.Interrupt)
	_ = serve.Wait()
	if health() == nil {
		t.Error("it is healthy, and has ended")
	}
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// Kernel settings exist, and are not asked for twice.
func TestKernelSettings(t *testing.T) {
	var seen []string
	for line := range strings.Lines(read(t, "sysctl/60-sioedge.conf")) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, value, ok := strings.Cut(line, " = ")
		if !ok || value == "" || slices.Contains(seen, key) {
			t.Errorf("%q is no setting, or a second one", line)
		}
		seen = append(seen, key)
		if _, err := os.Stat("/proc/sys/" + strings.ReplaceAll(key, ".", "/")); err != nil {
			t.Error(err)
		}
	}
	if len(seen) == 0 {
		t.Error("there are no settings")
	}
}
