// Package budget counts the bytes that are kept on behalf of one connection on
// the way in: what came and is not complete, what waits for somebody to handle
// it, what is kept as long as the connection is there. Whoever keeps something
// charges it, as it is really held (structures too), before it is copied, and
// releases it when it is done with it.
//
// There are two kinds of charges. Work drains by itself, as handlers return:
// above half of the bound reading from the client pauses until it has. All else
// waits for the client (the rest of a message) or stays with it (what it brought
// when it joined), and a pause would be no help. What does not fit ends the
// connection.
package budget

import "sync/atomic"

// An Owner is whose account it is. It has the client wait, or ends it.
type Owner interface {
	// Pause has nothing more read from the client. It is called on the loop,
	// within Work.
	Pause()
	// Fallen is called when reading may go on, by the goroutine that released
	// something. The owner has to call Settle, on its loop.
	Fallen()
	// Exceeded ends the connection: a charge did not fit. It is called on the
	// loop, within Charge or Work, once.
	Exceeded()
}

// An Account is one connection's. A nil Account is that of a connection that is
// gone: nothing can be charged to it. Charge, Spare, Work, Burden, Release, Settle and End belong
// to the owner's loop, all else to any goroutine.
type Account struct {
	// Immutable after Init.
	owner Owner
	most  int64
	total *atomic.Int64 // of all accounts

	kept  atomic.Int64 // by Charge
	work  atomic.Int64
	state atomic.Int32
	ended atomic.Bool
}

// The states of an Account.
const (
	flowing int32 = iota
	paused        // Pause was called
	falling       // and Fallen; Settle is due
)

// Init makes an account ready, with a bound in bytes. What it holds is counted
// in total too.
func (a *Account) Init(owner Owner, most int, total *atomic.Int64) {
	a.owner, a.most, a.total = owner, int64(most), total
}

// Charge counts n bytes that are about to be kept. If they do not fit, nothing
// is counted, the owner is told Exceeded, and it returns false: nothing may be
// kept.
func (a *Account) Charge(n int) bool { return a.charge(n, false) }

// Work is Charge for bytes that are kept until a handler is done with them,
// however long the client waits. It is ended by Done.
func (a *Account) Work(n int) bool {
	if !a.charge(n, true) {
		return false
	}
	a.press()
	return true
}

// Spare is Charge for what can be done without: if it does not fit, it is not counted,
// and false is all that comes of it.
func (a *Account) Spare(n int) bool {
	return a != nil && !a.ended.Load() && a.Held()+int64(n) <= a.most && a.charge(n, false)
}

// Burden is Work for what a program does because of the client, who cannot know how
// much it is: it has the client wait, but ends no connection. Of n bytes it counts
// what leaves a quarter of the bound to the client, and returns how many that are,
// for Done.
func (a *Account) Burden(n int) (counted int) {
	if a == nil || a.ended.Load() {
		return 0
	}
	counted = int(min(int64(n), a.most-a.most/4-a.Held()))
	if counted <= 0 {
		return 0
	}
	a.work.Add(int64(counted))
	a.total.Add(int64(counted))
	a.press()
	return counted
}

// press has the client wait if much is held.
func (a *Account) press() {
	if a.Held() > a.most/2 && a.state.CompareAndSwap(flowing, paused) {
		a.owner.Pause()
		a.fall() // some may have been released since
	}
}

func (a *Account) charge(n int, work bool) bool {
	if a == nil || a.ended.Load() {
		return false
	}
	if a.Held()+int64(n) > a.most { // nobody else adds
		a.ended.Store(true)
		a.owner.Exceeded()
		return false
	}
	if work {
		a.work.Add(int64(n))
	} else {
		a.kept.Add(int64(n))
	}
	a.total.Add(int64(n))
	return true
}

// Release ends a Charge, or a part of it.
func (a *Account) Release(n int) {
	if a == nil || n == 0 || a.ended.Load() {
		return
	}
	a.kept.Add(-int64(n))
	a.total.Add(-int64(n))
	a.fall()
}

// Done ends a Work, or a part of it.
func (a *Account) Done(n int) {
	if a == nil || n == 0 {
		return
	}
	a.work.Add(-int64(n))
	a.total.Add(-int64(n))
	a.fall()
}

// fall tells the owner of a paused account when it has fallen.
func (a *Account) fall() {
	if a.state.Load() == paused && a.low() && a.state.CompareAndSwap(paused, falling) {
		a.owner.Fallen()
	}
}

// low tells whether reading may go on: little is held, or nothing of it drains.
func (a *Account) low() bool { return a.work.Load() <= 0 || a.Held() <= a.most/4 }

// Settle answers Fallen: it tells whether reading goes on, which the owner has
// to see to. If not, Fallen follows.
func (a *Account) Settle() bool {
	a.state.Store(paused) // from here on a release looks at it again
	return a.low() && a.state.CompareAndSwap(paused, flowing)
}

// End is for the end of the connection: nothing can be charged any more, and
// what waited for the client counts as released. Work is still to be done with.
func (a *Account) End() {
	if a != nil {
		a.ended.Store(true)
		a.total.Add(-a.kept.Swap(0))
	}
}

// Held returns the bytes that are charged.
func (a *Account) Held() int64 {
	if a == nil {
		return 0
	}
	return a.kept.Load() + a.work.Load()
}

// Over tells whether a charge did not fit, or the connection has ended.
func (a *Account) Over() bool { return a == nil || a.ended.Load() }

// Idle tells whether nothing is held and nobody waits: the account may be
// forgotten.
func (a *Account) Idle() bool {
	return a.Held() == 0 && a.state.Load() == flowing && !a.ended.Load()
}
