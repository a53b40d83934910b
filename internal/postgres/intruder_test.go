package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/testenv"
)

// lockID is the number of a lock of schema changes.
func lockID(name string) int64 {
	h := fnv.New64a()
	h.Write([]byte(name))
	return int64(h.Sum64() >> 1)
}

// besiege keeps statements running in sessions of a login, one session for each, and begins each again whenever it was
// ended, until the test ends. It returns when all are connected.
func besiege(t *testing.T, address string, statements ...string) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	var all, first sync.WaitGroup
	for _, sql := range statements {
		all.Add(1)
		first.Add(1)
		go func() {
			defer all.Done()
			once := sync.OnceFunc(first.Done)
			for ctx.Err() == nil {
				conn, err := pgx.Connect(ctx, address)
				if err != nil {
					once() // it is not let in, or not yet again
					continue
				}
				once()
				for err == nil && ctx.Err() == nil {
					_, err = conn.PgConn().Exec(ctx, sql).ReadAll()
					if strings.HasPrefix(sql, "SELECT pg_advisory") || strings.HasPrefix(sql, "BEGIN") {
						for err == nil && ctx.Err() == nil { // it holds what it has
							_, err = conn.Exec(ctx, "SELECT pg_sleep(0.05)")
						}
					}
				}
				_ = conn.Close(context.Background())
			}
		}()
	}
	first.Wait()
	t.Cleanup(func() { stop(); all.Wait() })
}

// within fails when something takes longer: nobody may keep refold waiting.
func within(t *testing.T, most time.Duration, what string, do func() error) {
	t.Helper()
	begun := time.Now()
	done := make(chan error, 1)
	go func() { done <- do() }()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		t.Logf("%s took %s", what, time.Since(begun).Round(time.Millisecond))
	case <-time.After(most):
		t.Fatalf("%s hangs for %s", what, most)
	}
}

// TestSQLReadersHoldNoLockOfRefold: where nobody can take pg_advisory_lock from them, two logins with several sessions each
// hold every lock of refold, and take it again as soon as they can.
func TestSQLReadersHoldNoLockOfRefold(t *testing.T) {
	d, _, address := ownCluster(t)
	_, a := reader(t, d, address, "acme")
	_, b := reader(t, d, address, "blue")
	var lock []string
	for _, name := range []string{"refold roles", "refold edition_3"} {
		lock = append(lock, fmt.Sprintf("SELECT pg_advisory_lock(%d)", lockID(name)))
	}
	for _, name := range []string{"refold projector 1 0", "refold reconcile"} {
		lock = append(lock, fmt.Sprintf("SELECT pg_advisory_lock(hashtextextended('%s', 0))", name))
	}
	besiege(t, a, append(lock, lock...)...)
	besiege(t, b, append(slices.Clone(lock), `DO $$ BEGIN WHILE NOT pg_try_advisory_lock(hashtextextended('refold projector 1 0', 0)) LOOP END LOOP; PERFORM pg_sleep(60); END $$`)...)
	for !one[bool](t, d, "SELECT count(DISTINCT objid) >= 4 FROM pg_locks WHERE locktype = 'advisory' AND granted") {
		time.Sleep(time.Millisecond)
	}
	const most = 30 * time.Second
	within(t, most, "the roles at a start", func() error { return d.Migrate(t.Context()) })
	within(t, most, "the schema of an edition", func() error { return d.CreateEdition(t.Context(), 3) })
	within(t, most, "the keys of an edition", func() error { return d.FinishEdition(t.Context(), 3, false) })
	within(t, most, "the lock of a projector", func() error {
		release, mine, err := d.TryLock(t.Context(), "refold projector 1 0")
		if err == nil && !mine {
			return errors.New("another session has it")
		}
		if err == nil {
			release()
		}
		return err
	})
	within(t, most, "several locks", func() error {
		release, err := d.TakeLocks(t.Context(), most, "refold reconcile", "refold projector 1 0")
		if err == nil {
			release()
		}
		return err
	})
	within(t, most, "a lock in a transaction", func() error {
		pool, err := d.Operator(t.Context())
		if err != nil {
			return err
		}
		return pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
			return d.LockInTx(t.Context(), tx, "refold roles", lockID("refold roles"), most)
		})
	})
	within(t, most, "the end of an edition", func() error { return d.DropEdition(t.Context(), 3) })
}

