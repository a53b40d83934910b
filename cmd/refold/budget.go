package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/refold-dev/refold/internal/plane"
)

func (c *cli) journalBudget() *cobra.Command {
	return &cobra.Command{
		Use: "budget [SIZE]", Short: "Show the disk budget of the journal, or set it, such as 200GB", Args: cobra.MaximumNArgs(1),
		Long: "Show the disk budget of the journal, or set it, such as 200GB, while refold serves.\n\n" +
			"It is what the shards and the access log may take together on each server that has a replica; NATS sets it aside, so it\n" +
			"must fit into max_file_store of the server and the limits of the account. A journal that has used its budget refuses\n" +
			"commands and loses nothing. It can shrink to what is used. A start with another --journal-bytes sets it, too.",
		RunE: func(cmd *cobra.Command, args []string) error {
			var size byteSize
			if len(args) == 1 {
				if err := size.Set(args[0]); err != nil {
					return usageError{err}
				}
			}
			return c.with(cmd.Context(), func(p *plane.Plane) error {
				if size > 0 {
					if err := p.SetBudget(cmd.Context(), int64(size)); err != nil {
						return err
					}
				}
				s, err := p.Budget(cmd.Context())
				if err != nil {
					return err
				}
				return c.show(s, func(w *tabwriter.Writer) { row(w, fmt.Sprintf("journal: %s", s.Text())) })
			})
		},
	}
}
