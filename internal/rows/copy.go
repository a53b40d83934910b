package rows

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/refold-dev/refold/events/envelope"
)

// chunkBytes is how much of one table is collected before it is handed to the database.
const chunkBytes = 4 << 20

// copyHeader and copyTrailer frame a binary COPY.
var (
	copyHeader  = []byte("PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	copyTrailer = []byte{0xff, 0xff}
)

// Loader brings rows into the tables of an empty edition by COPY, on a connection of its own and beside the
// folding: one goroutine writes while the next chunk is filled. All of it is one transaction of the caller's.
type Loader struct {
	schema *Schema
	full   []*bytes.Buffer // by table index: what is being filled
	queue  chan chunk
	done   chan error
	cancel context.CancelFunc
	rows   int64
	pause  func(context.Context) error
	// Sums of the loaded rows, which belong to the goroutine that writes, and of the applied events, which belong to the one
	// that folds; nil = none are kept.
	kept, applied *keeper
}

// pieceBytes is how much is written between two calls of pause.
const pieceBytes = 64 << 10

// copyEvery is how many entities are handed over between two calls of Copy's each.
const copyEvery = 16

type chunk struct {
	table *Description
	rows  *bytes.Buffer
}

// NewLoader starts a loader in tx. tx must not be used by anyone else until Close. pause is called before each small
// piece that is written and may wait, so that the database is not kept busy at a stretch; an error of it ends the load.
func NewLoader(ctx context.Context, s *Schema, tx pgx.Tx, pause func(context.Context) error) *Loader {
	ctx, cancel := context.WithCancel(ctx)
	l := &Loader{schema: s, full: make([]*bytes.Buffer, len(s.all)), queue: make(chan chunk, 2), done: make(chan error, 1), cancel: cancel, pause: pause}
	go func() { l.done <- l.run(ctx, tx) }()
	return l
}

func (l *Loader) run(ctx context.Context, tx pgx.Tx) (err error) {
	for c := range l.queue {
		if err != nil {
			continue // drain, so that nobody waits for ever
		}
		sql := "COPY " + c.table.Name + " (" + c.table.columnNames(c.table.Columns) + ") FROM STDIN (FORMAT binary)"
		hashed := make(chan error, 1)
		go func(rows []byte) { hashed <- l.hash(c.table, rows) }(c.rows.Bytes())
		body := io.MultiReader(bytes.NewReader(copyHeader), pieces{ctx, c.rows, l.pause}, bytes.NewReader(copyTrailer))
		if _, err = tx.Conn().PgConn().CopyFrom(ctx, body, sql); err != nil {
			err = fmt.Errorf("copy into table %s: %w", c.table.Name, err)
		}
		err = cmp.Or(err, <-hashed)
	}
	return err
}

// hash adds a chunk to the kept digests, if any are kept.
func (l *Loader) hash(d *Description, rows []byte) error {
	if l.kept == nil {
		return nil
	}
	return l.keep(d, rows)
}

// pieces reads in small pieces, with a pause before each.
type pieces struct {
	ctx   context.Context
	rows  *bytes.Buffer
	pause func(context.Context) error
}

func (p pieces) Read(into []byte) (int, error) {
	if err := p.pause(p.ctx); err != nil {
		return 0, err
	}
	return p.rows.Read(into[:min(len(into), pieceBytes)])
}

// Append takes one row of an append-only table; it is what NewReplay hands rows to.
func (l *Loader) Append(d *Description, _ envelope.Key, tuple []byte) { l.add(d, tuple) }

func (l *Loader) add(d *Description, tuple []byte) {
	b := l.full[d.index]
	if b == nil {
		b = bytes.NewBuffer(make([]byte, 0, chunkBytes+4096))
		l.full[d.index] = b
	}
	b.Write(tuple)
	l.rows++
	if b.Len() >= chunkBytes {
		l.send(d)
	}
}

func (l *Loader) send(d *Description) {
	if b := l.full[d.index]; b != nil && b.Len() > 0 {
		l.queue <- chunk{d, b}
		l.full[d.index] = nil
	}
}

// Copy hands over all rows of the set, ordered by entity, which makes the keys that are built later cheaper. each is told
// now and then how many entities of how many are handed over, and may wait; an error of it ends the load.
func (l *Loader) Copy(ctx context.Context, w *Set, each func(done, total int) error) error {
	keys := make([]envelope.Key, 0, len(w.entities))
	for key := range w.entities {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, compareKeys)
	for i, key := range keys {
		if i%copyEvery == 0 {
			if err := cmp.Or(ctx.Err(), each(i, len(keys))); err != nil {
				return err
			}
		}
		ent := w.entities[key]
		for slot, r := range ent.tables {
			if r != nil {
				d := w.schema.tablesOf(key.Entity)[slot].describe()
				r.each(&w.tuple, func(uint64) { l.add(d, w.tuple.b) })
			}
		}
	}
	return nil
}

func compareKeys(a, b envelope.Key) int {
	return cmp.Or(cmp.Compare(a.Entity, b.Entity), cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.ID, b.ID))
}

// Rows counts the rows taken so far.
func (l *Loader) Rows() int64 { return l.rows }

// Close writes what is left and waits for it. Afterwards the caller may commit.
func (l *Loader) Close() error {
	for _, t := range l.schema.all {
		l.send(t.describe())
	}
	close(l.queue)
	err := <-l.done
	l.cancel()
	return err
}

// Abort stops the loader; the caller rolls back.
func (l *Loader) Abort() {
	l.cancel()
	close(l.queue)
	<-l.done //nolint:errcheck // why it was aborted is known
}
