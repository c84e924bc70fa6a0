package main

import (
	"crypto/rand"
	_ "embed"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

// starter is the file that init writes, without its secrets.
//
//go:embed starter.yaml
var starter string

func initCommand() *cobra.Command {
	var dir, path string
	cmd := &cobra.Command{
		Use: "init", Short: "Write a file of settings to begin with, with secrets of its own", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("output") {
				path = filepath.Join(dir, path)
			} else if cmd.Flags().Changed("dir") {
				return usageError{fmt.Errorf("--dir and --output both say where")}
			}
			if err := writeStarter(path); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is written, for nobody else to read: it has secrets.\nNow: sioedge check --config %[1]s && sioedge serve --config %[1]s\n", path)
			return nil
		},
	}
	cmd.Flags().StringVar(&dir, "dir", ".", "directory to write sioedge.yaml to")
	cmd.Flags().StringVarP(&path, "output", "o", "sioedge.yaml", "file to write, in place of that")
	return cmd
}

// writeStarter writes the file with fresh secrets. What is there already stays.
func writeStarter(path string) error {
	text := starter
	for strings.Contains(text, "SECRET") {
		text = strings.Replace(text, "SECRET", secret(), 1)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		_ = os.Remove(path) // half of it is of no use
	}
	return err
}

// secret returns 256 bits that nobody knows.
func secret() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}
