package metrics

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	dto "github.com/prometheus/client_model/go"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/carried"
	"github.com/sioedge/sioedge/sio"
)

// Counters and histograms go on when another process takes the clients over: what they
// were at the end is the base of its own. Gauges are its own alone, and so is what is told
// of Go and of the process.

// A base is what processes before this one have counted of a series.
type base struct {
	values []string // of labels
	value  float64
	// Of a histogram.
	bounds []float64
	counts []uint64 // up to each bound
	count  uint64
	sum    float64
}

// addTo adds it to what this process has counted. It is not added to other buckets.
func (b *base) addTo(h *dto.Histogram) {
	if len(h.Bucket) != len(b.bounds) {
		return
	}
	for i := range h.Bucket {
		if h.Bucket[i].GetUpperBound() != b.bounds[i] {
			return
		}
	}
	for i := range h.Bucket {
		*h.Bucket[i].CumulativeCount += b.counts[i]
	}
	*h.SampleCount += b.count
	*h.SampleSum += b.sum
}

// partOf returns the part whose things a label is of; parts: it is of none.
func partOf(name string) part {
	for p := range parts {
		if eachOf[p].name == name {
			return p
		}
	}
	return parts
}

// tellBases has what was counted before be told, also if nothing was since: it is told
// of things that there are.
func (c *catalogue) tellBases(f *family) {
	for _, b := range f.bases {
		if f.of != parts && !c.there[f.of][b.values[0]] {
			continue
		}
		x := f.child(b.values)
		switch {
		case x.scrape == f.scrape:
		case f.kind == dto.MetricType_COUNTER:
			f.add(x, 0)
		default:
			sparse := f.sparse
			f.sparse = false
			f.observed(b.bounds, make([]int64, len(b.bounds)+1), 0, b.values...)
			f.sparse = sparse
		}
	}
}

// A familyForm is the series of a family, for a successor.
type familyForm struct {
	Name   string       `cbor:"1,keyasint"`
	Labels []string     `cbor:"2,keyasint,omitempty"` // names
	Bounds []float64    `cbor:"3,keyasint,omitempty"` // of a histogram's buckets
	Series []seriesForm `cbor:"4,keyasint"`
}

type seriesForm struct {
	Labels []string `cbor:"1,keyasint,omitempty"` // values
	Value  float64  `cbor:"2,keyasint,omitempty"` // or the sum of what is in a histogram
	Counts []uint64 `cbor:"3,keyasint,omitempty"` // up to each bound, and of all
}

// Register has counters go on in another process. It is called before the server serves.
func (m *Metrics) Register(srv *sio.Server) {
	release := func() {
		if m.still {
			m.still = false
			m.mu.Unlock()
		}
	}
	srv.Carry(sio.Part{
		Name: "metrics", Optional: true,
		Still: func(context.Context) error {
			m.mu.Lock() // scrapes wait: while loops stand still, none is to be asking them
			m.still = true
			return nil
		},
		Release: release,
		Export:  func() ([]byte, error) { return carried.Marshal(m.export()) },
		Moved:   release,
		Import:  m.inherit,
	})
}

// export returns what is counted. mu is held.
func (m *Metrics) export() (all []familyForm) {
	m.gather()
	for _, f := range m.catalogue.all {
		if f.kind != dto.MetricType_COUNTER && f.kind != dto.MetricType_HISTOGRAM {
			continue
		}
		x := familyForm{Name: f.name}
		for _, l := range f.labels {
			x.Labels = append(x.Labels, l.name)
		}
		for _, y := range f.out.Metric {
			x.add(y)
		}
		for _, b := range f.bases { // of things that there are not at this moment
			if f.of != parts && !m.catalogue.there[f.of][b.values[0]] {
				x.Bounds = b.bounds
				x.Series = append(x.Series, seriesForm{b.values, b.value + b.sum, append(slices.Clip(b.counts), b.counted()...)})
			}
		}
		if len(x.Series) > 0 {
			all = append(all, x)
		}
	}
	return all
}

// counted returns the count of a histogram, and nothing of a counter.
func (b *base) counted() []uint64 {
	if b.bounds == nil {
		return nil
	}
	return []uint64{b.count}
}

