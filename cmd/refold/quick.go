package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/verify"
	"github.com/spf13/cobra"
)

// quickOptions restrict a quick verification.
type quickOptions struct {
	tenants, tables []string
	readers         int
}

func (o *quickOptions) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringSliceVar(&o.tenants, "tenant", nil, "only these tenants")
	f.StringSliceVar(&o.tables, "table", nil, "only these tables")
	f.IntVar(&o.readers, "readers", 0, "connections that read at a time; 0 = one more than processors")
}

// verifyQuick holds the rows of an edition (0 = whatever is live) against the digests that are kept of them.
func (c *cli) verifyQuick(ctx context.Context, p *plane.Plane, number int64, o quickOptions) error {
	numbers, err := liveOr(p, number)
	if err != nil {
		return err
	}
	var reports []*verify.QuickReport
	bar := c.progress()
	for _, of := range numbers {
		config, end := c.quickConfig(ctx, p, of, o, bar)
		report, err := p.VerifyQuick(ctx, config)
		end()
		if err != nil {
			bar.end()
			return err
		}
		reports = append(reports, report)
	}
	bar.end()
	if err := c.show(reports, func(w *tabwriter.Writer) { quickTable(w, reports) }); err != nil {
		return err
	}
	if slices.ContainsFunc(reports, func(r *verify.QuickReport) bool { return !r.Clean }) {
		return errMismatch
	}
	return nil
}

func (c *cli) quickConfig(ctx context.Context, p *plane.Plane, number int64, o quickOptions, bar *progress) (config verify.QuickConfig, end func()) {
	pause, end := p.Editions.MakeWay(ctx)
	return verify.QuickConfig{
		DB: p.DB, Edition: number, Tenants: o.tenants, Tables: o.tables, Readers: o.readers, MemoryBytes: p.MemoryBytes, Pause: pause,
		Progress: func(at verify.QuickProgress) { bar.tell("read table "+at.Table, at.Done, at.Total) },
	}, end
}

// liveOr returns the editions that shards answer from, unless one is named.
func liveOr(p *plane.Plane, number int64) ([]int64, error) {
	if number != 0 {
		return []int64{number}, nil
	}
	var out []int64
	for _, shard := range p.Journal.Shards {
		of, ok := p.Live.Edition(shard.Number(), "")
		if !ok {
			return nil, errors.New("no edition is live")
		}
		if !slices.Contains(out, of) {
			out = append(out, of)
		}
	}
	return out, nil
}

func quickTable(w *tabwriter.Writer, reports []*verify.QuickReport) {
	for _, r := range reports {
		verdict := "clean: every row is one that was written"
		if !r.Clean {
			verdict = fmt.Sprintf("NOT CLEAN: %d differences", r.Total)
			if r.Total == 0 {
				verdict = "NOT CLEAN: every row is one that was written, but the database is not as refold makes it"
			}
		}
		row(w, fmt.Sprintf("edition %d at %s: %s (%d rows, %d tenants, %s)", r.Edition, positions(r.Positions), verdict, r.Rows, len(r.Tenants),
			time.Duration(r.DurationMs)*time.Millisecond))
		for _, d := range r.Differences {
			row(w, "  "+describeQuick(d))
		}
		for _, d := range r.Control {
			row(w, "  "+describeDifference(d))
		}
		schemaRows(w, r.Schema)
		if r.SchemaNotChecked != "" {
			row(w, "  not checked: "+r.SchemaNotChecked)
		}
		row(w, "  proves that "+r.Proves)
		row(w, "  does not prove "+r.ProvesNot)
		if len(r.OnlyTenants) > 0 {
			row(w, "  only of tenants "+strings.Join(r.OnlyTenants, ", "))
		}
		if len(r.TablesNotChecked) > 0 {
			row(w, "  not checked: tables "+strings.Join(r.TablesNotChecked, ", "))
		}
	}
}

func positions(all []verify.Position) string {
	var out []string
	for _, p := range all {
		out = append(out, fmt.Sprintf("shard %d sequence %d", p.Shard, p.Seq))
	}
	return strings.Join(out, ", ")
}

func describeQuick(d verify.QuickDifference) string {
	switch d.Fault {
	case verify.EventsDiffer:
		return fmt.Sprintf("shard %d: %d events were counted by tenant, the position is %d", d.Shard, d.Kept, d.Found)
	case verify.DigestMalformed:
		return fmt.Sprintf("tenant %s: its kept digests do not decode", d.Tenant)
	case verify.TenantUnknown:
		return fmt.Sprintf("tenant %s table %s: %d rows of a tenant of which no event was applied", d.Tenant, d.Table, d.Found)
	case verify.DigestMissing:
		return fmt.Sprintf("tenant %s table %s: %d rows, none were written", d.Tenant, d.Table, d.Found)
	case verify.DigestDiffers:
	}
	return fmt.Sprintf("tenant %s table %s: the %d rows there are not the %d that were written", d.Tenant, d.Table, d.Found, d.Kept)
}

