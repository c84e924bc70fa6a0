package config

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

const preamble = `# Settings

This page is made by ` + "`sioedge config doc`" + ` of the table that the server itself reads.

A setting is what the last of these says: its default, the file of ` + "`--config`" + `, the environment, a flag. The variable of a flag is
` + "`SIOEDGE_`" + ` and its name in capitals, with ` + "`_`" + ` for each dash; elements of lists are separated by commas there, and flags of lists may be given
several times. ` + "`sioedge check`" + ` says what is wrong, ` + "`sioedge config print`" + ` what is set and by what, ` + "`sioedge config env`" + ` which variables there are,
` + "`sioedge init`" + ` writes a file to begin with.

The file is YAML, of which JSON is a part, of at most 1 MiB. The dots in the names below are groups in it:

` + "```yaml" + `
ping:
  interval: 20s
origins: https://app.example.com        # a list of one may be written without its brackets
auth: none                              # a group of which only this is set: auth.mode
namespaces:
  - /chat                               # namespaces[].pattern
` + "```" + `

In any text of it ` + "`${env:NAME}`" + ` is a variable of the environment, ` + "`${env:NAME:-default}`" + ` one that may be missing or empty, and ` + "`${file:/path}`" + `
what a file of at most 64 KiB has, without the end of its last line; a path that does not begin with / is beside the file of settings. ` + "`$${`" + ` is ` + "`${`" + `
itself. Durations are written ` + "`1m30s`" + `, sizes ` + "`65536`, `64KiB` or `1MB`" + `.

The signal HUP has the server read its file again, with what it includes. What is marked *reload* is applied at once, without touching who is connected;
of the rest the log says that it needs a restart. A file with a mistake in it changes nothing. Headers and query of who is connected already
are known to what is declared now only if a namespace needed them when the connection began: one with auth, a backend's hooks or a bridge.
`

// Reference writes the reference in Markdown.
func Reference(w io.Writer) error {
	var b strings.Builder
	b.WriteString(preamble)
	for _, s := range sections {
		fmt.Fprintf(&b, "\n## %s\n\n", s.Title)
		if s.Intro != "" {
			b.WriteString(s.Intro + "\n\n")
		}
		b.WriteString("| key | flag | type | default | |\n|---|---|---|---|---|\n")
		for i := range s.Keys {
			b.WriteString(s.Keys[i].row())
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// row is a key's line of the reference.
func (k *Key) row() string {
	code := func(s string) string {
		if s == "" {
			return ""
		}
		return "`" + strings.ReplaceAll(s, "|", `\|`) + "`"
	}
	flag := ""
	if k.Flag != "" {
		flag = code("--" + k.Flag)
	}
	doc := strings.NewReplacer("|", `\|`, "*", `\*`, "<", "&lt;").Replace(k.Doc)
	if k.Reload || strings.HasPrefix(k.Path, "namespaces[]") {
		doc += " *(reload)*"
	}
	if k.Secret {
		doc += " *(secret)*"
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %s |\n", code(k.Path), flag, k.Type(), code(k.Default), doc)
}

// Variables writes which variables of the environment there are.
func Variables(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "VARIABLE\tSETTING\tDEFAULT\tMEANING")
	for _, k := range keys.flags {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", k.Env(), k.Path, k.Default, k.Doc)
	}
	return t.Flush()
}
