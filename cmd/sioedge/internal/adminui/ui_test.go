package adminui

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

const (
	allFeatures = `config {"supportedFeatures":["EMIT","JOIN","LEAVE","DISCONNECT","MJOIN","MLEAVE","MDISCONNECT","AGGREGATED_EVENTS","ALL_EVENTS"]}`
	counts0     = `config {"supportedFeatures":["EMIT","JOIN","LEAVE","DISCONNECT","MJOIN","MLEAVE","MDISCONNECT","AGGREGATED_EVENTS"]}`
)

// A page in development mode is told who is there, and then all that happens.
func TestDevelopment(t *testing.T) {
	a := start(t, settings(), sio.Options{})
	ns := a.Of("/")
	c := a.Connect("/")
	s := c.Socket()
	s.Join("r")
	s.SetData(json.RawMessage(`{"user":"ann"}`))
	if a.ui.Stats().Observing {
		t.Error("sockets are observed, and nobody looks")
	}
	p := a.page(byPassword)
	p.Expect("session")
	p.Expect("config")
	var all []socket
	if p.Expect("all_sockets", &all); len(all) != 2 {
		t.Fatalf("%d sockets are shown, want 2", len(all))
	}
	i := slices.IndexFunc(all, func(x socket) bool { return x.ID == s.ID() })
	x := all[i]
	if x.Namespace != "/" || x.Transport != "websocket" || len(x.ClientID) != 12 || string(x.Data) != `{"user":"ann"}` || !slices.Equal(x.Rooms, []string{s.ID(), "r"}) ||
		x.Handshake.Query["EIO"] != "4" || x.Handshake.Headers["upgrade"] != "websocket" || !strings.HasPrefix(x.Handshake.URL, "/socket.io/?") || x.Handshake.Issued == 0 {
		t.Errorf("the socket is shown as %s", asJSON(t, x))
	}
	p.wants()
	const date = `"2026-03-04T05:06:07.890Z"`
	id := s.ID()
	c.Emit("hello", 1, []byte{7})
	s.Join("q")
	_ = s.Emit("one", "x")
	_ = ns.To("r", "q").Emit("rooms", map[string]any{"a": []byte{8}})
	p.wants(
		fmt.Sprintf(`event_received "/",%q,["hello",1,{"_placeholder":true,"num":0}],%s <07>`, id, date),
		fmt.Sprintf(`room_joined "/","q",%q,%s`, id, date),
		fmt.Sprintf(`event_sent "/",%q,["one","x"],%s`, id, date),
		fmt.Sprintf(`event_sent "/",%q,["rooms",{"a":{"_placeholder":true,"num":0}}],%s <08>`, id, date),
	)
	s.SetData(json.RawMessage(`{"n":1}`))
	s.Leave("q")
	p.wants(fmt.Sprintf(`socket_updated {"data":{"n":1},"id":%q,"nsp":"/"}`, id), fmt.Sprintf(`room_left "/","q",%q,%s`, id, date))
	c.Disconnect()
	p.wants(
		fmt.Sprintf(`socket_disconnected "/",%q,"client namespace disconnect",%s`, id, date),
		fmt.Sprintf(`room_left "/",%q,%q,%s`, id, id, date),
		fmt.Sprintf(`room_left "/","r",%q,%s`, id, date),
	)
	d := a.Connect("/")
	got := p.got()
	if len(got) != 2 || got[0] != fmt.Sprintf(`room_joined "/",%q,%q,%s`, d.ID(), d.ID(), date) || !strings.HasPrefix(got[1], `socket_connected {"id":"`+d.ID()+`","clientId":"`) ||
		!strings.HasSuffix(got[1], `"rooms":["`+d.ID()+`"]},`+date) {
		t.Errorf("of one who comes: %q", got)
	}
	p.Emit("no act")
	p.wants()
	p.Disconnect()
	a.Settle()
	if st := a.ui.Stats(); st.Observing || st.Pages != 0 || a.ui.watched() {
		t.Errorf("nobody looks any more: %+v", st)
	}
}

