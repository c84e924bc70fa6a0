package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
)

// deflate is the field of a client that can be sent compressed messages, and send
// them.
const deflate = "Sec-WebSocket-Extensions: permessage-deflate\r\n"

// eioPackets are packets of Engine.IO, legal and not.
var eioPackets = []string{"0", `0{"sid":"x"}`, "1", "2", "2probe", "3", "3probe", "5", "6", "7", "9", "b", "bAAAA", "", "x", "\x00", "4", "4\xff\xfe"}

// engineAttacks are those on WebSocket and Engine.IO.
var engineAttacks = []*attack{
	{name: "floods of each Engine.IO packet, by turns", do: func(a *attacker) error {
		for _, p := range eioPackets {
			h, err := a.joined("EIO=4", "40")
			if err != nil {
				return err
			}
			h.discard()
			_ = h.some(text(p), 64<<10)
			_ = h.some(frame(final|opBinary, []byte(p)), 64<<10)
			a.drop(h)
		}
		return io.EOF
	}},
	{name: "a flood of pongs", do: joinedFlood("EIO=4", text("3"), true)},
	{name: "a flood of WebSocket pings, whose pongs are not read", do: joinedFlood("EIO=4", frame(final|opPing, []byte("x")), false)},
	{name: "WebSocket pings of 125 bytes, whose pongs are not read", server: true, do: joinedFlood("EIO=4", frame(final|opPing, make([]byte, 125)), false)},
	{name: "deflate bombs of 100 MB", args: []string{"-compress"}, do: func(a *attacker) error {
		h, err := a.joinedWith("EIO=4", deflate, "40")
		if err != nil {
			return err
		}
		h.discard()
		return h.flood(bigBomb())
	}},
	{name: "fragments of one byte", do: func(a *attacker) error {
		h, err := a.joined("EIO=4", "40")
		if err != nil {
			return err
		}
		if _, err = h.Write(frame(opText, []byte("4"))); err != nil {
			return err
		}
		return h.flood(frame(opContinue, []byte("2")))
	}},
	{name: "fragments of nothing", do: func(a *attacker) error {
		h, err := a.joined("EIO=4", "40")
		if err != nil {
			return err
		}
		if _, err = h.Write(frame(opText, nil)); err != nil {
			return err
		}
		return h.flood(frame(opContinue, nil))
	}},
	{name: "a message that is never whole, of 999,999 bytes", do: func(a *attacker) error {
		h, err := a.joined("EIO=4", "40")
		if err != nil {
			return err
		}
		_, err = h.Write(frame(opText, make([]byte, 999_999)))
		return err
	}},
	{name: "TCP segments of one byte", bytes: 20_000, do: func(a *attacker) error {
		h, err := a.joined("EIO=4", "40")
		if err != nil {
			return err
		}
		h.discard()
		unit := text(`420["echo","` + strings.Repeat("x", 1000) + `"]`)
		for i := 0; a.more(); i = (i + 1) % len(unit) {
			if _, err := h.Write(unit[i : i+1]); err != nil {
				return err
			}
		}
		return nil
	}},
	{name: "frames that say they have 2^63 bytes", do: reconnecting("EIO=4", []byte{final | opText, 0x80 | 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0})},
	{name: "frames without masks, of unknown kinds, with reserved bits", do: func(a *attacker) error {
		for _, first := range []byte{0x83, 0x8b, 0xf1, 0xb1, 0x09, 0x80} {
			h, err := a.joined("EIO=4", "40")
			if err != nil {
				return err
			}
			_ = h.some(frame(first, []byte("4")), 16<<10)
			_ = h.some([]byte{0x81, 1, '3'}, 16<<10)
			a.drop(h)
		}
		return io.EOF
	}},
	{name: "heads of endless fields", do: func(a *attacker) error {
		h, err := a.dial()
		if err != nil {
			return err
		}
		defer h.finish()
		if _, err = io.WriteString(h, "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: a\r\n"); err != nil {
			return err
		}
		return h.flood([]byte("A: b\r\n"))
	}},
	{name: "a head of one endless line", server: true, do: func(a *attacker) error {
		h, err := a.dial()
		if err != nil {
			return err
		}
		defer h.finish()
		if _, err = io.WriteString(h, "GET /socket.io/?"); err != nil {
			return err
		}
		return h.flood([]byte("xxxxxxxxxxxxxxxx"))
	}},
	{name: "heads that come a byte at a time", bytes: 3000, do: func(a *attacker) error {
		h, err := a.dial()
		if err != nil {
			return err
		}
		for i := 0; a.more(); i++ {
			if _, err := h.Write([]byte{"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: a\r\nX: "[min(i, 61)]}); err != nil {
				return err
			}
		}
		return nil
	}},
	{name: "bodies that never come, of 999,999 bytes", do: func(a *attacker) error {
		h, sid, err := a.polling()
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(h, "POST /socket.io/?EIO=4&transport=polling&sid=%s HTTP/1.1\r\nHost: a\r\nContent-Length: 999999\r\n\r\n%s", sid, strings.Repeat("4", 999_000))
		return err
	}},
	{name: "chunks of one byte", do: func(a *attacker) error {
		h, sid, err := a.polling()
		if err != nil {
			return err
		}
		if _, err = fmt.Fprintf(h, "POST /socket.io/?EIO=4&transport=polling&sid=%s HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", sid); err != nil {
			return err
		}
		return h.flood([]byte("1\r\n4\r\n"))
	}},
	{name: "chunks with endless extensions", do: func(a *attacker) error {
		h, sid, err := a.polling()
		if err != nil {
			return err
		}
		if _, err = fmt.Fprintf(h, "POST /socket.io/?EIO=4&transport=polling&sid=%s HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;", sid); err != nil {
			return err
		}
		return h.flood([]byte("xxxxxxxxxxxxxxxx"))
	}},
	{name: "queries of 10,000 empty parameters", do: func(a *attacker) error {
		return a.pipelined("GET /socket.io/?EIO=4&transport=polling&sid=x" + strings.Repeat("&a", 5000) + " HTTP/1.1\r\nHost: a\r\n\r\n")
	}},
	{name: "no HTTP at all", server: true, do: func(a *attacker) error {
		for _, s := range []string{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "\x00\x00\x00\x00", "GET\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "\r\n\r\n", "GET / HTTP/9.9\r\nHost: a\r\n\r\n"} {
			h, err := a.dial()
			if err != nil {
				return err
			}
			_ = h.some([]byte(s), 8<<10)
			a.drop(h)
		}
		return io.EOF
	}},
	{name: "requests for other origins", server: true, args: []string{"--origins=https://a.example"}, do: func(a *attacker) error {
		return a.pipelined("GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: a\r\nOrigin: https://" + strings.Repeat("b", 200) + ".example\r\n\r\n")
	}},
	{name: "the client's map, 2,000 times, not read", server: true, do: func(a *attacker) error {
		h, err := a.dial()
		if err != nil {
			return err
		}
		return h.some([]byte("GET /socket.io/socket.io.js.map HTTP/1.1\r\nHost: a\r\n\r\n"), 2000*54)
	}},
	{name: "pages of the demonstration, not read", server: true, do: func(a *attacker) error {
		h, err := a.dial()
		if err != nil {
			return err
		}
		return h.flood([]byte("GET /demo/ HTTP/1.1\r\nHost: a\r\n\r\n"))
	}},
	{name: "a flood of noops, compressed", args: []string{"-compress"}, do: func(a *attacker) error {
		h, err := a.joinedWith("EIO=4", deflate, "40")
		if err != nil {
			return err
		}
		h.discard()
		return h.flood(deflated(opText, append([]byte("6"), make([]byte, 900_000)...)))
	}},
	{name: "deflate bombs of 900 KB in 1 KB", bytes: 256 << 10, args: []string{"-compress"}, do: func(a *attacker) error {
		h, err := a.joinedWith("EIO=4", deflate, "40")
		if err != nil {
			return err
		}
		h.discard()
		return h.flood(deflated(opText, []byte(`42["nothing","`+strings.Repeat("a", 900_000)+`"]`)))
	}},
	{name: "messages compressed to nothing, for a slow handler", bytes: 256 << 10, args: []string{"-compress"}, do: func(a *attacker) error {
		h, err := a.joinedWith("EIO=4", deflate, "40")
		if err != nil {
			return err
		}
		return h.flood(deflated(opText, []byte(`42["slow","`+strings.Repeat("a", 90_000)+`"]`)))
	}},
}

