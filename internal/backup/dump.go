package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/klauspost/compress/zstd"

	"github.com/refold-dev/refold/internal/postgres"
)

// pieceRawBytes is when a piece of a table is full, before compression; pieceBytesMax bounds it either way.
const (
	pieceRawBytes = 32 << 20
	pieceBytesMax = 2 * pieceRawBytes
)

// snapshot is one instant of Postgres.
type snapshot struct {
	db     *postgres.DB
	tx     pgx.Tx // as owner, of the control tables
	taken  time.Time
	export string
}

func openSnapshot(ctx context.Context, db *postgres.DB) (*snapshot, error) {
	pool, err := db.Owner(ctx)
	if err != nil {
		return nil, err
	}
	tx, err := pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return nil, fmt.Errorf("open a snapshot: %w", err)
	}
	s := &snapshot{db: db, tx: tx}
	if err := tx.QueryRow(ctx, "SELECT pg_export_snapshot(), clock_timestamp()").Scan(&s.export, &s.taken); err != nil {
		s.close(ctx)
		return nil, fmt.Errorf("open a snapshot: %w", err)
	}
	s.taken = s.taken.UTC()
	return s, nil
}

func (s *snapshot) close(ctx context.Context) { _ = s.tx.Rollback(context.WithoutCancel(ctx)) }

// of runs fn in the same instant, seeing all rows of an edition.
func (s *snapshot) of(ctx context.Context, edition int64, fn func(pgx.Tx) error) error {
	pool, err := s.db.Verifier(ctx, edition)
	if err != nil {
		return err
	}
	tx, err := pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return fmt.Errorf("join the snapshot: %w", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	if _, err := tx.Exec(ctx, "SET TRANSACTION SNAPSHOT '"+s.export+"'"); err != nil {
		return fmt.Errorf("join the snapshot: %w", err)
	}
	return fn(tx)
}

const tablesSQL = `
	SELECT c.relname, array_agg(a.attname::text ORDER BY a.attnum),
		(SELECT coalesce(array_agg(k.attname::text ORDER BY array_position(i.indkey::int2[], k.attnum)), '{}')
			FROM pg_catalog.pg_index i JOIN pg_catalog.pg_attribute k ON k.attrelid = i.indrelid AND k.attnum = ANY (i.indkey)
			WHERE i.indrelid = c.oid AND i.indisprimary)
	FROM pg_catalog.pg_class c
	JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
	JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
	WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND c.relname <> 'goose_db_version'
	GROUP BY c.oid, c.relname ORDER BY c.relname`

// tablesOf lists the tables of a schema with their columns, by the catalogue: a new one is covered at once.
func tablesOf(ctx context.Context, tx pgx.Tx, schema string) ([]Table, error) {
	rows, err := tx.Query(ctx, tablesSQL, schema)
	if err != nil {
		return nil, fmt.Errorf("tables of schema %s: %w", schema, err)
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (t Table, err error) {
		return t, row.Scan(&t.Name, &t.Columns, &t.key)
	})
}

func quoted(names []string) string {
	var b strings.Builder
	for i, name := range names {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(pgx.Identifier{name}.Sanitize())
	}
	return b.String()
}

// dumpTable writes the rows of a table into pieces, in the form that t.Binary says. Control tables are written in the
// order of their keys: what has not changed since the backup before makes the same pieces again, under the same names.
func (r *Repository) dumpTable(ctx context.Context, tx pgx.Tx, schema, journalID string, t *Table, wrote func(bytes int64)) error {
	format, order := "text", ""
	if t.Binary {
		format = "binary"
	} else if len(t.key) > 0 {
		order = " ORDER BY " + quoted(t.key)
	}
	t.Pieces = []Piece{}
	pieces := &pieceWriter{ctx: ctx, repository: r, journalID: journalID, table: t, wrote: wrote}
	sql := "COPY (SELECT " + quoted(t.Columns) + " FROM " + pgx.Identifier{schema, t.Name}.Sanitize() + order + ") TO STDOUT (FORMAT " + format + ")"
	tag, err := tx.Conn().PgConn().CopyTo(ctx, pieces, sql)
	if err == nil {
		err = pieces.flush()
	}
	if err != nil {
		return fmt.Errorf("dump table %s.%s: %w", schema, t.Name, err)
	}
	t.Rows = tag.RowsAffected()
	return nil
}

// pieceWriter cuts a stream into pieces.
type pieceWriter struct {
	ctx        context.Context
	repository *Repository
	journalID  string
	table      *Table
	wrote      func(int64)
	raw        bytes.Buffer
}

func (w *pieceWriter) Write(p []byte) (int, error) {
	w.raw.Write(p)
	if w.raw.Len() >= pieceRawBytes {
		if err := w.flush(); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

func (w *pieceWriter) flush() error {
	for w.raw.Len() > 0 {
		raw := w.raw.Next(pieceRawBytes)
		encoder, err := zstd.NewWriter(nil, zstd.WithWindowSize(windowBytes))
		if err != nil {
			return err
		}
		body := encoder.EncodeAll(raw, nil)
		piece := Piece{Bytes: int64(len(body)), RawBytes: int64(len(raw)), SHA256: sumHex(body)}
		piece.Object = pieceName(w.journalID, w.table.Binary, piece.SHA256)
		if err := w.repository.put(w.ctx, piece.Object, body); err != nil {
			return err
		}
		w.table.Pieces = append(w.table.Pieces, piece)
		w.wrote(piece.RawBytes)
	}
	w.raw.Reset()
	return nil
}

// ErrPiece: an object is no whole piece of a table.
var ErrPiece = errors.New("not a whole piece of a table")

// unpack returns the content of a piece that came from anywhere.
func unpack(body []byte, p Piece) ([]byte, error) {
	decoder, err := zstd.NewReader(bytes.NewReader(body), zstd.WithDecoderMaxWindow(windowBytes), zstd.WithDecoderMaxMemory(2*windowBytes), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPiece, err)
	}
	defer decoder.Close()
	raw, err := io.ReadAll(io.LimitReader(decoder, pieceBytesMax+1))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPiece, err)
	}
	if int64(len(raw)) != p.RawBytes {
		return nil, fmt.Errorf("%w: it holds %d bytes, %d were written", ErrPiece, len(raw), p.RawBytes)
	}
	return raw, nil
}

