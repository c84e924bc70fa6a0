package loop

import (
	"testing"
	"unsafe"

	"github.com/sioedge/sioedge/loop/handle"
)

func TestConnsNeverRepeat(t *testing.T) {
	var all []Conn
	s := newSim(&hooks{open: func(c Conn) { all = append(all, c) }}, Options{})
	l := s.Engine().Loops()[0]
	l.conns.Age = handle.MaxGen - 2
	for n := range 8 {
		p := s.Connect(0)
		c := all[n]
		c.SetTag(uint32(n) + 1)
		for i, old := range all[:n] {
			if old == c || old.Valid() || l.Conn(old.Key()).Valid() {
				t.Fatalf("connection %d is valid again when %d is open", i, n)
			}
			old.Write([]byte("secret"))
			old.Abort()
		}
		s.Turn()
		if got := p.Received(); len(got) > 0 || !c.Valid() {
			t.Fatalf("connection %d got %q through another's handle, or was ended", n, got)
		}
		p.Close()
		if c.Valid() {
			t.Fatalf("connection %d is valid when it has ended", n)
		}
	}
	if n := l.conns.Retired(); n != 4 {
		t.Errorf("%d slots are retired, want 4", n)
	}
	checkGauges(t, s.Engine())
}

func TestNoSlotForAConnection(t *testing.T) {
	opened := 0
	s := newSim(&hooks{open: func(Conn) { opened++ }}, Options{})
	s.Engine().Loops()[0].conns.Limit = 1
	first := s.Connect(0)
	for n := range 2 {
		p := s.Connect(0)
		if st := s.Engine().Stats(); !p.Closed() || opened != 1 || st.NoSlot != int64(n+1) || st.Open != 1 {
			t.Fatalf("one too many is closed: %v, %d opened, %+v", p.Closed(), opened, st)
		}
	}
	first.Close()
	if s.Connect(0); opened != 2 {
		t.Fatalf("%d connections were opened, want 2", opened)
	}
}

func TestRecordNeedsNoPadding(t *testing.T) {
	if a, n := unsafe.Alignof(record{}), unsafe.Sizeof(record{}); a != 4 || n != 16 {
		t.Errorf("a record is %d bytes aligned to %d, want 16 aligned to 4", n, a)
	}
}