// joinedFlood is an attack that joins / and floods.
func joinedFlood(query string, unit []byte, reads bool) func(a *attacker) error {
	return func(a *attacker) error {
		h, err := a.joined(query, "40")
		if err != nil {
			return err
		}
		if reads {
			h.discard()
		}
		if err = h.flood(unit); err != nil {
			a.drop(h)
		}
		return err
	}
}

// reconnecting is an attack that sends what gets it thrown out, and begins again.
func reconnecting(query string, unit []byte) func(a *attacker) error {
	return func(a *attacker) error {
		h, err := a.joined(query, "40")
		if err != nil {
			return err
		}
		defer a.drop(h)
		if _, err = h.Write(unit); err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, h.r)
		if err == nil {
			err = io.EOF
		}
		return err
	}
}

// polling opens a session by polling, and joins /.
func (a *attacker) polling() (h *hostile, sid string, err error) {
	if h, err = a.dial(); err != nil {
		return nil, "", err
	}
	if sid, err = h.open("EIO=4"); err == nil {
		_, _, err = h.request(post(sid, "40"))
	}
	if err != nil {
		a.drop(h)
	}
	return h, sid, err
}

// pipelined sends a request over and over, and reads all answers.
func (a *attacker) pipelined(request string) error {
	h, err := a.dial()
	if err != nil {
		return err
	}
	h.discard()
	if err = h.flood([]byte(request)); err != nil {
		a.drop(h)
	}
	return err
}

// bigBomb returns a frame with what 100 MB of zeros are compressed.
var bigBomb = sync.OnceValue(func() []byte { return deflated(opText, make([]byte, 100<<20)) })
