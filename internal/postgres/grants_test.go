package postgres_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/testenv"
)

// ownCluster is a database that belongs to a login without superuser, as on a managed Postgres, in a cluster of its own:
// memberships are the cluster's. super is the same database for who runs the server.
func ownCluster(t testing.TB) (d, super *postgres.DB, address string) {
	t.Helper()
	server := testenv.PostgresServer(t, localstack.PostgresOptions{Fast: true}).URL()
	first := openURL(t, server)
	exec(t, first, "CREATE ROLE owner LOGIN CREATEROLE PASSWORD '"+password+"'")
	exec(t, first, "CREATE DATABASE owned OWNER owner")
	at := func(address string) string {
		u, err := url.Parse(address)
		must(t, err)
		u.Path = "/owned"
		return u.String()
	}
	address = at(loginURL(t, server, "owner", password))
	d = openURL(t, address)
	editions(t, d)
	return d, openURL(t, at(server)), address
}

func audited(t testing.TB, d *postgres.DB, edition int64) (faults []string) {
	t.Helper()
	a, err := d.Audit(t.Context(), edition)
	must(t, err)
	for _, f := range a.Findings {
		faults = append(faults, f.Text)
	}
	return append(faults, a.NotChecked...)
}

func mustBeSound(t testing.TB, d *postgres.DB, when string) {
	t.Helper()
	for edition := int64(1); edition <= 2; edition++ {
		if faults := audited(t, d, edition); len(faults) != 0 {
			t.Fatalf("%s edition %d is not sound: %v", when, edition, faults)
		}
	}
}

