package postgres_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/postgres/db"
)

// entered goes through the door and returns the categories that it sees there, without naming a tenant.
func entered(t testing.TB, pool *pgxpool.Pool, entry postgres.Entry) (checkpoint db.ControlCheckpoint, seen []string, err error) {
	t.Helper()
	checkpoint, err = postgres.WithTenant(t.Context(), pool, entry, func(q *db.Queries) error {
		rows, err := q.CategoryPage(t.Context(), db.CategoryPageParams{TenantID: entry.Tenant, UserID: uuid.Nil, CountMax: 10})
		if len(rows) != 0 {
			t.Errorf("categories of no memory: %v", rows)
		}
		return err
	})
	if err != nil {
		return checkpoint, nil, err
	}
	// The connection that was just used, with all that may have stayed on it.
	must(t, pool.QueryRow(t.Context(), "SELECT coalesce(array_agg(name), '{}') FROM category").Scan(&seen))
	return checkpoint, seen, nil
}

// TestTheDoorCutsStatements: a statement that takes longer than it may is cut, alone and in a transaction, and the time is no
// matter of whoever has the connection next.
func TestTheDoorCutsStatements(t *testing.T) {
	d, _ := readable(t)
	pool, err := d.Reader(t.Context(), 1)
	must(t, err)
	owner, err := d.OwnerOf(t.Context(), 1)
	must(t, err)
	usual := func() (setting string) {
		must(t, pool.QueryRow(t.Context(), "SHOW statement_timeout").Scan(&setting))
		return setting
	}
	before := usual()
	for _, single := range []bool{true, false} {
		_, _, err := entered(t, pool, postgres.Entry{Tenant: "acme", Single: single}) // what follows is prepared
		must(t, err)
		blocker, err := owner.Begin(t.Context())
		must(t, err)
		_, err = blocker.Exec(t.Context(), "LOCK TABLE category IN ACCESS EXCLUSIVE MODE")
		must(t, err)
		entry := postgres.Entry{Tenant: "acme", Single: single, StatementMax: 50 * time.Millisecond}
		began := time.Now()
		if _, _, err := entered(t, pool, entry); !postgres.IsTimeout(err) || time.Since(began) > 10*time.Second {
			t.Errorf("single %t: %v after %s, want that the statement was cut", single, err, time.Since(began))
		}
		must(t, blocker.Rollback(t.Context()))
		if _, _, err := entered(t, pool, entry); err != nil {
			t.Errorf("single %t: %v once nothing is in its way", single, err)
		}
		if after := usual(); after != before {
			t.Errorf("single %t: statement_timeout stays at %s, want %s", single, after, before)
		}
	}
}

func TestTheDoor(t *testing.T) {
	d, _ := readable(t)
	pool, err := d.Reader(t.Context(), 1)
	must(t, err)
	moved := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	exec(t, d, `INSERT INTO control.checkpoint (edition, shard, journal_id, incarnation, stream, seq, event_digest, chain, epoch, holder, holder_pid, updated_at)
		VALUES (1, 3, 'j', 2, 's', 77, '', '', 1, 'h', 1, $1)`, moved)
	for _, entry := range []postgres.Entry{
		{}, {Single: true}, {Planned: true}, {Planned: true, Single: true},
	} {
		entry.Tenant, entry.Edition, entry.Shard = "acme", 1, 3
		checkpoint, seen, err := entered(t, pool, entry)
		if err != nil || checkpoint.Seq != 77 || checkpoint.JournalID != "j" || checkpoint.Incarnation != 2 || checkpoint.Shard != 3 || !checkpoint.UpdatedAt.Equal(moved) {
			t.Errorf("%+v: %+v, %v", entry, checkpoint, err)
		}
		if len(seen) != 0 {
			t.Errorf("%+v: the tenant stays on the connection, which sees %v", entry, seen)
		}
		entry.Shard = 4
		if _, _, err := entered(t, pool, entry); !errors.Is(err, postgres.ErrNoCheckpoint) {
			t.Errorf("%+v: %v, want that there is no checkpoint", entry, err)
		}
		entry.Edition = 0
		if checkpoint, _, err := entered(t, pool, entry); err != nil || checkpoint.Edition != 0 {
			t.Errorf("%+v: %+v, %v", entry, checkpoint, err)
		}
	}
}

