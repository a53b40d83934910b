package postgres

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/refold-dev/refold/internal/postgres/db"
)

// Refusals around SQL readers.
var (
	// ErrLoginExists: the name is taken in this cluster, by whomever. Take another one.
	ErrLoginExists = errors.New("there is a role of this name already")
	// ErrNoLogin: no SQL reader of this database has this name, see `refold sql-reader list`.
	ErrNoLogin = errors.New("no such SQL reader")
	// ErrLoginName: the name is not one that a SQL reader may have.
	ErrLoginName = errors.New("a login has 1 to 63 of a-z 0-9 _, begins with a letter, and not with pg_ or refold_")
	// ErrPassword: the password is too weak, or has characters that clients treat differently.
	ErrPassword = errors.New("a password has 12 to 128 printable ASCII characters without blanks")
	// ErrReaderRights: the database gives every role rights that no SQL reader may have. Take them away first.
	ErrReaderRights = errors.New("the database gives every role more than a SQL reader may have")
)

// SQLReader is a login that reads the rows of one tenant by SQL.
type SQLReader struct {
	Login   string    `json:"login"`
	Tenant  string    `json:"tenant"`
	Schema  string    `json:"schema"` // that new sessions read; empty = no edition is live
	Created time.Time `json:"created"`
}

// What a new session of a SQL reader begins with. They protect the plane from mistakes, not from its user, who can
// change them: what he may see does not rest on them.
var readerSettings = []string{
	"default_transaction_read_only = on",
	"statement_timeout = '5min'",
	"idle_in_transaction_session_timeout = '1min'",
	"timezone = 'UTC'",
	"search_path = pg_catalog", // until an edition is live
}

const readerConnectionsMax = 10

var loginName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)

// NewPassword has 130 random bits in letters and digits.
func NewPassword() string { return rand.Text() }

// NewLogin is a name for a SQL reader that tells nothing of its tenant: every login of a server sees all names.
func NewLogin() string { return "r_" + strings.ToLower(rand.Text())[:12] }

// CreateSQLReader makes a login that belongs to a tenant for ever.
func (d *DB) CreateSQLReader(ctx context.Context, login, tenant, password string) error {
	if tenant == "" {
		return ErrNoTenant
	}
	if !loginName.MatchString(login) || strings.HasPrefix(login, "pg_") || strings.HasPrefix(login, "refold_") {
		return fmt.Errorf("login %q: %w", login, ErrLoginName)
	}
	verifier, err := scramVerifier(password)
	if err != nil {
		return err
	}
	err = d.inOwner(ctx, func(tx pgx.Tx) error { return createReader(ctx, tx, login, tenant, verifier) })
	if err != nil {
		return fmt.Errorf("create SQL reader %s: %w", login, err)
	}
	return nil
}

func createReader(ctx context.Context, tx pgx.Tx, login, tenant, verifier string) error {
	if err := lockReaders(ctx, tx); err != nil {
		return err
	}
	role := pgx.Identifier{login}.Sanitize()
	_, err := tx.Exec(ctx, fmt.Sprintf("CREATE ROLE %s LOGIN INHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS CONNECTION LIMIT %d PASSWORD '%s' IN ROLE %s",
		role, readerConnectionsMax, verifier, RoleSQL))
	if isCode(err, "42710", "23505") {
		return ErrLoginExists
	}
	if err != nil {
		return fmt.Errorf("create role (the login of refold needs CREATEROLE, and refold_sql WITH ADMIN OPTION where another login made it): %w", err)
	}
	var database string
	if err := tx.QueryRow(ctx, "SELECT quote_ident(current_database())").Scan(&database); err != nil {
		return err
	}
	if err := mayEnd(ctx, tx, login); err != nil {
		return err
	}
	for _, setting := range readerSettings {
		if _, err := tx.Exec(ctx, "ALTER ROLE "+role+" IN DATABASE "+database+" SET "+setting); err != nil {
			return err
		}
	}
	// Every role may make temporary tables unless that is taken from all; refold itself makes none.
	if _, err := tx.Exec(ctx, "REVOKE TEMPORARY ON DATABASE "+database+" FROM PUBLIC"); err != nil && !isCode(err, "42501") {
		return err
	}
	if err := closeFunctions(ctx, tx); err != nil {
		return err
	}
	if err := db.New(tx).SQLReaderInsert(ctx, db.SQLReaderInsertParams{Login: login, TenantID: tenant}); err != nil {
		return err
	}
	if err := db.New(tx).SQLReaderFollowLive(ctx); err != nil {
		return err
	}
	faults, err := readerFindings(ctx, tx)
	if err == nil {
		var rule []Finding
		rule, err = collectFindings(ctx, tx, "SQL readers", sqlTenantAuditSQL, sqlTenantText)
		faults = append(faults, rule...)
	}
	if err == nil && len(faults) > 0 {
		err = fmt.Errorf("%w: %s", ErrReaderRights, Sentences(faults))
	}
	return err
}

