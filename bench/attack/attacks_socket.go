package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// sioPackets are packets of Socket.IO as JSON, legal and not.
var sioPackets = []string{
	"40", "40/n/1,", "40/none,", "40{", `40{"a":1}`, "41", "41/n/1,", "42", `42["x"]`, `42/n/1,["x"]`, `42/none,["x"]`, `421["x"]`, `42[1]`, `42{}`, `42["connect"]`, `42["disconnect"]`,
	"43", "431[]", `43999999999999999999[1]`, "44", `44{"message":"x"}`, `451-["x",{"_placeholder":true,"num":0}]`, `4599999999-["x"]`, "45", `461-1[{"_placeholder":true,"num":0}]`, "47", "4x", "4", `42["__proto__"]`,
	`42["x",{"_placeholder":true,"num":9}]`, `450-["x",{"_placeholder":true,"num":-1}]`,
}

// socketAttacks are those on Socket.IO's packets.
var socketAttacks = []*attack{
	{name: "floods of each Socket.IO packet, by turns", do: func(a *attacker) error {
		for _, p := range sioPackets {
			h, err := a.joined("EIO=4", "40", "40/n/1,")
			if err != nil {
				return err
			}
			h.discard()
			_ = h.some(text(p), 32<<10)
			a.drop(h)
		}
		return io.EOF
	}},
	{name: "floods of each MessagePack packet, by turns", args: []string{"-either"}, do: func(a *attacker) error {
		for typ := range byte(8) {
			for _, rest := range []string{"\xa4data\x92\xa1x\x01", "\xa4data\xc0", "\xa4data\x80", "\xa4data\x91\xc4\x01x", "\xa4data\xdd\xff\xff\xff\xff", "\xa4data\x81\xa3pid\xa1x", "\xa4data\xc7\x01\x02x"} {
				h, err := a.dial()
				if err != nil {
					return err
				}
				if err = h.websocket("EIO=4", ""); err != nil {
					return err
				}
				h.discard()
				_, _ = h.Write(packedPacket(0, "\xa4data\xc0"))
				_ = h.some(packedPacket(typ, rest), 16<<10)
				a.drop(h)
			}
		}
		return io.EOF
	}},
	{name: "MessagePack of 900,000 nils", args: []string{"-either"}, do: packedFlood("\xa4data\xdd\x00\x0d\xbb\xa1\xa4slow" + strings.Repeat("\xc0", 900_000))},
	{name: "MessagePack of 300,000 byte strings", args: []string{"-either"}, do: packedFlood("\xa4data\xdd\x00\x04\x93\xe1\xa4slow" + strings.Repeat("\xc4\x01x", 300_000))},
	{name: "MessagePack of 900,000 nested arrays", args: []string{"-either"}, do: packedFlood("\xa4data\x92\xa4slow" + strings.Repeat("\x91", 900_000) + "\xc0")},
	{name: "MessagePack that declares 4 GB", args: []string{"-either"}, do: packedFlood("\xa4data\x92\xa4slow\xc6\xff\xff\xff\xff")},
	{name: "JSON of 400,000 nested arrays", do: joinedFlood("EIO=4", text(`42["nothing",`+strings.Repeat("[", 400_000)+strings.Repeat("]", 400_000)+"]"), true)},
	{name: "JSON of 100 nested arrays, small", do: joinedFlood("EIO=4", text(`42["nothing",`+strings.Repeat("[", 100)+strings.Repeat("]", 100)+"]"), true)},
	{name: "events of 4,000 arguments, in a hundred namespaces with a slow handler", do: func(a *attacker) error {
		h, err := a.joined("EIO=4", namespaces(100)...)
		if err != nil {
			return err
		}
		for i := 0; a.more(); i++ {
			if _, err := h.Write(text(fmt.Sprintf(`42/n/%d,["slow"%s]`, i%100, strings.Repeat(",1", 4000)))); err != nil {
				return err
			}
		}
		return nil
	}},
	{name: "events for a slow handler", do: joinedFlood("EIO=4", text(`42["slow",1]`), true)},
	{name: "events for a namespace whose middleware is slow", do: func(a *attacker) error {
		h, err := a.joined("EIO=4", "40/slow/1,")
		if err != nil {
			return err
		}
		h.discard()
		return h.flood(text(`42/slow/1,["x","` + strings.Repeat("x", 1000) + `"]`))
	}},
	{name: "events of 900 KB for a slow handler", do: joinedFlood("EIO=4", text(`42["slow","`+strings.Repeat("x", 900_000)+`"]`), true)},
	{name: "echoes, not read", do: joinedFlood("EIO=4", text(`421["echo","`+strings.Repeat("x", 1000)+`"]`), false)},
	{name: "echoes of nothing, not read", do: joinedFlood("EIO=4", text(`421["echo",0]`), false)},
	{name: "echoes of nothing, not read, of the server", server: true, do: joinedFlood("EIO=4", text(`421["echo",0]`), false)},
	{name: "joins of a hundred namespaces with 9 KB of auth each", do: func(a *attacker) error {
		h, err := a.joined("EIO=4")
		if err != nil {
			return err
		}
		h.discard()
		for i := range 100 {
			if _, err := h.Write(text(fmt.Sprintf(`40/n/%d,{"a":"%s"}`, i, strings.Repeat("x", 9000)))); err != nil {
				return err
			}
		}
		return nil
	}},
	{name: "joins of a hundred namespaces with 900 KB of auth each", do: func(a *attacker) error {
		h, err := a.joined("EIO=4")
		if err != nil {
			return err
		}
		h.discard()
		for i := 0; i < 100 && a.more(); i++ {
			if _, err := h.Write(text(fmt.Sprintf(`40/n/%d,{"a":"%s"}`, i, strings.Repeat("x", 900_000)))); err != nil {
				return err
			}
		}
		return nil
	}},
	{name: "namespaces with names of 900 KB", do: func(a *attacker) error {
		h, err := a.joined("EIO=4")
		if err != nil {
			return err
		}
		h.discard()
		for i := 0; a.more(); i++ {
			if _, err := h.Write(text(fmt.Sprintf(`40/n/%d%s,`, i, strings.Repeat("x", 900_000)))); err != nil {
				return err
			}
		}
		return nil
	}},
	{name: "namespaces that a middleware refuses", do: numbered("40/refused/%d,")},
	{name: "namespaces that there are not", do: numbered("40/none/%d,")},
	{name: "namespaces with names of patterns and rooms", do: func(a *attacker) error {
		h, err := a.joined("EIO=4")
		if err != nil {
			return err
		}
		h.discard()
		return h.flood(texts("40/n/:id,", "41/n/:id,", "40/n/#r,", "41/n/#r,", "40/n/%6e,", "40/n/%2f,", "40/other/*rest,", "40/other/..,"))
	}},
	{name: "joining / again while it is joined", do: joinedFlood("EIO=4", text("40"), true)},
	{name: "joining rooms without end", do: numbered(`42["join","room %d"]`)},
	{name: "joining and leaving rooms", do: numbered(`42["join","room %[1]d"]`, `42["leave","room %[1]d"]`)},
	{name: "rooms with names of 900 KB", do: func(a *attacker) error {
		h, err := a.joined("EIO=4", "40")
		if err != nil {
			return err
		}
		h.discard()
		for i := 0; a.more(); i++ {
			if _, err := h.Write(text(fmt.Sprintf(`42["join","%d%s"]`, i, strings.Repeat("x", 900_000)))); err != nil {
				return err
			}
		}
		return nil
	}},
	{name: "questions of the server that are never answered", do: joinedFlood("EIO=4", text(`42["ask"]`), true)},
	{name: "answers to questions that nobody asked", do: numbered(`43%d["x"]`)},
	{name: "2 MB that were asked for, not read", queued: true, do: func(a *attacker) error {
		h, err := a.joined("EIO=4", "40")
		if err != nil {
			return err
		}
		_, err = h.Write(text(`42["give",2000]`))
		return err
	}},
	{name: "forged ids of recovery", args: []string{"-recovery=10s"}, do: func(a *attacker) error {
		for i := range 100 {
			h, err := a.joined("EIO=4", fmt.Sprintf(`40{"pid":"%020d","offset":"x"}`, i))
			if err != nil {
				return err
			}
			h.discard()
			_ = h.some(text(fmt.Sprintf(`40/n/%d,{"pid":["x"],"offset":{}}`, i)), 100)
			a.drop(h)
		}
		return io.EOF
	}},
	{name: "breaking connections that could come back", args: []string{"-recovery=4s"}, do: func(a *attacker) error {
		h, err := a.joined("EIO=4", "40", `42["join","a room"]`, `42["join","another"]`)
		if err != nil {
			return err
		}
		defer a.drop(h)
		for range 2 { // what it is told of the session, and of the namespace
			if _, _, err := h.read(); err != nil {
				return err
			}
		}
		return io.EOF
	}},
	{name: "breaking connections that could come back, with fifty rooms each", args: []string{"-recovery=4s"}, do: func(a *attacker) error {
		h, err := a.joined("EIO=4", "40")
		if err != nil {
			return err
		}
		defer a.drop(h)
		var all []byte
		for i := range 50 {
			all = append(all, text(fmt.Sprintf(`42["join","room %d of those that are left behind"]`, i))...)
		}
		if _, err := h.Write(append(all, text(`420["echo",0]`)...)); err != nil {
			return err
		}
		for range 3 { // what it is told of the session, of the namespace, and the echo
			if _, _, err := h.read(); err != nil {
				return err
			}
		}
		return io.EOF
	}},
	{name: "old clients' packets, by turns", args: []string{"-eio3"}, do: func(a *attacker) error {
		for _, p := range []string{"40", "40/n/1?a=1,", `42["x"]`, "2", "2x", "b4", `451-["x",{"_placeholder":true,"num":0}]`, "41", "44\"x\"", "b4AAAA"} {
			h, err := a.joined("EIO=3", "40/n/1,")
			if err != nil {
				return err
			}
			h.discard()
			_ = h.some(text(p), 32<<10)
			a.drop(h)
		}
		return io.EOF
	}},
	{name: "attachments that never come", do: func(a *attacker) error {
		h, err := a.joined("EIO=4", "40", `4510-["x"]`)
		if err != nil {
			return err
		}
		for range 9 {
			if _, err := h.Write(frame(final|opBinary, make([]byte, 990_000))); err != nil {
				return err
			}
		}
		return nil
	}},
	{name: "joining and leaving many namespaces", do: numbered("40/n/%[1]d,", "41/n/%[1]d,")},
	{name: "packets with ten attachments of nothing, for a slow handler", do: func(a *attacker) error {
		h, err := a.joined("EIO=4", "40")
		if err != nil {
			return err
		}
		unit := text(`4510-["slow"` + placeholders(10) + `]`)
		for range 10 {
			unit = append(unit, frame(final|opBinary, nil)...)
		}
		return h.flood(unit)
	}},
	{name: "wrong types, over and over", do: joinedFlood("EIO=4", text(`42["typed","x"]`), true)},
	{name: "wrong types for acknowledged events", do: joinedFlood("EIO=4", text(`421["typed echo",{}]`), true)},
	{name: "wrong types for the chat", server: true, do: joinedIn("/chat", `1["join",3]`)},
	{name: "numbers of 900,000 digits", do: joinedFlood("EIO=4", text(`42["typed",`+strings.Repeat("9", 900_000)+`]`), true)},
	{name: "events that make a handler panic", do: joinedFlood("EIO=4", text(`42["panic"]`), true)},
	{name: "events that make an inline handler panic", do: joinedFlood("EIO=4", text(`42["panic inline"]`), true)},
	{name: "publications to all of the server, of a client that reads none", server: true, queued: true, do: joinedFlood("EIO=4", text(`42["publish","","`+strings.Repeat("x", 1000)+`"]`), false), bytes: 1 << 20},
	{name: "broadcasts to all, of a client that reads none", queued: true, do: joinedFlood("EIO=4", text(`42["shout"]`), false), bytes: 40 << 10},
	{name: "joining and leaving a namespace", do: func(a *attacker) error {
		h, err := a.joined("EIO=4", "40")
		if err != nil {
			return err
		}
		h.discard()
		return h.flood(texts("40/n/1,", "41/n/1,"))
	}},
	{name: "echoes of a slow handler, not read", do: joinedFlood("EIO=4", text(`421["slow echo","`+strings.Repeat("x", 1000)+`"]`), false)},
	{name: "clients that leave behind what a stubborn handler has to do", do: func(a *attacker) error {
		h, err := a.joined("EIO=4", "40")
		if err != nil {
			return err
		}
		defer a.drop(h)
		if err := h.some(text(`42["stubborn","`+strings.Repeat("x", 500)+`"]`), 256<<10); err != nil {
			return err
		}
		time.Sleep(20 * time.Millisecond)
		return io.EOF
	}},
}

