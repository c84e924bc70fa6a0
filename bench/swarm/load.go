package swarm

import "time"

// load measures how much of its time a worker had to spare.
type load struct {
	idle        int64 // ns waiting since begin
	begin       int64
	cpu         time.Duration // of the thread at begin
	secondIdle  int64         // idle at secondAt
	secondAt    int64
	peak        float64
	connectBusy float64
	late        uint64
	lateWorst   int64
	blocked     uint64
}

func (l *load) reset(now int64) {
	*l = load{begin: now, secondAt: now, cpu: threadCPU(), connectBusy: l.connectBusy}
}

// second closes one second of the peak.
func (l *load) second(now int64) {
	l.peak = max(l.peak, busyShare(l.idle-l.secondIdle, now-l.secondAt))
	l.secondIdle, l.secondAt = l.idle, now
}

func (l *load) busy(now int64) float64 { return busyShare(l.idle, now-l.begin) }

// busyShare is the part of wall that was not idle.
func busyShare(idle, wall int64) float64 {
	if wall <= 0 {
		return 0
	}
	return min(1, max(0, 1-float64(idle)/float64(wall)))
}

// noteLate counts a send that was due earlier.
func (l *load) noteLate(by int64) {
	if by > lateAfter {
		l.late++
		l.lateWorst = max(l.lateWorst, by)
	}
}

func (l *load) generator(now int64) Generator {
	g := Generator{Busy: l.busy(now), BusyPeak: l.peak, ConnectBusy: l.connectBusy,
		Late: l.late, LateUS: l.lateWorst / 1000, Blocked: l.blocked}
	g.BusyPeak = max(g.BusyPeak, g.Busy)
	if cpu := threadCPU(); cpu > 0 && now > l.begin {
		g.CPU = float64(cpu-l.cpu) / float64(now-l.begin)
	}
	return g
}
