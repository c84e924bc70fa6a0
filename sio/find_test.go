package sio_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/sioedge/sioedge/sio"
)

// Find has the names that clients can join, and no others; where nobody has joined one
// here, members on other servers are reached.
func TestFind(t *testing.T) {
	register := func(srv *sio.Server) {
		srv.Of("/chat")
		ns := srv.Of("/campaigns/:id/trends")
		ns.Restrict(func(_ string, param func(string) string) bool { return param("id") != "0" })
		srv.OfFunc(func(name string, auth json.RawMessage) bool {
			return strings.HasPrefix(name, "/open") || name == "/closed" && auth != nil
		})
	}
	p := newPair(t, sio.Options{}, func(_ int, srv *sio.Server) { register(srv) })
	for name, want := range map[string]bool{
		"": true, "/": true, "chat": true, "/chat": true, "/chat/": false, "/CHAT": false,
		"/campaigns/1/trends": true, "/campaigns/a%20b/trends": true, "/campaigns/a b/trends": false, "/campaigns/0/trends": false,
		"/campaigns/:id/trends": false, "/campaigns/1": false, "/campaigns/1#r/trends": false, "/campaigns/1,/trends": false,
		"/open/x": true, "/closed": false, "(function)": false,
		"/campaigns/" + strings.Repeat("x", 1<<10) + "/trends": false,
	} {
		if _, ok := p.servers[0].Find(name); ok != want {
			t.Errorf("Find(%.40q) = %t, want %t", name, ok, want)
		}
	}
	for _, name := range []string{"/chat", "/campaigns/42/trends", "/open/x"} {
		p.clients[1].join("40" + name + ",")
		eventually(t, "the other server knows of "+name, func() bool {
			to, ok := p.servers[0].Find(name)
			n, err := to.CountAll(within(patience))
			return ok && err == nil && n == 1
		})
		to, _ := p.servers[0].Find(name)
		if err := to.Emit("x", 1); err != nil {
			t.Fatal(err)
		}
		p.clients[1].expect("42" + name + `,["x",1]`)
	}
	p.clients[1].join(`40/closed,{"a":1}`)
	if _, ok := p.servers[1].Find("/closed"); !ok {
		t.Error("Find does not have an instance that is live")
	}
}
