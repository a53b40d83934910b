package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
	"github.com/refold-dev/refold/schema"
)

// ErrNewerControl: the control tables were migrated by a newer refold, and its migrations do not work with a binary as
// old as this one. Use that binary, or a newer one.
var ErrNewerControl = errors.New("the control tables are too new for this binary")

// ErrBusy: others held locks that a schema change needs, for as long as it may try. Nothing of it was done; end them
// (the message or pg_locks names them) and start again.
var ErrBusy = errors.New("the lock was not to be had in time")

// MigrationError is about the control migration that failed. It was rolled back as a whole; those before it stay, and
// the next start goes on with this one.
type MigrationError struct {
	File  string
	Tries int
	Err   error
}

func (e *MigrationError) Error() string {
	return fmt.Sprintf("control migration %s failed at try %d and was rolled back, those before it stay: %v", e.File, e.Tries, e.Err)
}

func (e *MigrationError) Unwrap() error { return e.Err }

// MigrateOptions say how control tables are migrated. All zero values are usable.
type MigrateOptions struct {
	// Unverified skips the comparison of the control tables with what the migrations make; that is recorded.
	Unverified bool
	// Logger is told about every try; nil = nobody.
	Logger *slog.Logger
	// LockTimeout is how long a migration waits for a lock, and so how long others may wait behind it; 0 = 2 s.
	LockTimeout time.Duration
	// TryFor is how long a migration that did not get its locks is tried again; 0 = 2 minutes.
	TryFor time.Duration
}

func (o MigrateOptions) withDefaults() MigrateOptions {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.LockTimeout == 0 {
		o.LockTimeout = 2 * time.Second
	}
	if o.TryFor == 0 {
		o.TryFor = 2 * time.Minute
	}
	return o
}

// Pauses between two tries of a migration, each with a random part so that whoever holds the lock gets through.
const (
	tryPauseMin = 100 * time.Millisecond
	tryPauseMax = 5 * time.Second
)

const (
	controlTable = "control.goose_db_version"
	controlLock  = "refold control"
	// settingFloor is the oldest control version that a binary may know; settingUnverified says what was not looked at.
	settingFloor      = "control_floor"
	settingUnverified = "unverified_migrations"
)

// controlSet is the control tables as a binary knows them: the migrations, and the columns that they make.
type controlSet struct {
	files   fs.FS
	columns string
}

// Migrate brings roles and control tables to what this binary needs. It is safe to run from several processes.
func (d *DB) Migrate(ctx context.Context) error { return d.MigrateWith(ctx, MigrateOptions{}) }

// MigrateWith is Migrate with options. Tables that a newer binary has migrated are left as they are: that is an
// ErrNewerControl only when its migrations do not allow for a binary as old as this one. Unless told otherwise it
// returns a *DriftError when the tables are not what the migrations make.
func (d *DB) MigrateWith(ctx context.Context, o MigrateOptions) error {
	set, err := ourControl()
	if err != nil {
		return err
	}
	if err := d.migrate(ctx, set, o.withDefaults()); err != nil {
		return err
	}
	return d.settleReaders(ctx)
}

// ourControl is the control tables as this binary knows them.
func ourControl() (controlSet, error) {
	files, err := fs.Sub(schema.Control, "control")
	return controlSet{files, schema.ControlColumns}, err
}

func (d *DB) migrate(ctx context.Context, set controlSet, o MigrateOptions) error {
	ours, err := set.versions()
	if err != nil {
		return err
	}
	at, err := d.controlAt(ctx)
	if err != nil {
		return err
	}
	if err := at.admits(ours); err != nil {
		return err
	}
	if err := d.createRoles(ctx); err != nil {
		return err
	}
	if at.lacks(ours) {
		if err := d.applyControl(ctx, set, o); err != nil {
			return err
		}
	}
	// Once more: a newer binary may have been at it in the meantime.
	if at, err = d.controlAt(ctx); err != nil {
		return err
	}
	if err := at.admits(ours); err != nil {
		return err
	}
	if o.Unverified {
		return d.recordUnverified(ctx, at)
	}
	return d.checkControl(ctx, set, at.last() > ours[len(ours)-1])
}

