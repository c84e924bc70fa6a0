package api

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/api/wire"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/bustest"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/peerlink"
	"github.com/sioedge/sioedge/sio"
)

// into makes a request and reads its answer.
func (a *app) into(x any, method, path, body string) {
	a.t.Helper()
	status, answer := a.ask(method, path, body)
	if status != 200 {
		a.t.Errorf("%s %s %s = %d %s", method, path, body, status, answer)
		return
	}
	if err := json.Unmarshal([]byte(answer), x); err != nil {
		a.t.Fatal(err)
	}
}

// pages asks for all pages of a query and returns the ids, in order.
func (a *app) pages(query string, limit int) (ids []string) {
	a.t.Helper()
	for cursor, n := "", 0; n == 0 || cursor != ""; n++ {
		var page wire.Sockets
		a.into(&page, "POST", "/api/sockets/query", fmt.Sprintf(`{%s"limit":%d,"cursor":%q}`, query, limit, cursor))
		if len(page.Sockets) > limit || page.Partial != nil || n > 100 {
			a.t.Fatalf("page %d is %+v", n, page)
		}
		for _, s := range page.Sockets {
			ids = append(ids, s.SID)
		}
		cursor = page.Cursor
	}
	slices.Sort(ids)
	return ids
}

// A query has each socket of the cluster that its filter has, once, whatever its pages
// are; what it asks of a socket is judged on the server that has it.
func TestQuery(t *testing.T) {
	bus := bustest.New()
	a, b := start(t, bus, nil), start(t, bus, nil)
	all := map[string]*client{}
	for i, s := range []*app{a, b, a, b, a, b} {
		plan := []string{"pro", "free", "pro"}[i%3]
		c := s.connect("/", fmt.Sprint("u", i%4), fmt.Sprintf(`{"plan":%q,"n":%d,"deep":{"a":null,"b":true}}`, plan, i), "r", fmt.Sprint("r", i))
		all[fmt.Sprint(i)] = c
	}
	a.connect("/chat", "u1", "{}", "r")
	inst := b.connect("/rooms/7", "u9", "{}")
	for query, want := range map[string]string{
		``:                             "0 1 2 3 4 5",
		`"nsp":"/","in":["r"],`:        "0 1 2 3 4 5",
		`"in":["r1","r2","nobody"],`:   "1 2",
		`"in":[],`:                     "",
		`"except":["r1","r2"],`:        "0 3 4 5",
		`"user":"u1",`:                 "1 5",
		`"user":"nobody",`:             "",
		`"ip":"127.0.0.1",`:            "0 1 2 3 4 5",
		`"ip":"::ffff:127.0.0.1",`:     "0 1 2 3 4 5",
		`"ip":"127.0.0.0/8",`:          "0 1 2 3 4 5",
		`"ip":"10.0.0.0/8",`:           "",
		`"where":{"data.plan":"pro"},`: "0 2 3 5",
		`"where":{"data.plan":"pro","data.n":3.0},`:   "3",
		`"where":{"data.deep.b":true},"in":["r4"],`:   "4",
		`"where":{"data.deep.a":null},"user":"u0",`:   "0 4",
		`"where":{"data.deep":null},`:                 "",
		`"where":{"data.none":null},`:                 "",
		`"in":["` + all["3"].id + `"],`:               "3",
		`"where":{"data.plan":"pro"},"except":["r"],`: "",
	} {
		var ids []string
		for _, i := range strings.Fields(want) {
			ids = append(ids, all[i].id)
		}
		slices.Sort(ids)
		for _, s := range []*app{a, b} {
			for _, limit := range []int{1, 2, 4, 1000} {
				if got := s.pages(query, limit); !slices.Equal(got, ids) {
					t.Errorf("%s in pages of %d: %q, want %q", query, limit, got, ids)
				}
			}
		}
	}
	if got := a.pages(`"nsp":"/rooms/7",`, 10); !slices.Equal(got, []string{inst.id}) {
		t.Errorf("of an instance of another server: %q", got)
	}
	var page wire.Sockets
	a.into(&page, "POST", "/api/sockets/query", `{"in":["r1"],"fields":["rooms","data","user","handshake"]}`)
	if s := page.Sockets[0]; s.SID != all["1"].id || s.Node != b.srv.Node() || s.Nsp != "/" || s.User != "u1" || !slices.Equal(s.Rooms, []string{"r", "r1"}) ||
		string(s.Data) != `{"plan":"free","n":1,"deep":{"a":null,"b":true}}` || s.Handshake.Address != "127.0.0.1" {
		t.Errorf("a socket is %+v", s)
	}
	page = wire.Sockets{}
	a.into(&page, "POST", "/api/sockets/query", `{"in":["r1"],"fields":["user"]}`)
	if s := page.Sockets[0]; s.User != "u1" || s.Rooms != nil || s.Data != nil || s.Handshake != nil {
		t.Errorf("of which the user is asked for: %+v", s)
	}
}

