package eio

import (
	"bytes"
	"cmp"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/http1"
	"github.com/sioedge/sioedge/wsframe"
)

// compressedFrame returns a masked frame as a client sends it, compressed even
// if that makes it longer.
func compressedFrame(op wsframe.Op, payload []byte) []byte {
	b := deflated(payload)
	frame := wsframe.AppendMaskedFrame(nil, op, b, testKey)
	frame[0] |= 0x40 // RSV1
	return frame
}

// decoded returns a body as it was before it was encoded.
func decoded(t testing.TB, coding string, body []byte) []byte {
	t.Helper()
	var r io.Reader = bytes.NewReader(body)
	var err error
	switch coding {
	case "gzip":
		r, err = gzip.NewReader(r)
	case "deflate":
		r, err = zlib.NewReader(r)
	}
	if err == nil {
		body, err = io.ReadAll(r)
	}
	if err != nil {
		t.Fatalf("body with Content-Encoding %q: %v", coding, err)
	}
	return body
}

// deflated returns the payload of a compressed message: RFC 7692, 7.2.1.
func deflated(payload []byte) []byte {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		panic(err)
	}
	_, _ = w.Write(payload)
	_ = w.Flush()
	return bytes.TrimSuffix(b.Bytes(), []byte("\x00\x00\xff\xff"))
}

// inflated undoes deflated.
func inflated(t testing.TB, payload []byte) []byte {
	t.Helper()
	r := flate.NewReader(io.MultiReader(bytes.NewReader(payload), bytes.NewReader([]byte("\x00\x00\xff\xff\x01\x00\x00\xff\xff"))))
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("inflating % x: %v", payload, err)
	}
	return b
}

const deflateOffer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"

// deflateRequest is wsRequest with the offer of browsers.
func deflateRequest(query string) []byte {
	return bytes.Replace(wsRequest(query), []byte("Host: h\r\n"), []byte("Host: h\r\n"+deflateOffer), 1)
}

// windowRequest asks for a window in which little can be compressed.
func windowRequest(query string) []byte {
	return bytes.Replace(wsRequest(query), []byte("Host: h\r\n"), []byte("Host: h\r\nSec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=8\r\n"), 1)
}

// gzipRequest is getRequest of a client that takes compressed answers.
func gzipRequest(query string) []byte {
	return bytes.Replace(getRequest(query), []byte("Host: h\r\n"), []byte("Host: h\r\nAccept-Encoding: gzip\r\n"), 1)
}

// A reader takes apart what a WebSocket client receives.
type reader struct {
	frames     wsframe.Reader
	inflater   wsframe.Inflater
	compressed int // messages that were
}

// messages returns the messages in b, which ends with one.
func (r *reader) messages(t testing.TB, b []byte) (all []string) {
	t.Helper()
	r.frames.Client, r.frames.Compression, r.frames.MaxMessage = true, true, 1<<30
	for len(b) > 0 {
		m, n, err := r.frames.Next(b)
		b = b[n:]
		if err == nil && m.Compressed {
			r.compressed++
			m, err = r.inflater.Message(m, 1<<30)
		}
		if err != nil || m.Op == 0 {
			t.Fatalf("receiving: %v, %d bytes left", err, len(b))
		}
		all = append(all, fmt.Sprintf("%d%s", m.Op, m.Data))
	}
	return all
}

// upgraded returns what b has behind the answer to the handshake.
func upgraded(t testing.TB, b []byte) []byte {
	t.Helper()
	head, frames, ok := bytes.Cut(b, []byte("\r\n\r\n"))
	if !ok || !bytes.HasPrefix(head, []byte("HTTP/1.1 101 ")) {
		t.Fatalf("handshake answered with %q", b)
	}
	return frames
}

