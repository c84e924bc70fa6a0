package console

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/ioclient"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/terminal"
)

// A command is what can be typed.
type command struct {
	name, args, help string
	event            bool // its first argument is an event's name
	do               func(c *Console, rest string) error
}

// commands are set by init, since help tells of them.
var commands []command

func init() {
	commands = []command{
		{"emit", "EVENT ARGS…", `send an event; arguments are JSON, or words, which are texts, or @FILE: its bytes`, true, (*Console).emitCommand},
		{"ask", "EVENT ARGS…", "send an event and show its acknowledgement", true, (*Console).askCommand},
		{"answer", "ID ARGS…", "acknowledge an event that asks for it", false, (*Console).answerCommand},
		{"ack", "on ARGS… | off", "acknowledge events by itself, with these arguments", false, (*Console).ackCommand},
		{"on", "EVENT…", "show these events only; without any: all", true, (*Console).onCommand},
		{"off", "EVENT…", "do not show these events", true, (*Console).offCommand},
		{"of", "/NAMESPACE", "enter a further namespace, or turn to one that is entered", false, (*Console).ofCommand},
		{"leave", "/NAMESPACE", "leave a namespace; without one: this", false, (*Console).leaveCommand},
		{"disconnect", "", "leave all namespaces", false, (*Console).disconnectCommand},
		{"reconnect", "", "enter them all again, now", false, (*Console).reconnectCommand},
		{"bind", "NAME EVENT", "have NAME ARGS… stand for ask EVENT ARGS…", false, (*Console).bindCommand},
		{"rooms", "", "ask the server for the rooms: bind rooms EVENT says by which event", false, (*Console).roomsCommand},
		{"ping", "", "measure how long the server takes to answer", false, (*Console).pingCommand},
		{"info", "", "tell how things are", false, (*Console).infoCommand},
		{"wait", "DURATION", "wait, as 500ms or 2s", false, (*Console).waitCommand},
		{"help", "", "tell of commands", false, (*Console).helpCommand},
		{"quit", "", "send what waits, and go", false, func(*Console, string) error { return ErrQuit }},
	}
}

// find returns the command of a name.
func find(name string) *command {
	if name == "exit" {
		name = "quit"
	}
	for i := range commands {
		if commands[i].name == name {
			return &commands[i]
		}
	}
	return nil
}

// emit sends, and waits while too much waits.
func (c *Console) emitCommand(rest string) error {
	event, args, err := eventAndArgs(rest)
	if err != nil {
		return err
	}
	err = c.client.Emit(c.space, event, args...)
	if errors.Is(err, ioclient.ErrFull) && c.o.Script {
		if err = c.Settle(); err == nil {
			err = c.client.Emit(c.space, event, args...)
		}
	}
	return err
}

func (c *Console) askCommand(rest string) error {
	event, args, err := eventAndArgs(rest)
	if err != nil {
		return err
	}
	return c.ask(event, args)
}

// ask waits for the acknowledgement in a script, and has it be shown when it comes for a
// person.
func (c *Console) ask(event string, args []any) error {
	space := c.space
	wait := func() error {
		ctx, done := context.WithTimeout(c.ctx, c.o.Timeout)
		defer done()
		a, err := c.client.Ask(ctx, space, event, args...)
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			return fmt.Errorf("%w of %s within %v", ErrNoAnswer, name(event), c.o.Timeout)
		case errors.Is(err, ioclient.ErrGone), errors.Is(err, context.Canceled):
			return fmt.Errorf("%w of %s: the connection was lost", ErrNoAnswer, name(event))
		case err != nil:
			return err
		}
		c.o.Print.Ack(space, event, a)
		return nil
	}
	if c.o.Script {
		return wait()
	}
	c.asking.Add(1)
	// ends with the acknowledgement, or Timeout
	go func() {
		defer c.asking.Done()
		if err := wait(); err != nil && c.ctx.Err() == nil {
			c.o.Print.Mistake(err)
		}
	}()
	return nil
}

func (c *Console) answerCommand(rest string) error {
	text, rest := cutCommand(rest)
	id, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return errors.New("answer ID ARGS…: the id is a number that an event came with")
	}
	args, err := parseArgs(rest)
	if err != nil {
		return err
	}
	return c.client.Answer(c.space, id, args...)
}