// In production there are counts alone, and nothing is observed.
func TestProduction(t *testing.T) {
	s := settings()
	s.Mode = "production"
	a := start(t, s, sio.Options{})
	ns := a.Of("/")
	a.Of("/rooms/:id")
	c := a.Connect("/")
	a.Connect("/rooms/7")
	p := a.page(byPassword)
	st := p.stats()
	if st.ServerID != fmt.Sprintf("%s#%d", st.Hostname, st.PID) || st.Hostname == "" || st.Clients != 3 || st.Polling != 0 || len(st.Events) != 0 ||
		!slices.Equal(st.Namespaces, []namespaceCount{{"/admin", 1}, {"/", 1}, {"/rooms/7", 1}}) {
		t.Errorf("server_stats is %s", asJSON(t, st))
	}
	c.Emit("x")
	for range 3 {
		_ = ns.Emit("y")
	}
	d := a.ConnectWith("/", siotest.Options{Polling: true})
	c.Drop()
	a.Settle()
	a.now = a.now.Add(tickEvery)
	a.ui.tick()
	st = p.stats()
	want := map[string]int64{"rawConnection": 1, "rawDisconnection transport close": 1, "packetsIn": 1}
	for _, e := range st.Events {
		if n, ok := want[strings.TrimSpace(e.Type+" "+e.SubType)]; ok && n != e.Count || e.Timestamp != a.now.Truncate(time.Second).UnixMilli() {
			t.Errorf("%+v", e)
		}
		delete(want, strings.TrimSpace(e.Type+" "+e.SubType))
	}
	if len(want) > 0 || st.Clients != 3 || st.Polling != 1 {
		t.Errorf("server_stats is %s, want %v in it", asJSON(t, st), want)
	}
	if p.got(); a.ui.Stats().Observing {
		t.Error("sockets are observed")
	}
	d.Disconnect()
	p.wants()
}

func TestProductionTellsNobody(t *testing.T) {
	s := settings()
	s.Mode = "production"
	a := start(t, s, sio.Options{})
	p := a.page(byPassword)
	if got := p.got(); len(got) != 2 || got[1] != counts0 {
		t.Errorf("received %q", got)
	}
	s.ReadOnly = true
	a.ui.Reload(s, nil)
	p.wants(`config {"supportedFeatures":["AGGREGATED_EVENTS"]}`)
}

// With too many sockets a page has counts alone, until there are fewer.
func TestCrowd(t *testing.T) {
	a := start(t, settings(), sio.Options{})
	a.Of("/")
	p := a.page(byPassword)
	first := p.got()
	if first[1] != allFeatures {
		t.Fatalf("received %q", first)
	}
	var all []*siotest.Client
	for range maxSockets {
		all = append(all, a.Connect("/"))
	}
	p.got()
	a.ui.tick()
	p.wants(counts0)
	if a.ui.Stats().Observing {
		t.Error("sockets are observed")
	}
	q := a.page(byPassword)
	if got := q.got(); len(got) != 2 || got[1] != counts0 {
		t.Errorf("another page has received %d events", len(got))
	}
	for _, c := range all[:150] {
		c.Disconnect()
	}
	a.ui.tick()
	p.wants()
	for _, c := range all[150:250] {
		c.Disconnect()
	}
	a.now = a.now.Add(time.Minute)
	a.ui.tick()
	a.ui.tasks.Wait()
	got := p.got()
	if len(got) != 2 || got[0] != allFeatures || !strings.HasPrefix(got[1], "all_sockets ") || strings.Count(got[1], `"clientId"`) != maxSockets-250+2 {
		t.Errorf("received %d events: %.200q", len(got), got)
	}
}

