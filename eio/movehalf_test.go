package eio

import (
	"net/http"
	"strings"
	"time"

	"github.com/sioedge/sioedge/loop/http1"
	"github.com/sioedge/sioedge/wsframe"
)

// fragmentFrame is a frame of a message that goes on.
func fragmentFrame(op wsframe.Op, data string) []byte {
	b := textFrame(data)
	b[0] = byte(op)
	return b
}

// halves are dialogues in which something has come half, or went half.
func halves() map[string]dialogue {
	open := func(w *world) { w.peers[0].Send(getRequest("EIO=4&transport=polling")) }
	wait := func(d time.Duration) func(w *world) { return func(w *world) { w.sim.Advance(d) } }
	raw := func(i int, format string) func(w *world) {
		return func(w *world) {
			b := format
			if w.s.sh != nil {
				b = strings.ReplaceAll(b, "SID", w.s.ID())
			}
			w.peers[i].Send([]byte(b))
		}
	}
	send := func(text string) func(w *world) { return func(w *world) { w.do(func() { w.send(text) }) } }
	poll := "GET /engine.io/?EIO=4&transport=polling&sid=SID HTTP/1.1\r\nHost: h\r\n"
	post := "POST /engine.io/?EIO=4&transport=polling&sid=SID HTTP/1.1\r\nHost: h\r\n"
	cors := Options{CORS: &CORS{Origins: []string{"https://a.example"}, Credentials: true}, HTTPCompression: &HTTPCompression{Threshold: 100},
		Headers: func(h http.Header, _ *http1.Request) { h.Set("X-Each", "answer") }}
	return map[string]dialogue{
		"a client that never polls": {o: Options{PingTimeout: 5 * time.Second, HeadTimeout: 6 * time.Second}, steps: []func(w *world){open, wait(4 * time.Second), wait(3 * time.Second)}},
		"a client that takes no bytes": {steps: []func(w *world){
			func(w *world) { w.peers[0].Send(wsRequest("EIO=4&transport=websocket&b64=1")) },
			func(w *world) { w.do(func() { w.s.Send(AppendBinary(nil, []byte{1, 2})) }) },
		}},
		"too many fragments": {o: Options{MaxFragments: 3}, steps: []func(w *world){
			func(w *world) { w.peers[0].Send(wsRequest("EIO=4&transport=websocket")) },
			func(w *world) { w.peers[0].Send(fragmentFrame(wsframe.Text, "4a")) },
			func(w *world) { w.peers[0].Send(fragmentFrame(wsframe.Continuation, "b")) },
			func(w *world) { w.peers[0].Send(fragmentFrame(wsframe.Continuation, "c")) },
			func(w *world) { w.peers[0].Send(fragmentFrame(wsframe.Continuation, "d")) },
		}},
		"much at once": {steps: []func(w *world){open,
			func(w *world) {
				w.do(func() {
					for range 20 {
						w.send("x")
					}
					w.s.Together()
				})
			}, raw(0, poll+"\r\n"), raw(0, poll+"\r\n"),
		}},
		"what is not to be compressed": {o: Options{HTTPCompression: &HTTPCompression{Threshold: 100}}, steps: []func(w *world){open,
			func(w *world) { w.do(func() { w.s.SendPlain(AppendText(nil, []byte(strings.Repeat("x", 300)))) }) },
			raw(0, poll+"Accept-Encoding: gzip\r\n\r\n"),
		}},
		"bytes that wait": {steps: []func(w *world){
			func(w *world) { w.peers[0].Send(getRequest("EIO=3&transport=polling")) },
			raw(1, strings.Replace(post, "EIO=4", "EIO=3", 1)+"Content-Type: application/octet-stream\r\nContent-Length: 20\r\n\r\n\x00\x06\xff4pause\x01\x02\xff\x04x\x00\x04\xff4one"),
			func(w *world) { w.do(w.s.ResumeRead) },
		}},
		"an upgrade to one that is compressed": {o: Options{Compression: &Compression{Threshold: 100}}, steps: []func(w *world){open, raw(0, poll+"\r\n"),
			func(w *world) {
				w.peers[2].Send(with(wsRequest("EIO=4&transport=websocket&b64=1&sid="+w.s.ID()), "Sec-WebSocket-Extensions: permessage-deflate"))
			},
			func(w *world) { w.peers[2].Send(compressedFrame(wsframe.Text, []byte("2probe"))) },
			wait(50 * time.Millisecond), wait(30 * time.Millisecond), wait(30 * time.Millisecond),
			func(w *world) { w.peers[2].Send(textFrame("5")) }, send(strings.Repeat("x", 300)),
			func(w *world) { w.do(func() { w.s.Send(AppendBinary(nil, []byte{1, 2})) }) },
			func(w *world) {
				w.peers[2].Send(compressedFrame(wsframe.Text, []byte("4"+strings.Repeat("y", 300))))
			},
		}},
		"a head in pieces": {steps: []func(w *world){
			func(w *world) { w.peers[0].Send([]byte("GET /engine.io/?EIO=4&tra")) },
			wait(time.Second),
			func(w *world) { w.peers[0].Send([]byte("nsport=polling HTTP/1.1\r\nHost: h\r\n")) },
			func(w *world) { w.peers[0].Send([]byte("\r\n")) },
			func(w *world) { w.get(0, "") },
		}},
		"a head that never ends": {o: Options{HeadTimeout: 3 * time.Second}, steps: []func(w *world){
			wait(time.Second), raw(0, "GET /eng"), wait(2 * time.Second), raw(1, "GET "), wait(time.Second), wait(2 * time.Second),
		}},
		"a connection that nobody uses": {o: Options{HeadTimeout: 3 * time.Second, IdleTimeout: 5 * time.Second}, steps: []func(w *world){
			open, wait(2 * time.Second), wait(2 * time.Second), wait(2 * time.Second),
		}},
		"requests behind each other": {steps: []func(w *world){open,
			raw(0, poll+"\r\n"+poll+"\r\n"+post+"Content-Length: 2\r\n\r\n4x"+poll), wait(time.Second),
			send("one"), send("two"), raw(0, "\r\n"), send("three"), raw(0, "GE"), raw(0, "T /none HTTP/1.1\r\nHost: h\r\n\r\n"),
		}},
		"a body in pieces": {steps: []func(w *world){open,
			raw(1, post+"Content-Length: 12\r\n"), raw(1, "\r\n"), raw(1, "4one\x1e"), raw(1, "4tw"), wait(time.Second), raw(1, "o\x1e4"), raw(0, poll+"\r\n"), raw(1, "xGET / HT"),
			raw(1, "TP/1.1\r\nHost: h\r\n\r\n"), send("goes on"),
		}},
		"a body in chunks": {steps: []func(w *world){open,
			raw(1, post+"Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"), raw(1, "5;ext"), raw(1, "\r\n4on"), raw(1, "e\x1e\r\n"),
			raw(1, "0"), raw(1, "4\r\n4two\r"), raw(1, "\n0\r\nTra"), raw(1, "iler: x\r\n\r"), raw(1, "\n"), raw(1, poll+"\r\n"), send("goes on"),
		}},
		"a body that never ends": {o: Options{BodyTimeout: 3 * time.Second}, steps: []func(w *world){open,
			raw(1, post+"Content-Length: 70000\r\n\r\n4"+strings.Repeat("x", partLen-100)), wait(2 * time.Second), raw(1, strings.Repeat("x", 99)), raw(1, "x"), wait(2 * time.Second), wait(2 * time.Second),
		}},
		"a body larger than may be": {o: Options{MaxPayload: 100}, steps: []func(w *world){open,
			raw(1, post+"Transfer-Encoding: chunked\r\n\r\n60\r\n"+strings.Repeat("x", 0x60)), raw(1, "\r\n5\r\n"), raw(0, poll+"\r\n"),
		}},
		"two bodies at once": {steps: []func(w *world){open,
			raw(1, post+"Content-Length: 12\r\n\r\n4one"), raw(2, post+"Content-Length: 2\r\n\r\n4x"),
		}},
		"a body whose session is closed": {steps: []func(w *world){open,
			raw(1, post+"Content-Length: 4\r\n\r\n4o"), func(w *world) { w.do(w.s.Close) }, wait(time.Second), raw(1, "ne"), raw(0, poll+"\r\n"), raw(0, poll+"\r\n"),
		}},
		"a body whose session has gone": {steps: []func(w *world){open,
			raw(1, post+"Content-Length: 4\r\n\r\n4o"), func(w *world) { w.do(w.s.Cut) }, raw(1, "ne"), raw(1, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"),
		}},
		"a body whose session has upgraded": {steps: []func(w *world){open,
			raw(1, post+"Content-Length: 4\r\n\r\n4o"), func(w *world) { w.peers[2].Send(wsRequest("EIO=4&transport=websocket&sid=" + w.s.ID())) },
			func(w *world) { w.peers[2].Send(textFrame("5")) }, raw(1, "ne"), func(w *world) { w.peers[2].Send(textFrame("4two")) }, send("x"),
		}},
		"a body that breaks off": {steps: []func(w *world){open, raw(1, post+"Content-Length: 4\r\n\r\n4o"), func(w *world) { w.peers[1].Close() }, raw(0, poll+"\r\n")}},
		"a body of JSONP": {steps: []func(w *world){
			func(w *world) { w.peers[0].Send(getRequest("EIO=4&transport=polling&j=2")) },
			raw(1, strings.Replace(post, "EIO=4", "EIO=4&j=2", 1)+"Content-Length: 11\r\n\r\nd=4x%1"), raw(1, "E4one"), raw(0, strings.Replace(poll, "EIO=4", "EIO=4&j=7", 1)+"\r\n"), send("y"),
		}},
		"a body of bytes": {steps: []func(w *world){
			func(w *world) { w.peers[0].Send(getRequest("EIO=3&transport=polling")) },
			raw(1, strings.Replace(post, "EIO=4", "EIO=3", 1)+"Content-Type: application/octet-stream\r\nContent-Length: 12\r\n\r\n\x01\x02\xff\x04"), raw(1, "x\x00"), raw(1, "\x04\xff4one"), wait(40 * time.Second),
		}},
		"a body that nobody wants": {steps: []func(w *world){open,
			raw(1, "POST /none HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nGET"), raw(1, " / HTTP"), raw(1, poll), raw(1, "\r\n"), send("x"),
			raw(1, "GET /none HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3"), raw(1, "\r\nGET\r"), raw(1, "\n0\r\n\r\n"), raw(1, poll+"\r\n"), send("y"),
		}},
		"a body that nobody wants and that never ends": {o: Options{BodyTimeout: 3 * time.Second}, steps: []func(w *world){
			raw(1, "POST /none HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nGET"), wait(2 * time.Second), raw(1, "x"), wait(2 * time.Second),
		}},
		"a poll with a body": {steps: []func(w *world){open,
			raw(1, poll+"Content-Length: 10\r\n\r\nGET"), send("x"), raw(1, " / HTTP"), raw(1, poll+"\r\n"), send("y"),
		}},
		"HTTP/1.0": {steps: []func(w *world){open,
			raw(1, strings.Replace(poll, "1.1", "1.0", 1)+"Connection: keep-alive\r\n\r\n"), send("x"), raw(1, strings.Replace(poll, "1.1", "1.0", 1)+"\r\n"), send("y"),
			raw(2, strings.Replace(post, "1.1", "1.0", 1)+"Content-Length: 2\r\n\r\n4"), raw(2, "x"),
		}},
		"of another origin": {o: cors, steps: []func(w *world){
			func(w *world) {
				w.peers[0].Send(with(getRequest("EIO=4&transport=polling"), "Origin: https://a.example"))
			},
			raw(0, poll+"Origin: https://a.example\r\nAccept-Encoding: gzip\r\n\r\n"), send(strings.Repeat("x", 300)),
			raw(1, "OPTIONS"), raw(1, strings.TrimPrefix(post, "POST")+"Origin: https://a.example\r\nAccess-Control-Request-Method: POST\r\n\r\n"),
			raw(1, post+"Origin: https://a.example\r\nContent-Length: 6\r\n\r\n4pau"), raw(1, "se"), func(w *world) { w.do(w.s.ResumeRead) },
			raw(0, poll+"Origin: https://b.example\r\n"), raw(0, "\r\n"),
			raw(0, poll+"Origin: https://a.example\r\nAccept-Encoding: deflate\r\nUser-Agent: a;MSIE\r\n\r\n"), send(strings.Repeat("y", 300)),
		}},
		"an answer that goes half": {steps: []func(w *world){open, raw(0, poll+"\r\n"),
			func(w *world) { w.peers[0].Stall(true) }, send("one"), send("two"), func(w *world) { w.peers[0].Take(10) }, func(w *world) { w.peers[0].Stall(false) }, raw(0, poll+"\r\n"),
		}},
		"an answer that is lost": {steps: []func(w *world){open, raw(0, poll+"\r\n"),
			func(w *world) { w.peers[0].Stall(true) }, send("one"), func(w *world) { w.peers[0].Reset() }, raw(1, poll+"\r\n"),
		}},
		"another server's answer that is lost": {steps: []func(w *world){open, raw(0, poll+ForwardedHeader+": x\r\n\r\n"), send("one"),
			func(w *world) { w.peers[0].Reset() }, raw(1, poll+"\r\n"),
		}},
		"another server's requests while we stop": {steps: []func(w *world){open,
			raw(0, poll+ForwardedHeader+": x\r\n\r\n"), raw(1, post+ForwardedHeader+": x\r\nContent-Length: 2\r\n\r\n4"), func(w *world) { w.srv.Drain() }, raw(1, "x"), send("y"),
		}},
		"an upgrade in pieces": {steps: []func(w *world){open, raw(0, poll+"\r\n"),
			func(w *world) { w.peers[2].Send(wsRequest("EIO=4&transport=websocket&sid=" + w.s.ID())[:60]) },
			func(w *world) {
				w.peers[2].Send(append(wsRequest("EIO=4&transport=websocket&sid=" + w.s.ID())[60:], textFrame("2probe")[:4]...))
			},
			func(w *world) { w.peers[2].Send(append(textFrame("2probe")[4:], textFrame("5")[:3]...)) },
			wait(150 * time.Millisecond), send("waits"), raw(1, post+"Content-Length: 2\r\n\r\n4"),
			func(w *world) { w.peers[2].Send(append(textFrame("5")[3:], textFrame("4here")[:5]...)) }, send("later"),
			func(w *world) { w.peers[2].Send(textFrame("4here")[5:]) }, raw(1, "x"), raw(0, poll+"\r\n"),
		}},
		"an upgrade of one that is paused": {steps: []func(w *world){open,
			func(w *world) { w.post(1, "4one\x1e4pause\x1e4two") },
			func(w *world) { w.peers[2].Send(wsRequest("EIO=4&transport=websocket&sid=" + w.s.ID())) },
			func(w *world) { w.peers[2].Send(append(textFrame("2probe"), textFrame("5")...)) },
			func(w *world) { w.peers[2].Send(textFrame("4three")) }, wait(time.Second), func(w *world) { w.do(w.s.ResumeRead) },
		}},
		"swamped": {o: Options{MaxQueue: 1000}, steps: []func(w *world){open, raw(0, poll+"\r\n"),
			func(w *world) {
				w.do(func() {
					w.send(strings.Repeat("x", 700))
					w.s.SendPrepared(Prepare([]byte(strings.Repeat("z", 700)), true), false)
				})
			},
			func(w *world) {
				w.do(func() {
					w.send(strings.Repeat("x", 700))
					w.s.SendPrepared(Prepare([]byte(strings.Repeat("z", 700)), true), false)
				})
			},
			raw(1, post+"Content-Length: 2\r\n\r\n4x"), wait(3 * time.Second), raw(0, poll+"\r\n"), raw(0, poll+"\r\n"), raw(0, poll+"\r\n"),
		}},
	}
}
