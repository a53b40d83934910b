package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/refold-dev/refold/internal/backup"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/plane"
)

// backups measures a backup, its validation and a restore of the journal beside a plain copy of the same bytes. Bytes are
// those of all messages, before compression; the copy is given a file of them, which is in the page cache.
func (b *bench) backups(ctx context.Context) error {
	p, end, err := b.open(ctx, localstack.DurabilityRelaxed)
	if err != nil {
		return err
	}
	defer end()
	if err := b.fill(ctx, p, true); err != nil {
		return err
	}
	for round := range b.rounds {
		if err := b.backupRound(ctx, p, filepath.Join(b.dir, fmt.Sprint("backups", round))); err != nil {
			return err
		}
	}
	b.over("ratio.backup_over_plain_copy", "backup", "plain_copy")
	b.over("ratio.restore_over_plain_copy", "restore_journal", "plain_copy")
	b.over("ratio.validation_over_plain_copy", "backup_validation", "plain_copy")
	return nil
}

func (b *bench) backupRound(ctx context.Context, p *plane.Plane, dir string) (err error) {
	b.note("backup, validation, restore")
	r, err := p.Repository(filepath.Join(dir, "repository"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	create := func() (*backup.Entry, time.Duration, error) {
		if err := b.calm(ctx); err != nil {
			return nil, 0, err
		}
		started := time.Now()
		entry, err := p.CreateBackup(ctx, r, backup.CreateOptions{WithoutDigests: true})
		return entry, time.Since(started), err
	}
	entry, took, err := create()
	if err != nil {
		return err
	}
	raw := int64(0)
	for _, s := range entry.Shards {
		for _, g := range s.Segments {
			raw += g.RawBytes
		}
	}
	mb := func(took time.Duration) float64 { return float64(raw) / 1e6 / took.Seconds() }
	b.say("backup", mb(took), "MB/s")
	b.say("backup_compression", float64(raw)/float64(entry.Bytes()), "x")
	if _, took, err = create(); err != nil {
		return err
	}
	b.say("backup_with_nothing_new", float64(took.Milliseconds()), "ms")
	started := time.Now()
	v, err := r.Validate(ctx, entry.ID, backup.ValidateOptions{Level: 2})
	if err == nil && !v.Valid {
		err = fmt.Errorf("the backup is not valid: %+v", v.Findings)
	}
	if err != nil {
		return err
	}
	b.say("backup_validation", mb(time.Since(started)), "MB/s")
	if took, err = b.restoreJournal(ctx, r, entry, filepath.Join(dir, "nats")); err != nil {
		return err
	}
	b.say("restore_journal", mb(took), "MB/s")
	if took, err = b.plainCopy(ctx, p, entry, dir); err != nil {
		return err
	}
	b.say("plain_copy", mb(took), "MB/s")
	return nil
}

// restoreJournal restores into a server that syncs before it acknowledges, and reads everything back.
func (b *bench) restoreJournal(ctx context.Context, r *backup.Repository, entry *backup.Entry, dir string) (time.Duration, error) {
	server, err := localstack.StartNATS(ctx, localstack.NATSOptions{StoreDir: dir, Durability: localstack.DurabilityAlways})
	if err != nil {
		return 0, err
	}
	defer server.Stop()
	conn, err := server.Connect()
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if err := b.calm(ctx); err != nil {
		return 0, err
	}
	started := time.Now()
	restored, err := r.RestoreJournal(ctx, entry, nil, backup.JournalTarget{
		Begin: func(ctx context.Context, config journal.RestoreConfig) (*journal.Restoration, error) {
			return journal.BeginRestore(ctx, conn, config)
		},
	})
	if err == nil {
		err = restored.Finish(ctx)
	}
	return time.Since(started), err
}

// plainCopy copies a file of all messages to another, and syncs it.
func (b *bench) plainCopy(ctx context.Context, p *plane.Plane, entry *backup.Entry, dir string) (time.Duration, error) {
	from, err := os.Create(filepath.Join(dir, "messages"))
	if err != nil {
		return 0, err
	}
	defer func() { _ = from.Close() }()
	for _, s := range entry.Shards {
		err := p.Journal.ReadRaw(ctx, s.Shard, 0, uint64(s.Seq), func(m *journal.Raw) error {
			_, err := from.Write(append(append([]byte(m.Subject), m.Header...), m.Data...))
			return err
		})
		if err != nil {
			return 0, err
		}
	}
	if _, err := from.Seek(0, io.SeekStart); err != nil {
		return 0, err
	}
	to, err := os.Create(filepath.Join(dir, "copy"))
	if err != nil {
		return 0, err
	}
	defer func() { _ = to.Close() }()
	if err := b.calm(ctx); err != nil {
		return 0, err
	}
	started := time.Now()
	if _, err := io.Copy(to, from); err != nil {
		return 0, err
	}
	err = to.Sync()
	return time.Since(started), err
}
