package webhook

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/action"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

// A connect tells what Node's handshake has, of the fields that are to be forwarded.
func TestConnectTells(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		header := http.Header{"Cookie": {"a=1", "b=\"ü"}, "Authorization": {"Bearer tok3n"}, "X-Secret": {"no"}, "Origin": {"http://other"},
			"Traceparent": {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}}
		c := w.ConnectWith("/", siotest.Options{Auth: map[string]any{"token": "tok3n"}, Header: header, Query: map[string][]string{"x": {"1"}, "y": {"2", "3"}}})
		r := w.app.got()[0]
		x := r.items[0]
		h := x.Handshake
		if x.Type != "connect" || x.Nsp != "/" || x.SID != c.ID() || x.Conn != r.node+"."+c.Socket().Conn().String() || string(x.Auth) != `{"token":"tok3n"}` || string(x.Claims) != `{"sub":"u7"}` || x.Recovered {
			t.Errorf("the item is %+v", x)
		}
		if h.Transport != "websocket" || !strings.HasPrefix(h.URL, "/socket.io/?") || h.Secure || !h.XDomain || h.Query["x"] != "1" || fmt.Sprint(h.Query["y"]) != "[2 3]" {
			t.Errorf("the handshake is %+v", h)
		}
		want := map[string]string{"cookie": `a=1; b="ü`, "authorization": "Bearer tok3n", "traceparent": header.Get("Traceparent")}
		if len(h.Headers) != len(want) || h.Headers["cookie"] != want["cookie"] || h.Headers["authorization"] != want["authorization"] || h.Headers["traceparent"] != want["traceparent"] {
			t.Errorf("the fields are %v, want %v", h.Headers, want)
		}
		if got := r.header.Get("Traceparent"); got != want["traceparent"] {
			t.Errorf("the request has the traceparent %q", got)
		}
	})
}

// What a client sends as traceparent is no field of our request unless it is one, and not
// if the request is of several traces.
func TestTraceparentOfARequest(t *testing.T) {
	one, two := "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "00-4bf92f3577b34da6a3ce929d0e0e4737-00f067aa0ba902b7-01"
	for _, x := range []struct{ of, want string }{{one, one}, {one + " " + one, one}, {one + " " + two, ""}, {one + " " + two + " " + one, ""}, {"", ""}} {
		b := newBatch(newForm("n", new(settings())), action.Connect)
		for trace := range strings.FieldsSeq(x.of) {
			b.follow(trace)
		}
		if got := b.parcel().trace; got != x.want {
			t.Errorf("of %q the trace is %q", x.of, got)
		}
	}
}

// Binary goes in base64, where placeholders say.
func TestAttachmentsInBase64(t *testing.T) {
	inWorld(t, onlyEvents, func(w *world) {
		w.app.answer = func(r *request, _ *http.Request) (*http.Response, error) {
			return results(r, func(x *told) string {
				return `,"ack":[{"_placeholder":true,"num":0}],"attachments":["` + x.Attachments[1] + `"]`
			}), nil
		}
		a := w.Connect("/").EmitAck("x", []byte{1, 2, 3}, map[string]any{"b": []byte("four")})
		var back []byte
		a.Await()
		if a.Decode(&back); string(back) != "four" {
			t.Errorf("the acknowledgement is %v", a.Args())
		}
		x := w.app.got()[0].items[0]
		if !slices.Equal(x.Attachments, []string{"AQID", "Zm91cg=="}) || string(x.Args[1]) != `{"b":{"_placeholder":true,"num":1}}` {
			t.Errorf("the item is %+v", x)
		}
	})
}

// Or in parts of the request.
func TestAttachmentsInParts(t *testing.T) {
	inWorld(t, func(own *config.Backend) { onlyEvents(own); own.Binary = "multipart" }, func(w *world) {
		c := w.Connect("/")
		c.Emit("x", []byte("\r\n--binary--\x00"), []byte("two"))
		c.Emit("plain")
		synctest.Wait()
		var all []told
		var files []map[string][]byte
		for _, r := range w.app.got() {
			all = append(all, r.items...)
			files = append(files, r.files)
		}
		x := all[0]
		if len(all) != 2 || len(x.Attachments) != 2 || string(files[0][x.Attachments[0]]) != "\r\n--binary--\x00" || string(files[0][x.Attachments[1]]) != "two" {
			t.Errorf("the items are %+v, the files %q", all, files)
		}
		if strings.ContainsAny(x.Attachments[0], ". []") {
			t.Errorf("PHP changes the name %q", x.Attachments[0])
		}
	})
}

