//go:build interop

package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// What a backend has emitted by the HTTP API, and was told so, clients hear once, in order,
// through several upgrades, on connections that are kept and on new ones. A request that is
// to be made again says so.
func TestUpgradeUnderTheOrdersOfABackend(t *testing.T) {
	t.Parallel()
	d := deploy(t, "1.0.0", upgradable)
	x := &agents{t: t}
	hears := []*client{x.enter("4", d.url, "/", options{}), x.enter("4", d.url, "/", options{transports: []string{"polling"}})}
	stop := make(chan struct{})
	var tellers sync.WaitGroup
	var said [2]int
	for i := range said {
		asks := &http.Client{Transport: &http.Transport{DisableKeepAlives: i == 0}, Timeout: patience}
		tellers.Go(func() { // ends with stop
			for {
				select {
				case <-stop:
					return
				default:
				}
				said[i]++
				r := apiRequest(t, "http://"+d.api+"/api/emit", fmt.Sprintf(`{"ev":"n%d","args":[%d]}`, i, said[i]))
				// It may be asked again on another connection, if the one that was kept has ended.
				r.Header.Set("Idempotency-Key", fmt.Sprintf("%d-%d", i, said[i]))
				res, err := asks.Do(r)
				if err != nil {
					t.Errorf("emit number %d: %v", said[i], err)
					return
				}
				b, _ := io.ReadAll(res.Body)
				_ = res.Body.Close()
				if res.StatusCode == 503 && strings.Contains(string(b), `"moving"`) {
					said[i]--
					continue
				}
				if res.StatusCode != 200 {
					t.Errorf("emit number %d is answered %d %s", said[i], res.StatusCode, b)
					return
				}
			}
		})
	}
	for _, version := range []string{"2.0.0", "1.0.0", "2.0.0", "1.0.0", "2.0.0"} {
		d.install(t, release(t, version))
		if err := syscall.Kill(d.pid, syscall.SIGUSR2); err != nil {
			t.Fatal(err)
		}
		d.upgraded(version)
		d.said("taken over")
	}
	close(stop)
	tellers.Wait()
	for _, c := range hears {
		for i, most := range said {
			name := "n" + strconv.Itoa(i)
			for n := 1; n <= most; n++ {
				if got := c.event(name); got != strconv.Itoa(n) {
					t.Fatalf("%s hears %s %s, want %d of %d", c.name, name, got, n, most)
				}
			}
			c.hasNot(name)
		}
		c.hasNot("disconnect")
	}
}
