package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/api/wire"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/bustest"
	"github.com/sioedge/sioedge/sio"
)

func TestEmit(t *testing.T) {
	bus := bustest.New()
	a, b := start(t, bus, nil), start(t, bus, nil)
	in, out := a.connect("/", "u1", "{}", "r1"), a.connect("/", "u2", "{}")
	far, chat := b.connect("/", "u3", "{}", "r1"), b.connect("/chat", "u4", "{}", "r1")
	a.wants("POST", "/api/emit", `{"to":["r1"],"ev":"news","args":[1,{"a":  "ä"}]}`, 200, `{}`)
	in.gets(`["news",1,{"a":  "ä"}]`)
	far.gets(`["news",1,{"a":  "ä"}]`)
	a.wants("POST", "/api/emit", `{"nsp":"/chat","ev":"file","args":[{"_placeholder":true,"num":0}],"attachments":["AAE="]}`, 200, `{}`)
	chat.Await(`451-/chat,["file",{"_placeholder":true,"num":0}]`)
	a.wants("POST", "/api/emit", `{"ev":"all","except":["r1"],"local":true,"volatile":false,"compress":false,"to":null}`, 400,
		`{"error":{"code":"wrong_type","message":"is to be a list of texts, not null: without it, everybody is addressed","field":"to"}}`)
	a.wants("POST", "/api/emit", `{"ev":"all","except":["r1"],"local":true}`, 200, `{}`)
	out.gets(`["all"]`)
	a.wants("POST", "/api/emit", `{"ev":"nobody","to":[]}`, 200, `{}`)
	a.wants("POST", "/api/emit", `{"ev":"one","to":["`+far.id+`"]}`, 200, `{}`)
	far.gets(`["one"]`)
	a.wants("POST", "/api/raw?nsp=%2F&to=r1&to=r2&except=r3", ` ["raw", 1.50 , "x"] `, 200, `{}`)
	in.gets(`["raw",1.50,"x"]`)
	for _, c := range []*client{in, out, far, chat} {
		for _, event := range []string{"nobody", "all", "one"} {
			if c.Has("42" + c.ns + `["` + event) {
				t.Errorf("%s got %s", c.id, event)
			}
		}
	}
}

// With recovery, the answer has the offset that clients get.
func TestEmitOffset(t *testing.T) {
	a := startWith(t, nil, sio.Options{Recovery: sio.Recovery{Window: time.Minute}}, nil)
	c := a.connect("/", "", "{}", "r1")
	last := ""
	for _, x := range []struct{ path, body, event, pattern string }{
		{"emit", `{"ev":"a","to":["r1"]}`, `["a","%s"]`, `{"offset":"%s"}`},
		{"raw?to=r1", `["b",1]`, `["b",1,"%s"]`, `{"offset":"%s"}`},
		{"batch", `{"commands":[{"id":1,"emit":{"ev":"c"}}]}`, `["c","%s"]`, `{"results":[{"id":1,"result":{"offset":"%s"}}]}`},
		{"stream", `{"id":"x","emit":{"ev":"d"}}`, `["d","%s"]`, `{"id":"x","result":{"offset":"%s"}}` + "\n"},
	} {
		status, answer := a.ask("POST", "/api/"+x.path, x.body)
		var offset string
		if _, err := fmt.Sscanf(strings.NewReplacer(`"`, " ", `}`, " ", `]`, " ").Replace(answer[strings.Index(answer, "offset"):]), "offset : %s", &offset); status != 200 || err != nil || answer != fmt.Sprintf(x.pattern, offset) {
			t.Fatalf("%s: %d %s, %v", x.path, status, answer, err)
		}
		c.gets(fmt.Sprintf(x.event, offset))
		if offset <= last {
			t.Errorf("%s: %q is not behind %q", x.path, offset, last)
		}
		last = offset
	}
	a.wants("POST", "/api/emit", `{"ev":"v","volatile":true}`, 200, `{}`)
	_, first := a.ask("POST", "/api/emit", `{"ev":"once","id":"k"}`)
	a.wants("POST", "/api/emit", `{"ev":"once","id":"k"}`, 200, strings.Replace(first, "}", `,"replayed":true}`, 1))
	if !strings.Contains(first, "offset") {
		t.Error(first)
	}
}

