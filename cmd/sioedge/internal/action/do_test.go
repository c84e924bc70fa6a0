package action

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/bustest"
	"github.com/sioedge/sioedge/rooms/value"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

func object(b []byte) bool {
	var m map[string]json.RawMessage
	return json.Unmarshal(b, &m) == nil
}

// checkSendable fails if an event cannot be sent.
func checkSendable(t *testing.T, event string, args sio.Args, l Limits) {
	t.Helper()
	text, attachments, err := value.AppendEvent(nil, event, []any{args}, l.Attachments)
	if err != nil || !json.Valid(text) || len(attachments) > l.Attachments {
		t.Fatalf("%s: %v", text, err)
	}
}

// A backend that answers events with what is in their first argument, as a result.
func answering(srv *siotest.Server, name string, errs *[]error) *sio.Namespace {
	ns := srv.Of(name)
	ns.Handle("do", func(s sio.Socket, m *sio.Msg) error {
		all, err := ParseResults([]byte(`{"results":[`+string(m.Raw(0))+`]}`), Limits{})
		if err != nil {
			return err
		}
		if all[0].Fault != nil {
			return all[0].Fault
		}
		if err := errors.Join(all[0].Enter(s), all[0].Act(srv.Server, s, nil)); err != nil {
			*errs = append(*errs, err)
		}
		if all[0].Ack != nil {
			return m.Ack(*all[0].Ack)
		}
		return nil
	})
	return ns
}

func do(c *siotest.Client, result string) { c.Emit("do", json.RawMessage(`{"id":"x",`+result+`}`)) }

// Each client gets what the emit's target says, once, with its arguments as they came.
func TestEmitReachesWhomItNames(t *testing.T) {
	srv := siotest.New(t, sio.Options{})
	var errs []error
	answering(srv, "/", &errs)
	srv.Of("/other")
	srv.Of("/p/:id")
	a, b, c := srv.Connect("/"), srv.Connect("/"), srv.Connect("/")
	other, p1, p2 := srv.Connect("/other"), srv.Connect("/p/1"), srv.Connect("/p/2")
	do(a, `"join":["r","s"]`)
	do(b, `"join":["r"]`)
	all := map[string]*siotest.Client{"a": a, "b": b, "c": c, "other": other, "p1": p1, "p2": p2}
	for members, want := range map[string]string{
		``:                                   "a",
		`,"volatile":true`:                   "a",
		`,"compress":false`:                  "a",
		`,"to":["$sid"]`:                     "a",
		`,"to":["r"]`:                        "ab",
		`,"to":["r","s"]`:                    "ab",
		`,"to":["r"],"except":["$sid"]`:      "b",
		`,"to":["r"],"except":["s"]`:         "b",
		`,"to":["$sid"],"except":["s"]`:      "",
		`,"to":["$sid","nobody"]`:            "a",
		`,"to":[]`:                           "",
		`,"except":["$sid"]`:                 "bc",
		`,"except":[]`:                       "a",
		`,"nsp":"/"`:                         "abc",
		`,"nsp":"/","to":["r"],"local":true`: "ab",
		`,"nsp":"/other"`:                    "other",
		`,"nsp":"/other","to":["r"]`:         "",
		`,"nsp":"/p/1"`:                      "p1",
		`,"nsp":"/p/3"`:                      "",
	} {
		do(a, `"emit":[{"ev":"e","args":[1.50,{"_placeholder":true,"num":0}],"attachments":["AQI="]`+members+`}]`)
		srv.Settle()
		for name, x := range all {
			reached := strings.Contains(want, name) && (len(want) > 2 || len(name) == 1 || name == want)
			if len(want) > 2 && len(name) == 1 { // a name, not letters
				reached = want == "abc"
			}
			got := x.Received()
			if reached != (len(got) == 1) {
				t.Errorf("%s: %s got %v", members, name, got)
			}
			if len(got) == 1 && (string(got[0].Raw(0)) != "1.50" || string(got[0].Binary()[0]) != "\x01\x02") {
				t.Errorf("%s: %s got %v", members, name, got[0])
			}
		}
	}
	if len(errs) > 0 {
		t.Error(errs)
	}
	do(a, `"actions":[{"op":"emit","ev":"lost","nsp":"/none"},{"op":"emit","ev":"sent"}]`)
	var f *FieldError
	if len(errs) != 1 || !errors.As(errs[0], &f) || f.Field != "actions[0].nsp" || f.Code != UnknownNsp {
		t.Errorf("errors: %v", errs)
	}
	a.Expect("sent")
}