// readersWait bounds each wait for others that alter logins.
const readersWait = "2s"

// lockReaders lets one transaction at a time alter logins: ALTER ROLE does not wait for its like, it fails.
func lockReaders(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, "SET LOCAL lock_timeout = '"+readersWait+"'"); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, "LOCK TABLE control.sql_reader IN SHARE ROW EXCLUSIVE MODE")
	return err
}

// SetSQLReaderPassword gives a SQL reader another password. Open sessions stay, unless
// they hold the role back.
func (d *DB) SetSQLReaderPassword(ctx context.Context, login, password string) error {
	verifier, err := scramVerifier(password)
	if err != nil {
		return err
	}
	err = d.alterReader(ctx, login, func(tx pgx.Tx) error {
		if err := isReader(ctx, tx, login); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "ALTER ROLE "+pgx.Identifier{login}.Sanitize()+" PASSWORD '"+verifier+"'")
		return err
	})
	if err != nil {
		return fmt.Errorf("password of SQL reader %s: %w", login, err)
	}
	return nil
}

func isReader(ctx context.Context, tx pgx.Tx, login string) error {
	all, err := db.New(tx).SQLReaderList(ctx)
	if err != nil {
		return err
	}
	for _, r := range all {
		if r.Login == login {
			return nil
		}
	}
	return ErrNoLogin
}

// SQLReaders lists the SQL readers of this database.
func (d *DB) SQLReaders(ctx context.Context) ([]SQLReader, error) {
	pool, err := d.Operator(ctx)
	if err != nil {
		return nil, err
	}
	all, err := db.New(pool).SQLReaderList(ctx)
	if err != nil {
		return nil, fmt.Errorf("list SQL readers: %w", err)
	}
	out := []SQLReader{}
	for _, r := range all {
		schema, err := readerSchema(ctx, pool, r.Login)
		if err != nil {
			return nil, fmt.Errorf("schema of SQL reader %s: %w", r.Login, err)
		}
		out = append(out, SQLReader{Login: r.Login, Tenant: r.TenantID, Schema: schema, Created: r.CreatedAt.UTC()})
	}
	return out, nil
}

// readerSchema is what a new session of a login will read.
func readerSchema(ctx context.Context, q db.DBTX, login string) (schema string, err error) {
	err = q.QueryRow(ctx, `SELECT coalesce((
		SELECT nullif(substr(s.setting, length('search_path=') + 1), 'pg_catalog')
		FROM pg_roles r JOIN pg_db_role_setting d ON d.setrole = r.oid, unnest(d.setconfig) AS s (setting)
		WHERE r.rolname = $1 AND d.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
		  AND s.setting LIKE 'search_path=%'), '')`, login).Scan(&schema)
	return schema, err
}

// DropSQLReader removes a login with everything it owns in this database, and ends its sessions. It may be repeated until it
// succeeds. Where the login owns something in another database of the server, the role stays, without any right and unable
// to log in; audits name it.
func (d *DB) DropSQLReader(ctx context.Context, login string) error {
	if err := d.dropReader(ctx, login); err != nil {
		return fmt.Errorf("drop SQL reader %s: %w", login, err)
	}
	return nil
}

func (d *DB) dropReader(ctx context.Context, login string) error {
	role := pgx.Identifier{login}.Sanitize()
	there := false
	err := d.inOwner(ctx, func(tx pgx.Tx) (err error) {
		if err := lockReaders(ctx, tx); err != nil {
			return err
		}
		if err := isReader(ctx, tx, login); err != nil {
			return err
		}
		if there, err = isRole(ctx, tx, login); err != nil || !there {
			return err
		}
		return mayEnd(ctx, tx, login)
	})
	if err == nil && there {
		// From here on nobody logs in; then those are ended who did.
		err = d.alterReader(ctx, login, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, "ALTER ROLE "+role+" NOLOGIN")
			return err
		})
		// Some may be logging in at this moment.
		left := 1
		for try := 0; err == nil && left > 0 && try < endTriesMax; try++ {
			left, err = d.endSessions(ctx, login)
		}
		if err == nil && left > 0 {
			err = fmt.Errorf("%d of its sessions do not end: %w", left, ErrBusy)
		}
	}
	if err != nil {
		return err
	}
	return d.alterReader(ctx, login, func(tx pgx.Tx) error {
		if _, err := db.New(tx).SQLReaderDelete(ctx, login); err != nil || !there {
			return err
		}
		if _, err := tx.Exec(ctx, "DROP OWNED BY "+role); err != nil {
			return err
		}
		err := pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, "DROP ROLE "+role)
			return err
		})
		if !isCode(err, "2BP01") {
			return err
		}
		for _, statement := range []string{
			fmt.Sprintf("REVOKE %s FROM %s", RoleSQL, role), "ALTER ROLE " + role + " PASSWORD NULL CONNECTION LIMIT 0",
			"COMMENT ON ROLE " + role + " IS '" + removedComment + "'",
		} {
			if _, err := tx.Exec(ctx, statement); err != nil {
				return err
			}
		}
		return nil
	})
}

