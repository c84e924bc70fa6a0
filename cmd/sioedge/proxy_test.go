package main

import "testing"

// Behind a proxy that is trusted, clients have addresses and users of their own.
func TestServerBehindAProxy(t *testing.T) {
	s := startServer(t, "--loops=1", "--config", settingsFile(t, `
trust_proxy: 127.0.0.1
auth: header
limits: { max_conns_per_ip: 1 }
namespaces: [{pattern: /, events: {say: {action: relay, self: true, sender: true}}}]`))
	get := upgrade + " | X-Forwarded-For: 1.1.1.1, "
	x := &talker{t, s.addr, "", map[string]*talkerConn{}}
	x.talk("a" + get + `203.0.113.7 | X-User-Id: u9
a< 101
a~ 0{"sid":
a: 40
a~ 40{"sid":
a: 42["say","x"]
a~ ,"user":"u9"}]
b` + get + `203.0.113.7 | X-User-Id: u9
b< 429
c` + get + `203.0.113.8
c< 101
c~ 0{"sid":
c: 40
c~ 44{"message":"unauthorized"`)

	// Who comes from elsewhere is whoever it is.
	s = startServer(t, "--loops=1", "--trust-proxy=10.0.0.0/8", "--auth=header")
	x = &talker{t, s.addr, "", map[string]*talkerConn{}}
	x.talk("a" + get + `203.0.113.7 | X-User-Id: u9
a< 101
a~ 0{"sid":
a: 40
a~ 44{"message":"unauthorized"`)
}