// A server that does not answer is named, and the others' sockets are there.
func TestPartialAnswers(t *testing.T) {
	bus := bustest.New()
	a, b := start(t, bus, nil), start(t, bus, nil)
	c := a.connect("/", "u", "{}", "r")
	b.connect("/", "u", "{}", "r")
	gone := cursor{Node: "zzzz", At: 1 << 32}.String()
	var page wire.Sockets
	a.into(&page, "POST", "/api/sockets/query", fmt.Sprintf(`{"cursor":%q}`, gone))
	if page.Partial == nil || !slices.Equal(page.Partial.Missing, []string{"zzzz"}) || len(page.Sockets) != 0 {
		t.Errorf("of a server that has gone: %+v", page)
	}
	b.bus.Cut(true)
	page = wire.Sockets{}
	a.into(&page, "POST", "/api/sockets/query", `{}`)
	if len(page.Sockets) != 1 || page.Sockets[0].SID != c.id {
		t.Errorf("while a server is cut off: %+v", page)
	}
}

// One that is there and silent is named, and waited for once: others are asked meanwhile,
// and it is asked again when it has spoken.
func TestSilentServers(t *testing.T) {
	bus := bustest.New()
	a, b, c := start(t, bus, nil), start(t, bus, nil), start(t, bus, nil)
	var want []string
	for _, s := range []*app{a, c, c, c} {
		want = append(want, s.connect("/", "u", "{}", "r").id)
	}
	lost := b.connect("/", "u", "{}", "r")
	b.bus.Mute(true)
	query := func(limit int) (ids []string, missing bool) {
		t.Helper()
		for cursor, n := "", 0; n == 0 || cursor != ""; n++ {
			var page wire.Sockets
			a.into(&page, "POST", "/api/sockets/query", fmt.Sprintf(`{"limit":%d,"cursor":%q}`, limit, cursor))
			for _, s := range page.Sockets {
				ids = append(ids, s.SID)
			}
			if page.Partial != nil {
				missing = slices.Equal(page.Partial.Missing, []string{b.srv.Node()})
			}
			cursor = page.Cursor
		}
		slices.Sort(ids)
		return ids, missing
	}
	slices.Sort(want)
	for _, limit := range []int{1, 2, 100} {
		if got, missing := query(limit); !slices.Equal(got, want) || !missing {
			t.Errorf("in pages of %d: %q, want %q; the silent one is named: %t", limit, got, want, missing)
		}
		if !a.api.peers.silent.has(b.srv.Node()) {
			t.Error("it is not remembered")
		}
	}
	a.wants("POST", "/api/sockets/join", `{"user":"u","rooms":["x"]}`, 200, `{"sockets":4,"partial":{"missing":["`+b.srv.Node()+`"]}}`)
	status, answer := a.ask("GET", "/api/sockets/"+lost.id, "")
	if status != 503 || !strings.Contains(answer, b.srv.Node()) {
		t.Errorf("its socket is %d %s", status, answer)
	}
	b.bus.Mute(false)
	b.into(&wire.Sockets{}, "POST", "/api/sockets/query", "{}") // it asks a
	want = append(want, lost.id)
	slices.Sort(want)
	if got, missing := query(2); !slices.Equal(got, want) || missing {
		t.Errorf("when it has spoken: %q, want %q", got, want)
	}
}

