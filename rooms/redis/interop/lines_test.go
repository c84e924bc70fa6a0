//go:build interop

package interop

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"

	"github.com/sioedge/sioedge/sio"
)

// unpack returns arguments as they are written in lines.
func unpack(a sio.Args) []any {
	dst := make([]any, a.Len())
	for i := range dst {
		dst[i] = new(any)
	}
	if err := a.Decode(dst...); err != nil {
		return []any{err.Error()}
	}
	for i := range dst {
		dst[i] = hexed(*dst[i].(*any))
	}
	return dst
}

// hexed replaces bytes in v by those that are written in lines.
func hexed(v any) any {
	switch v := v.(type) {
	case sio.Binary:
		return bytes(v)
	case []byte:
		return bytes(v)
	case []any:
		for i := range v {
			v[i] = hexed(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = hexed(v[k])
		}
	}
	return v
}

// unhexed is the reverse.
func unhexed(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = unhexed(v[i])
		}
	case map[string]any:
		if text, ok := v["$b"].(string); ok {
			b, err := hex.DecodeString(text)
			if err != nil {
				return err.Error()
			}
			return b
		}
		for k := range v {
			v[k] = unhexed(v[k])
		}
	}
	return v
}

// strs returns names of rooms as text.
func strs(rooms []any) (names []string) {
	for _, r := range rooms {
		names = append(names, fmt.Sprint(r))
	}
	return names
}

// work does the commands of in, in order, and writes the answers to out; those
// that wait for others do it on goroutines.
func work(url string, in io.Reader, out io.Writer, perform func(command) (any, error)) {
	var mu sync.Mutex
	write := func(id int, v any, err error) {
		a := answer{ID: id}
		if err != nil {
			a.Error = err.Error()
		} else if a.OK, err = json.Marshal(v); err != nil {
			a.Error = err.Error()
		}
		line, _ := json.Marshal(a) // nothing in it can fail
		mu.Lock()
		defer mu.Unlock()
		_, _ = out.Write(append(line, '\n')) // nobody may listen any more
	}
	write(0, url, nil)
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var c command
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			write(0, nil, err)
			continue
		}
		c.Args, _ = unhexed(c.Args).([]any)
		run := func() {
			v, err := perform(c)
			write(c.ID, v, err)
		}
		if slices.Contains([]string{"ask", "fetch", "remote", "rooms", "askServers"}, c.Op) {
			// ends with its answer
			go run()
			continue
		}
		run()
	}
}

// inProcess returns a peer that is in this process.
func inProcess(t testing.TB, name, url string, perform func(command) (any, error)) *peer {
	t.Helper()
	commands, in := io.Pipe()
	out, results := io.Pipe()
	// ends when in is closed
	go work(url, commands, results, perform)
	t.Cleanup(func() {
		in.Close()
		results.Close()
	})
	p := &peer{t: t, name: name, in: in}
	p.listen(out)
	return p
}
