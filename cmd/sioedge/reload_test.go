package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// logged is a line of the log.
type logged struct {
	Msg, Level, Applied, Restart string
	Error                        string
	Errors                       []string
}

// next returns the next line of a server's log with this message.
func (s *served) next(t *testing.T, msg string) logged {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		select {
		case line, ok := <-s.log:
			if !ok {
				t.Fatalf("the server has ended before it says %q", msg)
			}
			var l logged
			if json.Unmarshal([]byte(line), &l) == nil && l.Msg == msg {
				return l
			}
		case <-deadline:
			t.Fatalf("the server does not say %q", msg)
		}
	}
}

// HUP has the server read its file: it says what it has applied and what needs a
// restart, and goes on as before if something is wrong.
func TestReloadOfAServerThatRuns(t *testing.T) {
	const base = "loops: 1\nadapter: memory\n"
	path := settingsFile(t, base+"nosuch: 1")
	s := startServer(t, "--config", path, "--demo")
	if l := s.next(t, "a setting that there is not is ignored"); l.Level != "WARN" || l.Error != path+":3: nosuch: there is no such setting" {
		t.Errorf("the start says %+v", l)
	}
	// hello is a client that comes now.
	hello := func() {
		d := device{name: "a client", talk: "a> GET /socket.io/?EIO=4&transport=polling HTTP/1.1 | Host: $host:$port\na< 200 0{\"sid\":"}
		d.run(t, s.addr)
	}
	hello()
	for _, step := range []struct{ text, applied, restart, fault string }{
		{text: base},
		{text: base + "drain: 1s\nlog: debug", fault: ":4: log: want a group of settings"},
		{text: base + "drain: 1s\nlog: {level: debug}\npath: /x/", applied: "log.level,drain", restart: "path"},
		{text: base + "path: [", fault: ":3: did not find expected node content"},
		{text: "", fault: ": has no settings any more"},
		{text: base, applied: "log.level,drain"},
	} {
		writeSettings(t, path, step.text)
		if err := s.process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		if step.fault != "" {
			if l := s.next(t, "not reloaded, and nothing is changed"); len(l.Errors) != 1 || l.Errors[0] != path+step.fault {
				t.Errorf("%q: %+v, want %s", step.text, l, step.fault)
			}
		} else if l := s.next(t, "reloaded"); l.Applied != step.applied || l.Restart != step.restart {
			t.Errorf("%q: %+v, want %q applied, %q to need a restart", step.text, l, step.applied, step.restart)
		}
		hello()
	}
	if err := s.process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	s.next(t, "stopped")
}

// reload replaces the file of a server and has it read again.
func (s *served) reload(t *testing.T, path, text string) logged {
	t.Helper()
	writeSettings(t, path, text)
	if err := s.process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	return s.next(t, "reloaded")
}

const upgrade = `> GET /socket.io/?EIO=4&transport=websocket HTTP/1.1 | Host: $host:$port | Upgrade: websocket | Connection: Upgrade | Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ== | Sec-WebSocket-Version: 13`

// Other declarations, identities and limits hold for who comes and for what is sent from
// then on; who is there stays.
func TestReloadOfDeclarations(t *testing.T) {
	const first, second, third = "the first secret, which is long enough", "the second secret, which is long enough", "the third secret, which is long enough"
	path := settingsFile(t, "namespaces: [{pattern: /a, events: {say: relay}}]")
	s := startServer(t, "--config", path, "--loops=1")
	old := &talker{t, s.addr, "", map[string]*talkerConn{}}
	old.talk("o" + upgrade + `
o< 101
o~ 0{"sid":
o: 40/a,
o~ 40/a,{"sid":
o: 42/a,1["say","x"]
o= 43/a,1[{"ok":true}]
o: 40/b,
o= 44/b,{"message":"Invalid namespace"}`)

	secret := filepath.Join(filepath.Dir(path), "secret")
	writeSettings(t, secret, first+"\n")
	const text = `
auth: { mode: jwt, jwt: { secret: "${file:secret}" } }
limits: { events: 1/h burst 2 nack }
namespaces:
- pattern: /b
  events: { say: { action: relay, to: r, rate: "" } }
`
	if l := s.reload(t, path, text); l.Applied != "limits.events,auth.mode,auth.jwt.secret,namespaces" || l.Restart != "" {
		t.Errorf("the log says %+v", l)
	}
	// Of who was there: two events have a place in the new limit, and rules of a namespace
	// that is not declared any more are as they were.
	old.talk(`
o: 42/a,2["say","x"]
o= 43/a,2[{"ok":true}]
o: 42/a,3["say","x"]
o= 43/a,3[{"ok":true}]
o: 42/a,4["say","x"]
o~ "error":"rate limit"`)
	fresh := func(lines string) {
		t.Helper()
		x := &talker{t, s.addr, "", map[string]*talkerConn{}}
		x.talk("n" + upgrade + "\nn< 101\nn~ 0{\"sid\":\n" + lines)
		for _, c := range x.conns {
			c.Close()
		}
	}
	with := func(secret string) string { return `n: 40/b,{"token":"` + ofUser(secret, "u1", "") + `"}` + "\n" }
	fresh("n: 40/a,\nn= 44/a,{\"message\":\"Invalid namespace\"}")
	fresh("n: 40/b,\nn~ 44/b,{\"message\":\"unauthorized\"")
	fresh(with(second) + "n~ 44/b,{\"message\":\"unauthorized\"")
	fresh(with(first) + "n~ 40/b,{\"sid\":")

	// The file of settings is as it was, what it includes is not.
	writeSettings(t, secret, second)
	if l := s.reload(t, path, text); l.Applied != "auth.jwt.secret" {
		t.Errorf("the log says %+v", l)
	}
	fresh(with(first) + "n~ 44/b,{\"message\":\"unauthorized\"")
	fresh(with(second) + "n~ 40/b,{\"sid\":")

	// What is wrong in one of its parts changes none of them.
	writeSettings(t, secret, third)
	writeSettings(t, path, text+"- pattern: /b/:x/:x\n")
	if err := s.process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if l := s.next(t, "not reloaded, and nothing is changed"); len(l.Errors) != 1 || !strings.HasPrefix(l.Errors[0], path+":7: namespaces[1].pattern: ") {
		t.Errorf("the log says %+v", l)
	}
	writeSettings(t, secret, "short")
	writeSettings(t, path, strings.Replace(text, "burst 2", "burst 5", 1))
	if err := s.process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if l := s.next(t, "not reloaded, and nothing is changed"); len(l.Errors) != 1 || !strings.HasPrefix(l.Errors[0], path+":2: auth.jwt.secret: ") || strings.Contains(l.Errors[0], "short\"") {
		t.Errorf("the log says %+v", l)
	}
	fresh(with(third) + "n~ 44/b,{\"message\":\"unauthorized\"")
	fresh(with(second) + `n~ 40/b,{"sid":
n: 42/b,1["say","x"]
n= 43/b,1[{"ok":true}]
n: 42/b,2["say","x"]
n= 43/b,2[{"ok":true}]
n: 42/b,3["say","x"]
n~ "error":"rate limit"`)
}
