package metrics

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/carried"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// grows tells whether a series is of a counter or of a histogram.
func grows(name string) bool {
	name, _, _ = strings.Cut(name, "{")
	return slices.ContainsFunc([]string{"_total", "_bucket", "_sum", "_count"}, func(end string) bool { return strings.HasSuffix(name, end) }) &&
		!strings.HasPrefix(name, "go_") && !strings.HasPrefix(name, "process_")
}

// Every counter and every bucket goes on, over ten processes: each has what those before it
// have counted, and its own.
func TestCountersGoOnOverTenProcesses(t *testing.T) {
	var estate []byte
	var before map[string]float64
	for i := range 10 {
		srv := siotest.New(t, sio.Options{})
		srv.Of("/things/:id").Handle("say", func(s sio.Socket, m *sio.Msg) error { s.Join("room"); return m.Ack() })
		m, plain := New(Sources{Server: srv.Server}), New(Sources{Server: srv.Server})
		if i > 0 {
			if err := m.inherit(estate); err != nil {
				t.Fatal(err)
			}
			for name, v := range exposition(t, scrape(t, m).Body.String()) {
				if grows(name) && v < before[name] {
					t.Errorf("process %d begins with %v of %s, which was %v", i, v, name, before[name])
				}
			}
		}
		for range i + 1 {
			c := srv.Connect("/things/1")
			c.EmitAck("say", i).Args()
			_, _ = srv.Try("/other", siotest.Options{})
			c.Disconnect()
		}
		own := exposition(t, scrape(t, plain).Body.String())
		all := exposition(t, scrape(t, m).Body.String())
		for name, v := range all {
			if want := own[name] + before[name]; grows(name) && math.Abs(v-want) > 1e-6 && !strings.HasPrefix(name, "scrapes_total") && !strings.Contains(name, "loop_") {
				t.Errorf("process %d has %v of %s, want %v: %v of its own", i, v, name, want, own[name])
			}
		}
		for name := range before {
			if _, ok := all[name]; !ok && grows(name) {
				t.Errorf("process %d does not tell %s", i, name)
			}
		}
		estate, before = must(carried.Marshal(m.export())), all
		if again := exposition(t, scrape(t, m).Body.String()); again["sockets{route=\"/things/:id\"}"] != 0 {
			t.Error("a gauge goes on")
		}
	}
	if n := before[`events_received_total{route="/things/:id",kind="event"}`]; n != 55 {
		t.Errorf("%v events were received, want 55", n)
	}
}

// told is a family's series as text.
func told(f *family) (all []string) {
	for _, x := range f.out.Metric {
		s := ""
		for _, l := range x.Label {
			s += l.GetValue() + " "
		}
		if h := x.Histogram; h != nil {
			s += fmt.Sprint(h.GetSampleCount(), " ", h.GetSampleSum())
			for _, b := range h.Bucket {
				s += fmt.Sprint(" ", b.GetUpperBound(), ":", b.GetCumulativeCount())
			}
		} else {
			s += fmt.Sprint(x.GetCounter().GetValue() + x.GetGauge().GetValue())
		}
		all = append(all, s)
	}
	slices.Sort(all)
	return all
}

