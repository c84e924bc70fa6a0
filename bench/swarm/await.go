package swarm

import (
	"context"
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// await handles events until cond holds. It returns errLimit after limit (0 is
// none), errStalled when a closed loop stands still, ctx's cause when that
// ends, and an error when a worker is lost.
func (r *run) await(ctx context.Context, cond func() bool, limit time.Duration) error {
	second := time.NewTicker(time.Second)
	defer second.Stop()
	var end <-chan time.Time
	if limit > 0 {
		timer := time.NewTimer(limit)
		defer timer.Stop()
		end = timer.C
	}
	for !cond() {
		select {
		case e := <-r.events:
			err := r.note(e)
			for len(r.events) > 0 && err == nil { // one report for all that has come
				err = r.note(<-r.events)
			}
			if err != nil {
				return err
			}
			r.forward()
		case <-second.C:
			r.show()
			if r.standsStill() {
				return errStalled
			}
		case <-end:
			return errLimit
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// note takes one event.
func (r *run) note(e workerEvent) error {
	w := r.workers[e.worker]
	if e.err != nil {
		w.gone = true
		return fmt.Errorf("swarm: worker %d: %w", e.worker, e.err)
	}
	if e.event.Now != nil {
		w.now = *e.event.Now
	}
	switch e.event.Ev {
	case evReady:
		w.ready = true
		if r.members == nil {
			r.members = make([]int32, r.cfg.Rooms)
		}
		for i, n := range e.event.Members {
			r.members[i] += n
		}
	case evMarked:
		w.marked = true
	case evAcc:
		w.acc = e.event.Acc
		r.accDirty = true
		r.died = append(r.died, e.event.Died...)
		for _, room := range e.event.Died {
			r.members[room]--
		}
	case evStopped:
		w.stopped = true
		w.sent = e.event.Sent
	case evDrained:
		w.drained = &e.event
	case evBroken:
		return fmt.Errorf("swarm: worker %d: %s", e.worker, e.event.Reason)
	}
	return nil
}

// forward tells the workers that publish what all of them have received.
func (r *run) forward() {
	if !r.accDirty || !r.going {
		r.died = r.died[:0]
		return
	}
	r.accDirty = false
	sum := make([]int64, r.cfg.Publishers)
	for _, w := range r.workers {
		for p, n := range w.acc {
			sum[p] += n
		}
	}
	for i := range min(len(r.workers), r.cfg.Publishers) {
		r.send(r.workers[i], command{Do: doAcc, Acc: sum, Died: r.died})
	}
	r.died = r.died[:0]
}

func (r *run) total() Counts {
	var c Counts
	for _, w := range r.workers {
		c.add(w.now)
	}
	return c
}

// standsStill reports whether a closed loop has moved nothing for cfg.Drain.
func (r *run) standsStill() bool {
	now := r.total()
	if now.Sent != r.moved.Sent || now.Delivered != r.moved.Delivered || r.cfg.Scenario == Idle || r.cfg.Scenario == Avalanche || r.cfg.MsgRate > 0 {
		r.moved, r.movedAt = now, time.Now()
	}
	return r.phase == "run" && time.Since(r.movedAt) > r.cfg.Drain+2*time.Second
}

func (r *run) show() {
	now := r.total()
	if r.progress != nil {
		change := now
		change.sub(r.shown)
		since := time.Since(r.begin)
		if !r.shownAt.IsZero() {
			since = time.Since(r.shownAt)
		}
		r.progress(Status{Phase: r.phase, Elapsed: time.Since(r.begin), Clients: r.cfg.Clients, Counts: now, Change: change, Since: since})
	}
	r.shown, r.shownAt = now, time.Now()
}

// merged adds up the workers' histograms of one kind.
func (r *run) merged(kind string) *hdrhistogram.Histogram {
	sum := hdrhistogram.New(1, maxLatency, 3)
	for _, w := range r.workers {
		if w.drained == nil {
			continue
		}
		if h, err := hdrhistogram.Decode(w.drained.Hist[kind]); err == nil {
			sum.Merge(h)
		}
	}
	return sum
}
