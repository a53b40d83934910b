package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/rows"
)

// Step is one event of an entity and what it does to the rows.
type Step struct {
	Seq       uint64        `json:"seq"`
	Version   uint64        `json:"version"`
	Kind      string        `json:"kind"`
	Time      time.Time     `json:"time"`
	Actor     string        `json:"actor"`
	CommandID string        `json:"command_id"`
	Held      bool          `json:"held,omitempty"` // the event waits in quarantine
	Changes   []rows.Change `json:"changes"`
}

// Explain replays the events of one entity up to a sequence (0 = all) and says what each did to its rows. No rows
// are read: it is what the rows must be.
func Explain(ctx context.Context, shard journal.Shard, schema *rows.Schema, fold rows.Fold, key envelope.Key, upto uint64) ([]Step, error) {
	history, err := shard.History(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("events of %s: %w", key, err)
	}
	if upto > 0 {
		if end := slices.IndexFunc(history, func(e envelope.Event) bool { return e.Seq > upto }); end >= 0 {
			history = history[:end]
		}
	}
	return replay(schema, fold, key, history)
}

func replay(schema *rows.Schema, fold rows.Fold, key envelope.Key, history []envelope.Event) ([]Step, error) {
	replay := rows.NewHistory(schema)
	steps := []Step{}
	for i := range history {
		e := &history[i]
		changes, err := replay.Step(e, fold)
		if err != nil {
			return nil, fmt.Errorf("event %d of %s: %w", e.Seq, key, err)
		}
		held := slices.ContainsFunc(changes, func(c rows.Change) bool { return c.Table == "held_event" })
		steps = append(steps, Step{e.Seq, e.Version, e.Kind, e.Time, e.Actor, e.CommandID, held, changes})
	}
	return steps, nil
}

// RowConfig names a row: by its table and its key behind the tenant, in the order of the table.
type RowConfig struct {
	DB      *postgres.DB
	Shard   journal.Shard
	Edition int64
	Schema  *rows.Schema
	Fold    rows.Fold
	Tenant  string
	Table   string
	Key     []string
}

// RowExplanation is a row beside what it must be, at one position, and the events behind it.
type RowExplanation struct {
	Edition  int64          `json:"edition"`
	Shard    int            `json:"shard"`
	Seq      uint64         `json:"seq"`
	Tenant   string         `json:"tenant"`
	Table    string         `json:"table"`
	Key      []rows.KeyPart `json:"key"`
	Verdict  Verdict        `json:"verdict"`
	Columns  []ColumnOrigin `json:"columns"` // of the row that must be there or, if none must, of the one that is
	Stored   int            `json:"stored"`  // rows of this key in the table: more than one where it has lost its key
	Entity   string         `json:"entity"`  // whose row it is
	EntityID string         `json:"entity_id"`
	Events   []Step         `json:"events"` // of the entity, with what each did to this row
}

// Verdict says how a row stands to its events.
type Verdict string

// The verdicts. Absent: there is no such row, and there must be none.
const (
	RowRight   Verdict = "right"
	RowWrong   Verdict = "different"
	RowMissing Verdict = "missing"
	RowExtra   Verdict = "extra"
	RowAbsent  Verdict = "absent"
)

// ColumnOrigin is one column: what must be there, since which event, and what is.
type ColumnOrigin struct {
	Column   string  `json:"column"`
	Expected *string `json:"expected"`
	Actual   *string `json:"actual"`
	Right    bool    `json:"right"`
	Seq      uint64  `json:"seq,omitempty"` // 0 = no event explains it
}

// ErrRow: the row is not named as rows of its table are; the text says how they are.
var ErrRow = errors.New("no row can have this name")

// ExplainRow holds one row of any table against the events of its entity, at one position of the edition.
func ExplainRow(ctx context.Context, c RowConfig) (*RowExplanation, error) {
	key, owner, err := c.owner()
	if err != nil {
		return nil, err
	}
	snap, err := takeSnapshot(ctx, c.DB, c.Edition, c.Shard, 1)
	if err != nil {
		return nil, err
	}
	defer snap.close(ctx)
	stored, err := rows.LoadOwned(ctx, c.Schema, snap.txs[0], []envelope.Key{owner})
	if err != nil {
		return nil, err
	}
	history, err := historyUpTo(ctx, c.Shard, owner, snap.seq())
	if err != nil {
		return nil, err
	}
	must := rows.NewOwned(c.Schema, []envelope.Key{owner})
	if err := must.Refold(owner, history, c.Fold); err != nil {
		return nil, err
	}
	out := &RowExplanation{
		Edition: c.Edition, Shard: c.Shard.Number(), Seq: snap.seq(), Tenant: c.Tenant, Table: c.Table, Key: key,
		Entity: owner.Entity, EntityID: owner.ID, Columns: []ColumnOrigin{},
	}
	steps, err := replay(c.Schema, c.Fold, owner, history)
	if err != nil {
		return nil, err
	}
	var since rows.Since
	for i := range steps {
		since.Observe(c.Table, key, steps[i].Seq, steps[i].Changes)
		steps[i].Changes = slices.DeleteFunc(steps[i].Changes, func(ch rows.Change) bool { return ch.Table != c.Table || !slices.Equal(ch.Key, key) })
	}
	out.Events = steps
	out.compare(stored.Rows(c.Table, key), must.Rows(c.Table, key), &since)
	return out, nil
}

// owner checks the name of the row and returns whose it is.
func (c *RowConfig) owner() ([]rows.KeyPart, envelope.Key, error) {
	tables := c.Schema.Tables()
	i := slices.IndexFunc(tables, func(d *rows.Description) bool { return d.Name == c.Table })
	if i < 0 {
		return nil, envelope.Key{}, fmt.Errorf("%w: no table %q: there are %s", ErrRow, c.Table, strings.Join(tableNames(c.Schema), ", "))
	}
	var key []rows.KeyPart
	var names []string
	for j, column := range tables[i].Columns[1:tables[i].KeyColumns] {
		names = append(names, column.Name)
		if j < len(c.Key) {
			key = append(key, rows.KeyPart{Column: column.Name, Value: c.Key[j]})
		}
	}
	if len(c.Key) != len(names) {
		return nil, envelope.Key{}, fmt.Errorf("%w: the key of table %s is %s, behind the tenant; got %d values", ErrRow, c.Table, strings.Join(names, " "), len(c.Key))
	}
	owner, err := c.Schema.OwnerOf(c.Table, c.Tenant, key)
	return key, owner, err
}

func (x *RowExplanation) compare(stored, must []rows.Row, since *rows.Since) {
	x.Stored = len(stored)
	switch {
	case len(stored) == 0 && len(must) == 0:
		x.Verdict = RowAbsent
		return
	case len(must) == 0:
		x.Verdict = RowExtra
		for _, v := range stored[0].Values {
			x.Columns = append(x.Columns, ColumnOrigin{Column: v.Column, Actual: v.Value})
		}
		return
	case len(stored) == 0:
		x.Verdict = RowMissing
	case len(stored) > 1:
		x.Verdict = RowExtra
	default:
		x.Verdict = RowRight
	}
	for i, v := range must[0].Values {
		origin := ColumnOrigin{Column: v.Column, Expected: v.Value, Seq: since.Column(v.Column)}
		if len(stored) > 0 {
			origin.Actual = stored[0].Values[i].Value
			origin.Right = equalText(v.Value, origin.Actual)
		}
		if !origin.Right && x.Verdict == RowRight {
			x.Verdict = RowWrong
		}
		x.Columns = append(x.Columns, origin)
	}
}

func equalText(a, b *string) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}
