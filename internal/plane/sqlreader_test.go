package plane_test

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/internal/directory"
	"github.com/refold-dev/refold/internal/edition"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/postgres"
)

// sqlReader makes a login of a tenant and returns how it connects; names are shared by the cluster.
func sqlReader(t *testing.T, p *plane.Plane, tenant string) (address string) {
	t.Helper()
	login, password := "p_"+strings.ToLower(postgres.NewPassword())[:12], postgres.NewPassword()
	if err := p.DB.CreateSQLReader(t.Context(), login, tenant, password); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.DB.DropSQLReader(context.Background(), login); err != nil && !errors.Is(err, postgres.ErrNoLogin) {
			t.Error(err)
		}
	})
	u, err := url.Parse(p.Stack.PostgresURL())
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(login, password)
	return u.String()
}

func sqlSession(t *testing.T, address string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// contents are the memories that a session sees, and the schema that it sees them in.
func contents(t *testing.T, conn *pgx.Conn) (schema string, all []string) {
	t.Helper()
	err := conn.QueryRow(t.Context(), "SELECT current_schema(), coalesce(array_agg(content ORDER BY content), '{}') FROM memory").Scan(&schema, &all)
	if err != nil {
		t.Fatal(err)
	}
	return schema, all
}

// remember appends a memory.
func remember(t *testing.T, p *plane.Plane, tenant directory.Tenant, content string) {
	t.Helper()
	publish(t, p, tenant, "memory", uuid.New(), 1, 0, &events.MemoryAdded{UserID: uuid.New(), Private: events.MemoryPrivate{Content: content}})
}

func TestSQLReadersFollowCutovers(t *testing.T) {
	p := open(t)
	acme, blue := tenantFor(t, p, "acme"), tenantFor(t, p, "blue")
	remember(t, p, acme, "of acme")
	remember(t, p, blue, "of blue")
	settle(t, p, 1)
	reader := sqlReader(t, p, "acme")
	first := sqlSession(t, reader)
	expect := func(conn *pgx.Conn, schema string, want ...string) {
		t.Helper()
		if at, got := contents(t, conn); at != schema || !slices.Equal(got, want) {
			t.Fatalf("got %v in %s, want %v in %s", got, at, want, schema)
		}
	}
	expect(first, "edition_1_sql", "of acme")

	second, err := p.Editions.Build(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	settle(t, p, second)
	mustBeClean(t, verifyEdition(t, p, second))
	if _, err := p.Editions.Cutover(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	remember(t, p, acme, "of acme, after the cutover")
	settle(t, p, 1)
	settle(t, p, second)
	// The open session stays in its edition, which is kept level; a new one reads the live one.
	expect(first, "edition_1_sql", "of acme", "of acme, after the cutover")
	expect(sqlSession(t, reader), "edition_2_sql", "of acme", "of acme, after the cutover")

	if _, err := p.Editions.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	expect(sqlSession(t, reader), "edition_1_sql", "of acme", "of acme, after the cutover")

	shard := acme.Shard
	if _, err := p.Editions.CutoverTenant(t.Context(), second, shard, "acme"); err != nil {
		t.Fatal(err)
	}
	expect(sqlSession(t, reader), "edition_2_sql", "of acme", "of acme, after the cutover")
	expect(sqlSession(t, sqlReader(t, p, "blue")), "edition_1_sql", "of blue")
}

func TestCheckNamesWhatIsWrongWithAnEdition(t *testing.T) {
	p := open(t)
	if err := p.Editions.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	pool, err := p.DB.OwnerOf(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		do, undo, names string
		want            error
	}{
		{"ALTER TABLE app ALTER COLUMN name DROP NOT NULL", "ALTER TABLE app ALTER COLUMN name SET NOT NULL", "name", edition.ErrShape},
		{"ALTER TABLE app NO FORCE ROW LEVEL SECURITY", "ALTER TABLE app FORCE ROW LEVEL SECURITY", "table edition_1.app", edition.ErrUnsafe},
	} {
		if _, err := pool.Exec(t.Context(), c.do); err != nil {
			t.Fatal(err)
		}
		if err := p.Editions.Check(t.Context()); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.names) {
			t.Fatalf("after %s: got %v, want %v", c.do, err, c.want)
		}
		if _, err := pool.Exec(t.Context(), c.undo); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Editions.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestAlteredControlTablesAreFoundAtTheStart(t *testing.T) {
	config := fresh(t)
	p := openWith(t, config)
	pool, err := p.DB.Owner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Exec(t.Context(), "ALTER TABLE control.checkpoint ALTER COLUMN seq TYPE integer"); err != nil {
		t.Fatal(err)
	}
	again := func(change func(*plane.Config)) (*plane.Plane, error) {
		c := config
		c.DataDir = t.TempDir() // the first one still holds the other
		change(&c)
		return plane.Open(t.Context(), c)
	}
	var drift *postgres.DriftError
	if _, err := again(func(*plane.Config) {}); !errors.As(err, &drift) || !strings.Contains(err.Error(), "control.checkpoint.seq is integer") {
		t.Fatalf("got %v, want the column", err)
	}
	q, err := again(func(c *plane.Config) { c.SkipVerifyMigrations = true })
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	status := q.Status(t.Context())
	if !strings.Contains(strings.Join(status.Notes, "\n"), "unverified_migrations: control tables at ") {
		t.Fatalf("status notes %v", status.Notes)
	}
}
