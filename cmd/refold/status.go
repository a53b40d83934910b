package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/verify"
	"github.com/spf13/cobra"
)

func (c *cli) status() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show stores, shards, editions and everything that is wrong; exit code 3 if rows were found damaged or the database is not safe", Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, end, err := c.open(cmd.Context())
			if err != nil {
				return c.unopenedStatus(cmd.Context(), err)
			}
			return errors.Join(c.showStatus(p.Status(cmd.Context())), end())
		},
	}
}

func (c *cli) showStatus(s *plane.Status) error {
	if err := c.show(s, func(w *tabwriter.Writer) { statusTable(w, s) }); err != nil {
		return err
	}
	if s.Damaged() {
		return errMismatch
	}
	return nil
}

// unopenedStatus shows what there is of a plane that does not open, and ends with the reason why it does not.
func (c *cli) unopenedStatus(ctx context.Context, unopened error) error {
	if errors.Is(unopened, localstack.ErrNotRunning) {
		return unopened
	}
	p, err := plane.Inspect(ctx, c.config)
	if err != nil {
		return unopened
	}
	s := p.Status(ctx)
	if s.Ready = false; len(s.Faults) == 0 {
		s.Faults = append(s.Faults, unopened.Error())
	}
	return errors.Join(unopened, c.showStatus(s), p.Close())
}

func statusTable(w *tabwriter.Writer, s *plane.Status) {
	row(w, "ready", s.Ready)
	row(w, "reads", s.Readiness.Reads)
	row(w, "commands", s.Readiness.Commands)
	for _, fault := range s.Faults {
		row(w, "FAULT", fault)
	}
	row(w, "postgres", s.Postgres)
	row(w, "journal", fmt.Sprintf("%s, durability %s", s.JournalID, s.Durability))
	row(w, "journal budget", s.Budget.Text())
	row(w, "shape", s.Shape)
	if m := s.Memory; m.Resident > 0 {
		limit := "not known"
		if m.Limit > 0 && m.Limit < math.MaxInt64 {
			limit = fmt.Sprintf("%d MiB", m.Limit>>20)
		}
		row(w, "memory", fmt.Sprintf("process %d: %d MiB, %d MiB at most so far; limit %s", m.PID, m.Resident>>20, m.Peak>>20, limit))
	}
	if a := s.Accesses; a != nil {
		row(w, "access log", fmt.Sprintf("%d batches waiting, %d of %d KiB on their way; not proven, not in backups", a.Waiting, a.Bytes>>10, a.BytesMax>>10))
	}
	for _, note := range s.Notes {
		row(w, "note", note)
	}
	row(w)
	row(w, "SHARD", "EVENTS", "MIB", "OF MIB", "READERS", "LIVE EDITION", "CHECKPOINT", "LAG", "STOPPED")
	for _, h := range s.Shards {
		row(w, h.Shard, h.Events, h.Bytes>>20, h.BytesMax>>20, h.Consumers, h.Live, h.Seq, h.Lag, h.Stopped)
	}
	row(w)
	editionTable(w, s.Editions)
	scrubTable(w, s.Scrubbed)
	copyTable(w, s.Copies)
	if len(s.Replicas) == 0 {
		return
	}
	row(w)
	row(w, "PROCESS", "READY", "ANSWERS FROM", "SINCE", "SHAPE")
	for _, r := range s.Replicas {
		row(w, r.ID, r.Ready, fmt.Sprint(r.Editions), r.Started.Format(time.RFC3339), r.Shape)
	}
}

// scrubTable shows what is proven of the rows, all the time and without a replay.
func scrubTable(w *tabwriter.Writer, all []verify.ScrubState) {
	row(w)
	row(w, "EDITION", "DIGESTS", "TENANTS", "NEVER PROVEN", "DAMAGED", "OLDEST PROOF")
	for _, e := range all {
		oldest := ""
		if i := slices.IndexFunc(e.Oldest, func(p verify.ScrubProof) bool { return p.At != nil }); i >= 0 {
			oldest = fmt.Sprintf("%s ago: tenant %s", time.Since(*e.Oldest[i].At).Round(time.Second), e.Oldest[i].Tenant)
		}
		row(w, e.Edition, e.Digests, e.Tenants, e.Never, len(e.Damaged), oldest)
	}
}

// copyTable shows the replicas of a replicated journal.
func copyTable(w *tabwriter.Writer, all []plane.CopyStatus) {
	if len(all) == 0 {
		return
	}
	row(w)
	row(w, "SHARD", "COPY ON", "ROLE", "NATS SAYS", "STATE", "FIRST BAD", "WHOLE UP TO", "READ WHOLE")
	for _, c := range all {
		role, says, bad, at := "follower", "current", "", "never"
		if c.Leader {
			role = "leader"
		}
		switch {
		case c.Offline:
			says = "offline"
		case !c.Current:
			says = fmt.Sprintf("%d behind", c.Lag)
		}
		if c.FirstBad > 0 {
			bad = fmt.Sprint(c.FirstBad)
		}
		if c.WholeAt != nil {
			at = fmt.Sprintf("%s ago", time.Since(*c.WholeAt).Round(time.Second))
		}
		row(w, c.Shard, c.Server, role, says, cmp.Or(c.State, "not read yet"), bad, c.WholeSeq, at)
	}
}
