package edition

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/refold-dev/refold/internal/postgres/db"
)

// HoldsMoreError refuses a flip to an edition that holds back entities which the live one serves. It is ErrHoldsMore.
type HoldsMoreError struct {
	Edition int64
	Live    int64
	Kinds   []HeldKind // what held them, oldest first
}

// HeldKind counts the entities that an event of one kind put into quarantine.
type HeldKind struct {
	Kind     string
	Entities int64
	Seq      int64 // of the first such event
}

func (e *HoldsMoreError) Error() string {
	var kinds []string
	for _, k := range e.Kinds {
		kinds = append(kinds, fmt.Sprintf("%s (%d entities, first at %d)", k.Kind, k.Entities, k.Seq))
	}
	return fmt.Sprintf("edition %d holds back entities that edition %d serves, because its code cannot fold: %s", e.Edition, e.Live, strings.Join(kinds, ", "))
}

// Unwrap makes it ErrHoldsMore.
func (e *HoldsMoreError) Unwrap() error { return ErrHoldsMore }

// heldMoreSQL counts what an edition holds back, in one shard, and another does not or holds only from a later event
// on. Rows of a tenant that nobody knows count as of the first shard.
const heldMoreSQL = `
	SELECT h.kind, count(*), min(h.seq) FROM %[1]s.held_entity h
	WHERE NOT EXISTS (
		SELECT FROM %[2]s.held_entity o
		WHERE o.tenant_id = h.tenant_id AND o.entity = h.entity AND o.entity_id = h.entity_id AND o.seq <= h.seq
	)
	AND coalesce((SELECT t.shard FROM control.tenant t WHERE t.tenant_id = h.tenant_id), 0) = $1
	AND ($2 = '' OR h.tenant_id = $2)
	GROUP BY h.kind ORDER BY min(h.seq)`

// holdsNoMore refuses an edition that holds back more than the live one, unless HoldMore says that this is wanted.
func (c *change) holdsNoMore(ctx context.Context, to, live int64) error {
	pool, err := c.DB.Verifier(ctx, to)
	if err != nil {
		return err
	}
	sql := fmt.Sprintf(heldMoreSQL, pgx.Identifier{schemaName(to)}.Sanitize(), pgx.Identifier{schemaName(live)}.Sanitize())
	rows, err := pool.Query(ctx, sql, c.shard, c.tenant)
	if err != nil {
		return fmt.Errorf("compare what editions %d and %d hold back: %w", to, live, err)
	}
	kinds, err := pgx.CollectRows(rows, pgx.RowToStructByPos[HeldKind])
	if err != nil {
		return fmt.Errorf("compare what editions %d and %d hold back: %w", to, live, err)
	}
	if len(kinds) == 0 {
		return nil
	}
	refused := &HoldsMoreError{Edition: to, Live: live, Kinds: kinds}
	if !c.HoldMore {
		return refused
	}
	c.logger().Warn("flipping all the same, as told", "because", refused)
	operator, err := c.DB.Operator(ctx)
	if err != nil {
		return err
	}
	return db.New(operator).SettingSet(ctx, db.SettingSetParams{Name: "held_cutover", Value: refused.Error()})
}