// What is wrong with a command says which member it is, and nobody gets anything.
func TestEmitThatIsWrong(t *testing.T) {
	a := start(t, bustest.New(), func(o *Options) { o.MaxBody = 2048 })
	c := a.connect("/", "", "{}", "r1")
	for _, x := range []struct{ path, body, want string }{
		{"emit", `{`, `400 malformed `},
		{"emit", ``, `400 malformed `},
		{"emit", `[]`, `400 wrong_type `},
		{"emit", `{"to":["r1"]}`, `400 missing ev`},
		{"emit", `{"ev":"connect"}`, `400 reserved ev`},
		{"emit", `{"ev":"x","rooms":["r1"]}`, `400 unknown_member rooms`},
		{"emit", `{"ev":"x","to":["r1",2]}`, `400 wrong_type to[1]`},
		{"emit", `{"ev":"x","to":["$sid"]}`, `400 malformed to[0]`},
		{"emit", `{"ev":"x","nsp":"/nowhere"}`, `404 unknown_namespace nsp`},
		{"emit", `{"ev":"x","nsp":"/sioedge.servers"}`, `404 unknown_namespace nsp`},
		{"emit", `{"ev":"x","nsp":"sioedge.servers"}`, `404 unknown_namespace nsp`},
		{"emit", `{"ev":"x","nsp":"/sioedge.servers/` + a.srv.Node() + `"}`, `404 unknown_namespace nsp`},
		{"emit?ack=1s", `{"ev":"x","nsp":"/sioedge.servers/other"}`, `404 unknown_namespace nsp`},
		{"raw?nsp=%2Fsioedge.servers", `["x"]`, `404 unknown_namespace nsp`},
		{"emit", `{"ev":"x","args":` + strings.Repeat("[", 70) + strings.Repeat("]", 70) + `}`, `400 too_deep args[0]`},
		{"emit", `{"ev":"x","args":["` + strings.Repeat("a", 2048) + `"]}`, `413 too_long `},
		{"emit", `{"ev":"x","id":7}`, `400 wrong_type id`},
		{"emit", `{"ev":"x","id":"` + strings.Repeat("a", 129) + `"}`, `400 too_long id`},
		{"emit?ack=soon", `{"ev":"x"}`, `400 malformed ack`},
		{"emit?ack=6m", `{"ev":"x"}`, `400 malformed ack`},
		{"emit?ack=1s&ack=2s", `{"ev":"x"}`, `400 duplicate ack`},
		{"emit?to=r1", `{"ev":"x"}`, `400 unknown_parameter to`},
		{"emit?%zz", `{"ev":"x"}`, `400 malformed `},
		{"raw?too=r1", `["x"]`, `400 unknown_parameter too`},
		{"raw?to=", `["x"]`, `400 malformed to`},
		{"raw?volatile=maybe", `["x"]`, `400 wrong_type volatile`},
		{"raw?nsp=%2Fnowhere", `["x"]`, `404 unknown_namespace nsp`},
		{"raw", `[]`, `400 missing `},
		{"raw", `[1]`, `400 wrong_type [0]`},
		{"raw", `["x"]]`, `400 malformed `},
		{"raw", `["x",` + "\"\xff\"]", `400 malformed `},
	} {
		status, answer := a.ask("POST", "/api/"+x.path, x.body)
		var f wire.Failure
		if err := json.Unmarshal([]byte(answer), &f); err != nil {
			t.Fatalf("%s: %v", answer, err)
		}
		if got := fmt.Sprint(status, " ", f.Error.Code, " ", f.Error.Field); got != x.want || f.Error.Message == "" {
			t.Errorf("%s %.60s is answered %s (%s), want %s", x.path, x.body, got, f.Error.Message, x.want)
		}
	}
	a.wants("POST", "/api/emit", `{"ev":"last"}`, 200, `{}`)
	c.gets(`["last"]`)
	if c.Has("42") {
		t.Error("a client got what was wrong")
	}
}

// ackID returns the number of an acknowledgement that an event wants.
func (c *client) ackID(event string) string {
	p := strings.TrimPrefix(c.Await("42"), "42")
	id, rest, _ := strings.Cut(p, "[")
	if "["+rest != event {
		return "of " + p
	}
	return id
}

func TestEmitAck(t *testing.T) {
	bus := bustest.New()
	a, b := start(t, bus, nil), start(t, bus, nil)
	near, far, mute := a.connect("/", "", "{}", "r"), b.connect("/", "", "{}", "r"), a.connect("/", "", "{}", "r")
	type answered struct {
		status int
		body   string
	}
	ask := func(path, body string, fields ...string) chan answered {
		done := make(chan answered, 1)
		// ends with the answer
		go func() {
			status, answer := a.ask("POST", path, body, fields...)
			done <- answered{status, answer}
		}()
		return done
	}
	replies := func() {
		far.Send("43" + far.ackID(`["q",1]`) + `[{"from":"far"}]`)
		near.Send("43" + near.ackID(`["q",1]`) + `["near",2]`)
		_ = mute.ackID(`["q",1]`)
	}
	done := ask("/api/emit?ack=2s", `{"ev":"q","to":["r"],"args":[1],"id":"once"}`)
	replies()
	got := <-done
	var acks wire.Acks
	if err := json.Unmarshal([]byte(got.body), &acks); err != nil {
		t.Fatal(err)
	}
	var responses []string
	for _, r := range acks.Responses {
		responses = append(responses, string(r))
	}
	slices.Sort(responses)
	if got.status != 200 || !slices.Equal(responses, []string{`"near"`, `{"from":"far"}`}) || acks.Clients != 3 || acks.Missing != 1 {
		t.Errorf("the answer is %d %s, want two responses of three clients", got.status, got.body)
	}
	again := <-ask("/api/emit?ack=2s", `{"ev":"q","to":["r"],"args":[1],"id":"once"}`)
	if want := strings.TrimSuffix(got.body, "}") + `,"replayed":true}`; again.body != want {
		t.Errorf("again it is %s, want %s", again.body, want)
	}
	done = ask("/api/emit?ack=2s", `{"ev":"q","to":["r"],"args":[1]}`, "Accept", "text/html, application/x-ndjson;q=1")
	replies()
	lines := strings.Split(strings.TrimSpace((<-done).body), "\n")
	last := lines[len(lines)-1]
	slices.Sort(lines)
	if !slices.Equal(lines, []string{`{"done":true,"clients":3,"missing":1}`, `{"response":"near"}`, `{"response":{"from":"far"}}`}) || !strings.HasPrefix(last, `{"done"`) {
		t.Errorf("streamed it is %q", lines)
	}
	if got := <-ask("/api/emit?ack=1s", `{"ev":"q","id":"x"}`, "Accept", wire.NDJSON); got.status != http.StatusBadRequest {
		t.Errorf("streamed with an idempotency key it is %v", got)
	}
	if got := <-ask("/api/emit?ack=1s", `{"ev":"q","to":["nobody"]}`); got.body != `{"responses":[],"clients":0,"missing":0}` {
		t.Errorf("of nobody it is %v", got)
	}
}

