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
	"os"
	"slices"
	"strings"
	"time"
)

func main() {
	only := flag.String("only", "", "attacks with this in their names")
	quick := flag.Bool("quick", false, "the short form, as in the tests")
	readme := flag.String("readme", "", "a file in which the table is to be replaced")
	flag.Parse()
	if err := run(*only, *quick, *readme); err != nil {
		fmt.Fprintln(os.Stderr, "attack:", err)
		os.Exit(1)
	}
}

// attacks returns all attacks.
func attacks() []*attack {
	return slices.Concat(engineAttacks, socketAttacks, pollingAttacks, redisAttacks)
}

func run(only string, quick bool, readme string) error {
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
	for _, x := range attacks() {
		if !strings.Contains(x.name, only) {
			continue
		}
		began := time.Now()
		all, err := x.try(p, sc)
		fmt.Fprintf(os.Stderr, "%.1f s ", time.Since(began).Seconds())
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", x.name, err))
			fmt.Fprintf(os.Stderr, "attack: FAILED: %s: %v\n", x.name, err)
		}
		row := x.row(all)
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
