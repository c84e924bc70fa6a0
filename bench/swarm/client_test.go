package swarm

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pair is a worker with one client whose connection is a socket pair; peer is
// the server's end.
func pair(t *testing.T, cfg Config) (w *worker, peer int) {
	t.Helper()
	cfg.URL = "ws://127.0.0.1:1"
	cfg, err := cfg.WithDefaults()
	if err != nil {
		t.Fatal(err)
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.SetNonblock(fds[0], true); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fds[1]) })
	w = &worker{}
	if err := w.start(job{Config: cfg, Workers: 1, Run: 42, Address: "127.0.0.1:1"}, time.Now().UnixNano()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.release(0) })
	w.started, w.pending = 1, 1
	w.clients[0].fd, w.clients[0].state = int32(fds[0]), stUpgrading
	return w, fds[1]
}

// conversation is what a server sends a client in Broadcast, with everything
// RFC 6455 allows it to do to the frames.
func conversation(w *wire) []byte {
	msg := func(seq uint32) []byte {
		return append(w.appendPayload(bytes.Clone(w.msg), stamp{seq: seq}, len(w.msg)+2), `"]`...)
	}
	b := []byte("HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: " + w.accept + "\r\n\r\n")
	b = append(b, serverFrame(0x81, []byte(`0{"sid":"a"}`))...)
	b = append(b, serverFrame(0x81, []byte(`40{"sid":"b"}`))...)
	b = append(b, serverFrame(0x81, msg(0))...)
	b = append(b, serverFrame(0x81, []byte("2"))...)
	whole := msg(1)
	b = append(b, serverFrame(0x01, whole[:10])...)
	b = append(b, serverFrame(0x89, []byte("ping"))...)
	b = append(b, serverFrame(0x00, whole[10:70])...)
	b = append(b, serverFrame(0x80, whole[70:])...)
	b = append(b, serverFrame(0x81, []byte("6"))...)
	return append(b, serverFrame(0x81, msg(2))...)
}

func TestCutEverywhere(t *testing.T) {
	cfg := Config{Scenario: Broadcast, Clients: 1, Size: 200}
	probe, _ := pair(t, cfg)
	all := conversation(probe.wire)
	splits(all, func(head, tail []byte) {
		w, peer := pair(t, cfg)
		for _, part := range [][]byte{head, tail} {
			if _, err := unix.Write(peer, part); err != nil {
				t.Fatal(err)
			}
			w.read(0, false)
		}
		c := w.total()
		c.BytesIn = 0
		if want := (Counts{Live: 1, Connects: 1, Delivered: 3, Pings: 1}); c != want {
			t.Fatalf("cut at %d of %d: %+v, want %+v; errors %v", len(head), len(all), c, want, w.errors)
		}
		if len(w.carry)+len(w.parts)+len(w.unsent) != 0 || w.clients[0].has != 0 {
			t.Fatalf("cut at %d: something is kept", len(head))
		}
	})
}

// FuzzClient feeds anything, in two pieces, and compares with the whole.
func FuzzClient(f *testing.F) {
	f.Add([]byte{0x81, 1, '2', 0x81, 2, '4', '1'}, 3)
	f.Add([]byte{0x01, 1, '2', 0x80, 0, 0x88, 0}, 1)
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		var results []Counts
		for _, at := range []int{0, min(max(cut, 0), len(b))} {
			w, peer := pair(t, Config{Scenario: Echo, Clients: 1})
			w.clients[0].state = stLive
			w.pending, w.counts.Live = 0, 1
			for _, part := range [][]byte{b[:at], b[at:]} {
				if len(part) == 0 || w.clients[0].fd < 0 {
					continue
				}
				if _, err := unix.Write(peer, part); err != nil {
					t.Skip("more than a socket takes")
				}
				w.read(0, false)
			}
			c := w.total()
			c.BytesIn = 0
			results = append(results, c)
		}
		if results[0] != results[1] {
			t.Fatalf("% x whole: %+v, cut at %d: %+v", b, results[0], cut, results[1])
		}
	})
}

// What the client sends must be masked frames with the right packets in them.
func TestWhatAClientSends(t *testing.T) {
	w, peer := pair(t, Config{Scenario: Rooms, Clients: 1, Namespace: "/chat", Auth: `{"token":"x"}`})
	w.write(0, w.wire.request)
	b := []byte("HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: " + w.wire.accept + "\r\n\r\n")
	for _, p := range []string{`0{}`, `40/chat,{"sid":"b"}`, "2"} {
		b = append(b, serverFrame(0x81, []byte(p))...)
	}
	if _, err := unix.Write(peer, b); err != nil {
		t.Fatal(err)
	}
	w.read(0, false)
	buf := make([]byte, 4096)
	n, err := unix.Read(peer, buf)
	if err != nil {
		t.Fatal(err)
	}
	got, ok := bytes.CutPrefix(buf[:n], w.wire.request)
	if !ok || !bytes.HasPrefix(got, []byte{0x81}) {
		t.Fatalf("sent %q, want the handshake first", buf[:n])
	}
	var packets []string
	for len(got) > 0 {
		if got[1]&0x80 == 0 {
			t.Fatalf("sent % x, want a masked frame", got)
		}
		size := int(got[1] & 0x7f)
		p := got[6 : 6+size]
		for i := range p {
			p[i] ^= got[2:6][i&3]
		}
		packets = append(packets, string(p))
		got = got[6+size:]
	}
	want := []string{`40/chat,{"token":"x"}`, `42/chat,0["join","room-00000"]`, "3"}
	if !slices.Equal(packets, want) {
		t.Errorf("packets = %q, want %q", packets, want)
	}
}

// A short write is finished when the socket is writable again, in order.
func TestUnsentBytesAreKept(t *testing.T) {
	w, peer := pair(t, Config{Clients: 1})
	w.clients[0].state = stLive
	var want []byte
	for i := range 200 {
		b := bytes.Repeat([]byte{byte(i)}, 8000)
		want = append(want, b...)
		w.write(0, b)
	}
	if w.blocked == 0 || w.clients[0].has&hasUnsent == 0 {
		t.Fatal("the socket took 1.6 MB at once")
	}
	var got []byte
	buf := make([]byte, 1<<16)
	for len(got) < len(want) {
		n, err := unix.Read(peer, buf)
		if err != nil || n == 0 {
			t.Fatalf("read = %d, %v after %d bytes", n, err, len(got))
		}
		got = append(got, buf[:n]...)
		w.onReady(0, ready{writable: true})
	}
	if !bytes.Equal(got, want) {
		t.Error("bytes differ")
	}
	if len(w.unsent) != 0 || w.clients[0].has != 0 {
		t.Error("something is kept")
	}
}
