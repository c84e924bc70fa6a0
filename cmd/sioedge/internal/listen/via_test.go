package listen

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop/http1"
)

var inside = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:ff::/48")}

// via returns what is believed of a request from peer with these fields; ok is false if
// they cannot be ones.
func via(headers, peer string, fields ...string) (v eio.Via, ok bool) {
	text := "GET / HTTP/1.1\r\nHost: own\r\n"
	for _, f := range fields {
		text += f + "\r\n"
	}
	var r http1.Request
	if n, err := (http1.Limits{}).Parse([]byte(text+"\r\n"), &r); err != nil || n == 0 {
		return v, false
	}
	v.Client, _ = netip.ParseAddrPort(peer)
	v.Host = r.Host
	v = Via(inside, headers)(v, &r)
	v.Host = []byte(string(v.Host))
	return v, true
}

// What proxies say is believed from the last one on, as long as it is a trusted one that
// says it.
func TestViaAddress(t *testing.T) {
	long := strings.Repeat("10.0.0.1, ", 1000)
	for _, c := range []struct {
		name, peer string
		fields     []string
		want       string
	}{
		{"nothing is said", "10.0.0.9:1", nil, "10.0.0.9:1"},
		{"a client", "10.0.0.9:1", []string{"203.0.113.7"}, "203.0.113.7:0"},
		{"with a port", "10.0.0.9:1", []string{"203.0.113.7:4711"}, "203.0.113.7:4711"},
		{"of IPv6", "10.0.0.9:1", []string{"2001:db8::1"}, "[2001:db8::1]:0"},
		{"in brackets", "10.0.0.9:1", []string{"[2001:db8::1]"}, "[2001:db8::1]:0"},
		{"with brackets and a port", "10.0.0.9:1", []string{"[2001:db8::1]:4711"}, "[2001:db8::1]:4711"},
		{"a mapped one", "10.0.0.9:1", []string{"::ffff:203.0.113.7"}, "203.0.113.7:0"},
		{"a mapped proxy", "[::ffff:10.0.0.9]:1", []string{"203.0.113.7"}, "203.0.113.7:0"},
		{"who writes more than one", "10.0.0.9:1", []string{"1.1.1.1, 203.0.113.7"}, "203.0.113.7:0"},
		{"through two proxies", "10.0.0.9:1", []string{"1.1.1.1, 203.0.113.7, 10.0.0.8"}, "203.0.113.7:0"},
		{"in two fields", "10.0.0.9:1", []string{"1.1.1.1", "203.0.113.7,10.0.0.8"}, "203.0.113.7:0"},
		{"from inside", "10.0.0.9:1", []string{"10.0.0.7, 10.0.0.8"}, "10.0.0.7:0"},
		{"a stranger", "198.51.100.1:1", []string{"203.0.113.7"}, "198.51.100.1:1"},
		{"a Unix socket", "", []string{"203.0.113.7"}, "203.0.113.7:0"},
		{"a Unix socket that says nothing", "", nil, "invalid AddrPort"},
		{"nonsense", "10.0.0.9:1", []string{"unknown"}, "10.0.0.9:1"},
		{"nonsense behind a proxy", "10.0.0.9:1", []string{"1.1.1.1, unknown, 10.0.0.8"}, "10.0.0.8:0"},
		{"nothing between commas", "10.0.0.9:1", []string{"1.1.1.1, , 10.0.0.8"}, "10.0.0.8:0"},
		{"an empty field", "10.0.0.9:1", []string{""}, "10.0.0.9:1"},
		{"an empty field behind another", "10.0.0.9:1", []string{"1.1.1.1", ""}, "10.0.0.9:1"},
		{"a zone", "10.0.0.9:1", []string{"fe80::1%eth0"}, "[fe80::1]:0"},
		{"a long word", "10.0.0.9:1", []string{strings.Repeat("1", 10_000)}, "10.0.0.9:1"},
		{"very many", "10.0.0.9:1", []string{"1.1.1.1, " + long + "10.0.0.2"}, "10.0.0.1:0"},
	} {
		for i, f := range c.fields {
			c.fields[i] = "x-Forwarded-For: " + f
		}
		if v, ok := via("x-forwarded", c.peer, c.fields...); !ok || v.Client.String() != c.want || string(v.Host) != "own" || v.Secure {
			t.Errorf("%s: %+v, want %s", c.name, v, c.want)
		}
		// The other fields are not looked at.
		if v, _ := via("forwarded", "10.0.0.9:1", append(c.fields, "X-Forwarded-Proto: https", "X-Forwarded-Host: evil")...); v.Client.String() != "10.0.0.9:1" || v.Secure || string(v.Host) != "own" {
			t.Errorf("%s: without being asked for it is %+v", c.name, v)
		}
	}
	if Via(nil, "x-forwarded") != nil {
		t.Error("without proxies somebody is asked")
	}
}

