package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/api/wire"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/apiclient"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/console"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/terminal"
)

// maxStreamLine bounds a line of standard input, in bytes.
const maxStreamLine = 16 << 20

// An emitSpec is what the flags of emit say.
type emitSpec struct {
	api  apiSpec
	emit wire.Emit
	ack  time.Duration
}

func emitCommand() *cobra.Command {
	var s emitSpec
	cmd := &cobra.Command{
		Use: "emit EVENT ARG…", Short: "Emit an event to clients, by the HTTP API",
		Long: `Emit an event to clients, by the HTTP API of a server.

An argument that is JSON is that; @FILE is its bytes; all else is text. emit - takes
commands from standard input, JSON, one a line: events as {"ev":…,"to":[…],"args":[…]},
or whatever POST /api/stream takes. Exit codes: 0 it was done; 1 it was not; 2 usage;
5 with --ack: somebody has not answered.`,
		Example: `  sioedge emit --to room:42 --except room:43 "chat message" '{"text":"hi"}' --config sioedge.yaml
  sioedge emit --to "$SID" ask-version --ack 5s
  sioedge emit --nsp /news photo @cat.jpg
  tail -f events.ndjson | sioedge emit -`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{errors.New("emit EVENT ARG…: which event?")}
			}
			return nil
		},
	}
	s.api.flags(cmd)
	f := cmd.Flags()
	f.StringArrayVar(&s.emit.To, "to", nil, "room, or id of a socket, repeatable; without it everybody of the namespace")
	f.StringArrayVar(&s.emit.Except, "except", nil, "room whose sockets do not get it, repeatable")
	f.StringVar(&s.emit.Nsp, "nsp", "/", "namespace, as clients join it")
	f.BoolVar(&s.emit.Volatile, "volatile", false, "drop it for who is slow")
	f.BoolVar(&s.emit.Local, "local", false, "to sockets of that server alone")
	f.StringVar(&s.emit.ID, "id", "", "idempotency key: what has the same within five minutes is not done again")
	f.DurationVar(&s.ack, "ack", 0, "wait so long for acknowledgements, and write each as it comes")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := s.api.client()
		if err != nil {
			return err
		}
		if args[0] == "-" {
			return s.stream(cmd, c, args[1:])
		}
		return s.one(cmd, c, args)
	}
	return cmd
}

// one emits one event.
func (s *emitSpec) one(cmd *cobra.Command, c *apiclient.Client, args []string) error {
	e := s.emit
	e.Ev = args[0]
	for _, text := range args[1:] {
		arg, err := console.ParseArg(text)
		switch arg := arg.(type) {
		case json.RawMessage:
			e.Args = append(e.Args, arg)
		case []byte:
			e.Args = append(e.Args, fmt.Appendf(nil, `{"_placeholder":true,"num":%d}`, len(e.Attachments)))
			e.Attachments = append(e.Attachments, base64.StdEncoding.EncodeToString(arg))
		}
		if err != nil {
			return usageError{err}
		}
	}
	if s.ack > 0 {
		return s.asked(cmd, c, &e)
	}
	var answer json.RawMessage
	if err := c.Post(cmd.Context(), wire.EmitPath, nil, &e, &answer); err != nil {
		return err
	}
	if s.api.json {
		writeJSON(cmd.OutOrStdout(), answer)
	}
	return nil
}

