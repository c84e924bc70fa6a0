package passing

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pair returns the two ends of a connection.
func pair(t *testing.T) (a, b *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]*net.UnixConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "")
		c, err := net.FileConn(f)
		if err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
		ends[i] = c.(*net.UnixConn)
		t.Cleanup(func() { _ = c.Close() })
	}
	return ends[0], ends[1]
}

// streams returns two Streams that are connected.
func streams(t *testing.T) (from, to *Stream) {
	a, b := pair(t)
	from, to = New(a), New(b)
	t.Cleanup(func() { _ = from.Close(); _ = to.Close() })
	return from, to
}

// open returns how many descriptors the process has.
func open(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("nothing tells what descriptors there are")
	}
	return len(all)
}

// leaks fails the test if there are more descriptors when it ends than now.
func leaks(t *testing.T) {
	t.Helper()
	before := open(t)
	t.Cleanup(func() {
		if after := open(t); after > before {
			t.Errorf("there are %d descriptors, and were %d", after, before)
		}
	})
}

// pipes returns n descriptors of different pipes.
func pipes(t *testing.T, n int) []int {
	t.Helper()
	var all []int
	for len(all) < n {
		var p [2]int
		if err := unix.Pipe(p[:]); err != nil {
			t.Fatal(err)
		}
		all = append(all, p[0])
		_ = unix.Close(p[1])
	}
	t.Cleanup(func() { closeAll(all) })
	return all
}

func closeAll(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}

// inode tells open files apart.
func inode(t *testing.T, fd int) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		t.Fatalf("descriptor %d: %v", fd, err)
	}
	return st.Ino
}

