package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// ErrTransactionPooling is returned by Open: name Postgres itself in the URL, or a pool with pool_mode = session.
var ErrTransactionPooling = errors.New("this is a connection pooler (PgBouncer or its like) in transaction pooling, and refold needs sessions of its own " +
	"for locks, settings and prepared statements: connect to PostgreSQL itself, or to a pool with pool_mode = session")

// server is what stands at the other end of the URL.
type server struct {
	version int  // such as 170002
	pooled  bool // a pooler stands between, which gives each connection a session of its own
}

// poolerAsked is how often two connections to a pooler are asked for their sessions: in transaction pooling they share one,
// or change it.
const poolerAsked = 10

// probe connects with the settings of the URL alone: poolers refuse others when a session begins.
func probe(ctx context.Context, config *pgx.ConnConfig) (s server, err error) {
	first, err := pgx.ConnectConfig(ctx, config.Copy())
	if err != nil {
		return s, err
	}
	defer func() { _ = first.Close(context.WithoutCancel(ctx)) }()
	at, version, err := sessionOf(ctx, first)
	s.version = version
	if err != nil || at == first.PgConn().PID() {
		return s, err
	}
	s.pooled = true
	second, err := pgx.ConnectConfig(ctx, config.Copy())
	if err != nil {
		return s, fmt.Errorf("a second connection to a pooler: %w", err)
	}
	defer func() { _ = second.Close(context.WithoutCancel(ctx)) }()
	for range poolerAsked {
		other, _, err := sessionOf(ctx, second)
		if err != nil {
			return s, err
		}
		again, _, err := sessionOf(ctx, first)
		if err != nil {
			return s, err
		}
		if other == at || again != at {
			return s, ErrTransactionPooling
		}
	}
	return s, nil
}

// sessionOf asks by the simple protocol, which every pooler passes on.
func sessionOf(ctx context.Context, conn *pgx.Conn) (pid uint32, version int, err error) {
	results, err := conn.PgConn().Exec(ctx, "SELECT pg_backend_pid(), current_setting('server_version_num')").ReadAll()
	if err != nil {
		return 0, 0, fmt.Errorf("which server is this: %w", err)
	}
	row := results[0].Rows[0]
	at, errPID := strconv.ParseUint(string(row[0]), 10, 32)
	version, errVersion := strconv.Atoi(string(row[1]))
	return uint32(at), version, errors.Join(errPID, errVersion)
}

// timeouts are those that an administrator may have set for the role, the database or the server, for sessions of people.
// Ours set them all: builds and verifications take as long as they take, and are bounded by who asked for them.
func (s server) timeouts() map[string]string {
	off := map[string]string{"statement_timeout": "0", "lock_timeout": "0", "idle_in_transaction_session_timeout": "0", "idle_session_timeout": "0"}
	if s.version >= 170000 {
		off["transaction_timeout"] = "0"
	}
	return off
}

// begin makes every session of config begin with these settings.
func (s server) begin(config *pgx.ConnConfig, settings map[string]string) {
	if !s.pooled {
		maps.Copy(config.RuntimeParams, settings)
		return
	}
	var set strings.Builder
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		delete(config.RuntimeParams, name)
		fmt.Fprintf(&set, "SET %s = '%s';", name, strings.ReplaceAll(settings[name], "'", "''"))
	}
	config.AfterConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
		_, err := conn.Exec(ctx, set.String()).ReadAll()
		return err
	}
}