// CloudEvents have the same in their data.
func TestCloudEvents(t *testing.T) {
	own := settings()
	own.Format = "cloudevents"
	f := newForm("edge \"1", &own)
	x := newBatch(f, action.Event)
	at := time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.FixedZone("", 3600))
	for i := range 2 {
		from := x.at()
		e := &action.Entry{Namespace: "/a", User: "u", Params: []string{"id", "x"}}
		x.body = f.end(entry(f.begin(x.body, fmt.Sprintf("id%d", i), "event", "s1", at), "s1", e, func(name string) string { return map[string]string{"id": `4"2`}[name] }))
		x.add(item{from: from, idLen: 3})
	}
	p := x.parcel()
	var all []struct {
		ID, Specversion, Type, Source, Subject, Time, Datacontenttype string
		Data                                                          struct {
			Type, Nsp, SID, User string
			Params               map[string]string
		}
	}
	if err := json.Unmarshal(p.body, &all); err != nil {
		t.Fatalf("%v: %s", err, p.body)
	}
	e := all[1]
	if p.mime != "application/cloudevents-batch+json" || len(all) != 2 || e.ID != "id1" || e.Specversion != "1.0" || e.Type != "io.socket.event" || e.Source != `/nodes/edge "1` ||
		e.Subject != "s1" || e.Time != "2026-01-02T02:04:05.006Z" || e.Datacontenttype != "application/json" || e.Data.Type != "event" || e.Data.Nsp != "/a" || e.Data.Params["id"] != `4"2` {
		t.Errorf("%s %+v", p.mime, e)
	}
	if id := string(x.itemID(&x.items[1])); id != "id1" {
		t.Errorf("the id of an item is %q", id)
	}
}

func TestCloudEventsOfClients(t *testing.T) {
	inWorld(t, func(own *config.Backend) { own.Format = "cloudevents" }, func(w *world) {
		w.Connect("/").Emit("x", []byte{1})
		synctest.Wait()
		if n := len(w.app.got()); n != 2 {
			t.Errorf("there are %d requests", n)
		}
	})
}

// A batch that loses items, or is cut in two, is JSON with the others, in order.
func TestBatchesThatAreCut(t *testing.T) {
	own := settings()
	for _, format := range []string{"compact", "cloudevents"} {
		own.Format = format
		f := newForm("n", &own)
		for mask := range 1 << 5 {
			x, y := newBatch(f, action.Event), newBatch(f, action.Event)
			for i := range 5 {
				from := x.at()
				x.body = f.end(text(f.begin(x.body, fmt.Sprint(i), "event", "", time.Now()), "long", strings.Repeat("x", i*7)))
				x.add(item{from: from, idLen: 1, tries: i})
			}
			x.keep(func(it *item) bool { return mask>>it.tries&1 == 1 })
			n := len(x.items)
			x.tailInto(y, n/2)
			var got []int
			for _, b := range []*batch{x, y} {
				p := b.parcel()
				if !json.Valid(p.body) {
					t.Fatalf("mask %b: %s", mask, p.body)
				}
				b.unwrap()
				for i := range b.items {
					if string(b.itemID(&b.items[i])) != fmt.Sprint(b.items[i].tries) {
						t.Errorf("mask %b: an item has another's id", mask)
					}
					got = append(got, b.items[i].tries)
				}
			}
			if len(got) != n || !slices.IsSorted(got) || len(x.items) != n/2 {
				t.Errorf("mask %b: the items are %v", mask, got)
			}
		}
	}
}

// With a {type} in the path each request has items of one kind, in order.
func TestOneKindARequest(t *testing.T) {
	inWorld(t, func(own *config.Backend) { onlyEvents(own); own.URL = "http://app.test/sio/{type}?k=v"; own.Lanes = 1 }, func(w *world) {
		answered := make(chan struct{})
		w.app.answer = func(r *request, _ *http.Request) (*http.Response, error) {
			<-answered
			if r.items[0].Ev == "lost" {
				return respond(410, ""), nil
			}
			return respond(204, ""), nil
		}
		c := w.Connect("/")
		for _, name := range []string{"lost", "b", "c", "disconnect", "d"} {
			if name == "disconnect" {
				w.tell(action.Disconnect, 0, 0)
				continue
			}
			c.Emit(name)
			synctest.Wait()
		}
		close(answered)
		synctest.Wait()
		var got []string
		for _, r := range w.app.got() {
			names := []string{r.url}
			for _, x := range r.items {
				names = append(names, x.Type+x.Ev)
			}
			got = append(got, strings.TrimPrefix(strings.Join(names, " "), "http://app.test/sio/"))
		}
		want := []string{"event?k=v eventlost", "lost?k=v lost", "event?k=v eventb eventc", "disconnect?k=v disconnect", "event?k=v eventd"}
		if !slices.Equal(got, want) {
			t.Errorf("the requests are\n%q, want\n%q", got, want)
		}
	})
}

// Whatever a client sends, items are JSON of one line each, with what it is.
func FuzzItems(f *testing.F) {
	f.Add("u\"\n", "ev\u2028", "p", `{"a":[1,"x"]}`)
	form := newForm("n", new(settings()))
	f.Fuzz(func(t *testing.T, user, ev, param, auth string) {
		args, err := sio.ParseArgs([]byte("["+auth+"]"), nil)
		if err != nil || args.Len() == 0 {
			return
		}
		x := newBatch(form, action.Event)
		from := x.at()
		x.body = entry(form.begin(x.body, "id", "event", "s", time.UnixMilli(1)), "s", &action.Entry{Namespace: "/", User: user, Params: []string{param}}, func(string) string { return user })
		x.body = raw(text(x.body, "ev", ev), "auth", args.Raw(0))
		x.body = form.end(x.body)
		x.add(item{from: from, idLen: 2})
		var got struct{ Events []told }
		if err := json.Unmarshal(x.parcel().body, &got); err != nil || len(got.Events) != 1 {
			t.Fatalf("%v: %s", err, x.body)
		}
		if want := strings.ToValidUTF8(user, "\ufffd"); len(got.Events[0].User) < len(user)/4 && want != "" {
			t.Errorf("the user %q is told as %q", user, got.Events[0].User)
		}
	})
}
