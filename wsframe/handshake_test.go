package wsframe

import (
	"fmt"
	"strings"
	"testing"
)

const sampleKey, sampleAccept = "dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

// sampleNonce is what sampleKey encodes: RFC 6455, 1.3.
var sampleNonce = [16]byte([]byte("the sample nonce"))

func TestAcceptKeyIsTheExampleOfTheRFC(t *testing.T) {
	if got := AcceptKey([]byte(sampleKey)); got != sampleAccept {
		t.Errorf("AcceptKey(%q) = %q, want %q", sampleKey, got, sampleAccept)
	}
	if got := AppendAcceptKey([]byte("x"), []byte(sampleKey)); string(got) != "x"+sampleAccept {
		t.Errorf("AppendAcceptKey(%q) = %q, want %q", sampleKey, got, "x"+sampleAccept)
	}
}

func TestCheckUpgrade(t *testing.T) {
	const (
		upgrade  = "Invalid Upgrade header"
		keys     = "Missing or invalid Sec-WebSocket-Key header"
		version  = "Missing or invalid Sec-WebSocket-Version header"
		protocol = "Invalid Sec-WebSocket-Protocol header"
	)
	for _, c := range []struct {
		name   string
		change string // "name: value", "name" to remove it
		body   string
	}{
		{"a good request", "X: y", ""},
		{"the protocol in any case", "upgrade: WebSocket", ""},
		{"the last draft", "sec-websocket-version: 8", ""},
		{"a subprotocol", "sec-websocket-protocol: chat", ""},
		{"no Upgrade", "upgrade", upgrade},
		{"another protocol", "upgrade: h2c", upgrade},
		{"a list of protocols", "upgrade: websocket, h2c", upgrade},
		{"no key", "sec-websocket-key", keys},
		{"an empty key", "sec-websocket-key: ", keys},
		{"a short key", "sec-websocket-key: dGhlIHNhbXBsZSBub25jZ==", keys},
		{"a long key", "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQQ==", keys},
		{"a key of 17 bytes", "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQA=", keys},
		{"a key without padding", "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQAA", keys},
		{"a key in the URL alphabet", "sec-websocket-key: dGhlIHNhbXBsZSBub25j-Q==", keys},
		{"no version", "sec-websocket-version", version},
		{"an old version", "sec-websocket-version: 7", version},
		{"a list of versions", "sec-websocket-version: 13, 8", version},
		{"an empty subprotocol", "sec-websocket-protocol: ", protocol},
		{"a malformed subprotocol", "sec-websocket-protocol: a b", protocol},
	} {
		fields := map[string]string{"upgrade": "websocket", "sec-websocket-key": sampleKey, "sec-websocket-version": "13"}
		name, value, set := strings.Cut(c.change, ": ")
		fields[name] = value
		if !set {
			delete(fields, name)
		}
		err := CheckUpgrade(func(name string) []byte {
			if v, ok := fields[strings.ToLower(name)]; ok {
				return []byte(v)
			}
			return nil
		})
		if c.body == "" && err != nil || c.body != "" &&
			(err == nil || err.Status != 400 || err.Body != c.body || err.VersionHeader != (c.body == version) || err.Error() != "wsframe: "+c.body) {
			t.Errorf("%s: CheckUpgrade = %+v, want %q", c.name, err, c.body)
		}
	}
}

func TestFirstProtocol(t *testing.T) {
	for _, c := range []struct {
		list, first string
		ok          bool
	}{
		{"chat", "chat", true},
		{"chat, superchat", "chat", true},
		{" \tv1.chat!\t ,b", "v1.chat!", true},
		{"", "", false},
		{"chat,", "", false},
		{",chat", "", false},
		{"a,,b", "", false},
		{"a b", "", false},
		{"a, b(c)", "", false},
		{"ä", "", false},
	} {
		if first, ok := FirstProtocol([]byte(c.list)); string(first) != c.first || ok != c.ok {
			t.Errorf("FirstProtocol(%q) = %q, %t, want %q, %t", c.list, first, ok, c.first, c.ok)
		}
	}
}

func TestAppendUpgrade(t *testing.T) {
	const start = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + sampleAccept + "\r\n"
	if got, want := AppendUpgrade(nil, []byte(sampleKey), nil, nil), start+"\r\n"; string(got) != want {
		t.Errorf("AppendUpgrade = %q, want %q", got, want)
	}
	got := AppendUpgrade([]byte("x"), []byte(sampleKey), []byte("chat"), func(dst []byte) []byte { return append(dst, "A: b\r\n"...) })
	if want := "x" + start + "Sec-WebSocket-Protocol: chat\r\nA: b\r\n\r\n"; string(got) != want {
		t.Errorf("AppendUpgrade with a subprotocol and a field = %q, want %q", got, want)
	}
}

func TestClientHandshake(t *testing.T) {
	got := AppendClientHandshake(nil, "h:1", "/socket.io/?EIO=4&transport=websocket", sampleNonce)
	want := "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: h:1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + sampleKey + "\r\n\r\n"
	if string(got) != want {
		t.Errorf("AppendClientHandshake = %q, want %q", got, want)
	}
}

func TestCheckAccept(t *testing.T) {
	good := AppendUpgrade(nil, []byte(sampleKey), nil, nil)
	splits(good, func(head, tail []byte) {
		n, err := CheckAccept(head, sampleNonce)
		if want := map[bool]int{true: len(good)}[len(tail) == 0]; n != want || err != nil {
			t.Errorf("CheckAccept(%q) = %d, %v, want %d, nil", head, n, err, want)
		}
	})
	if n, err := CheckAccept(append(good[:len(good):len(good)], 0x81, 0), sampleNonce); n != len(good) || err != nil {
		t.Errorf("CheckAccept with a frame behind = %d, %v, want %d, nil", n, err, len(good))
	}
	for _, c := range []struct{ name, b string }{
		{"a refusal", "HTTP/1.1 400 Bad Request\r\n\r\n"},
		{"no key", "HTTP/1.1 101 Switching Protocols\r\n\r\n"},
		{"the wrong key", string(AppendUpgrade(nil, []byte("x"), nil, nil))},
		{"no end", strings.Repeat("x", 20_000)},
	} {
		if n, err := CheckAccept([]byte(c.b), sampleNonce); n != 0 || err == nil {
			t.Errorf("%s: CheckAccept = %d, %v, want an error", c.name, n, err)
		}
	}
}

// The client's request passes the server's check.
func TestHandshakesFit(t *testing.T) {
	request := string(AppendClientHandshake(nil, "h", "/", sampleNonce))
	err := CheckUpgrade(func(name string) []byte {
		_, after, ok := strings.Cut(request, "\r\n"+name+": ")
		if !ok {
			return nil
		}
		value, _, _ := strings.Cut(after, "\r\n")
		return fmt.Append(nil, value)
	})
	if err != nil {
		t.Errorf("CheckUpgrade(%q) = %v, want nil", request, err)
	}
}