func (c *Console) ackCommand(rest string) error {
	how, rest := cutCommand(rest)
	args, err := parseArgs(rest)
	switch {
	case err != nil:
		return err
	case how == "on":
		args = append([]any{}, args...)
	case how != "off" || len(args) > 0:
		return errors.New("ack on ARGS…, or ack off")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.auto = args
	return nil
}

func (c *Console) onCommand(rest string) error {
	names, err := words(rest)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(names) == 0 {
		c.only, c.hidden = nil, nil
		return nil
	}
	c.only = append(c.only, names...)
	c.hidden = slices.DeleteFunc(c.hidden, func(e string) bool { return slices.Contains(names, e) })
	return nil
}

func (c *Console) offCommand(rest string) error {
	names, err := words(rest)
	if err == nil && len(names) == 0 {
		err = errors.New("off EVENT…: which events are not to be shown?")
	}
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hidden = append(c.hidden, names...)
	return nil
}

func (c *Console) ofCommand(rest string) error {
	names, err := words(rest)
	if err != nil || len(names) != 1 {
		return cmpError(err, "of /NAMESPACE: which one?")
	}
	if err := c.client.Of(names[0]); err != nil {
		return err
	}
	c.space = names[0]
	return c.settleScript()
}

// settleScript waits, if this is a script, for what the command has begun.
func (c *Console) settleScript() error {
	if !c.o.Script {
		return nil
	}
	if err := c.Settle(); err != nil {
		return err
	}
	return c.Refusal()
}

func cmpError(err error, text string) error {
	if err != nil {
		return err
	}
	return errors.New(text)
}

func (c *Console) leaveCommand(rest string) error {
	names, err := words(rest)
	if err != nil || len(names) > 1 {
		return cmpError(err, "leave /NAMESPACE: one of them")
	}
	names = append(names, c.space)
	ctx, done := context.WithTimeout(c.ctx, c.o.Timeout)
	defer done()
	if err := c.client.Leave(ctx, names[0]); err != nil {
		return err
	}
	for _, n := range c.client.Info().Namespaces {
		if names[0] == c.space && n.Active {
			c.space = n.Name
		}
	}
	return nil
}

func (c *Console) disconnectCommand(string) error {
	ctx, done := context.WithTimeout(c.ctx, c.o.Timeout)
	defer done()
	c.client.Disconnect(ctx)
	return nil
}

func (c *Console) reconnectCommand(string) error {
	c.client.Reconnect()
	return c.settleScript()
}

// checkBinding says what is wrong with a name for an event.
func checkBinding(name, event string) error {
	switch k := find(name); {
	case !plain(name) || event == "":
		return errors.New("bind NAME EVENT: the name is one word")
	case k != nil && k.name != "rooms":
		return fmt.Errorf("%s is a command", name)
	}
	return nil
}

func (c *Console) bindCommand(rest string) error {
	names, err := words(rest)
	if err != nil || len(names) != 2 {
		return cmpError(err, "bind NAME EVENT: one of each")
	}
	if err := checkBinding(names[0], names[1]); err != nil {
		return err
	}
	bound := maps.Clone(c.o.Bound)
	if bound == nil {
		bound = map[string]string{}
	}
	bound[names[0]] = names[1]
	c.o.Bound = bound
	return nil
}

// roomsCommand is what rooms does while it stands for no event.
func (c *Console) roomsCommand(string) error {
	return errors.New("Socket.IO tells clients nothing of rooms: where the server answers an event with them, bind rooms EVENT; likewise bind join EVENT")
}

func (c *Console) pingCommand(string) error {
	ctx, done := context.WithTimeout(c.ctx, c.o.Timeout)
	defer done()
	took, err := c.client.Ping(ctx)
	if err != nil {
		return err
	}
	if c.o.Print.JSON {
		c.o.Print.record(record{Type: "pong", Ms: ms(took)})
		return nil
	}
	c.o.Print.Say("pong after " + took.Round(10*time.Microsecond).String())
	return nil
}

func (c *Console) waitCommand(rest string) error {
	d, err := time.ParseDuration(rest)
	if err != nil || d < 0 {
		return fmt.Errorf("wait DURATION: %q is none", rest)
	}
	select {
	case <-time.After(d):
	case <-c.ctx.Done():
	}
	return nil
}

func (c *Console) helpCommand(string) error {
	var b strings.Builder
	for _, k := range commands {
		fmt.Fprintf(&b, "%-22s %s\n", k.name+" "+k.args, k.help)
	}
	for _, n := range slices.Sorted(maps.Keys(c.o.Bound)) {
		fmt.Fprintf(&b, "%-22s ask %s ARGS…\n", n+" ARGS…", name(c.o.Bound[n]))
	}
	c.o.Print.Say(b.String())
	return nil
}

func (c *Console) infoCommand(string) error {
	i := c.client.Info()
	var b strings.Builder
	fmt.Fprintf(&b, "%s%s", i.Server, i.Path)
	if i.Transport == "" {
		b.WriteString(", no session\n")
	} else {
		fmt.Fprintf(&b, " by %s, session %s; given up after %v without a heartbeat", i.Transport, terminal.Text(i.SID), i.Beat)
		if i.MaxPayload > 0 {
			fmt.Fprintf(&b, "; takes messages of up to %d bytes", i.MaxPayload)
		}
		b.WriteString("\n")
	}
	for _, n := range i.Namespaces {
		b.WriteString(describe(n))
	}
	s := i.Stats
	fmt.Fprintf(&b, "sessions %d, recovered %d; events in %d, out %d; acknowledgements in %d, out %d; of no use %d\n",
		s.Sessions, s.Recovered, s.EventsIn, s.EventsOut, s.AcksIn, s.AcksOut, s.Useless)
	c.mu.Lock()
	if c.only != nil {
		fmt.Fprintf(&b, "shown only: %s\n", terminal.Text(strings.Join(c.only, ", ")))
	}
	if c.hidden != nil {
		fmt.Fprintf(&b, "not shown: %s\n", terminal.Text(strings.Join(c.hidden, ", ")))
	}
	if c.auto != nil {
		b.WriteString("events are acknowledged by themselves\n")
	}
	c.mu.Unlock()
	c.o.Print.Say(b.String())
	return nil
}

// describe tells of one namespace.
func describe(n ioclient.NamespaceInfo) string {
	text := terminal.Text(n.Name) + ": "
	switch {
	case n.Connected:
		text += "connected as " + terminal.Text(n.SID)
	case n.Active:
		text += "not connected yet"
	default:
		text += "left"
	}
	if n.Recovered {
		text += ", recovered"
	}
	if n.Recoverable {
		text += ", recoverable from offset " + strconv.Quote(terminal.Text(n.Offset))
	}
	if n.Waiting > 0 {
		text += fmt.Sprintf(", %d events wait", n.Waiting)
	}
	if n.Pending > 0 {
		text += fmt.Sprintf(", %d acknowledgements are waited for", n.Pending)
	}
	return text + "\n"
}
