package limit

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// An Action is what becomes of what comes too fast.
type Action uint8

// The actions, the stricter ones later.
const (
	Delay Action = iota + 1 // it passes, and nothing more is read of its connection until there is room again
	Nack                    // it is not handled; an acknowledgement that the client wants has an error
	Drop                    // it is not handled, and the client is not told
	Close                   // its connection is closed with 4029
	none  = Action(0)
)

var actions = [...]string{Delay: "delay", Nack: "nack", Drop: "drop", Close: "close"}

// String returns the word that a rate has for the action.
func (a Action) String() string {
	if a == none || int(a) >= len(actions) {
		return "none"
	}
	return actions[a]
}

// A Rate is how much may pass in a time: N in Per on average, Burst at once. The zero
// value is any number.
type Rate struct {
	N, Burst int64
	Per      time.Duration // a second, a minute or an hour
	Action   Action
	Sized    bool // N or Burst was written with a unit of bytes
}

// Set tells whether the rate is a bound.
func (r Rate) Set() bool { return r.N > 0 }

// String returns the rate as ParseRate reads it.
func (r Rate) String() string {
	if !r.Set() {
		return "0"
	}
	unit := "h"
	switch r.Per {
	case time.Second:
		unit = "s"
	case time.Minute:
		unit = "m"
	}
	return fmt.Sprintf("%d/%s burst %d %s", r.N, unit, r.Burst, r.Action)
}

// maxTokens bounds the numbers of a rate, so that what is reckoned from them fits.
const maxTokens = 1 << 30

var errRate = errors.New(`is not a rate such as "100/s", "5/m" or "64KiB/s burst 256KiB delay"`)

// ParseRate parses a rate: a number or a size, a slash, and s, m or h; then, in any
// order and with spaces or colons between them, how much may come at once ("burst 200"
// or "burst=200"; otherwise what a second has, at least 1) and what becomes of more
// ("drop" or "action=drop"; otherwise nack). "" and "0" are the zero Rate. The error
// says what is wrong.
func ParseRate(text string) (r Rate, err error) {
	words := strings.FieldsFunc(strings.ReplaceAll(text, "=", " "), func(c rune) bool { return c == ' ' || c == '\t' || c == ':' })
	if len(words) == 0 || len(words) == 1 && words[0] == "0" {
		return Rate{}, nil
	}
	if err := r.setSpeed(words[0]); err != nil {
		return Rate{}, err
	}
	for words = words[1:]; len(words) > 0; words = words[1:] {
		switch word := words[0]; word {
		case "burst", "action":
			if len(words) < 2 {
				return Rate{}, fmt.Errorf("has nothing behind %q", word)
			}
			words = words[1:]
			if word == "burst" {
				err = r.setBurst(words[0])
			} else {
				err = r.setAction(words[0])
			}
		default:
			err = r.setAction(word)
		}
		if err != nil {
			return Rate{}, err
		}
	}
	if r.Burst == 0 {
		r.Burst = max(r.N*int64(time.Second)/int64(r.Per), 1)
	}
	if r.Action == none {
		r.Action = Nack
	}
	return r, nil
}

func (r *Rate) setSpeed(word string) (err error) {
	number, unit, ok := strings.Cut(word, "/")
	if !ok {
		return errRate
	}
	switch unit {
	case "s":
		r.Per = time.Second
	case "m":
		r.Per = time.Minute
	case "h":
		r.Per = time.Hour
	default:
		return fmt.Errorf("has %q for a time: it is a number a second (s), minute (m) or hour (h)", unit)
	}
	r.N, err = r.number(number)
	return err
}

func (r *Rate) setBurst(word string) (err error) {
	if r.Burst != 0 {
		return errors.New("has two bursts")
	}
	r.Burst, err = r.number(word)
	return err
}

func (r *Rate) setAction(word string) error {
	if r.Action != none {
		return errors.New("has two actions")
	}
	for a := Delay; a <= Close; a++ {
		if word == a.String() {
			r.Action = a
			return nil
		}
	}
	return fmt.Errorf("has %q for an action: they are drop, nack, delay and close", word)
}

// sizes are the units of bytes, the longer ones before those that they end in.
var sizes = []struct {
	suffix string
	factor float64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"B", 1}, {"", 1}}

// number parses a number of events, or of bytes.
func (r *Rate) number(word string) (int64, error) {
	for _, u := range sizes {
		digits, ok := strings.CutSuffix(word, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(digits, 64)
		switch n *= u.factor; {
		case err != nil || strings.Trim(digits, "0123456789.") != "": // it knows 0x, _ and Inf
			return 0, errRate
		case n < 1 || n != math.Trunc(n):
			return 0, fmt.Errorf("has %q where a whole number from 1 on is wanted", word)
		case n > maxTokens:
			return 0, fmt.Errorf("has %q, which is more than %d", word, int64(maxTokens))
		}
		r.Sized = r.Sized || u.suffix != ""
		return int64(n), nil
	}
	return 0, errRate
}
