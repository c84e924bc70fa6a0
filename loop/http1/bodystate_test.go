package http1

import "testing"

// TestBodiesGoOn: wherever a body is cut, another Body goes on from the state of the first.
func TestBodiesGoOn(t *testing.T) {
	for name, c := range map[string]struct {
		r    Request
		wire string
		want string
	}{
		"of known length": {Request{ContentLength: 11}, "hello there", "hello there"},
		"in chunks":       {Request{Chunked: true}, "5;x=y\r\nhello\r\n06 \t;z\r\n there\r\n0\r\nTrailer: t\r\nOther: u\r\n\r\n", "hello there"},
	} {
		const limit = 11
		for at := range len(c.wire) {
			var first, second Body
			if err := first.Reset(&c.r, limit); err != nil {
				t.Fatal(err)
			}
			got, done := feedBody(t, &first, c.wire[:at])
			if done {
				t.Fatalf("%s: the body is complete with %d bytes", name, at)
			}
			if !second.SetState(first.State(), limit) || second != first {
				t.Fatalf("%s, cut at %d: %+v is not gone on with", name, at, first.State())
			}
			rest, done := feedBody(t, &second, c.wire[at:])
			if got = append(got, rest...); string(got) != c.want || !done {
				t.Errorf("%s, cut at %d: %q, %t, want %q", name, at, got, done, c.want)
			}
		}
	}
}

// feedBody gives wire to d, byte by byte.
func feedBody(t *testing.T, d *Body, wire string) (body []byte, done bool) {
	for i := range wire {
		data, n, all, err := d.Next([]byte(wire[i : i+1]))
		if err != nil || n != 1 {
			t.Fatalf("Next() = %d, %v", n, err)
		}
		body, done = append(body, data...), all
	}
	return body, done
}

// TestBodyStateChecks: a state that no body can be in is refused, and changes nothing.
func TestBodyStateChecks(t *testing.T) {
	for _, s := range []BodyState{
		{},
		{Part: 99},
		{Part: uint8(bodyFixed)},
		{Part: uint8(bodyFixed), Left: -1},
		{Part: uint8(bodyFixed), Left: 101},
		{Part: uint8(bodyFixed), Left: 1, Room: 1},
		{Part: uint8(bodySize), Left: 2, Room: 1},
		{Part: uint8(bodySize), Left: 1, Room: 101},
		{Part: uint8(bodySize), Width: 17},
		{Part: uint8(bodySize), Width: -1},
		{Part: uint8(bodySize), Room: -1},
		{Part: uint8(bodyGap), Left: 100, Room: 1},
		{Part: uint8(bodyExtension), Extra: maxBodyExtra + 1},
		{Part: uint8(bodyExtension), Extra: -1},
		{Part: uint8(bodyChunk)},
		{Part: uint8(bodyChunk), Left: 1, Room: 100},
		{Part: uint8(bodyChunkCR), Left: 1},
		{Part: uint8(bodyLastLF), Room: 101},
	} {
		d := Body{state: bodyTrailer}
		if d.SetState(s, 100) || d != (Body{state: bodyTrailer}) {
			t.Errorf("SetState(%+v) is taken", s)
		}
	}
}

// FuzzBodyState: a body from a state that was taken never gives more than its limit.
func FuzzBodyState(f *testing.F) {
	f.Add(uint8(bodyChunk), int64(3), int64(4), int32(0), int8(1), []byte("abc\r\n4\r\nabcd\r\n0\r\n\r\n"))
	f.Add(uint8(bodySize), int64(1), int64(40), int32(0), int8(1), []byte("0\r\n"))
	f.Fuzz(func(t *testing.T, part uint8, left, room int64, extra int32, width int8, wire []byte) {
		const limit = 50
		var d Body
		if !d.SetState(BodyState{part, left, room, extra, width}, limit) {
			return
		}
		n := 0
		for {
			data, used, done, err := d.Next(wire)
			n += len(data)
			wire = wire[used:]
			if done || err != nil || used == 0 {
				break
			}
		}
		if n > limit {
			t.Errorf("%d bytes, of at most %d", n, limit)
		}
	})
}
