package metrics

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"go.yaml.in/yaml/v3"
)

const (
	rulesDir  = "../../deploy/prometheus"
	dashboard = "../../deploy/grafana/sioedge.json"
)

// promtool runs Prometheus' own checker.
func promtool(t *testing.T, dir, stdin string, args ...string) {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		t.Fatal("there is no promtool: make promtool")
	}
	cmd := exec.Command(path, args...)
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// A ruleFile is one of Prometheus'.
type ruleFile struct {
	Groups []struct {
		Rules []struct {
			Record, Alert, Expr string
			Labels, Annotations map[string]string
		}
	}
}

func readRules(t *testing.T, name string) (f ruleFile) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(rulesDir, name))
	if err == nil {
		err = yaml.Unmarshal(b, &f)
	}
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// Rules and alerts are good, and each alert comes when it should and does not when it
// should not.
func TestRulesAndAlerts(t *testing.T) {
	promtool(t, rulesDir, "", "check", "rules", "rules.yml", "alerts.yml")
	promtool(t, rulesDir, "", "test", "rules", "alerts_test.yml")
	var tests struct {
		Tests []struct {
			Alerts []struct {
				Name   string `yaml:"alertname"`
				Expect []any  `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	b, err := os.ReadFile(filepath.Join(rulesDir, "alerts_test.yml"))
	if err == nil {
		err = yaml.Unmarshal(b, &tests)
	}
	if err != nil {
		t.Fatal(err)
	}
	comes, stays := map[string]bool{}, map[string]bool{}
	for _, x := range tests.Tests {
		for _, a := range x.Alerts {
			comes[a.Name] = comes[a.Name] || len(a.Expect) > 0
			stays[a.Name] = stays[a.Name] || len(a.Expect) == 0
		}
	}
	for _, g := range readRules(t, "alerts.yml").Groups {
		for _, r := range g.Rules {
			if !comes[r.Alert] || !stays[r.Alert] {
				t.Errorf("no test says when %s comes (%t), and when not (%t)", r.Alert, comes[r.Alert], stays[r.Alert])
			}
			if r.Labels["severity"] == "" || r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
				t.Errorf("%s says too little", r.Alert)
			}
		}
	}
}

// An expression is one of PromQL, and where it is.
type expression struct{ at, text string }

// expressions returns those of rules, alerts and the dashboard.
func expressions(t *testing.T) (all []expression) {
	for _, file := range []string{"rules.yml", "alerts.yml"} {
		for _, g := range readRules(t, file).Groups {
			for _, r := range g.Rules {
				all = append(all, expression{file + ": " + r.Record + r.Alert, r.Expr})
			}
		}
	}
	b, err := os.ReadFile(dashboard)
	if err != nil {
		t.Fatal(err)
	}
	var d any
	if err := json.Unmarshal(b, &d); err != nil {
		t.Fatal(err)
	}
	var find func(v any, title string)
	find = func(v any, title string) {
		switch v := v.(type) {
		case map[string]any:
			if s, ok := v["title"].(string); ok {
				title = s
			}
			for key, x := range v {
				if s, ok := x.(string); ok && (key == "expr" || key == "query" && strings.Contains(s, "sioedge_")) {
					all = append(all, expression{"dashboard: " + title, s})
				}
				find(x, title)
			}
		case []any:
			for _, x := range v {
				find(x, title)
			}
		}
	}
	find(d, "")
	return all
}

// A shown series is what can be asked for of it.
type shown struct {
	labels map[string][]string // with their values; nil: any
	only   bool                // there are no other labels
}

// series returns what can be asked for.
func seriesOf(t *testing.T) map[string]shown {
	all := map[string]shown{"up": {}}
	m := New(Sources{})
	for _, f := range m.catalogue.all {
		s := shown{labels: map[string][]string{"job": nil, "instance": nil}, only: true}
		for _, l := range f.labels {
			s.labels[l.name] = l.values
		}
		all[f.name] = s
		if f.kind == dto.MetricType_HISTOGRAM {
			delete(all, f.name)
			all[f.name+"_sum"], all[f.name+"_count"] = s, s
			s.labels["le"] = nil
			all[f.name+"_bucket"] = s
		}
	}
	own, done, err := m.Gather()
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	for _, f := range own {
		if name := f.GetName(); !strings.HasPrefix(name, prefix) {
			all[name], all[name+"_sum"], all[name+"_count"] = shown{}, shown{}, shown{}
		}
	}
	for _, g := range readRules(t, "rules.yml").Groups {
		for _, r := range g.Rules {
			all[r.Record] = shown{}
		}
	}
	return all
}

var (
	selector = regexp.MustCompile(`\b([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(\{[^}]*\})`)
	named    = regexp.MustCompile(`\b(?:sioedge[_:]|go_|process_)[a-zA-Z0-9_:]*`)
	matcher  = regexp.MustCompile(`([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*"([^"]*)"`)
	grouping = regexp.MustCompile(`\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)`)
)

// What rules, alerts and the dashboard ask for is there: series, their labels, and the
// values of those; and the dashboard asks in what Prometheus understands.
func TestExpressionsAskForWhatIsThere(t *testing.T) {
	all := seriesOf(t)
	labels := map[string]bool{"le": true, "job": true, "instance": true}
	for _, s := range all {
		for name := range s.labels {
			labels[name] = true
		}
	}
	var asRules strings.Builder
	asRules.WriteString("groups: [{name: dashboard, rules: [")
	for i, x := range expressions(t) {
		text := x.text
		if strings.HasPrefix(x.at, "dashboard") {
			text = strings.NewReplacer("$__rate_interval", "5m", "$__range", "5m", `"$job"`, `".*"`, `"$instance"`, `".*"`, `"$route"`, `".*"`).Replace(text)
			if inner, ok := strings.CutPrefix(text, "label_values("); ok {
				text = inner[:strings.LastIndex(inner, ",")]
			}
			q, err := json.Marshal(text)
			if err != nil {
				t.Fatal(err)
			}
			asRules.WriteString("{record: x, expr: " + string(q) + ", labels: {n: '" + strconv.Itoa(i) + "'}},\n")
		}
		for _, name := range named.FindAllString(text, -1) {
			if _, ok := all[name]; !ok {
				t.Errorf("%s asks for %s, which there is not", x.at, name)
			}
		}
		for _, m := range selector.FindAllStringSubmatch(text, -1) {
			s, ok := all[m[1]]
			for _, l := range matcher.FindAllStringSubmatch(m[2], -1) {
				values, known := s.labels[l[1]]
				switch {
				case ok && s.only && !known:
					t.Errorf("%s: %s has no label %s", x.at, m[1], l[1])
				case values != nil && (l[2] == "=" || l[2] == "!=") && !slices.Contains(values, l[3]):
					t.Errorf("%s: %s of %s is never %q", x.at, l[1], m[1], l[3])
				case values != nil && strings.HasSuffix(l[2], "~"):
					for v := range strings.SplitSeq(l[3], "|") {
						re := regexp.MustCompile("^(?:" + v + ")$")
						if !slices.ContainsFunc(values, re.MatchString) {
							t.Errorf("%s: %s of %s is never %q", x.at, l[1], m[1], v)
						}
					}
				}
			}
		}
		for _, m := range grouping.FindAllStringSubmatch(text, -1) {
			for name := range strings.SplitSeq(m[1], ",") {
				if name = strings.TrimSpace(name); name != "" && !labels[name] {
					t.Errorf("%s groups by %s, which is no label", x.at, name)
				}
			}
		}
	}
	asRules.WriteString("]}]\n")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "dashboard.yml"), []byte(asRules.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, dir, "", "check", "rules", "dashboard.yml")
}
