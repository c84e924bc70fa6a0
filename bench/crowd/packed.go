package crowd

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/tinylib/msgp/msgp"

	"github.com/sioedge/sioedge/wsframe"
)

// A packed session has packets as MessagePack: a map of type, nsp, data and id in a message
// of bytes, as socket.io-msgpack-parser makes it.
type packed struct{ *webSocket }

func (p *packed) send(packet []byte) error {
	kind, id, data := split(packet)
	b := msgp.AppendMapHeader(nil, 2+size(id != "")+size(data != nil))
	b = msgp.AppendInt(msgp.AppendString(b, "type"), kind)
	b = msgp.AppendString(msgp.AppendString(b, "nsp"), "/")
	if data != nil {
		b = msgp.AppendArrayHeader(msgp.AppendString(b, "data"), uint32(len(data)))
		for _, v := range data {
			if f, ok := v.(float64); ok {
				b = msgp.AppendInt64(b, int64(f))
			} else {
				b = msgp.AppendString(b, v.(string))
			}
		}
	}
	if id != "" {
		n, _ := strconv.ParseInt(id, 10, 64)
		b = msgp.AppendInt64(msgp.AppendString(b, "id"), n)
	}
	return p.frame(wsframe.Binary, b)
}

func size(is bool) uint32 {
	if is {
		return 1
	}
	return 0
}

// split takes a packet as text apart: its type, id and arguments.
func split(packet []byte) (kind int, id string, data []any) {
	kind = int(packet[0] - '0')
	i := 1
	for i < len(packet) && packet[i] != '[' {
		i++
	}
	if id = string(packet[1:i]); i < len(packet) {
		_ = json.Unmarshal(packet[i:], &data) // it is ours
	}
	return kind, id, data
}

func (p *packed) receive() ([]byte, error) {
	for {
		m, err := p.message()
		switch {
		case err != nil:
			return nil, err
		case string(m) == "2":
			if err := p.frame(wsframe.Text, []byte("3")); err != nil {
				return nil, err
			}
			continue
		}
		return unpack(m)
	}
}

// unpack returns a packet as text.
func unpack(m []byte) ([]byte, error) {
	v, _, err := msgp.ReadMapStrIntfBytes(m, nil)
	if err != nil {
		return nil, fmt.Errorf("the message % .60x: %w", m, err)
	}
	text := fmt.Appendf(nil, "%v", v["type"])
	if id, ok := v["id"]; ok && id != nil {
		text = fmt.Appendf(text, "%v", id)
	}
	if data, ok := v["data"].([]any); ok {
		b, err := json.Marshal(data)
		return append(text, b...), err
	}
	return text, nil
}
