package postgres_test

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/testenv"
)

// readable returns a database with editions 1 and 2 that hold rows of two tenants; edition 1 is live.
func readable(t testing.TB) (*postgres.DB, string) {
	t.Helper()
	address := testenv.Postgres(t)
	d := openURL(t, address)
	editions(t, d)
	return d, address
}

func editions(t testing.TB, d *postgres.DB) {
	t.Helper()
	must(t, d.Migrate(t.Context()))
	for number := int64(1); number <= 2; number++ {
		must(t, d.CreateEdition(t.Context(), number))
		pool, err := d.OwnerOf(t.Context(), number)
		must(t, err)
		_, err = pool.Exec(t.Context(), `INSERT INTO category (tenant_id, id, version, name, created_at, updated_at)
			SELECT t, gen_random_uuid(), 1, t || ' of edition ' || $1::bigint, now(), now() FROM unnest(ARRAY['acme', 'blue']) AS t`, number)
		must(t, err)
		must(t, d.FinishEdition(t.Context(), number, false))
		exec(t, d, `INSERT INTO control.edition (number, schema_name, shape, state, epoch, created_at) VALUES ($1, $2, 'x', 'serving', 1, now())`,
			number, postgres.SchemaName(number))
	}
	exec(t, d, `INSERT INTO control.tenant (tenant_id, shard, name, id_key, seq, created_at) VALUES ('acme', 0, 'A', '', 1, now()), ('blue', 0, 'B', '', 2, now())`)
	exec(t, d, `INSERT INTO control.live (shard, tenant_id, edition, epoch, flipped_at) VALUES (0, '', 1, 1, now())`)
}

const password = "correct-horse-battery"

// reader makes a login of its own for a tenant; names are shared by the cluster.
func reader(t testing.TB, d *postgres.DB, address, tenant string) (login, readerURL string) {
	t.Helper()
	login = "r_" + strings.ToLower(postgres.NewPassword())[:12]
	must(t, d.CreateSQLReader(t.Context(), login, tenant, password))
	t.Cleanup(func() {
		if err := d.DropSQLReader(context.Background(), login); err != nil && !errors.Is(err, postgres.ErrNoLogin) {
			t.Error(err)
		}
	})
	return login, loginURL(t, address, login, password)
}

func loginURL(t testing.TB, address, login, password string) string {
	t.Helper()
	u, err := url.Parse(address)
	must(t, err)
	u.User = url.UserPassword(login, password)
	return u.String()
}

