package capacity

import (
	"fmt"
	"os"
	"regexp"
	"testing"
	"time"
)

// The delays are those of socket.io-client 4.8.4, with Math.random replaced.
func TestBackoffIsThatOfTheClient(t *testing.T) {
	for _, c := range []struct {
		random float64
		want   [7]int64 // ms
	}{
		{0, [7]int64{1000, 2000, 4000, 5000, 5000, 5000, 5000}},
		{0.05, [7]int64{975, 1950, 3900, 5000, 5000, 5000, 5000}},
		{0.15, [7]int64{1075, 2150, 4300, 5000, 5000, 5000, 5000}},
		{0.25, [7]int64{875, 1750, 3500, 5000, 5000, 5000, 5000}},
		{0.5, [7]int64{1250, 2500, 5000, 5000, 5000, 5000, 5000}},
		{0.75, [7]int64{1375, 2750, 5000, 5000, 5000, 5000, 5000}},
		{0.85, [7]int64{575, 1150, 2300, 4600, 5000, 5000, 5000}},
		{0.999, [7]int64{1499, 2999, 5000, 5000, 5000, 5000, 5000}},
	} {
		for n, want := range c.want {
			if got := Default.Wait(n, c.random).Milliseconds(); got != want {
				t.Errorf("Wait(%d, %v) = %d ms, want %d", n, c.random, got, want)
			}
		}
	}
	for n := range classes {
		sum := 0.0
		for _, s := range Default.spread(n) {
			sum += s.part
		}
		if sum < 0.9999 || sum > 1.0001 {
			t.Errorf("attempt %d is made by %v of the clients", n, sum)
		}
	}
	if all := Default.spread(4); len(all) != 1 || all[0] != (share{500, 1}) {
		t.Errorf("the fifth attempt is spread over %v, want 5 s for all", all)
	}
}

