package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"text/tabwriter"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/report"
	"github.com/refold-dev/refold/internal/verify"
	"github.com/spf13/cobra"
)

// repairFlags say what is to be refolded.
type repairFlags struct {
	edition int64
	last    bool
	report  string
	tenant  string
	entity  string
	ids     []string
	dryRun  bool
}

// repairView is what `refold repair` shows.
type repairView struct {
	Repairs      []*verify.Repaired `json:"repairs"`
	Verification []*verify.Report   `json:"verification"` // of the tenants that were touched
	Settled      []*verify.Settled  `json:"settled"`      // tenants whose kept digests were not those of their rows
}

func (c *cli) repair() *cobra.Command {
	var f repairFlags
	cmd := &cobra.Command{
		Use: "repair", Short: "Bring rows that differ back to the fold of the journal, and no others", Args: exactly(0),
		Long: `Refold the entities whose rows a verification found to differ, or those that are named, while writes go on. All their
rows are replaced in all tables, rows that no event explains included; each batch is read again and compared before it is
committed. An audit event in the journal says what was done. Then the tenants touched are verified again; exit code 3 if
something still differs.

A repair that was cut short is finished first, by whatever repair of the same edition comes next. It is refused while
journal and edition disagree about the past: what cannot be trusted, nothing is refolded from.

  refold repair --last                                          # what the newest verification has found
  refold repair --report report.json                            # what a report names
  refold repair --tenant acme --entity memory --id 857b6302-... # one entity`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(); err != nil {
				return err
			}
			return c.with(cmd.Context(), func(p *plane.Plane) error { return c.repairRows(cmd.Context(), p, f) })
		},
	}
	flags := cmd.Flags()
	flags.Int64Var(&f.edition, "edition", 0, "edition to repair; 0 = the live one, or that of the report")
	flags.BoolVar(&f.last, "last", false, "what the newest verification of the edition has found")
	flags.StringVar(&f.report, "report", "", "file with a report: signed, as `refold report show` prints it, or of `refold verify -o json`")
	flags.StringVar(&f.tenant, "tenant", "", "tenant of the entities")
	flags.StringVar(&f.entity, "entity", "", "kind of the entities, such as memory")
	flags.StringSliceVar(&f.ids, "id", nil, "id of an entity; may be repeated")
	flags.BoolVar(&f.dryRun, "dry-run", false, "count what would be changed, and change nothing")
	return cmd
}

func (f *repairFlags) check() error {
	ways := 0
	for _, given := range []bool{f.last, f.report != "", f.tenant != "" || f.entity != "" || len(f.ids) > 0} {
		if given {
			ways++
		}
	}
	if ways != 1 {
		return usageError{errors.New("say what to repair: --last, or --report FILE, or --tenant, --entity and --id")}
	}
	if !f.last && f.report == "" && (f.tenant == "" || f.entity == "" || len(f.ids) == 0) {
		return usageError{errors.New("an entity is named by --tenant, --entity and --id")}
	}
	return nil
}

func (c *cli) repairRows(ctx context.Context, p *plane.Plane, f repairFlags) error {
	targets, err := f.targets(ctx, p)
	if err != nil {
		return err
	}
	bar := c.progress()
	defer bar.end()
	for i := range targets {
		shard := targets[i].Shard.Number()
		targets[i].Progress = func(at verify.Progress) {
			bar.tell(fmt.Sprintf("%s shard %d", at.Phase, shard), int64(at.Done), int64(at.Total))
		}
	}
	view := repairView{Repairs: []*verify.Repaired{}, Verification: []*verify.Report{}, Settled: []*verify.Settled{}}
	var scope verify.Scope
	for _, target := range targets {
		done, err := p.Repair(ctx, target)
		view.Repairs = append(view.Repairs, done...)
		if errors.Is(err, verify.ErrNothingFound) {
			continue // another shard may have something
		}
		if err != nil {
			return err
		}
	}
	if len(view.Repairs) == 0 { // the newest verifications have found nothing, or none has looked: neither is a failure
		bar.end()
		return c.show(view, func(w *tabwriter.Writer) { row(w, "nothing to repair: "+verify.ErrNothingFound.Error()) })
	}
	for _, r := range view.Repairs {
		scope.Tenants = append(scope.Tenants, r.Tenants...)
	}
	if len(scope.Tenants) >= verify.TenantsMax {
		scope.Tenants = nil // too many to be named: verify all
	}
	if !f.dryRun {
		if view.Verification, err = verifyAll(ctx, p, targets[0].Edition, verify.Config{Scope: scope}, bar); err != nil {
			return err
		}
	}
	if !f.dryRun && !slices.ContainsFunc(view.Verification, func(r *verify.Report) bool { return !r.Clean }) {
		if view.Settled, err = p.SettleKept(ctx, targets[0].Edition, scope.Tenants); err != nil {
			return err
		}
	}
	bar.end()
	if err := c.show(view, func(w *tabwriter.Writer) { repairTable(w, view) }); err != nil {
		return err
	}
	for _, r := range view.Verification {
		if !r.Clean {
			return errMismatch
		}
	}
	return nil
}

