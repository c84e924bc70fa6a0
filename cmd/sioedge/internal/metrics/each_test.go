package metrics

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
)

// unsaid are fields of what is counted that no series has, and why.
var unsaid = map[string]string{
	"Server.Namespaces":        "each is looked at as Route",
	"Server.Late":              "each is looked at as Loop",
	"Server.Loop.Closed":       "the sum of Closes",
	"Server.Loop.Traffic":      "Server.Engine.Traffic says what is what",
	"Server.Loop.Turns":        "is told of each loop",
	"Server.Loop.Busy":         "likewise",
	"Server.Loop.Lag":          "likewise",
	"Cluster.Incomplete":       "the sum of what Questions has of it",
	"Route.Events":             "the sum of what In has of it",
	"Route.Emits":              "the sum of Out",
	"Server.Directory.Waiting": "is Server.Backlog.Broadcasts",
	"Cluster.Discarded":        "the sum of Discards",
	"Cluster.Lost":             "the sum of Losses",
	"Backend.Lost[*][0]":       "there is no such reason",
	"Backend.Lost[*][6]":       "what was taken is not lost",
	"Backend.Lost[*][7]":       "nor this",
	"Backend.Undecided[0]":     "there is no such reason",
	"Backend.Undecided[6]":     "what was taken is decided",
	"Backend.Undecided[7]":     "and this",
	"Backend.Connects.Sizes":   "each has one",
	"TLS.Link.Failed[0]":       "there is no such reason",
	"TLS.Link.Broken[0]":       "there is no such reason",
	"Process.RSS":              "of connections, that there are none of here",
	"Process.Base":             "likewise",
}

// Each number that is counted anywhere is told: it makes a difference to some series.
func TestEachCountIsTold(t *testing.T) {
	m := New(Sources{})
	walk(reflect.ValueOf(&m.seen).Elem(), "", func(v reflect.Value, path string) {
		before := m.values()
		switch v.Kind() {
		case reflect.Int, reflect.Int64:
			v.SetInt(1 << 40)
		case reflect.Uint64:
			v.SetUint(1 << 40)
		case reflect.Float64:
			v.SetFloat(1 << 40)
		case reflect.Bool:
			v.SetBool(true)
		}
		if m.values() == before {
			t.Errorf("%s is told nowhere", path)
		}
		v.SetZero()
	})
}

// walk calls f for each number in v.
func walk(v reflect.Value, path string, f func(v reflect.Value, path string)) {
	general := path
	if i := strings.IndexByte(path, '['); i >= 0 && strings.Count(path, "[") == 2 {
		general = path[:i] + "[*" + path[strings.IndexByte(path, ']'):]
	}
	if _, ok := unsaid[general]; ok {
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return
		}
		for i := range v.NumField() {
			if field := v.Type().Field(i); field.IsExported() {
				walk(v.Field(i), strings.TrimPrefix(path+"."+field.Name, "."), f)
			}
		}
	case reflect.Array:
		for i := range v.Len() {
			walk(v.Index(i), fmt.Sprintf("%s[%d]", path, i), f)
		}
	case reflect.Int, reflect.Int64, reflect.Uint64, reflect.Float64, reflect.Bool:
		f(v, path)
	}
}

// values returns what all series say of what is seen, one thing of each part.
func (m *Metrics) values() string {
	m.serial++
	m.catalogue.begin(m.serial)
	for p := range parts {
		if eachOf[p].name != "" {
			m.catalogue.tell(p, "it")
		} else {
			m.catalogue.tell(p)
		}
	}
	var b []byte
	for _, f := range m.catalogue.all {
		for _, x := range f.out.Metric {
			if h := x.Histogram; h != nil {
				b = strconv.AppendFloat(b, h.GetSampleSum(), 'g', -1, 64)
				b = strconv.AppendUint(b, h.GetSampleCount(), 10)
				for _, k := range h.Bucket {
					b = strconv.AppendUint(append(b, ' '), k.GetCumulativeCount(), 10)
				}
			} else {
				b = strconv.AppendFloat(append(b, ' '), x.GetCounter().GetValue()+x.GetGauge().GetValue(), 'g', -1, 64)
			}
		}
	}
	return string(b)
}
