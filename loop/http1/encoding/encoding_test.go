package encoding

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
)

func TestChoose(t *testing.T) {
	for _, c := range []struct {
		accept string
		want   Coding
	}{
		// What Node 20 chooses, with accepts 1.3.8 and ["gzip", "deflate"].
		{"", Identity},
		{"gzip", Gzip},
		{"deflate", Deflate},
		{"gzip, deflate, br", Gzip},
		{"gzip, deflate, br, zstd", Gzip},
		{"deflate, gzip", Deflate},
		{"deflate,gzip;q=0.9", Deflate},
		{"gzip;q=0.5, deflate;q=0.8", Deflate},
		{"*", Gzip},
		{"*;q=0", Identity},
		{"*;q=0.1, gzip;q=0", Deflate},
		{"*;q=0, gzip", Gzip},
		{"deflate;q=0, *", Gzip},
		{"gzip;q=1, *;q=0", Gzip},
		{"*, deflate", Deflate},
		{"*;q=0.5, deflate;q=0.5", Deflate},
		{"deflate;q=0.5, *;q=0.5", Deflate},
		{"*;q=0.5, deflate;q=0.1", Gzip},
		{"gzip;q=0", Identity},
		{"gzip;q=0.000", Identity},
		{"br", Identity},
		{"identity", Identity},
		{"identity;q=1, gzip;q=0.5", Gzip},
		{"gzip;q=0.1, gzip, deflate;q=0.5", Gzip},
		{"gzip, gzip;q=0, deflate;q=0.5", Gzip},
		{"GZIP", Gzip},
		{"Gzip ; q=0.3", Gzip},
		{"  deflate  ;  q=1.000 , gzip;q=0.999", Deflate},
		{"gzip;level=9;q=0", Identity},
		{"gzip ;q=0.2;q=0, deflate;q=0.1", Gzip},
		{"gzip;q=", Identity},
		{"gzip;q=x", Identity},
		{"gzip;q=-1", Identity},
		{",,gzip,", Gzip},
		{"x-gzip", Identity},
		{"gzipped", Identity},

		// Where Node is more lenient: RFC 9110, 5.6.6 and 12.4.2.
		{"gzip;Q=0", Identity},
		{"gzip;q=2", Identity},
		{"gzip;q=1.001", Identity},
		{"gzip;q=0.0001", Identity},
		{"gzip;q=0x1", Identity},
		{"gzip;q=0.1x", Identity},
		{"gzip;q", Identity},
	} {
		if got := Choose([]byte(c.accept)); got != c.want {
			t.Errorf("Choose(%q) = %q, want %q", c.accept, got, c.want)
		}
	}
	if got := Choose(nil); got != Identity {
		t.Errorf("Choose(nil) = %q, want none", got)
	}
}

// decode is the way back, with the standard library.
func decode(c Coding, b []byte) ([]byte, error) {
	src := bytes.NewReader(b)
	var r io.Reader = src
	var err error
	switch c {
	case Gzip:
		r, err = gzip.NewReader(src)
	case Deflate:
		r, err = zlib.NewReader(src)
	}
	if err != nil {
		return nil, err
	}
	out, err := io.ReadAll(r)
	if err == nil && src.Len() > 0 {
		err = fmt.Errorf("%d bytes behind the end", src.Len())
	}
	return out, err
}

func bodies() map[string][]byte {
	random := rand.New(rand.NewPCG(3, 4))
	noise := make([]byte, 100_000)
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	payload := []byte(strings.Repeat("42[\"message\",{\"text\":\"hello\"}]\x1e", 4000))
	all := map[string][]byte{}
	for _, size := range []int{0, 1, 100, 1024, 65536, 100_000} {
		all[fmt.Sprint(size, " bytes of noise")] = noise[:size]
		all[fmt.Sprint(size, " bytes of packets")] = payload[:size]
	}
	return all
}

func TestAppend(t *testing.T) {
	for _, c := range []Coding{Identity, Gzip, Deflate} {
		for name, body := range bodies() {
			b := c.Append([]byte("before"), body)
			if !bytes.HasPrefix(b, []byte("before")) {
				t.Fatalf("%q.Append(before, %s) = %.10q…, want it to begin with before", c, name, b)
			}
			b = b[len("before"):]
			got, err := decode(c, b)
			if err != nil || !bytes.Equal(got, body) {
				t.Errorf("%q.Append(%s) is decoded to %d bytes, %v, want %d", c, name, len(got), err, len(body))
			}
			if len(body) >= 1024 && c != Identity && strings.HasSuffix(name, "packets") && len(b) > len(body)/2 {
				t.Errorf("%q.Append(%s) = %d bytes, want less than half", c, name, len(b))
			}
		}
	}
}

func TestAppendFromManyGoroutines(t *testing.T) {
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() { // ends when each body was encoded
			for name, body := range bodies() {
				c := []Coding{Gzip, Deflate}[i%2]
				if got, err := decode(c, c.Append(nil, body)); err != nil || !bytes.Equal(got, body) {
					t.Errorf("%q.Append(%s) is decoded to %d bytes, %v, want %d", c, name, len(got), err, len(body))
				}
			}
		})
	}
	wg.Wait()
}

func TestNothingIsAllocated(t *testing.T) {
	if race {
		t.Skip("sync.Pool drops what is put into it at random under the race detector")
	}
	body := bodies()["1024 bytes of packets"]
	accept := []byte("br;q=1.0, deflate;q=0.5, GZIP ; q=0.8, *;q=0.1")
	out := make([]byte, 0, 4096)
	for _, c := range []struct {
		name string
		f    func()
	}{
		{"Choose", func() { Choose(accept) }},
		{"Append of gzip", func() { Gzip.Append(out, body) }},
		{"Append of deflate", func() { Deflate.Append(out, body) }},
	} {
		if n := testing.AllocsPerRun(100, c.f); n != 0 {
			t.Errorf("%s allocates %v times, want 0", c.name, n)
		}
	}
}

func FuzzChoose(f *testing.F) {
	for _, s := range []string{"gzip, deflate, br", "*;q=0.5, deflate;q=0.1", "gzip;level=9;q=0", "identity;q=1, gzip;q=0.5"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, accept string) {
		got := Choose([]byte(accept))
		lower := strings.ToLower(accept)
		if got != Identity && !strings.Contains(lower, string(got)) && !strings.Contains(lower, "*") {
			t.Errorf("Choose(%q) = %q, which is not there", accept, got)
		}
		if plain := !strings.ContainsAny(lower, "*;"); plain {
			// Without weights, the first of the two that is there.
			want := Identity
			for _, e := range strings.Split(accept, ",") {
				if e = strings.Trim(e, " \t"); want == Identity && (strings.EqualFold(e, "gzip") || strings.EqualFold(e, "deflate")) {
					want = Coding(strings.ToLower(e))
				}
			}
			if got != want {
				t.Errorf("Choose(%q) = %q, want %q", accept, got, want)
			}
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	body := bodies()["1024 bytes of packets"]
	out := make([]byte, 0, 4096)
	for _, c := range []Coding{Gzip, Deflate} {
		b.Run("coding="+string(c), func(b *testing.B) {
			for b.Loop() {
				c.Append(out, body)
			}
		})
	}
}

func BenchmarkChoose(b *testing.B) {
	accept := []byte("gzip, deflate, br, zstd")
	for b.Loop() {
		Choose(accept)
	}
}
