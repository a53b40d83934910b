package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/reconcile"
	"github.com/spf13/cobra"
)

// reconciling is what the command line says.
type reconciling struct {
	lost, key  string
	heads      []string
	hash       string
	apply      bool
	raise      bool
	notRebuild bool
	options    plane.ReconcileOptions
}

func (c *cli) reconcile() *cobra.Command {
	r := &reconciling{}
	cmd := &cobra.Command{
		Use: "reconcile", Short: "After a restore of NATS or Postgres: say what fits, name lost commands, and go on (--apply)", Args: exactly(0),
		Long: "After NATS, Postgres or both were restored to another point: say what fits together and what does not.\n\n" +
			"Without flags nothing is changed: the journal is read once and held against every edition, its ledger, the tenants\n" +
			"and the signed heads that were kept. Commands whose events the journal no longer holds are named (--lost FILE, one\n" +
			"line of JSON each); their producers can repeat them with the same ids. Exit code 3 when there is something to do.\n\n" +
			"With --apply, what the finding says is done: the incarnation of the journal is raised, so that positions handed out\n" +
			"before mean nothing any more; editions that the journal continues go on; the others are given up. They answer\n" +
			"readers, and their shards take no commands, until a new edition is built from the journal, verified in full and live,\n" +
			"which this command does as well. End `refold serve` first. It may be interrupted and repeated at any point.\n\n" +
			"Where the journal continues every checkpoint again and a stop state is all that is left, --apply takes that off and\n" +
			"does nothing else: then processes may go on, and follow within seconds.\n\n" +
			"A journal that is gone, another one, or has holes cannot be gone on with: restore a backup of it.",
		RunE: func(cmd *cobra.Command, _ []string) error { return c.runReconcile(cmd.Context(), cmd.InOrStdin(), r) },
	}
	f := cmd.Flags()
	f.StringVar(&r.lost, "lost", "", "write the lost commands to this file, one line of JSON each")
	f.StringArrayVar(&r.heads, "head", nil, "signed head of the journal that was kept elsewhere; may be repeated")
	f.StringVar(&r.key, "key", "", "file with further public keys that signed heads, when the plane's own was replaced")
	f.BoolVar(&r.apply, "apply", false, "do what the finding says")
	f.StringVar(&r.hash, "finding", "", "the hash of the finding that is to be applied; asked for on a terminal")
	f.BoolVar(&r.raise, "raise", false, "raise the incarnation although nothing is known to be lost: the journal is older than what was acknowledged")
	f.BoolVar(&r.notRebuild, "no-rebuild", false, "leave building, verifying and cutting over to `refold edition`")
	return cmd
}

func (c *cli) runReconcile(ctx context.Context, stdin io.Reader, r *reconciling) (err error) {
	if err := r.settle(); err != nil {
		return err
	}
	p, err := plane.Examine(ctx, c.existing())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	bar := c.progress()
	r.options.Progress = func(shard int, done, total uint64) {
		bar.tell(fmt.Sprintf("read shard %d", shard), int64(done), int64(total))
	}
	found, err := p.Reconcile(ctx, r.options)
	bar.end()
	if err != nil {
		return err
	}
	if r.lost != "" {
		if err := writeLost(r.lost, found); err != nil {
			return err
		}
	}
	if !r.apply {
		err := c.show(found, func(w *tabwriter.Writer) { findingTable(w, found) })
		if err == nil && found.Verdict != reconcile.Fine {
			err = errMismatch
		}
		return err
	}
	if r.hash == "" {
		if r.hash, err = c.confirm(stdin, found); err != nil {
			return err
		}
	}
	return c.applyReconcile(ctx, p, r)
}

func (r *reconciling) settle() error {
	if r.hash != "" && !r.apply {
		return usageError{errors.New("--finding is for --apply")}
	}
	for _, name := range r.heads {
		document, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		r.options.Heads = append(r.options.Heads, document)
	}
	r.options.Raise = r.raise
	if r.key == "" {
		return nil
	}
	var err error
	r.options.Keys, err = readKeys(r.key)
	return err
}

// confirm shows the finding on a terminal and asks for the beginning of its hash.
func (c *cli) confirm(stdin io.Reader, found *reconcile.Finding) (string, error) {
	in, isFile := stdin.(*os.File)
	if !isFile || !terminal(in) {
		return "", usageError{fmt.Errorf("--apply needs --finding HASH where nobody can be asked; `refold reconcile` shows it: %s", found.Hash)}
	}
	w := tabwriter.NewWriter(c.stderr, 0, 4, 2, ' ', 0)
	findingTable(w, found)
	if err := w.Flush(); err != nil {
		return "", err
	}
	fmt.Fprintf(c.stderr, "\nTo apply this, type the first eight characters of its hash: ")
	answer, err := bufio.NewReader(in).ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("no answer: %w", err)
	}
	if strings.TrimSpace(answer) != found.Hash[:8] {
		return "", fmt.Errorf("%w: %q was typed", reconcile.ErrChanged, strings.TrimSpace(answer))
	}
	return found.Hash, nil
}

// reconciledView is what an apply prints.
type reconciledView struct {
	*reconcile.Applied
	Rebuilt int64 `json:"rebuilt"` // the new live edition; 0 = none was needed, or none was made
}

