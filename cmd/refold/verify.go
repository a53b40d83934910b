package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/rows"
	"github.com/refold-dev/refold/internal/verify"
	"github.com/spf13/cobra"
)

// verifyFlags are what a verification can be told.
type verifyFlags struct {
	edition     int64
	resume      bool
	barrier     bool
	tenants     []string
	tables      []string
	sample      string
	seed        string
	snapshotMax time.Duration
	quick       bool
	readers     int
}

func (c *cli) verify() *cobra.Command {
	var f verifyFlags
	cmd := &cobra.Command{
		Use: "verify", Short: "Prove that the live rows are the fold of the journal; exit code 3 if one is not", Args: exactly(0),
		Long: `Prove that the rows of an edition are the fold of the journal, at an exact sequence, while writes go on.

What does not fit into --memory is verified in parts; each part that is done is recorded, and --resume goes on behind
them after a crash, for a day. Parts share one snapshot for --snapshot-age; later ones take one of their own, and the
report says at which position each part was proven. The whole then counts as verified at the lowest.

--tenant, --table and --sample look at less and say in the report what was not checked: such a report never makes an
edition verified. --barrier raises a barrier in each shard and proves all editions of this binary's shape at exactly that
position, and that their digests are equal.

With --quick the tables are read once and held against the digests that were kept while they were written: nothing was
added, changed or lost by anybody else. That needs no replay, and it does not prove that what was written is the fold.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := f.config()
			if err != nil {
				return err
			}
			if f.quick {
				return c.with(cmd.Context(), func(p *plane.Plane) error {
					return c.verifyQuick(cmd.Context(), p, f.edition, quickOptions{tenants: f.tenants, tables: f.tables, readers: f.readers})
				})
			}
			return c.with(cmd.Context(), func(p *plane.Plane) error {
				if f.barrier {
					return c.verifyBarrier(cmd.Context(), p, config)
				}
				return c.verifyEdition(cmd.Context(), p, f.edition, config)
			})
		},
	}
	flags := cmd.Flags()
	flags.Int64Var(&f.edition, "edition", 0, "edition to verify; 0 = the live one")
	flags.BoolVar(&f.resume, "resume", false, "go on with a verification that was cut short within the last day")
	flags.BoolVar(&f.barrier, "barrier", false, "prove all editions of this shape at one position of each shard")
	flags.StringSliceVar(&f.tenants, "tenant", nil, "only rows of this tenant; may be repeated. With one, only its events are read")
	flags.StringSliceVar(&f.tables, "table", nil, "only rows of this table; may be repeated")
	flags.StringVar(&f.sample, "sample", "", "only one of so many entities, such as 1/16")
	flags.StringVar(&f.seed, "seed", "", "which entities a sample takes; empty = another choice each time, named in the report")
	flags.BoolVar(&f.quick, "quick", false, "hold the rows against their kept digests, without a replay")
	flags.IntVar(&f.readers, "readers", 0, "connections that read the tables at a time (default 2; with --quick one more than processors)")
	flags.DurationVar(&f.snapshotMax, "snapshot-age", 0, "how long parts share a snapshot of the database (default 5m)")
	return cmd
}

func (f *verifyFlags) config() (verify.Config, error) {
	c := verify.Config{Resume: f.resume, Readers: f.readers, SnapshotMax: f.snapshotMax, Scope: verify.Scope{Tenants: f.tenants, Tables: f.tables, Seed: f.seed}}
	if f.sample != "" {
		one, of, _ := strings.Cut(f.sample, "/")
		n, err := strconv.Atoi(of)
		if err != nil || one != "1" || n < 2 {
			return c, usageError{fmt.Errorf("sample %q: use 1/N, N at least 2", f.sample)}
		}
		c.Scope.Sample = n
		if f.seed == "" {
			c.Scope.Seed = rand.Text()
		}
	} else if f.seed != "" {
		return c, usageError{errors.New("--seed belongs to --sample")}
	}
	if f.barrier && (f.edition != 0 || f.resume || len(f.tenants)+len(f.tables) > 0 || f.sample != "") {
		return c, usageError{errors.New("--barrier proves everything of all editions: it takes no --edition, --resume, --tenant, --table or --sample")}
	}
	if f.quick && (f.resume || f.barrier || f.sample != "" || f.snapshotMax != 0) {
		return c, usageError{errors.New("--quick takes no --resume, --barrier, --sample or --snapshot-age")}
	}
	return c, nil
}

// verifyEdition verifies every shard of an edition (0 = whatever is live there) and prints the reports.
func (c *cli) verifyEdition(ctx context.Context, p *plane.Plane, number int64, config verify.Config) error {
	bar := c.progress()
	reports, err := verifyAll(ctx, p, number, config, bar)
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

func verifyAll(ctx context.Context, p *plane.Plane, number int64, config verify.Config, bar *progress) ([]*verify.Report, error) {
	several := shardsProgress{bar: bar, at: map[int]verify.Progress{}}
	return p.Verify(ctx, number, config, several.tell)
}

// shardsProgress makes one bar of shards that are verified side by side.
type shardsProgress struct {
	bar *progress
	at  map[int]verify.Progress
}

func (s *shardsProgress) tell(at plane.ShardProgress) {
	s.at[at.Shard] = at.Progress
	whole := s.whole(at.Shards)
	if len(s.at) == 1 {
		s.bar.tellPart(fmt.Sprintf("%s shard %d part %d of %d", at.Phase, at.Shard, at.Part, at.Parts), int64(at.Done), int64(at.Total), whole)
		return
	}
	s.bar.tellPart("verify all shards", whole.done, whole.total, whole)
}

// whole is the work of all parts of all shards. Those that have not begun are taken for like the others.
func (s *shardsProgress) whole(shards int) (w work) {
	for _, p := range s.at {
		of := partsOf(p)
		w.done, w.total = w.done+of.done, w.total+of.total
	}
	w.total = w.total * int64(max(shards, len(s.at))) / int64(len(s.at))
	return w
}

// partsOf is the work of all parts of one shard: each part reads the journal from end to end.
func partsOf(p verify.Progress) work {
	return work{done: int64(p.Total)*int64(p.Part-1) + int64(p.Done), total: int64(p.Total) * int64(max(p.Parts, p.Part))}
}

func (c *cli) verifyBarrier(ctx context.Context, p *plane.Plane, config verify.Config) error {
	bar := c.progress()
	defer bar.end()
	pause, end := p.Editions.MakeWay(ctx)
	defer end()
	several := shardsProgress{bar: bar, at: map[int]verify.Progress{}}
	var all []*verify.BarrierReport
	clean := true
	for _, shard := range p.Journal.Shards {
		one := config
		one.MemoryBytes, one.Pause = p.MemoryBytes, pause
		one.Progress = func(at verify.Progress) {
			several.tell(plane.ShardProgress{Shard: shard.Number(), Shards: len(p.Journal.Shards), Progress: at})
		}
		report, err := p.Barrier(ctx, shard.Number(), operator(), one)
		if err != nil {
			return err
		}
		all, clean = append(all, report), clean && report.Clean
	}
	bar.end()
	err := c.show(all, func(w *tabwriter.Writer) {
		for _, b := range all {
			verdict := "all editions hold the same rows"
			if !b.Equal {
				verdict = "EDITIONS DIFFER: " + b.Unequal
			}
			row(w, fmt.Sprintf("shard %d at barrier %s, sequence %d: %s", b.Shard, b.Barrier, b.Seq, verdict))
			reportTable(w, b.Reports)
		}
	})
	if err == nil && !clean {
		err = errMismatch
	}
	return err
}

func reportTable(w *tabwriter.Writer, reports []*verify.Report) {
	for _, r := range reports {
		verdict := "clean: every row is the fold of the journal"
		switch {
		case !r.Clean && r.Total == 0 && r.Chain.Equal && schemaOnly(r):
			verdict = "NOT CLEAN: every row is the fold of the journal, but the database is not as refold makes it"
		case !r.Clean && r.Total == 0 && r.Chain.Equal:
			verdict = "NOT CLEAN: every row is the fold of the journal, but that is not what it was"
		case !r.Clean:
			verdict = fmt.Sprintf("NOT CLEAN: %d rows of %d entities differ%s", r.Total, r.Entities, chainVerdict(r.Chain))
		case !r.Complete:
			verdict = "clean as far as it was looked at"
		}
		row(w, fmt.Sprintf("edition %d shard %d at sequence %s: %s (%d events, %d rows, %d held, %s)", r.Edition, r.Shard, standsAt(r), verdict,
			r.Events, r.Rows, r.Held, time.Duration(r.DurationMs)*time.Millisecond))
		for _, left := range r.NotChecked {
			row(w, "  not checked: "+left)
		}
		if r.Journal != nil {
			row(w, fmt.Sprintf("  journal: %d of %d events compared with what was kept of them, %d signed heads: %s", r.Journal.Witnessed, r.Journal.Seq, r.Journal.Heads, journalVerdict(r.Journal)))
			for _, f := range r.Journal.Faults {
				row(w, "    "+f.String())
			}
		}
		schemaRows(w, r.Schema)
		for _, d := range r.Differences {
			row(w, "  "+describeDifference(d))
		}
		if more := r.Total - len(r.Differences); more > 0 {
			row(w, fmt.Sprintf("  and %d more; `refold repair --last` repairs all of them", more))
		}
	}
}

// schemaOnly: nothing but the schema keeps a report from being clean.
func schemaOnly(r *verify.Report) bool {
	return r.Schema != nil && !r.Schema.Safe && (r.Journal == nil || r.Journal.Clean)
}

// schemaRows shows what an audit found in a verification; nil = none was made.
func schemaRows(w *tabwriter.Writer, a *postgres.Audit) {
	if a == nil || a.Clean {
		return
	}
	row(w, fmt.Sprintf("  schema: %d differences; `refold audit` says what puts them right", len(a.Findings)))
	for _, f := range a.Findings {
		row(w, fmt.Sprintf("    %s: %s", f.Severity, f.Text))
	}
	for _, what := range a.NotChecked {
		row(w, "    not checked: "+what)
	}
}

func chainVerdict(c verify.ChainResult) string {
	switch {
	case !c.Checked:
		return ""
	case c.Equal:
		return ", chain of events equal"
	}
	return ", CHAIN OF EVENTS NOT EQUAL"
}

// standsAt says where parts stand that were compared at different positions.
func standsAt(r *verify.Report) string {
	if len(r.Positions) == 1 {
		return fmt.Sprint(r.Seq)
	}
	return fmt.Sprintf("%d to %d, in %d parts at %d positions", r.Seq, r.Positions[len(r.Positions)-1].Seq, r.Parts, len(r.Positions))
}

func describeDifference(d rows.Difference) string {
	var key []string
	for _, k := range d.Key {
		key = append(key, k.Column+" "+k.Value)
	}
	out := strings.TrimSuffix(fmt.Sprintf("%s: tenant %s table %s %s", d.Fault, d.Tenant, d.Table, strings.Join(key, " ")), " ")
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
