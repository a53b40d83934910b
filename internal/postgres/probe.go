package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// ProbeReader reads the tables of an edition as readers do: as their role, through the one door, for a tenant that has no
// rows. It has a connection of its own, so that busy readers do not make it wait.
func (d *DB) ProbeReader(ctx context.Context, edition int64, shard int, tables []string) error {
	pool, err := d.pool(ctx, poolKey{role: RoleReader, edition: edition, probe: true})
	if err != nil {
		return err
	}
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("connect as %s: %w", RoleReader, err)
	}
	defer conn.Release()
	door := &door{Entry: Entry{Tenant: probeTenant, Edition: edition, Shard: shard, Single: true}, conn: conn}
	selects := make([]string, len(tables))
	for i, table := range tables {
		selects[i] = "(SELECT true FROM " + pgx.Identifier{table}.Sanitize() + " WHERE tenant_id = '" + probeTenant + "' LIMIT 1)"
	}
	var none *bool
	err = door.QueryRow(ctx, "SELECT coalesce("+strings.Join(append(selects, "NULL::boolean"), ", ")+")").Scan(&none)
	if err != nil {
		return fmt.Errorf("read as %s: %w", RoleReader, err)
	}
	return nil
}

// probeTenant has no rows: no tenant can have a reserved name.
const probeTenant = "_probe"

// ProbeProjector takes what the guarded move of a checkpoint takes, and may write what a batch writes: as the projector's
// role, in one transaction that changes nothing. It is one journey, so that a process that is frozen meanwhile holds no
// lock; where a projector is at work at this moment, that is proof enough.
func (d *DB) ProbeProjector(ctx context.Context, edition int64, shard int, tables []string) error {
	pool, err := d.pool(ctx, poolKey{role: RoleProjector, edition: edition, probe: true})
	if err != nil {
		return err
	}
	batch := &pgx.Batch{}
	batch.Queue("SELECT FROM control.checkpoint WHERE edition = $1 AND shard = $2 FOR NO KEY UPDATE SKIP LOCKED", edition, int32(shard))
	for _, table := range tables {
		name := pgx.Identifier{table}.Sanitize()
		batch.Queue("INSERT INTO " + name + " (tenant_id) SELECT tenant_id FROM " + name + " WHERE false")
	}
	if err := pool.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("write as %s: %w", RoleProjector, err)
	}
	return nil
}
