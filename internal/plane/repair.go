package plane

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/command"
	"github.com/refold-dev/refold/internal/directory"
	"github.com/refold-dev/refold/internal/fold"
	"github.com/refold-dev/refold/internal/postgres/db"
	"github.com/refold-dev/refold/internal/rows"
	"github.com/refold-dev/refold/internal/verify"
)

// repairEntity is the kind of entity of audit events.
const repairEntity = "repair"

// Repair refolds what c names (see verify.Repair) and leaves an audit event in the journal. Shard, Edition and what is
// to be refolded must be set.
func (p *Plane) Repair(ctx context.Context, c verify.RepairConfig) ([]*verify.Repaired, error) {
	c.DB, c.Schema, c.Fold, c.Audit = p.DB, fold.Tables, p.Fold, p.auditRepair
	return verify.Repair(ctx, c)
}

// SettleKept corrects the kept digests of tenants of an edition where they are not those of their rows, which are proven
// first (see verify.SettleKept). It looks for them by a quick verification; without kept digests there is nothing to do.
func (p *Plane) SettleKept(ctx context.Context, number int64, tenants []string) ([]*verify.Settled, error) {
	pause, end := p.Editions.MakeWay(ctx)
	defer end()
	quick, err := verify.Quick(ctx, verify.QuickConfig{DB: p.DB, Edition: number, Tenants: tenants, MemoryBytes: p.MemoryBytes, Pause: pause})
	if errors.Is(err, verify.ErrNoDigests) || err == nil && quick.Clean {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	wrong := map[string]bool{}
	for _, d := range quick.Differences {
		if d.Tenant != "" {
			wrong[d.Tenant] = true
		}
	}
	var out []*verify.Settled
	for _, tenant := range slices.Sorted(maps.Keys(wrong)) {
		shard, err := p.ShardOf(ctx, tenant)
		if err != nil {
			return out, err
		}
		settled, err := verify.SettleKept(ctx, verify.Config{
			DB: p.DB, Shard: p.Journal.Shard(shard), Edition: number, Schema: fold.Tables, Fold: p.Fold, Shape: p.Shape, MemoryBytes: p.MemoryBytes, Pause: pause,
		}, tenant)
		if err != nil {
			return out, err
		}
		out = append(out, settled)
	}
	return out, nil
}

// auditRepair appends the event of a repair, or finds the one that was appended before: it is the only one of its
// entity, under a command id that follows from it. Tenants among what was to be repaired are refolded first.
func (p *Plane) auditRepair(ctx context.Context, r *verify.Repaired) (uint64, error) {
	if err := p.repairTenants(ctx, r); err != nil {
		return 0, err
	}
	payload := &events.RowsRepaired{Edition: int(r.Edition), Position: int(r.Seq), Entities: int(r.Entities), Report: r.ReportDigest}
	for _, t := range r.Tables {
		payload.Tables = append(payload.Tables, events.RepairedTable{Table: t.Table, Inserted: int(t.Inserted), Updated: int(t.Updated), Deleted: int(t.Deleted)})
	}
	seq, err := p.appendOwn(ctx, r.Shard, repairEntity, r.ID.String(), r.Actor, payload)
	if err != nil {
		return 0, fmt.Errorf("append the audit event: %w", err)
	}
	return seq, nil
}

// repairTenants refolds the rows of control.tenant that a repair is about.
func (p *Plane) repairTenants(ctx context.Context, r *verify.Repaired) error {
	pool, err := p.DB.Operator(ctx)
	if err != nil {
		return err
	}
	ids, err := db.New(pool).RepairIDs(ctx, db.RepairIDsParams{Repair: r.ID, TenantID: envelope.PlaneTenant, Entity: directory.Entity})
	if err != nil {
		return fmt.Errorf("tenants to repair: %w", err)
	}
	done := rows.Replaced{Table: directory.Table}
	for _, id := range ids {
		one, err := p.Directory.Refold(ctx, id)
		if err != nil {
			return err
		}
		done.Inserted, done.Updated, done.Deleted = done.Inserted+one.Inserted, done.Updated+one.Updated, done.Deleted+one.Deleted
	}
	if done.Inserted+done.Updated+done.Deleted > 0 {
		r.Tables = append(r.Tables, done)
	}
	return nil
}

// appendOwn appends the one event of an entity of the plane's own tenant. Repeated, it returns where that stands.
func (p *Plane) appendOwn(ctx context.Context, shard int, entity, id, actor string, payload events.Payload) (uint64, error) {
	hash, err := command.Hash(payload.Kind(), id)
	if err != nil {
		return 0, err
	}
	request := command.Request{
		Key:       envelope.Key{Tenant: envelope.PlaneTenant, Entity: entity, ID: id},
		CommandID: id, RequestHash: hash, Actor: actor,
	}
	evolve := func(n int, _ *envelope.Event) (int, error) { return n + 1, nil }
	decide := func(n int, payload events.Payload) (events.Payload, error) {
		if n > 0 {
			return nil, command.Refuse(command.Exists, "%s %s has its event already", entity, id)
		}
		return payload, nil
	}
	out, err := command.Execute(ctx, p.Journal.Shard(shard), request, evolve, decide, payload)
	return out.Seq, err
}

// auditEvery is how often a running plane looks for repairs that owe the journal their event.
const auditEvery = time.Minute

// owedAudits appends the events of repairs that ended before they could do so themselves, until ctx ends.
func (p *Plane) owedAudits(ctx context.Context) error {
	for {
		facts, err := p.Journal.Shard(0).Facts(ctx)
		if err == nil {
			err = verify.Audits(ctx, p.DB, facts.JournalID, p.auditRepair)
		}
		if err != nil && ctx.Err() == nil {
			p.Logger.Warn("cannot append the audit events of repairs", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(auditEvery):
		}
	}
}
