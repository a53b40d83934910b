package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/refold-dev/refold/internal/failpoint"
	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/postgres/db"
)

var (
	// ErrDatabaseInUse: the database holds a plane already. Restore into an empty database.
	ErrDatabaseInUse = errors.New("the database is not empty")
	// ErrNewerBackup: the backup was made by a newer program. Restore it with that one.
	ErrNewerBackup = errors.New("the backup holds what this program does not know: restore it with the program that made it")
)

// settingRestore keeps where a restore stands, and in the end which backup this plane came out of.
const settingRestore = "restored_from"

// restoreNote is the value of settingRestore.
type restoreNote struct {
	Backup   string    `json:"backup"`
	SHA256   string    `json:"manifest_sha256"`
	Taken    time.Time `json:"taken"`
	Raised   bool      `json:"raised"` // the incarnation of the journal
	Finished bool      `json:"finished"`
	Editions []int64   `json:"editions"` // restored with their rows
}

// RestoredControl is what the loading of the control tables has left to others.
type RestoredControl struct {
	// Editions are those that came back with their rows, level with their checkpoints. Without any, one is to be built.
	Editions []int64 `json:"editions"`
	// SQLReaders are logins that have to be made again: passwords are in no backup.
	SQLReaders []SQLReader `json:"sql_readers"`
	// Raised and Finished: an attempt before has come that far.
	Raised   bool `json:"-"`
	Finished bool `json:"-"`
}

// SQLReader is a login that reads by SQL.
type SQLReader struct {
	Login  string `json:"login"`
	Tenant string `json:"tenant"`
}

// Tables that mean something only together with the Postgres they were in.
var (
	// leftBehind are not loaded: processes of another time, logins that do not exist here, and what verifications and
	// repairs of these tables had begun or still owed.
	leftBehind = []string{"replica", "sql_reader", "verification_run", "verification_part", "verification_entity", "repair", "repair_entity"}
	// records speak of editions that need not be there any more; they are loaded whole. Every other table with a column
	// "edition" is loaded for the restored editions only.
	records = []string{"edition_shard", "flip", "verification", "build"}
	// ours are filled by the migrations as well: what they say about this database stands.
	ours = []string{"setting"}
)

// RestoreControl loads the control tables of a backup into an empty database, and the rows of its editions where the
// backup has them and they are of this shape. Numbers of editions are never used again: those that are not restored are
// retired. Only restored editions have checkpoints and can be live. It may be repeated until FinishRestore.
func (r *Repository) RestoreControl(ctx context.Context, database *postgres.DB, entry *Entry, shape string, progress func(Progress)) (*RestoredControl, error) {
	if progress == nil {
		progress = func(Progress) {}
	}
	if err := database.Migrate(ctx); err != nil {
		return nil, err
	}
	l := &loading{Repository: r, db: database, entry: entry, progress: progress, editions: []int64{}} // not nil: that is NULL in SQL
	out, err := l.run(ctx, shape)
	if err != nil {
		return nil, fmt.Errorf("restore control tables of backup %s: %w", entry.ID, err)
	}
	return out, nil
}

type loading struct {
	*Repository
	db       *postgres.DB
	entry    *Entry
	progress func(Progress)
	editions []int64 // restored with rows
}

func (l *loading) run(ctx context.Context, shape string) (*RestoredControl, error) {
	owner, err := l.db.Owner(ctx)
	if err != nil {
		return nil, err
	}
	out := &RestoredControl{Editions: []int64{}, SQLReaders: []SQLReader{}}
	note, err := restoreNoted(ctx, l.db)
	if err != nil {
		return nil, err
	}
	if note == nil {
		if err := l.rows(ctx, shape); err != nil {
			return nil, err
		}
		if err := failpoint.Hit("restore.rows-loaded"); err != nil {
			return nil, err
		}
		if err := pgx.BeginFunc(ctx, owner, func(tx pgx.Tx) error { return l.control(ctx, tx) }); err != nil {
			return nil, err
		}
		if note, err = restoreNoted(ctx, l.db); err != nil || note == nil {
			return nil, errors.Join(err, errors.New("the note of the restore is missing"))
		}
	}
	if note.Backup != l.entry.ID || note.SHA256 != l.entry.SHA256 {
		return nil, fmt.Errorf("%w: backup %s was restored into it", ErrDatabaseInUse, note.Backup)
	}
	out.Editions, out.Raised, out.Finished = append(out.Editions, note.Editions...), note.Raised, note.Finished
	out.SQLReaders, err = l.readers(ctx)
	return out, err
}

