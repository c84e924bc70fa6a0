package wsframe

import (
	"strings"
	"testing"
)

func TestNegotiate(t *testing.T) {
	const always = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
	none, want10, want15 := Deflate{}, Deflate{10, 10}, Deflate{15, 15}
	for _, c := range []struct {
		name     string
		offer    string
		want     Deflate
		got      Deflate
		response string // "" for declined
	}{
		{"browsers and Node", "permessage-deflate; client_max_window_bits", none, none, always},
		{"the same with our windows", "permessage-deflate; client_max_window_bits", want10, want10, always + "; server_max_window_bits=10; client_max_window_bits=10"},
		{"the same with the largest windows", "permessage-deflate; client_max_window_bits", want15, none, always},
		{"without parameters", "permessage-deflate", none, none, always},
		{"a client window is not answered if not offered", "permessage-deflate", want10, Deflate{10, 0}, always + "; server_max_window_bits=10"},
		{"context takeover off", "permessage-deflate; server_no_context_takeover; client_no_context_takeover", none, none, always},
		{"a small server window", "permessage-deflate; server_max_window_bits=10", none, Deflate{10, 0}, always + "; server_max_window_bits=10"},
		{"the smallest server window", "permessage-deflate; server_max_window_bits=8", none, Deflate{8, 0}, always + "; server_max_window_bits=8"},
		{"the largest server window is answered", "permessage-deflate; server_max_window_bits=15", none, Deflate{15, 0}, always + "; server_max_window_bits=15"},
		{"a server window above ours", "permessage-deflate; server_max_window_bits=12", want10, Deflate{10, 0}, always + "; server_max_window_bits=10"},
		{"a server window below ours", "permessage-deflate; server_max_window_bits=9", want10, none, ""},
		{"a server window below the largest", "permessage-deflate; server_max_window_bits=14", want15, none, ""},
		{"a client window with a value", "permessage-deflate; client_max_window_bits=12", none, Deflate{0, 12}, always + "; client_max_window_bits=12"},
		{"a client window above ours", "permessage-deflate; client_max_window_bits=12", Deflate{0, 10}, Deflate{0, 10}, always + "; client_max_window_bits=10"},
		{"a client window below ours", "permessage-deflate; client_max_window_bits=9", Deflate{0, 10}, Deflate{0, 9}, always + "; client_max_window_bits=9"},
		{"all parameters", "permessage-deflate; client_max_window_bits=9; server_no_context_takeover; server_max_window_bits=11; client_no_context_takeover", none,
			Deflate{11, 9}, always + "; server_max_window_bits=11; client_max_window_bits=9"},
		{"a quoted value", `permessage-deflate; server_max_window_bits="10"`, none, Deflate{10, 0}, always + "; server_max_window_bits=10"},
		{"a quoted value with escapes", `permessage-deflate; server_max_window_bits="\1\0"`, none, Deflate{10, 0}, always + "; server_max_window_bits=10"},
		{"no blanks", "permessage-deflate;server_max_window_bits=10;client_max_window_bits", none, Deflate{10, 0}, always + "; server_max_window_bits=10"},
		{"many blanks", " \tpermessage-deflate ;\tserver_max_window_bits=10 ; client_max_window_bits\t ", none, Deflate{10, 0}, always + "; server_max_window_bits=10"},
		{"empty elements", ", ,permessage-deflate,,", none, none, always},

		{"the first offer wins", "permessage-deflate; server_max_window_bits=10, permessage-deflate", none, Deflate{10, 0}, always + "; server_max_window_bits=10"},
		{"the first offer is declined", "permessage-deflate; server_max_window_bits=9, permessage-deflate", Deflate{10, 0}, Deflate{10, 0}, always + "; server_max_window_bits=10"},
		{"an unknown parameter, then an offer", "permessage-deflate; colour=red, permessage-deflate", none, none, always},
		{"a repeated parameter, then an offer", "permessage-deflate; server_no_context_takeover; server_no_context_takeover, permessage-deflate", none, none, always},
		{"an illegal value, then an offer", "permessage-deflate; server_max_window_bits=16, permessage-deflate", none, none, always},
		{"a comma in quotes is no value, and ends it", `permessage-deflate; colour="a,b", permessage-deflate`, none, none, ""},
		{"another extension, then an offer", `x-webkit-deflate-frame; a; b=c; d="e", permessage-deflate`, none, none, always},
		{"a syntax error behind the offer", "permessage-deflate, ;", none, none, always},

		{"nothing", "", none, none, ""},
		{"only commas", ", ,", none, none, ""},
		{"another extension", "permessage-bzip2", none, none, ""},
		{"a longer name", "permessage-deflate2", none, none, ""},
		{"an unknown parameter", "permessage-deflate; colour", none, none, ""},
		{"a repeated parameter", "permessage-deflate; client_max_window_bits; client_max_window_bits=10", none, none, ""},
		{"a repeated window", "permessage-deflate; server_max_window_bits=10; server_max_window_bits=10", none, none, ""},
		{"a server window without a value", "permessage-deflate; server_max_window_bits", none, none, ""},
		{"a server window below 8", "permessage-deflate; server_max_window_bits=7", none, none, ""},
		{"a server window above 15", "permessage-deflate; server_max_window_bits=16", none, none, ""},
		{"a window with a leading zero", "permessage-deflate; server_max_window_bits=09", none, none, ""},
		{"a window with a sign", "permessage-deflate; server_max_window_bits=+9", none, none, ""},
		{"a window with a fraction", "permessage-deflate; server_max_window_bits=10.0", none, none, ""},
		{"an empty quoted value", `permessage-deflate; server_max_window_bits=""`, none, none, ""},
		{"a client window below 8", "permessage-deflate; client_max_window_bits=7", none, none, ""},
		{"a client window that is no number", "permessage-deflate; client_max_window_bits=yes", none, none, ""},
		{"context takeover with a value", "permessage-deflate; server_no_context_takeover=true", none, none, ""},
		{"client context takeover with a value", `permessage-deflate; client_no_context_takeover="1"`, none, none, ""},
		{"no parameter behind a semicolon", "permessage-deflate;", none, none, ""},
		{"no value behind an equals sign", "permessage-deflate; client_max_window_bits=", none, none, ""},
		{"an open quote", `permessage-deflate; server_max_window_bits="10`, none, none, ""},
		{"an escape at the end", `permessage-deflate; server_max_window_bits="10\`, none, none, ""},
		{"two tokens", "permessage-deflate permessage-deflate", none, none, ""},
		{"a syntax error before the offer", "a b, permessage-deflate", none, none, ""},
	} {
		got, response, ok := Negotiate([]byte(c.offer), c.want)
		if got != c.got || string(response) != c.response || ok != (c.response != "") {
			t.Errorf("%s: Negotiate(%q, %+v) = %+v, %q, %t, want %+v, %q", c.name, c.offer, c.want, got, response, ok, c.got, c.response)
		}
	}
}

func TestDeflateFits(t *testing.T) {
	for _, c := range []struct {
		bits, length int
		want         bool
	}{{0, 1 << 20, true}, {8, 256, true}, {8, 257, false}, {15, 32768, true}, {15, 32769, true}, {14, 16385, false}} {
		if got := (Deflate{ServerMaxWindowBits: c.bits}).Fits(c.length); got != c.want {
			t.Errorf("Fits(%d) with %d bits = %t, want %t", c.length, c.bits, got, c.want)
		}
	}
}

func FuzzNegotiate(f *testing.F) {
	f.Add("permessage-deflate; client_max_window_bits", 0, 0)
	f.Add(`permessage-deflate; server_max_window_bits="\10", permessage-deflate;`, 10, 12)
	f.Add("a;b=c, permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits=8", 15, 8)
	f.Fuzz(func(t *testing.T, offer string, server, client int) {
		want := Deflate{ServerMaxWindowBits: server & 15, ClientMaxWindowBits: client & 15}
		if want.ServerMaxWindowBits < 8 || want.ClientMaxWindowBits < 8 {
			want = Deflate{}
		}
		got, response, ok := Negotiate([]byte(offer), want)
		if !ok {
			if got != (Deflate{}) || response != nil {
				t.Errorf("Negotiate(%q, %+v) = %+v, %q, false", offer, want, got, response)
			}
			return
		}
		if !strings.Contains(offer, "permessage-deflate") || got.ClientMaxWindowBits != 0 && !strings.Contains(offer, "client_max_window_bits") {
			t.Errorf("Negotiate(%q, %+v) = %+v, %q, want nothing that was not offered", offer, want, got, response)
		}
		if w := want.ServerMaxWindowBits; w != 0 && w < 15 && got.ServerMaxWindowBits != w {
			t.Errorf("Negotiate(%q, %+v) = %+v, want our window", offer, want, got)
		}
		// An answer is an offer too, and means the same.
		if again, second, ok := Negotiate(response, want); again != got || string(second) != string(response) || !ok {
			t.Errorf("Negotiate(%q, %+v) = %+v, %q, %t, want itself", response, want, again, second, ok)
		}
	})
}
