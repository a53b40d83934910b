package directory

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/postgres/db"
	"github.com/refold-dev/refold/internal/rows"
)

// Table is the control table that holds the fold of tenants' events, as differences and repairs name it.
const Table = "control.tenant"

const (
	// lateMax is how long a check waits for a row that may be on its way: directories follow the journal, they do not
	// move with it.
	lateMax = 3 * time.Second
	lateMin = 50 * time.Millisecond
)

// EntityOf is the entity whose events explain the row of a tenant.
func EntityOf(tenant string) envelope.Key {
	return envelope.Key{Tenant: envelope.PlaneTenant, Entity: Entity, ID: tenant}
}

// truth is what the journal says about tenants: every state of each, oldest first.
type truth map[string][]Tenant

// truthOf folds the tenant events of a shard, and returns up to where it has read.
func (d *Directory) truthOf(ctx context.Context, shard journal.Shard) (out truth, last uint64, err error) {
	out = truth{}
	err = journal.ReadTenant(ctx, shard, envelope.PlaneTenant, 0, math.MaxUint64, func(e *envelope.Event) error {
		last = e.Seq
		if e.Entity != Entity {
			return nil
		}
		var before Tenant
		if states := out[e.ID]; len(states) > 0 {
			before = states[len(states)-1]
		}
		t, err := d.Fold(before, e)
		if err != nil {
			return fmt.Errorf("tenant event %d: %w", e.Seq, err)
		}
		out[e.ID] = append(out[e.ID], t)
		return nil
	})
	if err != nil {
		return nil, 0, fmt.Errorf("tenants of shard %d: %w", shard.Number(), err)
	}
	return out, last, nil
}

// truth is that of all shards; a tenant is in one of them.
func (d *Directory) truth(ctx context.Context) (truth, error) {
	out := truth{}
	for _, shard := range d.Shards {
		one, _, err := d.truthOf(ctx, shard)
		if err != nil {
			return nil, err
		}
		maps.Copy(out, one)
	}
	return out, nil
}

// Homes says in which shard each tenant lives, by the tenants' events.
func (d *Directory) Homes(ctx context.Context) (map[string]int, error) {
	said, err := d.truth(ctx)
	if err != nil {
		return nil, err
	}
	homes := map[string]int{}
	for id, states := range said {
		homes[id] = states[0].Shard
	}
	return homes, nil
}

// Check holds the rows of control.tenant against the fold of the tenants' events, and returns those that differ by
// tenant; of some tenants where some are named. A row that lags behind its events is waited for, up to three seconds.
// Keys are shown by their digests.
func (d *Directory) Check(ctx context.Context, tenants ...string) ([]rows.Difference, error) {
	heads := map[int]uint64{}
	for _, shard := range d.Shards {
		facts, err := shard.Facts(ctx)
		if err != nil {
			return nil, fmt.Errorf("check the tenants: %w", err)
		}
		heads[shard.Number()] = facts.LastSeq
	}
	deadline := time.Now().Add(lateMax)
	for wait := lateMin; ; wait *= 2 {
		found, late, err := d.compare(ctx, heads, tenants)
		if err != nil {
			return nil, fmt.Errorf("check the tenants: %w", err)
		}
		if !late || time.Now().After(deadline) {
			if len(tenants) == 0 {
				d.checked.set(time.Now(), found)
			}
			return found, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(wait):
		}
	}
}

// compare is one look: a row may be later than the heads, and not earlier. late = a difference may be one because the
// row is on its way.
func (d *Directory) compare(ctx context.Context, heads map[int]uint64, tenants []string) (found []rows.Difference, late bool, err error) {
	pool, err := d.DB.Operator(ctx)
	if err != nil {
		return nil, false, err
	}
	list, err := db.New(pool).TenantList(ctx)
	if err != nil {
		return nil, false, fmt.Errorf("list tenants: %w", err)
	}
	said, err := d.truth(ctx) // after the rows, so that it explains them
	if err != nil {
		return nil, false, err
	}
	have := map[string]Tenant{}
	for _, row := range list {
		have[row.TenantID] = OfRow(row)
	}
	ids := map[string]bool{}
	for id := range said {
		ids[id] = true
	}
	for id := range have {
		ids[id] = true
	}
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		if len(tenants) > 0 && !slices.Contains(tenants, id) {
			continue
		}
		row, there := have[id]
		diff, behind := differs(id, row, there, said[id], heads)
		if diff != nil {
			found, late = append(found, *diff), late || behind
		}
	}
	return found, late, nil
}