// add adds a series that something was counted of.
func (x *familyForm) add(y *dto.Metric) {
	s := seriesForm{Value: y.GetCounter().GetValue()}
	if h := y.Histogram; h != nil {
		if h.GetSampleCount() == 0 {
			return
		}
		if x.Bounds == nil {
			for _, k := range h.Bucket {
				x.Bounds = append(x.Bounds, k.GetUpperBound())
			}
		}
		for _, k := range h.Bucket {
			s.Counts = append(s.Counts, k.GetCumulativeCount())
		}
		s.Counts, s.Value = append(s.Counts, h.GetSampleCount()), h.GetSampleSum()
	} else if s.Value == 0 {
		return
	}
	for _, l := range y.Label {
		s.Labels = append(s.Labels, l.GetValue())
	}
	x.Series = append(x.Series, s)
}

// Bounds of what is taken over.
const (
	maxSeries = 1 << 20
	maxLabel  = 1 << 10 // bytes of a value
)

var errBases = errors.New("metrics: that is nothing that was counted")

// inherit takes what processes before this one have counted. Series that this one does not
// have are left out.
func (m *Metrics) inherit(p []byte) error {
	var all []familyForm
	if err := carried.Unmarshal(p, &all); err != nil {
		return fmt.Errorf("%w: %w", errBases, err)
	}
	n := 0
	for i := range all {
		if n += len(all[i].Series); n > maxSeries {
			return fmt.Errorf("%w: there are too many series", errBases)
		}
		if err := all[i].check(); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range all {
		x := &all[i]
		at := slices.IndexFunc(m.catalogue.all, func(f *family) bool { return f.name == x.Name })
		if at >= 0 {
			m.catalogue.all[at].inherit(x)
			m.catalogue.based = true
		}
	}
	return nil
}

// check tells what is wrong with a family.
func (x *familyForm) check() error {
	for i := range x.Bounds {
		if math.IsNaN(x.Bounds[i]) || i > 0 && x.Bounds[i] <= x.Bounds[i-1] {
			return fmt.Errorf("%w: buckets of %.64q", errBases, x.Name)
		}
	}
	for _, s := range x.Series {
		switch {
		case len(s.Labels) != len(x.Labels), math.IsNaN(s.Value) || math.IsInf(s.Value, 0), x.Bounds == nil && s.Value < 0,
			x.Bounds != nil && len(s.Counts) != len(x.Bounds)+1, x.Bounds == nil && len(s.Counts) > 0, !slices.IsSorted(s.Counts):
			return fmt.Errorf("%w: a series of %.64q", errBases, x.Name)
		}
		for _, v := range s.Labels {
			if len(v) > maxLabel {
				return fmt.Errorf("%w: a label of %.64q has %d bytes", errBases, x.Name, len(v))
			}
		}
		if n := len(s.Counts); n > 0 && s.Counts[n-1] > 1<<62 {
			return fmt.Errorf("%w: too much in %.64q", errBases, x.Name)
		}
	}
	return nil
}

// inherit takes the series of the family as they are in another process.
func (f *family) inherit(x *familyForm) {
	names := func(l label, name string) bool { return l.name == name }
	if (f.kind == dto.MetricType_HISTOGRAM) != (x.Bounds != nil) || f.kind == dto.MetricType_GAUGE || !slices.EqualFunc(f.labels, x.Labels, names) {
		return // it was another one
	}
	f.bases = map[string]*base{}
	for _, s := range x.Series {
		if !f.may(s.Labels) {
			continue
		}
		b := &base{values: s.Labels, value: s.Value}
		if x.Bounds != nil {
			last := len(s.Counts) - 1
			b.value, b.sum, b.bounds, b.counts, b.count = 0, s.Value, x.Bounds, s.Counts[:last], s.Counts[last]
		}
		f.keyOf(s.Labels)
		f.bases[string(f.key)] = b
		if c := f.children[string(f.key)]; c != nil {
			c.base = b
		}
	}
}

// may tells whether there may be a series of these label values.
func (f *family) may(values []string) bool {
	for i, l := range f.labels {
		if l.from == "" && !slices.Contains(l.values, values[i]) {
			return false
		}
	}
	return true
}
