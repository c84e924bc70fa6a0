package main

import (
	"bytes"
	"strconv"
)

// A message's payload is one string: what it is, and its number in its room with
// seqDigits digits, with x up to its size.
const (
	counted   = 'm' // is measured
	probe     = 'p' // is not, and says that the way is there
	seqDigits = 16
	minSize   = 1 + seqDigits
)

var head = []byte(`42["msg","`)

// appendPublish appends the packet that has a server publish a message. Ack is
// whether it shall say that it has.
func appendPublish(dst []byte, room string, kind byte, seq uint64, size int, ack bool) []byte {
	dst = append(dst, "42"...)
	if ack {
		dst = append(dst, '1')
	}
	dst = append(append(append(dst, `["publish","`...), room...), `","`...)
	start := len(dst)
	dst = append(dst, kind)
	number := strconv.AppendUint(nil, seq, 10)
	for range seqDigits - len(number) {
		dst = append(dst, '0')
	}
	dst = append(dst, number...)
	for len(dst)-start < size {
		dst = append(dst, 'x')
	}
	return append(dst, `"]`...)
}

// parseMessage reports false when p is no whole message with a payload of that
// size. A server may append an argument of its own.
func parseMessage(p []byte, size int) (kind byte, seq uint64, ok bool) {
	rest, ok := bytes.CutPrefix(p, head)
	if !ok || len(rest) < size+2 || rest[size] != '"' || rest[size+1] != ']' && rest[size+1] != ',' {
		return 0, 0, false
	}
	if bytes.IndexByte(rest[:size], '"') >= 0 || rest[0] != counted && rest[0] != probe {
		return 0, 0, false
	}
	for _, c := range rest[1:minSize] {
		if c < '0' || c > '9' {
			return 0, 0, false
		}
		seq = seq*10 + uint64(c-'0')
	}
	return rest[0], seq, true
}
