package console

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/sioedge/sioedge/rooms/value"
)

// Bounds of what one line may be made of.
const (
	maxDepth = 128
	maxFile  = 16 << 20 // bytes of a file that is sent
)

// cutCommand splits a line into the command and what follows.
func cutCommand(line string) (command, rest string) {
	line = strings.TrimSpace(line)
	if i := strings.IndexAny(line, " \t"); i >= 0 {
		return line[:i], strings.TrimSpace(line[i:])
	}
	return line, ""
}

// parseArgs reads arguments with spaces between them. Each is JSON, or a word, which is a
// text ('in quotes it may have spaces'), or @file: its bytes. What it returns are
// json.RawMessage, string and []byte.
func parseArgs(line string) (args []any, err error) {
	for rest := []byte(line); ; {
		if rest = bytes.TrimLeft(rest, " \t"); len(rest) == 0 {
			return args, nil
		}
		var arg any
		n := 0
		switch rest[0] {
		case '{', '[', '"':
			if n = value.Skip(rest, 0, maxDepth); n < 0 {
				return nil, notJSON(rest)
			}
			arg = json.RawMessage(rest[:n:n])
		case '\'':
			n = bytes.IndexByte(rest[1:], '\'') + 2
			if n < 2 {
				return nil, errors.New("a quote ' is not closed")
			}
			arg = string(rest[1 : n-1])
		case '@':
			if arg, n, err = fileArg(rest); err != nil {
				return nil, err
			}
		default:
			n = wordEnd(rest)
			arg = word(rest[:n])
		}
		if n < len(rest) && rest[n] != ' ' && rest[n] != '\t' {
			return nil, fmt.Errorf("a space is missing before %q", first(rest[n:]))
		}
		args = append(args, arg)
		rest = rest[n:]
	}
}

func wordEnd(b []byte) int {
	if n := bytes.IndexAny(b, " \t"); n >= 0 {
		return n
	}
	return len(b)
}

// word is JSON if it is a number, true, false or null.
func word(b []byte) any {
	if (b[0] == '-' || b[0] >= '0' && b[0] <= '9' || b[0] == 't' || b[0] == 'f' || b[0] == 'n') && json.Valid(b) {
		return json.RawMessage(b)
	}
	return string(b)
}

// ParseArg reads one argument that a shell has split off: JSON, or @ and the path of a file
// for its bytes, or text as it is. It returns json.RawMessage, which is also of text, or
// []byte.
func ParseArg(text string) (any, error) {
	if text == "" {
		return json.RawMessage(`""`), nil
	}
	switch text[0] {
	case '@':
		return ReadFile(text[1:])
	case '{', '[', '"':
		if !json.Valid([]byte(text)) {
			return nil, notJSON([]byte(text))
		}
		return json.RawMessage(text), nil
	}
	if v, ok := word([]byte(text)).(json.RawMessage); ok {
		return v, nil
	}
	return json.RawMessage(value.AppendJSONText(nil, text)), nil
}

// notJSON says what is wrong with the JSON at the start of b.
func notJSON(b []byte) error {
	var v json.RawMessage
	err := json.NewDecoder(bytes.NewReader(b)).Decode(&v)
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("this JSON does not end: %s", first(b))
	case err != nil:
		return fmt.Errorf("not JSON: %s: %w", first(b), err)
	}
	return fmt.Errorf("this JSON is nested too deep: %s", first(b))
}

// first returns the start of b, for messages.
func first(b []byte) string {
	if len(b) > 24 {
		return strings.ToValidUTF8(string(b[:24]), "") + "…"
	}
	return string(b)
}

// fileArg reads a file that is named by @path, or @"path" as JSON.
func fileArg(b []byte) (content []byte, n int, err error) {
	path := ""
	if len(b) > 1 && b[1] == '"' {
		if n = value.Skip(b, 1, 1); n < 0 {
			return nil, 0, notJSON(b[1:])
		}
		name, _ := value.Unquote(nil, b[1:n])
		path = string(name)
	} else {
		n = wordEnd(b)
		path = string(b[1:n])
	}
	if path == "" {
		return nil, 0, errors.New(`@ is for a file's bytes: a text that begins with it is written "@…"`)
	}
	content, err = ReadFile(path)
	return content, n, err
}

// ReadFile reads a file that is to be sent: at most 16 MiB.
func ReadFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("%s has over %d MiB", path, maxFile>>20)
	}
	return b, err
}

// eventAndArgs reads an event's name and its arguments.
func eventAndArgs(line string) (event string, args []any, err error) {
	args, err = parseArgs(line)
	if err != nil {
		return "", nil, err
	}
	if len(args) == 0 {
		return "", nil, errors.New("which event?")
	}
	event, err = textOf(args[0])
	return event, args[1:], err
}

// textOf returns the text that an argument is: numbers as they are written.
func textOf(arg any) (string, error) {
	switch arg := arg.(type) {
	case string:
		return arg, nil
	case json.RawMessage:
		var s string
		if json.Unmarshal(arg, &s) == nil && arg[0] == '"' {
			return s, nil
		}
		if arg[0] != '{' && arg[0] != '[' {
			return string(arg), nil
		}
	}
	return "", errors.New("the name of an event is a text")
}

// words reads texts with spaces between them.
func words(line string) (all []string, err error) {
	args, err := parseArgs(line)
	for _, a := range args {
		var s string
		if s, err = textOf(a); err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, err
}

// AuthFlags makes the object that authenticates of flags: JSON objects, key=text and
// key:=json. Later ones count.
func AuthFlags(flags []string) (json.RawMessage, error) {
	all := map[string]json.RawMessage{}
	for _, f := range flags {
		if strings.HasPrefix(strings.TrimSpace(f), "{") {
			if err := json.Unmarshal([]byte(f), &all); err != nil {
				return nil, fmt.Errorf("not a JSON object: %w", err)
			}
			continue
		}
		key, text, ok := strings.Cut(f, "=")
		if !ok || key == "" || key == ":" {
			return nil, errors.New("neither a JSON object nor key=text nor key:=json") // not what it is: a token
		}
		if name, isJSON := strings.CutSuffix(key, ":"); isJSON {
			if !json.Valid([]byte(text)) {
				return nil, fmt.Errorf("what follows %s is not JSON", f[:len(key)+1])
			}
			all[name] = json.RawMessage(text)
			continue
		}
		all[key] = value.AppendJSONText(nil, text)
	}
	if len(all) == 0 {
		return nil, nil
	}
	return json.Marshal(all)
}
