package main

import (
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/refold-dev/refold/internal/archival"
	"github.com/refold-dev/refold/internal/plane"
)

var errArchiving = errors.New("another process applies archive policies at the moment")

func (c *cli) policy() *cobra.Command {
	cmd := &cobra.Command{Use: "policy", Short: "What users want archived by its age"}
	cmd.AddCommand(c.policyApply())
	return group(cmd)
}

func (c *cli) policyApply() *cobra.Command {
	var options archival.Options
	cmd := &cobra.Command{
		Use: "apply", Short: "Apply all archive policies now, as a serving process does every hour", Args: exactly(0),
		Long: "Apply all archive policies now: archive, in the name of each policy's owner, the memories that are older than it says.\n" +
			"It may be interrupted and repeated: nothing is archived twice. A serving process does the same every hour\n" +
			"(`serve --archive-every`), and `refold status` shows what the last round did.",
	}
	cmd.Flags().StringVar(&options.Tenant, "tenant", "", "only the policies of this tenant")
	cmd.Flags().BoolVar(&options.DryRun, "dry-run", false, "say what is due, and archive nothing")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return c.with(cmd.Context(), func(p *plane.Plane) error {
			if options.Tenant != "" {
				if _, err := p.Directory.Tenant(cmd.Context(), options.Tenant); err != nil {
					return fmt.Errorf("tenant %s: %w", options.Tenant, err)
				}
			}
			worker := p.Archival()
			release, ours, err := worker.Lock(cmd.Context())
			if err == nil && !ours {
				err = errArchiving
			}
			if err != nil {
				return err
			}
			defer release()
			round, err := worker.Apply(cmd.Context(), options)
			if err != nil {
				return err
			}
			if !options.DryRun && options.Tenant == "" {
				worker.Done(cmd.Context(), round)
			}
			if err := c.show(round, func(w *tabwriter.Writer) { roundTable(w, round) }); err != nil {
				return err
			}
			if round.Failed > 0 {
				return fmt.Errorf("%d failed, the first: %s", round.Failed, round.Fault)
			}
			return nil
		})
	}
	return cmd
}

func roundTable(w *tabwriter.Writer, r archival.Round) {
	row(w, "POLICIES", "DUE", "ARCHIVED", "SKIPPED", "FAILED")
	row(w, r.Policies, r.Due, r.Archived, r.Skipped, r.Failed)
}