func restoreNoted(ctx context.Context, database *postgres.DB) (*restoreNote, error) {
	owner, err := database.Owner(ctx)
	if err != nil {
		return nil, err
	}
	var text string
	err = owner.QueryRow(ctx, "SELECT value FROM control.setting WHERE name = $1", settingRestore).Scan(&text)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	note := &restoreNote{}
	if err == nil {
		err = json.Unmarshal([]byte(text), note)
	}
	if err != nil {
		return nil, fmt.Errorf("note of a restore: %w", err)
	}
	return note, nil
}

// NoteRaised notes that the journal has the incarnation that it shall have after this restore.
func NoteRaised(ctx context.Context, database *postgres.DB) error {
	return renote(ctx, database, func(note *restoreNote) { note.Raised = true })
}

// FinishRestore notes that a restore is complete and proven.
func FinishRestore(ctx context.Context, database *postgres.DB) error {
	return renote(ctx, database, func(note *restoreNote) { note.Finished = true })
}

func renote(ctx context.Context, database *postgres.DB, change func(*restoreNote)) error {
	note, err := restoreNoted(ctx, database)
	if err != nil || note == nil {
		return errors.Join(err, errors.New("nothing is being restored here"))
	}
	change(note)
	owner, err := database.Owner(ctx)
	if err != nil {
		return err
	}
	return setNote(ctx, owner, note)
}

func setNote(ctx context.Context, to db.DBTX, note *restoreNote) error {
	text, err := json.Marshal(note)
	if err != nil {
		return err
	}
	if err := db.New(to).SettingSet(ctx, db.SettingSetParams{Name: settingRestore, Value: string(text)}); err != nil {
		return fmt.Errorf("note the restore: %w", err)
	}
	return nil
}

// rows loads the editions that have rows of this shape. Their checkpoints come later, so nobody uses them before.
func (l *loading) rows(ctx context.Context, shape string) error {
	if err := l.empty(ctx); err != nil {
		return err
	}
	for _, e := range l.entry.Editions {
		if e.Shape != shape || !l.levelled(e.Edition) {
			continue
		}
		if err := l.edition(ctx, e); err != nil {
			return fmt.Errorf("rows of edition %d: %w", e.Edition, err)
		}
		l.editions = append(l.editions, e.Edition)
	}
	return nil
}

// levelled tells whether an edition has a sound checkpoint in every shard.
func (l *loading) levelled(edition int64) bool {
	shards := 0
	for _, c := range l.entry.Checkpoints {
		if c.Edition == edition && c.Stopped == "" && c.Seq <= l.entry.Shards[c.Shard].Seq {
			shards++
		}
	}
	return shards == len(l.entry.Shards)
}

// empty refuses a database with a plane in it.
func (l *loading) empty(ctx context.Context) error {
	owner, err := l.db.Owner(ctx)
	if err != nil {
		return err
	}
	var editions, tenants, live int
	err = owner.QueryRow(ctx, "SELECT (SELECT count(*) FROM control.edition), (SELECT count(*) FROM control.tenant), (SELECT count(*) FROM control.live)").Scan(&editions, &tenants, &live)
	if err != nil {
		return err
	}
	if editions+tenants+live > 0 {
		return fmt.Errorf("%w: it has %d editions and %d tenants", ErrDatabaseInUse, editions, tenants)
	}
	return nil
}