// asked emits an event, and writes the acknowledgements as they come.
func (s *emitSpec) asked(cmd *cobra.Command, c *apiclient.Client, e *wire.Emit) error {
	body, err := json.Marshal(e)
	if err != nil {
		return err
	}
	var last *wire.AckLine
	err = c.Lines(cmd.Context(), wire.EmitPath, url.Values{"ack": {s.ack.String()}}, wire.JSON, bytes.NewReader(body), func(line []byte) error {
		var l wire.AckLine
		if err := json.Unmarshal(line, &l); err != nil {
			return fmt.Errorf("a line of the answer is not understood: %w", err)
		}
		switch {
		case s.api.json:
			writeJSON(cmd.OutOrStdout(), line)
		case !l.Done && l.Response != nil:
			writeJSON(cmd.OutOrStdout(), l.Response)
		}
		if l.Error != nil {
			return *l.Error
		}
		if l.Done {
			last = &l
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case last == nil || last.Clients == nil || last.Missing == nil:
		return errors.New("the answer has no end: it is not known who has not answered")
	}
	sayPartial(cmd, last.Partial)
	if *last.Missing > 0 {
		return codedError{fmt.Errorf("%d of %d have not answered", *last.Missing, *last.Clients), exitNoAnswer}
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "all %d have answered\n", *last.Clients)
	return nil
}

// writeJSON writes a line of what a server said, fit for a terminal.
func writeJSON(w io.Writer, b []byte) {
	var compact bytes.Buffer
	if json.Compact(&compact, b) == nil {
		b = compact.Bytes()
	}
	_, _ = w.Write(append(terminal.AppendText(nil, string(b)), '\n'))
}

// sayPartial says who has not answered.
func sayPartial(cmd *cobra.Command, p *wire.Partial) {
	if p == nil {
		return
	}
	text := "this is not all:"
	for _, name := range p.Missing {
		text += " " + name
	}
	if p.Unnamed > 0 {
		text += fmt.Sprintf(" %d servers", p.Unnamed)
	}
	if p.Reason != "" {
		text += " (" + p.Reason + ")"
	}
	fmt.Fprintln(cmd.ErrOrStderr(), terminal.Text(text))
}

// stream sends the commands of standard input while they come.
func (s *emitSpec) stream(cmd *cobra.Command, c *apiclient.Client, more []string) error {
	for _, name := range []string{"to", "except", "nsp", "volatile", "local", "id", "ack"} {
		if len(more) > 0 || cmd.Flags().Changed(name) {
			return usageError{errors.New("emit -: events and whom they are for are in the lines, not arguments or flags")}
		}
	}
	return s.commands(cmd, func(body io.Reader, f func([]byte) error) error {
		return c.Lines(cmd.Context(), wire.StreamPath, nil, wire.NDJSON, body, f)
	})
}

// An input is what has become of standard input.
type input struct {
	lines int   // commands that were sent
	err   error // of the input, never of the request
}

// commands sends those of standard input by lines, which is as apiclient.Client.Lines.
func (s *emitSpec) commands(cmd *cobra.Command, lines func(body io.Reader, f func([]byte) error) error) error {
	r, w := io.Pipe()
	ended := make(chan input, 1) // has its word before the request can know of the end
	// ends with standard input, or with the request
	go func() {
		n, err := commandsTo(w, cmd.InOrStdin())
		ended <- input{n, err}
		_ = w.CloseWithError(err)
	}()
	done, failed := 0, 0
	err := lines(r, func(line []byte) error {
		var l wire.Result
		if err := json.Unmarshal(line, &l); err != nil {
			return fmt.Errorf("a line of the answer is not understood: %w", err)
		}
		done++
		if s.api.json {
			writeJSON(cmd.OutOrStdout(), line)
		}
		if l.Error != nil {
			failed++
			fmt.Fprintln(cmd.ErrOrStderr(), terminal.Text(fmt.Sprintf("%s: %v", l.ID, *l.Error)))
		}
		return nil
	})
	_ = r.CloseWithError(io.ErrClosedPipe) // who writes is not to wait for a request that has ended
	// Input that has not ended is not waited for: reading it cannot be interrupted. One that
	// has failed is why the request has, whatever that says: an HTTP client may notice its
	// closed connection first.
	var in input
	select {
	case in = <-ended:
	default:
		if err == nil && failed == 0 {
			err = errors.New("the server has ended the stream, and the input goes on")
		}
	}
	switch {
	case in.err != nil:
		return fmt.Errorf("after %d commands: %w", done, in.err)
	case err != nil:
		return fmt.Errorf("after %d commands: %w", done, err)
	case failed > 0:
		return fmt.Errorf("%d of %d commands failed", failed, done)
	case in.lines != done:
		return fmt.Errorf("%d of %d commands were answered", done, in.lines)
	}
	return nil
}

// commandsTo writes each line as a command, with its number as the id if it has none. It
// ends with the input, or when w fails, whose error it does not return.
func commandsTo(w io.Writer, lines io.Reader) (n int, err error) {
	in := bufio.NewScanner(lines)
	in.Buffer(nil, maxStreamLine)
	for at := 1; in.Scan(); at++ {
		line := bytes.TrimSpace(in.Bytes())
		if len(line) == 0 {
			continue
		}
		var members map[string]json.RawMessage
		if err := json.Unmarshal(line, &members); err != nil || members == nil {
			return n, fmt.Errorf("line %d of standard input is no JSON object", at)
		}
		id := json.RawMessage(strconv.Itoa(at))
		if members["ev"] != nil {
			members = map[string]json.RawMessage{"emit": bytes.Clone(line)}
		}
		if members["id"] == nil {
			members["id"] = id
		}
		b, err := json.Marshal(members)
		if err != nil {
			return n, err
		}
		if _, err := w.Write(append(b, '\n')); err != nil {
			return n, nil
		}
		n++
	}
	return n, in.Err()
}
