package notice

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func lines(b *bytes.Buffer) []string {
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
}

func TestOneLineACauseAndInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		l := New(slog.New(slog.NewTextHandler(&b, nil)), time.Second)
		for range 1000 {
			l.Warn("origin refused", "flag", "--origins")
			l.Info("slow client closed")
		}
		if got := lines(&b); len(got) != 2 {
			t.Fatalf("2000 calls of two causes wrote %d lines, want 2:\n%s", len(got), b.String())
		}
		time.Sleep(time.Second)
		l.Warn("origin refused", "flag", "--origins")
		if got := lines(&b); len(got) != 3 || !strings.Contains(got[2], "suppressed=999") || !strings.Contains(got[2], "flag=--origins") {
			t.Fatalf("after the interval: %q, want one more line with suppressed=999", got)
		}
	})
}

func TestInventedCausesShareALine(t *testing.T) {
	var b bytes.Buffer
	l := New(slog.New(slog.NewTextHandler(&b, nil)), time.Hour)
	for n := range 100_000 {
		l.Warn(fmt.Sprint("cause ", n))
	}
	if got := len(lines(&b)); got > maxCauses+1 {
		t.Fatalf("100000 causes wrote %d lines, want at most %d", got, maxCauses+1)
	}
}

func TestLongTextsAreCut(t *testing.T) {
	var b bytes.Buffer
	l := New(slog.New(slog.NewTextHandler(&b, nil)), time.Hour)
	long := strings.Repeat("9", 900_000)
	l.Warn("bad argument", "text", long, "error", errors.New(long), "bytes", []byte(long))
	if b.Len() > 3*maxText+200 {
		t.Fatalf("three texts of 900 KB wrote %d bytes", b.Len())
	}
}