// edition loads the rows of one edition, from the beginning if an attempt was cut short.
func (l *loading) edition(ctx context.Context, e EditionRows) error {
	if err := l.db.DropEdition(ctx, e.Edition); err != nil {
		return err
	}
	if err := l.db.CreateEdition(ctx, e.Edition); err != nil {
		return err
	}
	pool, err := l.db.OwnerOf(ctx, e.Edition)
	if err != nil {
		return err
	}
	total, done := int64(0), int64(0)
	for _, t := range e.Tables {
		for _, p := range t.Pieces {
			total += p.RawBytes
		}
	}
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		for i := range e.Tables {
			t := &e.Tables[i]
			sql := "COPY " + pgx.Identifier{t.Name}.Sanitize() + " (" + quoted(t.Columns) + ") FROM STDIN (FORMAT binary)"
			tag, err := tx.Conn().PgConn().CopyFrom(ctx, l.openTable(ctx, t, func(bytes int64) {
				done += bytes
				l.progress(Progress{Phase: fmt.Sprintf("load rows of edition %d, bytes", e.Edition), Done: done, Total: total})
			}), sql)
			if err == nil && tag.RowsAffected() != t.Rows {
				err = fmt.Errorf("%d rows were loaded, the backup has %d", tag.RowsAffected(), t.Rows)
			}
			if err != nil {
				return fmt.Errorf("table %s: %w", t.Name, err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return l.db.FinishEdition(ctx, e.Edition, false)
}

// control loads all control tables in one transaction, those that others refer to first.
func (l *loading) control(ctx context.Context, tx pgx.Tx) error {
	if err := l.empty(ctx); err != nil {
		return err
	}
	there, err := tablesOf(ctx, tx, "control")
	if err != nil {
		return err
	}
	order, err := byReference(ctx, tx)
	if err != nil {
		return err
	}
	tables := slices.Clone(l.entry.Control.Tables)
	slices.SortStableFunc(tables, func(a, b Table) int { return order[a.Name] - order[b.Name] })
	for i := range tables {
		t := &tables[i]
		at := slices.IndexFunc(there, func(o Table) bool { return o.Name == t.Name })
		if at < 0 {
			return fmt.Errorf("table %s: %w", t.Name, ErrNewerBackup)
		}
		for _, column := range t.Columns {
			if !slices.Contains(there[at].Columns, column) {
				return fmt.Errorf("column %s of table %s: %w", column, t.Name, ErrNewerBackup)
			}
		}
		if err := l.table(ctx, tx, t); err != nil {
			return fmt.Errorf("table %s: %w", t.Name, err)
		}
		l.progress(Progress{Phase: "load control tables", Done: int64(i + 1), Total: int64(len(tables))})
	}
	if err := l.settle(ctx, tx); err != nil {
		return err
	}
	note := &restoreNote{Backup: l.entry.ID, SHA256: l.entry.SHA256, Taken: l.entry.Taken, Editions: append([]int64{}, l.editions...)}
	if err := setNote(ctx, tx, note); err != nil {
		return err
	}
	return failpoint.Hit("restore.before-control-commit")
}

// table loads one table by way of a temporary one, so that rows can be left out.
func (l *loading) table(ctx context.Context, tx pgx.Tx, t *Table) error {
	name := pgx.Identifier{"control", t.Name}.Sanitize()
	if slices.Contains(leftBehind, t.Name) {
		return nil
	}
	if _, err := tx.Exec(ctx, "CREATE TEMPORARY TABLE incoming ON COMMIT DROP AS SELECT "+quoted(t.Columns)+" FROM "+name+" WITH NO DATA"); err != nil {
		return err
	}
	tag, err := tx.Conn().PgConn().CopyFrom(ctx, l.openTable(ctx, t, func(int64) {}), "COPY pg_temp.incoming ("+quoted(t.Columns)+") FROM STDIN")
	if err != nil {
		return err
	}
	if tag.RowsAffected() != t.Rows {
		return fmt.Errorf("%d rows were loaded, the backup has %d", tag.RowsAffected(), t.Rows)
	}
	sql := "INSERT INTO " + name + " (" + quoted(t.Columns) + ") OVERRIDING SYSTEM VALUE SELECT " + quoted(t.Columns) + " FROM pg_temp.incoming"
	args := []any{}
	if t.Name != "edition" && slices.Contains(t.Columns, "edition") && !slices.Contains(records, t.Name) {
		sql += " WHERE edition = ANY ($1)"
		args = append(args, l.editions)
	}
	if slices.Contains(ours, t.Name) {
		sql += " ON CONFLICT DO NOTHING"
	}
	if _, err := tx.Exec(ctx, sql, args...); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, "DROP TABLE pg_temp.incoming")
	return err
}

// settle brings what was loaded to what is true here.
func (l *loading) settle(ctx context.Context, tx pgx.Tx) error {
	for _, s := range []struct {
		sql  string
		args []any
	}{
		{"UPDATE control.edition SET state = 'retired', epoch = epoch + 1, retired_at = coalesce(retired_at, clock_timestamp()) WHERE NOT number = ANY ($1)", []any{l.editions}},
		{"UPDATE control.edition_shard SET state = 'retired' WHERE NOT edition = ANY ($1)", []any{l.editions}},
		// A rollback goes only to what is there.
		{"UPDATE control.live SET previous = NULL WHERE NOT previous = ANY ($1)", []any{l.editions}},
		{"UPDATE control.checkpoint SET epoch = epoch + 1, holder = '', holder_pid = 0", nil},
	} {
		if _, err := tx.Exec(ctx, s.sql, s.args...); err != nil {
			return err
		}
	}
	return advanceSequences(ctx, tx)
}

// advanceSequences lets identity columns go on behind the rows that were loaded.
func advanceSequences(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, `SELECT c.relname, a.attname, pg_get_serial_sequence('control.' || quote_ident(c.relname), a.attname)
		FROM pg_catalog.pg_class c
		JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
		WHERE n.nspname = 'control' AND c.relkind = 'r' AND c.relname <> 'goose_db_version' AND a.attidentity <> ''`)
	if err != nil {
		return err
	}
	type identity struct{ Table, Column, Sequence string }
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[identity])
	if err != nil {
		return err
	}
	for _, i := range all {
		_, err := tx.Exec(ctx, "SELECT setval($1::text::regclass, max("+pgx.Identifier{i.Column}.Sanitize()+")) FROM "+
			pgx.Identifier{"control", i.Table}.Sanitize()+" HAVING max("+pgx.Identifier{i.Column}.Sanitize()+") IS NOT NULL", i.Sequence)
		if err != nil {
			return fmt.Errorf("sequence of table %s: %w", i.Table, err)
		}
	}
	return nil
}

