package main

import (
	"github.com/spf13/cobra"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
)

func configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "config", Short: "Print the settings, their variables or their reference", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(configPrintCommand(),
		&cobra.Command{
			Use: "env", Short: "Print the variables of the environment, each with its default", Args: noArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return config.Variables(cmd.OutOrStdout()) },
		},
		&cobra.Command{
			Use: "doc", Short: "Print the reference of all settings, in Markdown", Args: noArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return config.Reference(cmd.OutOrStdout()) },
		},
	)
	return cmd
}

func configPrintCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "print", Short: "Print what the file, the environment and flags make of the settings, secrets masked", Args: noArgs}
	onlySet := false
	load := settingsOf(cmd)
	cmd.Flags().BoolVar(&onlySet, "only-set", false, "leave out what nothing has set")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		l, err := load()
		if err != nil {
			return usageError{err}
		}
		return l.Print(cmd.OutOrStdout(), onlySet)
	}
	return cmd
}
