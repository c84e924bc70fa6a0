package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// prefix is what the names of the program's channels and streams begin with.
const prefix = "attacked"

// redisAttacks are those of somebody who can write to a cluster's Redis, and of
// clients that make a server of a cluster work.
var redisAttacks = []*attack{
	{name: "in Redis: garbage on every channel, classic", redis: "redis", peers: 8, do: garble},
	{name: "in Redis: garbage on every channel, sharded", redis: "redis+sharded", peers: 8, do: garble},
	{name: "in Redis: garbage on every channel and stream", redis: "redis+streams", peers: 8, do: garble},
	{name: "in Redis: a server's own messages, changed, classic", redis: "redis", peers: 8, do: mimic},
	{name: "in Redis: a server's own messages, changed, sharded", redis: "redis+sharded", peers: 8, do: mimic},
	{name: "in Redis: a server's own messages, changed, streams", redis: "redis+streams", peers: 8, do: mimic},
	{name: "in Redis: answers of wrong shapes, classic", redis: "redis", peers: 8, do: misanswer},
	{name: "in Redis: answers of wrong shapes, sharded", redis: "redis+sharded", peers: 8, do: misanswer},
	{name: "in Redis: answers of wrong shapes, streams", redis: "redis+streams", peers: 8, do: misanswer},
	{name: "ids of servers that there are not", redis: "redis", bytes: 40_000, do: func(a *attacker) error {
		h, sid, err := a.polling()
		if err != nil {
			return err
		}
		defer h.finish()
		h.discard()
		for a.more() {
			for i := range sid {
				forged := sid[:i] + string("AQgw_-059"[rand.IntN(9)]) + sid[i+1:]
				if _, err := io.WriteString(h, get("EIO=4&sid="+forged)); err != nil {
					return err
				}
			}
		}
		return nil
	}},
	{name: "polls of another server's sessions, in a cluster", redis: "redis", twin: true, args: []string{"-advertise", "-max-forwards=256"},
		bytes: 40_000, conns: 400, do: func(a *attacker) error {
			for a.more() {
				first, err := a.dialApart(a.twin)
				if err != nil {
					return err
				}
				sid, err := first.open("EIO=4")
				a.drop(first)
				if err != nil {
					return err
				}
				h, err := a.dialApart(a.addr)
				if err != nil {
					return err
				}
				if _, err := io.WriteString(h, get("EIO=4&sid="+sid)); err != nil {
					return err
				}
				h.discard()
			}
			return nil
		}},
	{name: "forged ids of recovery in a cluster", redis: "redis+streams", args: []string{"-recovery=10s"}, do: func(a *attacker) error {
		for i := range 100 {
			h, err := a.joined("EIO=4", fmt.Sprintf(`40{"pid":"%020d","offset":"%d-0"}`, i, time.Now().UnixMilli()))
			if err != nil {
				return err
			}
			if _, _, err := h.read(); err == nil {
				_, _, _ = h.read() // what joining is answered
			}
			a.drop(h)
		}
		return io.EOF
	}},
	{name: "namespaces that a middleware refuses, in a cluster", redis: "redis", do: numbered("40/refused/%d,")},
	{name: "joining and leaving rooms, in a cluster", redis: "redis+sharded", bytes: 4 << 20, do: numbered(`42["join","room %[1]d"]`, `42["leave","room %[1]d"]`)},
}

// startRedis starts a Redis that keeps nothing.
func startRedis() (addr string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	addr = l.Addr().String()
	l.Close()
	cmd := exec.Command("redis-server", "--bind", "127.0.0.1", "--port", strconv.Itoa(l.Addr().(*net.TCPAddr).Port), "--save", "", "--appendonly", "no")
	cmd.SysProcAttr = dependent()
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			return addr, stop, nil
		}
	}
	stop()
	return "", nil, fmt.Errorf("redis-server does not answer")
}

// command is a command as RESP has it.
func command(args ...string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	return b.Bytes()
}

// reply reads a reply and returns the texts in it, as deep as they are.
func reply(r *bufio.Reader) (all []string, err error) {
	line, err := r.ReadString('\n')
	if err != nil || len(line) < 3 {
		return nil, err
	}
	n, _ := strconv.Atoi(strings.TrimSpace(line[1:]))
	switch line[0] {
	case '$':
		b := make([]byte, max(n, 0)+2)
		if n < 0 {
			return nil, nil
		}
		_, err = io.ReadFull(r, b)
		return []string{string(b[:n])}, err
	case '*', '>':
		for range max(n, 0) {
			some, err := reply(r)
			if err != nil {
				return nil, err
			}
			all = append(all, some...)
		}
	}
	return all, nil
}

