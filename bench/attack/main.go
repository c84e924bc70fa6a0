// Command attack tries hostile clients on servers of this tree, one and a hundred
// at a time, beside a hundred honest clients, and prints what each cost.
//
//	go run ./bench/attack                  all attacks
//	go run ./bench/attack -only deflate    those with this in their names
//	go run ./bench/attack -readme README.md
//
// An attack fails if a server holds more than --conn-budget for a connection, if an
// honest client has not got each of its echoes, if descriptors, goroutines and
// sockets are not as before when the attackers have gone, or if the log is
// flooded. Nothing is said of time.
package main

import (
	"errors"
	"flag"
	"fmt"
	"iter"
	"os"
	"slices"
	"strings"
)

func main() {
	only := flag.String("only", "", "attacks with this in their names")
	quick := flag.Bool("quick", false, "the short form, as in the tests")
	parallel := flag.Int("parallel", 4, "attacks at a time, each on a server of its own")
	readme := flag.String("readme", "", "a file in which the table is to be replaced")
	flag.Parse()
	if err := run(*only, *quick, *parallel, *readme); err != nil {
		fmt.Fprintln(os.Stderr, "attack:", err)
		os.Exit(1)
	}
}

// attacks returns all attacks.
func attacks() []*attack {
	return slices.Concat(engineAttacks, socketAttacks, pollingAttacks, redisAttacks)
}

func run(only string, quick bool, parallel int, readme string) error {
	dir, err := os.MkdirTemp("", "attack")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	p, err := build(dir)
	if err != nil {
		return err
	}
	sc := long
	if quick {
		sc = short
	}
	var failed []error
	table := heading
	fmt.Print(heading)
	for o := range tryAll(p, sc, only, parallel) {
		if o.err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", o.attack.name, o.err))
			fmt.Fprintf(os.Stderr, "attack: FAILED: %s: %v\n", o.attack.name, o.err)
		}
		row := o.attack.row(o.parts)
		fmt.Print(row)
		table += row
	}
	if len(failed) > 0 {
		return errors.Join(failed...)
	}
	if readme != "" {
		return replace(readme, table)
	}
	return nil
}

// An outcome is what became of an attack.
type outcome struct {
	attack *attack
	parts  [2]result
	err    error
}

// tryAll tries the attacks with a text in their names, several at a time, and
// yields what became of them in their order.
func tryAll(p programs, sc scale, only string, parallel int) iter.Seq[outcome] {
	var pending []chan outcome
	places := make(chan struct{}, parallel)
	for _, x := range attacks() {
		if !strings.Contains(x.name, only) {
			continue
		}
		done := make(chan outcome, 1)
		pending = append(pending, done)
		// ends when it was tried
		go func() {
			places <- struct{}{}
			defer func() { <-places }()
			parts, err := x.try(p, sc)
			done <- outcome{x, parts, err}
		}()
	}
	return func(yield func(outcome) bool) {
		for _, done := range pending {
			if !yield(<-done) {
				return
			}
		}
	}
}
