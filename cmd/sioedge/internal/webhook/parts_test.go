package webhook

import (
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/action"
)

// Ids grow, whatever the clock does, and are like no other's, also of another process at
// the same time.
func TestIDs(t *testing.T) {
	a, b := newIDs(), newIDs()
	now := time.UnixMilli(1764000000123)
	var all []string
	for i := range 5000 {
		at := now
		if i%7 == 3 {
			at = now.Add(-time.Hour) // the clock was set back
		}
		all = append(all, string(a.append(nil, at)))
	}
	if !slices.IsSorted(all) {
		t.Error("ids do not grow")
	}
	for range 5000 {
		all = append(all, string(b.append(nil, now)))
	}
	slices.Sort(all)
	if n := len(slices.Compact(all)); n != 10000 {
		t.Errorf("there are %d different ids of 10000", n)
	}
	id := all[0]
	ms := uint64(0)
	for _, c := range id[:10] {
		ms = ms<<5 | uint64(strings.IndexRune(action.IDDigits, c))
	}
	if len(id) != 26 || ms != 1764000000123 {
		t.Errorf("%s has %d bytes and says %d ms", id, len(id), ms)
	}
}

func TestIDsOfManyGoroutines(t *testing.T) {
	g, now := newIDs(), time.Now()
	var mu sync.Mutex
	seen := map[string]bool{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 500 {
				id := string(g.append(nil, now))
				mu.Lock()
				seen[id] = true
				mu.Unlock()
			}
		})
	}
	if wg.Wait(); len(seen) != 4000 {
		t.Errorf("there are %d different ids of 4000", len(seen))
	}
}

// A store that is full takes nothing until it is half empty.
func TestStoreIsFullUntilHalfEmpty(t *testing.T) {
	s := &store{}
	s.most.Store(100)
	if !s.take(60) || !s.take(40) || s.take(1) {
		t.Fatal("100 of 100 do not fit, or 101 do")
	}
	if s.give(40); s.take(1) { // 60
		t.Error("it takes more before it is half empty")
	}
	empty := s.wait()
	if empty == nil {
		t.Fatal("there is nothing to wait for")
	}
	s.give(20) // 40
	select {
	case <-empty:
	default:
		t.Error("who waits is not told")
	}
	if s.wait() != nil || !s.take(60) {
		t.Error("it takes nothing although it was half empty")
	}
	s.give(100)
	if !s.take(1000) || s.take(1) {
		t.Error("what is larger than the bound does not fit alone, or something fits beside it")
	}
	s.give(1000)
	if used := s.used.Load(); used != 0 || !s.take(1) {
		t.Errorf("%d are used of an empty one", used)
	}
}

// Slots go to who waits first, but to urgent ones before.
func TestSlots(t *testing.T) {
	s, never := &slots{most: 1}, make(chan struct{})
	if !s.take(false, never) {
		t.Fatal("a free slot is not given")
	}
	got := make(chan string)
	wait := func(name string, urgent bool, n int) {
		go func() { s.take(urgent, never); got <- name }()
		for _, waiting := s.count(); waiting != n; _, waiting = s.count() {
			time.Sleep(time.Millisecond)
		}
	}
	wait("first", false, 1)
	wait("second", false, 2)
	wait("urgent", true, 3)
	end := make(chan struct{})
	close(end)
	if s.take(false, end) {
		t.Error("a slot is given that is not free")
	}
	for _, want := range []string{"urgent", "first", "second"} {
		s.give()
		if name := <-got; name != want {
			t.Errorf("%s got a slot, want %s", name, want)
		}
	}
	s.give()
	if taken, waiting := s.count(); taken != 0 || waiting != 0 {
		t.Errorf("%d are taken, %d wait", taken, waiting)
	}
	s.take(false, never)
	wait("more", false, 1)
	s.resize(2)
	<-got
}

func TestPausesGrow(t *testing.T) {
	for tries, want := range map[int]time.Duration{1: firstPause, 2: 4 * firstPause, 3: 16 * firstPause, 9: maxPause, 1000: maxPause} {
		for range 100 {
			if d := pause(tries); d > want || d < want/2 {
				t.Fatalf("pause(%d) = %v, want from %v to %v", tries, d, want/2, want)
			}
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "0": 0, "-3": 0, "1e3": 0, "99999": maxRetryAfter, "99999999999999999999": 0,
		"Fri, 02 Jan 2026 03:04:25 GMT": 20 * time.Second, "Fri, 02 Jan 2026 03:04:00 GMT": 0, "Sat, 03 Jan 2026 03:04:00 GMT": maxRetryAfter,
	} {
		if d := retryAfter(text, now); d != want {
			t.Errorf("retryAfter(%q) = %v, want %v", text, d, want)
		}
	}
}

func TestTraceparent(t *testing.T) {
	good := "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for text, want := range map[string]string{good: good, "": "", good + "x": "", strings.ToUpper(good): "", strings.Replace(good, "b", "\n", 1): "", strings.Replace(good, "-", "_", 1): ""} {
		if got := traceparent(text); got != want {
			t.Errorf("traceparent(%q) = %q", text, got)
		}
	}
}

// An answer takes memory when it comes, not when it is announced.
func TestAnswersThatAreAnnounced(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 4 {
		resp := &http.Response{StatusCode: 200, ContentLength: 128 << 20, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(io.MultiReader(strings.NewReader("{}"), broken{}))}
		if a := read(resp, 256<<20); a.outcome != Broken {
			t.Errorf("the outcome is %v", a.outcome)
		}
	}
	if runtime.ReadMemStats(&after); after.TotalAlloc-before.TotalAlloc > 16<<20 {
		t.Errorf("answers of which little has come take %d MiB", (after.TotalAlloc-before.TotalAlloc)>>20)
	}
}
