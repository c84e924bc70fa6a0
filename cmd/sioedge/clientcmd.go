package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/console"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/ioclient"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/terminal"
)

// Exit codes of client beside 0, and 1 for what has no code of its own.
const (
	exitUsage       = 2
	exitNoServer    = 3
	exitRefused     = 4
	exitNoAnswer    = 5
	exitInterrupted = 130
)

// A codedError is one with an exit code of its own.
type codedError struct {
	error
	code int
}

// Unwrap returns the error.
func (e codedError) Unwrap() error { return e.error }

// A clientSpec is what the flags of client say.
type clientSpec struct {
	path, namespace, token   string
	transports, auth, header []string
	query, bind, exec        []string
	insecure                 bool
	ca, cert, key            string
	attempts                 int
	timeout, stay            time.Duration
	once, json               bool
	maxMessage               int
}

func (s *clientSpec) flags(f *pflag.FlagSet) {
	f.StringVar(&s.path, "path", "/socket.io/", "path of Engine.IO")
	f.StringVar(&s.namespace, "namespace", "", "namespace; empty: the URL's path")
	f.StringSliceVar(&s.transports, "transports", []string{"polling", "websocket"}, "transports in order; polling is upgraded to websocket if both are there")
	f.StringArrayVar(&s.auth, "auth", nil, "what authenticates: a JSON object, key=text or key:=json, repeatable")
	f.StringVar(&s.token, "token", os.Getenv(config.TokenVariable), "short for --auth token=…; best as $SIOEDGE_TOKEN")
	f.Lookup("token").DefValue = ""
	f.StringArrayVar(&s.header, "header", nil, "header of each request, \"Name: value\", repeatable")
	f.StringArrayVar(&s.query, "query", nil, "parameter of the handshake, key=value, repeatable")
	f.BoolVar(&s.insecure, "insecure", false, "believe any certificate")
	f.StringVar(&s.ca, "ca", "", "file of the authorities to believe, PEM; empty: the system's")
	f.StringVar(&s.cert, "cert", "", "file of the client's certificate, PEM")
	f.StringVar(&s.key, "key", "", "file of its key, PEM")
	f.IntVar(&s.attempts, "attempts", 0, "how many times in a row to connect again; 0: for ever, and a script not before it was connected; negative: never")
	f.DurationVar(&s.timeout, "timeout", 10*time.Second, "how long to wait for an acknowledgement, and for a namespace in a script")
	f.StringArrayVar(&s.exec, "exec", nil, "command to do instead of asking for some, repeatable")
	f.StringArrayVar(&s.bind, "bind", nil, "NAME=EVENT: a command NAME that asks EVENT, repeatable")
	f.BoolVar(&s.once, "once", false, "end with the first event; exit code 5 if none comes within --for")
	f.DurationVar(&s.stay, "for", 0, "stay for so long after the last command; negative: until interrupted")
	f.BoolVar(&s.json, "json", false, "write one JSON object a line")
	f.IntVar(&s.maxMessage, "max-message", 16<<20, "largest message that is taken of the server, in bytes")
}

func clientCommand() *cobra.Command {
	var s clientSpec
	cmd := &cobra.Command{
		Use: "client URL", Short: "Talk to a Socket.IO server from the terminal", Args: oneURL,
		Long: `Talk to a Socket.IO server from the terminal, or from a script.

The path of the URL is the namespace, as for clients in JavaScript. At a terminal
commands are typed: help tells of them. Otherwise they are --exec, or the lines of
standard input; the first that fails is the last. Events and acknowledgements go to
standard output, what happens to the connection to standard error (all to standard
output with --json). Nothing that a server says reaches the terminal unescaped.

Exit codes: 0 all was done; 1 a command failed; 2 usage; 3 no connection, or it was
lost; 4 the server refused the namespace; 5 an acknowledgement, or an event with
--once, did not come; 130 interrupted.`,
		Example: `  sioedge client http://localhost:3000/chat --token "$TOKEN"
  sioedge client localhost:3000 --exec 'emit "chat message" {"room":"r1"} hello' --once --for 5s
  sioedge client wss://example.com --transports websocket --exec 'ask upload @photo.jpg' --json
  sioedge client localhost:3000 --for -1s --json | jq .args`,
	}
	s.flags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return s.run(cmd, args[0]) }
	return cmd
}

func oneURL(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usageError{errors.New("client takes one URL, such as http://localhost:3000/chat")}
	}
	return nil
}