// TestFunctionsThatSQLReadersMayNotRun: where refold runs the server, they are nobody's but those roles' that need them.
func TestFunctionsThatSQLReadersMayNotRun(t *testing.T) {
	d, address := readable(t)
	if faults := audited(t, d, 1); len(faults) != 0 {
		t.Fatal(faults)
	}
	_, readerURL := reader(t, d, address, "acme")
	conn := connect(t, readerURL)
	for _, sql := range []string{
		"SET default_transaction_read_only = off",
		"SELECT pg_advisory_lock(1)", "SELECT pg_try_advisory_lock_shared(1)", "SELECT pg_advisory_xact_lock(1, 2)", "SELECT pg_advisory_unlock_all()",
		"SELECT lo_create(0)", "SELECT lo_creat(-1)", "SELECT lo_from_bytea(0, 'x')", "SELECT lo_put(1, 0, 'x')", "SELECT lo_open(1, 131072)", "SELECT lo_unlink(1)",
		"SELECT * FROM pg_locks", "SELECT * FROM pg_stat_activity", "SELECT * FROM pg_stat_user_tables", "SELECT pg_database_size(current_database())",
		"SELECT pg_relation_size('pg_class')",
	} {
		_, err := conn.Exec(t.Context(), sql)
		if strings.HasPrefix(sql, "SET") {
			must(t, err)
		} else if !isCode(err, "42501") {
			t.Errorf("%s: got %v, want that it may not", sql, err)
		}
	}
	for _, pool := range []func(context.Context, int64) error{
		func(ctx context.Context, n int64) error {
			p, err := d.Verifier(ctx, n)
			if err == nil {
				_, err = p.Exec(ctx, "SELECT pg_relation_size('memory'), count(*) FROM pg_stat_activity")
			}
			return err
		},
		func(ctx context.Context, n int64) error {
			p, err := d.Projector(ctx, n)
			if err == nil {
				_, err = p.Exec(ctx, "SELECT pg_try_advisory_xact_lock_shared(1), count(*) FROM pg_stat_activity")
			}
			return err
		},
	} {
		must(t, pool(t.Context(), 1))
	}
	for _, c := range []struct{ do, says string }{
		{"GRANT EXECUTE ON FUNCTION pg_advisory_lock(bigint) TO PUBLIC", "every role may run 1 functions of PostgreSQL"},
		{"REVOKE EXECUTE ON FUNCTION pg_try_advisory_lock(bigint) FROM refold_operator", "role refold_operator may not run 1 functions of PostgreSQL"},
	} {
		exec(t, d, c.do)
		a, err := d.Audit(t.Context(), 1)
		must(t, err)
		if len(a.Findings) != 1 || !strings.Contains(a.Findings[0].Text, c.says) {
			t.Fatalf("after %s: %q, want %q", c.do, a.Findings, c.says)
		}
		if m, err := d.Mend(t.Context(), a); err != nil || len(m.Failed) > 0 {
			t.Fatalf("after %s: %+v %v", c.do, m, err)
		}
		if faults := audited(t, d, 1); len(faults) != 0 {
			t.Errorf("after %s and its mending: %q", c.do, faults)
		}
	}
}