// byReference places each table behind those that it refers to.
func byReference(ctx context.Context, tx pgx.Tx) (map[string]int, error) {
	rows, err := tx.Query(ctx, `SELECT f.relname, t.relname FROM pg_catalog.pg_constraint c
		JOIN pg_catalog.pg_class f ON f.oid = c.conrelid
		JOIN pg_catalog.pg_class t ON t.oid = c.confrelid
		JOIN pg_catalog.pg_namespace n ON n.oid = c.connamespace
		WHERE c.contype = 'f' AND n.nspname = 'control' AND f.oid <> t.oid`)
	if err != nil {
		return nil, err
	}
	type reference struct{ From, To string }
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[reference])
	if err != nil {
		return nil, err
	}
	place := map[string]int{}
	for range len(all) + 1 {
		for _, r := range all {
			place[r.From] = max(place[r.From], place[r.To]+1)
		}
		if !slices.ContainsFunc(all, func(r reference) bool { return place[r.From] <= place[r.To] }) {
			return place, nil
		}
	}
	return nil, errors.New("the control tables refer to each other in a circle")
}

// readers lists the SQL readers of the backup.
func (l *loading) readers(ctx context.Context) ([]SQLReader, error) {
	out := []SQLReader{}
	i := slices.IndexFunc(l.entry.Control.Tables, func(t Table) bool { return t.Name == "sql_reader" })
	if i < 0 {
		return out, nil
	}
	t := &l.entry.Control.Tables[i]
	login, tenant := slices.Index(t.Columns, "login"), slices.Index(t.Columns, "tenant_id")
	if login < 0 || tenant < 0 {
		return nil, ErrNewerBackup
	}
	var text strings.Builder
	if _, err := io.Copy(&text, l.openTable(ctx, t, func(int64) {})); err != nil {
		return nil, err
	}
	for line := range strings.Lines(text.String()) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(fields) != len(t.Columns) {
			return nil, fmt.Errorf("%w: table sql_reader", ErrPiece)
		}
		out = append(out, SQLReader{fields[login], fields[tenant]}) // both are tokens, which COPY does not escape
	}
	return out, nil
}

// MayRestore returns nil when a backup can be restored into a database: it is empty, or an attempt to restore the same
// backup was cut short there. loaded is true when that has come as far as the control tables.
func MayRestore(ctx context.Context, database *postgres.DB, entry *Entry) (loaded bool, err error) {
	note, err := restoreNoted(ctx, database)
	if err != nil {
		return false, err
	}
	if note == nil {
		return false, (&loading{db: database}).empty(ctx)
	}
	if note.Backup != entry.ID || note.SHA256 != entry.SHA256 || note.Finished {
		return false, fmt.Errorf("%w: backup %s was restored into it", ErrDatabaseInUse, note.Backup)
	}
	return true, nil
}
