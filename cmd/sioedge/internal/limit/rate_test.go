package limit

import (
	"strings"
	"testing"
	"time"
)

func TestParseRate(t *testing.T) {
	for text, want := range map[string]Rate{
		"":                                    {},
		"0":                                   {},
		"  ":                                  {},
		"100/s":                               {N: 100, Burst: 100, Per: time.Second, Action: Nack},
		"5/m":                                 {N: 5, Burst: 1, Per: time.Minute, Action: Nack},
		"600/m":                               {N: 600, Burst: 10, Per: time.Minute, Action: Nack},
		"1/h close":                           {N: 1, Burst: 1, Per: time.Hour, Action: Close},
		"100/s burst 200 drop":                {N: 100, Burst: 200, Per: time.Second, Action: Drop},
		"100/s drop burst 200":                {N: 100, Burst: 200, Per: time.Second, Action: Drop},
		"100/s:burst=200:action=nack":         {N: 100, Burst: 200, Per: time.Second, Action: Nack},
		"100/s burst=200 action delay":        {N: 100, Burst: 200, Per: time.Second, Action: Delay},
		" 2/s\tdrop ":                         {N: 2, Burst: 2, Per: time.Second, Action: Drop},
		"64KiB/s burst 256KiB delay":          {N: 64 << 10, Burst: 256 << 10, Per: time.Second, Action: Delay, Sized: true},
		"1.5MiB/s":                            {N: 3 << 19, Burst: 3 << 19, Per: time.Second, Action: Nack, Sized: true},
		"1000/s burst 2kB":                    {N: 1000, Burst: 2000, Per: time.Second, Action: Nack, Sized: true},
		"1073741824/s":                        {N: 1 << 30, Burst: 1 << 30, Per: time.Second, Action: Nack},
		"1GiB/h:burst=1GiB:action=close":      {N: 1 << 30, Burst: 1 << 30, Per: time.Hour, Action: Close, Sized: true},
		"100/s burst 1":                       {N: 100, Burst: 1, Per: time.Second, Action: Nack},
		"10B/s":                               {N: 10, Burst: 10, Per: time.Second, Action: Nack, Sized: true},
		"0100/s":                              {N: 100, Burst: 100, Per: time.Second, Action: Nack},
		"100.0/s":                             {N: 100, Burst: 100, Per: time.Second, Action: Nack},
		"100/s : burst = 200 : action = drop": {N: 100, Burst: 200, Per: time.Second, Action: Drop},
	} {
		r, err := ParseRate(text)
		if err != nil || r != want {
			t.Errorf("ParseRate(%q) = %+v, %v, want %+v", text, r, err, want)
			continue
		}
		again, err := ParseRate(r.String())
		if want.Sized = false; err != nil || again != want {
			t.Errorf("ParseRate(%q), as it is written, = %+v, %v", r.String(), again, err)
		}
	}
}

func TestParseRateFaults(t *testing.T) {
	for text, want := range map[string]string{
		"100":                           "is not a rate",
		"/s":                            "is not a rate",
		"x/s":                           "is not a rate",
		"100/":                          `has "" for a time`,
		"100/d":                         `has "d" for a time`,
		"100/S":                         `has "S" for a time`,
		"100/s/m":                       `has "s/m" for a time`,
		"0/s":                           `has "0" where a whole number from 1 on is wanted`,
		"-5/s":                          "is not a rate",
		"1.5/s":                         `has "1.5" where a whole number`,
		"NaN/s":                         "is not a rate",
		"Inf/s":                         "is not a rate",
		"1e3/s":                         "is not a rate",
		"0x10/s":                        "is not a rate",
		"1_000/s":                       "is not a rate",
		"99999999999/s":                 "which is more than 1073741824",
		"2GiB/s":                        "which is more than 1073741824",
		"100/s burst":                   `has nothing behind "burst"`,
		"100/s action=":                 `has nothing behind "action"`,
		"100/s burst 0":                 `has "0" where a whole number`,
		"100/s burst many":              "is not a rate",
		"100/s burst 5 burst 6":         "has two bursts",
		"100/s drop nack":               "has two actions",
		"100/s explode":                 `has "explode" for an action`,
		"100/s none":                    `has "none" for an action`,
		"drop 100/s":                    "is not a rate",
		"100/s 200":                     `has "200" for an action`,
		strings.Repeat("9", 400):        "is not a rate",
		strings.Repeat("9", 400) + "/s": "is",
	} {
		if r, err := ParseRate(text); err == nil || !strings.Contains(err.Error(), want) || r != (Rate{}) {
			t.Errorf("ParseRate(%q) = %+v, %v, want %s", text, r, err, want)
		}
	}
}

