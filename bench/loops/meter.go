package main

import (
	"cmp"
	"fmt"
	"maps"
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/sioedge/sioedge/loop"
)

// A usage is what a process or a thread has used.
type usage struct {
	cpu      time.Duration
	switches int64 // of threads, voluntary or not
}

func (u usage) minus(v usage) usage { return usage{u.cpu - v.cpu, u.switches - v.switches} }

func (u usage) plus(v usage) usage { return usage{u.cpu + v.cpu, u.switches + v.switches} }

// rusageThread is RUSAGE_THREAD of Linux.
const rusageThread = 1

// ofThread is what the calling thread has used; nothing but on Linux.
func ofThread() usage {
	if runtime.GOOS != "linux" {
		return usage{}
	}
	return used(rusageThread)
}

func ofProcess() usage { return used(syscall.RUSAGE_SELF) }

func used(who int) usage {
	var r syscall.Rusage
	if syscall.Getrusage(who, &r) != nil {
		return usage{}
	}
	return usage{time.Duration(r.Utime.Nano() + r.Stime.Nano()), int64(r.Nvcsw) + int64(r.Nivcsw)}
}

// A reading is all that is counted, from the start.
type reading struct {
	usage
	at     time.Time
	waited time.Duration // for locks
	places map[string]int64
	loops  loop.Stats
}

// read reads everything: the loops' own counts, which wakes them, at the side that is not
// measured.
func (b *bed) read(end bool) (r reading) {
	if !end {
		st := b.srv.Engine().Stats()
		defer func() { r.loops = st }()
	} else {
		defer func() { r.loops = b.srv.Engine().Stats() }()
	}
	s := []metrics.Sample{{Name: "/sync/mutex/wait/total:seconds"}}
	metrics.Read(s)
	r = reading{usage: ofProcess(), at: time.Now(), waited: time.Duration(s[0].Value.Float64() * float64(time.Second)), places: places()}
	for _, d := range b.drivers {
		r.usage = r.minus(d.used)
	}
	return r
}

// places counts the waits for locks by where they were given back.
func places() map[string]int64 {
	var all []runtime.BlockProfileRecord
	for n, ok := runtime.MutexProfile(nil); !ok; n, ok = runtime.MutexProfile(all) {
		all = make([]runtime.BlockProfileRecord, n+50)
		if n, ok = runtime.MutexProfile(all); ok {
			all = all[:n]
			break
		}
	}
	counts := map[string]int64{}
	for i := range all {
		counts[place(all[i].Stack())] += all[i].Count
	}
	return counts
}

// place names the innermost functions of a stack that are no lock's own.
func place(stack []uintptr) string {
	var names []string
	for frames := runtime.CallersFrames(stack); len(names) < 2; {
		f, more := frames.Next()
		name := strings.TrimPrefix(f.Function, "github.com/sioedge/sioedge/")
		if !strings.HasPrefix(name, "sync.") && !strings.HasPrefix(name, "internal/sync.") && name != "runtime.unlock" && name != "runtime.unlockWithRank" && name != "" {
			names = append(names, name)
		}
		if !more {
			break
		}
	}
	return strings.Join(names, " < ")
}

// A figure is what some units of work have taken.
type figure struct {
	units, rate float64
	cpu         float64 // µs a unit
	// of a thousand units
	locks, waited                 float64 // waited: µs
	wakes, turns, sends, switches float64
	places                        map[string]int64
}

// since returns what n units have taken.
func (r reading) since(before reading, n int) figure {
	u, k := r.minus(before.usage), float64(n)/1000
	f := figure{units: float64(n), rate: float64(n) / r.at.Sub(before.at).Seconds(), cpu: micros(u.cpu) / float64(n), waited: micros(r.waited-before.waited) / k, switches: float64(u.switches) / k, places: map[string]int64{}}
	for name, c := range r.places {
		if c -= before.places[name]; c > 0 {
			f.places[name] = c
			f.locks += float64(c) / k
		}
	}
	f.wakes = float64(r.loops.Wakes-before.loops.Wakes) / k
	f.turns = float64(r.loops.Turns-before.loops.Turns) / k
	f.sends = float64(r.loops.Writes-before.loops.Writes) / k
	return f
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

// median returns figures of which each is the median, with the places of all.
func median(all []figure) figure {
	mid := func(of func(*figure) float64) float64 {
		v := make([]float64, len(all))
		for i := range all {
			v[i] = of(&all[i])
		}
		slices.Sort(v)
		return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
	}
	m := figure{places: map[string]int64{}}
	for _, f := range all {
		m.units += f.units
		for name, n := range f.places {
			m.places[name] += n
		}
	}
	m.rate, m.cpu = mid(func(f *figure) float64 { return f.rate }), mid(func(f *figure) float64 { return f.cpu })
	m.locks, m.waited = mid(func(f *figure) float64 { return f.locks }), mid(func(f *figure) float64 { return f.waited })
	m.wakes, m.turns = mid(func(f *figure) float64 { return f.wakes }), mid(func(f *figure) float64 { return f.turns })
	m.sends, m.switches = mid(func(f *figure) float64 { return f.sends }), mid(func(f *figure) float64 { return f.switches })
	return m
}

// worst returns the places at which most waits end, with how many of a thousand units.
func (f figure) worst(most int) (lines []string) {
	names := slices.SortedFunc(maps.Keys(f.places), func(a, b string) int {
		return cmp.Or(cmp.Compare(f.places[b], f.places[a]), strings.Compare(a, b))
	})
	for _, name := range names[:min(most, len(names))] {
		lines = append(lines, fmt.Sprintf("%8.2f  %s", float64(f.places[name])/f.units*1000, name))
	}
	return lines
}