func connect(t testing.TB, address string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	must(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func names(t testing.TB, conn *pgx.Conn, sql string) []string {
	t.Helper()
	rows, err := conn.Query(t.Context(), sql)
	must(t, err)
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return all
}

func TestASQLReaderSeesItsTenant(t *testing.T) {
	d, address := readable(t)
	login, readerURL := reader(t, d, address, "acme")
	super := pgx.Identifier{one[string](t, d, "SELECT current_user::text")}.Sanitize()
	// Each of these runs in a session of its own; those that are refused leave the session as it was.
	for _, trick := range []string{
		"SELECT 1",
		"SET app.tenant = 'blue'",
		"SELECT set_config('app.tenant', 'blue', false)",
		"SET row_security = off",
		"SET ROLE refold_sql",
		"SET ROLE refold_reader",
		"SET ROLE refold_projector",
		"SET ROLE refold_verifier",
		"SET ROLE refold_operator",
		"SET ROLE " + super,
		"SET SESSION AUTHORIZATION " + super,
		"SET SESSION AUTHORIZATION DEFAULT",
		"RESET ROLE",
		"SET default_transaction_read_only = off",
		"ALTER ROLE " + login + " SET app.tenant = 'blue'",
		"ALTER ROLE " + login + " BYPASSRLS",
		"ALTER ROLE " + login + " RENAME TO other",
		"GRANT refold_verifier TO " + login,
	} {
		t.Run(trick, func(t *testing.T) {
			conn := connect(t, readerURL)
			_, _ = conn.Exec(t.Context(), trick)
			for schema, want := range map[string]string{"": "acme of edition 1", "edition_1_sql.": "acme of edition 1", "edition_2_sql.": "acme of edition 2"} {
				var got []string
				rows, err := conn.Query(t.Context(), "SELECT name FROM "+schema+"category")
				if err == nil {
					got, err = pgx.CollectRows(rows, pgx.RowTo[string])
				}
				if isCode(err, "42501") && trick == "SET row_security = off" {
					continue // an error instead of a filter: nothing is shown either
				}
				if err != nil || !slices.Equal(got, []string{want}) {
					t.Fatalf("%scategory: got %v %v, want only %q", schema, got, err, want)
				}
			}
		})
	}
	t.Run("a name further up the path", func(t *testing.T) {
		conn := connect(t, readerURL)
		_, err := conn.Exec(t.Context(), "SET search_path = edition_2_sql")
		must(t, err)
		if got := names(t, conn, "SELECT name FROM category"); !slices.Equal(got, []string{"acme of edition 2"}) {
			t.Fatalf("got %v", got)
		}
	})
}

func isCode(err error, code string) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == code
}

func TestASQLReaderDoesNothingElse(t *testing.T) {
	d, address := readable(t)
	exec(t, d, "CREATE TABLE public.other (secret text)")
	login, readerURL := reader(t, d, address, "acme")
	super := pgx.Identifier{one[string](t, d, "SELECT current_user::text")}.Sanitize()
	conn := connect(t, readerURL)
	if got := names(t, conn, "SHOW default_transaction_read_only"); got[0] != "on" {
		t.Fatal("a session does not begin read-only")
	}
	if _, err := conn.Exec(t.Context(), "SET default_transaction_read_only = off"); err != nil {
		t.Fatal(err) // what follows is refused by rights, not by this setting
	}
	for _, sql := range []string{
		"INSERT INTO category (tenant_id, id, version, name, created_at, updated_at) VALUES ('acme', gen_random_uuid(), 1, 'x', now(), now())",
		"UPDATE category SET name = 'x'",
		"DELETE FROM category",
		"TRUNCATE category",
		"SELECT * FROM category FOR UPDATE",
		"DO 'BEGIN LOCK TABLE category IN ACCESS EXCLUSIVE MODE; END'",
		"ALTER TABLE category DISABLE ROW LEVEL SECURITY",
		"CREATE POLICY mine ON category USING (true)",
		"DROP POLICY sql_reader ON category",
		"CREATE TABLE edition_1.mine (id bigint)",
		"CREATE TABLE public.mine (id bigint)",
		"CREATE TEMPORARY TABLE mine (id bigint)",
		"CREATE SCHEMA mine",
		"CREATE VIEW edition_1.mine AS SELECT 1",
		"CREATE FUNCTION public.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
		"CREATE ROLE mine",
		"DROP TABLE category",
		"SELECT * FROM edition_1.category",
		"INSERT INTO edition_1.category SELECT * FROM category",
		"DO 'BEGIN LOCK TABLE edition_1.category IN ACCESS SHARE MODE; END'",
		"SELECT * FROM edition_1.goose_db_version",
		"SELECT * FROM control.goose_db_version",
		"SELECT * FROM control.tenant",
		"SELECT * FROM control.sql_reader",
		"SELECT * FROM control.live",
		"SELECT * FROM control.setting",
		"SELECT control.sql_tenant()",
		"SELECT control.sql_follow_live()",
		"SELECT * FROM public.other",
		"COPY category TO PROGRAM 'cat'",
		"COPY category TO '/tmp/category'",
		"SELECT pg_read_file('/etc/passwd')",
		"SELECT rolpassword FROM pg_authid",
		"SET SESSION AUTHORIZATION " + super,
		"SET ROLE " + super,
		"SET ROLE refold_operator",
		"ALTER ROLE " + login + " SUPERUSER",
	} {
		_, err := conn.Exec(t.Context(), sql)
		// 55000, 42809, 42704: what is written, emptied or dropped is a view that reads a function.
		if !isCode(err, "42501") && !isCode(err, "55000") && !isCode(err, "42809") && !isCode(err, "42704") {
			t.Errorf("%s: got %v, want that it may not", sql, err)
		}
	}
	if got := names(t, connect(t, readerURL), "SELECT name FROM category"); !slices.Equal(got, []string{"acme of edition 1"}) {
		t.Fatalf("got %v", got)
	}
}

func TestALoginWithoutTenantSeesNothing(t *testing.T) {
	d, address := readable(t)
	login, readerURL := reader(t, d, address, "acme")
	exec(t, d, "UPDATE control.sql_reader SET login = 'gone_'|| login")
	if got := names(t, connect(t, readerURL), "SELECT name FROM category"); len(got) != 0 {
		t.Fatalf("got %v, want nothing", got)
	}
	exec(t, d, "UPDATE control.sql_reader SET login = $1", login)
}

func TestSQLReadersFollowTheLiveEdition(t *testing.T) {
	d, address := readable(t)
	_, a := reader(t, d, address, "acme")
	_, b := reader(t, d, address, "blue")
	open := connect(t, a)
	reads := func(url string) string { return names(t, connect(t, url), "SELECT name FROM category")[0] }
	flip := func(sql string, args ...any) {
		t.Helper()
		pool, err := d.Operator(t.Context())
		must(t, err)
		must(t, pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
			if _, err := tx.Exec(t.Context(), sql, args...); err != nil {
				return err
			}
			return postgres.FollowLive(t.Context(), tx)
		}))
	}
	expect := func(wantA, wantB string) {
		t.Helper()
		if gotA, gotB := reads(a), reads(b); gotA != wantA || gotB != wantB {
			t.Fatalf("got %q and %q, want %q and %q", gotA, gotB, wantA, wantB)
		}
		if got := names(t, open, "SELECT name FROM category")[0]; got != "acme of edition 1" {
			t.Fatalf("the open session went to %q", got)
		}
	}
	expect("acme of edition 1", "blue of edition 1")
	flip("UPDATE control.live SET edition = 2, previous = 1")
	expect("acme of edition 2", "blue of edition 2")
	flip("UPDATE control.live SET edition = 1, previous = 2")
	expect("acme of edition 1", "blue of edition 1")
	flip("INSERT INTO control.live (shard, tenant_id, edition, epoch, flipped_at) VALUES (0, 'acme', 2, 1, now())") // a canary
	expect("acme of edition 2", "blue of edition 1")
	flip("DELETE FROM control.live WHERE tenant_id = 'acme'")
	expect("acme of edition 1", "blue of edition 1")
	// A flip that is rolled back moves nobody.
	pool, err := d.Operator(t.Context())
	must(t, err)
	stop := errors.New("stop")
	err = pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), "UPDATE control.live SET edition = 2"); err != nil {
			return err
		}
		return errors.Join(stop, postgres.FollowLive(t.Context(), tx))
	})
	if !errors.Is(err, stop) {
		t.Fatal(err)
	}
	expect("acme of edition 1", "blue of edition 1")
}

