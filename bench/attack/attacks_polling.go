package main

import (
	"errors"
	"io"
	"strings"
)

// pollingAttacks are those on sessions and their ids, and on polling.
var pollingAttacks = []*attack{
	{name: "polling sessions without end, of one connection", do: func(a *attacker) error {
		return a.pipelined(get("EIO=4"))
	}},
	{name: "polling sessions without end, of one connection, on the server", server: true, do: func(a *attacker) error {
		return a.pipelined(get("EIO=4"))
	}},
	{name: "polling sessions that join, of one connection", bytes: 2 << 20, do: func(a *attacker) error {
		h, err := a.dial()
		if err != nil {
			return err
		}
		defer h.finish()
		for a.more() {
			sid, err := h.open("EIO=4")
			if errors.Is(err, errRefused) {
				continue // it goes on asking
			}
			if err != nil {
				return err
			}
			if _, _, err := h.request(post(sid, "40")); err != nil {
				return err
			}
		}
		return nil
	}},
	{name: "sessions that never join, over WebSocket", bytes: 200_000, do: func(a *attacker) error {
		for range 50 {
			h, err := a.dial()
			if err != nil {
				return err
			}
			if err := h.websocket("EIO=4", ""); err != nil {
				return err
			}
		}
		return nil
	}, conns: 50},
	{name: "bodies of 124,000 events", do: bodies("42[\"x\"]", 1<<10*900)},
	{name: "bodies of 300,000 packets of nothing", do: bodies("6", 1<<10*600)},
	{name: "bodies that are no packets", do: bodies("\xff\xff", 1<<10*100)},
	{name: "polls whose answers are not read", do: func(a *attacker) error {
		h, sid, err := a.polling()
		if err != nil {
			return err
		}
		// another connection asks for what the first would poll
		p, err := a.dial()
		if err != nil {
			return err
		}
		p.discard()
		if _, err = io.WriteString(p, post(sid, strings.Repeat("42[\"give\",16]\x1e", 64)+"42[\"give\",16]")); err != nil {
			return err
		}
		return h.flood([]byte(get("EIO=4&sid=" + sid)))
	}, conns: 2},
	{name: "a session that never polls for what it asked for", queued: true, do: func(a *attacker) error {
		h, sid, err := a.polling()
		if err != nil {
			return err
		}
		for a.more() {
			if _, _, err := h.request(post(sid, strings.Repeat("42[\"give\",100]\x1e", 10)+"42[\"give\",100]")); err != nil {
				return err
			}
		}
		return nil
	}},
	{name: "acknowledgements that are not polled for", do: func(a *attacker) error {
		h, sid, err := a.polling()
		if err != nil {
			return err
		}
		for a.more() {
			status, _, err := h.request(post(sid, strings.Repeat("420[\"echo\",0]\x1e", 1000)+"420[\"echo\",0]"))
			if err != nil {
				return err
			}
			if status != 200 {
				return io.EOF
			}
		}
		return nil
	}},
	{name: "polls of one session at once, by turns with bodies at once", do: func(a *attacker) error {
		h, sid, err := a.polling()
		if err != nil {
			return err
		}
		defer h.finish()
		h.discard()
		return h.flood([]byte(get("EIO=4&sid="+sid) + get("EIO=4&sid="+sid) + post(sid, "42[\"x\"]")))
	}},
	{name: "requests behind a poll that waits", do: func(a *attacker) error {
		h, sid, err := a.polling()
		if err != nil {
			return err
		}
		if _, _, err = h.request(get("EIO=4&sid=" + sid)); err != nil { // what joining told
			return err
		}
		if _, err = io.WriteString(h, get("EIO=4&sid="+sid)); err != nil {
			return err
		}
		return h.flood([]byte(post(sid, "3")))
	}},
	{name: "bytes, one at a time, behind a poll that waits", bytes: 20_000, do: func(a *attacker) error {
		h, sid, err := a.polling()
		if err != nil {
			return err
		}
		if _, _, err = h.request(get("EIO=4&sid=" + sid)); err != nil { // what joining told
			return err
		}
		if _, err = io.WriteString(h, get("EIO=4&sid="+sid)); err != nil {
			return err
		}
		unit := post(sid, "3")
		for i := 0; a.more(); i = (i + 1) % len(unit) {
			if _, err := h.Write([]byte(unit[i : i+1])); err != nil {
				return err
			}
		}
		return nil
	}},
	{name: "5,000 pipelined requests at a time for nothing", do: func(a *attacker) error {
		return a.pipelined("GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n")
	}},
	{name: "pipelined requests whose answers are not read", do: func(a *attacker) error {
		h, err := a.dial()
		if err != nil {
			return err
		}
		return h.flood([]byte("GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n"))
	}},
	{name: "ids that never were", do: func(a *attacker) error {
		return a.pipelined(get("EIO=4&sid=AAAAAAAAAAAAAAAAAAAA") + get("EIO=4&sid=x") + get("EIO=4&sid=") + get("EIO=4&sid="+strings.Repeat("x", 1000)))
	}},
	{name: "ids of sessions that have ended", do: func(a *attacker) error {
		h, sid, err := a.polling()
		if err != nil {
			return err
		}
		if _, _, err := h.request(post(sid, "1")); err != nil {
			return err
		}
		defer h.finish()
		h.discard()
		return h.flood([]byte(get("EIO=4&sid="+sid) + post(sid, `42["x"]`)))
	}},
	{name: "upgrades of one session, at once", do: func(a *attacker) error {
		h, sid, err := a.polling()
		if err != nil {
			return err
		}
		defer h.finish()
		for i := 0; i < 20 && a.more(); i++ {
			w, err := a.dial()
			if err != nil {
				return err
			}
			if err := w.websocket("EIO=4&sid="+sid, ""); err == nil {
				_ = w.some(texts("2probe", "2probe", "42[\"x\"]", "5", "5"), 1000)
			}
			a.drop(w)
		}
		return io.EOF
	}},
	{name: "upgrades that are never finished", conns: 2, do: func(a *attacker) error {
		_, sid, err := a.polling()
		if err != nil {
			return err
		}
		w, err := a.dial()
		if err != nil {
			return err
		}
		if err = w.websocket("EIO=4&sid="+sid, ""); err == nil {
			_, err = w.Write(text("2probe"))
		}
		return err
	}},
	{name: "connections that come and go, over WebSocket", do: func(a *attacker) error {
		h, err := a.joined("EIO=4", "40")
		if err != nil {
			return err
		}
		a.drop(h)
		return io.EOF
	}},
	{name: "connections that come and go, polling", do: func(a *attacker) error {
		h, sid, err := a.polling()
		if err != nil {
			return err
		}
		_, _, _ = h.request(post(sid, "1"))
		a.drop(h)
		return io.EOF
	}},
	{name: "connections that send nothing", conns: 50, do: silence},
	{name: "all descriptors of the process", few: 400, conns: 50, do: silence},
	{name: "JSONP and payloads of old clients", args: []string{"-eio3"}, do: func(a *attacker) error {
		h, err := a.dial()
		if err != nil {
			return err
		}
		defer a.drop(h)
		sid, err := h.open("EIO=3&b64=1")
		if err != nil {
			return err
		}
		for _, body := range []string{"99999999999999999999:4", "-1:4", "1:", "3:4\xff\xff", "0:0:0:0:", "d=" + strings.Repeat("%5C%5Cn", 1000), strings.Repeat("2:40", 10_000), "\x00\x09\x09\x09\x09\x09\x09\x09\xff4"} {
			req := strings.Replace(post(sid, body), "EIO=4", "EIO=3", 1)
			if status, _, err := h.request(req); err != nil || status != 200 {
				return io.EOF
			}
		}
		return io.EOF
	}},
	{name: "bodies of 110,000 events for a slow handler", do: bodies(`42["slow"]`, 1<<10*900)},
}

// bodies is an attack that posts packets, as many as take a number of bytes.
func bodies(packet string, n int) func(a *attacker) error {
	return func(a *attacker) error {
		body := strings.TrimSuffix(strings.Repeat(packet+"\x1e", n/(len(packet)+1)), "\x1e")
		for a.more() {
			h, sid, err := a.polling()
			if err != nil {
				return err
			}
			status, _, err := h.request(post(sid, body))
			for err == nil && status == 200 && a.more() {
				status, _, err = h.request(post(sid, body))
			}
			if a.more() {
				a.drop(h)
			}
		}
		return nil
	}
}

// silence opens connections and says no more than a letter on each.
func silence(a *attacker) error {
	for range 50 {
		h, err := a.dial()
		if err != nil {
			return err
		}
		if _, err := h.Write([]byte("G")); err != nil {
			return err
		}
	}
	return nil
}