// Actions happen in their order: who joins gets what is emitted to the room after it,
// and not what was before.
func TestActionsAreInOrder(t *testing.T) {
	srv := siotest.New(t, sio.Options{})
	var errs []error
	answering(srv, "/", &errs)
	a := srv.Connect("/")
	emit := func(n int) string { return fmt.Sprintf(`{"op":"emit","to":["r"],"ev":"e","args":[%d]}`, n) }
	do(a, `"actions":[`+emit(1)+`,{"op":"join","rooms":["r"]},`+emit(2)+`,{"op":"leave","rooms":["r"]},`+emit(3)+`,{"op":"join","rooms":["r"]},`+emit(4)+
		`,{"op":"emit","ev":"self"},{"op":"disconnect","code":4403,"reason":"banned","close":true},{"op":"emit","ev":"late"}]`)
	for _, want := range []int{2, 4} {
		if got := siotest.Expect[int](a, "e"); got != want {
			t.Errorf("got %d, want %d", got, want)
		}
	}
	a.Expect("self")
	if end := a.ExpectDisconnect(); end.Code != 4403 || end.Text != "banned" {
		t.Errorf("it is disconnected with %+v", end)
	}
	if len(errs) > 0 && !errors.Is(errs[0], sio.ErrClosed) {
		t.Error(errs)
	}
}

// Data is replaced at connect and its members set afterwards, with a bound.
func TestData(t *testing.T) {
	srv := siotest.New(t, sio.Options{})
	var errs []error
	answering(srv, "/", &errs)
	a := srv.Connect("/")
	for _, x := range []struct{ result, want string }{
		{`"data":{"plan":"pro","n":1.0}`, `{"plan":"pro","n":1.0}`},
		{`"actions":[{"op":"data","set":{"seen":9,"pl\u0061n":"free"}}]`, `{"n":1.0,"seen":9,"pl\u0061n":"free"}`},
		{`"actions":[{"op":"data","set":{"n":null,"none":null}}]`, `{"seen":9,"pl\u0061n":"free"}`},
		{`"actions":[{"op":"data","set":{"seen":1,"x":{"y":[]},"seen":2}}]`, `{"pl\u0061n":"free","seen":2,"x":{"y":[]}}`},
		{`"actions":[{"op":"data","set":{}}]`, `{"pl\u0061n":"free","seen":2,"x":{"y":[]}}`},
		{`"data":{}`, `{}`},
	} {
		do(a, x.result)
		srv.Settle()
		if got, _ := a.Socket().Data().(json.RawMessage); string(got) != x.want {
			t.Errorf("after %s it is %s, want %s", x.result, got, x.want)
		}
	}
	long := `"` + strings.Repeat("x", 10<<10) + `"`
	do(a, `"actions":[{"op":"data","set":{"a":`+long+`}}]`)
	do(a, `"actions":[{"op":"data","set":{"b":`+long+`}}]`)
	srv.Settle()
	var f *FieldError
	if len(errs) != 1 || !errors.As(errs[0], &f) || f.Field != "actions[0].set" || f.Code != TooLong {
		t.Errorf("errors: %v", errs)
	}
	a.Socket().SetData(map[string]int{"go": 1})
	if err := SetData(a.Socket(), json.RawMessage(`{"b":2}`), 0); err != nil || string(a.Socket().Data().(json.RawMessage)) != `{"go":1,"b":2}` {
		t.Errorf("SetData = %v, and the data is %s", err, a.Socket().Data())
	}
}

