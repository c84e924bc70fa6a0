package passing

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// record returns the bytes of a record.
func record(kind uint8, files int, body string) []byte {
	return append(appendHeader(nil, kind, 0, files, []byte(body)), body...)
}

// corrupt returns b with the byte at i changed.
func corrupt(b []byte, i int) []byte {
	b = bytes.Clone(b)
	b[i] ^= 0x40
	return b
}

func TestWhatIsNoRecord(t *testing.T) {
	good := record(1, 0, "body")
	for _, c := range []struct {
		name  string
		sent  []byte
		files int
		want  string
	}{
		{"another magic", corrupt(good, 0), 0, "13e1 is not the start"},
		{"another version", append([]byte{0x53, 0xE2}, good[2:]...), 0, "version 2 of the framing, not 1"},
		{"a kind that was changed", corrupt(good, 2), 0, "checksum"},
		{"a lane that was changed", corrupt(good, 3), 0, "checksum"},
		{"a checksum that was changed", corrupt(good, checkAt), 0, "checksum"},
		{"a body that was changed", corrupt(good, headerLen), 0, "checksum"},
		{"a body that is too long", append([]byte{0x53, 0xE1, 1, 0, 0, 0, 1, 0, 0, 1}, make([]byte, 4)...), 0, "16777217 bytes"},
		{"more descriptors than a message has", append([]byte{0x53, 0xE1, 1, 0, 0, 254}, make([]byte, 8)...), 0, "254 descriptors"},
		{"descriptors that did not come", record(1, 3, "body"), 2, "2 of a record's 3"},
		{"descriptors that came in spite of a wrong checksum", corrupt(record(1, 3, "body"), headerLen), 3, "checksum"},
		{"HTTP", []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), 0, "4745 is not"},
	} {
		t.Run(c.name, func(t *testing.T) {
			leaks(t)
			a, b := pair(t)
			to := New(b)
			defer to.Close()
			fds := pipes(t, c.files)
			var rights []byte
			if len(fds) > 0 {
				rights = unix.UnixRights(fds...)
			}
			if _, _, err := a.WriteMsgUnix(c.sent, rights, nil); err != nil {
				t.Fatal(err)
			}
			r, err := to.Receive()
			if !errors.Is(err, ErrBroken) || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("Receive: %v, want ErrBroken with %q", err, c.want)
			}
			if r.Body != nil || r.Files != nil {
				t.Errorf("with the error came %+v", r)
			}
			_, _ = a.Write(good)
			if _, again := to.Receive(); again != err {
				t.Errorf("the next record: %v, want the same error", again)
			}
		})
	}
}

// Descriptors of no record are bounded, and closed in the end.
func TestDescriptorsOfNoRecord(t *testing.T) {
	leaks(t)
	a, b := pair(t)
	to := New(b)
	defer to.Close()
	fd := pipes(t, 1)[0]
	rights := unix.UnixRights(slices.Repeat([]int{fd}, MaxFiles)...)
	last := record(1, 0, "with many that are nobody's")
	for range 3 {
		_, _, err := a.WriteMsgUnix(last[:1], rights, nil)
		if err != nil {
			t.Fatal(err)
		}
		last = last[1:]
	}
	_, err := to.Receive()
	if !errors.Is(err, ErrBroken) || !strings.Contains(err.Error(), "of no record") {
		t.Fatalf("Receive: %v, want ErrBroken", err)
	}
}

func TestDescriptorsThatAreLeftAreClosed(t *testing.T) {
	leaks(t)
	a, b := pair(t)
	to := New(b)
	fds := pipes(t, 3)
	if _, _, err := a.WriteMsgUnix(record(1, 1, "takes one"), unix.UnixRights(fds...), nil); err != nil {
		t.Fatal(err)
	}
	r, err := to.Receive()
	if err != nil || len(r.Files) != 1 || inode(t, r.Files[0]) != inode(t, fds[0]) {
		t.Fatalf("Receive: %+v, %v", r, err)
	}
	_ = to.Close()
	if inode(t, r.Files[0]) != inode(t, fds[0]) { // what was taken is the caller's
		t.Error("what was received is closed")
	}
	closeAll(r.Files)
}

// What this process cannot have is an error, not a record without it.
func TestAProcessThatCanHaveNoMoreDescriptors(t *testing.T) {
	leaks(t)
	a, b := pair(t)
	to := New(b)
	defer to.Close()
	fds := pipes(t, 40)
	if _, _, err := a.WriteMsgUnix(record(1, 40, "body"), unix.UnixRights(fds...), nil); err != nil {
		t.Fatal(err)
	}
	restore := limit(t, uint64(slices.Max(fds)+10))
	_, err := to.Receive()
	restore()
	if !errors.Is(err, ErrBroken) || !strings.Contains(err.Error(), "RLIMIT_NOFILE") {
		t.Fatalf("Receive: %v, want ErrBroken for want of descriptors", err)
	}
}