// A message to many is compressed once, however many they are, on however many
// loops; those that are joined into a burst are not compressed again.
func TestBroadcastIsCompressedOnce(t *testing.T) {
	for clients := range 201 {
		if clients > 12 && clients%47 != 12 {
			continue
		}
		var sessions []Session
		srv, sim := newSim(t, &hooks{open: func(s Session, _ *http1.Request) { sessions = append(sessions, s) }},
			Options{Compression: &Compression{}}, loop.Options{Loops: 3})
		peers := make([]*loop.Peer, clients)
		for i := range peers {
			peers[i] = sim.Connect(i % 3)
			peers[i].Send(deflateRequest("EIO=4&transport=websocket"))
			upgraded(t, peers[i].Received())
		}
		large, larger, small := strings.Repeat("large ", 400), strings.Repeat("larger ", 500), "small"
		one := Prepare([]byte(large), false)
		two := []*Prepared{Prepare([]byte(small), false), Prepare([]byte(larger), true), one}
		burst := make([]*Prepared, 3) // one a loop, as in a room
		for i := range burst {
			burst[i] = srv.Concat(slices.Clone(two))
		}
		for _, s := range sessions {
			s.SendPrepared(one, s.slot%2 == 0)
		}
		sim.Turn()
		for _, s := range sessions {
			s.SendPrepared(burst[s.Loop().Index()], true)
		}
		sim.Turn()
		want := []string{"14" + large, "14" + small, "2" + larger, "14" + large}
		for i, p := range peers {
			var r reader
			if got := r.messages(t, p.Received()); !slices.Equal(got, want) || r.compressed != 3 {
				t.Fatalf("client %d of %d received %.200q, %d of them compressed, want %.200q, 3 compressed", i, clients, got, r.compressed, want)
			}
		}
		compressions := int64(min(clients, 1) * 2)
		if c := srv.CompressionStats(); c.Deflated != compressions || clients > 0 && c.DeflatedTo*5 > c.DeflatedFrom {
			t.Errorf("CompressionStats() for %d clients = %+v, want %d messages deflated", clients, c, compressions)
		}
	}
}

// Several loops may need the compressed form at the same moment.
func TestPreparedIsCompressedOnceByManyLoops(t *testing.T) {
	o, _, err := compressionOptions(&Options{Compression: &Compression{}})
	if err != nil {
		t.Fatal(err)
	}
	srv := &Server{deflate: o}
	zippers := make([]zipper, 8)
	for i := range zippers {
		zippers[i].init(o)
	}
	for round := range 50 {
		p := Prepare(bytes.Repeat([]byte(strconv.Itoa(round)), 2000), false)
		var all sync.WaitGroup
		forms := make([][]byte, 2*len(zippers))
		for i := range zippers {
			joined := srv.Concat([]*Prepared{p, p})
			all.Go(func() {
				forms[2*i], forms[2*i+1] = p.deflate(&zippers[i]), joined.deflate(&zippers[i])
			})
		}
		all.Wait()
		for i, b := range forms {
			if want := forms[0]; !bytes.Equal(b, want) && !bytes.Equal(b, slices.Concat(want, want)) {
				t.Fatalf("round %d: form %d is % x, want % x once or twice", round, i, b, want)
			}
		}
	}
	n := int64(0)
	for i := range zippers {
		n += zippers[i].tally.Deflated
	}
	if n != 50 {
		t.Errorf("50 messages were compressed %d times, want once each", n)
	}
}