// One that has just come, and is known before it listens to what it is asked alone, is not
// taken for silent.
func TestWhoDoesNotListenYetIsAskedAgain(t *testing.T) {
	bus := bustest.New()
	a, b := start(t, bus, nil), start(t, bus, nil)
	want := []string{a.connect("/", "u", "{}", "r").id, b.connect("/", "u", "{}", "r").id}
	slices.Sort(want)
	alone := peerlink.Namespace + "/" + b.srv.Node()
	b.bus.Drop(alone)
	time.AfterFunc(100*time.Millisecond, func() { b.bus.Open(alone) })
	var page wire.Sockets
	a.into(&page, "POST", "/api/sockets/query", "{}")
	var got []string
	for _, s := range page.Sockets {
		got = append(got, s.SID)
	}
	if slices.Sort(got); !slices.Equal(got, want) || page.Partial != nil {
		t.Errorf("it has %q, %+v missing, want %q", got, page.Partial, want)
	}
}

func TestFiltersThatAreWrong(t *testing.T) {
	a := start(t, nil, nil)
	for _, x := range []struct{ path, body, want string }{
		{"query", `[]`, "400 wrong_type "},
		{"query", `{"in":null}`, "400 wrong_type in"},
		{"query", `{"in":["a",""]}`, "400 malformed in[1]"},
		{"query", `{"in":["` + strings.Repeat("a", 1025) + `"]}`, "400 too_long in[0]"},
		{"query", `{"in":[` + strings.Repeat(`"a",`, maxRooms) + `"a"]}`, "400 too_many in"},
		{"query", `{"room":["a"]}`, "400 unknown_member room"},
		{"query", `{"user":""}`, "400 malformed user"},
		{"query", `{"ip":"10.0.0.0/99"}`, "400 malformed ip"},
		{"query", `{"where":["data.x"]}`, "400 wrong_type where"},
		{"query", `{"where":{"plan":1}}`, "400 malformed where.plan"},
		{"query", `{"where":{"data.a":[1]}}`, "400 wrong_type where.data.a"},
		{"query", `{"limit":0}`, "400 malformed limit"},
		{"query", `{"limit":"7"}`, "400 malformed limit"},
		{"query", `{"limit":1001}`, "400 malformed limit"},
		{"query", `{"cursor":"x"}`, "400 malformed cursor"},
		{"query", `{"fields":["secrets"]}`, "400 malformed fields[0]"},
		{"query", `{"nsp":"/nowhere"}`, "404 unknown_namespace nsp"},
		{"query", `{"nsp":"` + peerlink.Namespace + `"}`, "404 unknown_namespace nsp"},
		{"query", `{"nsp":"` + peerlink.Namespace + `/x"}`, "404 unknown_namespace nsp"},
		{"join", `{}`, "400 missing rooms"},
		{"join", `{"rooms":[]}`, "400 missing rooms"},
		{"join", `{"rooms":["a"],"set":{}}`, "400 unknown_member set"},
		{"leave", `{"rooms":"a"}`, "400 wrong_type rooms"},
		{"data", `{}`, "400 missing set"},
		{"data", `{"set":[]}`, "400 wrong_type set"},
		{"data", `{"set":{"a":"` + strings.Repeat("a", maxSet) + `"}}`, "400 too_long set"},
		{"disconnect", `{"code":4000}`, "400 missing close"},
		{"disconnect", `{"close":true,"code":1001}`, "400 malformed code"},
		{"disconnect", `{"close":1}`, "400 wrong_type close"},
		{"disconnect", `{"close":true,"reason":"` + strings.Repeat("a", 124) + `"}`, "400 too_long reason"},
		{"disconnect", `{"in":["a"],"nsp":"/nowhere"}`, "404 unknown_namespace nsp"},
	} {
		status, answer := a.ask("POST", "/api/sockets/"+x.path, x.body)
		var f wire.Failure
		_ = json.Unmarshal([]byte(answer), &f)
		if got := fmt.Sprint(status, " ", f.Error.Code, " ", f.Error.Field); got != x.want || f.Error.Message == "" {
			t.Errorf("%s %.60s is answered %s (%s), want %s", x.path, x.body, got, f.Error.Message, x.want)
		}
	}
}

