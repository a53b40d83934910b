package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/rows"
	"github.com/refold-dev/refold/internal/verify"
	"github.com/spf13/cobra"
)

// planTenantsMax bounds the tenants in the table of a plan; the JSON has all of them.
const planTenantsMax = 20

func (c *cli) editionPlan() *cobra.Command {
	return &cobra.Command{
		Use: "plan", Short: "Show what an edition of this binary would change, without building or writing anything", Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			report, err := c.plan(cmd.Context())
			if err != nil {
				return err
			}
			return c.show(report, func(w *tabwriter.Writer) { planTable(w, report) })
		},
	}
}

func (c *cli) plan(ctx context.Context) (report *verify.PlanReport, err error) {
	p, err := plane.Look(ctx, c.existing())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	bar := c.progress()
	defer bar.end()
	return p.PlanEdition(ctx, func(at verify.Progress) {
		bar.tellPart(fmt.Sprintf("%s part %d of %d", at.Phase, at.Part, at.Parts), int64(at.Done), int64(at.Total), partsOf(at))
	})
}

func planTable(w *tabwriter.Writer, r *verify.PlanReport) {
	row(w, planVerdict(r))
	for _, s := range r.Shards {
		row(w, fmt.Sprintf("shard %d: compared at sequence %d, the journal ends at %d", s.Shard, s.Seq, s.Head))
	}
	row(w, fmt.Sprintf("%d events folded in %s, parts: %d", r.Events, time.Duration(r.FoldMs)*time.Millisecond, r.Parts))
	row(w)
	row(w, "TABLE", "", "LIVE", "NEXT", "ADDED", "REMOVED", "CHANGED", "COLUMNS")
	for _, t := range r.Tables {
		row(w, append([]any{t.Table, t.Kind}, countCells(&t.Rows)...)...)
	}
	planColumns(w, r)
	planTenants(w, r)
	planHeld(w, r)
	planExamples(w, r)
	planBuild(w, r)
}

func planVerdict(r *verify.PlanReport) string {
	all := r.Rows()
	switch {
	case r.Edition == 0:
		return "no edition is live: all rows are new"
	case r.SameShape && !all.Differ():
		return fmt.Sprintf("nothing to migrate: edition %d has the shape of this binary, and every row is the fold of the journal", r.Edition)
	case r.SameShape:
		return fmt.Sprintf("nothing to migrate: edition %d has the shape of this binary; but rows differ from the journal: run `refold verify`", r.Edition)
	case !r.Differ():
		return fmt.Sprintf("edition %d has shape %s, this binary makes %s: the same rows, with other keys, indexes, checks or policies, or another version of the fold",
			r.Edition, r.LiveShape, r.Shape)
	default:
		return fmt.Sprintf("edition %d has shape %s, this binary makes %s: %d rows added, %d removed, %d changed",
			r.Edition, r.LiveShape, r.Shape, all.Added, all.Removed, all.Changed)
	}
}

func countCells(c *rows.RowCounts) []any {
	var columns []string
	for _, name := range slices.Sorted(maps.Keys(c.Columns)) {
		columns = append(columns, fmt.Sprintf("%s %d", name, c.Columns[name]))
	}
	return []any{c.Live, c.Next, c.Added, c.Removed, c.Changed, strings.Join(columns, ", ")}
}

func describeColumn(c rows.ColumnPlan) string {
	switch c.Change {
	case "added":
		return fmt.Sprintf("column %s added (%s)", c.Column, c.Next)
	case "removed":
		return fmt.Sprintf("column %s removed (%s)", c.Column, c.Live)
	default:
		return fmt.Sprintf("column %s altered (%s -> %s)", c.Column, c.Live, c.Next)
	}
}

func planColumns(w *tabwriter.Writer, r *verify.PlanReport) {
	for _, t := range r.Tables {
		if len(t.Columns) > 0 {
			row(w)
			row(w, "table "+t.Table+":")
		}
		for _, column := range t.Columns {
			row(w, "  "+describeColumn(column))
		}
	}
}

func planTenants(w *tabwriter.Writer, r *verify.PlanReport) {
	shown, left := 0, 0
	for _, t := range r.Tables {
		for _, tenant := range t.Tenants {
			switch {
			case !tenant.Differ():
				continue
			case shown == planTenantsMax:
				left++
				continue
			case shown == 0:
				row(w)
				row(w, "TENANT", "TABLE", "LIVE", "NEXT", "ADDED", "REMOVED", "CHANGED", "COLUMNS")
			}
			shown++
			row(w, append([]any{tenant.Tenant, t.Table}, countCells(&tenant.RowCounts)...)...)
		}
	}
	if left > 0 {
		row(w, fmt.Sprintf("and %d more; all of them with --output json", left))
	}
}

func planHeld(w *tabwriter.Writer, r *verify.PlanReport) {
	if len(r.HeldKinds) == 0 {
		return
	}
	row(w)
	row(w, "HELD BECAUSE OF", "LIVE", "NEXT", "MORE", "FEWER")
	for _, h := range r.HeldKinds {
		row(w, h.Kind, h.Live, h.Next, h.More, h.Fewer)
	}
	if live, next := r.Held(); next > live && r.Edition != 0 {
		row(w, fmt.Sprintf("a cutover would be refused: the next edition holds %d entities, the live one %d", next, live))
	}
}

func planExamples(w *tabwriter.Writer, r *verify.PlanReport) {
	first := true
	for _, t := range r.Tables {
		for _, e := range t.Examples {
			if r.Edition == 0 {
				return // everything is new; a list of the first keys tells nothing
			}
			if first {
				row(w)
				row(w, "for example:")
				first = false
			}
			var key []string
			for _, k := range e.Key {
				key = append(key, k.Column+" "+k.Value)
			}
			line := fmt.Sprintf("  %s: tenant %s table %s %s", e.Did, e.Tenant, t.Table, strings.Join(key, " "))
			if len(e.Columns) > 0 {
				line += ": " + strings.Join(e.Columns, ", ")
			}
			row(w, line)
		}
	}
}

func planBuild(w *tabwriter.Writer, r *verify.PlanReport) {
	b := r.Build
	row(w)
	row(w, fmt.Sprintf("a build would take about %s: replay %s at the rate just measured, load %s and keys %s (%.0f and %.0f rows a second, %s)",
		about(b.ReplayMs+b.LoadMs+b.IndexMs), about(b.ReplayMs), about(b.LoadMs), about(b.IndexMs), b.Pace.Loaded, b.Pace.Indexed, b.Pace.Source))
	row(w, fmt.Sprintf("and about %.1f MiB of disk beside the live edition", float64(b.DiskBytes)/(1<<20)))
}

// about rounds an estimate to what it can know.
func about(ms int64) string {
	if ms < 1000 {
		return "a second or less"
	}
	return (time.Duration(ms) * time.Millisecond).Round(time.Second).String()
}