// TestAuditFindsRightsThatRefoldDoesNotGive does what opens the fences, one thing at a time, and asks who runs the server
// and who owns the database alike.
func TestAuditFindsRightsThatRefoldDoesNotGive(t *testing.T) {
	d, super, _ := ownCluster(t)
	mustBeSound(t, d, "at first")
	exec(t, super, "CREATE ROLE bob LOGIN")
	exec(t, super, "CREATE FOREIGN DATA WRAPPER none")
	exec(t, super, "CREATE SERVER nowhere FOREIGN DATA WRAPPER none")
	type damage struct{ do, undo, fault string }
	member := func(group, of string) damage {
		return damage{"GRANT " + group + " TO " + of, "REVOKE " + group + " FROM " + of, "role " + of + " is a member of " + group}
	}
	grant := func(what, to, fault string) damage {
		return damage{"GRANT " + what + " TO " + to, "REVOKE " + what + " FROM " + to, fault}
	}
	role := func(name, attribute, fault string) damage {
		return damage{"ALTER ROLE " + name + " " + attribute, "ALTER ROLE " + name + " NO" + attribute, "role " + name + " " + fault}
	}
	for _, c := range []damage{
		member("refold_verifier", "refold_reader"),
		member("refold_projector", "refold_reader"),
		member("refold_operator", "refold_reader"),
		member("refold_reader", "refold_verifier"),
		member("refold_sql", "refold_reader"),
		member("pg_read_all_data", "refold_reader"),
		member("pg_write_all_data", "refold_projector"),
		member("bob", "refold_operator"),
		member("refold_verifier", "bob"),
		member("refold_reader", "bob"),
		member("refold_projector", "bob"),
		member("refold_operator", "bob"),
		{"GRANT refold_verifier TO bob WITH ADMIN OPTION", "REVOKE refold_verifier FROM bob", "role bob is a member of refold_verifier"},
		role("refold_reader", "BYPASSRLS", "bypasses row level security"),
		role("refold_projector", "SUPERUSER", "bypasses row level security"),
		role("refold_verifier", "LOGIN", "can log in"),
		role("refold_operator", "CREATEROLE", "has rights beyond those granted"),
		role("refold_reader", "REPLICATION", "has rights beyond those granted"),
		grant("INSERT, UPDATE, DELETE ON edition_1.memory", "refold_reader", "role refold_reader may DELETE edition_1.memory"),
		grant("INSERT ON edition_1.memory", "refold_verifier", "role refold_verifier may INSERT edition_1.memory"),
		grant("TRUNCATE ON edition_1.memory", "refold_projector", "role refold_projector may TRUNCATE edition_1.memory"),
		grant("REFERENCES ON edition_1.memory", "bob", "role bob may REFERENCES edition_1.memory"),
		grant("TRIGGER ON edition_1.memory", "refold_projector", "role refold_projector may TRIGGER edition_1.memory"),
		grant("SELECT ON edition_1.memory", "refold_operator", "role refold_operator may SELECT edition_1.memory"),
		grant("SELECT ON edition_1.memory", "bob", "role bob may SELECT edition_1.memory"),
		grant("UPDATE (content) ON edition_1.memory", "refold_reader", "role refold_reader may UPDATE column edition_1.memory.content"),
		grant("SELECT ON edition_1.goose_db_version", "refold_reader", "role refold_reader may SELECT edition_1.goose_db_version"),
		grant("SELECT ON ALL TABLES IN SCHEMA edition_1", "PUBLIC", "every role may SELECT edition_1.memory"),
		grant("CREATE ON SCHEMA edition_1", "refold_projector", "role refold_projector may CREATE schema edition_1"),
		grant("USAGE ON SCHEMA edition_1", "PUBLIC", "every role may USAGE schema edition_1"),
		{"GRANT SELECT ON edition_1.memory TO refold_reader WITH GRANT OPTION", "REVOKE GRANT OPTION FOR SELECT ON edition_1.memory FROM refold_reader", "role refold_reader may SELECT edition_1.memory and grant that"},
		grant("SELECT ON control.tenant", "refold_reader", "role refold_reader may SELECT control.tenant"),
		grant("SELECT (id_key) ON control.tenant", "refold_verifier", "role refold_verifier may SELECT column control.tenant.id_key"),
		grant("SELECT ON control.kept_key", "refold_reader", "role refold_reader may SELECT control.kept_key"),
		grant("UPDATE ON control.live", "refold_reader", "role refold_reader may UPDATE control.live"),
		grant("SELECT ON control.tenant", "bob", "role bob may SELECT control.tenant"),
		grant("SELECT ON control.tenant", "PUBLIC", "every role may SELECT control.tenant"),
		grant("INSERT ON control.access", "refold_reader", "role refold_reader may INSERT control.access"),
		grant("SELECT ON control.access", "refold_verifier", "role refold_verifier may SELECT control.access"),
		grant("SELECT ON control.access", "PUBLIC", "every role may SELECT control.access"),
		grant("TRUNCATE ON control.report", "refold_operator", "role refold_operator may TRUNCATE control.report"),
		grant("UPDATE ON SEQUENCE control.flip_id_seq", "refold_reader", "role refold_reader may UPDATE control.flip_id_seq"),
		grant("CREATE ON SCHEMA control", "refold_operator", "role refold_operator may CREATE schema control"),
		grant("EXECUTE ON FUNCTION control.sql_follow_live()", "refold_reader", "role refold_reader may EXECUTE function control.sql_follow_live"),
		{
			"CREATE FUNCTION edition_1.f() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'", "DROP FUNCTION edition_1.f()",
			"function edition_1.f() is not refold's, and SECURITY DEFINER",
		},
		{
			"CREATE VIEW control.secret AS SELECT id_key FROM control.tenant; GRANT SELECT ON control.secret TO refold_reader", "DROP VIEW control.secret",
			"role refold_reader may SELECT control.secret",
		},
		{"CREATE FOREIGN TABLE edition_1.elsewhere (id uuid) SERVER nowhere", "DROP FOREIGN TABLE edition_1.elsewhere", "foreign table edition_1.elsewhere is not refold's"},
		{"ALTER TABLE edition_1.memory OWNER TO refold_reader", "ALTER TABLE edition_1.memory OWNER TO owner; GRANT SELECT ON edition_1.memory TO refold_reader", "role refold_reader owns edition_1.memory"},
		{"ALTER TABLE edition_1.memory OWNER TO bob", "ALTER TABLE edition_1.memory OWNER TO owner", "role bob owns edition_1.memory"},
		{"ALTER SCHEMA edition_1 OWNER TO refold_projector", "ALTER SCHEMA edition_1 OWNER TO owner; GRANT USAGE ON SCHEMA edition_1 TO refold_projector", "role refold_projector owns schema edition_1"},
		{"ALTER TABLE control.tenant OWNER TO refold_operator", "ALTER TABLE control.tenant OWNER TO owner; GRANT SELECT, INSERT, UPDATE, DELETE ON control.tenant TO refold_operator", "role refold_operator owns control.tenant"},
		{"ALTER TABLE edition_1.memory NO FORCE ROW LEVEL SECURITY", "ALTER TABLE edition_1.memory FORCE ROW LEVEL SECURITY", "forced row level security of table edition_1.memory is off, not on"},
	} {
		exec(t, super, c.do)
		for who, d := range map[string]*postgres.DB{"the owner": d, "a superuser": super} {
			if faults := audited(t, d, 1); !strings.Contains(strings.Join(faults, "\n"), c.fault) {
				t.Errorf("after %s, as %s: got %v, want %q", c.do, who, faults, c.fault)
			}
		}
		exec(t, super, c.undo)
		mustBeSound(t, d, "after "+c.undo)
	}
}

