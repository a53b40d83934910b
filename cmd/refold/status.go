package main

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/refold-dev/refold/internal/plane"
	"github.com/spf13/cobra"
)

func (c *cli) status() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show stores, shards, editions and everything that is wrong", Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.with(cmd.Context(), func(p *plane.Plane) error {
				s, err := p.Status(cmd.Context())
				if err != nil {
					return err
				}
				return c.show(s, func(w *tabwriter.Writer) { statusTable(w, s) })
			})
		},
	}
}

func statusTable(w *tabwriter.Writer, s *plane.Status) {
	row(w, "ready", s.Ready)
	for _, fault := range s.Faults {
		row(w, "FAULT", fault)
	}
	row(w, "postgres", s.Postgres)
	row(w, "journal", fmt.Sprintf("%s, durability %s", s.JournalID, s.Durability))
	row(w, "shape", s.Shape)
	for _, note := range s.Notes {
		row(w, "note", note)
	}
	row(w)
	row(w, "SHARD", "EVENTS", "MIB", "OF MIB", "LIVE EDITION", "CHECKPOINT", "LAG", "STOPPED")
	for _, h := range s.Shards {
		row(w, h.Shard, h.Events, h.Bytes>>20, h.BytesMax>>20, h.Live, h.Seq, h.Lag, h.Stopped)
	}
	row(w)
	editionTable(w, s.Editions)
	if len(s.Replicas) == 0 {
		return
	}
	row(w)
	row(w, "PROCESS", "READY", "ANSWERS FROM", "SINCE", "SHAPE")
	for _, r := range s.Replicas {
		row(w, r.ID, r.Ready, fmt.Sprint(r.Editions), r.Started.Format(time.RFC3339), r.Shape)
	}
}
