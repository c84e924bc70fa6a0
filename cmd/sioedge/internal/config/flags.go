package config

import (
	"reflect"
	"strings"

	"github.com/spf13/pflag"
)

// A flagValue keeps what is given on the command line as it is: it is looked at with
// all other sources, so that all that is wrong is said at one time.
type flagValue struct {
	key   *Key
	texts []string
}

// Flags returns a new set of all flags of the table.
func Flags(name string) *pflag.FlagSet {
	f := pflag.NewFlagSet(name, pflag.ContinueOnError)
	for _, k := range keys.flags {
		v := &flagValue{key: k}
		if k.Default != "" {
			v.texts = []string{k.Default}
		}
		g := f.VarPF(v, k.Flag, "", k.Doc)
		if k.Type() == "bool" {
			g.NoOptDefVal = "true"
		}
		if strings.Trim(strings.TrimRight(k.Default, "s"), "0") == "" { // pflag shows no zeros
			g.DefValue = ""
		}
		v.texts = nil
	}
	return f
}

// String is the default, as pflag asks for it, or what was given.
func (v *flagValue) String() string { return strings.Join(v.texts, ",") }

// Set keeps one more text.
func (v *flagValue) Set(text string) error {
	switch {
	case keys.types[v.key.Path].Kind() != reflect.Slice:
		v.texts = []string{text}
	case v.key.Commas:
		v.texts = append(v.texts, split(text)...)
		if v.texts == nil {
			v.texts = []string{}
		}
	default:
		v.texts = append(v.texts, text)
	}
	return nil
}

// Type is what help says that the flag takes.
func (v *flagValue) Type() string {
	return strings.Replace(strings.Replace(v.key.Type(), "text", "string", 1), "number", "int", 1)
}