func TestRecordsComeAsTheyWereSent(t *testing.T) {
	leaks(t)
	from, to := streams(t)
	sizes := []int{0, 1, 100, readLen - headerLen, readLen, readLen + 1, batchLen - headerLen, batchLen, batchLen + 1, 3, MaxBody, 0}
	sent := make(chan error, 1)
	// ends when all is sent
	go func() {
		var err error
		for i, n := range sizes {
			body := bytes.Repeat([]byte{byte(i + 1)}, n)
			err = errors.Join(err, from.Send(uint8(i), uint8(2*i), body))
			clear(body) // it was copied
		}
		sent <- errors.Join(err, from.Flush(), from.Close())
	}()
	for i, n := range sizes {
		r, err := to.Receive()
		if err != nil {
			t.Fatalf("record %d: %v", i, err)
		}
		if r.Kind != uint8(i) || r.Lane != uint8(2*i) || len(r.Files) != 0 || !bytes.Equal(r.Body, bytes.Repeat([]byte{byte(i + 1)}, n)) {
			t.Fatalf("record %d: kind %d, lane %d, %d bytes, want %d bytes of it", i, r.Kind, r.Lane, len(r.Body), n)
		}
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if _, err := to.Receive(); err != io.EOF {
		t.Fatalf("behind the last record: %v, want io.EOF", err)
	}
}

func TestNothingIsWrittenBeforeThereIsEnoughOrFlush(t *testing.T) {
	from, to := streams(t)
	if err := from.Send(1, 0, []byte("waits")); err != nil {
		t.Fatal(err)
	}
	_ = to.SetDeadline(time.Now().Add(-time.Second))
	if _, err := to.Receive(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("before Flush: %v, want os.ErrDeadlineExceeded", err)
	}
	_ = to.SetDeadline(time.Time{})
	if err := from.Flush(); err != nil {
		t.Fatal(err)
	}
	if r, err := to.Receive(); err != nil || string(r.Body) != "waits" {
		t.Fatalf("after Flush: %q, %v", r.Body, err)
	}
}

func TestAThousandDescriptorsGoWithTheirRecords(t *testing.T) {
	leaks(t)
	from, to := streams(t)
	fds := pipes(t, 1000)
	counts := []int{1, 0, 253, 1, 253, 250, 3, 0, 17, 222} // 1000
	sent := make(chan error, 1)
	// ends when all is sent
	go func() {
		var err error
		rest := fds
		for i, n := range counts {
			err = errors.Join(err, from.Send(7, uint8(i), bytes.Repeat([]byte("body"), 100*i), rest[:n]...))
			rest = rest[n:]
		}
		sent <- errors.Join(err, from.Flush())
	}()
	rest := fds
	for i, n := range counts {
		r, err := to.Receive()
		if err != nil {
			t.Fatalf("record %d: %v", i, err)
		}
		if len(r.Files) != n || int(r.Lane) != i {
			t.Fatalf("record %d has %d descriptors, want %d", i, len(r.Files), n)
		}
		for j, fd := range r.Files {
			if got, want := inode(t, fd), inode(t, rest[j]); got != want {
				t.Fatalf("record %d, descriptor %d is of inode %d, want %d", i, j, got, want)
			}
			if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
				t.Fatalf("a child would inherit descriptor %d", fd)
			}
		}
		closeAll(r.Files)
		rest = rest[n:]
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
}

func TestManyGoroutinesSendWhole(t *testing.T) {
	leaks(t)
	from, to := streams(t)
	fds := pipes(t, 8)
	const each = 300
	var left sync.WaitGroup
	for i := range fds {
		left.Go(func() {
			body := bytes.Repeat([]byte{byte(i)}, 1000)
			for range each {
				if err := from.Send(1, uint8(i), body, fds[i]); err != nil {
					t.Error(err)
				}
			}
		})
	}
	flushed := make(chan error, 1)
	// ends when all have sent
	go func() { left.Wait(); flushed <- from.Flush() }()
	var got [8]int
	for range each * len(fds) {
		r, err := to.Receive()
		if err != nil {
			t.Fatal(err)
		}
		i := r.Lane
		got[i]++
		if len(r.Files) != 1 || !bytes.Equal(r.Body, bytes.Repeat([]byte{i}, 1000)) || inode(t, r.Files[0]) != inode(t, fds[i]) {
			t.Fatalf("a record of %d has what is another's", i)
		}
		closeAll(r.Files)
	}
	if err := <-flushed; err != nil || got != [8]int{each, each, each, each, each, each, each, each} {
		t.Fatalf("%v: %v", got, err)
	}
}

// A receiver that takes nothing has the sender wait until its deadline, which is not the
// receiver's.
func TestASlowReceiver(t *testing.T) {
	from, to := streams(t)
	_ = from.SetDeadline(time.Now().Add(50 * time.Millisecond))
	var err error
	for i := 0; err == nil && i < 100; i++ {
		err = from.Send(1, 0, make([]byte, 1<<20))
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("100 MiB that nobody takes: %v, want os.ErrDeadlineExceeded", err)
	}
	_ = from.SetDeadline(time.Time{})
	if again := from.Send(1, 0, nil); again != err {
		t.Errorf("the next Send: %v, want the same error", again)
	}
	if again := from.Flush(); again != err {
		t.Errorf("Flush: %v, want the same error", again)
	}
	_ = from.Close()
	for err = nil; err == nil; {
		_, err = to.Receive()
	}
	if err != io.ErrUnexpectedEOF {
		t.Errorf("a record of which a part came: %v, want io.ErrUnexpectedEOF", err)
	}
}

func TestReceiveGoesOnBehindADeadline(t *testing.T) {
	leaks(t)
	a, b := pair(t)
	to := New(b)
	defer to.Close()
	fd := pipes(t, 1)[0]
	body := bytes.Repeat([]byte("0123456789"), 8<<10) // more than readLen, less than a socket holds
	whole := append(appendHeader(nil, 3, 4, 1, body), body...)
	for _, at := range []int{1, headerLen - 1, headerLen, headerLen + 1, readLen, len(whole) - 1} {
		if _, _, err := a.WriteMsgUnix(whole[:at], unix.UnixRights(fd), nil); err != nil {
			t.Fatal(err)
		}
		_ = to.SetDeadline(time.Now().Add(10 * time.Millisecond))
		if _, err := to.Receive(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("%d bytes: %v, want os.ErrDeadlineExceeded", at, err)
		}
		_ = to.SetDeadline(time.Time{})
		if _, err := a.Write(whole[at:]); err != nil {
			t.Fatal(err)
		}
		r, err := to.Receive()
		if err != nil || !bytes.Equal(r.Body, body) || len(r.Files) != 1 {
			t.Fatalf("%d bytes, and then the rest: %d bytes, %d descriptors, %v", at, len(r.Body), len(r.Files), err)
		}
		closeAll(r.Files)
	}
}

func TestWhatIsTooMuchIsNotSent(t *testing.T) {
	from, to := streams(t)
	if err := from.Send(1, 0, make([]byte, MaxBody+1)); err == nil || !strings.Contains(err.Error(), "bytes") {
		t.Errorf("a body of MaxBody+1: %v", err)
	}
	if err := from.Send(1, 0, nil, make([]int, MaxFiles+1)...); err == nil || !strings.Contains(err.Error(), "descriptors") {
		t.Errorf("MaxFiles+1 descriptors: %v", err)
	}
	if err := errors.Join(from.Send(9, 0, nil), from.Flush()); err != nil {
		t.Fatal(err)
	}
	if r, err := to.Receive(); err != nil || r.Kind != 9 {
		t.Fatalf("the next record: %+v, %v", r, err)
	}
}

func TestCloseEndsCalls(t *testing.T) {
	leaks(t)
	from, to := streams(t)
	received := make(chan error, 1)
	// ends with Close
	go func() { _, err := to.Receive(); received <- err }()
	full := make(chan error, 1)
	// ends with Close
	go func() {
		for {
			if err := to.Send(1, 0, make([]byte, batchLen)); err != nil {
				full <- err
				return
			}
		}
	}()
	_ = to.Close()
	if err := <-received; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Receive: %v, want net.ErrClosed", err)
	}
	if err := <-full; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Send: %v, want net.ErrClosed", err)
	}
	if _, err := to.Receive(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Receive of what is closed: %v, want net.ErrClosed", err)
	}
	if _, err := from.Receive(); err == nil {
		t.Error("the other end does not end")
	}
}