// vias have requests from a proxy that is trusted, if no other peer is named.
var vias = []struct {
	name, headers, peer string
	fields              []string
	client              string
	secure              bool
	host                string
}{
	{"scheme and host", "x-forwarded", "", []string{"X-Forwarded-For: 203.0.113.7", "X-Forwarded-Proto: https", "X-Forwarded-Host: a.example:8443"}, "203.0.113.7:0", true, "a.example:8443"},
	{"a scheme alone", "x-forwarded", "", []string{"X-Forwarded-Proto: WSS"}, "10.0.0.9:1", true, "own"},
	{"of a stranger", "x-forwarded", "198.51.100.1:1", []string{"X-Forwarded-For: 203.0.113.7", "X-Forwarded-Proto: https", "X-Forwarded-Host: a.example"}, "198.51.100.1:1", false, "own"},
	{"of a client that says it too", "x-forwarded", "", []string{"X-Forwarded-For: 1.1.1.1", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil", "X-Forwarded-For: 203.0.113.7", "X-Forwarded-Proto: http", "X-Forwarded-Host: a.example"}, "203.0.113.7:0", false, "a.example"},
	{"the same in one field", "x-forwarded", "", []string{"X-Forwarded-For: 1.1.1.1, 203.0.113.7", "X-Forwarded-Proto: https, http", "X-Forwarded-Host: evil, a.example"}, "203.0.113.7:0", false, "a.example"},
	{"two proxies that both say it", "x-forwarded", "", []string{"X-Forwarded-For: 1.1.1.1, 203.0.113.7, 10.0.0.8", "X-Forwarded-Proto: http, https, http", "X-Forwarded-Host: evil, a.example, inner"}, "203.0.113.7:0", true, "a.example"},
	{"two proxies, the first of which says it", "x-forwarded", "", []string{"X-Forwarded-For: 203.0.113.7, 10.0.0.8", "X-Forwarded-Proto: https"}, "203.0.113.7:0", true, "own"},
	{"a scheme that is none", "x-forwarded", "", []string{"X-Forwarded-Proto: gopher", "X-Forwarded-Host: a b"}, "10.0.0.9:1", false, "own"},
	{"a host that is none", "x-forwarded", "", []string{"X-Forwarded-Host: a/b"}, "10.0.0.9:1", false, "own"},
	{"a long host", "x-forwarded", "", []string{"X-Forwarded-Host: " + strings.Repeat("a", 256)}, "10.0.0.9:1", false, "own"},
	{"the other fields", "x-forwarded", "", []string{"Forwarded: for=203.0.113.7;proto=https;host=evil"}, "10.0.0.9:1", false, "own"},

	// RFC 7239, 4 and 6, and beyond.
	{"forwarded", "forwarded", "", []string{`Forwarded: for=192.0.2.60;proto=http;by=203.0.113.43`}, "192.0.2.60:0", false, "own"},
	{"in two", "forwarded", "", []string{`Forwarded: for=192.0.2.43, for=10.0.0.8`}, "192.0.2.43:0", false, "own"},
	{"in two fields", "forwarded", "", []string{`Forwarded: for=192.0.2.43`, `forwarded: FOR=10.0.0.8`}, "192.0.2.43:0", false, "own"},
	{"IPv6", "forwarded", "", []string{`Forwarded: For="[2001:db8:cafe::17]:4711";Proto=HTTPS;Host="a.example:8443"`}, "[2001:db8:cafe::17]:4711", true, "a.example:8443"},
	{"IPv6 without a port", "forwarded", "", []string{`Forwarded: for="[2001:db8:cafe::17]"`}, "[2001:db8:cafe::17]:0", false, "own"},
	{"hidden", "forwarded", "", []string{`Forwarded: for=_gazonk;proto=https`}, "10.0.0.9:1", true, "own"},
	{"hidden, behind a proxy", "forwarded", "", []string{`Forwarded: for=1.1.1.1, for="_gazonk", for=10.0.0.8`}, "10.0.0.8:0", false, "own"},
	{"unknown", "forwarded", "", []string{`Forwarded: for=1.1.1.1, for=unknown`}, "10.0.0.9:1", false, "own"},
	{"a hidden port", "forwarded", "", []string{`Forwarded: for="192.0.2.43:_x"`, `Forwarded: for="[2001:db8:ff::1]:_obf"`}, "192.0.2.43:0", false, "own"},
	{"nobody", "forwarded", "", []string{`Forwarded: for=1.1.1.1, by=10.0.0.9;proto=https`}, "10.0.0.9:1", true, "own"},
	{"a client that says it too", "forwarded", "", []string{`Forwarded: for=1.1.1.1;proto=https;host=evil`, `Forwarded: for=203.0.113.7;proto=http`}, "203.0.113.7:0", false, "own"},
	{"the same in one field", "forwarded", "", []string{`Forwarded: for=1.1.1.1;proto=https;host=evil, for=203.0.113.7;proto=http`}, "203.0.113.7:0", false, "own"},
	{"a scheme further on", "forwarded", "", []string{`Forwarded: for=203.0.113.7, for=10.0.0.8;proto=https`}, "203.0.113.7:0", true, "own"},
	{"escapes", "forwarded", "", []string{`Forwarded: for="\203\.0.113.7";proto="ht\tps"`}, "203.0.113.7:0", true, "own"},
	{"spaces and nothing", "forwarded", "", []string{"Forwarded: ,  , for=203.0.113.7 ; proto=https; ,, "}, "203.0.113.7:0", true, "own"},
	{"unquoted", "forwarded", "", []string{`Forwarded: for=[2001:db8::1]:4711;host=a.example:80`}, "[2001:db8::1]:4711", false, "a.example:80"},
	{"more that is not known", "forwarded", "", []string{`Forwarded: secret=_x;for=203.0.113.7;ext="a, b; c=\"d\""`}, "203.0.113.7:0", false, "own"},
	{"a quote that does not end", "forwarded", "", []string{`Forwarded: for=1.1.1.1;by=", for=203.0.113.7`}, "10.0.0.9:1", false, "own"},
	{"and a good field behind it", "forwarded", "", []string{`Forwarded: for=1.1.1.1;by="`, `Forwarded: for=203.0.113.7`}, "203.0.113.7:0", false, "own"},
	{"or before it", "forwarded", "", []string{`Forwarded: for=203.0.113.7`, `Forwarded: for=10.0.0.8;by="`}, "10.0.0.9:1", false, "own"},
	{"a name twice", "forwarded", "", []string{`Forwarded: for=203.0.113.7;for=1.1.1.1`}, "10.0.0.9:1", false, "own"},
	{"no value", "forwarded", "", []string{`Forwarded: for=203.0.113.7;proto=`}, "10.0.0.9:1", false, "own"},
	{"no name", "forwarded", "", []string{`Forwarded: 203.0.113.7`}, "10.0.0.9:1", false, "own"},
	{"a value behind a value", "forwarded", "", []string{`Forwarded: for="203.0.113.7" x`}, "10.0.0.9:1", false, "own"},
	{"very many", "forwarded", "", []string{"Forwarded: for=1.1.1.1" + strings.Repeat(",for=10.0.0.8", 1000)}, "10.0.0.8:0", false, "own"},
	{"of a stranger, forwarded", "forwarded", "198.51.100.1:1", []string{"Forwarded: for=203.0.113.7;proto=https;host=a.example"}, "198.51.100.1:1", false, "own"},
}

func TestVia(t *testing.T) {
	for _, x := range vias {
		peer := x.peer
		if peer == "" {
			peer = "10.0.0.9:1"
		}
		v, ok := via(x.headers, peer, x.fields...)
		if !ok || v.Client.String() != x.client || v.Secure != x.secure || string(v.Host) != x.host {
			t.Errorf("%s: %q makes %v, secure: %v, host %s; want %s, %v, %s", x.name, x.fields, v.Client, v.Secure, v.Host, x.client, x.secure, x.host)
		}
	}
}

// What is already known of a connection goes for what nothing is said of.
func TestViaOverTLS(t *testing.T) {
	var r http1.Request
	if _, err := (http1.Limits{}).Parse([]byte("GET / HTTP/1.1\r\nHost: own\r\nX-Forwarded-For: 203.0.113.7\r\n\r\n"), &r); err != nil {
		t.Fatal(err)
	}
	peer := eio.Via{Client: netip.MustParseAddrPort("10.0.0.9:1"), Secure: true, Host: r.Host}
	if v := Via(inside, "x-forwarded")(peer, &r); !v.Secure {
		t.Error("a proxy that comes by TLS and says nothing of it is not secure")
	}
}

// FuzzVia: whatever a client puts into the fields, it is known by what the proxy adds; or,
// where it has made the proxy's field unreadable, as the proxy.
func FuzzVia(f *testing.F) {
	for _, x := range vias {
		for _, field := range x.fields {
			_, value, _ := strings.Cut(field, ": ")
			f.Add(value)
		}
	}
	f.Add(`for="`)
	f.Add(`for="x\`)
	f.Fuzz(func(t *testing.T, said string) {
		const client, element = "203.0.113.7:4711", `for="203.0.113.7:4711";proto=https;host=a.example`
		for _, x := range []struct {
			headers string
			joined  bool
			fields  []string
		}{
			{"x-forwarded", false, []string{"X-Forwarded-For: " + said, "X-Forwarded-Proto: " + said, "X-Forwarded-Host: " + said, "X-Forwarded-For: " + client, "X-Forwarded-Proto: https", "X-Forwarded-Host: a.example"}},
			{"x-forwarded", false, []string{"X-Forwarded-For: " + said + ", " + client, "X-Forwarded-Proto: " + said + ", https", "X-Forwarded-Host: " + said + ",a.example"}},
			{"forwarded", false, []string{"Forwarded: " + said, "Forwarded: " + element}},
			{"forwarded", true, []string{"Forwarded: " + said + ", " + element}},
		} {
			v, ok := via(x.headers, "10.0.0.9:1", x.fields...)
			got := fmt.Sprintf("%v %v %s", v.Client, v.Secure, v.Host)
			if ok && got != client+" true a.example" && (!x.joined || got != "10.0.0.9:1 false own") {
				t.Errorf("%q: %s", x.fields, got)
			}
		}
		if v, ok := via("forwarded", "198.51.100.1:1", "Forwarded: "+said); ok && v.Client.String() != "198.51.100.1:1" {
			t.Errorf("of a stranger, %q is believed", said)
		}
	})
}
