package main

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/refold-dev/refold/internal/app"
	"github.com/refold-dev/refold/internal/archivepolicy"
	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/category"
	"github.com/refold-dev/refold/internal/config"
	"github.com/refold-dev/refold/internal/memory"
	"github.com/refold-dev/refold/internal/user"
)

// entities are the kinds that rows can be explained and repaired of.
func entities() []string {
	return []string{app.Entity, archivepolicy.Entity, category.Entity, config.Entity, memory.Entity, user.Entity}
}

// values are those of flags that take any text and have usual ones.
var values = map[string]func() []string{"scope": auth.AllScopes, "entity": entities}

// folders are the flags that name one.
var folders = map[string]bool{"data": true}

// complete lets shells offer the values of flags that have a fixed set of them. Nothing is looked up for it.
func complete(cmd *cobra.Command) {
	offer := func(f *pflag.Flag) {
		words, known := values[f.Name]
		chosen, fixed := f.Value.(*choice)
		switch {
		case fixed:
			_ = cmd.RegisterFlagCompletionFunc(f.Name, cobra.FixedCompletions(chosen.of, cobra.ShellCompDirectiveNoFileComp)) // fails when done twice only
		case known:
			_ = cmd.RegisterFlagCompletionFunc(f.Name, cobra.FixedCompletions(words(), cobra.ShellCompDirectiveNoFileComp))
		case folders[f.Name]:
			_ = cmd.MarkFlagDirname(f.Name)
		}
	}
	cmd.LocalNonPersistentFlags().VisitAll(offer)
	cmd.PersistentFlags().VisitAll(offer)
	for _, sub := range cmd.Commands() {
		complete(sub)
	}
}