// versions are the numbers of the migrations, in order.
func (s controlSet) versions() ([]int64, error) {
	names, err := fs.Glob(s.files, "*.sql")
	if err != nil || len(names) == 0 {
		return nil, fmt.Errorf("control migrations: no files (%w)", errors.Join(err, fs.ErrNotExist))
	}
	var versions []int64
	for _, name := range names {
		version, err := schema.Version(name)
		if err != nil {
			return nil, err
		}
		versions = append(versions, version)
	}
	slices.Sort(versions)
	return versions, nil
}

// name is the file of a migration.
func (s controlSet) name(version int64) string {
	names, _ := fs.Glob(s.files, "*.sql")
	for _, name := range names {
		if v, err := schema.Version(name); err == nil && v == version {
			return name
		}
	}
	return strconv.FormatInt(version, 10)
}

func (s controlSet) floor(version int64) (int64, error) {
	name := s.name(version)
	body, err := fs.ReadFile(s.files, name)
	if err != nil {
		return 0, err
	}
	return schema.Floor(name, body)
}

// standing is where the control tables of a database are.
type standing struct {
	applied []int64 // in order
	floor   int64
}

func (s standing) last() int64 {
	if len(s.applied) == 0 {
		return 0
	}
	return s.applied[len(s.applied)-1]
}

func (s standing) admits(ours []int64) error {
	last := ours[len(ours)-1]
	if s.last() <= last || last >= s.floor {
		return nil
	}
	return fmt.Errorf("%w: they are at %05d and work with binaries from %05d, this one knows %05d: start the newer binary again",
		ErrNewerControl, s.last(), s.floor, last)
}

// lacks is true when there is something for a binary to do. It changes nothing in tables that are newer than itself.
func (s standing) lacks(ours []int64) bool {
	if s.last() > ours[len(ours)-1] {
		return false
	}
	return slices.ContainsFunc(ours, func(version int64) bool { return !slices.Contains(s.applied, version) })
}

// controlAt looks and changes nothing, not even in an empty database.
func (d *DB) controlAt(ctx context.Context) (standing, error) {
	pool, err := d.Owner(ctx)
	if err != nil {
		return standing{}, err
	}
	var at standing
	var migrated, floored bool
	err = pool.QueryRow(ctx, "SELECT to_regclass('"+controlTable+"') IS NOT NULL, to_regclass('control.setting') IS NOT NULL").Scan(&migrated, &floored)
	if err == nil && migrated {
		err = pool.QueryRow(ctx, "SELECT coalesce(array_agg(DISTINCT version_id ORDER BY version_id), '{}') FROM "+controlTable+
			" WHERE is_applied AND version_id > 0").Scan(&at.applied)
	}
	if err == nil && floored {
		err = pool.QueryRow(ctx, "SELECT coalesce(max(value::bigint), 1) FROM control.setting WHERE name = $1", settingFloor).Scan(&at.floor)
	}
	if err != nil {
		return at, fmt.Errorf("version of the control tables: %w", err)
	}
	return at, nil
}

// Migrated reports whether the database holds control tables of refold, of whatever version.
func (d *DB) Migrated(ctx context.Context) (bool, error) {
	at, err := d.controlAt(ctx)
	return len(at.applied) > 0, err
}

// applyControl applies what is missing, one transaction a file. One process does it and the others wait for it:
// several that take turns at a lock would keep others waiting all the time.
func (d *DB) applyControl(ctx context.Context, set controlSet, o MigrateOptions) error {
	handle := d.sqlDB("pg_catalog", map[string]string{"lock_timeout": strconv.FormatInt(o.LockTimeout.Milliseconds(), 10)})
	defer handle.Close()
	conn, err := handle.Conn(ctx)
	if err != nil {
		return fmt.Errorf("migrate control tables: %w", err)
	}
	defer conn.Close()
	locker := &pollLocker{db: d, name: controlLock}
	if err := locker.SessionLock(ctx, conn); err != nil {
		return fmt.Errorf("migrate control tables: %w", err)
	}
	defer func() { _ = locker.SessionUnlock(context.WithoutCancel(ctx), conn) }()
	if _, err := conn.ExecContext(ctx, "CREATE SCHEMA IF NOT EXISTS control"); err != nil && !isCode(err, "23505", "42P06") {
		return fmt.Errorf("create schema control: %w", err)
	}
	for {
		more, err := d.applyNext(ctx, set, handle, o)
		if err != nil || !more {
			return err
		}
		if err := conn.PingContext(ctx); err != nil {
			return fmt.Errorf("migrate control tables: the connection with the lock was lost: %w", err)
		}
	}
}

