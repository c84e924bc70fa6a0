package console

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/term"
)

// maxLine bounds a line of a script, in bytes.
const maxLine = 16 << 20

// A Script is what is done without anybody typing.
type Script struct {
	// Lines are commands. If there are none they are read from Input, which may be nil.
	Lines []string
	Input io.Reader
	// For is how long to stay after the last of them; negative: until interrupted.
	For time.Duration
	// Once has it end with the first event that is shown: if none is within For, the error
	// is ErrNoAnswer. A For of zero then is for ever.
	Once bool
}

// ErrGone is returned, wrapped or not, by a Script whose connection has ended before it.
var ErrGone = errors.New("the connection has ended")

// RunScript does a script. The error is that of the first command that fails, Refusal's,
// ErrGone, or ctx's.
func (c *Console) RunScript(ctx context.Context, s Script) error {
	if err := c.step(ctx, c.Settle); err != nil {
		return err
	}
	next := s.lines()
	for {
		line, at, err := next()
		if err == io.EOF {
			break
		}
		if err == nil {
			err = c.step(ctx, func() error { return c.Do(line) })
		}
		switch {
		case errors.Is(err, ErrQuit):
			return c.step(ctx, c.Settle)
		case err != nil && s.Lines == nil:
			return fmt.Errorf("line %d: %w", at, err)
		case err != nil:
			return err
		}
	}
	if err := c.step(ctx, c.Settle); err != nil {
		return err
	}
	return c.stay(ctx, s)
}

// lines returns what returns one line after the other, with its number; then io.EOF.
func (s *Script) lines() func() (string, int, error) {
	at := 0
	if s.Lines != nil || s.Input == nil {
		return func() (string, int, error) {
			if at++; at > len(s.Lines) {
				return "", at, io.EOF
			}
			return s.Lines[at-1], at, nil
		}
	}
	in := bufio.NewScanner(s.Input)
	in.Buffer(nil, maxLine)
	return func() (string, int, error) {
		if at++; in.Scan() {
			return in.Text(), at, nil
		}
		if err := in.Err(); err != nil {
			return "", at, err
		}
		return "", at, io.EOF
	}
}

// step does something, unless ctx has ended or the client has; that a client has ended
// explains whatever it says.
func (c *Console) step(ctx context.Context, do func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := do()
	if errors.Is(err, ErrQuit) {
		return err
	}
	if refusal := c.Refusal(); refusal != nil && !c.Active() {
		return refusal
	}
	if gone := c.Gone(); gone != nil {
		return fmt.Errorf("%w: %w", ErrGone, gone)
	}
	return err
}

// stay waits for what the script waits for.
func (c *Console) stay(ctx context.Context, s Script) error {
	if s.For == 0 && !s.Once {
		return nil
	}
	var late <-chan time.Time
	if s.For > 0 {
		t := time.NewTimer(s.For)
		defer t.Stop()
		late = t.C
	}
	for !s.Once || c.Shown() == 0 {
		if !c.Active() {
			if err := c.Refusal(); err != nil {
				return err
			}
			return ErrGone
		}
		select {
		case <-c.changed:
		case <-c.Done():
			return fmt.Errorf("%w: %w", ErrGone, errors.Join(c.Gone()))
		case <-ctx.Done():
			return ctx.Err()
		case <-late:
			if s.Once {
				return fmt.Errorf("%w: no event within %v", ErrNoAnswer, s.For)
			}
			return nil
		}
	}
	return nil
}

// RunPrompt lets a person type at a terminal, until they quit. The Printer is to write to
// what NewPrompt returned.
func (c *Console) RunPrompt(p *Prompt) error {
	p.term.AutoCompleteCallback = func(line string, pos int, key rune) (string, int, bool) {
		if key != '\t' {
			return "", 0, false
		}
		all := c.Complete(line[:pos])
		if len(all) == 0 {
			return line, pos, true
		}
		head := common(all)
		if len(all) == 1 {
			head += " "
		}
		return head + line[pos:], len(head), true
	}
	for {
		p.term.SetPrompt(c.Prompt())
		line, err := p.term.ReadLine()
		if err == io.EOF {
			return nil
		}
		if err != nil && !errors.Is(err, term.ErrPasteIndicator) {
			return err
		}
		if err := c.Do(line); errors.Is(err, ErrQuit) {
			return nil
		} else if err != nil {
			c.o.Print.Mistake(err)
		}
	}
}

// common returns what all texts begin with.
func common(all []string) string {
	head := all[0]
	for _, s := range all {
		for !strings.HasPrefix(s, head) {
			head = head[:len(head)-1]
		}
	}
	return head
}

// A Prompt is a terminal where a line is edited below what is written.
type Prompt struct {
	term    *term.Terminal
	in, out *os.File
	before  *term.State
	resized chan os.Signal
}

// NewPrompt takes the terminal over, until Restore is called.
func NewPrompt(in, out *os.File) (*Prompt, error) {
	before, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return nil, err
	}
	p := &Prompt{in: in, out: out, before: before, resized: make(chan os.Signal, 1)}
	p.term = term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{in, out}, "> ")
	p.term.SetBracketedPasteMode(true)
	p.fit()
	signal.Notify(p.resized, syscall.SIGWINCH)
	// ends with Restore
	go func() {
		for range p.resized {
			p.fit()
		}
	}()
	return p, nil
}

// fit takes the terminal's size over.
func (p *Prompt) fit() {
	if w, h, err := term.GetSize(int(p.out.Fd())); err == nil && w > 0 {
		_ = p.term.SetSize(w, h)
	}
}

// Write writes lines above the one that is edited.
func (p *Prompt) Write(b []byte) (int, error) { return p.term.Write(b) }

// Restore leaves the terminal as it was.
func (p *Prompt) Restore() {
	signal.Stop(p.resized)
	close(p.resized)
	p.term.SetBracketedPasteMode(false)
	_ = term.Restore(int(p.in.Fd()), p.before)
}
