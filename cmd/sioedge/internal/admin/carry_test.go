package admin

import (
	"bytes"
	"testing"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/carried"
)

// Who is logged in is so in the successor, with what shows that, and for as long as was left;
// what cannot be is refused.
func TestWhoIsLoggedInStaysSo(t *testing.T) {
	var from, to sessions
	now := time.Now()
	cookie := from.add(&session{who: "ann", credential: digestOf("secret"), byKey: true}, now.Add(-maxIdle/2))
	gone := from.add(&session{who: "bob"}, now.Add(-maxAge))
	data, err := carried.Marshal(from.export(now))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(data, []byte(cookie)) {
		t.Error("the cookie is in what goes along")
	}
	if err := to.restore(data, now); err != nil {
		t.Fatal(err)
	}
	was, is := from.find(cookie, now, true), to.find(cookie, now, true)
	if is == nil || *is != *was {
		t.Errorf("she is %+v, and was %+v", is, was)
	}
	if to.find(cookie, now.Add(maxIdle/2+1), true) != nil {
		t.Error("she is logged in for longer than she was")
	}
	if to.find(gone, now, true) != nil {
		t.Error("one whose time was over is there")
	}
	good := from.export(now)
	_ = from.add(&session{}, now)
	for name, change := range map[string]func(c *carriedSession){
		"no digest":          func(c *carriedSession) { c.Cookie = c.Cookie[1:] },
		"no credential":      func(c *carriedSession) { c.Credential = nil },
		"no token":           func(c *carriedSession) { c.Token = "" },
		"seen in the future": func(c *carriedSession) { c.Idle = -1 },
		"seen before":        func(c *carriedSession) { c.Age = c.Idle - 1 },
	} {
		if len(good) == 0 {
			t.Fatal("there is nobody")
		}
		c := good[0]
		change(&c)
		data, _ := carried.Marshal([]carriedSession{c})
		if to.restore(data, now) == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if to.restore([]byte{0xff}, now) == nil {
		t.Error("what is nothing is taken")
	}
}
