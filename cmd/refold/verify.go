package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/command"
	"github.com/refold-dev/refold/internal/fold"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/rows"
	"github.com/refold-dev/refold/internal/verify"
	"github.com/spf13/cobra"
)

func (c *cli) verify() *cobra.Command {
	var number int64
	var quick bool
	var restrict quickOptions
	cmd := &cobra.Command{
		Use: "verify", Short: "Prove that the live rows are the fold of the journal; exit code 3 if one is not", Args: exactly(0),
		Long: "Prove that the live rows are the fold of the journal; exit code 3 if one is not.\n\n" +
			"With --quick the tables are read once and held against the digests that were kept while they were written: nothing was\n" +
			"added, changed or lost by anybody else. That needs no replay, and it does not prove that what was written is the fold.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if quick {
				return c.with(cmd.Context(), func(p *plane.Plane) error { return c.verifyQuick(cmd.Context(), p, number, restrict) })
			}
			if len(restrict.tenants)+len(restrict.tables)+restrict.readers > 0 {
				return usageError{errors.New("--tenant, --table and --readers go with --quick")}
			}
			return c.with(cmd.Context(), func(p *plane.Plane) error { return c.verifyEdition(cmd.Context(), p, number) })
		},
	}
	cmd.Flags().Int64Var(&number, "edition", 0, "edition to verify; 0 = the live one")
	cmd.Flags().BoolVar(&quick, "quick", false, "hold the rows against their kept digests, without a replay")
	restrict.flags(cmd)
	return cmd
}

// verifyEdition verifies every shard of an edition (0 = whatever is live there) and prints the reports.
func (c *cli) verifyEdition(ctx context.Context, p *plane.Plane, number int64) error {
	bar := c.progress()
	reports, err := verifyAll(ctx, p, number, bar)
	bar.end()
	if err != nil {
		return err
	}
	if err := c.show(reports, func(w *tabwriter.Writer) { reportTable(w, reports) }); err != nil {
		return err
	}
	for _, r := range reports {
		if !r.Clean {
			return errMismatch
		}
	}
	return nil
}

func verifyAll(ctx context.Context, p *plane.Plane, number int64, bar *progress) ([]*verify.Report, error) {
	pause, end := p.Editions.MakeWay(ctx)
	defer end()
	var reports []*verify.Report
	for _, shard := range p.Journal.Shards {
		of := number
		if of == 0 {
			live, ok := p.Live.Edition(shard.Number(), "")
			if !ok {
				return nil, errors.New("no edition is live")
			}
			of = live
		}
		report, err := verify.Run(ctx, verify.Config{
			DB: p.DB, Shard: shard, Edition: of, Schema: fold.Tables, Fold: fold.Apply, Shape: p.Shape, MemoryBytes: p.MemoryBytes, Pause: pause,
			Progress: func(at verify.Progress) {
				bar.tell(fmt.Sprintf("%s shard %d part %d of %d", at.Phase, shard.Number(), at.Part, at.Parts), int64(at.Done), int64(at.Total))
			},
		})
		if err != nil {
			return nil, err
		}
		reports = append(reports, report)
	}
	return reports, nil
}

func reportTable(w *tabwriter.Writer, reports []*verify.Report) {
	for _, r := range reports {
		verdict := "clean: every row is the fold of the journal"
		if !r.Clean {
			verdict = fmt.Sprintf("NOT CLEAN: %d rows differ, chain of events equal: %v", r.Total, r.Chain.Equal)
		}
		row(w, fmt.Sprintf("edition %d shard %d at sequence %d: %s (%d events, %d rows, %d held, %s)", r.Edition, r.Shard, r.Seq, verdict,
			r.Events, r.Rows, r.Held, time.Duration(r.DurationMs)*time.Millisecond))
		for _, d := range r.Differences {
			row(w, "  "+describeDifference(d))
		}
	}
}

func describeDifference(d rows.Difference) string {
	var key []string
	for _, k := range d.Key {
		key = append(key, k.Column+" "+k.Value)
	}
	out := fmt.Sprintf("%s: tenant %s table %s %s", d.Fault, d.Tenant, d.Table, strings.Join(key, " "))
	for _, column := range d.Columns {
		out += fmt.Sprintf("; column %s expected %s actual %s, from sequence %d", column.Column, quoted(column.Expected), quoted(column.Actual), column.Seq)
	}
	if len(d.Columns) == 0 && d.Seq > 0 {
		out += fmt.Sprintf("; from sequence %d", d.Seq)
	}
	if d.Fault == rows.Extra {
		out += "; no event explains it"
	}
	return out
}

func quoted(v *string) string {
	if v == nil {
		return "NULL"
	}
	return fmt.Sprintf("%.200q", *v)
}

func (c *cli) explain() *cobra.Command {
	var tenant string
	cmd := &cobra.Command{
		Use: "explain ENTITY ID", Short: "Show the events behind the rows of an entity, such as `explain memory 857b6302-... --tenant acme`", Args: exactly(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if tenant == "" {
				return usageError{errors.New("explain needs --tenant")}
			}
			return c.with(cmd.Context(), func(p *plane.Plane) error {
				t, err := p.Directory.Tenant(cmd.Context(), tenant)
				if err != nil {
					return fmt.Errorf("tenant %s: %w", tenant, err)
				}
				steps, err := verify.Explain(cmd.Context(), p.Journal.Shard(t.Shard), fold.Tables, fold.Apply, envelope.Key{Tenant: t.ID, Entity: args[0], ID: args[1]}, 0)
				if err != nil {
					return err
				}
				if len(steps) == 0 {
					return command.Refuse(command.NotFound, "the journal holds no event of %s %s in tenant %s", args[0], args[1], tenant)
				}
				return c.show(steps, func(w *tabwriter.Writer) { explainTable(w, steps) })
			})
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", env("REFOLD_TENANT", ""), "tenant of the entity (REFOLD_TENANT)")
	return cmd
}

func explainTable(w *tabwriter.Writer, steps []verify.Step) {
	for _, s := range steps {
		row(w, fmt.Sprintf("sequence %d  version %d  %s  %s  by %s", s.Seq, s.Version, s.Kind, s.Time.Format(time.RFC3339Nano), s.Actor))
		for _, change := range s.Changes {
			for _, column := range change.Columns {
				row(w, fmt.Sprintf("    %s %s.%s", change.Did, change.Table, column.Column), "->", quoted(column.Expected))
			}
		}
	}
}
