package swarm

import (
	"bytes"
	"strconv"
)

// Centrifuge's bidirectional protocol in JSON: the client speaks first, a frame
// of the server holds one reply or several, a line each, and {} is a ping.
//
//	{"id":1,"connect":{}}                                      {"id":1,"connect":{…}}
//	{"id":2,"subscribe":{"channel":"room-00000"}}              {"id":2,"subscribe":{…}}
//	{"id":3,"publish":{"channel":"room-00000","data":"…"}}     {"id":3,"publish":{}}
//	                                                           {"push":{"channel":"room-00000","pub":{"data":"…"}}}
//	{"id":4,"rpc":{"data":"…","method":"echo"}}                {"id":4,"rpc":{"data":"…"}}

// firstEcho is the id of the echo with number 0.
const firstEcho = 4

const echoedHead = `,"rpc":{"data":"`

func (w *wire) speakCentrifuge() {
	w.centrifuge = true
	w.connect = []byte(`{"id":1,"connect":{}}`)
	w.connOK = []byte(`{"id":1,"connect":`)
	w.connBad = []byte(`{"id":1,"error":`)
	w.msg = []byte(`{"push":{"channel":"room-00000","pub":{"data":"`) // the names of rooms have one length
	w.tail = `"}}}`
	w.ack = []byte(`{"id":`)
	w.left = nil
}

func (w *wire) appendCentrifugePublish(dst []byte, room string, s stamp) []byte {
	dst = append(append(dst, `{"id":3,"publish":{"channel":"`...), room...)
	dst = w.appendPayload(append(dst, `","data":"`...), s, len(w.msg)+len(w.tail))
	return append(dst, `"}}`...)
}

func (w *wire) appendCentrifugeEcho(dst []byte, s stamp) []byte {
	const tail = `","method":"echo"}}`
	start := len(dst)
	dst = strconv.AppendUint(append(dst, w.ack...), uint64(s.seq)+firstEcho, 10)
	dst = append(dst, echoedHead...)
	dst = w.appendPayload(dst, s, len(dst)-start+len(tail))
	return append(dst, tail...)
}

func appendSubscribe(dst []byte, room string) []byte {
	return append(append(append(dst, `{"id":2,"subscribe":{"channel":"`...), room...), `"}}`...)
}

// pushInfo is what Centrifugo adds to data that a client has published: who it is.
const pushInfo = `","info":{`

// parsePush is parseMsg.
func (w *wire) parsePush(p []byte) (stamp, bool) {
	if data := w.size - len(w.tail); len(p) > w.size && bytes.HasPrefix(p[data:], []byte(pushInfo)) && bytes.HasSuffix(p, []byte("}}}}")) {
		s, ok := parseStamp(p[len(w.msg):])
		return s, ok && s.run == w.run
	}
	if len(p) != w.size || !bytes.HasSuffix(p[:len(w.msg)], []byte(`","pub":{"data":"`)) || !bytes.HasSuffix(p, []byte(w.tail)) {
		return stamp{}, false
	}
	s, ok := parseStamp(p[len(w.msg):])
	return s, ok && s.run == w.run
}

// parseCentrifugeAck splits the reply to an echo into its number and what
// parseEchoed takes.
func (w *wire) parseCentrifugeAck(p []byte) (id uint32, args []byte, ok bool) {
	rest := p[len(w.ack):]
	at := bytes.IndexByte(rest, ',')
	if at <= 0 || !bytes.HasPrefix(rest[at:], []byte(echoedHead)) || !bytes.HasSuffix(rest, []byte(`"}}`)) {
		return 0, nil, false
	}
	v, err := strconv.ParseUint(string(rest[:at]), 10, 32)
	return uint32(v - firstEcho), rest[at:], err == nil && v >= firstEcho
}

// replies handles one frame.
func (w *worker) replies(i int32, p []byte) {
	for line := range bytes.SplitSeq(p, []byte("\n")) {
		if len(line) > 0 && w.clients[i].fd >= 0 {
			w.reply(i, line)
		}
	}
}

func (w *worker) reply(i int32, p []byte) {
	state := w.clients[i].state
	switch {
	case string(p) == "{}":
		w.counts.Pings++
		w.sendFrame(i, opText, p)
	case state == stLive && bytes.HasPrefix(p, []byte(`{"push":`)):
		w.message(i, p)
	case state == stNamespace && bytes.HasPrefix(p, w.wire.connOK):
		w.admitted(i)
	case state == stNamespace && bytes.HasPrefix(p, w.wire.connBad):
		w.drop(i, "refused: "+string(p[:min(len(p), 120)]))
	case state == stJoining && bytes.HasPrefix(p, []byte(`{"id":2,"subscribe":`)):
		w.connected(i)
	case state == stLive && bytes.HasPrefix(p, []byte(`{"id":3,"publish":`)):
	case state == stLive && bytes.HasPrefix(p, w.wire.ack):
		w.acked(i, p)
	case state == stClosing:
	default:
		w.counts.Strange++
	}
}