// What was counted before is told where nothing was since, of things that there are; and
// what this program does not have is left out.
func TestWhatIsToldOfBefore(t *testing.T) {
	c := testCatalogue()
	codes := c.counter("codes", "Codes.", label{name: "code", from: "anybody"}).whereAny()
	words := c.counter("words", "Words.", one("word", "a", "b"))
	routes := c.counter("routes", "Of routes.", route).field("Route.Joins")
	spans := c.histogram("spans", "Spans.", label{name: "of", from: "anybody"}).whereAny()
	gauge := c.gauge("gauge", "Now.")
	m := &Metrics{catalogue: *c}
	forms := []familyForm{
		{"sioedge_codes_total", []string{"code"}, nil, []seriesForm{{[]string{"200"}, 7, nil}, {[]string{"404"}, 2, nil}}},
		{"sioedge_words_total", []string{"word"}, nil, []seriesForm{{[]string{"a"}, 1, nil}, {[]string{"c"}, 5, nil}}},
		{"sioedge_routes_total", []string{"route"}, nil, []seriesForm{{[]string{"/"}, 3, nil}, {[]string{"/gone"}, 9, nil}}},
		{"sioedge_spans", []string{"of"}, []float64{1, 2}, []seriesForm{{[]string{"x"}, 2.5, []uint64{1, 2, 3}}, {[]string{"y"}, 9, []uint64{0, 0, 1}}}},
		{"sioedge_gauge", nil, nil, []seriesForm{{nil, 5, nil}}},
		{"sioedge_unknown", nil, nil, []seriesForm{{nil, 5, nil}}},
	}
	scrape := func(f func()) {
		m.catalogue.begin(m.serial + 1)
		m.serial++
		f()
		m.catalogue.end()
	}
	scrape(func() { codes.set(1, "200") }) // that child is there when the base comes
	if err := m.inherit(must(carried.Marshal(forms))); err != nil {
		t.Fatal(err)
	}
	c = &m.catalogue
	for range 2 {
		scrape(func() {
			codes.set(1, "200")
			c.seen.Route.Joins = 4
			c.tell(routePart, "/")
			spans.observed([]float64{1, 2}, []int64{1, 0, 1}, 7, "x")
		})
		for f, want := range map[*family][]string{
			codes.family: {"200 8", "404 2"}, words.family: {"a 1"}, routes.family: {"/ 7"}, spans.family: {"x 5 9.5 1:2 2:3", "y 1 9 1:0 2:0"}, gauge.family: nil,
		} {
			if got := told(f); !slices.Equal(got, want) {
				t.Errorf("%s is %q, want %q", f.name, got, want)
			}
		}
	}
	scrape(func() { c.seen.Route.Joins = 1; c.tell(routePart, "/gone") }) // it comes back by a reload
	if got := told(routes.family); !slices.Equal(got, []string{"/gone 10"}) {
		t.Errorf("it is told as %q", got)
	}
	// With other buckets it begins anew.
	scrape(func() { spans.observed([]float64{1, 2, 4}, []int64{1, 0, 0, 1}, 7, "x") })
	if got := told(spans.family); !slices.Contains(got, "x 2 7 1:1 2:1 4:1") {
		t.Errorf("it is %q", got)
	}
}

// What is not there at this moment goes on to the next process nevertheless.
func TestWhatIsNotToldGoesOn(t *testing.T) {
	form := []familyForm{{"sioedge_events_received_total", []string{"route", "kind"}, nil, []seriesForm{{[]string{"/gone", "event"}, 9, nil}}}}
	m := New(Sources{})
	if err := m.inherit(must(carried.Marshal(form))); err != nil {
		t.Fatal(err)
	}
	all := m.export()
	at := slices.IndexFunc(all, func(x familyForm) bool { return x.Name == form[0].Name })
	if at < 0 || len(all[at].Series) != 1 || all[at].Series[0].Value != 9 {
		t.Errorf("it goes on with %+v", all)
	}
}

func TestHostileBases(t *testing.T) {
	m := New(Sources{})
	for name, x := range map[string]any{
		"text":               "x",
		"no number":          []familyForm{{"a", nil, nil, []seriesForm{{nil, math.NaN(), nil}}}},
		"less than nothing":  []familyForm{{"a", nil, nil, []seriesForm{{nil, -1, nil}}}},
		"endless":            []familyForm{{"a", nil, nil, []seriesForm{{nil, math.Inf(1), nil}}}},
		"a label too many":   []familyForm{{"a", nil, nil, []seriesForm{{[]string{"x"}, 1, nil}}}},
		"a long label":       []familyForm{{"a", []string{"l"}, nil, []seriesForm{{[]string{strings.Repeat("x", maxLabel+1)}, 1, nil}}}},
		"a bucket too few":   []familyForm{{"a", nil, []float64{1, 2}, []seriesForm{{nil, 1, []uint64{1, 2}}}}},
		"fewer above":        []familyForm{{"a", nil, []float64{1, 2}, []seriesForm{{nil, 1, []uint64{2, 1, 1}}}}},
		"too much":           []familyForm{{"a", nil, []float64{1}, []seriesForm{{nil, 1, []uint64{1, math.MaxUint64}}}}},
		"bounds out of step": []familyForm{{"a", nil, []float64{2, 1}, nil}},
		"no bound":           []familyForm{{"a", nil, []float64{math.NaN()}, nil}},
		"counts of nothing":  []familyForm{{"a", nil, nil, []seriesForm{{nil, 1, []uint64{1}}}}},
	} {
		if m.inherit(must(carried.Marshal(x))) == nil {
			t.Errorf("%s is taken over", name)
		}
	}
}

func FuzzBases(f *testing.F) {
	m := New(Sources{})
	names := map[string]bool{}
	for _, x := range m.catalogue.all {
		names[x.name] = true
	}
	for i, name := range slices.Sorted(maps.Keys(names)) {
		if i%20 == 0 {
			f.Add(must(carried.Marshal([]familyForm{{name, []string{"route"}, []float64{1}, []seriesForm{{[]string{"/"}, 1, []uint64{1, 2}}}}})))
		}
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		m := New(Sources{})
		if m.inherit(p) == nil {
			if err := m.inherit(must(carried.Marshal(m.export()))); err != nil {
				t.Error(err)
			}
		}
	})
}
