package loop

// A life is where a connection is between accept and its end.
type life uint8

const (
	free     life = iota // the record is not in use
	opening              // an Opener is at it; the handler does not know it
	entering             // the Opener is done: open when what it wrote is sent
	open                 // Handler.Open was called
	leaving              // open, and moves to another loop at the end of the step
	closing              // Handler.Close, or Opener.End, is due at the end of the step; then flushing
	cutting              // the same; then free, or flushing if there is a last word
	flushing             // the handler has done with it: what is queued is sent
	waiting              // our end of stream was sent: for the peer's
	dropping             // free at the end of the step
)

// lives is what a life is called, and what may come after it.
var lives = [...]struct {
	name string
	next lifeSet
}{
	free:     {"free", setOf(opening, open)},
	opening:  {"opening", setOf(entering, closing, cutting)},
	entering: {"entering", setOf(opening, open, closing, cutting)},
	open:     {"open", setOf(leaving, closing, cutting, free)},
	leaving:  {"leaving", setOf(closing, cutting)},
	closing:  {"closing", setOf(cutting, flushing, free)},
	cutting:  {"cutting", setOf(flushing, free)},
	flushing: {"flushing", setOf(waiting, dropping, free)},
	waiting:  {"waiting", setOf(dropping, free)},
	dropping: {"dropping", setOf(free)},
}

func (x life) String() string {
	if int(x) < len(lives) {
		return lives[x].name
	}
	return "?"
}

// A lifeSet is a set of lives.
type lifeSet uint16

func setOf(all ...life) (s lifeSet) {
	for _, x := range all {
		s |= 1 << x
	}
	return s
}

const (
	toldLives   lifeSet = 1<<free | 1<<flushing | 1<<waiting | 1<<dropping // nobody is to be told of the end any more
	livingSet   lifeSet = 1<<opening | 1<<entering | 1<<open | 1<<leaving  // may be written to
	unopenedSet lifeSet = 1<<opening | 1<<entering                         // the handler does not know it
	readingSet  lifeSet = 1<<opening | 1<<open | 1<<flushing | 1<<waiting  // is read from
	dyingSet    lifeSet = 1<<closing | 1<<cutting | 1<<dropping            // is ended at the end of the step
	cutSet      lifeSet = 1<<cutting | 1<<dropping                         // and at once
	lingerSet   lifeSet = 1<<flushing | 1<<waiting                         // closes gracefully
)

func (x life) in(s lifeSet) bool { return s>>x&1 != 0 }

// become changes the life of a record.
func (r *record) become(to life) {
	if checked && !to.in(lives[r.life].next) {
		panic("loop: a connection that is " + r.life.String() + " becomes " + to.String())
	}
	r.life = to
}

// flow is what is between a connection and its poller: what it waits for there, and
// why it does not wait for input.
type flow uint8

const (
	wantRead  flow = 1 << iota // the poller is asked for input
	wantWrite                  // the poller is asked for room: output is blocked
	linked                     // the bytes go through a Link
	holding                    // by HoldData: read, but not given
	paused                     // by PauseRead
	overSoft                   // over SoftOutbound
	heldFull                   // holds a whole read buffer
	peerEnded                  // the peer's end of stream was read

	interests = wantRead | wantWrite
	mute      = paused | overSoft | heldFull // reasons not to read, for now
)

// due is what is to be done for a connection, and on which of the loop's lists it
// is for that.
type due uint8

const (
	inDirty    due = 1 << iota // in Loop.dirty: to be flushed
	inDeferred                 // in Loop.deferred: to be settled
	inSlow                     // in Loop.slow: to be looked at
	redeliver                  // give the carried bytes again, at the end of the step
	drained                    // call Handler.Drained, at the end of the step
	awaited                    // by AwaitDrained: drained is due when nothing is queued
	ready                      // a Link said so: serve it at the end of the step

	listed = inDirty | inDeferred | inSlow
)
