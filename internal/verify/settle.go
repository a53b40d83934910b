package verify

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/refold-dev/refold/internal/failpoint"
	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/postgres/db"
	"github.com/refold-dev/refold/internal/rows"
)

// Settled says what became of the kept digests of a tenant.
type Settled struct {
	Tenant string  `json:"tenant"`
	Report *Report `json:"report"` // of its rows
	// Corrected: the rows are the fold of the journal and the digests were not theirs; now they are.
	Corrected bool `json:"corrected"`
}

// SettleKept proves the rows of a tenant and corrects what is kept of them, if that is of other rows: digests that were
// tampered with, or that followed a tampered row, since projectors add and subtract what they find. Rows that differ from
// the journal are left alone, and so is what is kept of them: repair them first.
//
// What is to be corrected is measured in one snapshot, in which rows, proof and digests are of the same sequence. It is
// the same at any later sequence, since projectors move digests by what they write, so it is added under the lock of the
// checkpoint, however far that has come; the projector is fenced, as it remembers what it keeps.
func SettleKept(ctx context.Context, c Config, tenant string) (*Settled, error) {
	c.withDefaults()
	snap, err := takeSnapshot(ctx, c.DB, c.Edition, c.Shard, c.Readers)
	if err != nil {
		return nil, err
	}
	defer snap.close(ctx)
	c.Scope, c.Resume, c.barrier = Scope{Tenants: []string{tenant}}, false, snap
	out := &Settled{Tenant: tenant}
	if out.Report, err = Run(ctx, c); err != nil || !out.Report.Clean {
		return out, err
	}
	s := &settling{Config: c, tenant: tenant}
	wrong, err := s.measure(ctx, snap)
	if err != nil || len(wrong) == 0 {
		return out, err
	}
	snap.close(ctx)
	for attempt := 1; ; attempt++ {
		err = s.correct(ctx, wrong)
		if !postgres.IsLockTimeout(err) || attempt == repairLocks {
			break
		}
	}
	if err != nil {
		return out, fmt.Errorf("correct the kept digests of tenant %s in edition %d: %w", tenant, c.Edition, err)
	}
	out.Corrected = true
	return out, nil
}

type settling struct {
	Config
	tenant string
}

// measure returns what is missing in the kept digests, by table; nothing where digests are not kept, or void.
func (s *settling) measure(ctx context.Context, snap *sharedSnapshot) (map[rows.TableID]rows.Sum, error) {
	tx := snap.txs[0]
	key, err := rows.ReadKeptKey(ctx, tx)
	if errors.Is(err, rows.ErrNoKeptKey) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	kept, found, err := s.kept(ctx, db.New(tx), snap.cp.Seq)
	if err != nil || !found {
		return nil, err
	}
	wrong, err := rows.ScanTenant(ctx, tx, s.Schema.Tables(), key, s.tenant, s.Pause)
	if err != nil {
		return nil, err
	}
	for id, sum := range kept {
		missing := wrong[id]
		missing.Subtract(&sum)
		wrong[id] = missing
	}
	for id, missing := range wrong {
		if missing == (rows.Sum{}) {
			delete(wrong, id)
		}
	}
	return wrong, nil
}

// kept reads what is kept of the tenant's tables at a sequence; not found where nothing is, or at another one.
func (s *settling) kept(ctx context.Context, q *db.Queries, seq int64) (tables map[rows.TableID]rows.Sum, found bool, err error) {
	shards, err := q.KeptShards(ctx, s.Edition)
	if err != nil {
		return nil, false, fmt.Errorf("kept digests of edition %d: %w", s.Edition, err)
	}
	valid := false
	for _, shard := range shards {
		valid = valid || int(shard.Shard) == s.Shard.Number() && shard.Seq == seq
	}
	if !valid {
		return nil, false, nil
	}
	stored, err := q.KeptDigestOfTenants(ctx, db.KeptDigestOfTenantsParams{Edition: s.Edition, Shard: int32(s.Shard.Number()), TenantIds: []string{s.tenant}})
	if err != nil || len(stored) == 0 {
		return nil, false, err
	}
	sums, err := rows.UnpackTenant(stored[0].Events, stored[0].EventDigest, stored[0].Tables)
	if err != nil {
		return nil, false, fmt.Errorf("kept digests of tenant %s: %w (build a new edition)", s.tenant, err)
	}
	return sums.Tables, true, nil
}

// correct adds what is missing.
func (s *settling) correct(ctx context.Context, wrong map[rows.TableID]rows.Sum) error {
	pool, err := s.DB.Projector(ctx, s.Edition)
	if err != nil {
		return err
	}
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		q := db.New(tx)
		cp, err := q.CheckpointFence(ctx, db.CheckpointFenceParams{Edition: s.Edition, Shard: int32(s.Shard.Number())})
		if err != nil {
			return fmt.Errorf("hold the checkpoint: %w", err)
		}
		kept, found, err := s.kept(ctx, q, cp.Seq)
		if err != nil || !found {
			return err
		}
		for id, missing := range wrong {
			sum := kept[id]
			sum.Merge(&missing)
			kept[id] = sum
		}
		if err := rows.ReplaceKept(ctx, tx, s.Edition, int32(s.Shard.Number()), s.tenant, kept); err != nil {
			return err
		}
		return failpoint.Hit("settle.before-commit")
	})
}
