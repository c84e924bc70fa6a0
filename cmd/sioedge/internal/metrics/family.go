package metrics

import (
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"

	"github.com/sioedge/sioedge/loop/histogram"
)

// A label is the name of a label with the values that it may have.
type label struct {
	name   string
	values []string // nil: those that from says
	from   string
}

// one returns a label with these values alone.
func one(name string, values ...string) label { return label{name: name, values: values} }

// A family is a series with all its label values. Its values are set again for every
// scrape, in place: what is not set any more is not there. It is guarded by Metrics.mu.
type family struct {
	name, help string
	kind       dto.MetricType
	labels     []label
	sparse     bool // what there is none of, so far, is left out

	out      *dto.MetricFamily
	children map[string]*child // by their label values
	bases    map[string]*base  // likewise: what other processes have counted
	of       part              // that its first label is of; none: parts
	scrape   uint64            // the one that out is of
	key      []byte
}

// A child is a family's metric with one set of label values.
type child struct {
	metric *dto.Metric
	value  *float64 // nil: a histogram
	base   *base    // nil: there is none
	scrape uint64   // in which it was set last
}

// set adds v to the metric of these label values, which is 0 as a scrape begins.
func (f *family) set(v float64, values ...string) {
	if v == 0 && f.sparse {
		return
	}
	f.add(f.child(values), v)
}

// add adds v to a metric, and has it be told.
func (f *family) add(c *child, v float64) {
	if !f.tell(c) {
		v += *c.value
	} else if c.base != nil {
		v += c.base.value
	}
	*c.value = v
}

// tell has a metric be told. It is true if that is new in this scrape.
func (f *family) tell(c *child) bool {
	if c.scrape == f.scrape {
		return false
	}
	c.scrape = f.scrape
	f.out.Metric = append(f.out.Metric, c.metric)
	return true
}

// child returns the metric of these label values.
func (f *family) child(values []string) *child {
	if len(values) != len(f.labels) {
		panic("metrics: " + f.name + " has other labels")
	}
	f.keyOf(values)
	c := f.children[string(f.key)]
	if c == nil {
		c = f.newChild(values)
		c.base = f.bases[string(f.key)]
		f.children[string(f.key)] = c
	}
	return c
}

// keyOf sets key to that of these label values.
func (f *family) keyOf(values []string) {
	f.key = f.key[:0]
	for _, v := range values {
		f.key = append(append(f.key, v...), 0xff)
	}
}

func (f *family) newChild(values []string) *child {
	c := &child{metric: &dto.Metric{}}
	for i, v := range values {
		v = strings.ToValidUTF8(v, "\uFFFD")
		c.metric.Label = append(c.metric.Label, &dto.LabelPair{Name: &f.labels[i].name, Value: &v})
	}
	switch f.kind {
	case dto.MetricType_HISTOGRAM:
		c.metric.Histogram = &dto.Histogram{SampleCount: new(uint64), SampleSum: new(float64)}
	case dto.MetricType_COUNTER:
		c.value = new(float64)
		c.metric.Counter = &dto.Counter{Value: c.value}
	default:
		c.value = new(float64)
		c.metric.Gauge = &dto.Gauge{Value: c.value}
	}
	return c
}

// observed has the histogram of these label values be one of counts: each is of what is
// above the bound before and at most its own, the last of what is above all.
func (f *family) observed(bounds []float64, counts []int64, sum float64, values ...string) {
	if f.sparse && !slices.ContainsFunc(counts, func(n int64) bool { return n > 0 }) {
		return
	}
	c := f.child(values)
	f.tell(c)
	h := c.metric.Histogram
	if len(h.Bucket) != len(bounds) {
		h.Bucket = nil
		for _, b := range bounds {
			h.Bucket = append(h.Bucket, &dto.Bucket{UpperBound: &b, CumulativeCount: new(uint64)})
		}
	}
	var n uint64
	for i := range counts {
		n += uint64(max(counts[i], 0))
		if i < len(bounds) {
			*h.Bucket[i].CumulativeCount = n
		}
	}
	*h.SampleCount, *h.SampleSum = n, sum
	if c.base != nil {
		c.base.addTo(h)
	}
}

// begin has nothing be set.
func (f *family) begin(scrape uint64) {
	f.scrape = scrape
	f.out.Metric = f.out.Metric[:0]
}

// end forgets what was not set, when that is most of what is known: then it is true.
func (f *family) end() bool {
	if len(f.children) <= 2*len(f.out.Metric)+16 {
		return false
	}
	for key, c := range f.children {
		if c.scrape != f.scrape {
			delete(f.children, key)
		}
	}
	clear(f.out.Metric[len(f.out.Metric):cap(f.out.Metric)])
	return true
}

// A catalogue has all families, and where their values are found.
type catalogue struct {
	seen     *seen
	sections []section
	all      []*family
	parts    [parts][]binding
	rows     [parts]map[string][]*child // by the value of eachOf and the index in parts, where the binding is one number
	based    bool                       // some family has bases
	there    [parts]map[string]bool     // things that are told in this scrape, if based
}

// A section is one of the documentation's.
type section struct {
	title    string
	families []*family
}

// A binding is how a metric is set.
type binding struct {
	f      *family
	read   func() float64         // nil: put
	put    func(values ...string) // sets it, whatever it is
	values []string               // behind the one that the part has for each of its things
}

// A series is a family while it is made.
type series struct {
	*family
	c *catalogue
}

// in has the families that are made from now on be in a section.
func (c *catalogue) in(title string) { c.sections = append(c.sections, section{title: title}) }

