package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"
	"unicode"

	"github.com/golang-jwt/jwt/v5"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/identity"
)

// maxTokenInput bounds what is read of a file or of standard input, in bytes.
const maxTokenInput = 1 << 20

func tokenCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "token", Short: "Make tokens for tests, and say why one is not believed", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	cmd.AddCommand(tokenGenCommand(), tokenVerifyCommand())
	return cmd
}

// tokenSettings gives a command the flags of all settings, and returns what reads those
// of identity.
func tokenSettings(cmd *cobra.Command) func() (config.Auth, error) {
	f := config.Flags(cmd.Name())
	cmd.Flags().AddFlagSet(f)
	return func() (config.Auth, error) {
		l, err := config.Load(config.Sources{Flags: f, Environ: os.Environ()})
		if err != nil {
			return config.Auth{}, err
		}
		auth := l.Auth
		if auth.Mode == "none" || auth.Mode == "webhook" { // tokens can be tried before they are asked for
			auth.Mode = "jwt"
		}
		return auth, nil
	}
}

// A tokenSpec is what a token is made of.
type tokenSpec struct {
	user, claims, scope, key, alg, kid string
	rooms, namespaces, events          []string
	ttl                                time.Duration
}

func (t *tokenSpec) flags(f *pflag.FlagSet) {
	f.StringVar(&t.user, "user", "", "the user (auth.jwt.user_claim)")
	f.StringVar(&t.claims, "claims", "", `further claims, a JSON object: {"plan":"pro"}; they go before all else`)
	f.DurationVar(&t.ttl, "ttl", time.Hour, "how long it is valid; 0: for ever, negative: it has ended")
	f.StringVar(&t.scope, "scope", "", "permissions, with spaces between them (auth.jwt.scope_claim)")
	f.StringSliceVar(&t.rooms, "rooms", nil, "rooms that may be joined, with * for any text (auth.jwt.rooms_claim)")
	f.StringSliceVar(&t.namespaces, "namespaces", nil, "the only namespaces that may be entered (auth.jwt.namespaces_claim)")
	f.StringSliceVar(&t.events, "events", nil, "the only events that may be sent (auth.jwt.events_claim)")
	f.StringVar(&t.key, "key", "", "file of a private key, PEM; empty: the secret of --jwt-secret")
	f.StringVar(&t.alg, "alg", "", "algorithm; empty: HS256, or that of the key")
	f.StringVar(&t.kid, "kid", "", "id of the key, for who has several")
}

func tokenGenCommand() *cobra.Command {
	var t tokenSpec
	cmd := &cobra.Command{
		Use: "gen", Short: "Make a token, signed with the secret of the settings or with a private key", Args: noArgs,
		Example: "  sioedge token gen --config sioedge.yaml --user u7 --rooms 'campaign:42:*' --ttl 10m",
	}
	load := tokenSettings(cmd)
	t.flags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		auth, err := load()
		if err != nil {
			return err
		}
		token, err := t.sign(auth.JWT, time.Now())
		if err == nil {
			fmt.Fprintln(cmd.OutOrStdout(), token)
		}
		return err
	}
	return cmd
}

// sign makes the token.
func (t *tokenSpec) sign(c config.JWT, now time.Time) (string, error) {
	claims, err := t.content(c, now)
	if err != nil {
		return "", err
	}
	key, alg, err := t.signer(c)
	if err != nil {
		return "", err
	}
	alg = cmp.Or(t.alg, alg)
	method := jwt.GetSigningMethod(alg)
	if method == nil || strings.EqualFold(alg, "none") {
		return "", fmt.Errorf("--alg: there is no algorithm %q", alg)
	}
	token := jwt.NewWithClaims(method, claims)
	if t.kid != "" {
		token.Header["kid"] = t.kid
	}
	text, err := token.SignedString(key)
	if err != nil {
		return "", fmt.Errorf("the key cannot be used with %s: %w", alg, err)
	}
	return text, nil
}

// content returns the claims: what the settings ask for, and what the flags say.
func (t *tokenSpec) content(c config.JWT, now time.Time) (jwt.MapClaims, error) {
	claims := jwt.MapClaims{"iat": now.Unix()}
	if t.ttl != 0 {
		claims["exp"] = now.Add(t.ttl).Unix()
	}
	if c.Issuer != "" {
		claims["iss"] = c.Issuer
	}
	if len(c.Audience) > 0 {
		claims["aud"] = c.Audience[0]
	}
	put := func(flag, path string, some bool, value any) error {
		switch {
		case !some:
			return nil
		case path == "":
			return fmt.Errorf("--%s: the settings name no claim for it", flag)
		}
		return putClaim(claims, path, value)
	}
	err := errors.Join(
		put("user", cmp.Or(c.UserClaim, "sub"), t.user != "", t.user),
		put("scope", c.ScopeClaim, t.scope != "", t.scope),
		put("rooms", c.RoomsClaim, t.rooms != nil, t.rooms),
		put("namespaces", c.NamespacesClaim, t.namespaces != nil, t.namespaces),
		put("events", c.EventsClaim, t.events != nil, t.events),
	)
	if err != nil || t.claims == "" {
		return claims, err
	}
	d := json.NewDecoder(strings.NewReader(t.claims))
	d.UseNumber()
	var more map[string]any
	if err := d.Decode(&more); err != nil || d.More() {
		return nil, errors.New("--claims is not a JSON object")
	}
	for name, value := range more {
		if claims[name] = value; value == nil { // null takes one away
			delete(claims, name)
		}
	}
	return claims, nil
}

