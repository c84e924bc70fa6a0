package sio_test

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/sioedge/sioedge/sio"
)

// pack writes a MessagePack packet of the vectors as the test client shows it.
func pack(words string) string { return "<" + strings.ReplaceAll(words, " ", "") + ">" }

const (
	packedConnect = "83 a474797065 00 a464617461 d40000 a36e7370 a12f"
	packedEcho    = "85 a474797065 02 a464617461 92 a46563686f a178 a76f7074696f6e73 81 a8636f6d7072657373 c3 a26964 05 a36e7370 a12f"
)

func TestMessagePackClientsAreDetected(t *testing.T) {
	srv := simulate(t, sio.Options{Parser: sio.EitherParser}, func(srv *sio.Server) { echo(srv.Of("/")) })
	c := srv.dial()
	c.send(pack(packedConnect))
	answer, err := hex.DecodeString(strings.Trim(c.next(), "<>"))
	if err != nil || !strings.Contains(string(answer), "\xa3sid") || strings.Contains(string(answer), "\xa3pid") {
		t.Fatalf("CONNECT was answered %q, %v", answer, err)
	}
	c.send(pack(packedEcho))
	if got, want := c.next(), pack("84 a474797065 03 a464617461 91 a178 a36e7370 a12f a26964 05"); len(got) != len(want) || !strings.Contains(got, "a26964"+"05") {
		t.Errorf("the acknowledgement is %s, want the entries of %s", got, want)
	}
	j := srv.join("40")
	j.send(`427["echo","x"]`)
	j.expect(`437["x"]`)
	j.send(pack(packedEcho)) // not of the parser that the session began with
	j.ended("close -")
	c.send("41")
	c.ended("close -")
}

// A broadcast reaches clients of both parsers, in order, bytes included.
func TestBroadcastToBothParsers(t *testing.T) {
	srv := simulate(t, sio.Options{Parser: sio.EitherParser}, func(srv *sio.Server) { echo(srv.Of("/")) })
	c, j := srv.dial(), srv.join("40")
	c.send(pack(packedConnect))
	c.next()
	ns := srv.Of("/")
	for i := range 3 {
		ns.Emit("n", i, []byte{1, 2})
	}
	for _, i := range []string{"0", "1", "2"} {
		j.expect(`451-["n",`+i+`,{"_placeholder":true,"num":0}]`, "<0102>")
		if got := c.next(); !strings.Contains(got, "93a16e0"+i+"c4020102") {
			t.Errorf("received %s, want event n with %s and two bytes", got, i)
		}
	}
}

func TestParserIsEnforced(t *testing.T) {
	for name, c := range map[string]struct {
		parser sio.Parser
		send   string
	}{
		"MessagePack to a server of JSON": {sio.JSON, pack(packedConnect)},
		"JSON to a server of MessagePack": {sio.MessagePack, "40"},
		"rubbish to a server of either":   {sio.EitherParser, "<c1>"},
	} {
		t.Run(name, func(t *testing.T) {
			srv := simulate(t, sio.Options{Parser: c.parser}, func(srv *sio.Server) { srv.Of("/") })
			client := srv.dial()
			client.send(c.send)
			client.ended("close -")
		})
	}
}