// Acknowledgements that are gathered are bounded; those that are streamed and read are not.
func TestTooManyBytesOfAcks(t *testing.T) {
	a := start(t, nil, nil)
	a.api.maxAcks = 64
	c := a.connect("/", "", "{}", "r")
	answers := make(chan string, 1)
	ask := func(body string, fields ...string) {
		// ends with the answer
		go func() {
			status, answer := a.ask("POST", "/api/emit?ack=20s", body, fields...)
			answers <- fmt.Sprint(status, " ", answer)
		}()
	}
	long := `["` + strings.Repeat("x", 63) + `"]`
	ask(`{"ev":"q"}`)
	c.Send("43" + c.ackID(`["q"]`) + long) // 65 bytes
	if got := <-answers; !strings.HasPrefix(got, "413 ") || !strings.Contains(got, "more than 64 bytes") {
		t.Errorf("too much is answered %s", got)
	}
	ask(`{"ev":"q"}`)
	c.Send("43" + c.ackID(`["q"]`) + `["` + strings.Repeat("x", 62) + `"]`)
	if got := <-answers; !strings.HasPrefix(got, "200 ") || !strings.HasSuffix(got, `"clients":1,"missing":0}`) {
		t.Errorf("just as much as may be is answered %s", got)
	}
	ask(`{"ev":"q"}`, "Accept", wire.NDJSON)
	c.Send("43" + c.ackID(`["q"]`) + long)
	if got := <-answers; !strings.Contains(got, `"done":true`) || !strings.Contains(got, "more than 64 bytes") {
		t.Errorf("streamed, one that is too long is answered %s", got)
	}
}

func TestBatch(t *testing.T) {
	a := start(t, nil, nil)
	c := a.connect("/", "", "{}", "r1")
	const some = `{"commands":[{"id":1,"emit":{"ev":"a","to":["r1"]}},{"emit":{"ev":"b","nsp":"/nowhere"}},{"id":"x","emit":{"to":["r1"],"ev":"c"}},{"id":[1],"emit":{}},{"jump":{}},7,{"emit":{"ev":"d"},"emit":{"ev":"e"}},{"id":3}]%s}`
	const want = `{"results":[{"id":1,"result":{}},{"error":{"code":"unknown_namespace","message":"is a namespace that no client can join","field":"emit.nsp"}},{"id":"x","result":{}},` +
		`{"error":{"code":"wrong_type","message":"is to be a text or a number of at most 256 bytes","field":"id"}},{"error":{"code":"unknown_command","message":"is no command","field":"jump"}},` +
		`{"error":{"code":"wrong_type","message":"is to be an object such as {\"emit\":{…}}"}},{"error":{"code":"too_many","message":"is one command too many","field":"\"emit\""}},` +
		`{"id":3,"error":{"code":"missing","message":"has no command"}}]}`
	a.wants("POST", "/api/batch", fmt.Sprintf(some, ""), 200, want)
	c.gets(`["a"]`)
	c.gets(`["c"]`)
	a.wants("POST", "/api/batch", fmt.Sprintf(some, `,"parallel":true`), 200, want)
	c.gets(`["a"]`)
	c.gets(`["c"]`)
	a.wants("POST", "/api/batch", `{"commands":[]}`, 200, `{"results":[]}`)
	for body, code := range map[string]string{
		`{}`: "missing", `{"commands":7}`: "wrong_type", `{"commands":[],"parallel":1}`: "wrong_type", `{"command":[]}`: unknownMember, `[`: "malformed",
		`{"commands":[` + strings.TrimSuffix(strings.Repeat("1,", maxCommands+1), ",") + `]}`: "too_many",
	} {
		if status, answer := a.ask("POST", "/api/batch", body); status != 400 || !strings.Contains(answer, `"code":"`+code+`"`) {
			t.Errorf("%.40s is answered %d %s, want %s", body, status, answer, code)
		}
	}
}
