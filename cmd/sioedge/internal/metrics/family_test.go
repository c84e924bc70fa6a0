package metrics

import (
	"fmt"
	"slices"
	"testing"

	"github.com/sioedge/sioedge/loop/histogram"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

// testCatalogue returns one for what the test says.
func testCatalogue() *catalogue {
	c := &catalogue{seen: new(seen)}
	c.in("test")
	return c
}

// What there is not any more is not told, and forgotten when it is most of what is known;
// if it comes again, it is told once.
func TestThingsThatGo(t *testing.T) {
	c := testCatalogue()
	f := c.gauge("things", "Things.", route).field("Route.Sockets")
	told := func(names ...string) (all []string) {
		c.begin(f.scrape + 1)
		for i, name := range names {
			c.seen.Route.Sockets = int64(i + 1)
			c.tell(routePart, name)
		}
		c.end()
		for _, x := range f.out.Metric {
			all = append(all, fmt.Sprint(x.Label[0].GetValue(), "=", x.Gauge.GetValue()))
		}
		return all
	}
	var many []string
	for i := range 100 {
		many = append(many, fmt.Sprint(i))
	}
	told(many...)
	for _, names := range [][]string{{"a"}, {"a", "5"}, {"a"}, {"5", "a", "6"}} {
		var want []string
		for i, name := range names {
			want = append(want, fmt.Sprint(name, "=", i+1))
		}
		if got := told(names...); !slices.Equal(got, want) {
			t.Errorf("%v is told, want %v", got, want)
		}
		if len(f.children) > 20 {
			t.Errorf("%d are known still", len(f.children))
		}
	}
	if got, want := told("a", "a"), []string{"a=3"}; !slices.Equal(got, want) {
		t.Errorf("two of a name are told as %v, want %v", got, want)
	}
}

// Histograms of powers of two are told in the buckets that matter, nothing left out.
func TestHistogram(t *testing.T) {
	c := testCatalogue()
	f := c.histogram("spans", "Spans.").counted("Server.Spread.Took", 4, 16, 0.5)
	h := &c.seen.Server.Spread.Took
	*h = histogram.Histogram{}
	for _, v := range []int64{0, 1, 3, 4, 5, 8, 9, 16, 17, 1 << 40} {
		h.Add(v)
	}
	for range 2 {
		c.begin(f.scrape + 1)
		c.tell(serverPart)
		x := f.out.Metric[0].Histogram
		var got []string
		for _, b := range x.Bucket {
			got = append(got, fmt.Sprint(b.GetUpperBound(), ":", b.GetCumulativeCount()))
		}
		if want := []string{"2:4", "4:6", "8:8"}; !slices.Equal(got, want) || x.GetSampleCount() != 10 || x.GetSampleSum() != float64(h.Total)/2 {
			t.Errorf("it is %v, %d, %v, want %v", got, x.GetSampleCount(), x.GetSampleSum(), want)
		}
	}
}

// Clients do not make series, whatever they ask for.
func TestClientsMakeNoSeries(t *testing.T) {
	srv := siotest.New(t, sio.Options{})
	srv.Of("/things/:id").Handle("say", func(s sio.Socket, m *sio.Msg) error { s.Join("room of " + s.ID()); return nil })
	m := New(Sources{Server: srv.Server})
	come := func(i int) {
		c := srv.Connect(fmt.Sprintf("/things/%d", i))
		c.Emit("say", i)
		c.Emit(fmt.Sprintf("event%d", i), i)
		_, _ = srv.Try(fmt.Sprintf("/other%d", i), siotest.Options{})
		c.Disconnect()
	}
	come(0)
	before := exposition(t, scrape(t, m).Body.String())
	for i := range 50 {
		come(i)
	}
	for name := range exposition(t, scrape(t, m).Body.String()) {
		if _, ok := before[name]; !ok && name[:3] != "go_" {
			t.Errorf("there is %s now", name)
		}
	}
}