// TestRemovalAlwaysSucceeds: a SQL reader leaves behind whatever PostgreSQL lets it make, and stands in the way with all it
// has.
func TestRemovalAlwaysSucceeds(t *testing.T) {
	server := testenv.PostgresServer(t, localstack.PostgresOptions{Fast: true, Settings: map[string]string{"max_prepared_transactions": "5"}}).URL()
	super := openURL(t, server)
	exec(t, super, "CREATE ROLE owner LOGIN CREATEROLE PASSWORD '"+password+"'")
	exec(t, super, "CREATE DATABASE owned OWNER owner")
	at := func(address, database string) string {
		i := strings.LastIndex(address, "/")
		_, query, _ := strings.Cut(address[i:], "?")
		return address[:i] + "/" + database + "?" + query
	}
	address := at(loginURL(t, server, "owner", password), "owned")
	d := openURL(t, address)
	editions(t, d)
	other, _ := reader(t, d, address, "blue")
	for name, tricks := range map[string][]string{
		"large objects":         {"SELECT lo_from_bytea(0, 'x')", "SELECT lo_create(4711)", "GRANT SELECT ON LARGE OBJECT 4711 TO PUBLIC"},
		"default privileges":    {"ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO refold_sql", "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO " + other},
		"a prepared one":        {"BEGIN; SELECT pg_advisory_xact_lock(5); SELECT lo_create(4712); SELECT count(*) FROM category; PREPARE TRANSACTION 'it''s mine'"},
		"members of itself":     {"GRANT me TO refold_reader", "GRANT me TO " + other},
		"an open change":        {"BEGIN; ALTER ROLE me SET work_mem = '1MB'"},
		"an open change of who": {"BEGIN; ALTER ROLE me PASSWORD 'another-password'"},
	} {
		t.Run(name, func(t *testing.T) {
			login, readerURL := reader(t, d, address, "acme")
			conn := connect(t, readerURL)
			_, err := conn.Exec(t.Context(), "SET default_transaction_read_only = off")
			must(t, err)
			for _, sql := range tricks {
				if _, err := conn.PgConn().Exec(t.Context(), strings.ReplaceAll(sql, " me ", " "+login+" ")).ReadAll(); err != nil {
					t.Logf("%s: %v", sql, err) // newer versions of PostgreSQL let readers do less
				}
			}
			if a, err := d.Audit(t.Context(), 1); err != nil || len(a.Severe()) > 0 {
				t.Errorf("the reader keeps refold from starting: %v %v", a, err)
			}
			within(t, time.Minute, "the removal", func() error { return d.DropSQLReader(t.Context(), login) })
			if one[bool](t, super, "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", login) {
				t.Error("the role is still there")
			}
		})
	}
	t.Run("things in another database", func(t *testing.T) {
		login, readerURL := reader(t, d, address, "acme")
		elsewhere := connect(t, at(readerURL, "postgres"))
		_, err := elsewhere.Exec(t.Context(), "SELECT lo_create(4713)")
		must(t, err)
		must(t, d.DropSQLReader(t.Context(), login))
		if _, err := pgx.Connect(t.Context(), readerURL); err == nil {
			t.Error("a removed login logs in")
		}
		says := "role " + login + " was a SQL reader and owns something in another database"
		if faults := audited(t, d, 1); len(faults) != 1 || !strings.Contains(faults[0], says) {
			t.Errorf("got %q, want %q", faults, says)
		}
		if all, err := d.SQLReaders(t.Context()); err != nil || slices.ContainsFunc(all, func(r postgres.SQLReader) bool { return r.Login == login }) {
			t.Errorf("readers %+v, %v", all, err)
		}
		exec(t, openURL(t, at(server, "postgres")), "DROP OWNED BY "+login)
		a, err := d.Audit(t.Context(), 1)
		must(t, err)
		_, err = d.Mend(t.Context(), a)
		must(t, err)
		mustBeClean(t, d, "after the rest is dropped")
	})
	t.Run("and all the time", func(t *testing.T) {
		login, readerURL := reader(t, d, address, "acme")
		besiege(t, readerURL, "ALTER ROLE "+login+" SET work_mem = '1MB'", "ALTER ROLE "+login+" SET work_mem = '2MB'",
			"BEGIN; ALTER ROLE "+login+" SET work_mem = '3MB'", "BEGIN; SELECT count(*) FROM category")
		within(t, time.Minute, "the removal", func() error { return d.DropSQLReader(t.Context(), login) })
	})
}

// TestSQLReadersHoldNoFlipBack: a flip alters their roles, and so can they.
func TestSQLReadersHoldNoFlipBack(t *testing.T) {
	d, _, address := ownCluster(t)
	login, a := reader(t, d, address, "acme")
	_, b := reader(t, d, address, "blue")
	database := one[string](t, d, "SELECT quote_ident(current_database())")
	besiege(t, a, "ALTER ROLE "+login+" IN DATABASE "+database+" SET search_path = edition_1_sql", "ALTER ROLE "+login+" IN DATABASE "+database+" SET work_mem = '2MB'",
		"BEGIN; ALTER ROLE "+login+" IN DATABASE "+database+" SET work_mem = '3MB'")
	pool, err := d.Operator(t.Context())
	must(t, err)
	for edition := range int64(4) {
		within(t, 30*time.Second, "a flip", func() error {
			return pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
				if _, err := tx.Exec(t.Context(), "UPDATE control.live SET edition = $1", edition%2+1); err != nil {
					return err
				}
				return postgres.FollowLive(t.Context(), tx)
			})
		})
		if got, want := names(t, connect(t, b), "SELECT name FROM category")[0], fmt.Sprintf("blue of edition %d", edition%2+1); got != want {
			t.Errorf("another reader is at %q, want %q", got, want)
		}
	}
}
