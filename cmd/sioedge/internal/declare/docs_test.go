package declare

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/action"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/sio"
)

const (
	guide    = "../../docs/namespaces.md"
	backends = "../../docs/webhooks.md"
)

// examples returns the files of settings that a guide shows, or what else it has.
func examples(t *testing.T, guide, language string) (all []string, text string) {
	t.Helper()
	b, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(string(b), -1) {
		all = append(all, m[1])
	}
	return all, string(b)
}

func load(t *testing.T, text string) *config.Loaded {
	t.Helper()
	file := filepath.Join(t.TempDir(), "sioedge.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := config.Load(config.Sources{Environ: []string{"SIOEDGE_CONFIG=" + file, "JWT_SECRET=" + secret, "HOOK_SECRET=" + secret, "EDGE_SECRET=" + secret}})
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if len(l.Unknown) > 0 {
		t.Fatalf("%v\n%s", l.Unknown, text)
	}
	return l
}

func TestTheGuidesExamplesCompile(t *testing.T) {
	all, _ := examples(t, guide, "yaml")
	more, _ := examples(t, backends, "yaml")
	if len(all) < 4 || len(more) < 2 {
		t.Fatalf("%d and %d examples", len(all), len(more))
	}
	for _, text := range slices.Concat(all, more) {
		l := load(t, text)
		if _, err := Compile(l.Namespaces, Options{Auth: l.Auth.Mode != "none", Backends: l.BackendsOf(), Bridges: l.BridgesOf()}); err != nil {
			t.Errorf("%v\n%s", err, text)
		}
	}
}

// Its first example is what the tests run, and its third a chat.
func TestTheGuidesExamplesRun(t *testing.T) {
	all, _ := examples(t, guide, "yaml")
	a := start(t, sio.Options{}, load(t, all[0]).Namespaces...)
	c := a.connect(campaign, "u7", claimed{"scope": "campaign:42:read"})
	if got := ask(c, "subscribe", "trend:42:eur"); got != `{"ok":true,"room":"trend:42:eur"}` {
		t.Error(got)
	}
	if got := ask(c, "subscribe", "trend:7:eur"); got != `{"error":"forbidden","data":{"code":403}}` {
		t.Error(got)
	}

	a = start(t, sio.Options{}, load(t, all[2]).Namespaces...)
	ann, bob := a.Connect("/chat"), a.Connect("/chat")
	ask(ann, "join", "x")
	if got := ask(ann, "say", "x", "hello"); got != `{"ok":true}` {
		t.Error(got)
	}
	ask(bob, "join", "x")
	var room, said string
	var by sender
	bob.Expect("say", &room, &said, &by)
	if room != "x" || said != "hello" || by.ID != ann.ID() {
		t.Errorf("replayed %q, %q, %v", room, said, by)
	}
	if got := ask(bob, "say", "y", "hello"); got != `{"error":"forbidden","data":{"code":403}}` {
		t.Error(got)
	}
}

// What a client may be told is in the guide, and so are the names that are taken.
func TestTheGuideHasAllAnswers(t *testing.T) {
	_, text := examples(t, guide, "yaml")
	for _, r := range refusals {
		if !strings.Contains(text, r.message) {
			t.Errorf("%q is not in the guide", r.message)
		}
	}
	for _, event := range slices.Concat(ownEvents, []string{"/sioedge.servers"}) {
		if !strings.Contains(text, "`"+event+"`") {
			t.Errorf("%s is not in the guide", event)
		}
	}
}

// What the guide for backends has answered is understood, and does not speak of what there is not.
func TestTheGuidesAnswersAreUnderstood(t *testing.T) {
	all, text := examples(t, backends, "json")
	if len(all) != 2 {
		t.Fatalf("%d examples", len(all))
	}
	var request struct{ Events []struct{ ID, Type string } }
	if err := json.Unmarshal([]byte(all[0]), &request); err != nil || len(request.Events) != 2 {
		t.Errorf("the request is %+v, %v", request, err)
	}
	results, err := action.ParseResults([]byte(all[1]), action.Limits{})
	if err != nil || len(results) != 2 {
		t.Fatal(results, err)
	}
	for i, r := range results {
		if r.Fault != nil || r.ID != request.Events[i].ID {
			t.Errorf("result %s: %v", r.ID, r.Fault)
		}
	}
	if x := results[0]; x.User != "u7" || x.ExpireAt == 0 || x.CacheTTL != 30*time.Second || len(x.Scope) != 1 || len(x.Join) != 2 || len(x.Emit) != 1 {
		t.Errorf("the first result is %+v", x)
	}
	if x := results[1]; x.Ack == nil || len(x.Actions) != 5 {
		t.Errorf("the second result is %+v", x)
	}
	for _, kind := range config.Hooks {
		if !strings.Contains(text, "| `"+kind+"` |") {
			t.Errorf("%s is not in the guide", kind)
		}
	}
	for _, r := range []reason{tooMany, unavailable} {
		if !strings.Contains(text, refusals[r].message) {
			t.Errorf("%q is not in the guide", refusals[r].message)
		}
	}
}