// Clients of all kinds in one room receive the same in the same order.
func TestMixedRoom(t *testing.T) {
	var sessions []Session
	srv, sim := newSim(t, &hooks{open: func(s Session, _ *http1.Request) { sessions = append(sessions, s) }},
		Options{Compression: &Compression{Threshold: 200}, AllowEIO3: true}, loop.Options{})
	open := func(request []byte) *loop.Peer {
		p := sim.Connect(0)
		p.Send(request)
		return p
	}
	peers := map[string]*loop.Peer{
		"plain":             open(wsRequest("EIO=4&transport=websocket")),
		"compressed":        open(deflateRequest("EIO=4&transport=websocket")),
		"compressed base64": open(deflateRequest("EIO=4&transport=websocket&b64=1")),
		"compressed EIO 3":  open(deflateRequest("EIO=3&transport=websocket")),
		"polling":           open(getRequest("EIO=4&transport=polling")),
		"upgrading":         open(getRequest("EIO=4&transport=polling")),
	}
	polling := sessions[len(sessions)-2:]
	ws := sim.Connect(0)
	ws.Send(deflateRequest("EIO=4&transport=websocket&sid=" + polling[1].ID()))
	ws.Send(textFrame("2probe"))

	var want []string
	message := func(kind string, i int) []byte {
		b := bytes.Repeat([]byte(kind), 1+i*37%400)
		want = append(want, "14"+string(b))
		return b
	}
	for i := range 60 {
		burst := []*Prepared{Prepare(message("a", 3*i), false), Prepare(message("b", 3*i+1), false), Prepare(message("c", 3*i+2), false)}
		burst[2].Plain = i%2 == 0
		joined := srv.Concat(burst)
		direct := AppendText(nil, message("d", i))
		binary := bytes.Repeat([]byte{byte(i)}, 500)
		want = append(want, "2"+string(binary))
		shared := Prepare(binary, true)
		for _, s := range sessions {
			s.SendPrepared(joined, i%3 == 0)
			s.Send(direct)
			s.SendPrepared(shared, i%3 == 1)
		}
		switch {
		case i%7 == 0:
			sim.Turn()
		case i == 30:
			ws.Send(textFrame("5"))
		}
	}
	sim.Turn()
	peers["upgrading"] = ws
	for name, p := range peers {
		got := p.Received()
		var r reader
		var all []string
		if name == "polling" {
			for zipped := 0; len(all) < len(want); {
				p.Send(gzipRequest("EIO=4&transport=polling&sid=" + polling[0].ID()))
				head, body, _ := bytes.Cut(p.Received(), []byte("\r\n\r\n"))
				if bytes.Contains(head, []byte("Content-Encoding: gzip\r\n")) {
					zipped++
					body = decoded(t, "gzip", body)
				}
				packets := bytes.Split(body, []byte{separator})
				for _, packet := range packets {
					all = append(all, "1"+string(packet))
				}
				if len(body) == 0 || len(packets) > maxPackets || len(all) == len(want) && zipped < 10 {
					t.Fatalf("a poll was answered with %d packets, %d of the answers compressed: %s", len(packets), zipped, head)
				}
			}
		} else {
			all = r.messages(t, upgraded(t, got))[1:] // the open packet, or the answer to the probe
		}
		for i, m := range all {
			if name == "compressed EIO 3" {
				all[i] = strings.Replace(m, "2\x04", "2", 1)
			}
			if data, ok := decodeBase64([]byte(strings.TrimPrefix(m, "1b"))); ok && strings.HasPrefix(m, "1b") {
				all[i] = "2" + string(data)
			}
		}
		if !slices.Equal(all, want) {
			t.Errorf("%s: received %d messages, want %d, or others", name, len(all), len(want))
		}
		if wants := name != "plain" && name != "polling"; wants != (r.compressed > 60) {
			t.Errorf("%s: %d messages were compressed", name, r.compressed)
		}
	}
	if c := srv.CompressionStats(); c.Polls != 19 || c.Inflated != 0 {
		t.Errorf("CompressionStats() = %+v, want the 19 polls of 300 messages", c)
	}
}

// A small message that would be a large one is refused while it is inflated,
// with memory for no more than is allowed.
func TestBombsAreRefused(t *testing.T) {
	const allowed = 100_000
	bomb := compressedFrame(wsframe.Text, append([]byte("4"), make([]byte, 16<<20)...)) // about 16 kB
	for name, o := range map[string]Compression{"MaxPayload": {}, "MaxInflated": {MaxInflated: 50_000}} {
		seen, gone := 0, Reason("")
		srv, sim := newSim(t, &hooks{
			message: func(Session, []byte, bool) { seen++ },
			close:   func(_ Session, r Reason) { gone = r },
		}, Options{MaxPayload: allowed + len(bomb), Compression: &o}, loop.Options{})
		limit := cmp.Or(o.MaxInflated, allowed+len(bomb))
		for range 5 {
			c := sim.Connect(0)
			c.Send(deflateRequest("EIO=4&transport=websocket"))
			upgraded(t, c.Received())
			seen, gone = 0, ""
			c.Send(compressedFrame(wsframe.Text, bytes.Repeat([]byte("4"), limit)))
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			c.Send(bytes.Clone(bomb))
			runtime.ReadMemStats(&after)
			if got := c.Received(); seen != 1 || gone != TransportError || !bytes.Equal(got, []byte{0x88, 2, 0x3f1 >> 8, 0x3f1 & 0xff}) {
				t.Fatalf("%s: %d messages, then closed with %q and % x; want 1, a transport error and 1009", name, seen, gone, got)
			}
			if n := after.TotalAlloc - before.TotalAlloc; n > uint64(8*(limit+len(bomb))) {
				t.Fatalf("%s: %d bytes were allocated for a message of %d, with %d allowed", name, n, len(bomb), limit)
			}
		}
		if c := srv.CompressionStats(); c.Inflated != 5 || c.Refused != 5 {
			t.Errorf("%s: CompressionStats() = %+v, want 5 inflated and 5 refused", name, c)
		}
	}
}

