//go:build interop

package e2e

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// People chat, whose application is killed meanwhile.
func TestBrowser(t *testing.T) {
	each(t, func(t *testing.T, language string) {
		c := newChat(t, language)
		application := c.run("backend")
		t.Setenv("SIOEDGE_RECOVERY", "5s") // who leaves is gone after that
		c.run("edge")
		mux := http.NewServeMux()
		mux.HandleFunc("/stop", func(http.ResponseWriter, *http.Request) { application.kill() })
		mux.HandleFunc("/start", func(http.ResponseWriter, *http.Request) { application = c.run("backend") })
		control := httptest.NewServer(mux)
		defer control.Close()
		artefacts, err := filepath.Abs("../../../../build")
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("node", "../../../../sio/interop/examples.mjs", "http://"+c.listen, control.URL)
		cmd.Env = append(os.Environ(), "ARTEFACTS="+artefacts, "SHOTS=example-"+language)
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
	})
}

// One command starts all there is, and ends it.
func TestOneCommand(t *testing.T) {
	each(t, func(t *testing.T, language string) {
		c := newChat(t, language)
		p := c.run("")
		if resp, err := http.Get("http://" + c.listen + "/"); err != nil || resp.StatusCode != 200 {
			t.Errorf("the page: %v, %v", resp, err)
		} else {
			_ = resp.Body.Close()
		}
		if resp, err := http.Get("http://" + c.edge + "/socket.io/?EIO=4&transport=polling"); err != nil || resp.StatusCode != 200 {
			t.Errorf("the edge: %v, %v", resp, err)
		} else {
			_ = resp.Body.Close()
		}
		if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		select {
		case <-p.done:
		case <-time.After(patience):
			t.Fatal("it has not ended")
		}
		for _, at := range []string{c.listen, c.edge} {
			p.closed(at)
		}
	})
}