// TestFlipsAtOnce: two shards flip at the same time, over the same logins.
func TestFlipsAtOnce(t *testing.T) {
	d, address := readable(t)
	exec(t, d, "INSERT INTO control.live (shard, tenant_id, edition, epoch, flipped_at) VALUES (1, '', 1, 1, now())")
	exec(t, d, "UPDATE control.tenant SET shard = 1 WHERE tenant_id = 'blue'")
	_, a := reader(t, d, address, "acme")
	_, b := reader(t, d, address, "blue")
	pool, err := d.Operator(t.Context())
	must(t, err)
	done := make(chan error, 2)
	const rounds = 20
	for shard := range 2 {
		go func() {
			for round := range rounds {
				err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
					if _, err := tx.Exec(t.Context(), "UPDATE control.live SET edition = $1 WHERE shard = $2", round%2+1, shard); err != nil {
						return err
					}
					return postgres.FollowLive(t.Context(), tx)
				})
				if err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	must(t, <-done)
	must(t, <-done)
	for url, want := range map[string]string{a: "acme of edition 2", b: "blue of edition 2"} {
		if got := names(t, connect(t, url), "SELECT name FROM category")[0]; got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
}

func TestLogins(t *testing.T) {
	d, address := readable(t)
	login, readerURL := reader(t, d, address, "acme")
	super := one[string](t, d, "SELECT current_user::text")
	all, err := d.SQLReaders(t.Context())
	if err != nil || len(all) != 1 || all[0].Login != login || all[0].Tenant != "acme" || all[0].Schema != "edition_1_sql" {
		t.Fatalf("%+v %v", all, err)
	}
	for name, want := range map[string]error{
		login: postgres.ErrLoginExists, super: postgres.ErrLoginExists, "refold_sql2": postgres.ErrLoginName, "pg_x": postgres.ErrLoginName,
		"A": postgres.ErrLoginName, "": postgres.ErrLoginName, `a"b`: postgres.ErrLoginName, strings.Repeat("a", 64): postgres.ErrLoginName,
	} {
		if err := d.CreateSQLReader(t.Context(), name, "acme", password); !errors.Is(err, want) {
			t.Errorf("login %q: got %v, want %v", name, err, want)
		}
	}
	for _, weak := range []string{"", "short", "a password with blanks", "ümlaut-ümlaut-ümlaut", strings.Repeat("x", 200)} {
		if err := d.SetSQLReaderPassword(t.Context(), login, weak); !errors.Is(err, postgres.ErrPassword) {
			t.Errorf("password %q: got %v, want ErrPassword", weak, err)
		}
	}
	must(t, d.SetSQLReaderPassword(t.Context(), login, "another-password"))
	if _, err := pgx.Connect(t.Context(), readerURL); !isCode(err, "28P01") {
		t.Fatalf("the old password: got %v, want 28P01", err)
	}
	conn := connect(t, loginURL(t, address, login, "another-password"))
	if err := d.SetSQLReaderPassword(t.Context(), super, password); !errors.Is(err, postgres.ErrNoLogin) {
		t.Fatalf("password of another role: %v", err)
	}
	if err := d.DropSQLReader(t.Context(), super); !errors.Is(err, postgres.ErrNoLogin) {
		t.Fatalf("drop of another role: %v", err)
	}
	must(t, d.DropSQLReader(t.Context(), login))
	if err := conn.Ping(t.Context()); err == nil {
		t.Fatal("the session of a dropped login goes on")
	}
	if one[bool](t, d, "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", login) {
		t.Fatal("the role is still there")
	}
	if err := d.DropSQLReader(t.Context(), login); !errors.Is(err, postgres.ErrNoLogin) {
		t.Fatal(err)
	}
}

func TestAuditFindsWhatASQLReaderMustNotDo(t *testing.T) {
	d, address := readable(t)
	login, _ := reader(t, d, address, "acme")
	sound := func() []string {
		t.Helper()
		return audited(t, d, 1)
	}
	if faults := sound(); len(faults) != 0 {
		t.Fatalf("a new edition is not sound: %v", faults)
	}
	database := one[string](t, d, "SELECT quote_ident(current_database())")
	const restored = `CREATE OR REPLACE FUNCTION control.sql_tenant() RETURNS text LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER
		SET search_path = pg_catalog, pg_temp AS $$SELECT r.tenant_id FROM control.sql_reader r WHERE r.login = session_user::text$$`
	policy := "CREATE POLICY sql_reader ON edition_1.app FOR SELECT TO CURRENT_USER USING (tenant_id = (SELECT control.sql_tenant()))"
	for _, c := range []struct{ do, undo, fault string }{
		{"CREATE POLICY extra ON edition_1.app FOR SELECT TO refold_sql USING (true)", "DROP POLICY extra ON edition_1.app", "policy extra of table edition_1.app is not refold's"},
		{"CREATE POLICY extra ON edition_1.app FOR SELECT TO PUBLIC USING (true)", "DROP POLICY extra ON edition_1.app", "policy extra of table edition_1.app is not refold's"},
		{"DROP POLICY sql_reader ON edition_1.app", policy, "policy sql_reader of table edition_1.app is missing"},
		{"ALTER POLICY sql_reader ON edition_1.app USING (true)", "ALTER POLICY sql_reader ON edition_1.app USING (tenant_id = (SELECT control.sql_tenant()))", "policy sql_reader of table edition_1.app is not as refold made it"},
		{"ALTER POLICY reader ON edition_1.app TO refold_reader, refold_sql", "ALTER POLICY reader ON edition_1.app TO refold_reader", "policy reader of table edition_1.app is not as refold made it"},
		{"GRANT SELECT ON edition_1.app TO PUBLIC", "REVOKE SELECT ON edition_1.app FROM PUBLIC", "every role may SELECT edition_1.app"},
		{"GRANT UPDATE ON edition_1.app TO " + login, "REVOKE UPDATE ON edition_1.app FROM " + login, "may change edition_1.app"},
		{"GRANT UPDATE (name) ON edition_1.app TO refold_sql", "REVOKE UPDATE (name) ON edition_1.app FROM refold_sql", "may change edition_1.app"},
		{"GRANT SELECT ON edition_1.goose_db_version TO refold_sql", "REVOKE SELECT ON edition_1.goose_db_version FROM refold_sql", "may read edition_1.goose_db_version"},
		{"GRANT SELECT ON control.tenant TO " + login, "REVOKE SELECT ON control.tenant FROM " + login, "may read control.tenant"},
		{"GRANT SELECT (name) ON control.tenant TO PUBLIC", "REVOKE SELECT (name) ON control.tenant FROM PUBLIC", "may read control.tenant"},
		{"GRANT USAGE ON SCHEMA control TO refold_sql", "REVOKE USAGE ON SCHEMA control FROM refold_sql", "may enter schema control"},
		{"GRANT refold_verifier TO " + login, "REVOKE refold_verifier FROM " + login, "is a member of refold_verifier"},
		{"GRANT pg_read_all_data TO " + login, "REVOKE pg_read_all_data FROM " + login, "is a member of pg_read_all_data"},
		{"GRANT refold_sql TO " + login + " WITH ADMIN OPTION", "REVOKE ADMIN OPTION FOR refold_sql FROM " + login, "is a member of refold_sql"},
		{"ALTER ROLE " + login + " BYPASSRLS", "ALTER ROLE " + login + " NOBYPASSRLS", "has rights beyond those of a reader"},
		{"ALTER ROLE " + login + " CREATEROLE", "ALTER ROLE " + login + " NOCREATEROLE", "has rights beyond those of a reader"},
		{"ALTER ROLE refold_sql LOGIN", "ALTER ROLE refold_sql NOLOGIN", "role refold_sql can log in"},
		{"GRANT CREATE ON SCHEMA public TO PUBLIC", "REVOKE CREATE ON SCHEMA public FROM PUBLIC", "may create in schema public"},
		{"GRANT TEMPORARY ON DATABASE " + database + " TO PUBLIC", "REVOKE TEMPORARY ON DATABASE " + database + " FROM PUBLIC", "may make temporary tables"},
		{"GRANT EXECUTE ON FUNCTION control.sql_follow_live() TO PUBLIC", "REVOKE EXECUTE ON FUNCTION control.sql_follow_live() FROM PUBLIC", "may run control.sql_follow_live"},
		{"ALTER FUNCTION control.sql_tenant() RESET search_path", "ALTER FUNCTION control.sql_tenant() SET search_path = pg_catalog, pg_temp", "sql_tenant() is not as refold made it"},
		{"ALTER FUNCTION control.sql_tenant() SECURITY INVOKER", "ALTER FUNCTION control.sql_tenant() SECURITY DEFINER", "sql_tenant() is not as refold made it"},
		{strings.Replace(restored, "session_user", "current_setting('app.login')", 1), restored, "sql_tenant() is not as refold made it"},
		{"CREATE FUNCTION public.f() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'", "DROP FUNCTION public.f()", "may run public.f as its owner"},
		{"CREATE VIEW edition_1.v AS SELECT 1", "DROP VIEW edition_1.v", "view edition_1.v is not refold's"},
	} {
		exec(t, d, c.do)
		if faults := sound(); !strings.Contains(strings.Join(faults, "\n"), c.fault) {
			t.Errorf("after %s: got %v, want %q", c.do, faults, c.fault)
		}
		exec(t, d, c.undo)
		if faults := sound(); len(faults) != 0 {
			t.Fatalf("after %s: %v", c.undo, faults)
		}
	}
}

// TestAnOwnerThatIsNoSuperuser does everything with a login that may make roles and owns the database, no more. It has
// a cluster of its own, in which nobody has made the roles before.
func TestAnOwnerThatIsNoSuperuser(t *testing.T) {
	address := testenv.PostgresServer(t, localstack.PostgresOptions{Fast: true}).URL()
	super := openURL(t, address)
	exec(t, super, "CREATE ROLE owner LOGIN CREATEROLE PASSWORD '"+password+"'")
	exec(t, super, "CREATE DATABASE owned OWNER owner")
	u, err := url.Parse(loginURL(t, address, "owner", password))
	must(t, err)
	u.Path = "/owned"
	address = u.String()
	d := openURL(t, address)
	editions(t, d)
	login, readerURL := reader(t, d, address, "acme")
	for number := int64(1); number <= 2; number++ {
		if faults := audited(t, d, number); len(faults) != 0 {
			t.Fatal(faults)
		}
	}
	conn := connect(t, readerURL)
	if got := names(t, conn, "SELECT name FROM category"); !slices.Equal(got, []string{"acme of edition 1"}) {
		t.Fatalf("got %v", got)
	}
	pool, err := d.Operator(t.Context())
	must(t, err)
	must(t, pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), "UPDATE control.live SET edition = 2"); err != nil {
			return err
		}
		return postgres.FollowLive(t.Context(), tx)
	}))
	if got := names(t, connect(t, readerURL), "SELECT name FROM category"); !slices.Equal(got, []string{"acme of edition 2"}) {
		t.Fatalf("got %v", got)
	}
	must(t, d.SetSQLReaderPassword(t.Context(), login, "another-password"))
	must(t, d.DropSQLReader(t.Context(), login))
	if err := conn.Ping(t.Context()); err == nil {
		t.Fatal("the session of a dropped login goes on")
	}
}