// What does not become smaller is sent as it is, by itself and among others.
func TestIncompressible(t *testing.T) {
	var now Session
	_, sim := newSim(t, &hooks{open: func(s Session, _ *http1.Request) { now = s }}, Options{Compression: &Compression{Threshold: 1}}, loop.Options{})
	c := sim.Connect(0)
	c.Send(deflateRequest("EIO=4&transport=websocket"))
	upgraded(t, c.Received())
	noise := make([]byte, 3000)
	rand.NewChaCha8([32]byte{1}).Read(noise)
	zeros := make([]byte, 3000)
	frames := slices.Concat(AppendText(nil), AppendBinary(nil, noise), AppendBinary(nil, zeros), AppendBinary(nil, nil), AppendBinary(nil, noise))
	want := []string{"14", "2" + string(noise), "2" + string(zeros), "2", "2" + string(noise)}
	for name, send := range map[string]func(){
		"Send":         func() { now.Send(frames) },
		"SendPrepared": func() { now.SendPrepared(PrepareFrames(bytes.Clone(frames)), true) },
	} {
		send()
		sim.Turn()
		var r reader
		if got := r.messages(t, c.Received()); !slices.Equal(got, want) || r.compressed != 1 {
			t.Errorf("%s: received %d messages, %d compressed; want those sent, 1 compressed", name, len(got), r.compressed)
		}
	}
}

func TestCompressionOptions(t *testing.T) {
	for name, o := range map[string]Options{
		"a level beyond nine":       {Compression: &Compression{Level: 10}},
		"a negative level":          {Compression: &Compression{Level: -1}},
		"a negative threshold":      {Compression: &Compression{Threshold: -1}},
		"a negative bound":          {Compression: &Compression{MaxInflated: -1}},
		"a window of 7 bits":        {Compression: &Compression{ServerMaxWindowBits: 7}},
		"a window of 16 bits":       {Compression: &Compression{ClientMaxWindowBits: 16}},
		"a negative HTTP threshold": {HTTPCompression: &HTTPCompression{Threshold: -1}},
	} {
		if _, err := NewServer(&hooks{}, o); err == nil {
			t.Errorf("NewServer with %s = nil, want an error", name)
		}
	}
	given := Compression{}
	srv, err := NewServer(&hooks{}, Options{Compression: &given, MaxPayload: 5000})
	if want := (Compression{Threshold: 1024, Level: 1, MaxInflated: 5000}); err != nil || *srv.deflate != want || given != (Compression{}) {
		t.Errorf("NewServer makes %+v of the zero Compression, %v; want %+v and that unchanged", srv.deflate, err, want)
	}
}

// Compressing allocates nothing once the compressor is there, nor does sending
// what is compressed already.
func TestCompressionAllocates(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector changes what is allocated")
	}
	var now Session
	srv, sim := newSim(t, &hooks{
		open:    func(s Session, _ *http1.Request) { now = s },
		message: func(Session, []byte, bool) {},
	}, Options{Compression: &Compression{}}, loop.Options{})
	c := sim.Connect(0)
	c.Send(deflateRequest("EIO=4&transport=websocket"))
	c.Discard(true)
	frames := AppendText(nil, bytes.Repeat([]byte("hello "), 500))
	prepared, small := PrepareFrames(bytes.Clone(frames)), Prepare([]byte("hello"), false)
	in := compressedFrame(wsframe.Text, bytes.Repeat([]byte("4hello"), 500))
	for _, f := range []struct {
		name string
		run  func()
	}{
		{"sending a message to one", func() { now.Send(frames); sim.Turn() }},
		{"sending a prepared message", func() { now.SendPrepared(prepared, true) }},
		{"sending a small one", func() { now.SendPrepared(small, true) }},
		{"receiving", func() { c.Send(in) }},
	} {
		f.run()
		if n := testing.AllocsPerRun(20, f.run); n > 0 {
			t.Errorf("%s: %v allocations, want none", f.name, n)
		}
	}
	if got := srv.CompressionStats(); got.Refused != 0 || got.Inflated == 0 {
		t.Errorf("CompressionStats() = %+v, want messages inflated and none refused", got)
	}
}