// Descriptors that are too many for the kernel wait until some were taken.
func TestTooManyOnTheWay(t *testing.T) {
	full := fmt.Errorf("sendmsg: %w", unix.ETOOMANYREFS)
	tries, rights := 0, [][]byte(nil)
	s := &sender{write: func(p, r []byte) (int, error) {
		if tries++; tries < 4 {
			return 0, full
		}
		rights = append(rights, r)
		return min(len(p), 10), nil
	}}
	if err := errors.Join(s.send(1, 2, []byte("of three pieces"), []int{5, 6}), s.flush()); err != nil {
		t.Fatal(err)
	}
	if len(rights) != 3 || !bytes.Equal(rights[0], unix.UnixRights(5, 6)) || rights[1] != nil || rights[2] != nil {
		t.Errorf("descriptors were written %d times: %x", len(rights), rights)
	}

	s = &sender{write: func(p, r []byte) (int, error) { return 0, full }}
	past := time.Now().Add(20 * time.Millisecond)
	s.until.Store(&past)
	if err := errors.Join(s.send(1, 2, nil, []int{5}), s.flush()); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("until the deadline: %v", err)
	}
	s = &sender{write: func(p, r []byte) (int, error) { return 0, full }}
	s.close()
	if err := errors.Join(s.send(1, 2, nil, []int{5}), s.flush()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("of a stream that is closed: %v", err)
	}
}

// Bodies that are recycled are those of later records; Ready tells whether one has come.
func TestRecycledBodiesAreUsedAgain(t *testing.T) {
	from, to := streams(t)
	bodies := [][]byte{[]byte("first"), []byte("second"), bytes.Repeat([]byte("long"), spareLen), nil, []byte("last")}
	for _, b := range bodies {
		if err := from.Send(1, 0, b); err != nil {
			t.Fatal(err)
		}
	}
	if to.Ready() {
		t.Error("a record is ready of which nothing was read")
	}
	if err := from.Flush(); err != nil {
		t.Fatal(err)
	}
	var room *byte
	for i, want := range bodies {
		if ready := to.Ready(); ready != (i > 0) {
			t.Errorf("record %d is ready: %v", i, ready)
		}
		r, err := to.Receive()
		if err != nil || !bytes.Equal(r.Body, want) {
			t.Fatalf("record %d is %q, want %q (%v)", i, r.Body, want, err)
		}
		if cap(r.Body) == spareLen {
			at := &r.Body[:1][0]
			if i > 0 && at != room {
				t.Errorf("record %d has room of its own", i)
			}
			room = at
		}
		some := []Record{r}
		if to.Recycle(some); some[0].Body != nil {
			t.Error("a record that was given back has a body")
		}
	}
	if to.Ready() {
		t.Error("there is one more record")
	}
	to.Recycle(make([]Record, 2*maxSpares))
	many := make([]Record, 2*maxSpares)
	for i := range many {
		many[i].Body = make([]byte, 1, spareLen)
	}
	if to.Recycle(many); len(to.receiving.spares.all) != maxSpares {
		t.Errorf("%d bodies are kept", len(to.receiving.spares.all))
	}
}