// What pages want is done to the sockets of a filter, or to all.
func TestActs(t *testing.T) {
	a := start(t, settings(), sio.Options{})
	a.Of("/rooms/:id")
	c, d := a.Connect("/rooms/1"), a.Connect("/rooms/1")
	p := a.page(byPassword)
	p.Emit("join", "/rooms/1", "all")
	p.Emit("join", "/rooms/1", "one", c.ID())
	if rooms := c.Socket().Rooms(); !slices.Equal(rooms, []string{c.ID(), "all", "one"}) {
		t.Errorf("the rooms are %q", rooms)
	}
	if rooms := d.Socket().Rooms(); !slices.Equal(rooms, []string{d.ID(), "all"}) {
		t.Errorf("the rooms are %q", rooms)
	}
	p.Emit("emit", "/rooms/1", nil, "everybody", 1, []byte{2})
	p.Emit("emit", "/rooms/1", "one", "who", "is")
	if got := fmt.Sprint(c.Received(), d.Received()); got != `["everybody" 1, {"_placeholder":true,"num":0} (1 attachments) "who" "is"] ["everybody" 1, {"_placeholder":true,"num":0} (1 attachments)]` {
		t.Errorf("received %s", got)
	}
	p.Emit("leave", "/rooms/1", "all", "one")
	if c.Socket().In("all") || !d.Socket().In("all") {
		t.Error("leave was for others")
	}
	p.Emit("_disconnect", "/rooms/1", false, "one")
	if end := c.ExpectDisconnect(); end.Reason != "io server disconnect" || !d.Connected() {
		t.Errorf("%+v", end)
	}
	p.Emit("_disconnect", "/rooms/1", true)
	d.ExpectDisconnect()
	if st := a.ui.Stats(); st.Acts != 7 || st.Malformed != 0 {
		t.Errorf("%+v", st)
	}
}

// What cannot be done is counted, and nothing else happens.
func TestActsThatCannotBe(t *testing.T) {
	a := start(t, settings(), sio.Options{})
	a.Of("/")
	c := a.Connect("/")
	p := a.page(byPassword)
	long := strings.Repeat("x", maxName+1)
	all := [][]any{
		{"emit"}, {"emit", "/"}, {"emit", 1, nil, "x"}, {"emit", "/nobody", nil, "x"}, {"emit", "/", nil, "disconnect"}, {"emit", "/", nil, ""}, {"emit", "/", 1, "x"},
		{"emit", "/", nil, long}, {"emit", "/", long, "x"}, {"emit", "/sioedge.servers", nil, "x"}, {"emit", "/", map[string]int{}, "x"}, {"emit", long, nil, "x"},
		{"join", "/"}, {"join", "/", nil}, {"join", "/", []string{"x"}}, {"join", "/", "x", 1}, {"leave", "/", long}, {"leave", "/"}, {"leave", nil, "x"},
		{"_disconnect"}, {"_disconnect", "/", "yes"}, {"_disconnect", "/", true, []int{1}}, {"_disconnect", "/nobody", true},
	}
	for _, args := range all {
		p.Emit(args[0].(string), args[1:]...)
	}
	if st := a.ui.Stats(); st.Acts != 0 || st.Malformed != int64(len(all)) {
		t.Errorf("%+v, want %d malformed", st, len(all))
	}
	c.ExpectNothing()
	if !c.Connected() || len(c.Socket().Rooms()) != 1 {
		t.Error("something was done")
	}
}

// Who may only look changes nothing, also when that is new.
func TestReadOnly(t *testing.T) {
	s := settings()
	s.ReadOnly = true
	a := start(t, s, sio.Options{})
	a.Of("/")
	c := a.Connect("/")
	p := a.page(byPassword)
	if got := p.got(); got[1] != `config {"supportedFeatures":["AGGREGATED_EVENTS","ALL_EVENTS"]}` {
		t.Errorf("received %q", got)
	}
	p.Emit("_disconnect", "/", true)
	p.Emit("emit", "/", nil, "x")
	if st := a.ui.Stats(); !c.Connected() || st.Acts != 0 {
		t.Errorf("%+v", st)
	}
	c.ExpectNothing()
}

