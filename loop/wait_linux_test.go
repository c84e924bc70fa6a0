package loop

import (
	"testing"

	"github.com/panjf2000/gnet/v2/pkg/netpoll"
	"golang.org/x/sys/unix"
)

func TestEpollOfIsThePollersDescriptor(t *testing.T) {
	p, err := netpoll.OpenPoller()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	fd, err := unix.Eventfd(1, unix.EFD_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := p.AddRead(&netpoll.PollAttachment{FD: fd}, false); err != nil {
		t.Fatal(err)
	}
	events := make([]unix.EpollEvent, 4)
	n, err := unix.EpollWait(epollOf(p), events, 0)
	if err != nil || n != 1 || int(events[0].Fd) != fd {
		t.Errorf("EpollWait = %d, %v of %d, want 1 of %d", n, err, events[0].Fd, fd)
	}
}