func (c *catalogue) make(kind dto.MetricType, name, help string, labels []label) *series {
	f := &family{name: prefix + name, help: help, kind: kind, labels: slices.Clone(labels), children: map[string]*child{}, of: parts}
	if len(labels) > 0 {
		f.of = partOf(labels[0].name)
	}
	f.out = &dto.MetricFamily{Name: &f.name, Help: &f.help, Type: &f.kind}
	c.all = append(c.all, f)
	s := &c.sections[len(c.sections)-1]
	s.families = append(s.families, f)
	return &series{f, c}
}

// counter makes a family of counters, _total behind its name.
func (c *catalogue) counter(name, help string, labels ...label) *series {
	return c.make(dto.MetricType_COUNTER, name+"_total", help, labels)
}

func (c *catalogue) gauge(name, help string, labels ...label) *series {
	return c.make(dto.MetricType_GAUGE, name, help, labels)
}

func (c *catalogue) histogram(name, help string, labels ...label) *series {
	return c.make(dto.MetricType_HISTOGRAM, name, help, labels)
}

// field adds the metric with these label values, whose value is a field of seen, such as
// Server.Engine.Upgraded, or the product of it and scale. The first word is the part.
func (s *series) field(path string, values ...string) *series { return s.scaled(path, 1, values...) }

func (s *series) scaled(path string, scale float64, values ...string) *series {
	p, field := s.c.seen.resolve(path)
	read := number(field, path)
	s.bind(p, binding{read: func() float64 { return read() * scale }, values: values})
	return s
}

// counted adds the histogram with these label values that is a field of seen: its buckets
// have the bounds from the one to the other times unit.
func (s *series) counted(path string, from, to int64, unit float64, values ...string) *series {
	p, field := s.c.seen.resolve(path)
	h := field.(*histogram.Histogram)
	var bounds []float64
	first := 0
	for i, b := range histogram.Bounds() {
		if b >= from && b <= to {
			bounds = append(bounds, float64(b)*unit)
		}
		if b < from {
			first = i + 1
		}
	}
	counts := make([]int64, len(bounds)+1)
	s.bind(p, binding{values: values, put: func(values ...string) {
		clear(counts)
		for i, n := range h.Counts {
			counts[min(max(i-first, 0), len(bounds))] += n
		}
		s.observed(bounds, counts, float64(h.Total)*unit, values...)
	}})
	return s
}

// of adds the metric with these label values, which read returns if there is a part.
func (s *series) of(p part, read func(x *seen) float64, values ...string) *series {
	x := s.c.seen
	s.bind(p, binding{read: func() float64 { return read(x) }, values: values})
	return s
}

func (s *series) bind(p part, b binding) {
	if each := eachOf[p]; each.name != "" && (len(s.labels) == 0 || s.labels[0].name != each.name) {
		panic("metrics: " + s.name + " has no label " + each.name)
	}
	n := len(s.labels) - len(b.values)
	for i, v := range b.values {
		if l := &s.labels[n+i]; l.from == "" && !slices.Contains(l.values, v) {
			l.values = append(l.values, v)
		}
	}
	b.f = s.family
	s.c.parts[p] = append(s.c.parts[p], b)
}

// whereAny has what there is none of, so far, be left out: where all combinations of labels
// are too many.
func (s *series) whereAny() *series {
	s.sparse = true
	return s
}

// tell sets all metrics of a part; each is the value of the label that the part has for
// the thing that is looked at.
func (c *catalogue) tell(p part, each ...string) {
	row := c.row(p, each)
	if c.based && len(each) > 0 {
		c.there[p][each[0]] = true
	}
	values := make([]string, 0, 4)
	for i := range c.parts[p] {
		b := &c.parts[p][i]
		if b.read == nil {
			b.put(append(append(values[:0], each...), b.values...)...)
			continue
		}
		v := b.read()
		if v == 0 && b.f.sparse {
			continue
		}
		if row[i] == nil {
			row[i] = b.f.child(append(append(values[:0], each...), b.values...))
		}
		b.f.add(row[i], v)
	}
}

// row returns the metrics of a thing that were set before.
func (c *catalogue) row(p part, each []string) []*child {
	name := ""
	if len(each) > 0 {
		name = each[0]
	}
	row := c.rows[p][name]
	if row == nil {
		if c.rows[p] == nil {
			c.rows[p] = map[string][]*child{}
		}
		row = make([]*child, len(c.parts[p]))
		c.rows[p][name] = row
	}
	return row
}

// begin begins a scrape.
func (c *catalogue) begin(scrape uint64) {
	if c.based {
		c.there = [parts]map[string]bool{}
		for p := range c.there {
			c.there[p] = map[string]bool{}
		}
	}
	for _, f := range c.all {
		f.begin(scrape)
	}
}

// end returns the families that have something to tell.
func (c *catalogue) end() (all []*dto.MetricFamily) {
	forgotten := false
	for _, f := range c.all {
		c.tellBases(f)
		forgotten = f.end() || forgotten
		if len(f.out.Metric) > 0 {
			all = append(all, f.out)
		}
	}
	if forgotten {
		c.rows = [parts]map[string][]*child{} // which have what is forgotten
	}
	return all
}

// dynamic has put set the metrics of a series that has none but these, when there is the part.
func (c *catalogue) dynamic(p part, s *series, put func(x *seen, s *series)) {
	c.parts[p] = append(c.parts[p], binding{put: func(...string) { put(c.seen, s) }})
}

// dynamicEach is dynamic, for each thing of a part.
func (c *catalogue) dynamicEach(p part, s *series, put func(x *seen, s *series, each string)) {
	c.parts[p] = append(c.parts[p], binding{put: func(values ...string) { put(c.seen, s, values[0]) }})
}
