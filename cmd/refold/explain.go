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
	"github.com/refold-dev/refold/internal/directory"
	"github.com/refold-dev/refold/internal/fold"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/verify"
	"github.com/spf13/cobra"
)

func (c *cli) explain() *cobra.Command {
	var tenant string
	cmd := &cobra.Command{
		Use: "explain ENTITY ID", Short: "Show the events behind the rows of an entity, such as `explain memory 857b6302-... --tenant acme`", Args: exactly(2),
		Long: `Show the events of an entity and what each of them does to its rows. No row is read: it is what the rows must be.

` + "`explain row TABLE KEY...`" + ` shows one row of any table as it is stored, beside that.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.explainAt(cmd.Context(), tenant, func(p *plane.Plane, t directory.Tenant) error {
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
	cmd.PersistentFlags().StringVar(&tenant, "tenant", "", "tenant of the entity or the row")
	variable(cmd.PersistentFlags(), "tenant", "REFOLD_TENANT")
	cmd.AddCommand(c.explainRow(&tenant))
	return cmd
}

func (c *cli) explainRow(tenant *string) *cobra.Command {
	var number int64
	cmd := &cobra.Command{
		Use: "row TABLE KEY...", Short: "Show a row as it is stored, as it must be, and the events behind it; exit code 3 if both differ", Args: cobra.MinimumNArgs(2),
		Long: `Show one row of any table: as it is stored in an edition, as it must be at the same position, since which event each
column has its value, and the events of its entity. KEY is the key of the table behind the tenant, column by column:

  refold explain row memory_status 857b6302-2e8e-4a4c-9d2a-5b1f0a6c1a10 1042 0 --tenant acme`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.explainAt(cmd.Context(), *tenant, func(p *plane.Plane, t directory.Tenant) error {
				if number == 0 {
					var ok bool
					if number, ok = p.Live.Edition(t.Shard, t.ID); !ok {
						return plane.ErrNothingLive
					}
				}
				x, err := verify.ExplainRow(cmd.Context(), verify.RowConfig{
					DB: p.DB, Shard: p.Journal.Shard(t.Shard), Edition: number, Schema: fold.Tables, Fold: fold.Apply,
					Tenant: t.ID, Table: args[0], Key: args[1:],
				})
				if errors.Is(err, verify.ErrRow) {
					return usageError{err}
				}
				if err != nil {
					return err
				}
				if err := c.show(x, func(w *tabwriter.Writer) { rowTable(w, x) }); err != nil {
					return err
				}
				switch x.Verdict {
				case verify.RowAbsent:
					return command.Refuse(command.NotFound, "there is no such row, and there must be none")
				case verify.RowRight:
					return nil
				}
				return errMismatch
			})
		},
	}
	cmd.Flags().Int64Var(&number, "edition", 0, "edition to read the row from; 0 = the live one")
	return cmd
}

// explainAt runs fn for a tenant. One that nobody knows may have rows all the same: they are looked for as a
// verification does, in the first shard.
func (c *cli) explainAt(ctx context.Context, tenant string, fn func(*plane.Plane, directory.Tenant) error) error {
	if tenant == "" {
		return usageError{errors.New("explain needs --tenant")}
	}
	return c.with(ctx, func(p *plane.Plane) error {
		t, err := p.Directory.Tenant(ctx, tenant)
		if errors.Is(err, directory.ErrNoTenant) {
			t, err = directory.Tenant{ID: tenant}, nil
		}
		if err != nil {
			return fmt.Errorf("tenant %s: %w", tenant, err)
		}
		return fn(p, t)
	})
}

func explainTable(w *tabwriter.Writer, steps []verify.Step) {
	for _, s := range steps {
		held := ""
		if s.Held {
			held = "  HELD"
		}
		row(w, fmt.Sprintf("sequence %d  version %d  %s  %s  by %s%s", s.Seq, s.Version, s.Kind, s.Time.Format(time.RFC3339Nano), s.Actor, held))
		for _, change := range s.Changes {
			for _, column := range change.Columns {
				row(w, fmt.Sprintf("    %s %s.%s", change.Did, change.Table, column.Column), "->", quoted(column.Expected))
			}
		}
	}
}

func rowTable(w *tabwriter.Writer, x *verify.RowExplanation) {
	var key []string
	for _, k := range x.Key {
		key = append(key, k.Column+" "+k.Value)
	}
	row(w, fmt.Sprintf("tenant %s table %s %s in edition %d at sequence %d: %s", x.Tenant, x.Table, strings.Join(key, " "), x.Edition, x.Seq, x.Verdict))
	if x.Stored > 1 {
		row(w, fmt.Sprintf("  stored %d times: the table has lost its key", x.Stored))
	}
	for _, column := range x.Columns {
		since := "no event explains it"
		if column.Seq > 0 {
			since = fmt.Sprintf("since sequence %d", column.Seq)
		}
		switch {
		case x.Verdict == verify.RowMissing:
			row(w, "  "+column.Column, "must be "+quoted(column.Expected), since)
		case column.Right:
			row(w, "  "+column.Column, quoted(column.Actual), since)
		case x.Stored > 0 && len(x.Events) > 0 && column.Seq > 0:
			row(w, "  "+column.Column, fmt.Sprintf("IS %s, must be %s", quoted(column.Actual), quoted(column.Expected)), since)
		default:
			row(w, "  "+column.Column, quoted(column.Actual), since)
		}
	}
	explainTable(w, x.Events)
}
