package loop

import (
	"context"
	"runtime"
	"testing"
	"unsafe"
)

func TestRecordIsSmallAndHasNoPointers(t *testing.T) {
	if n := unsafe.Sizeof(record{}); n > 32 {
		t.Errorf("a record takes %d bytes, want at most 32", n)
	}
	if n := unsafe.Sizeof(Conn{}); n != 8+unsafe.Sizeof(uintptr(0)) {
		t.Errorf("a Conn takes %d bytes, want %d", n, 8+unsafe.Sizeof(uintptr(0)))
	}
}

// BenchmarkSendShared is what this package adds to a send.
func BenchmarkSendShared(b *testing.B) {
	var conns []Conn
	s := newSim(&hooks{open: func(c Conn) { conns = append(conns, c) }}, Options{})
	for range 10_000 {
		s.Connect(0).Discard(true)
	}
	p := make([]byte, 64)
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		conns[i].SendShared(p)
		if i++; i == len(conns) {
			i = 0
		}
	}
}

// BenchmarkEcho is a step with a read, a Write and a flush, without system
// calls.
func BenchmarkEcho(b *testing.B) {
	s := newSim(&hooks{data: echo}, Options{})
	p := s.Connect(0)
	p.Discard(true)
	m := make([]byte, 64)
	b.ReportAllocs()
	for b.Loop() {
		p.Send(m)
	}
}

// BenchmarkIdle reports what an idle connection in memory costs, without its
// Peer.
func BenchmarkIdle(b *testing.B) {
	const n = 100_000
	var before, after runtime.MemStats
	for b.Loop() {
		s := newSim(&hooks{}, Options{})
		l := s.e.loops[0]
		runtime.GC()
		runtime.ReadMemStats(&before)
		for range n {
			slot, _ := l.conns.Alloc()
			*l.conns.At(slot) = record{fd: noFD}
			s.e.fds.set(int(slot), slot)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		runtime.KeepAlive(s)
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "B/conn")
	b.ReportMetric(float64(after.HeapObjects-before.HeapObjects)/n, "objects/conn")
}

// BenchmarkSocketEcho is a round trip over loopback, the client's half included.
func BenchmarkSocketEcho(b *testing.B) {
	e, err := New(&hooks{data: echo}, Options{Loops: 1, Logger: quiet})
	if err != nil {
		b.Fatal(err)
	}
	a, err := e.Listen("127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	go func() { _ = e.Run(context.Background()) }()
	c := dial(b, a)
	m := make([]byte, 64)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Write(m); err != nil {
			b.Fatal(err)
		}
		if _, err := c.Read(m); err != nil {
			b.Fatal(err)
		}
	}
	_ = e.Shutdown(context.Background())
}
