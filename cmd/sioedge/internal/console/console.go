// Package console is what a person, or a script, does with an ioclient.Client: commands
// in, lines out. Nothing of what a server says reaches a terminal as it is.
package console

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/ioclient"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/terminal"
)

// Options are of a Console.
type Options struct {
	Client ioclient.Options
	Print  *Printer
	// Timeout is how long an acknowledgement is waited for, and how long a namespace that
	// a script enters.
	Timeout time.Duration
	// Script has commands be done one after the other, each once the one before is, and
	// the first mistake be the last.
	Script bool
	// Bound are commands that stand for events: bind.
	Bound map[string]string
}

// A Console does commands. They are given by one goroutine.
type Console struct {
	o      Options
	client *ioclient.Client
	ctx    context.Context // until Close, or until the client has given up
	cancel context.CancelFunc
	asking sync.WaitGroup
	ended  chan error    // what Run returned
	over   chan struct{} // closed when it has

	space string // the current namespace

	mu      sync.Mutex // guards these, which Options.Client.Notify reads
	only    []string   // events that are shown; nil: all
	hidden  []string   // events that are not shown
	auto    []any      // what events are answered with; nil: they are not
	events  []string   // names that have been seen, for completion
	shown   int        // events
	refused *ioclient.Notice
	changed chan struct{} // of one
}

// Errors that Do returns.
var (
	ErrQuit = errors.New("quit") // the user has had enough
	// ErrRefused is wrapped by what a server says of a namespace.
	ErrRefused = errors.New("the server refused")
	// ErrNoAnswer is wrapped by what is said of an answer that did not come.
	ErrNoAnswer = errors.New("no acknowledgement")
)

// New makes a Console, which connects.
func New(o Options) (*Console, error) {
	c := &Console{o: o, space: o.Client.Target.Namespace, ended: make(chan error, 1), over: make(chan struct{}), changed: make(chan struct{}, 1)}
	for name, event := range o.Bound {
		if err := checkBinding(name, event); err != nil {
			return nil, err
		}
	}
	o.Client.Notify = c.notice
	var err error
	if c.client, err = ioclient.New(o.Client); err != nil {
		return nil, err
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	// ends when the client is closed, or gives up
	go func() {
		defer close(c.over)
		c.ended <- c.client.Run()
		c.cancel()
	}()
	return c, nil
}

// Close sends what waits, until ctx ends, and disconnects. Nothing is printed after that,
// unless ctx has ended.
func (c *Console) Close(ctx context.Context) {
	c.client.Close(ctx)
	c.cancel()
	c.asking.Wait()
	select {
	case <-c.over:
	case <-ctx.Done():
	}
}

// Gone returns the error with which the client has given up; nil if it has not.
func (c *Console) Gone() error {
	select {
	case err := <-c.ended:
		c.ended <- err
		return err
	default:
		return nil
	}
}

// Refusal returns what the server said of a namespace that it does not let the client in,
// if it did so last.
func (c *Console) Refusal() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refused == nil {
		return nil
	}
	return fmt.Errorf("%w %s: %s", ErrRefused, terminal.Text(c.refused.Namespace), terminal.Text(c.refused.Message))
}

// Shown returns how many events have been shown.
func (c *Console) Shown() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.shown
}

// Changed has a token when something may have changed: what the methods here return.
func (c *Console) Changed() <-chan struct{} { return c.changed }

// Done is closed when the client has given up, or is closed.
func (c *Console) Done() <-chan struct{} { return c.ctx.Done() }

// Active tells whether something is connected, or is to be.
func (c *Console) Active() bool { return c.client.Active() }

// maxSeen bounds the names of events that are remembered.
const maxSeen = 256

// notice takes what happens.
func (c *Console) notice(n ioclient.Notice) {
	show := true
	c.mu.Lock()
	auto := c.auto
	switch n.Kind {
	case ioclient.Arrived:
		show = (c.only == nil || slices.Contains(c.only, n.Event)) && !slices.Contains(c.hidden, n.Event)
		if show {
			c.shown++
		}
		if len(c.events) < maxSeen && len(n.Event) < 64 && plain(n.Event) && !slices.Contains(c.events, n.Event) {
			c.events = append(c.events, n.Event)
		}
	case ioclient.Refused:
		c.refused = &n
	case ioclient.Connected:
		c.refused = nil
	}
	c.mu.Unlock()
	if show {
		c.o.Print.Notice(n)
	}
	if n.Asks && auto != nil {
		if err := c.client.Answer(n.Namespace, n.ID, auto...); err != nil {
			c.o.Print.Mistake(fmt.Errorf("no automatic answer: %w", err))
		}
	}
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// Settle waits until all namespaces that are to be connected are, and what was sent is on
// its way. The error is ErrNoAnswer when that took too long.
func (c *Console) Settle() error {
	ctx, done := context.WithTimeout(c.ctx, c.o.Timeout)
	defer done()
	for !c.settled() {
		select {
		case <-c.changed:
		case <-c.ctx.Done():
			return nil
		case <-ctx.Done():
			return fmt.Errorf("%w: the server has not let the client in within %v", ErrNoAnswer, c.o.Timeout)
		}
	}
	c.client.Flush(ctx)
	return nil
}

func (c *Console) settled() bool {
	if !c.client.Active() {
		return true
	}
	for _, n := range c.client.Info().Namespaces {
		if n.Waiting > 0 || n.Active && !n.Connected {
			return false
		}
	}
	return true
}

// Do does one command. What it has to say it prints; errors are for the caller.
func (c *Console) Do(line string) error {
	name, rest := cutCommand(line)
	if name == "" || strings.HasPrefix(name, "#") {
		return nil
	}
	if event, ok := c.o.Bound[name]; ok {
		args, err := parseArgs(rest)
		if err != nil {
			return err
		}
		return c.ask(event, args)
	}
	k := find(name)
	if k == nil {
		return fmt.Errorf("there is no command %q: see help", name)
	}
	return k.do(c, rest)
}

// Complete returns what a line that ends at the cursor can go on with.
func (c *Console) Complete(line string) (all []string) {
	name, rest, more := strings.Cut(line, " ")
	if !more {
		for i := range commands {
			all = append(all, commands[i].name)
		}
		for bound := range c.o.Bound {
			all = append(all, bound)
		}
		slices.Sort(all)
		return slices.Compact(slices.DeleteFunc(all, func(s string) bool { return !strings.HasPrefix(s, name) }))
	}
	if k := find(name); k == nil || !k.event || strings.Contains(rest, " ") {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.events {
		if strings.HasPrefix(e, rest) {
			all = append(all, name+" "+e)
		}
	}
	return all
}

// Prompt is what stands before a line.
func (c *Console) Prompt() string { return c.space + "> " }
