package postgres_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/testenv"
	"github.com/refold-dev/refold/schema"
)

var update = flag.Bool("update", false, "write schema/control_columns.txt and control_grants.txt anew")

func TestMain(m *testing.M) { testenv.Main(m, testenv.Children{"lock": holdLock}) }

func open(t testing.TB) *postgres.DB {
	t.Helper()
	return openURL(t, testenv.Postgres(t))
}

func openURL(t testing.TB, url string) *postgres.DB {
	t.Helper()
	d, err := postgres.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

func exec(t testing.TB, d *postgres.DB, sql string, args ...any) {
	t.Helper()
	pool, err := d.Owner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func one[T any](t testing.TB, d *postgres.DB, sql string, args ...any) (v T) {
	t.Helper()
	pool, err := d.Owner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := pool.QueryRow(t.Context(), sql, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

// binary is a release: its files, and the columns that they make.
type binary struct {
	files   fstest.MapFS
	columns string
}

// firstColumns is what the file every binary here begins with makes.
const firstColumns = "note.id bigint not null\nsetting.name text not null\nsetting.value text not null\nsetting.changed_at timestamp with time zone not null\n"

// first is the oldest binary: one migration.
func first() binary {
	return binary{fstest.MapFS{"00001_first.sql": file(1, `
CREATE TABLE control.setting (name text PRIMARY KEY, value text NOT NULL, changed_at timestamptz NOT NULL);
CREATE TABLE control.note (id bigint PRIMARY KEY);`)}, firstColumns}
}

// with is the next binary: one more file and the columns that it adds.
func (b binary) with(name, columns string, f *fstest.MapFile) binary {
	files := maps.Clone(b.files)
	files[name] = f
	return binary{files, b.columns + columns}
}

func file(floor int, body string) *fstest.MapFile {
	return &fstest.MapFile{Data: fmt.Appendf(nil, "-- refold: works with binaries from %05d\n-- +goose Up\n%s\n", floor, body)}
}

func (b binary) start(t testing.TB, d *postgres.DB, o ...postgres.MigrateOptions) error {
	t.Helper()
	return d.MigrateFiles(t.Context(), b.files, b.columns, slices.Concat(o, []postgres.MigrateOptions{{}})[0])
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, name string) string {
	t.Helper()
	body, err := os.ReadFile(name)
	must(t, err)
	return string(body)
}

func TestColumnsAndGrantsOfTheControlTables(t *testing.T) {
	d := open(t)
	must(t, d.MigrateWith(t.Context(), postgres.MigrateOptions{Unverified: true}))
	columns, err := d.ControlColumns(t.Context())
	must(t, err)
	grants, err := d.ControlGrants(t.Context())
	must(t, err)
	for _, made := range []struct {
		file, want string
		got        []string
	}{{"control_columns.txt", schema.ControlColumns, columns}, {"control_grants.txt", read(t, "../../schema/control_grants.txt"), grants}} {
		got := strings.Join(made.got, "\n") + "\n"
		if *update {
			must(t, os.WriteFile("../../schema/"+made.file, []byte(got), 0o644))
		} else if got != made.want {
			t.Errorf("schema/%s is not what the migrations make; run this test with -update. They make\n%s", made.file, got)
		}
	}
}

func TestOlderBinaries(t *testing.T) {
	old := first()
	gentle := old.with("00002_gentle.sql", "note.text text\n", file(1, "ALTER TABLE control.note ADD COLUMN text text;"))
	harsh := gentle.with("00003_harsh.sql", "", file(3, "ALTER TABLE control.note DROP COLUMN text;"))
	harsh.columns = firstColumns
	later := harsh.with("00004_later.sql", "note.more text\n", file(1, "ALTER TABLE control.note ADD COLUMN more text;"))
	for name, c := range map[string]struct {
		database, starts binary
		refused          string
	}{
		"the same":                        {old, old, ""},
		"older, allowed":                  {gentle, old, ""},
		"newer":                           {old, gentle, ""},
		"older, refused":                  {harsh, old, "they are at 00003 and work with binaries from 00003, this one knows 00001"},
		"older by one, refused":           {harsh, gentle, "they are at 00003 and work with binaries from 00003, this one knows 00002"},
		"a floor does not sink again":     {later, gentle, "they are at 00004 and work with binaries from 00003, this one knows 00002"},
		"older, allowed above a floor":    {later, harsh, ""},
		"newer, over a floor of its own ": {gentle, later, ""},
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t)
			must(t, c.database.start(t, d))
			before := one[int64](t, d, "SELECT max(version_id) FROM control.goose_db_version")
			err := c.starts.start(t, d)
			if c.refused == "" {
				must(t, err)
				after := one[int64](t, d, "SELECT max(version_id) FROM control.goose_db_version")
				if want := max(before, int64(len(c.starts.files))); after != want {
					t.Fatalf("the tables are at %d, want %d", after, want)
				}
				return
			}
			if !errors.Is(err, postgres.ErrNewerControl) || !strings.Contains(err.Error(), c.refused) {
				t.Fatalf("got %v, want %q", err, c.refused)
			}
		})
	}
}

// TestAnOlderBinaryChangesNothing gives the older binary a file of its own that the newer one does not have.
func TestAnOlderBinaryChangesNothing(t *testing.T) {
	d := open(t)
	newer := first().with("00003_newer.sql", "", file(1, "COMMENT ON TABLE control.note IS 'newer';"))
	must(t, newer.start(t, d))
	stray := first().with("00002_stray.sql", "", file(1, "CREATE TABLE control.stray (id bigint);"))
	must(t, stray.start(t, d))
	if one[bool](t, d, "SELECT to_regclass('control.stray') IS NOT NULL") {
		t.Fatal("an older binary migrated newer tables")
	}
}

// TestAFileThatComesLate: two branches each brought a file, and the one with the lower number comes second.
func TestAFileThatComesLate(t *testing.T) {
	d := open(t)
	second := first().with("00003_second.sql", "note.b text\n", file(1, "ALTER TABLE control.note ADD COLUMN b text;"))
	must(t, second.start(t, d))
	both := second.with("00002_first.sql", "note.a text\n", file(1, "ALTER TABLE control.note ADD COLUMN a text;"))
	must(t, both.start(t, d))
}

func TestAFileWithoutFloorWorksWithNoOlderBinary(t *testing.T) {
	d := open(t)
	must(t, first().with("00002_silent.sql", "", &fstest.MapFile{Data: []byte("-- +goose Up\nCOMMENT ON TABLE control.note IS 'x';\n")}).start(t, d))
	if err := first().start(t, d); !errors.Is(err, postgres.ErrNewerControl) {
		t.Fatalf("got %v, want ErrNewerControl", err)
	}
}

func TestAFailingFileIsRolledBackAlone(t *testing.T) {
	d := open(t)
	good := first().with("00002_good.sql", "note.good text\n", file(1, "ALTER TABLE control.note ADD COLUMN good text;"))
	bad := good.with("00003_bad.sql", "", file(3, "ALTER TABLE control.note ADD COLUMN half text;\nALTER TABLE control.no_such_table ADD COLUMN x text;"))
	err := bad.start(t, d)
	var failed *postgres.MigrationError
	if !errors.As(err, &failed) || failed.File != "00003_bad.sql" || !strings.Contains(err.Error(), "00003_bad.sql") || !strings.Contains(err.Error(), "no_such_table") {
		t.Fatalf("got %v, want the file and the cause", err)
	}
	// The one before stays, nothing of the failed one does, its floor included: the binary before it starts.
	must(t, good.start(t, d))
	corrected := good.with("00003_bad.sql", "note.half text\n", file(3, "ALTER TABLE control.note ADD COLUMN half text;"))
	must(t, corrected.start(t, d))
	if floor := one[string](t, d, "SELECT value FROM control.setting WHERE name = 'control_floor'"); floor != "3" {
		t.Fatalf("floor %s, want 3", floor)
	}
}

const (
	lockTimeout = 300 * time.Millisecond
	slack       = 700 * time.Millisecond // for a loaded machine
)

func altering() binary {
	return first().with("00002_alter.sql", "note.text text\n", file(1, "ALTER TABLE control.note ADD COLUMN text text;"))
}

// longReader reads a control table in a transaction that stays open until end is called.
func longReader(t testing.TB, d *postgres.DB) (end func()) {
	t.Helper()
	pool, err := d.Owner(t.Context())
	must(t, err)
	tx, err := pool.Begin(t.Context())
	must(t, err)
	if _, err := tx.Exec(t.Context(), "SELECT count(*) FROM control.note"); err != nil {
		t.Fatal(err)
	}
	end = func() { _ = tx.Rollback(context.Background()) }
	t.Cleanup(end)
	return end
}

// waitQueued returns once a session waits for the lock that nobody else may hold beside it.
func waitQueued(t testing.TB, d *postgres.DB) {
	t.Helper()
	for !one[bool](t, d, "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock' AND relation = 'control.note'::regclass)") {
		if t.Context().Err() != nil {
			t.Fatal(t.Context().Err())
		}
	}
}

func TestReadersGoOnBesideAMigrationThatWaits(t *testing.T) {
	d := open(t)
	must(t, first().start(t, d))
	end := longReader(t, d)
	migrated := make(chan error, 1)
	go func() {
		migrated <- d.MigrateFiles(t.Context(), altering().files, altering().columns, postgres.MigrateOptions{LockTimeout: lockTimeout, TryFor: time.Minute})
	}()
	pool, err := d.Owner(t.Context())
	must(t, err)
	var slowest time.Duration
	held := 0
	for tries := 0; tries < 3; tries++ {
		waitQueued(t, d)
		// This one comes behind the migration, which waits behind the long reader.
		began := time.Now()
		if _, err := pool.Exec(t.Context(), "SELECT count(*) FROM control.note"); err != nil {
			t.Fatal(err)
		}
		took := time.Since(began)
		slowest = max(slowest, took)
		if took > lockTimeout/10 {
			held++
		}
	}
	t.Logf("slowest of 3 readers behind a waiting migration: %s, %d of them were held back", slowest, held)
	if slowest > lockTimeout+slack {
		t.Fatalf("a reader waited for %s, want at most about %s", slowest, lockTimeout)
	}
	if held == 0 {
		t.Fatal("no reader was ever behind the migration: nothing was measured")
	}
	select {
	case err := <-migrated:
		t.Fatalf("the migration ended while the table was in use: %v", err)
	default:
	}
	end()
	must(t, <-migrated)
	must(t, altering().start(t, d))
}

func TestAMigrationGivesUp(t *testing.T) {
	d := open(t)
	must(t, first().start(t, d))
	end := longReader(t, d)
	err := altering().start(t, d, postgres.MigrateOptions{LockTimeout: lockTimeout, TryFor: 2 * time.Second})
	var failed *postgres.MigrationError
	if !errors.Is(err, postgres.ErrBusy) || !errors.As(err, &failed) || failed.File != "00002_alter.sql" || failed.Tries < 2 {
		t.Fatalf("got %v, want ErrBusy for 00002_alter.sql after some tries", err)
	}
	end()
	must(t, altering().start(t, d))
}

// TestManyProcessesMigrateOnce: all wait for the one that is at it, and notice soon that it is done.
func TestManyProcessesMigrateOnce(t *testing.T) {
	url := testenv.Postgres(t)
	other := openURL(t, url)
	must(t, first().start(t, other))
	release, err := other.HoldControlLock(t.Context())
	must(t, err)
	const processes = 4
	done := make(chan error, processes)
	for range processes {
		d := openURL(t, url)
		go func() {
			done <- d.MigrateFiles(t.Context(), altering().files, altering().columns, postgres.MigrateOptions{})
		}()
	}
	for asking := 0; asking < processes; {
		asking = one[int](t, other, "SELECT count(*)::int FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'SELECT pg_try_advisory_lock%'") - 1
	}
	began := time.Now()
	release()
	for range processes {
		must(t, <-done)
	}
	t.Logf("%d waiting processes were through %s after the lock was given back", processes, time.Since(began))
	if n := one[int](t, other, "SELECT count(*)::int FROM control.goose_db_version WHERE version_id = 2"); n != 1 {
		t.Fatalf("the file was applied %d times", n)
	}
}

func TestDrift(t *testing.T) {
	for name, c := range map[string]struct{ sql, fault string }{
		"another type":      {"ALTER TABLE control.checkpoint ALTER COLUMN seq TYPE integer", "control.checkpoint.seq is integer not null, want bigint not null"},
		"may be null":       {"ALTER TABLE control.live ALTER COLUMN epoch DROP NOT NULL", "control.live.epoch is bigint, want bigint not null"},
		"a column less":     {"ALTER TABLE control.flip DROP COLUMN reason", "control.flip.reason is missing"},
		"a column more":     {"ALTER TABLE control.flip ADD COLUMN extra text", "control.flip.extra is not ours"},
		"a column renamed":  {"ALTER TABLE control.tenant RENAME COLUMN name TO title", "control.tenant.name is missing"},
		"a table more":      {"CREATE TABLE control.extra (id bigint)", "control.extra.id is not ours"},
		"a table elsewhere": {"ALTER TABLE control.verification SET SCHEMA public", "control.verification.id is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t)
			must(t, d.Migrate(t.Context()))
			exec(t, d, c.sql)
			err := d.Migrate(t.Context())
			var drift *postgres.DriftError
			if !errors.As(err, &drift) || !strings.Contains(err.Error(), c.fault) {
				t.Fatalf("got %v, want %q", err, c.fault)
			}
			must(t, d.MigrateWith(t.Context(), postgres.MigrateOptions{Unverified: true}))
			if note := one[string](t, d, "SELECT value FROM control.setting WHERE name = 'unverified_migrations'"); !strings.Contains(note, "were not checked at 2") {
				t.Fatalf("recorded: %q", note)
			}
		})
	}
}

