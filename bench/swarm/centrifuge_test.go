package swarm

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestCentrifugeMessagesAreJSONOfTheSizeAskedFor(t *testing.T) {
	w := newWire(Config{URL: "ws://h", Protocol: Centrifuge, Size: 120}, 42)
	s := stamp{run: 42, publisher: 3, room: 7, seq: 9, at: 1234567}
	var publish struct {
		ID      int
		Publish struct{ Channel, Data string }
	}
	if err := json.Unmarshal(w.appendPublish(nil, "room-00007", s), &publish); err != nil || publish.Publish.Channel != "room-00007" {
		t.Fatalf("publish = %+v, %v, want room-00007", publish, err)
	}
	push := []byte(`{"push":{"channel":"room-00007","pub":{"data":"` + publish.Publish.Data + `"}}}`)
	if got, ok := w.parseMsg(push); !ok || got != s || len(push) != 120 {
		t.Errorf("parseMsg(%s) = %+v, %v of %d bytes, want %+v of 120", push, got, ok, len(push), s)
	}
	of := []byte(`{"push":{"channel":"room-00007","pub":{"data":"` + publish.Publish.Data + `","info":{"user":"","client":"a-b"}}}}`)
	if got, ok := w.parseMsg(of); !ok || got != s {
		t.Errorf("parseMsg(%s) = %+v, %v, want %+v: Centrifugo says who has published", of, got, ok, s)
	}
	if _, ok := w.parseMsg([]byte(strings.Replace(string(of), "info", "tags", 1))); ok {
		t.Error("parseMsg takes a longer push")
	}
	if _, ok := w.parseMsg([]byte(strings.Replace(string(push), "pub", "bup", 1))); ok {
		t.Error("parseMsg takes another push")
	}
	var rpc struct {
		ID  uint32
		RPC struct{ Data, Method string }
	}
	echo := w.appendEcho(nil, s)
	if err := json.Unmarshal(echo, &rpc); err != nil || rpc.RPC.Method != "echo" || len(echo) != 120 {
		t.Fatalf("echo = %s, %v, want 120 bytes", echo, err)
	}
	id, args, ok := w.parseAck([]byte(`{"id":13,"rpc":{"data":"` + rpc.RPC.Data + `"}}`))
	got, ok2 := w.parseEchoed(args)
	if !ok || !ok2 || id != 9 || rpc.ID != 13 || got != s {
		t.Errorf("echo %d acked = %d, %+v, %v, %v, want 9, %+v", rpc.ID, id, got, ok, ok2, s)
	}
	if _, _, ok := w.parseAck([]byte(`{"id":13,"error":{"code":100}}`)); ok {
		t.Error("parseAck takes an error")
	}
}

// Two replies and a ping in one frame are three.
func TestCentrifugeFramesHoldLines(t *testing.T) {
	w, _ := pair(t, Config{Scenario: Broadcast, Protocol: Centrifuge, Clients: 1, Size: 100})
	w.clients[0].state = stNamespace
	w.packet(0, []byte(`{"id":1,"connect":{"client":"a","ping":25,"pong":true}}`))
	if w.clients[0].state != stJoining {
		t.Fatalf("state = %d, want %d: it subscribes", w.clients[0].state, stJoining)
	}
	push := string(w.wire.appendPayload([]byte(w.wire.msg), stamp{}, len(w.wire.msg)+len(w.wire.tail))) + w.wire.tail
	w.packet(0, []byte(`{"id":2,"subscribe":{}}`+"\n"+push+"\n{}\n"))
	if c := w.total(); c.Live != 1 || c.Delivered != 1 || c.Pings != 1 || c.Strange != 0 {
		t.Errorf("counts = %+v, want 1 live, 1 delivered, 1 ping", c)
	}
}
