package main

import (
	"bytes"
	"log"
	"log/slog"
	"os"
	"strings"
	"testing"
)

// What a library writes to the standard log is there once, and nothing that it quotes.
func TestStrays(t *testing.T) {
	var out bytes.Buffer
	gather(slog.New(slog.NewJSONHandler(&out, nil)))
	defer func() { log.SetOutput(os.Stderr); log.SetFlags(log.LstdFlags) }()
	for range 3 {
		log.Printf("Unsolicited response received on idle HTTP channel starting with %q; err=%v", "a secret", nil)
	}
	text := out.String()
	if strings.Count(text, "\n") != 1 || !strings.Contains(text, "Unsolicited response") || strings.Contains(text, "secret") {
		t.Errorf("the log has\n%s", text)
	}
}
