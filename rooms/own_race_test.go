//go:build race

package rooms

import "testing"

func TestUseWithoutTheLoopPanics(t *testing.T) {
	r := newRig()
	r.add([]uint32{1}, "a")
	r.l.OwnedBy(func() { panic("not the loop's goroutine") })
	for name, f := range map[string]func(){
		"Join":     func() { r.l.Join(1, 1, "b") },
		"Rooms":    func() { r.l.Rooms(1) },
		"CatchUp":  func() { r.l.CatchUp(1) },
		"Step":     func() { r.l.Step(1) },
		"Stats":    func() { r.l.Stats() },
		"Snapshot": func() { r.l.Snapshot() },
	} {
		mustPanic(t, name, f)
	}
}
