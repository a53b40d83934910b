package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
)

// ErrNotDurable: the server acknowledges what a crash can take away, or ruin. Start with durability relaxed to accept that.
var ErrNotDurable = errors.New("the database does not keep what it acknowledges")

// WeakSetting is a setting of the server by which a crash loses or ruins what was committed.
type WeakSetting struct {
	Name   string
	Value  string
	Source string // where it comes from, as pg_settings has it
	File   string // and in which file, where the login may know it
	Role   Role   // whose sessions have it; "" = those of the login
}

// String names the setting, its origin and what puts it right.
func (w WeakSetting) String() string {
	from, repair := w.Source, "set it to on there"
	switch w.Source {
	case "configuration file":
		if w.File != "" {
			from = w.File
		}
		repair = "set it to on there and SELECT pg_reload_conf()"
	case "database":
		repair = "ALTER DATABASE ... RESET " + w.Name
	case "user", "database user", "global":
		repair = "ALTER ROLE ... RESET " + w.Name + " (also IN DATABASE ...)"
	case "client":
		from, repair = "the database URL", "remove it there"
	case "command line":
		repair = "start the server without it"
	}
	whose := ""
	if w.Role != RoleOwner {
		whose = fmt.Sprintf(" in sessions of role %s", w.Role)
	}
	return fmt.Sprintf("%s is %s%s (from %s): %s", w.Name, w.Value, whose, from, repair)
}

// Durability lists the settings by which committed work can be lost, as sessions of the login and of every role of refold
// have them. throwAway reports that the server was started by refold to be thrown away, so that they are meant.
func (d *DB) Durability(ctx context.Context) (weak []WeakSetting, throwAway bool, err error) {
	there, err := d.rolesThere(ctx)
	if err != nil {
		return nil, false, fmt.Errorf("roles of the database: %w", err)
	}
	for _, role := range append([]Role{RoleOwner}, there...) {
		found, err := d.durabilityOf(ctx, role, &throwAway)
		if err != nil {
			return nil, false, fmt.Errorf("settings of a session of role %q: %w", role, err)
		}
		for _, w := range found {
			known := func(k WeakSetting) bool { return k.Name == w.Name && k.Source == w.Source }
			if !slices.ContainsFunc(weak, known) {
				weak = append(weak, w)
			}
		}
	}
	return weak, throwAway, nil
}

// rolesThere are the roles that exist already: before the first start there are none.
func (d *DB) rolesThere(ctx context.Context) ([]Role, error) {
	pool, err := d.Owner(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := pool.Query(ctx, "SELECT rolname::text FROM pg_roles WHERE rolname = ANY ($1) ORDER BY rolname", roles)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[Role])
}

// durabilityOf asks in a session of its own: what a role or a database sets, only a new session has.
func (d *DB) durabilityOf(ctx context.Context, role Role, throwAway *bool) (weak []WeakSetting, err error) {
	conn, err := pgx.ConnectConfig(ctx, d.connConfig(poolKey{role: role}))
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if err := conn.QueryRow(ctx, "SELECT coalesce(current_setting('refold.throw_away', true), '') = 'on'").Scan(throwAway); err != nil {
		return nil, err
	}
	// The other values of synchronous_commit keep what is acknowledged on one disk at least.
	rows, err := conn.Query(ctx, `SELECT name, setting, source, coalesce(sourcefile || ':' || sourceline, '') FROM pg_settings
		WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit') AND setting = 'off' ORDER BY name`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (WeakSetting, error) {
		w := WeakSetting{Role: role}
		return w, row.Scan(&w.Name, &w.Value, &w.Source, &w.File)
	})
}