func TestDriftUnderAnOlderBinary(t *testing.T) {
	d := open(t)
	newer := first().with("00002_more.sql", "note.text text\n", file(1, "ALTER TABLE control.note ADD COLUMN text text;"))
	must(t, newer.start(t, d))
	must(t, first().start(t, d)) // more than it knows is as it should be
	exec(t, d, "ALTER TABLE control.note ALTER COLUMN id TYPE integer")
	var drift *postgres.DriftError
	if err := first().start(t, d); !errors.As(err, &drift) || !strings.Contains(err.Error(), "control.note.id is integer not null") {
		t.Fatalf("got %v, want the column", err)
	}
}

// TestAnIndexIsBuiltBesideWriters: a writer's transaction breaks the first try, which leaves an invalid index behind.
func TestAnIndexIsBuiltBesideWriters(t *testing.T) {
	d := open(t)
	must(t, first().start(t, d))
	index := first().with("00002_index.sql", "", &fstest.MapFile{Data: []byte("-- refold: works with binaries from 00001\n-- +goose NO TRANSACTION\n-- +goose Up\n" +
		"DROP INDEX CONCURRENTLY IF EXISTS control.note_by_id;\nCREATE INDEX CONCURRENTLY note_by_id ON control.note (id);\n")})
	pool, err := d.Owner(t.Context())
	must(t, err)
	writer, err := pool.Begin(t.Context())
	must(t, err)
	if _, err := writer.Exec(t.Context(), "INSERT INTO control.note (id) VALUES (1)"); err != nil {
		t.Fatal(err)
	}
	migrated := make(chan error, 1)
	go func() {
		migrated <- d.MigrateFiles(t.Context(), index.files, index.columns, postgres.MigrateOptions{LockTimeout: lockTimeout, TryFor: time.Minute})
	}()
	const valid = "SELECT coalesce((SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('control.note_by_id')), $1)"
	for one[bool](t, d, valid, true) { // until the first try has left it invalid
		if t.Context().Err() != nil {
			t.Fatal(t.Context().Err())
		}
	}
	must(t, writer.Commit(t.Context()))
	must(t, <-migrated)
	if !one[bool](t, d, valid, false) {
		t.Fatal("the index is not valid")
	}
}