// intrude opens a connection to Redis and returns the channels of the program.
func (a *attacker) intrude() (h *hostile, channels []string, err error) {
	if h, err = a.dialTo(a.redis); err != nil {
		return nil, nil, err
	}
	for _, kind := range []string{"CHANNELS", "SHARDCHANNELS"} {
		if _, err = h.Write(command("PUBSUB", kind)); err != nil {
			return h, nil, err
		}
		some, err := reply(h.r)
		if err != nil {
			return h, nil, err
		}
		channels = append(channels, some...)
	}
	return h, append(channels, prefix+"#/#", prefix+"#/#room#", prefix+"-request#/#", prefix+"-response#/#", prefix+"#/n/1#"), nil
}

// publish is all that gets a message to a channel, or to the stream.
func publish(channel, message string) []byte {
	return append(append(command("PUBLISH", channel, message), command("SPUBLISH", channel, message)...),
		command("XADD", prefix, "MAXLEN", "~", "1000", "*", "uid", "x", "nsp", "/", "type", "3", "data", message)...)
}

// wrong are values of all kinds, of which a message's members should mostly not be.
var wrong = []string{`null`, `1`, `-1`, `1e999`, `"x"`, `""`, `[]`, `{}`, `[1,"x",{}]`, `{"x":[null]}`, `[[]]`, `true`}

// rubbish returns messages that are none, or wrong.
func rubbish() (all []string) {
	all = []string{"", "x", "\x00", "\xff", "\xc1", "{", "[", "[[[[[[", "\x93", "\xdd\xff\xff\xff\xff", "\xdf\xff\xff\xff\xff", "\xc6\xff\xff\xff\xff", "\x84\xa4type\x03", strings.Repeat("[", 10_000), strings.Repeat("\x91", 10_000),
		strings.Repeat("x", 10_000), "\x93\xa1x\xc0\xc0", "\x93\xa1x\x80\x80", "\x93\xc0\xc0\xc0", `["x",{},{}]`, `["x",{"type":2,"data":1,"nsp":"/"},{}]`, `["x",{"type":2,"data":["x"],"nsp":1},{"rooms":1}]`}
	for typ := range 16 {
		if typ == 4 || typ == 6 {
			continue // to disconnect sockets: an order that who may write there may give
		}
		for _, v := range wrong {
			all = append(all, fmt.Sprintf(`{"uid":"x","nsp":"/","requestId":"x","type":%d,"data":%s,"opts":%[2]s,"rooms":%[2]s,"packet":%[2]s,"sockets":%[2]s,"sid":%[2]s,"room":%[2]s}`, typ, v),
				fmt.Sprintf(`{"uid":%s,"nsp":%[1]s,"requestId":%[1]s,"type":%d,"data":{"opts":%[1]s,"packet":%[1]s,"requestId":%[1]s,"sockets":%[1]s,"rooms":%[1]s,"clientCount":%[1]s}}`, v, typ),
				fmt.Sprintf(`{"uid":"x","node":%s,"name":%[1]s,"addr":%[1]s,"token":%[1]s,"load":%[1]s,"nsps":%[1]s,"hello":true,"began":%[1]s}`, v))
		}
	}
	return all
}

