//go:build interop

package e2e

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// post posts a body with fields of its head, and returns the answer's status and body.
func (c *chat) post(path, body string, fields ...string) (int, string) {
	c.t.Helper()
	req, err := http.NewRequest("POST", "http://"+c.listen+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("content-type", "application/json")
	for i := 0; i < len(fields); i += 2 {
		req.Header.Set(fields[i], fields[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp.StatusCode, string(answer)
}

// sign returns the fields of a request's head by which the edge signs it.
func sign(secret, id, at, body string) []string {
	key, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	h := hmac.New(sha256.New, key)
	fmt.Fprintf(h, "%s.%s.%s", id, at, body)
	return []string{"webhook-id", id, "webhook-timestamp", at, "webhook-signature", "v1," + base64.StdEncoding.EncodeToString(h.Sum(nil))}
}

func ago(d time.Duration) string { return strconv.FormatInt(time.Now().Add(-d).Unix(), 10) }

// A result is what an application says to an event.
type result struct {
	ID      string
	Ack     []map[string]any
	Actions []action
}

type action struct {
	Op, Ev     string
	To, Except []string
	Args       []map[string]any
}

// tell has the application know of events of users, {user, event, argument} each, and
// returns what it says.
func (c *chat) tell(events ...[3]string) []result {
	c.t.Helper()
	var items []string
	for i, e := range events {
		items = append(items, fmt.Sprintf(`{"id":"e%d","type":"event","time":1764000000123,"nsp":"/chat","route":"/chat","sid":"Zk3_AAAB","user":%q,"ev":%q,"args":[%s],"ack":true}`, i, e[0], e[1], e[2]))
	}
	body := `{"node":"edge-a1","events":[` + strings.Join(items, ",") + `]}`
	status, answer := c.post("/sio", body, sign(c.secret("WEBHOOK_SECRET"), "r1", ago(0), body)...)
	var a struct{ Results []result }
	if err := json.Unmarshal([]byte(answer), &a); status != 200 || err != nil || len(a.Results) != len(events) {
		c.t.Fatalf("%s is answered %d: %s", body, status, answer)
	}
	for i, r := range a.Results {
		if r.ID != fmt.Sprintf("e%d", i) {
			c.t.Fatalf("result %d is of %s", i, r.ID)
		}
	}
	return a.Results
}

// Who has not the secret is refused, and so is what somebody has recorded.
func TestForgedRequests(t *testing.T) {
	each(t, func(t *testing.T, language string) {
		c := newChat(t, language)
		c.run("backend")
		const body = `{"node":"a","events":[{"id":"e","type":"event","nsp":"/chat","sid":"s","user":"Ada","ev":"message","args":[{"room":"r","text":"forged","key":"k"}],"ack":true}]}`
		secret := c.secret("WEBHOOK_SECRET")
		good := sign(secret, "r1", ago(0), body)
		changed := func(i int, value string) []string {
			fields := append([]string{}, good...)
			fields[i] = value
			return fields
		}
		other := "whsec_" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32))
		for name, fields := range map[string][]string{
			"nothing":           {},
			"no signature":      good[:4],
			"an empty one":      changed(5, ""),
			"another":           changed(5, "v1,"+base64.StdEncoding.EncodeToString(make([]byte, 32))),
			"half of it":        changed(5, good[5][:len(good[5])/2]),
			"no version":        changed(5, strings.TrimPrefix(good[5], "v1,")),
			"another version":   changed(5, "v2"+good[5][2:]),
			"another id":        changed(1, "r2"),
			"another time":      changed(3, ago(time.Second)),
			"no time":           changed(3, ""),
			"a time in words":   changed(3, "now"),
			"of an hour ago":    sign(secret, "r1", ago(time.Hour), body),
			"of an hour on":     sign(secret, "r1", ago(-time.Hour), body),
			"the text as a key": sign(other, "r1", ago(0), body),
		} {
			if status, answer := c.post("/sio", body, fields...); status != 401 {
				t.Errorf("%s: answered %d: %s", name, status, answer)
			}
		}
		if status, _ := c.post("/sio", strings.Replace(body, "forged", "Forged", 1), good...); status != 401 {
			t.Errorf("another body is answered %d", status)
		}
		if status, _ := c.post("/sio", ""); status != 401 {
			t.Errorf("no body is answered %d", status)
		}
		if h := c.tell([3]string{"Ada", "history", `{"room":"r"}`}); len(h[0].Ack[0]["history"].([]any)) != 0 {
			t.Errorf("a forged message was kept: %v", h)
		}
		both := changed(5, sign(other, "r1", ago(0), body)[5]+" "+good[5]) // while secrets change
		if status, answer := c.post("/sio", body, both...); status != 200 {
			t.Errorf("two signatures are answered %d: %s", status, answer)
		}
	})
}

func TestEvents(t *testing.T) {
	each(t, func(t *testing.T, language string) {
		c := newChat(t, language)
		p := c.run("backend")
		const hello = `{"room":"tea","text":"hello 😀 '; DROP TABLE messages; --","key":"k1"}`
		r := c.tell([3]string{"Ada", "message", hello}, [3]string{"Bob", "message", hello})
		id, at := r[0].Ack[0]["id"], r[0].Ack[0]["at"]
		said := map[string]any{"id": id, "at": at, "room": "tea", "key": "k1", "text": "hello 😀 '; DROP TABLE messages; --", "from": map[string]any{"id": "Ada", "nick": "Ada"}}
		want := []action{{Op: "emit", Ev: "message", To: []string{"room:tea"}, Except: []string{"$sid"}, Args: []map[string]any{said}}}
		if !reflect.DeepEqual(r[0].Actions, want) {
			t.Errorf("a message does %v, want %v", r[0].Actions, want)
		}
		if ms := time.Since(time.UnixMilli(int64(at.(float64)))); ms < 0 || ms > time.Minute {
			t.Errorf("it was said at %v", at)
		}
		if r[1].Ack[0]["id"] == id {
			t.Error("the messages of two with the same key are one")
		}
		p.kill()
		c.run("backend")
		again := c.tell([3]string{"Ada", "message", hello})
		if again[0].Ack[0]["id"] != id || !reflect.DeepEqual(again[0].Actions, want) {
			t.Errorf("the same message does %v, want what it did before", again)
		}
		r = c.tell([3]string{"Bob", "read", fmt.Sprintf(`{"room":"tea","id":%q}`, id)}, [3]string{"Eve", "history", `{"room":"tea"}`}, [3]string{"Eve", "history", `{"room":"other"}`})
		seen := map[string]any{"room": "tea", "user": "Bob", "id": id}
		want = []action{{Op: "emit", Ev: "read", To: []string{"room:tea"}, Except: []string{"$sid"}, Args: []map[string]any{seen}}}
		if !reflect.DeepEqual(r[0].Actions, want) {
			t.Errorf("a receipt does %v, want %v", r[0].Actions, want)
		}
		delete(seen, "room")
		kept := r[1].Ack[0]
		if h := kept["history"].([]any); len(h) != 2 || !reflect.DeepEqual(h[0], any(said)) || !reflect.DeepEqual(kept["read"], []any{seen}) {
			t.Errorf("the history is %v", kept)
		}
		if h := r[2].Ack[0]; len(h["history"].([]any)) != 0 || len(h["read"].([]any)) != 0 {
			t.Errorf("the history of another room is %v", h)
		}
	})
}

// Clients may send anything: who does is told so, and who does not, in the same request,
// is served.
func TestHostileEvents(t *testing.T) {
	each(t, func(t *testing.T, language string) {
		c := newChat(t, language)
		c.run("backend")
		for _, arg := range []string{
			``, `null`, `1`, `"text"`, `[]`, `{}`, `[{"room":"r"}]`, `{"room":null}`, `{"room":{"a":1},"text":"x","key":"k"}`, `{"room":"r","text":["x"],"key":"k"}`,
			`{"room":"` + strings.Repeat("ä", 33) + `","text":"x","key":"k"}`, `{"room":"r","text":"` + strings.Repeat("x", 2001) + `","key":"k"}`,
			`{"room":"r","text":" \n","key":"k"}`, `{"room":"r","text":"x","key":12}`, `{"room":"","text":"x","key":"k"}`, `{"room":"r","text":"x"}`,
			`{"__proto__":{"room":"r","text":"x","key":"k"}}`, strings.Repeat("[", 60) + strings.Repeat("]", 60),
		} {
			r := c.tell([3]string{"Eve", "message", arg}, [3]string{"Ada", "message", `{"room":"r","text":"good","key":"good"}`})
			if text, _ := r[0].Ack[0]["error"].(string); !strings.Contains(text, "must have 1 to ") || len(r[0].Actions) != 0 {
				t.Errorf("%.80s does %v", arg, r[0])
			}
			if r[1].Ack[0]["id"] == nil {
				t.Errorf("beside %.80s a good message is answered %v", arg, r[1])
			}
		}
		r := c.tell([3]string{"Eve", "message", `{"room":"` + strings.Repeat("😀", 32) + `","text":"` + strings.Repeat("漢", 2000) + `","key":"k"}`},
			[3]string{"Eve", "read", `{"room":"r","id":"999999"}`}, [3]string{"Eve", "read", `{"room":"r","id":"1 OR 1=1"}`}, [3]string{"Eve", "history", `{"room":"r"}`})
		if r[0].Ack[0]["id"] == nil {
			t.Errorf("a long message is answered %v", r[0])
		}
		zero := c.tell([3]string{"Eve", "message", `{"room":"r","text":"a\u0000b","key":"zero"}`}, [3]string{"Eve", "history", `{"room":"r"}`})
		if kept := zero[1].Ack[0]["history"].([]any); zero[0].Ack[0]["id"] == nil || !strings.HasPrefix(kept[len(kept)-1].(map[string]any)["text"].(string), "a") {
			t.Errorf("a message with a zero is answered %v", zero)
		}
		if read := r[3].Ack[0]["read"].([]any); len(read) != 0 {
			t.Errorf("what nobody has said was read: %v", read)
		}
	})
}

// Half of a pair of surrogates is no text in some languages, and makes all of a request
// unreadable there: 400, upon which the edge sends its parts alone.
func TestHalfOfAPair(t *testing.T) {
	each(t, func(t *testing.T, language string) {
		c := newChat(t, language)
		c.run("backend")
		body := `{"events":[{"id":"e","type":"event","user":"Eve","ev":"message","args":[{"room":"r","text":"\ud83d","key":"k"}]}]}`
		status, answer := c.post("/sio", body, sign(c.secret("WEBHOOK_SECRET"), "r1", ago(0), body)...)
		if status != 400 && (status != 200 || !json.Valid([]byte(answer))) {
			t.Errorf("it is answered %d: %s", status, answer)
		}
		r := c.tell([3]string{"Ada", "message", `{"room":"r","text":"good","key":"good"}`}, [3]string{"Ada", "history", `{"room":"r"}`})
		if r[0].Ack[0]["id"] == nil || len(r[1].Ack[0]["history"].([]any)) == 0 {
			t.Errorf("after it %v", r)
		}
	})
}

func TestLogin(t *testing.T) {
	each(t, func(t *testing.T, language string) {
		c := newChat(t, language)
		c.run("backend")
		status, answer := c.post("/login", `{"nick":"Ada 😀"}`)
		var a struct{ Token string }
		if err := json.Unmarshal([]byte(answer), &a); status != 200 || err != nil {
			t.Fatalf("answered %d: %s", status, answer)
		}
		claims := jwt.MapClaims{}
		_, err := jwt.ParseWithClaims(a.Token, claims, func(*jwt.Token) (any, error) { return []byte(c.secret("JWT_SECRET")), nil },
			jwt.WithValidMethods([]string{"HS256"}), jwt.WithExpirationRequired(), jwt.WithStrictDecoding())
		if err != nil || claims["sub"] != "Ada 😀" || !reflect.DeepEqual(claims["rooms"], []any{"room:*"}) {
			t.Errorf("the token has %v, %v", claims, err)
		}
		for _, body := range []string{`{"nick":""}`, `{"nick":"` + strings.Repeat("x", 25) + `"}`, `{"nick":7}`, `{}`, `[]`, `{`, `null`} {
			if status, answer := c.post("/login", body); status != 400 {
				t.Errorf("%s is answered %d: %s", body, status, answer)
			}
		}
		resp, err := http.Post("http://"+c.listen+"/login", "application/json", strings.NewReader(strings.Repeat("x", 3<<20)))
		if err == nil { // else the connection has ended before all was sent
			if _ = resp.Body.Close(); resp.StatusCode < 400 || resp.StatusCode >= 500 {
				t.Errorf("3 MiB are answered %d", resp.StatusCode)
			}
		}
	})
}

// The page is the application's.
func TestPage(t *testing.T) {
	each(t, func(t *testing.T, language string) {
		c := newChat(t, language)
		c.run("backend")
		for path, want := range map[string]string{"/": "text/html", "/demo.js": "javascript", "/settings.js": "javascript", "/demo.css": "text/css", "/socket.io/socket.io.min.js": "javascript"} {
			resp, err := http.Get("http://" + c.listen + path)
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if kind := resp.Header.Get("content-type"); err != nil || resp.StatusCode != 200 || len(b) == 0 || !strings.Contains(kind, want) {
				t.Errorf("%s is answered %d, %s, %d bytes, %v", path, resp.StatusCode, kind, len(b), err)
			}
		}
		for _, path := range []string{"/secrets", "/../secrets", "/..%2fsecrets", "/chat.sqlite", "/server.php"} {
			resp, err := http.Get("http://" + c.listen + path)
			if err != nil {
				t.Fatal(err)
			}
			b, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode == 200 && bytes.Contains(b, []byte("SECRET")) || resp.StatusCode == 200 && !bytes.Contains(b, []byte("<!doctype html>")) {
				t.Errorf("%s is answered: %.80s", path, b)
			}
		}
	})
}