// limit sets how many descriptors the process may have, until the function it returns is
// called.
func limit(t *testing.T, n uint64) (restore func()) {
	t.Helper()
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: was.Max}); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
			t.Fatal(err)
		}
	}
}

// source is what a receiver reads: b with descriptors at its first byte, in pieces.
type source struct {
	b     []byte
	files []int
	piece int
}

func (s *source) read(p []byte) (int, []int, error) {
	if len(s.b) == 0 {
		return 0, nil, io.EOF
	}
	n := copy(p, s.b[:min(s.piece, len(s.b))])
	files := s.files
	s.b, s.files = s.b[n:], nil
	return n, files, nil
}

// all receives until there is an error.
func all(s *source) (got []Record, r *receiver, err error) {
	r = &receiver{read: s.read}
	for {
		rec, err := r.receive()
		if err != nil {
			return got, r, err
		}
		got = append(got, rec)
	}
}

func TestAStreamThatIsCutAnywhere(t *testing.T) {
	pieces := [][]byte{record(1, 2, "first"), record(2, 0, ""), record(3, 1, "the third")}
	whole := bytes.Join(pieces, nil)
	ends := map[int]int{0: 0} // where a record ends: how many have come
	for i, n := 0, 0; i < len(pieces); i++ {
		n += len(pieces[i])
		ends[n] = i + 1
	}
	records := 0
	for cut := range len(whole) + 1 {
		n, between := ends[cut]
		records = max(records, n)
		want := io.ErrUnexpectedEOF
		if between {
			want = io.EOF
		}
		for piece := 1; piece <= cut+1; piece++ {
			got, _, err := all(&source{whole[:cut], []int{100001, 100002, 100003}, piece})
			if err != want || len(got) != records {
				t.Fatalf("%d bytes in pieces of %d: %d records, %v, want %d, %v", cut, piece, len(got), err, records, want)
			}
			for i, r := range got {
				if int(r.Kind) != i+1 || !bytes.Equal(record(r.Kind, len(r.Files), string(r.Body)), pieces[i]) {
					t.Fatalf("%d bytes in pieces of %d: record %d is %+v", cut, piece, i, r)
				}
			}
			if len(got) == 3 && (!slices.Equal(got[0].Files, []int{100001, 100002}) || !slices.Equal(got[2].Files, []int{100003})) {
				t.Fatalf("descriptors in pieces of %d: %v and %v", piece, got[0].Files, got[2].Files)
			}
		}
	}
}

// What is received says again what came, whatever pieces that came in.
func FuzzReceive(f *testing.F) {
	whole := append(record(1, 2, "first"), record(2, 0, "")...)
	f.Add(whole, uint8(2), uint16(3))
	f.Add(whole[:len(whole)-1], uint8(0), uint16(1000))
	f.Add(corrupt(whole, 9), uint8(5), uint16(1))
	f.Add(record(9, 0, strings.Repeat("long", readLen)), uint8(0), uint16(40000))
	f.Fuzz(func(t *testing.T, b []byte, files uint8, piece uint16) {
		fds := make([]int, files)
		for i := range fds {
			fds[i] = 1 << 20 * (i + 1) // none that there is
		}
		got, r, err := all(&source{b, fds, len(b) + 1})
		parts, _, perr := all(&source{b, fds, int(piece) + 1})
		if len(got) != len(parts) || err.Error() != perr.Error() {
			t.Fatalf("whole: %d records, %v; in pieces of %d: %d, %v", len(got), err, int(piece)+1, len(parts), perr)
		}
		var again []byte
		taken := 0
		for i, rec := range got {
			if !bytes.Equal(rec.Body, parts[i].Body) || !slices.Equal(rec.Files, parts[i].Files) {
				t.Fatalf("record %d is another one in pieces of %d", i, int(piece)+1)
			}
			again = append(appendHeader(again, rec.Kind, rec.Lane, len(rec.Files), rec.Body), rec.Body...)
			taken += len(rec.Files)
		}
		if !bytes.HasPrefix(b, again) {
			t.Fatalf("%x was received as %x", b, again)
		}
		if taken+len(r.files) != len(fds) && len(b) > 0 {
			t.Fatalf("of %d descriptors %d were given and %d are left", len(fds), taken, len(r.files))
		}
	})
}
