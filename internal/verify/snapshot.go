package verify

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/postgres/db"
)

// sharedSnapshot is one instant of the database, over several connections: a checkpoint and the rows that belong to it.
type sharedSnapshot struct {
	cp    db.ControlCheckpoint
	txs   []pgx.Tx // at least one
	name  string   // for others to join it
	taken time.Time
}

// takeSnapshot opens a snapshot on the primary, over so many connections.
func takeSnapshot(ctx context.Context, d *postgres.DB, edition int64, shard journal.Shard, readers int) (*sharedSnapshot, error) {
	s := &sharedSnapshot{taken: time.Now()}
	if err := s.open(ctx, d, edition, shard, readers); err != nil {
		s.close(ctx)
		return nil, fmt.Errorf("open the snapshot: %w", err)
	}
	return s, nil
}

func (s *sharedSnapshot) open(ctx context.Context, d *postgres.DB, edition int64, shard journal.Shard, readers int) error {
	if err := s.begin(ctx, d, edition); err != nil {
		return err
	}
	if s.name == "" {
		if err := s.txs[0].QueryRow(ctx, "SELECT pg_export_snapshot()").Scan(&s.name); err != nil {
			return err
		}
	}
	for len(s.txs) < readers {
		if err := s.begin(ctx, d, edition); err != nil {
			return err
		}
	}
	var err error
	if s.cp, err = db.New(s.txs[0]).CheckpointGet(ctx, db.CheckpointGetParams{Edition: edition, Shard: int32(shard.Number())}); err != nil {
		return fmt.Errorf("checkpoint: %w (has the edition been built?)", err)
	}
	return nil
}

// begin adds a connection.
func (s *sharedSnapshot) begin(ctx context.Context, d *postgres.DB, edition int64) error {
	pool, err := d.Verifier(ctx, edition)
	if err != nil {
		return err
	}
	tx, err := pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return err
	}
	s.txs = append(s.txs, tx)
	if s.name != "" {
		// The name is Postgres' own; it takes no parameter here.
		if _, err := tx.Exec(ctx, "SET TRANSACTION SNAPSHOT '"+s.name+"'"); err != nil {
			return err
		}
	}
	return nil
}

// join opens the same instant for another edition. s must stay open meanwhile.
func (s *sharedSnapshot) join(ctx context.Context, d *postgres.DB, edition int64, shard journal.Shard, readers int) (*sharedSnapshot, error) {
	other := &sharedSnapshot{name: s.name, taken: s.taken}
	if err := other.open(ctx, d, edition, shard, readers); err != nil {
		other.close(ctx)
		return nil, fmt.Errorf("join the snapshot: %w", err)
	}
	return other, nil
}

func (s *sharedSnapshot) close(ctx context.Context) {
	for _, tx := range s.txs {
		_ = tx.Rollback(context.WithoutCancel(ctx)) // it only read
	}
	s.txs = nil
}

func (s *sharedSnapshot) seq() uint64 { return uint64(s.cp.Seq) }

// continues fails when the journal is not that of the checkpoint, or ends before it: that is no difference, but two
// stores that do not belong together.
func (s *sharedSnapshot) continues(ctx context.Context, shard journal.Shard, facts journal.Facts) error {
	if s.cp.JournalID != facts.JournalID || s.cp.Stream != facts.Stream {
		return fmt.Errorf("the checkpoint is of journal %s (%s), this one is %s (%s)", s.cp.JournalID, s.cp.Stream, facts.JournalID, facts.Stream)
	}
	now, err := shard.Facts(ctx)
	if err != nil {
		return err
	}
	if now.LastSeq < s.seq() {
		return fmt.Errorf("the checkpoint is at %d, the journal ends at %d", s.seq(), now.LastSeq)
	}
	return nil
}