// What is done to sockets is done to those that the filter has, on all servers.
func TestChanges(t *testing.T) {
	bus := bustest.New()
	a, b := start(t, bus, nil), start(t, bus, nil)
	near, far, other := a.connect("/", "u1", `{"plan":"pro"}`, "r"), b.connect("/", "u1", `{"plan":"pro"}`, "r"), b.connect("/", "u2", `{"plan":"free"}`, "r")
	inRoom := func(room string, want ...*client) {
		t.Helper()
		ids := []string{}
		for _, c := range want {
			ids = append(ids, c.id)
		}
		slices.Sort(ids)
		eventually(t, fmt.Sprint("in ", room), func() bool {
			got := append([]string{}, a.pages(fmt.Sprintf(`"in":[%q],`, room), 10)...)
			return slices.Equal(got, ids)
		})
	}
	a.wants("POST", "/api/sockets/join", `{"in":["r"],"rooms":["all"]}`, 200, `{"sockets":3}`)
	inRoom("all", near, far, other)
	a.wants("POST", "/api/sockets/join", `{"user":"u1","rooms":["u1s"]}`, 200, `{"sockets":2}`)
	inRoom("u1s", near, far)
	a.wants("POST", "/api/sockets/join", `{"where":{"data.plan":"free"},"rooms":["free","more"]}`, 200, `{"sockets":1}`)
	inRoom("free", other)
	a.wants("POST", "/api/sockets/leave", `{"user":"u2","rooms":["all"]}`, 200, `{"sockets":1}`)
	inRoom("all", near, far)
	a.wants("POST", "/api/sockets/leave", `{"in":["`+far.id+`"],"rooms":["all"]}`, 200, `{"sockets":1}`)
	inRoom("all", near)
	a.wants("POST", "/api/sockets/data", `{"user":"u1","set":{"plan":null,"seen":[1, 2]}}`, 200, `{"sockets":2}`)
	if got := b.pages(`"where":{"data.plan":"pro"},`, 10); got != nil {
		t.Errorf("%q have the data that was taken out", got)
	}
	var d wire.SocketDetail
	a.into(&d, "GET", "/api/sockets/"+far.id, "")
	if string(d.Data) != `{"seen":[1,2]}` && string(d.Data) != `{"seen":[1, 2]}` {
		t.Errorf("the data is %s", d.Data)
	}
	a.wants("POST", "/api/sockets/disconnect", `{"in":["free"]}`, 200, `{"sockets":1}`)
	other.Await("41")
	a.wants("POST", "/api/sockets/disconnect", `{"in":["r"],"user":"u1","close":true,"code":4403,"reason":"gone"}`, 200, `{"sockets":2}`)
	for _, c := range []*client{near, far} {
		c.Await("41")
	}
	a.wants("POST", "/api/sockets/disconnect", `{"close":true}`, 200, `{"sockets":0}`)
}

// A user is disconnected everywhere, and stays down.
func TestUserDisconnect(t *testing.T) {
	bus := bustest.New()
	a, b := start(t, bus, nil), start(t, bus, nil)
	const user = "a/ü"
	mine := []*client{a.connect("/", user, "{}"), b.connect("/chat", user, "{}"), b.connect("/rooms/1", user, "{}")}
	other := b.connect("/", "x", "{}")
	path := "/api/users/" + url.PathEscape(user) + "/disconnect"
	a.wants("POST", path, `{"code":4409,"reason":"replaced"}`, 200, `{"sockets":3}`)
	for _, c := range mine {
		c.Await("41")
	}
	a.wants("POST", path, ``, 200, `{"sockets":0}`)
	a.wants("POST", path, `{"user":"x"}`, 400, `{"error":{"code":"unknown_member","message":"there is no such member","field":"user"}}`)
	a.wants("POST", "/api/emit", `{"ev":"still"}`, 200, `{}`)
	other.gets(`["still"]`)
	a.wants("POST", "/api/batch", `{"commands":[{"user_disconnect":{"user":"x"}},{"user_disconnect":{}},{"join":{"rooms":["q"]}}]}`, 200,
		`{"results":[{"result":{"sockets":1}},{"error":{"code":"missing","message":"is missing","field":"user_disconnect.user"}},{"result":{"sockets":0}}]}`)
}

