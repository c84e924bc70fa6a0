//go:build interop

package e2e

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
)

// upgradeTo has another version take over, by the command.
func (d *deployed) upgradeTo(version string) {
	d.t.Helper()
	d.install(d.t, release(d.t, version))
	if out, code := d.command("upgrade"); code != 0 {
		d.t.Fatalf("the command says %d %s", code, out)
	}
	d.upgraded(version)
}

// Clients of each kind send numbered events, which go to a backend, over three upgrades in a
// row: the backend is told of each once and in order, and each is acknowledged once.
func TestUpgradeBackend(t *testing.T) {
	b := startBackend(t)
	d := deploy(t, "1.0.0", fmt.Sprintf(`
api: { keys: [%q] }
eio3: true
webhook: { url: %q, secret: %q }
auth: webhook
namespaces:
  - pattern: /
    hooks: [connect, event, connected, disconnect]
`, upgradeKey, b.url, hookSecret))
	x := &agents{t: t}
	users := map[string]*client{}
	for _, kind := range []string{"4", "3", "2"} {
		users["user of "+kind] = x.enter(kind, d.url, "/", bearer(kind, "user of "+kind))
	}
	var stop atomic.Bool
	var all sync.WaitGroup
	sent := map[string]*int{}
	for user, c := range users {
		n := new(int)
		sent[user] = n
		all.Go(func() { // ends with stop
			for ; !stop.Load(); *n++ {
				got, err := c.a.do("ask", map[string]any{"c": c.name, "event": "echo", "args": []any{*n}})
				if err != nil || string(got) != fmt.Sprintf("[%d]", *n) {
					t.Errorf("event %d of %s is answered %s, %v", *n, user, got, err)
					return
				}
			}
		})
	}
	for _, version := range []string{"2.0.0", "1.0.0", "2.0.0"} {
		d.upgradeTo(version)
	}
	stop.Store(true)
	all.Wait()
	for user, c := range users {
		got := b.events(user, "echo")
		if len(got) != *sent[user] || len(got) == 0 {
			t.Errorf("the backend was told of %d events of %s, who has sent %d", len(got), user, *sent[user])
		}
		for k, args := range got {
			if args != fmt.Sprintf("[%d]", k) {
				t.Fatalf("event %d of %s is %s", k, user, args)
			}
		}
		c.asks(fmt.Sprintf(`{"user":%q,"data":{"plan":"pro"}}`, user), "whoami")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, x := range b.items {
		if x.Type == "disconnect" || x.Type == "lost" {
			t.Errorf("the backend was told %+v", x)
		}
	}
}

// Two processes of an application in Node, and clients that send numbers to them, over three
// upgrades in a row: nobody is disconnected, and each number has its effect once and in order.
func TestUpgradeBridge(t *testing.T) {
	d := deploy(t, "1.0.0", fmt.Sprintf(`
api: { keys: [%q] }
bridges:
  main: { data: eager, timeout: 4s, grace: 2s, takeover: 20s }
recovery: 1m
namespaces: [{ pattern: /, bridge: main }]
`, upgradeKey), "--accept-rate", "-1")
	w := &bridged{t: t, n: 60}
	for range 2 {
		a := startProgram(t, "bridge-app.mjs", map[string]any{"package": bridgePackage(t), "key": upgradeKey, "edges": []string{"http://" + d.api}, "tick": 100, "down": 200})
		a.id()
		w.apps = append(w.apps, a)
	}
	w.clients = startProgram(t, "bridge-clients.mjs", map[string]any{"urls": []string{d.url}, "clients": w.n, "rate": 400})
	w.clients.ask("enter", nil, nil)
	for _, a := range w.apps {
		w.heard(a)
	}
	w.clients.ask("go", nil, nil)
	w.moving()
	now := w.settle(traffic{})
	for _, version := range []string{"2.0.0", "1.0.0", "2.0.0"} {
		w.moving()
		d.upgradeTo(version)
		w.moving()
		now = w.steady(now)
		if now.Recovered > 0 || now.Anew > 0 {
			t.Errorf("behind %s, %d clients have recovered, and %d begun anew", version, now.Recovered, now.Anew)
		}
	}
	for i, a := range w.apps {
		var st appStatus
		a.ask("status", nil, &st)
		if st.Sockets == 0 || st.Problems > 0 {
			t.Errorf("process %d has %d sockets, and %d problems", i, st.Sockets, st.Problems)
		}
	}
}