// removedComment is on roles that cannot be dropped, because they own something in another database.
const removedComment = "refold: removed SQL reader"

// mayEnd makes our login a member of a reader: only members may end its sessions.
func mayEnd(ctx context.Context, tx pgx.Tx, login string) error {
	_, err := tx.Exec(ctx, `DO $$ BEGIN
		IF NOT pg_has_role(current_user, '`+login+`', 'USAGE') THEN
			EXECUTE format('GRANT %I TO %I', '`+login+`', current_user);
		END IF;
	END $$`)
	return err
}

// settleReaders gives SQL readers what this binary gives new ones, and points those to the live edition that held a flip
// back. What the login may not do is left: an audit says what is missing.
func (d *DB) settleReaders(ctx context.Context) error {
	var all []db.ControlSqlReader
	err := d.inOwner(ctx, func(tx pgx.Tx) (err error) {
		var known bool
		if err := tx.QueryRow(ctx, "SELECT to_regclass('control.sql_reader') IS NOT NULL").Scan(&known); err != nil || !known {
			return err
		}
		all, err = db.New(tx).SQLReaderList(ctx)
		return err
	})
	if err != nil || len(all) == 0 {
		return err
	}
	steps := []func(pgx.Tx) error{
		func(tx pgx.Tx) error { return closeFunctions(ctx, tx) },
		func(tx pgx.Tx) error { return FollowLive(ctx, tx) },
	}
	for _, r := range all {
		steps = append(steps, func(tx pgx.Tx) error {
			if there, err := isRole(ctx, tx, r.Login); err != nil || !there {
				return err
			}
			return mayEnd(ctx, tx, r.Login)
		})
	}
	for _, step := range steps {
		if err := d.inOwner(ctx, step); err != nil && !isCode(err, "42501") {
			return fmt.Errorf("settle SQL readers: %w", err)
		}
	}
	return nil
}

func isRole(ctx context.Context, tx pgx.Tx, name string) (there bool, err error) {
	err = tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", name).Scan(&there)
	return there, err
}

// FollowLive points new sessions of SQL readers to the live edition of their tenant, in the transaction that moves the
// live pointer and as its last step. Sessions that are open stay where they are.
func FollowLive(ctx context.Context, tx pgx.Tx) error {
	if err := db.New(tx).SQLReaderFollowLive(ctx); err != nil {
		return fmt.Errorf("point SQL readers to the live edition (the login of refold needs CREATEROLE): %w", err)
	}
	return nil
}

func (d *DB) inOwner(ctx context.Context, fn func(pgx.Tx) error) error {
	pool, err := d.Owner(ctx)
	if err != nil {
		return err
	}
	return pgx.BeginFunc(ctx, pool, fn)
}

const (
	passwordMin     = 12
	passwordMax     = 128
	scramIterations = 4096 // what Postgres itself uses
)

// scramVerifier is what Postgres keeps of a password. Made here, so that the password is in no log of the server.
func scramVerifier(password string) (string, error) {
	if len(password) < passwordMin || len(password) > passwordMax {
		return "", ErrPassword
	}
	for _, c := range []byte(password) {
		if c <= ' ' || c > '~' {
			return "", ErrPassword
		}
	}
	salt := make([]byte, 16)
	rand.Read(salt)
	salted, err := pbkdf2.Key(sha256.New, password, salt, scramIterations, sha256.Size)
	if err != nil {
		return "", err
	}
	stored := sha256.Sum256(keyed(salted, "Client Key"))
	encode := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", scramIterations, encode(salt), encode(stored[:]), encode(keyed(salted, "Server Key"))), nil
}

func keyed(key []byte, label string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(label))
	return h.Sum(nil)
}