// options makes the client's options.
func (s *clientSpec) options(url string) (o ioclient.Options, err error) {
	if o.Target, err = ioclient.ParseTarget(url); err != nil {
		return o, usageError{err}
	}
	if s.namespace != "" {
		o.Target.Namespace = s.namespace
	}
	for _, q := range s.query {
		name, value, ok := strings.Cut(q, "=")
		if !ok {
			return o, usageError{fmt.Errorf("--query: %q is not key=value", q)}
		}
		o.Target.Query.Add(name, value)
	}
	o.Header = http.Header{}
	for _, h := range s.header {
		name, value, ok := strings.Cut(h, ":")
		if !ok {
			return o, usageError{errors.New(`--header: not "Name: value"`)}
		}
		o.Header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	if s.token != "" {
		token, _ := json.Marshal(map[string]string{"token": s.token})
		s.auth = append([]string{string(token)}, s.auth...)
	}
	if o.Auth, err = console.AuthFlags(s.auth); err != nil {
		return o, usageError{fmt.Errorf("--auth: %w", err)}
	}
	o.Path, o.Transports, o.MaxMessage, o.Attempts = s.path, s.transports, s.maxMessage, s.attempts
	o.TLS, err = s.tls()
	return o, err
}

func (s *clientSpec) tls() (*tls.Config, error) {
	c := &tls.Config{InsecureSkipVerify: s.insecure}
	if s.ca != "" {
		pem, err := config.PEM(s.ca)
		if err != nil {
			return nil, fmt.Errorf("--ca: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("--ca: %s has no certificate", s.ca)
		}
	}
	if s.cert != "" || s.key != "" {
		cert, err := config.PEM(s.cert)
		if err != nil {
			return nil, fmt.Errorf("--cert: %w", err)
		}
		key, err := config.PEM(s.key)
		if err != nil {
			return nil, fmt.Errorf("--key: %w", err)
		}
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("--cert, --key: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// bound are the commands that --bind makes.
func (s *clientSpec) bound() (map[string]string, error) {
	all := map[string]string{}
	for _, b := range s.bind {
		name, event, ok := strings.Cut(b, "=")
		if !ok {
			return nil, usageError{fmt.Errorf("--bind: %q is not NAME=EVENT", b)}
		}
		all[name] = event
	}
	return all, nil
}

// run connects, and does what is said.
func (s *clientSpec) run(cmd *cobra.Command, url string) error {
	o, err := s.options(url)
	if err != nil {
		return err
	}
	bound, err := s.bound()
	if err != nil {
		return err
	}
	in, out := cmd.InOrStdin(), cmd.OutOrStdout()
	typed := terminal.Is(in) && terminal.Is(out) && s.exec == nil && !s.once && s.stay == 0
	p := &console.Printer{Out: out, Err: cmd.ErrOrStderr(), JSON: s.json, Colors: terminal.Colors(out, os.Getenv), Cut: terminal.Is(out)}
	o.FailFirst = !typed && s.attempts == 0
	var prompt *console.Prompt
	if typed {
		if prompt, err = console.NewPrompt(in.(*os.File), out.(*os.File)); err != nil {
			return err
		}
		defer prompt.Restore()
		p.Out, p.Err = prompt, prompt
	}
	if s.insecure {
		p.Mistake(errors.New("--insecure: whoever is in between can read all, and say what they like"))
	}
	c, err := console.New(console.Options{Client: o, Print: p, Timeout: s.timeout, Script: !typed, Bound: bound})
	if err != nil {
		return usageError{err}
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if typed {
		p.Say("help tells of commands, quit ends")
		err = c.RunPrompt(prompt)
	} else {
		script := console.Script{Lines: s.exec, For: s.stay, Once: s.once}
		if s.exec == nil && !terminal.Is(in) {
			script.Input = in
		}
		err = c.RunScript(ctx, script)
	}
	closing, done := context.WithTimeout(context.Background(), 5*time.Second)
	defer done()
	c.Close(closing)
	return coded(err)
}

// coded gives an error of a script its exit code.
func coded(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled):
		return codedError{errors.New("interrupted"), exitInterrupted}
	case errors.Is(err, console.ErrRefused):
		return codedError{err, exitRefused}
	case errors.Is(err, console.ErrGone):
		return codedError{err, exitNoServer}
	case errors.Is(err, console.ErrNoAnswer):
		return codedError{err, exitNoAnswer}
	}
	return err
}
