package loop

import (
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// maxLoops is what eight bits of a file descriptor's entry can name.
const maxLoops = 256

// Options are the settings of an Engine. The zero value is good.
type Options struct {
	// Loops is how many event loops run, at most 256. Zero: GOMAXPROCS.
	Loops int

	// KeepProcessors has loops that have something to do keep a processor of Go's
	// each while they sleep for a moment, on Linux: what wakes them costs a third
	// less. GOMAXPROCS must then be larger than the number of all such loops in the
	// process by what other goroutines are to run on; sioedge doubles it.
	KeepProcessors bool

	// ReadBuffer is the size in bytes of each loop's one read buffer, and so
	// the most that one read returns. Zero: 64 KiB.
	ReadBuffer int

	// MaxOutbound bounds the bytes held for what is queued for one peer, the queue
	// itself included; a connection that passes it is closed with ErrQueueFull,
	// however fast it takes them. A single write larger than this is allowed when
	// nothing is queued, and then does not count. Zero: 16 MiB, or SoftOutbound if
	// that is more.
	MaxOutbound int

	// SoftOutbound is how many such bytes make the loop stop reading from that
	// peer until they are under half of it, and ask whether it takes any. Zero:
	// 256 KiB, or a quarter of MaxOutbound if that is less.
	SoftOutbound int

	// SlowAfter is how long a peer for which more than SoftOutbound is queued may
	// take nothing before it is closed with ErrSlowPeer. Whatever the kernel takes
	// for it, and whatever it acknowledges, counts as taken. Zero: 10 s.
	SlowAfter time.Duration

	// MaxConns bounds the connections of all loops; at the bound accepting
	// pauses. Zero: RLIMIT_NOFILE less 64 or 5 %, whichever is more.
	MaxConns int

	// UserTimeout is TCP_USER_TIMEOUT, how long sent data may stay
	// unacknowledged before the kernel gives the peer up (RFC 5482). Only on
	// Linux. Zero: 30 s. Negative: the kernel's own.
	UserTimeout time.Duration

	// NotSentLowat is TCP_NOTSENT_LOWAT in bytes: how much of one connection's
	// unsent data the kernel takes from us. Without it a peer that has stopped
	// reading holds megabytes of kernel memory. Zero: 16 KiB. Negative: off.
	NotSentLowat int

	// SendBuffer and RecvBuffer are SO_SNDBUF and SO_RCVBUF in bytes. Zero:
	// the kernel tunes them, which is nearly always better.
	SendBuffer, RecvBuffer int

	// LingerTimeout is how long a connection that was closed gracefully waits
	// for its peer to take what is queued (counted from the last progress), and
	// then for its peer's end. Zero: 2 s.
	LingerTimeout time.Duration

	// OpeningTimeout is how long a connection may be with an Opener. Zero: 10 s.
	OpeningTimeout time.Duration

	// OpeningBytes is how many bytes of a peer are kept that an Opener has not
	// consumed. Zero: 16 KiB.
	OpeningBytes int

	// MaxOpening bounds the connections of all loops that are with an Opener;
	// one more is closed at once. Zero: a quarter of MaxConns, or 1024 if that is
	// more, but not more than MaxConns.
	MaxOpening int

	// Logger gets what an operator must know: panics, listeners that cannot
	// accept. Nil: slog.Default().
	Logger *slog.Logger
}

func (o Options) withDefaults() (Options, error) {
	switch {
	case o.Loops < 0 || o.Loops > maxLoops:
		return o, fmt.Errorf("loop: %d loops: want 1 to %d", o.Loops, maxLoops)
	case o.ReadBuffer < 0 || o.MaxOutbound < 0 || o.SoftOutbound < 0 || o.MaxConns < 0 || o.LingerTimeout < 0 || o.SlowAfter < 0,
		o.OpeningTimeout < 0 || o.OpeningBytes < 0 || o.MaxOpening < 0:
		return o, fmt.Errorf("loop: a negative size, count or timeout in %+v", o)
	}
	if o.SoftOutbound > o.MaxOutbound && o.MaxOutbound > 0 {
		return o, fmt.Errorf("loop: SoftOutbound is %d, more than MaxOutbound, %d", o.SoftOutbound, o.MaxOutbound)
	}
	setDefault(&o.Loops, min(runtime.GOMAXPROCS(0), maxLoops))
	setDefault(&o.ReadBuffer, 64<<10)
	setDefault(&o.MaxOutbound, max(16<<20, o.SoftOutbound))
	setDefault(&o.SoftOutbound, max(min(256<<10, o.MaxOutbound/4), 1)) // reading goes on below half of it
	setDefault(&o.SlowAfter, 10*time.Second)
	setDefault(&o.MaxConns, connsByRlimit())
	setDefault(&o.MaxOpening, min(max(o.MaxConns/4, 1024), o.MaxConns))
	setDefault(&o.OpeningTimeout, openingTimeout)
	setDefault(&o.OpeningBytes, openingBytes)
	setDefault(&o.UserTimeout, 30*time.Second)
	setDefault(&o.NotSentLowat, 16<<10)
	setDefault(&o.LingerTimeout, 2*time.Second)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o, nil
}

func setDefault[T comparable](v *T, to T) {
	var zero T
	if *v == zero {
		*v = to
	}
}

// connsByRlimit leaves descriptors for files, the internal server and outgoing
// connections.
func connsByRlimit() int {
	var lim unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &lim) != nil {
		return 960
	}
	n := int(min(uint64(lim.Cur), 1<<24))
	return max(n-max(64, n/20), 1)
}
