package webhook

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// The vector of the specification's own libraries.
func TestSignatureOfTheReferenceVector(t *testing.T) {
	s, err := newSigner("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // what is kept of the first is used again
		timestamp, signature := s.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
		if timestamp != "1614265330" || signature != "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=" {
			t.Errorf("sign = %s, %s", timestamp, signature)
		}
	}
}

// Whoever has one of two secrets, by the reference library, believes a request while they
// rotate, and nobody with a third.
func TestSignaturesWhileSecretsRotate(t *testing.T) {
	now, before, other := "whsec_"+base64.StdEncoding.EncodeToString([]byte("the secret of today, thirty-two b")), "any text of at least 24 bytes", "a third one, which signs nothing"
	s, err := newSigner(now, before)
	if err != nil {
		t.Fatal(err)
	}
	body := []byte(`{"node":"a","events":[]}`)
	timestamp, signature := s.sign("01J9", time.Now(), body)
	h := http.Header{}
	h.Set("webhook-id", "01J9")
	h.Set("webhook-timestamp", timestamp)
	h.Set("webhook-signature", signature)
	if n := len(strings.Fields(signature)); n != 2 {
		t.Errorf("there are %d signatures in %q, want 2", n, signature)
	}
	verifier := func(secret string) *standardwebhooks.Webhook {
		k, err := key(secret)
		if err != nil {
			t.Fatal(err)
		}
		v, err := standardwebhooks.NewWebhookRaw(k)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for secret, want := range map[string]bool{now: true, before: true, other: false} {
		if err := verifier(secret).Verify(body, h); (err == nil) != want {
			t.Errorf("verified with %q: %v", secret, err)
		}
		if verifier(secret).Verify([]byte(`{"node":"b","events":[]}`), h) == nil {
			t.Errorf("another body is believed with %q", secret)
		}
	}
	if v, err := standardwebhooks.NewWebhook(now); err != nil || v.Verify(body, h) != nil {
		t.Errorf("the library does not take %q as it is", now)
	}
}

func TestSecretsThatAreNone(t *testing.T) {
	for secret, want := range map[string]string{"whsec_not base64": "secret: is not base64", "whsec_AAAA": "secret: has less than 24 bytes"} {
		if _, err := newSigner(secret, ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("newSigner(%q) = %v, want %s", secret, err, want)
		}
		if _, err := newSigner("", secret); err == nil || !strings.HasPrefix(err.Error(), "secret_previous: ") {
			t.Errorf("newSigner of a previous %q = %v", secret, err)
		}
	}
}
