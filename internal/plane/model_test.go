package plane_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/envelope"
)

// column of a table, as this test knows it.
type column struct{ name, typ string }

// layout is a table of an edition written down a second time, independently of the fold.
type layout struct {
	keys    int // columns of the primary key
	columns []column
}

func table(keys int, spec string) layout {
	l := layout{keys: keys}
	for _, field := range strings.Fields(spec) {
		name, typ, _ := strings.Cut(field, ":")
		l.columns = append(l.columns, column{name, typ})
	}
	return l
}

var layouts = map[string]layout{
	"user_account":    table(2, "tenant_id:text id:uuid version:int8 subject:text name:text email:text metadata:jsonb created_at:timestamptz updated_at:timestamptz"),
	"app":             table(2, "tenant_id:text id:uuid version:int8 owner_id:uuid name:text description:text metadata:jsonb is_active:bool created_at:timestamptz updated_at:timestamptz"),
	"app_access_rule": table(3, "tenant_id:text app_id:uuid id:uuid version:int8 object_type:text object_id:uuid effect:effect created_at:timestamptz"),
	"category":        table(2, "tenant_id:text id:uuid version:int8 name:text description:text created_at:timestamptz updated_at:timestamptz"),
	"memory":          table(2, "tenant_id:text id:uuid version:int8 user_id:uuid app_id:uuid content:text metadata:jsonb state:state created_at:timestamptz updated_at:timestamptz archived_at:timestamptz deleted_at:timestamptz"),
	"memory_category": table(3, "tenant_id:text memory_id:uuid category_id:uuid version:int8"),
	"memory_status":   table(4, "tenant_id:text memory_id:uuid seq:int8 ordinal:int4 version:int8 id:uuid changed_by:uuid old_state:text new_state:text changed_at:timestamptz"),
	"archive_policy":  table(2, "tenant_id:text id:uuid version:int8 owner_id:uuid criteria:text criteria_id:uuid days:int8 created_at:timestamptz updated_at:timestamptz"),
	"config":          table(2, "tenant_id:text id:uuid version:int8 settings:jsonb changed_by:uuid created_at:timestamptz updated_at:timestamptz"),
	"held_entity":     table(3, "tenant_id:text entity:text entity_id:text version:int8 seq:int8 kind:text reason:text"),
	"held_event":      table(4, "tenant_id:text entity:text entity_id:text seq:int8 version:int8 kind:text digest:bytea"),
}

func (l layout) index(name string) int {
	return slices.IndexFunc(l.columns, func(c column) bool { return c.name == name })
}

// model is what the rows must be: maps and nothing else. It shares no code with the fold.
type model struct {
	rows map[string]map[string]*modelRow // by table and key
	held map[envelope.Key]bool
	// seen counts the events of each entity and adds up their sequences.
	seen map[envelope.Key]count
}

type count struct{ events, sum uint64 }

type modelRow struct {
	values []*string
	since  []uint64 // the event since which each column has its value
}

func newModel() *model {
	m := &model{rows: map[string]map[string]*modelRow{}, held: map[envelope.Key]bool{}, seen: map[envelope.Key]count{}}
	for name := range layouts {
		m.rows[name] = map[string]*modelRow{}
	}
	return m
}

// event applies one event, or holds it.
func (m *model) event(e *envelope.Event, apply func(*model, *envelope.Event)) {
	c := m.seen[e.Key]
	m.seen[e.Key] = count{c.events + 1, c.sum + e.Seq}
	first := !slices.Contains(events.Kinds(), e.Kind) && !m.held[e.Key]
	if first {
		m.held[e.Key] = true
		m.set(e, "held_entity", []any{e.Tenant, e.Entity, e.ID, e.Version, e.Seq, e.Kind, fmt.Sprintf("unknown kind of event: %q", e.Kind)})
	}
	if m.held[e.Key] {
		digest, _ := e.Digest(nil)
		m.set(e, "held_event", []any{e.Tenant, e.Entity, e.ID, e.Seq, e.Version, e.Kind, digest[:]})
		return
	}
	apply(m, e)
}

// put writes a row: key columns behind the tenant, then all columns behind the version.
func (m *model) put(e *envelope.Event, name string, values ...any) {
	l := layouts[name]
	row := append([]any{e.Tenant}, values[:l.keys-1]...)
	row = append(row, e.Version)
	m.set(e, name, append(row, values[l.keys-1:]...))
}

func (m *model) set(e *envelope.Event, name string, values []any) {
	l := layouts[name]
	if len(values) != len(l.columns) {
		panic(fmt.Sprintf("table %s: %d values for %d columns", name, len(values), len(l.columns)))
	}
	row := &modelRow{since: make([]uint64, len(values))}
	for _, v := range values {
		row.values = append(row.values, text(v))
	}
	key := keyOf(row.values[:l.keys])
	old := m.rows[name][key]
	for i := range row.since {
		row.since[i] = e.Seq
		if old != nil && same(old.values[i], row.values[i]) {
			row.since[i] = old.since[i]
		}
	}
	m.rows[name][key] = row
}

