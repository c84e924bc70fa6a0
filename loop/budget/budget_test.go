package budget

import (
	"sync"
	"sync/atomic"
	"testing"
)

// owner notes what it is told. Its Fallen leads to Settle when the test says so.
type owner struct {
	paused, exceeded int
	fallen           atomic.Int64
}

func (o *owner) Pause()    { o.paused++ }
func (o *owner) Fallen()   { o.fallen.Add(1) }
func (o *owner) Exceeded() { o.exceeded++ }

func newAccount(most int) (*Account, *owner, *atomic.Int64) {
	o, total := &owner{}, &atomic.Int64{}
	a := &Account{}
	a.Init(o, most, total)
	return a, o, total
}

func TestWorkPausesAboveHalf(t *testing.T) {
	a, o, total := newAccount(1000)
	if !a.Work(500) || o.paused != 0 {
		t.Fatalf("half of the bound paused reading %d times, want none", o.paused)
	}
	a.Work(1)
	a.Work(200)
	if o.paused != 1 || !isPaused(a) || total.Load() != 701 {
		t.Fatalf("paused %d times with %d bytes, want once with 701", o.paused, total.Load())
	}
	a.Done(400)
	if n := o.fallen.Load(); n != 0 {
		t.Fatalf("Fallen was called %d times at 301 bytes, want not before a quarter", n)
	}
	a.Done(100)
	if n := o.fallen.Load(); n != 1 || !a.Settle() || isPaused(a) {
		t.Fatalf("Fallen was called %d times at 201 bytes, want once, and reading to go on", n)
	}
	a.Done(201)
	if !a.Idle() || total.Load() != 0 || o.fallen.Load() != 1 {
		t.Errorf("%d bytes are held at the end, want none", total.Load())
	}
}

// What waits for the client must not keep it from sending the rest.
func TestWhatWaitsForTheClientDoesNotPause(t *testing.T) {
	a, o, _ := newAccount(1000)
	a.Charge(900)
	if o.paused != 0 {
		t.Fatal("a message that is not complete paused reading")
	}
	a.Work(50)
	if o.paused != 1 {
		t.Fatal("work above half of the bound did not pause reading")
	}
	a.Done(50) // 900 are held, none of which drains
	if o.fallen.Load() != 1 || !a.Settle() {
		t.Fatal("reading does not go on when nothing drains")
	}
	a.Release(900)
	if !a.Idle() {
		t.Errorf("%d bytes are held, want none", a.Held())
	}
}

func TestWhatDoesNotFitEndsTheConnection(t *testing.T) {
	a, o, total := newAccount(1000)
	a.Charge(600)
	a.Work(300)
	if a.Charge(101) || o.exceeded != 1 || a.Held() != 900 {
		t.Fatalf("a charge beyond the bound: told %d times, %d held; want once and 900", o.exceeded, a.Held())
	}
	if a.Charge(1) || a.Work(1) || o.exceeded != 1 {
		t.Fatal("charged after the end")
	}
	a.End()
	a.Release(600) // late: End has seen to it
	if total.Load() != 300 {
		t.Fatalf("%d bytes count after the end, want the 300 that are worked on", total.Load())
	}
	a.Done(300)
	if total.Load() != 0 {
		t.Errorf("%d bytes count when all is done, want none", total.Load())
	}
	var gone *Account
	gone.Release(1)
	gone.Done(1)
	gone.End()
	if gone.Charge(1) || gone.Work(1) || gone.Held() != 0 || isPaused(gone) || !gone.Over() {
		t.Error("a connection that is gone has an account")
	}
}

// Whatever the order of charges and of those who are done, a paused account is
// told of its fall: nobody waits for ever.
func TestNoFallIsMissed(t *testing.T) {
	a, o, total := newAccount(100)
	work := make(chan int, 8)
	var done sync.WaitGroup
	for range 4 {
		// ends when work is closed
		done.Go(func() {
			for n := range work {
				a.Done(n)
			}
		})
	}
	settled := int64(0)
	for range 20_000 {
		for isPaused(a) {
			if o.fallen.Load() > settled {
				settled++
				a.Settle()
			}
		}
		a.Work(13)
		work <- 13
	}
	close(work)
	done.Wait()
	if total.Load() != 0 || o.exceeded != 0 || o.paused == 0 {
		t.Errorf("%d bytes at the end, %d times exceeded, %d times paused; want 0, 0 and some", total.Load(), o.exceeded, o.paused)
	}
}

func isPaused(a *Account) bool { return a != nil && a.state.Load() != flowing }

// What a program does because of a client has that wait, and never ends it.
func TestBurdenPausesAndEndsNobody(t *testing.T) {
	a, o, total := newAccount(1000)
	if n := a.Burden(600); n != 600 || o.paused != 1 {
		t.Fatalf("Burden(600) = %d with %d pauses, want 600 and one", n, o.paused)
	}
	if n := a.Burden(600); n != 150 || total.Load() != 750 {
		t.Fatalf("Burden(600) = %d with %d held, want the 150 up to three quarters", n, total.Load())
	}
	if n := a.Burden(1); n != 0 || o.exceeded != 0 {
		t.Fatalf("Burden(1) = %d, and the owner was told %d times that it is too much", n, o.exceeded)
	}
	if !a.Work(250) {
		t.Fatal("the client's quarter does not fit")
	}
	a.Done(600)
	a.Done(150)
	a.Done(250)
	if o.fallen.Load() != 1 || !a.Settle() || !a.Idle() {
		t.Errorf("%d bytes are held at the end", total.Load())
	}
	a.End()
	if (*Account)(nil).Burden(1)+a.Burden(1) != 0 {
		t.Error("an account that has ended counts")
	}
}

// What can be done without is not kept where there is no room, and nothing else comes
// of that.
func TestWhatCanBeDoneWithoutEndsNothing(t *testing.T) {
	a, o, total := newAccount(1000)
	if !a.Charge(900) || !a.Spare(100) || a.Spare(1) || a.Held() != 1000 || o.exceeded != 0 || a.Over() {
		t.Fatalf("%d bytes are held and %d charges were too many, want 1000 and none", a.Held(), o.exceeded)
	}
	a.Release(100)
	if !a.Spare(50) || o.paused != 0 {
		t.Fatalf("%d bytes are held and %d pauses, want 950 and none", a.Held(), o.paused)
	}
	a.End()
	if a.Spare(1) || (*Account)(nil).Spare(1) || total.Load() != 0 {
		t.Fatalf("%d bytes are held when it has ended", total.Load())
	}
}