func (c *cli) applyReconcile(ctx context.Context, p *plane.Plane, r *reconciling) error {
	bar := c.progress()
	r.options.Progress = func(shard int, done, total uint64) {
		bar.tell(fmt.Sprintf("read shard %d once more", shard), int64(done), int64(total))
	}
	applied, err := p.ApplyReconciliation(ctx, r.options, r.hash)
	bar.end()
	if err != nil {
		return err
	}
	view := reconciledView{Applied: applied}
	if !r.notRebuild && !applied.Finding.Beside {
		if view.Rebuilt, err = c.rebuild(ctx, p); err != nil {
			return fmt.Errorf("reconciled, but the new edition is not live yet; repeat the command: %w", err)
		}
	}
	return c.show(view, func(w *tabwriter.Writer) { appliedTable(w, view) })
}

// rebuild keeps projectors going while it makes a new edition live.
func (c *cli) rebuild(ctx context.Context, p *plane.Plane) (number int64, err error) {
	running, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- p.Run(running) }()
	defer func() { stop(); err = errors.Join(err, <-done) }()
	bar := c.progress()
	defer bar.end()
	return p.Rebuild(ctx, bar.build)
}

func appliedTable(w *tabwriter.Writer, v reconciledView) {
	f := v.Finding
	switch {
	case f.Beside:
		row(w, fmt.Sprintf("%d stop states are taken off: projectors go on within seconds", v.Adopted))
	case f.Verdict == reconcile.Needed:
		row(w, fmt.Sprintf("incarnation %d; checkpoints that go on: %d, given up: %d; builds aborted: %d; tenants put right: %d",
			f.Target, v.Adopted, v.GivenUp, len(v.Aborted), v.Tenants))
	default:
		row(w, "there was nothing to reconcile")
	}
	if v.Rebuilt != 0 {
		row(w, fmt.Sprintf("edition %d was built from the journal, is verified and live", v.Rebuilt))
	}
	if n := len(f.Lost()); n > 0 {
		row(w, fmt.Sprintf("%d commands are lost: `refold reconcile --lost FILE` lists them until the editions that were given up are retired", n))
	}
}

func writeLost(name string, f *reconcile.Finding) error {
	var body bytes.Buffer
	for _, l := range f.Lost() {
		body.Write(l.LostLine())
	}
	if err := os.WriteFile(name, body.Bytes(), 0o600); err != nil {
		return fmt.Errorf("write the lost commands: %w", err)
	}
	return nil
}

var verdicts = map[reconcile.Verdict]string{
	reconcile.Fine:    "nothing to reconcile: the plane goes on by itself",
	reconcile.Needed:  "to be reconciled: `refold reconcile --apply`",
	reconcile.Rebuild: "reconciled, but a live edition was given up: `refold reconcile --apply` makes a new one live",
	reconcile.Restore: "the journal cannot be gone on with: restore a backup of it",
}

// lostShown bounds the lost commands in the table; the file has all of them.
const lostShown = 20

func findingTable(w *tabwriter.Writer, f *reconcile.Finding) {
	row(w, verdicts[f.Verdict])
	row(w, fmt.Sprintf("journal %s, incarnation %d, after an apply %d", f.JournalID, f.Incarnation, f.Target))
	if f.Beside {
		row(w, "the journal continues every checkpoint: an apply takes the stop states off, beside running processes")
	}
	if f.Resumes {
		row(w, "an apply was cut short: repeat it")
	}
	for _, reason := range f.Reasons {
		row(w, "because", reason)
	}
	for _, note := range f.Notes {
		row(w, "note", note)
	}
	row(w)
	row(w, "SHARD", "EDITION", "", "STATE", "CHECKPOINT", "JOURNAL ENDS", "AGREED UP TO", "NAMED FROM", "STOPPED", "IT")
	for _, s := range f.Shards {
		for _, e := range s.Editions {
			live := ""
			if e.Live {
				live = "LIVE"
			}
			row(w, s.Shard, e.Edition, live, e.State, e.Seq, s.LastSeq, e.CommonSeq, e.LedgerFrom, e.Stopped, e.Action)
		}
		if len(s.Editions) == 0 {
			row(w, s.Shard, "-", "", "", 0, s.LastSeq, 0, 0, "", "")
		}
	}
	for _, s := range f.Shards {
		shardLines(w, s)
	}
	for _, t := range f.Tenants {
		row(w, fmt.Sprintf("tenant %s of shard %d: %s", t.Tenant, t.Shard, t.State))
	}
	for _, b := range f.Builds {
		row(w, fmt.Sprintf("edition %d is being built: %s %s", b.Edition, b.Action, b.Detail))
	}
	for i, l := range f.Lost() {
		if i == lostShown {
			row(w, fmt.Sprintf("and %d more lost commands; all of them with --lost FILE", len(f.Lost())-i))
			break
		}
		row(w, fmt.Sprintf("lost: shard %d sequence %d: %s %s/%s version %d, command %s", l.Shard, l.Seq, l.Tenant, l.Entity, l.ID, l.Version, l.CommandID))
	}
	row(w)
	row(w, "hash of this finding:", f.Hash)
}

func shardLines(w *tabwriter.Writer, s reconcile.ShardFinding) {
	if s.Lost+s.Again > 0 {
		row(w, fmt.Sprintf("shard %d: %d commands are lost, %d more were repeated since", s.Shard, s.Lost, s.Again))
	}
	for _, r := range s.Unnamed {
		sure := "may be lost"
		if r.Sure {
			sure = "are lost"
		}
		row(w, fmt.Sprintf("shard %d: sequences %d to %d %s, and no ledger names their commands", s.Shard, r.From, r.To, sure))
	}
	for _, h := range s.Heads {
		row(w, fmt.Sprintf("shard %d: head at %d: %s", s.Shard, h.Seq, h.State))
	}
}