// TestAuditPassesWhatRefoldDoes: nothing that refold does by itself is a fault, and nothing that a managed Postgres gives a
// login which owns its database.
func TestAuditPassesWhatRefoldDoes(t *testing.T) {
	d, super, address := ownCluster(t)
	mustBeSound(t, d, "at first")
	login, _ := reader(t, d, address, "acme")
	another, _ := reader(t, d, address, "blue")
	mustBeSound(t, d, "with SQL readers")
	must(t, d.SetSQLReaderPassword(t.Context(), login, "another-password"))
	pool, err := d.Operator(t.Context())
	must(t, err)
	must(t, pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), "UPDATE control.live SET edition = 2, previous = 1"); err != nil {
			return err
		}
		return postgres.FollowLive(t.Context(), tx)
	}))
	must(t, d.DropSQLReader(t.Context(), another))
	must(t, d.Migrate(t.Context()))
	must(t, d.CreateEdition(t.Context(), 3))
	must(t, d.FinishEdition(t.Context(), 3, false))
	if faults := audited(t, d, 3); len(faults) != 0 {
		t.Fatalf("a third edition is not sound: %v", faults)
	}
	must(t, d.DropEdition(t.Context(), 3))
	mustBeSound(t, d, "after a flip, another password, a reader that went and an edition that came and went,")

	for _, sql := range []string{
		"CREATE ROLE rds_superuser NOLOGIN CREATEROLE CREATEDB",
		"GRANT pg_read_all_data, pg_write_all_data, pg_monitor, pg_signal_backend TO rds_superuser WITH ADMIN OPTION",
		"GRANT rds_superuser TO owner",
		"CREATE ROLE master LOGIN CREATEROLE CREATEDB IN ROLE rds_superuser", // it made the owner, and so it is a member
		"GRANT owner TO master",
		"GRANT refold_verifier TO master WITH ADMIN OPTION", // and the roles: since PostgreSQL 16 it has them so
		"CREATE ROLE refold_other LOGIN CREATEROLE",         // the login of another plane in this cluster
		"GRANT refold_reader, refold_projector TO refold_other WITH ADMIN OPTION",
		"CREATE ROLE refold_admin LOGIN SUPERUSER",
		"CREATE EXTENSION pg_stat_statements WITH SCHEMA public", // its views are everybody's
		"CREATE TABLE public.other (id bigint)",
		"ALTER ROLE owner NOCREATEROLE", // it is not needed any more, but for SQL readers
	} {
		exec(t, super, sql)
		mustBeSound(t, d, "after "+sql)
		mustBeSound(t, super, "as a superuser, after "+sql)
	}
	exec(t, super, "ALTER ROLE owner CREATEROLE")
}

// TestANewerBinaryMayHaveGrantedMore: binaries of two ages run side by side in an update.
func TestANewerBinaryMayHaveGrantedMore(t *testing.T) {
	d, _ := readable(t)
	exec(t, d, "CREATE TABLE control.next (id bigint)")
	exec(t, d, "GRANT SELECT ON control.next TO refold_operator, refold_reader")
	exec(t, d, "ALTER TABLE control.scrub ADD COLUMN next text; REVOKE INSERT ON control.repair FROM refold_operator")
	want := []string{
		"table control.next is not refold's", "role refold_operator may SELECT control.next", "role refold_reader may SELECT control.next",
		"column control.scrub.next is not refold's", "role refold_operator may not INSERT control.repair",
	}
	if faults := audited(t, d, 1); !sameTexts(faults, want) {
		t.Errorf("what no migration made: got %q, want %q", faults, want)
	}
	exec(t, d, "INSERT INTO control.goose_db_version (version_id, is_applied) VALUES (99999, true)")
	mustBeSound(t, d, "after a migration of a newer binary")
	exec(t, d, "GRANT SELECT ON control.tenant TO PUBLIC")
	exec(t, d, "GRANT DELETE ON control.access TO refold_reader")
	exec(t, d, "GRANT DELETE ON edition_1.memory TO refold_reader")
	exec(t, d, "ALTER TABLE control.scrub DROP COLUMN checked_at")
	want = []string{
		"role refold_reader may DELETE edition_1.memory", "every role may SELECT control.tenant", "role refold_reader may DELETE control.access",
		"column control.scrub.checked_at is missing",
	}
	if faults := slices.DeleteFunc(audited(t, d, 1), func(f string) bool { return strings.Contains(f, "refold_sql") }); !sameTexts(faults, want) {
		t.Errorf("got %q, want %q", faults, want)
	}
}

func sameTexts(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}