// What goroutines set at the same time is all there.
func TestDataFromGoroutines(t *testing.T) {
	srv := siotest.New(t, sio.Options{})
	srv.Of("/")
	s := srv.Connect("/").Socket()
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 20 {
				if err := SetData(s, json.RawMessage(fmt.Sprintf(`{"m%d.%d":%d}`, i, j, j)), 0); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	var m map[string]int
	if err := json.Unmarshal(s.Data().(json.RawMessage), &m); err != nil || len(m) != 160 {
		t.Errorf("there are %d members, %v", len(m), err)
	}
}

// A connecting socket is in its rooms when it is greeted, until its deadline. What cannot
// be joined is an error.
func TestEnter(t *testing.T) {
	srv := siotest.New(t, sio.Options{MaxRooms: 2})
	var x Result
	srv.Of("/").Use(func(s sio.Socket) error {
		x = one(t, `{"id":"a","join":["r"],"data":{"a":1},"expireAt":`+fmt.Sprint(srv.Now().Unix()+60)+`,"emit":[{"ev":"welcome"},{"ev":"me","to":["$sid"]},{"ev":"room","to":["r"]}]}`)
		return x.Enter(s)
	})
	srv.Of("/").OnConnect(func(s sio.Socket) error { return x.Act(srv.Server, s, nil) })
	a := srv.Connect("/")
	for _, event := range []string{"welcome", "me", "room"} {
		a.Expect(event)
	}
	if err := Join(a.Socket(), []string{"s"}); err != nil {
		t.Error(err)
	}
	if err := Join(a.Socket(), []string{"t"}); !errors.Is(err, sio.ErrTooManyRooms) {
		t.Errorf("Join of one too many = %v", err)
	}
	if err := srv.ExpectError("join"); !errors.Is(err, sio.ErrTooManyRooms) {
		t.Error(err)
	}
	left := a.Socket()
	srv.Advance(61 * time.Second)
	if end := a.ExpectDisconnect(); end.Code != sio.ExpiredCode {
		t.Errorf("it is disconnected with %+v", end)
	}
	if err := Join(left, []string{"r"}); !errors.Is(err, sio.ErrClosed) {
		t.Errorf("Join of who has left = %v", err)
	}
}

// On an event loop nothing waits.
func TestJoinInline(t *testing.T) {
	srv := siotest.New(t, sio.Options{})
	srv.Of("/").HandleInline("join", func(s sio.Socket, m *sio.Msg) error {
		if err := Join(s, []string{"r"}); err != nil {
			return err
		}
		return s.Namespace().To("r").Emit("joined")
	})
	a := srv.Connect("/")
	a.Emit("join")
	a.Expect("joined")
}

// Without a socket there is no $sid, and no namespace is the root.
func TestEmitWithoutASocket(t *testing.T) {
	srv := siotest.New(t, sio.Options{})
	srv.Of("/")
	a := srv.Connect("/")
	for raw, code := range map[string]Code{`{"ev":"e"}`: "", `{"ev":"e","to":["$sid"]}`: Malformed, `{"ev":"e","except":["a","$sid"]}`: Malformed, `{"ev":"e","nsp":"/x"}`: UnknownNsp} {
		e, _, err := ParseEmit([]byte(raw), Limits{})
		if err != nil {
			t.Fatal(err)
		}
		err = e.Do(srv.Server, sio.Socket{}, false)
		var f *FieldError
		if errors.As(err, &f); code == "" && err != nil || code != "" && (f == nil || f.Code != code) {
			t.Errorf("%s: %v, want %q", raw, err, code)
		}
	}
	a.Expect("e")
	a.ExpectNothing()
}

// In a cluster, rooms of all servers are addressed unless local is asked for, and a
// socket's data is shown to the others.
func TestCluster(t *testing.T) {
	bus := bustest.New()
	var servers [2]*sio.Server
	var urls [2]string
	for i := range servers {
		srv, err := sio.New(sio.Options{Adapter: bus.Adapter(), Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		servers[i] = srv
		srv.Of("/p/:id").Handle("do", func(s sio.Socket, m *sio.Msg) error {
			all, err := ParseResults([]byte(`{"results":[`+string(m.Raw(0))+`]}`), Limits{})
			if err != nil {
				return err
			}
			if err := errors.Join(all[0].Enter(s), all[0].Act(srv, s, nil)); err != nil {
				t.Error(err)
			}
			return m.Ack()
		})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		// ends with the test
		go func() { done <- srv.Serve(ctx) }()
		web := httptest.NewServer(srv)
		urls[i] = web.URL
		t.Cleanup(func() { cancel(); <-done; web.CloseClientConnections(); web.Close() })
	}
	a, b := bustest.Poll(t, urls[0]), bustest.Poll(t, urls[1])
	for _, c := range []*bustest.Poller{a, b} {
		c.Send(`40/p/1,`)
		c.Await(`40/p/1,`)
		c.Send(`42/p/1,0["do",{"id":"x","data":{"plan":"pro"},"join":["r"],"actions":[{"op":"data","set":{"seen":[1.0]}}]}]`)
		c.Await(`43/p/1,0[]`)
	}
	a.Send(`42/p/1,["do",{"id":"x","actions":[{"op":"emit","to":["r"],"ev":"here","local":true},{"op":"emit","to":["r"],"ev":"there","except":["$sid"],"args":[2.0]},{"op":"emit","to":["r"],"ev":"both"}]}]`)
	a.Await(`42/p/1,["here"]`)
	a.Await(`42/p/1,["both"]`)
	b.Await(`42/p/1,["there",2.0]`)
	b.Await(`42/p/1,["both"]`)
	to, _ := servers[0].Find("/p/1")
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	all, err := to.FetchSockets(ctx)
	if err != nil || len(all) != 2 {
		t.Fatalf("there are %d sockets, %v", len(all), err)
	}
	for _, s := range all {
		var data json.RawMessage
		if err := s.Data(&data); err != nil || string(data) != `{"plan":"pro","seen":[1.0]}` {
			t.Errorf("the data is %s, %v", data, err)
		}
	}
}
