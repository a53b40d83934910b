package plane_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/refold-dev/refold/internal/fold"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/rows"
	"github.com/refold-dev/refold/internal/verify"
)

// tamperer changes rows behind refold's back, as a superuser, and knows what verify must say about it.
type tamperer struct {
	t      *testing.T
	random *rand.Rand
	p      *plane.Plane
	pool   *pgxpool.Pool
	model  *model
}

// finding is a Difference in a form that can be compared.
type finding struct {
	Fault, Tenant, Table, Key, Column, Expected, Actual string
	Seq                                                 uint64
}

func TestTampering(t *testing.T) {
	p := open(t)
	random := seed(t)
	all := generators(t, p, random, 4)
	for _, g := range all {
		g.poison = 15
	}
	write(t, p, 120, all...)
	settle(t, p, 1)
	mustBeClean(t, verifyEdition(t, p, 1))
	pool, err := p.DB.OwnerOf(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	x := &tamperer{t: t, random: rand.New(rand.NewPCG(random, 99)), p: p, pool: pool, model: modelOf(all)}
	x.backup()
	count := 200
	if long() {
		count = 1000
	}
	ways := []func() []finding{x.insert, x.remove, x.change, x.change, x.change, x.change, x.moveKey, x.moveTenant, x.swapTenants, x.swapValues}
	for i := range count {
		want := ways[i%len(ways)]()
		found := findings(verifyEdition(t, p, 1))
		sortFindings(want)
		if diff := cmp.Diff(want, found); diff != "" {
			t.Fatalf("tampering %d was not named exactly (-want +got):\n%s", i, diff)
		}
		x.repair(len(want) > 0)
	}
	if r := verifyEdition(t, p, 1); !rowsAreClean(r) {
		t.Fatalf("after all tampering: %+v", r)
	}
	mustEqualModel(t, pool, modelOf(all))
	x.eachColumn()
	mend(t, p)
	x.checkpoint()
}

func findings(r *verify.Report) []finding {
	var out []finding
	for _, d := range r.Differences {
		var parts []string
		for _, k := range d.Key {
			parts = append(parts, k.Column+"="+k.Value)
		}
		f := finding{Fault: string(d.Fault), Tenant: d.Tenant, Table: d.Table, Key: strings.Join(parts, " ")}
		if len(d.Columns) == 0 {
			out = append(out, f)
		}
		for _, c := range d.Columns {
			f.Column, f.Expected, f.Actual, f.Seq = c.Column, show(c.Expected), show(c.Actual), c.Seq
			out = append(out, f)
		}
	}
	sortFindings(out)
	if r.Total != len(r.Differences) || (len(out) > 0) == rowsAreClean(r) {
		out = append(out, finding{Fault: fmt.Sprintf("%d differences, %d described, clean: %v", r.Total, len(r.Differences), r.Clean)})
	}
	return out
}

func sortFindings(f []finding) {
	slices.SortFunc(f, func(a, b finding) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
}

func (x *tamperer) exec(sql string, args ...any) {
	x.t.Helper()
	if _, err := x.pool.Exec(context.Background(), sql, args...); err != nil {
		x.t.Fatalf("%s: %v", sql, err)
	}
}

func (x *tamperer) backup() {
	x.exec("CREATE SCHEMA untouched")
	// Constraints over several columns would only get in the way of whoever tampers with one.
	x.exec("ALTER TABLE archive_policy DROP CONSTRAINT archive_policy_check, DROP CONSTRAINT archive_policy_criteria_check, DROP CONSTRAINT archive_policy_days_check")
	for name := range layouts {
		x.exec("CREATE TABLE untouched." + name + " AS TABLE " + name)
	}
}

func (x *tamperer) restore() {
	for name := range layouts {
		x.exec(fmt.Sprintf("WITH gone AS (DELETE FROM %[1]s) SELECT 1", name))
		x.exec(fmt.Sprintf("INSERT INTO %[1]s SELECT * FROM untouched.%[1]s", name))
	}
}

// repair refolds what the last verification has found, and wants the rows to be what they were.
func (x *tamperer) repair(something bool) {
	x.t.Helper()
	done := mustRepair(x.t, x.p, repairOf(1))
	if changed := rowsChanged(done.Tables); something != (changed > 0) {
		x.t.Fatalf("repair changed %d rows: %+v", changed, done)
	}
	for name := range layouts {
		var differ int
		sql := fmt.Sprintf(`SELECT count(*) FROM ((TABLE %[1]s EXCEPT ALL TABLE untouched.%[1]s) UNION ALL (TABLE untouched.%[1]s EXCEPT ALL TABLE %[1]s)) AS d`, name)
		if err := x.pool.QueryRow(context.Background(), sql).Scan(&differ); err != nil || differ > 0 {
			x.t.Fatalf("after the repair %d rows of table %s are not what they were: %v", differ, name, err)
		}
	}
	settle(x.t, x.p, 1) // the audit event
}

// pick takes a table that has rows, and one of them.
func (x *tamperer) pick() (string, layout, *modelRow) {
	for {
		name := slices.Sorted(maps.Keys(layouts))[x.random.IntN(len(layouts))]
		if keys := slices.Sorted(maps.Keys(x.model.rows[name])); len(keys) > 0 {
			return name, layouts[name], x.model.rows[name][keys[x.random.IntN(len(keys))]]
		}
	}
}

// where names one row.
func (l layout) where(values []*string) string {
	var parts []string
	for i := range l.keys {
		parts = append(parts, fmt.Sprintf("%s = %s", l.columns[i].name, literal(l.columns[i], values[i])))
	}
	return strings.Join(parts, " AND ")
}

func literal(c column, v *string) string {
	if v == nil {
		return "NULL"
	}
	typ := map[string]string{"effect": "text", "state": "text"}[c.typ]
	if typ == "" {
		typ = c.typ
	}
	quoted := "E'" + strings.ReplaceAll(strings.ReplaceAll(*v, `\`, `\\`), "'", `\'`) + "'"
	return quoted + "::" + typ
}

// other is a valid value of a column's type that is not v.
func (x *tamperer) other(c column, v *string) *string {
	n := fmt.Sprint(x.random.IntN(1_000_000) + 10_000_000)
	choose := func(values ...string) *string {
		for {
			if s := values[x.random.IntN(len(values))]; v == nil || s != *v {
				return &s
			}
		}
	}
	switch c.typ {
	case "uuid":
		s := uuid.New().String()
		return &s
	case "int8", "int4":
		return &n
	case "bool":
		return choose("true", "false")
	case "effect":
		return choose("allow", "deny")
	case "state":
		return choose("active", "paused", "archived", "deleted")
	case "jsonb":
		return choose(`{"tampered": `+n+`}`, `{"tampered": 1.0}`, `{"tampered": 1.00}`)
	case "timestamptz":
		return choose("2031-01-01T00:00:00.000001Z", "2031-01-01T00:00:00.000002Z")
	case "bytea":
		return choose(`\x00`, `\xff01`)
	default:
		return choose("tampered "+n, "")
	}
}

func (x *tamperer) row(fault, name string, values []*string) finding {
	l := layouts[name]
	var parts []string
	for i := 1; i < l.keys; i++ {
		parts = append(parts, l.columns[i].name+"="+*values[i])
	}
	return finding{Fault: fault, Tenant: *values[0], Table: name, Key: strings.Join(parts, " ")}
}

// set writes one column of a row.
func (x *tamperer) set(name string, values []*string, i int, to *string) {
	l := layouts[name]
	x.exec("UPDATE " + name + " SET " + l.columns[i].name + " = " + literal(l.columns[i], to) + " WHERE " + l.where(values))
}

func (x *tamperer) insert() []finding {
	name, l, row := x.pick()
	values := slices.Clone(row.values)
	last := l.keys - 1
	values[last] = x.other(l.columns[last], values[last])
	var list []string
	for i, c := range l.columns {
		list = append(list, literal(c, values[i]))
	}
	x.exec("INSERT INTO " + name + " VALUES (" + strings.Join(list, ", ") + ")")
	return []finding{x.row(string(rows.Extra), name, values)}
}

func (x *tamperer) remove() []finding {
	name, l, row := x.pick()
	x.exec("DELETE FROM " + name + " WHERE " + l.where(row.values))
	return []finding{x.row(string(rows.Missing), name, row.values)}
}

func (x *tamperer) change() []finding {
	name, l, row := x.pick()
	if l.keys == len(l.columns) {
		return x.remove()
	}
	return x.changeColumn(name, row, l.keys+x.random.IntN(len(l.columns)-l.keys))
}

func (x *tamperer) changeColumn(name string, row *modelRow, i int) []finding {
	c := layouts[name].columns[i]
	to := x.other(c, row.values[i])
	x.set(name, row.values, i, to)
	f := x.row(string(rows.Different), name, row.values)
	f.Column, f.Expected, f.Actual, f.Seq = c.name, show(row.values[i]), show(to), row.since[i]
	return []finding{f}
}

func (x *tamperer) moveKey() []finding {
	name, l, row := x.pick()
	i := 1 + x.random.IntN(l.keys-1)
	return x.moved(name, row, i, x.other(l.columns[i], row.values[i]))
}

func (x *tamperer) moveTenant() []finding {
	name, _, row := x.pick()
	to := "tenant-nobody-knows"
	if x.random.IntN(2) == 0 {
		to = "tenant-0"
		if *row.values[0] == to {
			to = "tenant-1"
		}
	}
	return x.moved(name, row, 0, &to)
}

func (x *tamperer) moved(name string, row *modelRow, i int, to *string) []finding {
	values := slices.Clone(row.values)
	values[i] = to
	x.set(name, row.values, i, to)
	return []finding{x.row(string(rows.Missing), name, row.values), x.row(string(rows.Extra), name, values)}
}

// pair takes two rows of different tenants of one table.
func (x *tamperer) pair() (string, *modelRow, *modelRow) {
	for {
		name, _, a := x.pick()
		keys := slices.Sorted(maps.Keys(x.model.rows[name]))
		b := x.model.rows[name][keys[x.random.IntN(len(keys))]]
		if *a.values[0] != *b.values[0] && layouts[name].keys < len(layouts[name].columns) {
			return name, a, b
		}
	}
}

func (x *tamperer) swapTenants() []finding {
	name, a, b := x.pair()
	return append(x.moved(name, a, 0, b.values[0]), x.moved(name, b, 0, a.values[0])...)
}

// swapValues exchanges one column of two rows of different tenants: sums over all rows would not notice.
func (x *tamperer) swapValues() []finding {
	for {
		name, a, b := x.pair()
		l := layouts[name]
		i := l.keys + x.random.IntN(len(l.columns)-l.keys)
		if same(a.values[i], b.values[i]) {
			continue
		}
		var out []finding
		for _, two := range [][2]*modelRow{{a, b}, {b, a}} {
			x.set(name, two[0].values, i, two[1].values[i])
			f := x.row(string(rows.Different), name, two[0].values)
			f.Column, f.Expected, f.Actual, f.Seq = l.columns[i].name, show(two[0].values[i]), show(two[1].values[i]), two[0].since[i]
			out = append(out, f)
		}
		return out
	}
}

// eachColumn changes every column of every table once.
func (x *tamperer) eachColumn() {
	for _, name := range slices.Sorted(maps.Keys(layouts)) {
		l := layouts[name]
		if len(x.model.rows[name]) == 0 {
			x.t.Fatalf("table %s has no rows to tamper with", name)
		}
		for i := range l.columns {
			row := x.model.rows[name][slices.Sorted(maps.Keys(x.model.rows[name]))[0]]
			var want []finding
			if i < l.keys {
				want = x.moved(name, row, i, x.other(l.columns[i], row.values[i]))
			} else {
				want = x.changeColumn(name, row, i)
			}
			sortFindings(want)
			if diff := cmp.Diff(want, findings(verifyEdition(x.t, x.p, 1))); diff != "" {
				x.t.Fatalf("column %s of table %s (-want +got):\n%s", l.columns[i].name, name, diff)
			}
			x.restore()
		}
	}
}

// checkpoint tampers with the checkpoint row: no verification may come out clean.
func (x *tamperer) checkpoint() {
	for _, set := range []string{
		"seq = seq - 1", "seq = seq + 1", "seq = seq + 1000000", "seq = 0",
		`event_digest = '\x00'`, "event_digest = sha256(event_digest)", "chain = sha256(chain)", "chain = ''", "journal_id = 'another'",
	} {
		x.exec("CREATE TABLE untouched.checkpoint AS TABLE control.checkpoint")
		x.exec("UPDATE control.checkpoint SET " + set)
		report, err := verify.Run(x.t.Context(), verifyConfig(x.p, 1))
		if err == nil && report.Clean {
			x.t.Errorf("checkpoint with %s was not found", set)
		}
		x.exec("DELETE FROM control.checkpoint")
		x.exec("INSERT INTO control.checkpoint SELECT * FROM untouched.checkpoint")
		x.exec("DROP TABLE untouched.checkpoint")
	}
	mustBeClean(x.t, verifyEdition(x.t, x.p, 1))
}

func verifyConfig(p *plane.Plane, number int64) verify.Config {
	return verify.Config{DB: p.DB, Shard: p.Journal.Shard(0), Edition: number, Schema: fold.Tables, Fold: fold.Apply, Shape: p.Shape, Signer: p.Reports.Signer}
}

// TestASecondRowOfAKeyIsExtra: a table that has lost its key can hold a row twice.
func TestASecondRowOfAKeyIsExtra(t *testing.T) {
	p := open(t)
	all := generators(t, p, seed(t), 1)
	write(t, p, 200, all...)
	settle(t, p, 1)
	x := &tamperer{t: t, random: rand.New(rand.NewPCG(1, 1)), p: p, model: modelOf(all)}
	var err error
	if x.pool, err = p.DB.OwnerOf(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"memory", "memory_category", "memory_status"} {
		row := x.model.rows[name][slices.Sorted(maps.Keys(x.model.rows[name]))[0]]
		x.exec("ALTER TABLE " + name + " DROP CONSTRAINT " + name + "_pkey")
		x.exec("INSERT INTO " + name + " SELECT * FROM " + name + " WHERE " + layouts[name].where(row.values))
		want := []finding{x.row(string(rows.Extra), name, row.values)}
		if diff := cmp.Diff(want, findings(verifyEdition(t, p, 1))); diff != "" {
			t.Errorf("table %s (-want +got):\n%s", name, diff)
		}
		if done := mustRepair(t, p, repairOf(1)); rowsChanged(done.Tables) != 1 || done.Tables[0].Deleted != 1 {
			t.Errorf("table %s: repaired %+v", name, done)
		}
		mend(t, p)
		mustBeClean(t, verifyEdition(t, p, 1))
	}
}
