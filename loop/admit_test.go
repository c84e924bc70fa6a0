package loop

import (
	"testing"
	"time"
)

// Whoever posts faster than a loop works waits for it, but not a loop itself; when
// the loop goes on all is run in order.
func TestAdmitWaitsForRoom(t *testing.T) {
	e, _ := start(t, &hooks{}, Options{Loops: 2}, "127.0.0.1:0")
	l, other := e.Loops()[0], e.Loops()[1]
	ran := 0
	l.Ask(func() {
		l.OnMail(func(to uint64, _ uint32, p []byte) {
			if int(to) != ran {
				t.Errorf("message %d ran as number %d", to, ran)
			}
			ran++
		})
	})
	release, held := make(chan struct{}), make(chan struct{})
	l.Post(TaskFunc(func(*Loop) { close(held); <-release }))
	<-held
	const size = 8 << 10
	sent := 0
	for ; l.mailbox.size.Load() <= mailboxMost; sent++ {
		l.Admit() // there is room
		l.Mail(uint64(sent), 0, make([]byte, size), nil)
	}
	if n := sent * size; n > mailboxMost+size || n < mailboxMost/2 {
		t.Errorf("%d bytes were taken before the mailbox was full, want about %d", n, mailboxMost)
	}
	other.Ask(func() { l.Admit() }) // returns: it is a loop
	admitted := make(chan struct{})
	go func() { l.Admit(); close(admitted) }()
	eventually(t, "somebody waits", func() bool { return e.Stats().MailWaits == 1 })
	select {
	case <-admitted:
		t.Error("Admit() returned though the mailbox is full")
	case <-time.After(10 * time.Millisecond):
	}
	close(release)
	<-admitted
	l.Ask(func() {
		if ran != sent {
			t.Errorf("%d messages were run, want %d", ran, sent)
		}
	})
}

// However much is in the mailbox, sockets are served after a slice of it.
func TestMailIsRunInSlices(t *testing.T) {
	const n = 10 * mailSlice
	ran, at := 0, -1
	var p *Peer
	s := newSim(&hooks{data: func(_ Conn, b []byte) int { at = ran; return len(b) }}, Options{})
	p = s.Connect(0)
	l := s.e.loops[0]
	for i := range n {
		l.Post(TaskFunc(func(*Loop) {
			if ran != i {
				t.Errorf("task %d was run as number %d", i, ran)
			}
			if ran++; ran == 10 {
				p.Send([]byte("x"))
			}
		}))
	}
	s.Turn()
	if ran != n {
		t.Fatalf("%d tasks were run, want %d", ran, n)
	}
	if at < 0 || at > 2*mailSlice {
		t.Errorf("a socket was served after %d tasks, want at most two slices of %d", at, mailSlice)
	}
}
