// Package postgres opens the database: one pool for each role and edition, pinned by search_path, and the one
// door through which tenants' rows are read. It alone knows roles, schemas and goose.
package postgres

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Role is a database role of refold. None of them owns a table or bypasses row level security.
type Role string

// The roles. RoleOwner is the login itself: it alone creates and drops schemas, and loads an edition before its
// policies stand.
const (
	RoleOwner     Role = ""
	RoleOperator  Role = "refold_operator"
	RoleProjector Role = "refold_projector"
	RoleReader    Role = "refold_reader"
	RoleVerifier  Role = "refold_verifier"
	// RoleSQL is the group of the logins that read by SQL. refold itself never takes it on.
	RoleSQL Role = "refold_sql"
)

// roles are those that the login takes on.
var roles = []Role{RoleOperator, RoleProjector, RoleReader, RoleVerifier}

// DB is a Postgres that holds refold's control tables and editions. It is safe for concurrent use.
type DB struct {
	// Logger is told about sessions of SQL readers that were ended because refold waited for them; nil = nobody. It is set
	// before the first use.
	Logger *slog.Logger

	config *pgxpool.Config
	server server

	mu    sync.Mutex
	pools map[poolKey]*pgxpool.Pool

	freshMu sync.Mutex
	fresh   *fresh // what audits compare with; nil until one was made
	freshOf string // the control migrations that it was made of
}

type poolKey struct {
	role    Role
	edition int64 // 0 = control tables only
	probe   bool  // asks whether the role can work, beside those that do
}

// Open connects to the database of a URL, to the primary when it names several servers. It migrates nothing.
func Open(ctx context.Context, url string) (*DB, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("postgres URL: %w", err)
	}
	followPrimary(config.ConnConfig)
	d := &DB{config: config, pools: map[poolKey]*pgxpool.Pool{}}
	if d.server, err = probe(ctx, config.ConnConfig); err != nil {
		return nil, fmt.Errorf("connect to postgres: %w", err)
	}
	pool, err := d.pool(ctx, poolKey{})
	if err == nil {
		err = pool.Ping(ctx)
	}
	if err != nil {
		d.Close()
		return nil, fmt.Errorf("connect to postgres: %w", err)
	}
	return d, nil
}

// Close ends all connections; it waits for those in use.
func (d *DB) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for key, pool := range d.pools {
		pool.Close()
		delete(d.pools, key)
	}
}

// Owner returns the pool for what changes schemas; Operator the one for the control tables.
func (d *DB) Owner(ctx context.Context) (*pgxpool.Pool, error) { return d.pool(ctx, poolKey{}) }

// Operator returns the pool for the control tables.
func (d *DB) Operator(ctx context.Context) (*pgxpool.Pool, error) {
	return d.pool(ctx, poolKey{role: RoleOperator})
}

// OwnerOf returns a pool that can load an edition while it has no policies.
func (d *DB) OwnerOf(ctx context.Context, edition int64) (*pgxpool.Pool, error) {
	return d.pool(ctx, poolKey{role: RoleOwner, edition: edition})
}

// Projector returns the pool a projector of an edition writes with.
func (d *DB) Projector(ctx context.Context, edition int64) (*pgxpool.Pool, error) {
	return d.pool(ctx, poolKey{role: RoleProjector, edition: edition})
}

// Reader returns the pool that answers questions from an edition; use it through WithTenant only.
func (d *DB) Reader(ctx context.Context, edition int64) (*pgxpool.Pool, error) {
	return d.pool(ctx, poolKey{role: RoleReader, edition: edition})
}

// Connections is how many connections each pool has at most: 16, or what the URL asks for with pool_max_conns when that is
// more.
func (d *DB) Connections() int { return int(max(d.config.MaxConns, connectionsMax)) }

// Verifier returns a read-only pool that sees all tenants of an edition.
func (d *DB) Verifier(ctx context.Context, edition int64) (*pgxpool.Pool, error) {
	return d.pool(ctx, poolKey{role: RoleVerifier, edition: edition})
}

// SchemaName is the schema of an edition.
func SchemaName(edition int64) string { return "edition_" + strconv.FormatInt(edition, 10) }

// viewsName is the schema of the views through which SQL readers see an edition.
func viewsName(edition int64) string { return viewsOf(SchemaName(edition)) }

func viewsOf(schema string) string { return schema + "_sql" }

// Forget closes the pools of an edition, before its schema is dropped.
func (d *DB) Forget(edition int64) {
	d.mu.Lock()
	var closing []*pgxpool.Pool
	for key, pool := range d.pools {
		if key.edition == edition {
			closing = append(closing, pool)
			delete(d.pools, key)
		}
	}
	d.mu.Unlock()
	for _, pool := range closing {
		pool.Close()
	}
}

func (d *DB) pool(ctx context.Context, key poolKey) (*pgxpool.Pool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if pool := d.pools[key]; pool != nil {
		return pool, nil
	}
	config := d.config.Copy()
	config.ConnConfig = d.connConfig(key)
	config.MaxConns = int32(d.Connections())
	if key.probe {
		config.MaxConns, config.MinConns, config.MinIdleConns = 1, 0, 0
	}
	config.AfterConnect = knowUUID
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open pool of role %q: %w", key.role, err)
	}
	d.pools[key] = pool
	return pool, nil
}

// connConfig is how sessions of a role begin.
func (d *DB) connConfig(key poolKey) *pgx.ConnConfig {
	config := d.config.ConnConfig.Copy()
	settings := d.sessionSettings(key.role)
	if settings["default_transaction_read_only"] == "on" {
		config.ValidateConnect = onPrimary // target_session_attrs=read-write would refuse our own setting
	}
	settings["search_path"] = "pg_catalog"
	if key.edition != 0 {
		settings["search_path"] = SchemaName(key.edition)
	}
	if key.role != RoleOwner {
		settings["role"] = string(key.role)
	}
	d.server.begin(config, settings)
	return config
}

// sessionSettings bound what a session of a role can do to others.
func (d *DB) sessionSettings(role Role) map[string]string {
	s := d.server.timeouts()
	s["timezone"], s["application_name"], s["client_min_messages"] = "UTC", "refold", "warning"
	switch role {
	case RoleProjector:
		// A stuck projector must not block its successor (the successor also ends it).
		s["lock_timeout"], s["statement_timeout"], s["idle_in_transaction_session_timeout"] = "5s", "60s", "20s"
	case RoleReader:
		s["default_transaction_read_only"], s["statement_timeout"], s["idle_in_transaction_session_timeout"] = "on", "30s", "30s"
		s["default_transaction_isolation"] = "repeatable read" // checkpoint and rows of an answer are of one snapshot
		// Left to itself Postgres plans some questions anew whenever they are asked, at ten times what the answer costs.
		s["plan_cache_mode"] = genericPlans
	case RoleVerifier:
		s["default_transaction_read_only"] = "on"
	case RoleOperator:
		s["lock_timeout"], s["idle_in_transaction_session_timeout"] = "10s", "60s"
	case RoleOwner:
		s["maintenance_work_mem"] = "512MB" // for the indexes of an edition
	}
	return s
}

// Values of plan_cache_mode.
const (
	genericPlans = "force_generic_plan"
	customPlans  = "force_custom_plan"
)

// connectionsMax bounds the connections of one pool, unless the URL asks for more (pool_max_conns).
const connectionsMax = 16
