package plane

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/backup"
	"github.com/refold-dev/refold/internal/directory"
	"github.com/refold-dev/refold/internal/failpoint"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/postgres/db"
	"github.com/refold-dev/refold/internal/tenant"
)

// ErrTenantExists: this plane has a tenant of this name already. Two histories of one tenant cannot be put together.
var ErrTenantExists = errors.New("the tenant exists in this plane already: two histories of one tenant cannot be put together")

// RestoredTenant is what came of the restore of one tenant.
type RestoredTenant struct {
	Backup string `json:"backup"`
	Tenant string `json:"tenant"`
	Shard  int    `json:"shard"`
	Events int64  `json:"events"`
	// There were in this plane already, from an attempt that was cut short.
	There int64 `json:"events_there_before"`
	// LeftBehind are messages under the tenant's name that are no events. They hold their entity in the plane of the
	// backup; here the entity goes on without them.
	LeftBehind []backup.Place `json:"left_behind"`
}

// settingTenantRestore marks a tenant whose restore is not finished.
const settingTenantRestore = "restoring_tenant_"

// tenantWindow is how many events are on their way at once: none of them two of one entity.
const tenantWindow = journal.BatchMax

// RestoreTenant appends the events of one tenant of a backup to the journal of this plane, which must not know the tenant:
// same tenant, entities, keys, times, versions and command ids, so that its rows are those of before and an old
// idempotency key is known. Events of one entity keep their order; those of different entities may change places, which
// no fold can see. It may be cut short and repeated.
func (p *Plane) RestoreTenant(ctx context.Context, r *backup.Repository, entry *backup.Entry, id string, progress func(backup.Progress)) (*RestoredTenant, error) {
	if !envelope.ValidTenant(id) {
		return nil, fmt.Errorf("tenant %q: %w", id, directory.ErrNoTenant)
	}
	if progress == nil {
		progress = func(backup.Progress) {}
	}
	t := &tenantRestore{
		Plane: p, progress: progress, last: map[envelope.Key]uint64{}, busy: map[envelope.Key]bool{},
		shard: p.Journal.Shard(directory.Place(id, len(p.Journal.Shards))),
		out:   RestoredTenant{Backup: entry.ID, Tenant: id, LeftBehind: []backup.Place{}},
	}
	t.out.Shard = t.shard.Number()
	if err := t.run(ctx, r, entry); err != nil {
		return nil, fmt.Errorf("restore tenant %s of backup %s: %w", id, entry.ID, err)
	}
	return &t.out, nil
}

type tenantRestore struct {
	*Plane
	shard    journal.Shard
	progress func(backup.Progress)
	out      RestoredTenant
	known    bool // its first event was met
	reported time.Time

	last   map[envelope.Key]uint64 // sequence of an entity's last event here
	window []*envelope.Event
	busy   map[envelope.Key]bool // entities in the window
}

func (t *tenantRestore) run(ctx context.Context, r *backup.Repository, entry *backup.Entry) error {
	if err := t.admit(ctx, entry); err != nil {
		return err
	}
	home := directory.Place(t.out.Tenant, len(entry.Shards))
	total := entry.Shards[home].Seq
	err := r.Events(ctx, entry, home, func(e *envelope.Event) error {
		if t.mine(e) {
			if err := t.take(ctx, e); err != nil {
				return err
			}
		}
		if time.Since(t.reported) > 200*time.Millisecond || int64(e.Seq) == total {
			t.reported = time.Now()
			t.progress(backup.Progress{Phase: "restore tenant", Shard: home, Done: int64(e.Seq), Total: total})
		}
		return nil
	})
	if err == nil {
		err = t.flush(ctx)
	}
	if err != nil {
		return err
	}
	if !t.known {
		return fmt.Errorf("%w in this backup", directory.ErrNoTenant)
	}
	return t.done(ctx)
}

// mine selects what a tenant consists of: its own events, and those of the plane about it.
func (t *tenantRestore) mine(e *envelope.Event) bool {
	return e.Tenant == t.out.Tenant || e.Key == tenant.Key(t.out.Tenant)
}

// admit refuses a tenant that is here, unless an attempt to restore this very one was cut short.
func (t *tenantRestore) admit(ctx context.Context, entry *backup.Entry) error {
	pool, err := t.DB.Operator(ctx)
	if err != nil {
		return err
	}
	settings, err := db.New(pool).SettingList(ctx)
	if err != nil {
		return err
	}
	for _, s := range settings {
		var f fact
		if s.Name == settingTenantRestore+t.out.Tenant && json.Unmarshal([]byte(s.Value), &f) == nil && f.Backup == entry.ID && f.What == "" {
			return nil
		}
	}
	found, err := t.shard.Last(ctx, tenant.Key(t.out.Tenant))
	if err != nil {
		return err
	}
	if found != nil {
		return ErrTenantExists
	}
	return t.setFact(ctx, settingTenantRestore+t.out.Tenant, fact{Backup: entry.ID, At: time.Now().UTC()})
}

// take puts an event into the window, behind all of the window when its entity is in there already.
func (t *tenantRestore) take(ctx context.Context, e *envelope.Event) error {
	if e.Kind == journal.MalformedKind {
		t.out.LeftBehind = append(t.out.LeftBehind, backup.Place{Shard: e.Shard, Seq: int64(e.Seq)})
		return nil
	}
	first := !t.known
	if first {
		if e.Key != tenant.Key(t.out.Tenant) {
			return fmt.Errorf("event %d of shard %d is the tenant's first and does not create it", e.Seq, e.Shard)
		}
		if _, err := foldTenant(directory.Tenant{}, e); err != nil {
			return fmt.Errorf("event %d of shard %d is the tenant's first and does not create it: %w", e.Seq, e.Shard, err)
		}
		t.known = true
	}
	if t.busy[e.Key] || len(t.window) == tenantWindow {
		if err := t.flush(ctx); err != nil {
			return err
		}
	}
	copied := *e
	t.window, t.busy[e.Key] = append(t.window, &copied), true
	if first {
		return t.flush(ctx) // nothing of a tenant goes before it
	}
	return nil
}

// flush appends the window.
func (t *tenantRestore) flush(ctx context.Context) error {
	group, running := errgroup.WithContext(ctx)
	repeated := make([]bool, len(t.window))
	for i, e := range t.window {
		last := t.last[e.Key]
		group.Go(func() error {
			receipt, err := t.shard.Append(running, e, last)
			if err != nil {
				return fmt.Errorf("event of %s, version %d: %w", e.Key, e.Version, err)
			}
			repeated[i] = receipt.Repeated
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for i, e := range t.window {
		t.last[e.Key] = e.Seq
		t.out.Events++
		if repeated[i] {
			t.out.There++
		}
	}
	t.window = t.window[:0]
	clear(t.busy)
	return failpoint.Hit("restore.tenant-flushed")
}

// done lets the tenant be used.
func (t *tenantRestore) done(ctx context.Context) error {
	created, err := t.shard.Last(ctx, tenant.Key(t.out.Tenant))
	if err != nil || created == nil {
		return errors.Join(err, directory.ErrNoTenant)
	}
	if err := t.Directory.Apply(ctx, created); err != nil {
		return err
	}
	return t.setFact(ctx, settingTenantRestore+t.out.Tenant, fact{Backup: t.out.Backup, At: time.Now().UTC(), What: "finished"})
}