func (c *cli) digests() *cobra.Command {
	var number int64
	var o quickOptions
	cmd := &cobra.Command{
		Use: "digests", Short: "Write down what an edition holds, by tenant and table, to be compared elsewhere", Args: exactly(0),
		Long: "Write down what an edition holds: its position, and for each tenant and table the count of rows, an LtHash16 digest of the\n" +
			"rows that are there, and the digest that was kept while they were written. `refold -o json digests > a.json` makes a file\n" +
			"for `refold digests compare`.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.with(cmd.Context(), func(p *plane.Plane) error {
				numbers, err := liveOr(p, number)
				if err != nil {
					return err
				}
				if len(numbers) > 1 {
					return usageError{fmt.Errorf("shards answer from the editions %v: give --edition", numbers)}
				}
				d, err := c.scanDigests(cmd.Context(), p, numbers[0], o)
				if err != nil {
					return err
				}
				return c.show(d, func(w *tabwriter.Writer) { digestsTable(w, d) })
			})
		},
	}
	cmd.Flags().Int64Var(&number, "edition", 0, "edition to read; 0 = the live one")
	o.flags(cmd)
	cmd.AddCommand(c.compareDigests())
	return cmd
}

func (c *cli) scanDigests(ctx context.Context, p *plane.Plane, number int64, o quickOptions) (*verify.Digests, error) {
	bar := c.progress()
	defer bar.end()
	config, end := c.quickConfig(ctx, p, number, o, bar)
	defer end()
	return verify.Scan(ctx, config)
}

func digestsTable(w *tabwriter.Writer, d *verify.Digests) {
	row(w, fmt.Sprintf("edition %d at %s", d.Edition, positions(d.Positions)))
	row(w, "TENANT", "EVENTS", "TABLE", "ROWS", "LTHASH", "KEPT")
	for _, t := range d.Tenants {
		for _, of := range t.Tables {
			n := int64(0)
			if of.Rows != nil {
				n = *of.Rows
			}
			row(w, t.Tenant, t.Events, of.Table, n, of.LtHash, of.Kept)
		}
	}
}

func (c *cli) compareDigests() *cobra.Command {
	return &cobra.Command{
		Use: "compare A B", Short: "Compare two files of digests, or editions by their numbers; exit code 3 if rows differ", Args: exactly(2),
		Long: "Compare what two editions hold by their digests alone: A and B are files that `refold -o json digests` has written, here or on\n" +
			"another plane, or numbers of editions of this plane. Tenants that are not at the same position cannot be compared, and\n" +
			"neither can tables of another form: they are listed, and the exit code is 6 when there is no difference but them.",
		RunE: func(cmd *cobra.Command, args []string) error {
			var both [2]*verify.Digests
			for i, arg := range args {
				if number, err := strconv.ParseInt(arg, 10, 64); err == nil {
					err := c.with(cmd.Context(), func(p *plane.Plane) (err error) {
						both[i], err = c.scanDigests(cmd.Context(), p, number, quickOptions{})
						return err
					})
					if err != nil {
						return err
					}
					continue
				}
				d, err := readDigests(arg)
				if err != nil {
					return err
				}
				both[i] = d
			}
			result := verify.CompareDigests(both[0], both[1])
			if err := c.show(result, func(w *tabwriter.Writer) { comparisonTable(w, result) }); err != nil {
				return err
			}
			switch {
			case result.Different > 0:
				return errMismatch
			case !result.Equal:
				return verify.ErrNotComparable
			}
			return nil
		},
	}
}

func readDigests(name string) (*verify.Digests, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, usageError{err}
	}
	body, err := io.ReadAll(io.LimitReader(file, verify.DigestsBytesMax+1))
	if err := errors.Join(err, file.Close()); err != nil {
		return nil, err
	}
	d, err := verify.ParseDigests(body)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return d, nil
}

func comparisonTable(w *tabwriter.Writer, r *verify.DigestComparison) {
	verdict := "equal: both hold the same rows"
	switch {
	case r.Different > 0:
		verdict = fmt.Sprintf("DIFFERENT: %d tables of tenants", r.Different)
	case !r.Equal:
		verdict = "not comparable in full"
	}
	row(w, fmt.Sprintf("%s (%d tables of tenants equal, %d different, %d tenants not comparable)", verdict, r.Same, r.Different, r.NotComparable))
	for _, t := range r.Tenants {
		if t.Why != "" {
			row(w, fmt.Sprintf("  tenant %s: not comparable: %s", t.Tenant, t.Why))
		}
		for _, of := range t.Tables {
			if of.Verdict != verify.DigestsEqual {
				row(w, fmt.Sprintf("  tenant %s table %s: %s: %s", t.Tenant, of.Table, of.Verdict, of.Why))
			}
		}
	}
	for _, t := range r.TablesNotCompared {
		row(w, "  not compared: table "+t.Table+": "+t.Why)
	}
}