// A bucket has no more and no less than its rate says, to the microsecond.
func TestBuckets(t *testing.T) {
	type step struct {
		at     time.Duration
		tokens int64
		room   bool
	}
	for name, c := range map[string]struct {
		rate  string
		steps []step
	}{
		"a token each 10 ms": {"100/s burst 2", []step{
			{0, 1, true}, {0, 1, true}, {0, 1, false}, {10*time.Millisecond - time.Microsecond, 1, false}, {10 * time.Millisecond, 1, true},
			{10 * time.Millisecond, 1, false}, {30 * time.Millisecond, 2, true}, {time.Hour, 2, true}, {time.Hour, 1, false},
		}},
		"a third of a second is not rounded": {"3/s burst 2", []step{
			{0, 2, true}, {333_333 * time.Microsecond, 1, false}, {333_334 * time.Microsecond, 1, true},
			{666_666 * time.Microsecond, 1, false}, {666_667 * time.Microsecond, 1, true}, // two thirds of a microsecond are left over
			{999_999 * time.Microsecond, 1, false}, {time.Second, 1, true}, {1333_333 * time.Microsecond, 1, false},
		}},
		"five a minute": {"5/m burst 5", []step{
			{0, 5, true}, {11999 * time.Millisecond, 1, false}, {12 * time.Second, 1, true}, {35 * time.Second, 2, false}, {36 * time.Second, 2, true},
		}},
		"one an hour": {"1/h", []step{{0, 1, true}, {time.Hour - time.Microsecond, 1, false}, {time.Hour, 1, true}}},
		"bytes": {"64KiB/s burst 256KiB", []step{
			{0, 256 << 10, true}, {0, 1, false}, {time.Second, 64<<10 + 1, false}, {time.Second, 64 << 10, true}, {time.Second, 1, false},
		}},
		"more than the burst never has room": {"100/s burst 10", []step{{0, 11, false}, {time.Hour, 11, false}, {time.Hour, 10, true}}},
		"the largest there is": {"1GiB/s burst 1GiB", []step{
			{0, maxCost, true}, {0, maxCost, true}, {0, maxCost, true}, {0, maxCost, true}, {0, 1, false}, {250 * time.Millisecond, maxCost, true}, {2000 * time.Hour, maxCost, true},
		}},
		"the largest burst of the slowest": {"1/h burst 1GiB", []step{{0, maxCost, true}, {9000 * time.Hour, maxCost, true}, {9000 * time.Hour, maxCost, true}}},
		"a clock that goes back":           {"1/s", []step{{time.Second, 1, true}, {0, 1, false}, {time.Second - time.Microsecond, 1, false}, {time.Second, 1, true}}},
	} {
		r, err := ParseRate(c.rate)
		if err != nil {
			t.Fatal(err)
		}
		var b bucket
		for i, s := range c.steps {
			b.now(&r, s.at.Microseconds())
			room := b.over(&r, s.tokens) <= 0
			if room {
				b.used += s.tokens * parts
			}
			if room != s.room {
				t.Errorf("%s: step %d, %d tokens at %v: room %v, want %v", name, i, s.tokens, s.at, room, s.room)
			}
		}
	}
}