// targets are the repairs that the flags ask for, one for each shard.
func (f *repairFlags) targets(ctx context.Context, p *plane.Plane) ([]verify.RepairConfig, error) {
	base := verify.RepairConfig{Edition: f.edition, Actor: operator(), DryRun: f.dryRun}
	var out []verify.RepairConfig
	switch {
	case f.report != "":
		return f.reported(p, base)
	case f.last:
		for _, shard := range p.Journal.Shards {
			one := base
			one.Shard = shard
			out = append(out, one)
		}
	default:
		shard, err := p.ShardOf(ctx, f.tenant)
		if err != nil {
			return nil, err
		}
		base.Shard = p.Journal.Shard(shard)
		for _, id := range f.ids {
			base.Entities = append(base.Entities, envelope.Key{Tenant: f.tenant, Entity: f.entity, ID: id})
		}
		out = append(out, base)
	}
	for i := range out {
		if out[i].Edition == 0 {
			live, ok := p.Live.Edition(out[i].Shard.Number(), "")
			if !ok {
				return nil, plane.ErrNothingLive
			}
			out[i].Edition = live
		}
	}
	return out, nil
}

// reported reads a file of reports. One without a signature may be wrong, but makes nothing wrong: whatever it names is
// only refolded from the journal.
func (f *repairFlags) reported(p *plane.Plane, base verify.RepairConfig) ([]verify.RepairConfig, error) {
	body, err := os.ReadFile(f.report)
	if err != nil {
		return nil, err
	}
	reports, digest, err := readReports(p, body)
	if err != nil {
		return nil, fmt.Errorf("report %s: %w", f.report, err)
	}
	var out []verify.RepairConfig
	for _, r := range reports {
		if r.Clean || f.edition != 0 && r.Edition != f.edition {
			continue
		}
		if r.Shard < 0 || r.Shard >= len(p.Journal.Shards) {
			return nil, fmt.Errorf("report %s: there is no shard %d", f.report, r.Shard)
		}
		one := base
		one.Shard, one.Edition, one.Report, one.ReportDigest = p.Journal.Shard(r.Shard), r.Edition, r, digest
		out = append(out, one)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("report %s: it names nothing to repair", f.report)
	}
	for _, one := range out {
		if one.Edition != out[0].Edition {
			return nil, fmt.Errorf("report %s: it is of several editions: choose one by --edition", f.report)
		}
	}
	return out, nil
}

func readReports(p *plane.Plane, body []byte) ([]*verify.Report, string, error) {
	if signed, err := report.Check(body, p.Reports.Signer.Public()); err == nil {
		var reports []*verify.Report
		err := signed.Read(&reports)
		return reports, signed.Digest(), err
	} else if !errors.Is(err, report.ErrMalformed) {
		return nil, "", err
	}
	sum := sha256.Sum256(body)
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	var reports []*verify.Report
	if err := d.Decode(&reports); err != nil {
		return nil, "", fmt.Errorf("neither a signed report nor what `refold verify -o json` prints: %w", err)
	}
	return reports, hex.EncodeToString(sum[:]), nil
}

func repairTable(w *tabwriter.Writer, view repairView) {
	for _, r := range view.Repairs {
		did := "repaired"
		switch {
		case r.DryRun:
			did = "would be repaired"
		case r.Resumed:
			did = "repaired, by a repair that was cut short before"
		}
		row(w, fmt.Sprintf("edition %d shard %d: %d entities %s up to sequence %d", r.Edition, r.Shard, r.Entities, did, r.Seq))
		for _, t := range r.Tables {
			row(w, "  "+t.Table, fmt.Sprintf("%d inserted", t.Inserted), fmt.Sprintf("%d updated", t.Updated), fmt.Sprintf("%d deleted", t.Deleted))
		}
		if r.AuditedSeq > 0 {
			row(w, fmt.Sprintf("  audit event at sequence %d", r.AuditedSeq))
		}
	}
	for _, s := range view.Settled {
		if s.Corrected {
			row(w, fmt.Sprintf("tenant %s: its kept digests were not those of its rows, which are proven; corrected", s.Tenant))
		}
	}
	reportTable(w, view.Verification)
}