// garble publishes what nobody can read, on all channels.
func garble(a *attacker) error {
	h, channels, err := a.intrude()
	if err != nil {
		return err
	}
	h.discard()
	all := rubbish()
	for n := rand.IntN(len(all)); a.more(); n++ {
		for _, c := range channels {
			if m := all[n%len(all)]; a.more() {
				if _, err := h.Write(publish(c, m)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// listen subscribes to all channels, as a server would, and hands on what comes
// there, until the attack is over.
func (a *attacker) listen(channels []string, heard func(channel, message string)) error {
	h, err := a.dialTo(a.redis)
	if err != nil {
		return err
	}
	b := command("PSUBSCRIBE", "*")
	for _, c := range channels {
		b = append(append(b, command("SUBSCRIBE", c)...), command("SSUBSCRIBE", c)...)
	}
	if _, err := h.Write(b); err != nil {
		return err
	}
	// ends with the connection
	go func() {
		for {
			m, err := reply(h.r)
			if err != nil {
				return
			}
			if len(m) > 2 && strings.HasSuffix(m[0], "message") {
				heard(m[len(m)-2], m[len(m)-1])
			}
		}
	}()
	return nil
}

// provoke has the program ask its cluster, and tell it, for as long as it goes on.
func (a *attacker) provoke() error {
	h, err := a.joined("EIO=4", "40", "40/n/1,")
	if err != nil {
		return err
	}
	h.discard()
	// ends with the attack
	go func() {
		for a.more() {
			if _, err := h.Write(texts(`42["fetch"]`, `42["publish","a room"]`, `42["join","a room"]`, `42/n/1,["fetch"]`, `42["leave","a room"]`)); err != nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	}()
	return nil
}

// mimic repeats what the program says, with a few bytes changed.
func mimic(a *attacker) error {
	h, channels, err := a.intrude()
	if err != nil {
		return err
	}
	h.discard()
	type said struct{ channel, message string }
	var mu sync.Mutex
	var all []said
	if err := a.listen(channels, func(channel, message string) {
		mu.Lock()
		defer mu.Unlock()
		if len(all) < 256 {
			all = append(all, said{channel, message})
		} else {
			all[rand.IntN(len(all))] = said{channel, message}
		}
	}); err != nil {
		return err
	}
	if err := a.provoke(); err != nil {
		return err
	}
	for a.more() {
		mu.Lock()
		m := said{prefix + "#/#", "x"}
		if len(all) > 0 {
			m = all[rand.IntN(len(all))]
		}
		mu.Unlock()
		b := []byte(m.message)
		for range rand.IntN(4) {
			if len(b) > 0 {
				b[rand.IntN(len(b))] = byte(rand.IntN(256))
			}
		}
		if rand.IntN(4) == 0 {
			b = b[:rand.IntN(len(b)+1)]
		}
		if order.Match(b) {
			continue
		}
		if _, err := h.Write(publish(m.channel, string(b))); err != nil {
			return err
		}
	}
	return nil
}

// order matches what disconnects sockets, which who may write to Redis may do.
var order = regexp.MustCompile(`"type":(4|6)\b|type(\x04|\x06)|"close"|close(\xc2|\xc3)`)

// asked finds the id of a request, and who asks.
var asked = regexp.MustCompile(`(?s)(?:requestId"?:?"?[\xa0-\xbf]?([0-9a-zA-Z_-]{5,40})).*?(?:uid"?:?"?[\xa0-\xbf]?([0-9a-zA-Z_-]{5,40}))|(?:uid"?:?"?[\xa0-\xbf]?([0-9a-zA-Z_-]{5,40})).*?(?:requestId"?:?"?[\xa0-\xbf]?([0-9a-zA-Z_-]{5,40}))`)

// misanswer answers each request of the program with values of all kinds.
func misanswer(a *attacker) error {
	h, channels, err := a.intrude()
	if err != nil {
		return err
	}
	h.discard()
	requests := make(chan [2]string, 16)
	if err := a.listen(channels, func(_, message string) {
		if m := asked.FindStringSubmatch(message); m != nil {
			select {
			case requests <- [2]string{m[1] + m[4], m[2] + m[3]}:
			default:
			}
		}
	}); err != nil {
		return err
	}
	if err := a.provoke(); err != nil {
		return err
	}
	for a.more() {
		select {
		case r := <-requests:
			for _, v := range wrong {
				for typ := range 16 {
					m := fmt.Sprintf(`{"uid":"x","nsp":"/","requestId":"%s","type":%d,"data":{"requestId":"%[1]s","sockets":%[3]s,"packet":%[3]s,"clientCount":%[3]s,"rooms":%[3]s},"sockets":%[3]s,"rooms":%[3]s,"packet":%[3]s,"clientCount":%[3]s}`, r[0], typ, v)
					if typ == 4 || typ == 6 {
						continue
					}
					for _, c := range []string{prefix + "-response#/#", prefix + "-response#/#" + r[1] + "#", prefix + "#/#" + r[1] + "#"} {
						if _, err := h.Write(publish(c, m)); err != nil {
							return err
						}
					}
				}
			}
		case <-time.After(time.Second):
		}
	}
	return nil
}