// differs holds one row against all states of its tenant; nil when it is one of those that it may be. behind = it is an
// earlier one, or not there.
func differs(id string, row Tenant, there bool, states []Tenant, heads map[int]uint64) (diff *rows.Difference, behind bool) {
	out := &rows.Difference{Tenant: id, Table: Table, Key: []rows.KeyPart{}, Entity: EntityOf(id)}
	if len(states) == 0 {
		out.Fault = rows.Extra
		return out, false
	}
	// The oldest state that the row may be: the one at the head.
	oldest := -1
	for i, s := range states {
		if s.Seq <= heads[s.Shard] {
			oldest = i
		}
	}
	newest := states[len(states)-1]
	if !there {
		if oldest < 0 {
			return nil, false
		}
		out.Fault, out.Seq = rows.Missing, newest.Seq
		return out, true
	}
	expected := newest
	for i, s := range states {
		if s.Seq != row.Seq {
			continue
		}
		behind = i < oldest
		if columns := columnsOf(s, row); len(columns) > 0 {
			out.Columns, behind = columns, false
		} else if !behind {
			return nil, false
		}
		expected = s
	}
	if len(out.Columns) == 0 {
		expected = newest
		out.Columns = columnsOf(newest, row)
	}
	out.Fault, out.Seq = rows.Different, expected.Seq
	return out, behind
}

// columnsOf names the columns in which a row is not what the journal says.
func columnsOf(want, have Tenant) (out []rows.ColumnDiff) {
	note := func(column, expected, actual string) {
		if expected != actual {
			out = append(out, rows.ColumnDiff{Column: column, Expected: &expected, Actual: &actual, Seq: want.Seq})
		}
	}
	note("shard", strconv.Itoa(want.Shard), strconv.Itoa(have.Shard))
	note("name", want.Name, have.Name)
	if !bytes.Equal(want.Key, have.Key) {
		note("id_key", keyDigest(want.Key), keyDigest(have.Key))
	}
	note("seq", strconv.FormatUint(want.Seq, 10), strconv.FormatUint(have.Seq, 10))
	note("created_at", want.Created.UTC().Format(time.RFC3339Nano), have.Created.UTC().Format(time.RFC3339Nano))
	note("standing", string(want.Standing), string(have.Standing))
	note("per_second", strconv.Itoa(want.Limits.PerSecond), strconv.Itoa(have.Limits.PerSecond))
	note("burst", strconv.Itoa(want.Limits.Burst), strconv.Itoa(have.Limits.Burst))
	note("in_flight", strconv.Itoa(want.Limits.InFlight), strconv.Itoa(have.Limits.InFlight))
	return out
}

// checked is what the last check of all tenants has found.
type checked struct {
	mu     sync.Mutex
	at     time.Time
	damage []rows.Difference
}

func (c *checked) set(at time.Time, damage []rows.Difference) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at, c.damage = at, damage
}

func (c *checked) get() (at time.Time, damage []rows.Difference) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at, c.damage
}

const (
	checkEvery = time.Minute
	// checkFresh is how old an answer of Damage may be.
	checkFresh = 10 * time.Second
)

// Damage is what Check finds for all tenants, or has found a moment ago.
func (d *Directory) Damage(ctx context.Context) ([]rows.Difference, error) {
	if at, damage := d.checked.get(); time.Since(at) < checkFresh {
		return damage, nil
	}
	return d.Check(ctx)
}

// watch checks now and then until ctx ends, and logs what is found once.
func (d *Directory) watch(ctx context.Context) error {
	said := map[string]bool{}
	for {
		found, err := d.Damage(ctx)
		if err != nil && ctx.Err() == nil {
			d.Logger.Warn("cannot check the tenants", "error", err)
		}
		now := map[string]bool{}
		for _, f := range found {
			now[f.Tenant] = true
			if !said[f.Tenant] {
				d.Logger.Error("control.tenant is not the fold of the tenant's events: run `refold verify`", "tenant", f.Tenant, "fault", f.Fault)
			}
		}
		if err == nil {
			said = now
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(checkEvery):
		}
	}
}

// keyDigest tells keys apart and shows none.
func keyDigest(key []byte) string {
	sum := sha256.Sum256(key)
	return fmt.Sprintf("sha256 %x", sum[:8])
}

// Refold puts the row of a tenant to where its events have it, whatever stands there; a tenant without events gets none.
func (d *Directory) Refold(ctx context.Context, id string) (rows.Replaced, error) {
	out := rows.Replaced{Table: Table}
	found, err := d.Check(ctx, id)
	if err != nil || len(found) == 0 {
		return out, err
	}
	said, err := d.truth(ctx)
	if err != nil {
		return out, err
	}
	pool, err := d.DB.Operator(ctx)
	if err != nil {
		return out, err
	}
	q := db.New(pool)
	states := said[id]
	if len(states) == 0 {
		out.Deleted, err = q.TenantDelete(ctx, id)
	} else {
		t := states[len(states)-1]
		err = q.TenantReplace(ctx, db.TenantReplaceParams{
			TenantID: id, Shard: int32(t.Shard), Name: t.Name, IDKey: t.Key, Seq: int64(t.Seq), CreatedAt: t.Created,
			Standing: string(t.Standing), PerSecond: int32(t.Limits.PerSecond), Burst: int32(t.Limits.Burst), InFlight: int32(t.Limits.InFlight),
		})
		if found[0].Fault == rows.Missing {
			out.Inserted = 1
		} else {
			out.Updated = 1
		}
	}
	if err != nil {
		return out, fmt.Errorf("refold tenant %s: %w", id, err)
	}
	d.checked.set(time.Time{}, nil) // the next question looks again
	return out, nil
}