// putClaim sets a claim by its path. A name that is a URL has dots of its own.
func putClaim(claims map[string]any, path string, value any) error {
	for !strings.Contains(path, "/") {
		name, rest, nested := strings.Cut(path, ".")
		if !nested {
			break
		}
		in, ok := claims[name].(map[string]any)
		if !ok {
			if claims[name] != nil {
				return fmt.Errorf("the claim %s is in %s, which is no object", path, name)
			}
			in = map[string]any{}
			claims[name] = in
		}
		claims, path = in, rest
	}
	claims[path] = value
	return nil
}

// signer returns the key to sign with, and the algorithm that is usual for it.
func (t *tokenSpec) signer(c config.JWT) (key any, alg string, err error) {
	if t.key == "" {
		if c.Secret == "" {
			return nil, "", errors.New("there is nothing to sign with: set --jwt-secret, or --key with a private key")
		}
		return []byte(c.Secret), "HS256", nil
	}
	f, err := os.Open(t.key)
	if err != nil {
		return nil, "", fmt.Errorf("--key: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxTokenInput))
	if err != nil {
		return nil, "", fmt.Errorf("--key: %w", err)
	}
	private, err := privateKey(b)
	if err != nil {
		return nil, "", fmt.Errorf("--key: %s %w", t.key, err)
	}
	switch k := private.(type) {
	case *rsa.PrivateKey:
		return k, "RS256", nil
	case ed25519.PrivateKey:
		return k, "EdDSA", nil
	case *ecdsa.PrivateKey:
		return k, map[int]string{256: "ES256", 384: "ES384", 521: "ES512"}[k.Params().BitSize], nil
	}
	return nil, "", fmt.Errorf("--key: %s is a key of a kind that no algorithm is for", t.key)
}

// privateKey parses the first private key of a PEM file.
func privateKey(b []byte) (crypto.PrivateKey, error) {
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			return nil, errors.New("has no private key in PEM")
		}
		switch block.Type {
		case "PRIVATE KEY":
			return x509.ParsePKCS8PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			return x509.ParseECPrivateKey(block.Bytes)
		case "RSA PRIVATE KEY":
			return x509.ParsePKCS1PrivateKey(block.Bytes)
		case "ENCRYPTED PRIVATE KEY":
			return nil, errors.New("is encrypted; openssl pkey -in it -out another decrypts it")
		}
	}
}

func tokenVerifyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "verify [token|-]", Short: "Say whether a token is believed, and if not, why: exit code 1",
		Long: "Says whether the settings believe a token, given as an argument or, if that is - or missing, on standard input.",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usageError{errors.New("one token, or - for standard input")}
			}
			return nil
		},
	}
	load := tokenSettings(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		auth, err := load()
		if err != nil {
			return err
		}
		text := "-"
		if len(args) > 0 {
			text = args[0]
		}
		if text == "-" {
			b, err := io.ReadAll(io.LimitReader(cmd.InOrStdin(), maxTokenInput))
			if err != nil {
				return err
			}
			text = string(b)
		}
		return verifyToken(cmd.Context(), cmd.OutOrStdout(), auth, strings.TrimSpace(text))
	}
	return cmd
}

// verifyToken explains a token. The error says that it is not believed.
func verifyToken(ctx context.Context, w io.Writer, auth config.Auth, text string) error {
	if auth.Mode != "jwt" && auth.Mode != "jwt+webhook" {
		return fmt.Errorf("auth.mode is %s: no tokens are asked for", auth.Mode)
	}
	a, err := identity.New(auth, nil, identity.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(cmp.Or(ctx, context.Background()), time.Minute)
	defer cancel()
	defer a.Close(ctx)
	x := a.Explain(ctx, text)
	if x.Refusal == nil {
		fmt.Fprintf(w, "valid: user %q, signed by %s with %s\n", x.Identity.User, x.Key, x.Algorithm)
		switch end := x.Identity.Expires(); {
		case end.IsZero():
			fmt.Fprintln(w, "expires: never")
		default:
			fmt.Fprintf(w, "expires: %s, in %s\n", end.UTC().Format(time.RFC3339), time.Until(end).Round(time.Second))
		}
	} else {
		fmt.Fprintf(w, "not valid: %s\n", printable(x.Refusal.Reason))
		fmt.Fprintf(w, "because: %s\n", printable(x.Refusal.Detail))
		if x.Refusal.Setting != "" {
			fmt.Fprintf(w, "setting: %s\n", x.Refusal.Setting)
		}
	}
	showPart(w, "header", x.Header, "")
	unverified := " (not verified)"
	if x.Key != "" {
		unverified = ""
	}
	showPart(w, "claims", x.Claims, unverified)
	if x.Refusal != nil {
		return fmt.Errorf("the token is not believed: %s", x.Refusal.Reason)
	}
	return nil
}

// showPart shows a part of a token, if it is JSON.
func showPart(w io.Writer, name string, part []byte, note string) {
	if part == nil {
		return
	}
	var b bytes.Buffer
	if json.Indent(&b, part, "  ", "  ") == nil {
		fmt.Fprintf(w, "%s%s: %s\n", name, note, printable(b.String()))
	}
}

// printable leaves out what a terminal would obey.
func printable[T ~string](s T) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, string(s))
}
