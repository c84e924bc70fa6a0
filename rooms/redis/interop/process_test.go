//go:build interop

package interop

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"
)

// kindVariable is the variable by which this program is a server of some kind,
// and no test.
const kindVariable = "SIOEDGE_INTEROP_KIND"

// A kindServer is what the variable says.
type kindServer struct {
	Kind, Name, Redis, Addr, Prefix string
	Timeout                         time.Duration
}

// process is ourServer in a process of its own: this program again.
func (k kind) process(t testing.TB, o ourOptions) *peer {
	t.Helper()
	text, err := json.Marshal(kindServer{k.name, o.Name, o.Redis, o.Addr, o.Prefix, o.Timeout})
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return startProcess(t, o.Name, []string{kindVariable + "=" + string(text)}, program)
}

// options returns those of a server of ours; a stream is called like the prefix
// of channels.
func (k kind) options(name, redisAddr, addr, prefix string, timeout time.Duration) ourOptions {
	o := ourOptions{Name: name, Redis: redisAddr, Addr: addr, Adapter: k.adapter, Options: k.ours}
	o.Prefix, o.StreamName, o.Timeout = prefix, prefix, timeout
	return o
}

// kindOf returns the kind of a name.
func kindOf(name string) kind {
	return kinds[slices.IndexFunc(kinds, func(k kind) bool { return k.name == name })]
}

func TestMain(m *testing.M) {
	text := os.Getenv(kindVariable)
	if text == "" {
		code := m.Run()
		if binaryDir != "" {
			_ = os.RemoveAll(binaryDir)
		}
		os.Exit(code)
	}
	var s kindServer
	err := json.Unmarshal([]byte(text), &s)
	if err == nil {
		var n *ours
		var url string
		o := kindOf(s.Kind).options(s.Name, s.Redis, s.Addr, s.Prefix, s.Timeout)
		if n, url, _, err = newOurs(context.Background(), o); err == nil {
			work(url, os.Stdin, os.Stdout, n.perform)
			return
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