// A socket is found on whichever server it is.
func TestSocketDetail(t *testing.T) {
	bus := bustest.New()
	a, b := start(t, bus, nil), start(t, bus, nil)
	near, far := a.connect("/chat", "u1", `{"a":1}`, "r1", "r2"), b.connect("/rooms/5", "u2", "{}")
	for c, want := range map[*client]wire.Socket{
		near: {SID: near.id, Node: a.srv.Node(), Nsp: "/chat", User: "u1", Rooms: []string{"r1", "r2"}, Data: json.RawMessage(`{"a":1}`)},
		far:  {SID: far.id, Node: b.srv.Node(), Nsp: "/rooms/5", User: "u2", Data: json.RawMessage(`{}`)},
	} {
		for _, query := range []string{"", "?nsp=" + url.QueryEscape(want.Nsp)} {
			var d wire.SocketDetail
			a.into(&d, "GET", "/api/sockets/"+c.id+query, "")
			h := d.Handshake
			d.Socket.Handshake = nil
			if got, exp := fmt.Sprintf("%+v", d.Socket), fmt.Sprintf("%+v", want); got != exp {
				t.Errorf("the socket is %s, want %s", got, exp)
			}
			if h.Address != "127.0.0.1" || h.URL != "/socket.io/" || h.Query["transport"] != "polling" || h.Issued == 0 || !strings.HasPrefix(h.Headers["User-Agent"], "Go-http-client") {
				t.Errorf("it came by %+v", h)
			}
			if d.Transport != "polling" || d.Stats.Rooms != len(want.Rooms) {
				t.Errorf("%s, %+v", d.Transport, d.Stats)
			}
		}
	}
	const none = `{"error":{"code":"unknown_socket","message":"there is no such socket"}}`
	a.wants("GET", "/api/sockets/"+near.id+"?nsp=%2F", "", 404, none)
	a.wants("GET", "/api/sockets/nobody", "", 404, none)
}