// applyNext applies one file, again and again while others hold locks that it needs; false when there is none left.
func (d *DB) applyNext(ctx context.Context, set controlSet, handle *sql.DB, o MigrateOptions) (bool, error) {
	began := time.Now()
	for try := 1; ; try++ {
		done, err := d.tryNext(ctx, set, handle, o, try)
		if err == nil || !isCode(err, "55P03", "40P01") {
			return done, err
		}
		pause := min(tryPauseMin<<min(try-1, 10), tryPauseMax)
		pause += rand.N(pause)
		if time.Since(began)+pause > o.TryFor {
			return false, fmt.Errorf("%w: %w", ErrBusy, err)
		}
		select {
		case <-ctx.Done():
			return false, err
		case <-time.After(pause):
		}
	}
}

func (d *DB) tryNext(ctx context.Context, set controlSet, handle *sql.DB, o MigrateOptions, try int) (bool, error) {
	store, err := newFloorStore(set)
	if err != nil {
		return false, err
	}
	// A provider for each try, because it remembers what it met.
	provider, err := goose.NewProvider(goose.DialectCustom, handle, set.files, goose.WithStore(store),
		goose.WithDisableGlobalRegistry(true), goose.WithAllowOutofOrder(true))
	if err != nil {
		return false, fmt.Errorf("control migrations: %w", err)
	}
	result, err := provider.UpByOne(ctx)
	if errors.Is(err, goose.ErrNoNextVersion) {
		return false, nil
	}
	if err == nil {
		o.Logger.Info("control migration applied", "file", result.Source.Path, "try", try, "duration", result.Duration)
		return true, nil
	}
	var partial *goose.PartialError
	if !errors.As(err, &partial) {
		return false, fmt.Errorf("migrate control tables: %w", err)
	}
	o.Logger.Warn("control migration failed", "file", partial.Failed.Source.Path, "try", try, "error", partial.Err)
	return false, &MigrationError{File: partial.Failed.Source.Path, Tries: try, Err: partial.Err}
}

// floorStore keeps goose's versions, and in the transaction of each migration what it demands of binaries.
type floorStore struct {
	database.Store
	set controlSet
}

func newFloorStore(set controlSet) (*floorStore, error) {
	store, err := database.NewStore(database.DialectPostgres, controlTable)
	if err != nil {
		return nil, err
	}
	return &floorStore{store, set}, nil
}

// Insert notes that a migration is applied.
func (s *floorStore) Insert(ctx context.Context, db database.DBTxConn, r database.InsertRequest) error {
	if err := s.Store.Insert(ctx, db, r); err != nil || r.Version == 0 {
		return err
	}
	floor, err := s.set.floor(r.Version)
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, `INSERT INTO control.setting (name, value, changed_at) VALUES ($1, $2, clock_timestamp())
		ON CONFLICT (name) DO UPDATE SET value = excluded.value, changed_at = excluded.changed_at
		WHERE control.setting.value::bigint < excluded.value::bigint`, settingFloor, strconv.FormatInt(floor, 10))
	if err != nil {
		return fmt.Errorf("note the oldest binary: %w", err)
	}
	return nil
}

func (d *DB) recordUnverified(ctx context.Context, at standing) error {
	pool, err := d.Owner(ctx)
	if err != nil {
		return err
	}
	_, err = pool.Exec(ctx, `INSERT INTO control.setting (name, value, changed_at)
		VALUES ($1, 'control tables at ' || $2 || ' were not checked at ' || to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), clock_timestamp())
		ON CONFLICT (name) DO UPDATE SET value = excluded.value, changed_at = excluded.changed_at`,
		settingUnverified, fmt.Sprintf("%05d", at.last()))
	if err != nil {
		return fmt.Errorf("record that nothing was verified: %w", err)
	}
	return nil
}
