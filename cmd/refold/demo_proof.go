package main

import (
	"context"
	"fmt"
	"path/filepath"
	"text/tabwriter"

	"github.com/refold-dev/refold/internal/backup"
	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/verify"
)

// mend loses a row, finds it by its digest alone, and repairs just that one.
func (s *story) mend(ctx context.Context) error {
	s.title("5. Find and repair one row; back up, and prove the backup by restoring it")
	id, _, err := s.add(ctx, s.blue, "row-to-lose")
	if err != nil {
		return err
	}
	if err := s.plane.Editions.CatchUp(ctx, s.edition, nil); err != nil {
		return err
	}
	pool, err := s.plane.DB.Owner(ctx)
	if err != nil {
		return err
	}
	statement := fmt.Sprintf("DELETE FROM %s.memory WHERE tenant_id = '%s' AND id = '%s'", postgres.SchemaName(s.edition), s.blue.ID, id)
	tag, err := pool.Exec(ctx, statement)
	if err != nil || tag.RowsAffected() != 1 {
		return fmt.Errorf("lose a row: %d rows: %w", tag.RowsAffected(), err)
	}
	s.say("%s", statement)
	quick, err := verify.Quick(ctx, verify.QuickConfig{DB: s.plane.DB, Edition: s.edition})
	if err != nil {
		return err
	}
	if quick.Total != 1 || quick.Differences[0].Tenant != s.blue.ID || quick.Differences[0].Table != "memory" {
		return fmt.Errorf("the loss was not found by its digest: %+v", quick.Differences)
	}
	s.say("verify --quick, without a replay: %s", describeQuick(quick.Differences[0]))
	report, err := s.prove(ctx, s.edition)
	if err != nil {
		return err
	}
	repaired, err := s.plane.Repair(ctx, verify.RepairConfig{Shard: s.plane.Journal.Shard(s.blue.Shard), Edition: s.edition, Actor: demoSubject, Report: report})
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(s.stdout, 0, 4, 2, ' ', 0)
	row(w, "   repair")
	repairTable(w, repairView{Repairs: repaired})
	if err := w.Flush(); err != nil {
		return err
	}
	if report, err = s.prove(ctx, s.edition); err != nil {
		return err
	}
	if !report.Clean {
		return errMismatch
	}
	return s.backUp(ctx)
}

// backUp makes a backup and restores it into stores of its own, which are removed again.
func (s *story) backUp(ctx context.Context) error {
	repository, err := s.plane.Repository(filepath.Join(s.config.DataDir, "backups"))
	if err != nil {
		return err
	}
	bar := s.progress()
	defer bar.end()
	entry, err := s.plane.CreateBackup(ctx, repository, backup.CreateOptions{Progress: bar.stepped})
	if err != nil {
		return err
	}
	v, err := s.plane.ValidateBackup(ctx, repository, entry.ID, backup.LevelMax, openTenant, bar.stepped)
	bar.end()
	if err != nil {
		return err
	}
	s.say("backup %s: %d events", entry.ID, entry.Events())
	for _, level := range v.Levels {
		s.say("level %d: %s", level.Level, level.Proved)
	}
	if !v.Valid {
		return errInvalidBackup
	}
	return nil
}
