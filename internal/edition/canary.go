package edition

import (
	"context"
	"fmt"

	"github.com/refold-dev/refold/internal/postgres/db"
)

// CutoverTenant lets one tenant read an edition while all others of its shard stay where they are. The same
// conditions hold as for Cutover. Once the shard comes to that edition, the tenant follows its shard again.
func (m *Editions) CutoverTenant(ctx context.Context, number int64, shard int, tenant string) (*Flip, error) {
	if err := m.mayServe(ctx, number); err != nil {
		return nil, err
	}
	c := change{
		Editions: m, shard: int32(shard), tenant: tenant, reason: reasonCanary,
		target: func(db.ControlLive) (int64, error) { return number, nil },
	}
	flip, err := c.run(ctx)
	if err != nil {
		return nil, fmt.Errorf("cutover of tenant %s: %w", tenant, err)
	}
	return flip, nil
}

// RollbackTenant lets a tenant follow its shard again, once the shard's edition is level with the one it read. It is
// refused, as Rollback is, when that edition holds back more of the tenant's entities; nil when the tenant follows
// its shard already.
func (m *Editions) RollbackTenant(ctx context.Context, shard int, tenant string) (*Flip, error) {
	c := change{Editions: m, shard: int32(shard), tenant: tenant, reason: reasonRollback}
	c.target = func(live db.ControlLive) (int64, error) {
		if live.TenantID == "" {
			return live.Edition, nil
		}
		pool, err := m.DB.Operator(ctx)
		if err != nil {
			return 0, err
		}
		of := change{Editions: m, shard: int32(shard)}
		home, err := of.pointer(ctx, db.New(pool))
		return home.Edition, err
	}
	flip, err := c.run(ctx)
	if err != nil {
		return nil, fmt.Errorf("rollback of tenant %s: %w", tenant, err)
	}
	return flip, nil
}
