package host

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestAnAddressIsFoundWhereAServerListens(t *testing.T) {
	for line, want := range map[string]string{
		"listening on 127.0.0.1:4711":                                       "127.0.0.1:4711",
		"level=INFO msg=listening address=127.0.0.1:80 network=tcp":         "127.0.0.1:80",
		"level=INFO msg=cluster node=x url=redis://127.0.0.1:6379/0":        "",
		`"message":"serving websocket, api endpoints on 127.0.0.1:38291"}`:  "127.0.0.1:38291",
		"listening on [::1]:4711":                                           "",
		`msg="listening for operators and backends" address=127.0.0.1:9000`: "",
		"listening on 127.0.0.1:":                                           "",
	} {
		if got, ok := parseListening([]byte(line)); ok != (want != "") || ok && got != want {
			t.Errorf("parseListening(%q) = %q, %v, want %q", line, got, ok, want)
		}
	}
}

func TestStart(t *testing.T) {
	s, err := Start("echo", []string{"sh", "-c", "echo starting; echo 'listening on 127.0.0.1:4711' >&2; exec cat"})
	if err != nil || s.Addr != "127.0.0.1:4711" {
		t.Errorf("Start = %v, %v, want 127.0.0.1:4711", s, err)
	}
	s.Kill()
	if _, err := Start("sh", []string{"sh", "-c", "echo no module"}); err == nil || !strings.Contains(err.Error(), "no module") {
		t.Errorf("Start of what prints no address = %v, want an error with what it said", err)
	}
}

func TestAResultIsNeverOverwritten(t *testing.T) {
	dir := t.TempDir()
	for i, want := range []string{"x.txt", "x-2.txt", "x-3.txt"} {
		name, err := Save(dir, "x", []byte{byte(i)})
		if err != nil || filepath.Base(name) != want {
			t.Fatalf("Save %d = %s, %v, want %s", i, name, err, want)
		}
		if b, err := os.ReadFile(name); err != nil || len(b) != 1 || b[0] != byte(i) {
			t.Errorf("%s holds %v, %v", want, b, err)
		}
	}
}

func TestProcessorTimeIsTheFinerOfTwo(t *testing.T) {
	const stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 25 17 0 0 20 0 1 0 100 0 0"
	if got, err := parseStat([]byte(stat)); err != nil || got != (CPU{User: 250 * time.Millisecond, System: 170 * time.Millisecond}) {
		t.Errorf("parseStat = %v, %v, want 250 and 170 ms", got, err)
	}
	if _, err := parseStat([]byte("7 (a) S 1")); err == nil {
		t.Error("parseStat of a short line = nil, want an error")
	}
	ms := time.Millisecond
	for _, c := range []struct{ now, before, want time.Duration }{
		{1005 * ms, 0, 1005 * ms},         // to the ns
		{0, 0, 1000 * ms},                 // no threads can be seen
		{500 * ms, 300 * ms, 1000 * ms},   // one has ended
		{1000 * ms, 2000 * ms, 1000 * ms}, // likewise
	} {
		got := CPU{1500 * ms, 500 * ms, c.now}.Since(CPU{800 * ms, 200 * ms, c.before}).Total()
		if got != c.want {
			t.Errorf("since with threads from %v to %v = %v, want %v", c.before, c.now, got, c.want)
		}
	}
}