func TestStorm(t *testing.T) {
	for _, c := range []struct {
		name string
		s    Storm
		want Return
	}{
		{"nobody", Storm{Rate: 1, Cores: 1, Connect: 1, Refusal: 1}, Return{Half: 0.01, NinetyNine: 0.01, All: 0.01}},
		{"time for all, who come between 0.55 and 1.5 s", Storm{Clients: 1000, Rate: 1e6, Cores: 1, Connect: 1, Refusal: 1},
			Return{Half: 1.01, NinetyNine: 1.5, All: 1.5, Peak: 1000}},
		{"the server is away for 3 s", Storm{Clients: 1000, Rate: 1e6, Cores: 1, Connect: 1, Refusal: 1, Down: 3 * time.Second},
			Return{Half: 4.18, NinetyNine: 7.94, All: 8, Peak: 455}},
		// Of 5,000 real ones (sioload --scenario avalanche, --accept-rate 500), half were back after
		// 4.75 s, 99 % after 13.15, all after 13.62, and 6,847 attempts were refused.
		{"a tenth a second", Storm{Clients: 5000, Rate: 500, Cores: 1, Connect: 74, Refusal: 60},
			Return{Half: 4.97, NinetyNine: 13.25, All: 13.67, Refused: 6858, Peak: 5000}},
		{"as many as the cores can: they wait and are not refused", Storm{Clients: 10_000, Rate: 1000, Cores: 1, Connect: 1000, Refusal: 1000},
			Return{Half: 5.55, NinetyNine: 10.45, All: 10.55, Peak: 10_000}},
		{"of more than the cores can, most give up and come again", Storm{Clients: 100_000, Rate: 1000, Cores: 1, Connect: 1000, Refusal: 1000},
			Return{Half: 51.36, NinetyNine: 106.44, All: 107.44, TimedOut: 176_456, Peak: 100_000}},
		// The same clients at a server on one core, without a rate: of 15,000 at 74 µs all were back
		// after 1.66 s and none was refused.
		{"loops that are late for a moment", Storm{Clients: 15_000, Cores: 1, Connect: 74, Refusal: 60},
			Return{Half: 1.11, NinetyNine: 1.65, All: 1.66, Peak: 15_000}},
		// 18,000, with others on the core, at about 116 µs: half after 21.7 s, 99 % after 29.1, all after 29.6, 81,808 attempts refused.
		{"loops that are late", Storm{Clients: 18_000, Cores: 1, Connect: 116, Refusal: 40},
			Return{Half: 12.3, NinetyNine: 23.79, All: 24.22, Refused: 46_994, Peak: 18_000}},
		// 18,000, the server stopped for nine tenths of the time: 25.8 s, 40.0, 40.2, 28,905 refused, 4,769 otherwise in vain.
		{"loops that are late and slow", Storm{Clients: 18_000, Cores: 1, Connect: 740, Refusal: 600},
			Return{Half: 19.39, NinetyNine: 31.02, All: 31.24, Refused: 24_963, Peak: 18_000}},
		{"loops that are late, and no bound", Storm{Clients: 18_000, Rate: -1, Cores: 1, Connect: 740, Refusal: 600},
			Return{Half: 7.21, NinetyNine: 13.74, All: 13.87, Peak: 18_000}},
		{"a rate that takes hours", Storm{Clients: 1_000_000, Rate: 100, Cores: 8, Connect: 74, Refusal: 60},
			Return{Half: -1, NinetyNine: -1, All: -1, Refused: 478_788_630, Peak: 1_000_000}},
	} {
		c.s.Backoff = Default
		if got := c.s.Run(); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

func million(change func(*Plan)) Plan {
	p := Plan{Clients: 1_000_000, Cores: 1, PingInterval: 25 * time.Second, Payload: 64, Network: 10e9, Down: time.Second}
	if change != nil {
		change(&p)
	}
	return p
}

// same are costs that no measurement changes.
var same = Costs{
	Process: Cost{Value: 300}, Kernel: Cost{Value: 5000}, TLSBytes: Cost{Value: 3000}, Identity: Cost{Value: 800},
	Heartbeat: Cost{Value: 20}, Delivery: Cost{Value: 8}, DeliveryTLS: Cost{Value: 2},
	Connect: Cost{Value: 100}, Token: Cost{Value: 150}, ES256: Cost{Value: 70}, RS256: Cost{Value: 40}, EdDSA: Cost{Value: 90},
	Handshake: Cost{Value: 400}, Refusal: Cost{Value: 50},
}

func TestWhatAMillionTakes(t *testing.T) {
	l := same.Of(million(nil))
	if l.ProcessBytes != 300_000_000 || l.KernelBytes != 5_000_000_000 {
		t.Errorf("memory = %d and %d", l.ProcessBytes, l.KernelBytes)
	}
	// A ping is 93 B on the wire, its pong 97, the segment that acknowledges that 90.
	if want := (Heartbeats{Interval: 25, PerSecond: 40_000, Cores: 0.8, PacketsPerSec: 120_000, BitsPerSecond: 89_600_000}); l.Heartbeats != want {
		t.Errorf("heartbeats = %+v, want %+v", l.Heartbeats, want)
	}
	if want := (Broadcast{Payload: 64, Packet: 168, CPUSeconds: 8, Wire: 0.1344, Network: 10e9, Seconds: 8, PacketsOut: 125_000, PerSecond: 0.125}); l.Broadcast != want {
		t.Errorf("broadcast = %+v, want %+v", l.Broadcast, want)
	}
	l = same.Of(million(func(p *Plan) { p.Cores, p.TLS, p.Token, p.Payload, p.Network = 32, true, "ES256", 2000, 1e9 }))
	if l.ProcessBytes != 4_100_000_000 || l.Heartbeats.BitsPerSecond != 103_680_000 {
		t.Errorf("with TLS and tokens: %d B, heartbeats = %+v", l.ProcessBytes, l.Heartbeats)
	}
	// 2,000 B make two segments; the network is what takes longer.
	if b := l.Broadcast; b.Packet != 2218 || b.CPUSeconds != 10 || b.Seconds != 17.744 || b.Wire != 17.744 {
		t.Errorf("with TLS, 2,000 B: broadcast = %+v", b)
	}
}

func TestRestartIsBoundByCores(t *testing.T) {
	for _, c := range []struct {
		name             string
		p                Plan
		connect, refusal float64 // µs
		want             Return
		advised          int64
		with             Seconds // that rate, all are back
	}{
		{"1 core", million(nil), 100, 50,
			Return{Half: 156.68, NinetyNine: 244.86, All: 248.84, Refused: 2_854_773, TimedOut: 3_072_845, Peak: 555_600}, 7500, 135.01},
		{"8 cores", million(func(p *Plan) { p.Cores = 8 }), 100, 50,
			Return{Half: 54.32, NinetyNine: 78.4, All: 79.35, Refused: 8_324_792, Peak: 555_600}, 60_000, 19.06},
		{"32 cores", million(func(p *Plan) { p.Cores = 32 }), 100, 50,
			Return{Half: 23.92, NinetyNine: 33.53, All: 33.78, Refused: 4_279_917, Peak: 555_600}, 240_000, 9.14},
		{"8 cores, TLS and EdDSA", million(func(p *Plan) { p.Cores, p.TLS, p.Token = 8, true, "EdDSA" }), 740, 450,
			Return{Half: 88.9, NinetyNine: 169.48, All: 175.68, Refused: 1_340_304, TimedOut: 1_977_069, Peak: 555_600}, 8108, 125.6},
		{"RS256", million(func(p *Plan) { p.Cores, p.Token = 8, "RS256" }), 290, 50,
			Return{Half: 54.47, NinetyNine: 146.42, All: 146.78, Refused: 7_376_049, Peak: 555_600}, 20_689, 48.68},
		{"HS256", million(func(p *Plan) { p.Cores, p.Token = 8, "HS256" }), 250, 50,
			Return{Half: 54.46, NinetyNine: 80.03, All: 82, Refused: 6_980_088, Peak: 555_600}, 24_000, 43.41},
		{"8 cores, 20,000 a second", million(func(p *Plan) { p.Cores, p.AcceptRate = 8, 20_000 }), 100, 50,
			Return{Half: 25.01, NinetyNine: 49.76, All: 50.26, Refused: 3_742_448, Peak: 555_600}, 60_000, 19.06},
		{"a rate beyond what the cores can", million(func(p *Plan) { p.AcceptRate = 20_000 }), 100, 50,
			Return{Half: 51, NinetyNine: 106.27, All: 107.27, TimedOut: 1_603_871, Peak: 555_600}, 7500, 135.01},
		{"no bound", million(func(p *Plan) { p.Cores, p.AcceptRate = 8, -1 }), 100, 50,
			Return{Half: 7.28, NinetyNine: 13.4, All: 13.53, Peak: 555_600}, 60_000, 19.06},
	} {
		r := same.Of(c.p).Restart
		if r.Connect != c.connect || r.Refusal != c.refusal || r.AcceptRate != c.p.AcceptRate || r.Return != c.want || r.Advised != c.advised || r.WithAdvised.All != c.with {
			t.Errorf("%s: %+v", c.name, r)
		}
	}
}

// The constants of admission are those of eio, which says how late a loop may be to nobody else.
func TestAdmissionIsThatOfEIO(t *testing.T) {
	b, err := os.ReadFile("../../../../eio/lateness.go")
	if err != nil {
		t.Fatal(err)
	}
	steps := func(n int) int { return n * int(step.Milliseconds()) }
	for _, c := range []struct {
		name  string
		value int
	}{
		{"lateWindow", steps(window)}, {"lateAfter", steps(lateAfter)}, {"lateFor", lateFor}, {"farBehind", steps(farBehind)},
		{"halvesIn", halvesIn}, {"firstRate", 2 * firstBound}, {"leastRate", leastBound}, {"calmFor", calmFor}, {"growsIn", 2 * firstBound / growsBy},
	} {
		if !regexp.MustCompile(fmt.Sprintf(`(?m)^\t%s\s+= %d\b`, c.name, c.value)).Match(b) {
			t.Errorf("eio's %s is not %d", c.name, c.value)
		}
	}
}