// TestTheDoorOfATenant: row level security admits the rows of the tenant that went through, query after query.
func TestTheDoorOfATenant(t *testing.T) {
	d, _ := readable(t)
	pool, err := d.Reader(t.Context(), 1)
	must(t, err)
	ids := map[string]uuid.UUID{}
	for _, tenant := range []string{"acme", "blue"} {
		ids[tenant] = one[uuid.UUID](t, d, "SELECT id FROM edition_1.category WHERE tenant_id = $1", tenant)
	}
	for setting, want := range map[string]string{"default_transaction_isolation": "repeatable read", "default_transaction_read_only": "on"} {
		var got string
		if err := pool.QueryRow(t.Context(), "SELECT current_setting($1)", setting).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %q, %v, want %q: a single question has no other transaction", setting, got, err, want)
		}
	}
	for _, entry := range []postgres.Entry{{Tenant: "acme", Single: true}, {Tenant: "acme", Single: true, Planned: true}} {
		_, err = postgres.WithTenant(t.Context(), pool, entry, func(q *db.Queries) error {
			found, err := q.CategoryOfEntities(t.Context(), db.CategoryOfEntitiesParams{
				TenantIds: []string{"acme", "blue"}, Ids: []uuid.UUID{ids["acme"], ids["blue"]},
			})
			if err != nil || len(found) != 1 || found[0].TenantID != "acme" {
				t.Errorf("%+v: found %v, %v", entry, found, err)
			}
			return nil
		})
		must(t, err)
	}
	_, err = postgres.WithTenant(t.Context(), pool, postgres.Entry{Tenant: "acme"}, func(q *db.Queries) error {
		for range 2 {
			found, err := q.CategoryOfEntities(t.Context(), db.CategoryOfEntitiesParams{
				TenantIds: []string{"acme", "blue"}, Ids: []uuid.UUID{ids["acme"], ids["blue"]},
			})
			if err != nil || len(found) != 1 || found[0].TenantID != "acme" {
				t.Errorf("found %v, %v", found, err)
			}
		}
		return nil
	})
	must(t, err)
}

// TestTheDoorKeepsItsWord: one that was opened for a single query takes no second one, none at all still gives the
// checkpoint, and what fn says comes back beside it.
func TestTheDoorKeepsItsWord(t *testing.T) {
	d, _ := readable(t)
	pool, err := d.Reader(t.Context(), 1)
	must(t, err)
	exec(t, d, `INSERT INTO control.checkpoint (edition, shard, journal_id, incarnation, stream, seq, event_digest, chain, epoch, holder, holder_pid, updated_at)
		VALUES (1, 0, 'j', 2, 's', 77, '', '', 1, 'h', 1, now())`)
	entry := postgres.Entry{Tenant: "acme", Edition: 1, Single: true}
	ask := func(q *db.Queries) error {
		_, err := q.AppIsActive(t.Context(), db.AppIsActiveParams{TenantID: "acme", ID: uuid.New(), OwnerID: uuid.New()})
		return err
	}
	checkpoint, err := postgres.WithTenant(t.Context(), pool, entry, ask)
	if !errors.Is(err, pgx.ErrNoRows) || checkpoint.Seq != 77 {
		t.Errorf("a row that is not there: %+v, %v", checkpoint, err)
	}
	if checkpoint, err = postgres.WithTenant(t.Context(), pool, entry, func(*db.Queries) error { return nil }); err != nil || checkpoint.Seq != 77 {
		t.Errorf("no query: %+v, %v", checkpoint, err)
	}
	_, err = postgres.WithTenant(t.Context(), pool, entry, func(q *db.Queries) error {
		if err := ask(q); !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		return ask(q)
	})
	if err == nil || errors.Is(err, pgx.ErrNoRows) {
		t.Errorf("a second query: %v", err)
	}
	if _, err := postgres.WithTenant(t.Context(), pool, postgres.Entry{}, ask); !errors.Is(err, postgres.ErrNoTenant) {
		t.Errorf("no tenant: %v", err)
	}
	if stat := pool.Stat(); stat.AcquiredConns() != 0 || !slices.Contains([]int32{1, 2}, stat.TotalConns()) {
		t.Errorf("%d connections in use of %d: a door was not closed", stat.AcquiredConns(), stat.TotalConns())
	}
}
