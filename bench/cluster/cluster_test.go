package main

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/bench/client"
)

func TestAMessageIsFoundInWhatServersMakeOfIt(t *testing.T) {
	published := string(appendPublish(nil, "full", counted, 1234567, 64, true))
	payload, begins := strings.CutPrefix(published, `421["publish","full","`)
	payload, ends := strings.CutSuffix(payload, `"]`)
	if !begins || !ends || len(payload) != 64 {
		t.Fatalf("appendPublish = %q, want a payload of 64 bytes in it", published)
	}
	short := payload[:63]
	for packet, want := range map[string]bool{
		`42["msg","` + payload + `"]`:            true,
		`42["msg","` + payload + `","offset"]`:   true,
		`42["msg","` + short + `"]`:              false,
		`42["msg","` + payload + `x"]`:           false,
		`42["msg","` + payload + `"`:             false,
		`42["other","` + payload + `"]`:          false,
		`42["msg","z` + payload[1:] + `"]`:       false,
		`42["msg","mx` + payload[2:] + `"]`:      false,
		`42["msg","` + payload[:40] + `"]      `: false,
	} {
		kind, seq, ok := parseMessage([]byte(packet), 64)
		if ok != want || ok && (kind != counted || seq != 1234567) {
			t.Errorf("parseMessage(%q) = %c, %d, %v, want %v", packet, kind, seq, ok, want)
		}
	}
}

// receive returns a flow of 64-byte messages to two receivers, and what they see
// a message with.
func receive(t *testing.T, tr trial) (f *flow, see []func(seq uint64)) {
	near, far := net.Pipe()
	t.Cleanup(func() { near.Close(); far.Close() })
	f = newFlow(client.New(near, 64), nil, tr)
	f.receivers = tr.receivers
	for i := range f.left {
		f.left[i].Store(int32(tr.receivers))
	}
	for i := range tr.receivers {
		on := f.receiver(i)
		see = append(see, func(seq uint64) {
			packet := strings.Replace(string(appendPublish(nil, "", counted, seq, 64, false)), `["publish","",`, `["msg",`, 1)
			on([]byte(packet))
		})
	}
	return f, see
}

func TestAMessageIsUnderWayUntilTheLastReceiverHasIt(t *testing.T) {
	f, see := receive(t, trial{size: 64, receivers: 2})
	for range window {
		<-f.permits
	}
	for seq := range uint64(window) {
		see[0](seq)
	}
	if n := len(f.permits); n != 0 {
		t.Errorf("after one of two receivers, %d messages have arrived, want 0", n)
	}
	see[1](0)
	see[1](1)
	if n := len(f.permits); n != 2 {
		t.Errorf("after both receivers, %d messages have arrived, want 2", n)
	}
}

func TestWhatIsMissingOrDoubledIsAFailure(t *testing.T) {
	for name, seqs := range map[string][]uint64{"missing": {0, 2}, "doubled": {0, 0}, "swapped": {1, 0}} {
		f, see := receive(t, trial{size: 64, receivers: 1})
		<-f.permits
		<-f.permits
		for _, seq := range seqs {
			see[0](seq)
		}
		if err := f.settle(); err == nil || !strings.Contains(err.Error(), "is the next") {
			t.Errorf("settle after %s messages = %v, want an error that says which is the next", name, err)
		}
	}
}

func TestPublicationsOfBothKindsAreAddedUp(t *testing.T) {
	const info = "$200\r\n# Commandstats\r\ncmdstat_publish:calls=12,usec=4,usec_per_call=4.00\r\n" +
		"cmdstat_spublish:calls=30,usec=1\r\ncmdstat_psubscribe:calls=5,usec=2\r\n"
	if got := parsePublished(info); got != 42 {
		t.Errorf("parsePublished = %d, want 42", got)
	}
	if got := parsePublished(""); got != 0 {
		t.Errorf("parsePublished of nothing = %d, want 0", got)
	}
}

func TestTablesHaveMediansRangesRatiosAndFailures(t *testing.T) {
	ts, ks := trials()[4:], kinds()
	of := func(a time.Duration) figure {
		return figure{messages: 1000, took: time.Second, a: a * time.Millisecond, b: time.Millisecond, redis: time.Millisecond, toB: 5000}
	}
	r := results{
		figures:  map[string][]figure{key(ts[0], ks[0]): {of(4), of(2), of(3)}, key(ts[0], ks[1]): {of(6)}},
		failures: map[string]string{key(ts[0], ks[2]): "it fell over"},
	}
	var b strings.Builder
	tables(&b, ts, ks, r)
	for _, want := range []string{"3.00 (2.00–4.00)", "1000 (1000–1000)", "5.00 (4.00–6.00)", "5.0 (5.0–5.0)", "NOT OK: it fell over", "the second over the first  1.00", "  2.00  "} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("tables lack %q:\n%s", want, b.String())
		}
	}
}
