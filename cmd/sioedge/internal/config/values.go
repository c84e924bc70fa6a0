package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Types of what a key can be.
var (
	sizeType     = reflect.TypeFor[Size]()
	durationType = reflect.TypeFor[time.Duration]()
	prefixType   = reflect.TypeFor[netip.Prefix]()
)

// units of sizes, the longer ones before those that they end in.
var units = []struct {
	suffix string
	factor int64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"kB", 1000}, {"KB", 1000}, {"MB", 1_000_000}, {"GB", 1_000_000_000}, {"B", 1}, {"", 1}}

// ParseSize parses a number of bytes: 65536, 64KiB, 1MB, 1.5MiB.
func ParseSize(s string) (Size, error) {
	const most = 1 << 40
	if n, err := strconv.ParseInt(s, 0, 64); err == nil && 0 <= n && n <= most {
		return Size(n), nil
	}
	for _, u := range units {
		if number, ok := strings.CutSuffix(s, u.suffix); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
			if err != nil || !(n >= 0 && n*float64(u.factor) <= most) { // NaN is neither
				break
			}
			return Size(n * float64(u.factor)), nil
		}
	}
	return 0, errors.New("is not a size such as 256KiB")
}

// String returns the size with the largest unit that divides it.
func (s Size) String() string {
	for _, u := range []struct {
		suffix string
		factor Size
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if s != 0 && s%u.factor == 0 {
			return strconv.FormatInt(int64(s/u.factor), 10) + u.suffix
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// parse makes a value of type t of a text. Networks stay texts, which Settings are made
// of later.
func parse(t reflect.Type, text string) (v any, err error) {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t == sizeType:
		return ParseSize(text)
	case t == durationType:
		if v, err = time.ParseDuration(text); err != nil {
			err = errors.New("is not a duration such as 25s or 1m30s")
		}
		return v, err
	case t == prefixType:
		return network(text)
	case t.Kind() == reflect.Bool:
		if v, err = strconv.ParseBool(text); err != nil {
			err = errors.New("is neither true nor false")
		}
		return v, err
	case t.Kind() == reflect.Int:
		n, err := strconv.ParseInt(text, 0, 64)
		if err != nil {
			err = errors.New("is not a whole number")
		}
		return int(n), err
	}
	return text, nil
}

// network returns a network as netip.Prefix takes it; an address alone is one.
func network(text string) (string, error) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a, a.BitLen()).String(), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return "", errors.New("is not a network such as 10.0.0.0/8")
	}
	return p.Masked().String(), nil
}

// value makes a value of type t of a text. What is wrong with it is said of the text
// as it was written.
func (k *Key) value(t reflect.Type, text, written string) (any, error) {
	v, err := parse(t, text)
	if err == nil && k.check != nil {
		err = k.check(text)
	}
	if s, ok := v.(string); err == nil && ok && k.OneOf != nil && !slices.Contains(k.OneOf, s) {
		err = errors.New("is not " + list(k.OneOf))
	}
	if err != nil {
		return nil, fmt.Errorf("%s %w", k.quoted(written), err)
	}
	return v, k.within(v)
}

// within says what is wrong with a number.
func (k *Key) within(v any) error {
	var n int64
	write := func(n int64) string { return strconv.FormatInt(n, 10) }
	switch v := v.(type) {
	case int:
		n = int64(v)
	case Size:
		n, write = int64(v), func(n int64) string { return Size(n).String() }
	case time.Duration:
		n, write = int64(v), func(n int64) string { return duration(time.Duration(n)) }
		if n <= 0 && k.Least == 1 {
			return errors.New("must be positive")
		}
	default:
		return nil
	}
	switch {
	case n >= k.Least && (k.Most == 0 || n <= k.Most):
		return nil
	case k.Most != 0:
		return fmt.Errorf("must be from %s to %s", write(k.Least), write(k.Most))
	}
	return fmt.Errorf("must be at least %s", write(k.Least))
}

// list writes what a value may be.
func list(all []string) string {
	var named []string
	for _, s := range all {
		if s != "" {
			named = append(named, s)
		}
	}
	last := len(named) - 1
	if last == 0 {
		return named[0]
	}
	return strings.Join(named[:last], ", ") + " or " + named[last]
}

// duration writes a duration without the zeros that String ends in.
func duration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// expected says what a value of type t is written as.
func expected(t reflect.Type) string {
	switch {
	case t == sizeType:
		return "a size such as 256KiB"
	case t == durationType:
		return "a duration such as 25s"
	case t == prefixType:
		return "a network such as 10.0.0.0/8"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return expected(t.Elem())
	case reflect.Bool:
		return "true or false"
	case reflect.Int:
		return "a whole number"
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Struct && t.Elem() != prefixType {
			return "a list of groups of settings"
		}
		return "a list, each " + expected(t.Elem())
	case reflect.Struct:
		return "a group of settings"
	case reflect.Map:
		return "a group of names, each with " + expected(t.Elem())
	}
	return "a text"
}

func checkMemory(text string) error {
	if text == "auto" {
		return nil
	}
	if _, err := ParseSize(text); err != nil {
		return errors.New("is neither auto nor a size such as 2GiB")
	}
	return nil
}

func checkLevel(text string) error {
	var l slog.Level
	if err := l.UnmarshalText([]byte(text)); err != nil {
		return errors.New("is not debug, info, warn or error")
	}
	return nil
}

// checkInternal checks the address of the internal listener, which may be none.
func checkInternal(text string) error {
	if text == "" {
		return nil
	}
	if l, err := ParseListen(text); err != nil || l.Network == "systemd" && l.Address == "" || l.TLS || l.Proxy != "" {
		return errors.New("is not an address such as 127.0.0.1:9000, unix:/run/sioedge-internal.sock?mode=0660 or systemd:name")
	}
	return nil
}