// errDamage: an object is not what was written.
var errDamage = errors.New("the object is damaged")

func isDamage(err error) bool { return errors.Is(err, errDamage) }

// fetch reads an object and holds it against what the manifest says of it.
func (r *Repository) fetch(ctx context.Context, name string, bytes int64, sha256 string) ([]byte, error) {
	body, err := r.Store.Get(ctx, name, bytes)
	if err != nil {
		return nil, err
	}
	if int64(len(body)) != bytes {
		return nil, fmt.Errorf("%w: %s has %d bytes, %d were written", errDamage, name, len(body), bytes)
	}
	if sum := sumHex(body); sum != sha256 {
		return nil, fmt.Errorf("%w: %s has SHA-256 %.16s, %.16s was written", errDamage, name, sum, sha256)
	}
	return body, nil
}

// tableReader is the stream of a table, out of its pieces.
type tableReader struct {
	ctx        context.Context
	repository *Repository
	pieces     []Piece
	current    bytes.Reader
	read       func(bytes int64)
}

func (r *Repository) openTable(ctx context.Context, t *Table, read func(bytes int64)) io.Reader {
	return &tableReader{ctx: ctx, repository: r, pieces: t.Pieces, read: read}
}

func (t *tableReader) Read(into []byte) (int, error) {
	for t.current.Len() == 0 {
		if len(t.pieces) == 0 {
			return 0, io.EOF
		}
		p := t.pieces[0]
		t.pieces = t.pieces[1:]
		body, err := t.repository.fetch(t.ctx, p.Object, p.Bytes, p.SHA256)
		if err != nil {
			return 0, err
		}
		raw, err := unpack(body, p)
		if err != nil {
			return 0, fmt.Errorf("object %s: %w", p.Object, err)
		}
		t.current.Reset(raw)
		t.read(p.RawBytes)
	}
	return t.current.Read(into)
}