// change writes some columns, and the version, of the event's one row.
func (m *model) change(e *envelope.Event, name string, pairs ...any) {
	l, old := layouts[name], m.get(name, e.ID)
	values := make([]any, len(old))
	for i, v := range old {
		values[i] = v
	}
	values[l.index("version")] = e.Version
	for i := 0; i < len(pairs); i += 2 {
		values[l.index(pairs[i].(string))] = pairs[i+1]
	}
	// The tenant is the event's: a model holds one tenant only.
	m.set(e, name, values)
}

func (m *model) get(name string, key ...string) []*string {
	for _, row := range m.rows[name] {
		match := true
		for i, k := range key {
			match = match && *row.values[i+1] == k
		}
		if match {
			return row.values
		}
	}
	return nil
}

func (m *model) remove(name string, keys ...any) {
	for key, row := range m.rows[name] {
		match := true
		for i, k := range keys {
			match = match && *row.values[i+1] == *text(k)
		}
		if match {
			delete(m.rows[name], key)
		}
	}
}

// categories replaces the links of a memory.
func (m *model) categories(e *envelope.Event, ids []uuid.UUID) {
	for key, row := range m.rows["memory_category"] {
		if *row.values[1] == e.ID && !slices.ContainsFunc(ids, func(id uuid.UUID) bool { return id.String() == *row.values[2] }) {
			delete(m.rows["memory_category"], key)
		}
	}
	for _, id := range ids {
		m.put(e, "memory_category", e.ID, id)
	}
}

// supplement adds links that are not there, and lines of history.
func (m *model) supplement(e *envelope.Event, ids []uuid.UUID, history []events.StatusChange) {
	for _, id := range ids {
		if m.get("memory_category", e.ID, id.String()) == nil {
			m.put(e, "memory_category", e.ID, id)
		}
	}
	for i, h := range history {
		m.put(e, "memory_status", e.ID, e.Seq, i, h.ID, h.ChangedBy, string(h.OldState), string(h.NewState), h.ChangedAt)
	}
}

// text renders a value as people would read it; nil is NULL.
func text(v any) *string {
	var s string
	switch v := v.(type) {
	case nil:
		return nil
	case *string:
		return v
	case *uuid.UUID:
		if v == nil {
			return nil
		}
		s = v.String()
	case *time.Time:
		if v == nil {
			return nil
		}
		s = v.UTC().Format(time.RFC3339Nano)
	case time.Time:
		s = v.UTC().Format(time.RFC3339Nano)
	case [16]byte:
		s = uuid.UUID(v).String()
	case uuid.UUID:
		s = v.String()
	case []byte:
		s = fmt.Sprintf("\\x%x", v)
	default:
		s = fmt.Sprint(v)
	}
	return &s
}

func same(a, b *string) bool { return (a == nil) == (b == nil) && (a == nil || *a == *b) }

func keyOf(values []*string) string {
	parts := make([]string, len(values))
	for i, v := range values {
		parts[i] = *v
	}
	return strings.Join(parts, "|")
}

// readTables reads all rows of an edition, by table and key.
func readTables(t testing.TB, pool *pgxpool.Pool) map[string]map[string][]*string {
	t.Helper()
	out := map[string]map[string][]*string{}
	for name, l := range layouts {
		out[name] = map[string][]*string{}
		rows, err := pool.Query(context.Background(), "SELECT "+l.selection()+" FROM "+name)
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			values, err := rows.Values()
			if err != nil {
				t.Fatal(err)
			}
			var row []*string
			for _, v := range values {
				row = append(row, text(v))
			}
			out[name][keyOf(row[:l.keys])] = row
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func (l layout) selection() string {
	var names []string
	for _, c := range l.columns {
		if c.typ == "jsonb" {
			names = append(names, c.name+"::text")
		} else {
			names = append(names, c.name)
		}
	}
	return strings.Join(names, ", ")
}

// merge joins the models of several tenants.
func merge(models ...*model) *model {
	all := newModel()
	for _, m := range models {
		for name, rows := range m.rows {
			maps.Copy(all.rows[name], rows)
		}
		maps.Copy(all.seen, m.seen)
		maps.Copy(all.held, m.held)
	}
	return all
}

// mustEqualModel holds every row of an edition against the model.
func mustEqualModel(t testing.TB, pool *pgxpool.Pool, m *model) {
	t.Helper()
	actual := readTables(t, pool)
	for name, l := range layouts {
		for key, want := range m.rows[name] {
			got := actual[name][key]
			if got == nil {
				t.Errorf("table %s: row %s is missing", name, key)
				continue
			}
			for i, c := range l.columns {
				if !same(want.values[i], got[i]) {
					t.Errorf("table %s: row %s: column %s is %s, want %s", name, key, c.name, show(got[i]), show(want.values[i]))
				}
			}
		}
		for key := range actual[name] {
			if m.rows[name][key] == nil {
				t.Errorf("table %s: row %s should not be there", name, key)
			}
		}
	}
	if t.Failed() {
		t.FailNow()
	}
}

func show(s *string) string {
	if s == nil {
		return "NULL"
	}
	return fmt.Sprintf("%q", *s)
}
