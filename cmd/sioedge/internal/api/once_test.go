package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// What has the same idempotency key is done once.
func TestIdempotencyKeys(t *testing.T) {
	a := start(t, nil, nil)
	c := a.connect("/", "", "{}")
	for _, x := range []struct{ path, body string }{
		{"/api/emit", `{"ev":"emit","id":"k1"}`},
		{"/api/emit?id=k2", `{"ev":"query"}`},
		{"/api/raw?id=k3", `["raw"]`},
	} {
		a.wants("POST", x.path, x.body, 200, `{}`)
		a.wants("POST", x.path, x.body, 200, `{"replayed":true}`)
	}
	for _, field := range []string{`{"ev":"head"}`, `{"ev":"head"}`} {
		if status, answer := a.ask("POST", "/api/emit", field, "Idempotency-Key", "k4"); status != 200 {
			t.Errorf("%d %s", status, answer)
		}
	}
	const batch = `{"commands":[{"emit":{"ev":"batch"}},{"emit":{"ev":"inner","id":"k6"}}]}`
	a.wants("POST", "/api/batch?id=k5", batch, 200, `{"results":[{"result":{}},{"result":{}}]}`)
	a.wants("POST", "/api/batch?id=k5", batch, 200, `{"results":[{"result":{}},{"result":{}}]}`)
	a.wants("POST", "/api/emit", `{"ev":"inner","id":"k6"}`, 200, `{"replayed":true}`)
	if status, answer := a.ask("POST", "/api/emit", `{"ev":"other","id":"k1"}`); status != 422 {
		t.Errorf("another command of the same key is answered %d %s", status, answer)
	}
	// What is wrong is not done, and not remembered.
	if status, _ := a.ask("POST", "/api/emit", `{"ev":7,"id":"k7"}`); status != 400 {
		t.Errorf("%d", status)
	}
	a.wants("POST", "/api/emit", `{"ev":"now right","id":"k7"}`, 200, `{}`)
	// What has failed stays so.
	const nowhere = `{"error":{"code":"unknown_namespace","message":"is a namespace that no client can join","field":"nsp"}}`
	a.wants("POST", "/api/emit", `{"ev":"x","nsp":"/late","id":"k8"}`, 404, nowhere)
	a.srv.Of("/late")
	a.wants("POST", "/api/emit", `{"ev":"x","nsp":"/late","id":"k8"}`, 404, nowhere)
	for _, event := range []string{"emit", "query", "raw", "head", "batch", "inner", "now right"} {
		c.gets(`["` + event + `"]`)
	}
	if rest := c.Rest(); len(rest) > 0 {
		t.Errorf("the client got %q besides", rest)
	}
	if s := a.api.Stats(); s.Replayed != 6 || s.Known != 8 || s.KnownSize < 8*onceForEach {
		t.Errorf("%d were replayed, %d are known of %d bytes", s.Replayed, s.Known, s.KnownSize)
	}
}

// Those who come at the same time wait for the first, and have its answer; of one that
// failed for the moment, the next tries.
func TestIdempotencyKeysAtOneTime(t *testing.T) {
	a := start(t, nil, nil).api
	var done, passing atomic.Int64
	passing.Store(2)
	var all sync.WaitGroup
	var failed, replayed atomic.Int64
	for range 50 {
		all.Go(func() {
			answer, again, err := a.once(context.Background(), "k", "what", nil, func() (any, error) {
				time.Sleep(5 * time.Millisecond)
				if passing.Add(-1) >= 0 {
					return nil, &problem{status: 503, passing: true}
				}
				return done.Add(1), nil
			})
			if again {
				replayed.Add(1)
			}
			if b, _ := json.Marshal(answer); err == nil && string(b) != "1" {
				t.Errorf("the answer is %s", b)
			}
			if err != nil {
				failed.Add(1)
			}
		})
	}
	all.Wait()
	if done.Load() != 1 || failed.Load() != 2 || replayed.Load() != 47 {
		t.Errorf("it was done %d times, %d failed and %d had the first one's answer", done.Load(), failed.Load(), replayed.Load())
	}
	ctx, cancel := context.WithCancel(context.Background())
	begun, end := make(chan int), make(chan int)
	all.Go(func() {
		_, _, _ = a.once(context.Background(), "slow", "what", nil, func() (any, error) { close(begun); <-end; return 1, nil })
	})
	<-begun
	cancel()
	if _, _, err := a.once(ctx, "slow", "what", nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("who does not wait any more is told %v", err)
	}
	close(end)
	all.Wait()
}

// What is remembered is bounded, in number and in bytes, and goes in the end.
func TestIdempotencyKeysThatAreTooMany(t *testing.T) {
	a := start(t, nil, nil).api
	do := func(id, answer string) bool {
		ran := false
		_, _, err := a.once(context.Background(), id, "", nil, func() (any, error) { ran = true; return answer, nil })
		return ran && err == nil
	}
	for i := range onceMost + 100 {
		do(fmt.Sprint(i), "")
	}
	if s := a.Stats(); s.Known > onceMost || s.Forgotten == 0 || s.KnownSize > onceBytes {
		t.Errorf("%d are known of %d bytes, %d were forgotten", s.Known, s.KnownSize, s.Forgotten)
	}
	if !do("0", "") {
		t.Error("the oldest is not forgotten")
	}
	if do(fmt.Sprint(onceMost+99), "") {
		t.Error("the newest is forgotten")
	}
	long := make([]byte, onceAnswer-10)
	for i := range long {
		long[i] = 'a'
	}
	for i := range 2 * onceBytes / onceAnswer {
		do(fmt.Sprint("long", i), string(long))
	}
	if s := a.Stats(); s.KnownSize > onceBytes+onceAnswer {
		t.Errorf("%d bytes are kept", s.KnownSize)
	}
	do("longer", string(long)+"12345678901")
	if _, _, err := a.once(context.Background(), "longer", "", nil, nil); a.problemOf(err).is.Code != "answer_not_kept" {
		t.Errorf("of an answer that is too long there is %v", err)
	}
	a.memory.mu.Lock()
	a.memory.forget(a, time.Now().Add(onceFor))
	a.memory.mu.Unlock()
	if s := a.Stats(); s.Known != 0 || s.KnownSize != 0 {
		t.Errorf("later %d are known of %d bytes", s.Known, s.KnownSize)
	}
}
