package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/openmemory/sample"
	"github.com/refold-dev/refold/internal/postgres"
)

// sampleTenant has the sample and nothing else.
const sampleTenant = "sample"

// confirmedKind is the kind that only the new binary knows.
const confirmedKind = "memory.confirmed.v1"

const flipMax = time.Minute

// importSample gives the journal some history of another system.
func (s *story) importSample(ctx context.Context) error {
	zip, err := sample.Zip()
	if err != nil {
		return err
	}
	file := filepath.Join(s.old.on.dir, sample.FileName)
	if err := os.WriteFile(file, zip, 0o600); err != nil {
		return err
	}
	if _, err := s.old.must(ctx, "tenant", "create", sampleTenant); err != nil {
		return err
	}
	_, err = s.old.must(ctx, "import", "openmemory", file, "--tenant", sampleTenant)
	return err
}

// lives returns the live edition of each shard.
func (s *story) lives(ctx context.Context) (map[int]int64, error) {
	pool, err := s.plane.DB.Owner(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := pool.Query(ctx, "SELECT shard, edition FROM control.live WHERE tenant_id = ''")
	if err != nil {
		return nil, err
	}
	out := map[int]int64{}
	var shard int
	var edition int64
	_, err = pgx.ForEachRow(rows, []any{&shard, &edition}, func() error {
		if _, twice := out[shard]; twice {
			return fmt.Errorf("shard %d has two live editions", shard)
		}
		out[shard] = edition
		return nil
	})
	return out, err
}

// mustBeLive fails unless an edition, and no other, is live in every shard.
func (s *story) mustBeLive(ctx context.Context, number int64) error {
	lives, err := s.lives(ctx)
	if err != nil {
		return err
	}
	if len(lives) != len(s.plane.Journal.Shards) {
		return fmt.Errorf("%d shards have a live edition, want %d", len(lives), len(s.plane.Journal.Shards))
	}
	for shard, edition := range lives {
		if edition != number {
			return fmt.Errorf("edition %d is live in shard %d, want %d", edition, shard, number)
		}
	}
	return nil
}

// awaitLive waits for a flip.
func (s *story) awaitLive(ctx context.Context, number int64) error {
	return eventually(ctx, flipMax, func() error { return s.mustBeLive(ctx, number) })
}

// mustHaveFlipped fails unless edition 2 is live everywhere, and came to be so in these steps and no others.
func (s *story) mustHaveFlipped(ctx context.Context, reasons string) error {
	if err := s.mustBeLive(ctx, 2); err != nil {
		return err
	}
	pool, err := s.plane.DB.Owner(ctx)
	if err != nil {
		return err
	}
	for shard := range s.plane.Journal.Shards {
		var got string
		err := pool.QueryRow(ctx, "SELECT string_agg(reason, ' ' ORDER BY id) FROM control.flip WHERE shard = $1", shard).Scan(&got)
		if err == nil && got != reasons {
			err = fmt.Errorf("the flips of shard %d are %q, want %q", shard, got, reasons)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func eventually(ctx context.Context, limit time.Duration, holds func() error) error {
	deadline := time.Now().Add(limit)
	for {
		err := holds()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(pollWait):
		}
	}
}

// Folds by what they make of a memory that was paused.
const (
	oldFold = "the old fold: pausing a memory has moved its updated_at"
	newFold = "the mended fold: pausing a memory leaves its updated_at alone"
)

// bearWitness pauses a memory: what updated_at then is, is where the two folds differ.
func (s *story) bearWitness() error {
	s.witness.add(map[string]string{"Idempotency-Key": "witness"})
	if err := s.noFailure(); err != nil {
		return err
	}
	s.witness.move(s.witness.notes[0], map[string]string{"Idempotency-Key": "witness-paused"})
	return s.noFailure()
}

// witnessed fails unless the memory of the witness reads as a fold makes it.
func (s *story) witnessed(fold string) error {
	c := s.witness
	a := c.send(http.MethodGet, "/v1/memories/"+c.notes[0].ID.String(), map[string]string{positionName: c.position, "Prefer": waitPrefer}, nil)
	var m memory
	if !c.ok(a, "read the witness") || !c.parse(a, &m) {
		return s.noFailure()
	}
	got := newFold
	if m.UpdatedAt.After(m.CreatedAt) {
		got = oldFold
	}
	if got != fold {
		return fmt.Errorf("answered by %s, created %s, updated %s: %s; want %s", a.backend, m.CreatedAt, m.UpdatedAt, got, fold)
	}
	s.say("   answers are of %s", fold)
	return nil
}

// publishConfirmed adds a memory and then an event of the new kind, straight to the journal, as a plane of the new
// version does.
func (s *story) publishConfirmed(ctx context.Context, id uuid.UUID) error {
	tenant, err := s.plane.Directory.Tenant(ctx, sampleTenant)
	if err != nil {
		return err
	}
	key := envelope.Key{Tenant: tenant.ID, Entity: "memory", ID: id.String()}
	added := &events.MemoryAdded{UserID: uuid.New(), Private: events.MemoryPrivate{Content: "one two three"}}
	public, private, err := added.Halves()
	if err != nil {
		return err
	}
	last := uint64(0)
	for version, e := range []envelope.Event{
		{Kind: added.Kind(), Data: envelope.Compose(public, private, "hash")},
		{Kind: confirmedKind, Data: envelope.Compose([]byte(`{"by":"`+added.UserID.String()+`"}`), []byte("{}"), "hash")},
	} {
		e.Key, e.Version, e.Actor = key, uint64(version+1), "upgrade"
		e.CommandID = fmt.Sprint("confirmed-", version)
		e.EventID = envelope.MessageID(tenant.Key, key, e.CommandID)
		e.Time = time.Now().UTC().Truncate(time.Microsecond)
		receipt, err := s.plane.Journal.Shard(tenant.Shard).Append(ctx, &e, last)
		if err != nil {
			return fmt.Errorf("append %s: %w", e.Kind, err)
		}
		last = receipt.Seq
	}
	return nil
}

// awaitConfirmed waits until the new edition has folded the new event, and the old one has put its entity aside.
func (s *story) awaitConfirmed(ctx context.Context, id uuid.UUID) error {
	pool, err := s.plane.DB.Owner(ctx)
	if err != nil {
		return err
	}
	one := func(sql string, args ...any) func() error {
		return func() error {
			var n int
			err := pool.QueryRow(ctx, sql, args...).Scan(&n)
			if err == nil && n != 1 {
				err = fmt.Errorf("%d rows, want 1: %s", n, sql)
			}
			return err
		}
	}
	err = eventually(ctx, flipMax, one("SELECT count(*) FROM "+table(2, "memory")+" WHERE id = $1 AND confirmed_at IS NOT NULL AND words = 3", id))
	if err != nil {
		return err
	}
	return eventually(ctx, flipMax, one("SELECT count(*) FROM "+table(1, "held_entity")+" WHERE entity_id = $1 AND kind = $2", id.String(), confirmedKind))
}

func table(edition int64, name string) string {
	return pgx.Identifier{postgres.SchemaName(edition), name}.Sanitize()
}

// checkRows holds the rows of an edition against what was acknowledged, by plain SQL.
func (s *story) checkRows(ctx context.Context, edition int64) error {
	pool, err := s.plane.DB.Owner(ctx)
	if err != nil {
		return err
	}
	if err := s.plane.Editions.CatchUp(ctx, edition, nil); err != nil {
		return err
	}
	clients := append(s.load.clients, s.load.scanner, s.witness)
	want, revisions := map[uuid.UUID]*note{}, 0
	for _, c := range clients {
		for _, n := range c.notes {
			want[n.ID] = n
			revisions += n.contents
		}
	}
	if err := sameMemories(ctx, pool, edition, want); err != nil {
		return err
	}
	var lines, miscounted int
	err = errors.Join(
		pool.QueryRow(ctx, "SELECT count(*) FROM "+table(edition, "memory_revision")+" WHERE tenant_id = ANY ($1)", tenants).Scan(&lines),
		pool.QueryRow(ctx, "SELECT count(*) FROM "+table(edition, "memory")+` WHERE words <> array_length(regexp_split_to_array(trim(content), '\s+'), 1)`).Scan(&miscounted),
	)
	if err != nil {
		return err
	}
	if lines != revisions || miscounted != 0 {
		return fmt.Errorf("the new table has %d rows, want %d; the new column is wrong in %d rows", lines, revisions, miscounted)
	}
	s.say("   %d memories are in Postgres exactly as they were acknowledged, the new column and the %d rows of the new table as they must be", len(want), lines)
	return nil
}

func sameMemories(ctx context.Context, pool *pgxpool.Pool, edition int64, want map[uuid.UUID]*note) error {
	rows, err := pool.Query(ctx, "SELECT id, version, content, state FROM "+table(edition, "memory")+" WHERE tenant_id = ANY ($1)", tenants)
	if err != nil {
		return err
	}
	var got note
	found := 0
	_, err = pgx.ForEachRow(rows, []any{&got.ID, &got.Version, &got.Content, &got.State}, func() error {
		n := want[got.ID]
		if n == nil || n.Version != got.Version || n.Content != got.Content || n.State != got.State {
			return fmt.Errorf("the row of memory %s is %+v, want %+v", got.ID, got, n)
		}
		found++
		return nil
	})
	if err == nil && found != len(want) {
		err = fmt.Errorf("%d memories in Postgres, want %d", found, len(want))
	}
	return err
}