// packedPacket returns a frame with a packet of the MessagePack parser in /. rest is
// its member data.
func packedPacket(typ byte, rest string) []byte {
	return frame(final|opBinary, []byte("\x83\xa4type"+string(typ)+"\xa3nsp\xa1/"+rest))
}

// packedFlood is a flood of events of the MessagePack parser.
func packedFlood(rest string) func(a *attacker) error {
	return func(a *attacker) error {
		h, err := a.dial()
		if err != nil {
			return err
		}
		defer h.finish()
		if err = h.websocket("EIO=4", ""); err != nil {
			return err
		}
		h.discard()
		if _, err = h.Write(packedPacket(0, "\xa4data\xc0")); err != nil {
			return err
		}
		return h.flood(packedPacket(2, rest))
	}
}

// joinedIn is a flood of events in a namespace.
func joinedIn(namespace, event string) func(a *attacker) error {
	return func(a *attacker) error {
		h, err := a.joined("EIO=4", "40"+namespace+",")
		if err != nil {
			return err
		}
		h.discard()
		return h.flood(text("42" + namespace + "," + event))
	}
}

// numbered is a flood of packets with numbers that rise.
func numbered(packets ...string) func(a *attacker) error {
	return func(a *attacker) error {
		h, err := a.joined("EIO=4", "40")
		if err != nil {
			return err
		}
		defer h.finish()
		h.discard()
		for i := 0; a.more(); {
			var b []byte
			for len(b) < 4096 {
				for _, p := range packets {
					b = append(b, text(fmt.Sprintf(p, i))...)
				}
				i++
			}
			if _, err := h.Write(b); err != nil {
				return err
			}
		}
		return nil
	}
}

// namespaces returns packets that join as many.
func namespaces(n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprintf("40/n/%d,", i))
	}
	return all
}

// placeholders returns arguments that are attachments.
func placeholders(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,{"_placeholder":true,"num":%d}`, i)
	}
	return b.String()
}