// What proves who a client is, is not shown.
func TestSecretsOfHandshakes(t *testing.T) {
	a := start(t, nil, nil)
	const secret = "5ec2e7"
	base := a.web.URL + "/socket.io/?EIO=4&transport=polling&access_token=" + secret
	ask := func(method, url, body string) string {
		t.Helper()
		r, _ := http.NewRequest(method, url, strings.NewReader(body))
		for _, name := range secrets {
			r.Header.Set(name, "x="+secret)
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		return string(b)
	}
	sid := regexp.MustCompile(`"sid":"([^"]+)"`)
	url := base + "&sid=" + sid.FindStringSubmatch(ask("GET", base, ""))[1]
	ask("POST", url, "40{}")
	joined := sid.FindStringSubmatch(ask("GET", url, ""))
	if joined == nil {
		t.Fatal("the socket is not there")
	}
	_, answer := a.ask("GET", "/api/sockets/"+joined[1], "")
	if strings.Contains(answer, secret) {
		t.Errorf("a secret is shown: %s", answer)
	}
	var d wire.SocketDetail
	if err := json.Unmarshal([]byte(answer), &d); err != nil {
		t.Fatal(err)
	}
	for _, name := range secrets {
		if d.Handshake.Headers[name] != "…" {
			t.Errorf("%s is %q, want it masked", name, d.Handshake.Headers[name])
		}
	}
	all := flat(map[string][]string{"Cookie": {"a=secret"}, "Accept": {"x", "y"}})
	if all["Accept"] != "x, y" {
		t.Errorf("%v", all)
	}
	long := map[string][]string{}
	for i := range 100 {
		long[fmt.Sprint(i)] = []string{strings.Repeat("x", 1000)}
	}
	size := 0
	for name, text := range flat(long) {
		size += len(name) + len(text)
	}
	if size > maxHandshake {
		t.Errorf("%d bytes of fields are said", size)
	}
}

func TestRooms(t *testing.T) {
	bus := bustest.New()
	a, b := start(t, bus, nil), start(t, bus, nil)
	a.connect("/", "u1", "{}", "x1", "x2", "x3", "y")
	b.connect("/", "u2", "{}", "x2", "x4", "z/ä")
	b.connect("/", "u3", "{}", "x2")
	want := map[string]int{"x1": 1, "x2": 3, "x3": 1, "x4": 1, "y": 1, "z/ä": 1}
	for _, s := range []*app{a, b} {
		for limit := 1; limit < 8; limit++ {
			got, names := map[string]int{}, []string{}
			for path := fmt.Sprintf("/api/rooms?limit=%d", limit); path != ""; {
				var page wire.Rooms
				s.into(&page, "GET", path, "")
				if path = ""; page.Cursor != "" {
					path = fmt.Sprintf("/api/rooms?limit=%d&cursor=%s", limit, page.Cursor)
				}
				for _, r := range page.Rooms {
					got[r.Room] = r.Sockets
					names = append(names, r.Room)
				}
			}
			if !maps.Equal(got, want) || !slices.IsSorted(names) || len(names) != len(want) {
				t.Errorf("in pages of %d: %v, %q", limit, got, names)
			}
		}
	}
	a.wants("GET", "/api/rooms?prefix=z", "", 200, `{"rooms":[{"room":"z/ä","sockets":1}]}`)
	a.wants("GET", "/api/rooms?nsp=%2Fchat", "", 200, `{"rooms":[]}`)
	a.wants("GET", "/api/rooms?nsp=%2Fnowhere", "", 404, `{"error":{"code":"unknown_namespace","message":"is a namespace that no client can join","field":"nsp"}}`)
	var d wire.RoomDetail
	a.into(&d, "GET", "/api/rooms/%2F/"+url.PathEscape("z/ä"), "")
	if d.Count != 1 || d.Room != "z/ä" || d.Nsp != "/" || len(d.Sockets) != 1 || d.Sockets[0].User != "u2" || d.Partial != nil {
		t.Errorf("a room is %+v", d)
	}
	a.into(&d, "GET", "/api/rooms/%2F/x2?limit=1", "")
	if d.Count != 3 || len(d.Sockets) != 1 || d.Cursor == "" {
		t.Errorf("a room of several is %+v", d)
	}
}

func TestPresence(t *testing.T) {
	bus := bustest.New()
	a, b := start(t, bus, nil), start(t, bus, nil)
	a.connect("/rooms/1", "u2", "{}", "x")
	b.connect("/rooms/1", "u1", "{}", "x")
	b.connect("/rooms/1", "u2", "{}", "x")
	const want = `{"nsp":"/rooms/1","room":"x","count":2,"members":[{"user":"u1","connections":1,"nodes":1},{"user":"u2","connections":2,"nodes":2}]}`
	eventually(t, want, func() bool {
		_, answer := a.ask("GET", "/api/presence?nsp=%2Frooms%2F1&room=x", "")
		return answer == want
	})
	a.wants("GET", "/api/presence?nsp=%2Frooms%2F1&room=y", "", 200, `{"nsp":"/rooms/1","room":"y","count":0,"members":[]}`)
	a.wants("GET", "/api/presence?room=", "", 400, `{"error":{"code":"malformed","message":"is empty","field":"room"}}`)
}

func TestServersAndNamespaces(t *testing.T) {
	bus := bustest.New()
	a, b := start(t, bus, nil), start(t, bus, nil)
	a.connect("/", "", "{}")
	a.connect("/rooms/1", "", "{}")
	b.connect("/", "", "{}")
	var info wire.Info
	a.into(&info, "GET", "/api/info", "")
	if info.Node != a.srv.Node() || info.Version != "test" || info.Sockets != 2 || info.Sessions != 2 || info.Nodes < 1 || info.Started == 0 {
		t.Errorf("%+v", info)
	}
	var n wire.Namespaces
	a.into(&n, "GET", "/api/namespaces", "")
	sockets := map[string]int64{}
	for _, x := range n.Namespaces {
		sockets[x.Name] = x.Sockets
	}
	if !maps.Equal(sockets, map[string]int64{"/": 1, "/chat": 0, "/rooms/:id": 1}) {
		t.Errorf("%v", sockets)
	}
	var nodes wire.Nodes
	a.into(&nodes, "GET", "/api/nodes", "")
	if x := nodes.Nodes[0]; x.Node != a.srv.Node() || !x.Self || x.Sockets != 2 || x.Sessions != 2 || !nodes.Cluster.Adapter {
		t.Errorf("%+v", nodes)
	}
}

func TestServerSideEmit(t *testing.T) {
	bus := bustest.New()
	a, b := start(t, bus, nil), start(t, bus, nil)
	heard := make(chan string, 10)
	b.srv.Of("/chat").HandleServerSide("reload", func(m *sio.Msg) error {
		heard <- string(m.Raw(0))
		return m.Ack(map[string]int{"ok": 1})
	})
	a.wants("POST", "/api/server-side-emit", `{"nsp":"/chat","ev":"reload","args":[{"a": 1}]}`, 200, `{}`)
	if got := <-heard; got != `{"a": 1}` {
		t.Errorf("the other server heard %s", got)
	}
	a.wants("POST", "/api/server-side-emit", `{"nsp":"/chat","ev":"reload","args":[2],"ack":"5s"}`, 200, `{"responses":[{"ok":1}]}`)
	if got := <-heard; got != `2` {
		t.Errorf("the other server heard %s", got)
	}
	for body, want := range map[string]string{
		`{}`: "missing", `{"ev":"connect"}`: "reserved", `{"ev":"x","args":{}}`: "wrong_type", `{"ev":"x","ack":"1h"}`: "malformed", `{"ev":"x","to":["r"]}`: unknownMember,
	} {
		if status, answer := a.ask("POST", "/api/server-side-emit", body); status != 400 || !strings.Contains(answer, `"code":"`+want+`"`) {
			t.Errorf("%s is answered %d %s", body, status, answer)
		}
	}
	if status, answer := a.ask("POST", "/api/server-side-emit", `{"nsp":"`+peerlink.Namespace+`","ev":"presence.changes"}`); status != 404 {
		t.Errorf("what servers say to each other can be forged: %d %s", status, answer)
	}
}

func TestRevoke(t *testing.T) {
	a := start(t, nil, nil)
	a.wants("POST", "/api/tokens/revoke", `{"jti":"one"}`, 200, `{}`)
	a.wants("POST", "/api/tokens/revoke", `{"user":"u1","issued_before":1700000000}`, 200, `{}`)
	if n := a.auth.Stats().Revocations; n != 2 {
		t.Errorf("%d revocations are in force", n)
	}
	for body, want := range map[string]string{
		`{}`: "missing", `{"jti":"a","user":"b"}`: "malformed", `{"user":"a","until":1}`: "malformed", `{"user":"a","issued_before":"x"}`: "malformed", `{"token":"a"}`: unknownMember,
	} {
		if status, answer := a.ask("POST", "/api/tokens/revoke", body); status != 400 || !strings.Contains(answer, `"code":"`+want+`"`) {
			t.Errorf("%s is answered %d %s", body, status, answer)
		}
	}
}

// Reloading says what has come of it.
func TestReload(t *testing.T) {
	var err error
	a := start(t, nil, func(o *Options) {
		o.Reload = func() (applied, restart []string, _ error) { return []string{"log.level"}, nil, err }
	})
	a.wants("POST", "/api/reload", "", 200, `{"applied":["log.level"],"restart":[]}`)
	err = joined{fmt.Errorf("a:1: wrong"), joined{fmt.Errorf("b")}}
	a.wants("POST", "/api/reload", "", 422, `{"error":{"code":"not_reloaded","message":"nothing is changed: something is wrong with the settings","details":["a:1: wrong","b"]}}`)
	a = start(t, nil, nil)
	if status, _ := a.ask("POST", "/api/reload", ""); status != 422 {
		t.Errorf("without a configuration it is answered %d", status)
	}
}

type joined []error

func (j joined) Error() string   { return "several" }
func (j joined) Unwrap() []error { return j }
