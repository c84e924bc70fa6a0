package config

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

const bridgeKey = "a key of processes of a bridge"

// A bridge has the keys of the API unless it has its own, and defaults for the rest.
func TestBridges(t *testing.T) {
	l, err := of(t, `
secret: "`+masterKey+`"
bridges:
  main: {}
  chat: "`+bridgeKey+`"
  game: { keys: ["`+bridgeKey+`", "`+bridgeKey+` before it"], takeover: 0s, data: eager, max_links: 2, max_message: 2000000 }
namespaces: [{ pattern: /chat, bridge: chat }, /]
`)
	if err != nil {
		t.Fatal(err)
	}
	all := l.BridgesOf()
	main, chat, game := all["main"], all["chat"], all["game"]
	if len(all) != 3 || !slices.Equal(main.Keys, l.APIKeys()) || len(l.Bridges["main"].Keys) != 0 {
		t.Errorf("the bridges are %+v", all)
	}
	if main.Takeover != 10*time.Second || main.Timeout != 10*time.Second || main.Grace != time.Second || main.Data != "drain" || main.MaxData != 64<<10 ||
		main.Window != 4<<20 || main.MaxMessage != 16<<20 || main.MaxWaiting != 256<<10 || main.MaxLinks != 64 {
		t.Errorf("the defaults are %+v", main)
	}
	if !slices.Equal(chat.Keys, []string{bridgeKey}) || chat.MaxLinks != 64 {
		t.Errorf("what is a text is %+v", chat)
	}
	if len(game.Keys) != 2 || game.Takeover != 0 || game.Data != "eager" || game.MaxLinks != 2 || game.Grace != time.Second {
		t.Errorf("what is set is %+v", game)
	}
	if l.Namespaces[0].Bridge != "chat" || l.Namespaces[1].Bridge != "" || l.Namespaces[0].Plain() {
		t.Errorf("the namespaces are %+v", l.Namespaces)
	}
	var shown strings.Builder
	if err := l.Print(&shown, false); err != nil || strings.Contains(shown.String(), bridgeKey) || !strings.Contains(shown.String(), "max_links: 2") {
		t.Errorf("print shows, %v:\n%s", err, shown.String())
	}
}

// What is well formed and cannot be is a fault of its key.
func TestBridgeFaults(t *testing.T) {
	many := "bridges:\n"
	for i := range mostBridges + 1 {
		many += "  b" + strings.Repeat("x", i%60) + string(rune('a'+i/60)) + ": {}\n"
	}
	for text, want := range map[string]string{
		`bridges: { "": {} }`:                                    "cannot be called that",
		`bridges: { "a/b": {} }`:                                 "bridges.a/b: cannot be called that",
		`bridges: { "a?name=b": {} }`:                            "cannot be called that",
		`bridges: { "a\r\nb": {} }`:                              "cannot be called that",
		`bridges: { ` + strings.Repeat("a", 65) + `: {} }`:       "cannot be called that",
		`bridges: { a: { keys: ["` + bridgeKey + `", short] } }`: "bridges.a.keys[1]: must have at least 24 bytes",
		`bridges: { a: { max_message: 1MB } }`:                   "bridges.a.max_message: must be at least twice limits.max_payload (--max-payload), 2000000",
		`bridges: { a: { max_mesage: 1MB } }`:                    "",
		`{ bridges: { a: {} }, internal: "" }`:                   "internal.listen: is empty, and processes of bridges",
		`bridges: { a: }`:                                        "bridges.a: want",
		many:                                                     "bridges: has more than 64",
	} {
		l, err := of(t, text)
		if want == "" {
			if err != nil || len(l.Unknown) != 1 || !strings.Contains(l.Unknown[0].Error(), "did you mean max_message?") {
				t.Errorf("%s: %v", text, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v, want %s", text, err, want)
		}
	}
}

// All of a bridge is applied by a reload.
func TestBridgesReload(t *testing.T) {
	path := file(t, "bridges: { a: {} }\n")
	l, err := Load(Sources{Environ: []string{"SIOEDGE_CONFIG=" + path}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("bridges: { a: { takeover: 3s }, b: {} }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := l.Reload()
	if err != nil || !slices.Equal(c.Applied, []string{"bridges"}) || len(c.Restart) != 0 || len(c.Next.Bridges) != 2 || c.Next.Bridges["a"].Takeover != 3*time.Second {
		t.Errorf("Reload = %+v, %v", c, err)
	}
}
