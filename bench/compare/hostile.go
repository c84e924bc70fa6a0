package main

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sioedge/sioedge/bench/client"
	"github.com/sioedge/sioedge/bench/host"
	"github.com/sioedge/sioedge/wsframe"
)

// waves is how often all clients come and go in the trial of that.
const waves = 10

// comeAndGo has clients come and go again and again, and notes what the server holds
// when each wave has gone.
func comeAndGo(v *server, s setting, t trial) (figure, error) {
	pid := s.Process.Pid
	f := figure{clients: clientsOf(v, t)}
	before, err := host.Resident(pid)
	f.held = append(f.held, float64(before))
	for range waves {
		if err != nil {
			return f, err
		}
		cmd := exec.Command("bin/sioload", "ws://"+s.Addr+v.path, "--scenario", "idle", "--duration", "1s", "--busy-poll",
			"--clients", strconv.Itoa(f.clients), "--rate", strconv.Itoa(v.rate))
		if said, err := cmd.CombinedOutput(); err != nil {
			return f, fmt.Errorf("wave %d: %w: %s", len(f.held), err, telling(said))
		}
		if err := quiet(pid); err != nil {
			return f, err
		}
		var now int64
		now, err = host.Resident(pid)
		f.held = append(f.held, float64(now))
	}
	return f, err
}

// afterWave is a column: what is held after some waves.
func afterWave(n int, title string) column {
	return column{title, "%.1f", func(f figure) float64 { return f.held[n] / (1 << 20) }}
}

// A hostility is what one connection does: it sends begin once, and then one of units after
// the other as fast as they are taken.
type hostility struct {
	name  string
	begin []byte
	units [][]byte
	reads bool // what it is sent
	brief bool // it is in a quick run
}

func hostilities() []hostility {
	packet := func(text string) []byte { return client.AppendPacket(nil, []byte(text)) }
	many := func(unit []byte) [][]byte { return [][]byte{bytes.Repeat(unit, max(1, 16<<10/len(unit)))} }
	key := [4]byte{0x5a, 0xa5, 0x3c, 0xc3}
	// A frame that is not the last of its message; what follows goes on with opcode 0.
	part := func(op byte, payload string) []byte {
		b := wsframe.AppendMaskedFrame(nil, wsframe.Text, []byte(payload), key)
		b[0] = op
		return b
	}
	var rooms [][]byte
	for i := range 1000 {
		var b []byte
		for k := range 100 {
			b = client.AppendPacket(b, fmt.Appendf(nil, `42["join","room %d"]`, 100*i+k))
		}
		rooms = append(rooms, b)
	}
	nested := `421["echo",` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `]`
	return []hostility{
		{name: "pongs without end", brief: true, units: many(packet("3")), reads: true},
		{name: "WebSocket pings, pongs not read", units: many(wsframe.AppendMaskedFrame(nil, wsframe.Ping, make([]byte, 125), key))},
		{name: "fragments of one byte", begin: part(0x01, "4"), units: many(part(0x00, "2")), reads: true},
		{name: "a message of 1 MB, never whole", begin: part(0x01, "4"+strings.Repeat("x", 990_000)), reads: true},
		{name: "events of nested arrays", units: many(packet(nested)), reads: true},
		{name: "echoes of 1 KB, not read", brief: true, units: many(packet(`421["echo","` + strings.Repeat("x", 1000) + `"]`))},
		{name: "joining rooms without end", units: rooms, reads: true},
	}
}

// attacked measures what one hostile connection costs a server.
func attacked(h hostility) func(v *server, s setting, t trial) (figure, error) {
	return func(v *server, s setting, t trial) (f figure, err error) {
		pid := s.Process.Pid
		honest, err := client.Dial(s.Addr)
		if err != nil {
			return f, err
		}
		defer honest.Close()
		hostile, err := client.Dial(s.Addr)
		if err != nil {
			return f, err
		}
		defer hostile.Close()
		if err := quiet(pid); err != nil {
			return f, err
		}
		before, err1 := host.Resident(pid)
		cpu, err2 := host.CPUOf(pid)
		if err := errors.Join(err1, err2); err != nil {
			return f, err
		}
		began := time.Now()
		sent, most, thrown := h.attack(hostile, pid, began.Add(t.length))
		took := time.Since(began).Seconds()
		used, err := host.CPUOf(pid)
		if err != nil {
			return f, fmt.Errorf("the server has ended: %w", err)
		}
		f = figure{clients: 1, seconds: took, cpuSeconds: used.Since(cpu).Total().Seconds(), sent: float64(sent), held: []float64{max(0, float64(most-before))}}
		if !thrown.IsZero() {
			f.notes = append(f.notes, fmt.Sprintf("thrown out after %.1f s", thrown.Sub(began).Seconds()))
		}
		// Who is honest is answered all the same.
		err = honest.Send(`427["echo","still here"]`)
		if err == nil {
			err = honest.Await("437")
		}
		if err != nil {
			f.problems = append(f.problems, "an honest client was not answered")
		}
		return f, nil
	}
}

// attack returns how many bytes were taken until end, the most that the process had
// resident, and when it threw the connection out.
func (h hostility) attack(c *client.Conn, pid int, end time.Time) (sent, most int64, thrown time.Time) {
	var taken atomic.Int64
	out := make(chan time.Time, 2)
	if h.reads {
		// ends with the connection
		go func() {
			_ = c.Listen(func([]byte) {})
			out <- time.Now()
		}()
	}
	// ends with the connection
	go func() {
		n, err := c.Write(h.begin)
		taken.Add(int64(n))
		for i := 0; err == nil && len(h.units) > 0; i++ {
			n, err = c.Write(h.units[i%len(h.units)])
			taken.Add(int64(n))
		}
		if err != nil {
			out <- time.Now()
		}
	}()
	for time.Now().Before(end) {
		if held, err := host.Resident(pid); err == nil {
			most = max(most, held)
		}
		select {
		case at := <-out:
			if thrown.IsZero() {
				thrown = at
			}
		default:
		}
		time.Sleep(20 * time.Millisecond)
	}
	return taken.Load(), most, thrown
}

// costs are the scenarios of what a server keeps, and of what one client can do to it.
func costs(s settings) []trial {
	all := []trial{{name: "memory over ten waves", clients: min(s.clients, 10000), once: true, drive: comeAndGo,
		alone: []string{ourselves, library, tuned, limit, uws, plainNode, "bun"}, columns: []column{
			afterWave(waves, "RSS MB when ten waves have come and gone"), afterWave(0, "before"), afterWave(1, "after one"), afterWave(2, "two"),
			afterWave(waves/2, "five")}}}
	for _, h := range hostilities() {
		all = append(all, trial{name: "one hostile client: " + h.name, brief: h.brief, clients: 1, once: true, drive: attacked(h), length: time.Duration(s.seconds) * time.Second,
			alone: []string{ourselves, library, plainNode, "node-uws", "bun", "zishang"}, columns: []column{
				{"CPU ms a second", "%.0f", func(f figure) float64 { return 1e3 * f.cpuSeconds / f.seconds }},
				{"CPU ms for a MB sent", "%.1f", func(f figure) float64 { return 1e3 * f.cpuSeconds / max(f.sent/(1<<20), 1e-3) }},
				{"MB sent a second", "%.2f", func(f figure) float64 { return f.sent / f.seconds / (1 << 20) }},
				{"RSS MB more, at most", "%.1f", func(f figure) float64 { return f.held[0] / (1 << 20) }}}})
	}
	return all
}
