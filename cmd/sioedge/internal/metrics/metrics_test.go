package metrics

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"

	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

// families returns what is told.
func families(t *testing.T, m *Metrics) []*dto.MetricFamily {
	t.Helper()
	all, done, err := m.Gather()
	t.Cleanup(done)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// What is told is as a registry would have it, and as Prometheus recommends.
func TestWhatIsToldIsSound(t *testing.T) {
	srv := siotest.New(t, sio.Options{})
	srv.Of("/a").OnConnect(func(sio.Socket) error { return nil })
	srv.Of("/b/:id").OnConnect(func(sio.Socket) error { return nil })
	all := families(t, New(Sources{Server: srv.Server, Version: "v1.2.3"}))
	sound := prometheus.Gatherers{prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) { return all, nil })}
	if _, err := sound.Gather(); err != nil {
		t.Error(err)
	}
	problems, err := promlint.NewWithMetricFamilies(all).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	for _, f := range all {
		for _, x := range f.Metric {
			if x.Counter.GetValue() < 0 || x.Gauge.GetValue() < 0 {
				t.Errorf("%s is below 0", f.GetName())
			}
		}
	}
}