// More than may be told is left out and counted; who is there is told again then.
func TestTooMuchToTell(t *testing.T) {
	a := start(t, settings(), sio.Options{})
	ns := a.Of("/")
	c := a.Connect("/")
	p := a.page(byPassword)
	p.got()
	for range 2 * perSecond {
		_ = ns.Emit("x")
	}
	if got := p.got(); len(got) != perSecond {
		t.Errorf("%d events are told, want %d", len(got), perSecond)
	}
	if st := a.ui.Stats(); st.Lost != perSecond {
		t.Errorf("%+v", st)
	}
	a.now = a.now.Add(time.Second)
	for range byteBurst/(maxShown/2) + 10 {
		_ = ns.Emit("x", strings.Repeat("y", maxShown/2))
	}
	if got := p.got(); len(got) < 50 || len(got) > byteBurst/(maxShown/2) {
		t.Errorf("%d long events are told", len(got))
	}
	a.now = a.now.Add(time.Minute)
	_ = ns.Emit("x", strings.Repeat("y", maxShown), []byte{1})
	p.wants(fmt.Sprintf(`event_sent "/",%q,["x","(%d bytes, which are not shown)"],"2026-03-04T05:07:08.890Z"`, c.ID(), maxShown+2+len(`{"_placeholder":true,"num":0}`)+1))

	for i := range moveBurst + 10 {
		c.Socket().Join(fmt.Sprint(i % 100))
		c.Socket().Leave(fmt.Sprint(i % 100))
		if i%100 == 0 {
			a.flush()
		}
	}
	if got := p.got(); len(got) == 0 || len(got) > moveBurst {
		t.Errorf("%d moves are told", len(got))
	}
	a.now = a.now.Add(time.Minute)
	a.ui.tick()
	a.ui.tasks.Wait()
	if got := p.got(); len(got) != 1 || !strings.HasPrefix(got[0], "all_sockets ") {
		t.Errorf("%d events are told, want who is there", len(got))
	}
	if st := p.statsNow(); st.Lost == 0 {
		t.Error("the page is not told that events were left out")
	}
}

func (p *page) statsNow() serverStats {
	p.a.now = p.a.now.Add(tickEvery)
	p.a.ui.tick()
	return p.stats()
}

// A page that takes nothing has events dropped, and counts replaced; it is not ended.
func TestSlowPage(t *testing.T) {
	a := start(t, settings(), sio.Options{})
	ns := a.Of("/")
	a.Connect("/")
	p := a.page(byPassword)
	p.got()
	p.Stall(true)
	for range 300 {
		_ = ns.Emit("x", strings.Repeat("y", maxShown/2))
		a.now = a.now.Add(time.Second)
		a.ui.tick()
		a.flush()
	}
	p.Stall(false)
	got := p.got()
	if len(got) == 0 || len(got) > 200 || !p.Connected() {
		t.Errorf("%d events were kept of 300", len(got))
	}
}

// Secrets of a request are not shown, in whichever field they are.
func TestSecrets(t *testing.T) {
	a := start(t, settings(), sio.Options{})
	a.Of("/")
	c := a.ConnectWith("/", siotest.Options{
		Query:  map[string][]string{"access_token": {"geheim"}, "lang": {"de", "en"}, "apikey": {"geheim"}},
		Header: map[string][]string{"Cookie": {"a=geheim"}, "Authorization": {"Bearer geheim"}, "X-Api-Key": {"geheim"}, "X-Other": {"a", "b"}},
		Auth:   map[string]any{"token": "geheim"},
	})
	p := a.page(byPassword)
	var all []socket
	p.Await("all_sockets", &all)
	i := slices.IndexFunc(all, func(x socket) bool { return x.ID == c.ID() })
	shown := asJSON(t, all[i])
	if strings.Contains(shown, "geheim") || !strings.Contains(shown, `"lang":["de","en"]`) || !strings.Contains(shown, `"x-other":["a","b"]`) || !strings.Contains(shown, `"cookie":"…"`) {
		t.Errorf("the socket is shown as %s", shown)
	}
	if strings.Contains(asJSON(t, all), password) {
		t.Error("the page's password is shown")
	}
}

func TestCheck(t *testing.T) {
	for name, ok := range map[string]bool{
		"/admin": true, "/a/b": true, "/": false, "": false, "admin": false, "/a,b": false, "/a#b": false, "/:id": false, "/a/:id": false, "/a/*x": false, "/a?b": false,
		"/sioedge.servers": false, "/" + strings.Repeat("x", 256): false,
	} {
		if err := Check(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}
