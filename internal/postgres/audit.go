package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Severity says what a finding of an audit means.
type Severity string

// The severities, worst first.
const (
	// Unsafe: somebody can see or do what he must not, or something else than refold acts on the rows.
	Unsafe Severity = "unsafe"
	// Broken: something that refold needs is missing or different, so that statements fail or rows are not held to the rules.
	Broken Severity = "broken"
	// Minor: everything works, and not as well as it should.
	Minor Severity = "minor"
)

// Finding is one thing in the database that is not as refold makes it.
type Finding struct {
	Severity Severity `json:"severity"`
	Object   string   `json:"object"`
	Text     string   `json:"finding"`
	Expected string   `json:"expected,omitempty"` // empty where it should not be there
	Found    string   `json:"found,omitempty"`    // empty where it is missing
	// Fix are the statements that put it right, to be run by the owner. None: Advice says what to do.
	Fix    []string `json:"fix"`
	Advice string   `json:"advice,omitempty"`

	kind string // of the object that differs
	rank int    // when the fix comes, see Mend
}

func (f Finding) String() string { return f.Text }

// Audit is what an audit found.
type Audit struct {
	At       time.Time `json:"at"`
	Editions []int64   `json:"editions"` // that were compared
	// Clean: nothing at all was found, and everything was looked at. Safe: nothing but what is minor.
	Clean      bool      `json:"clean"`
	Safe       bool      `json:"safe"`
	Findings   []Finding `json:"findings"` // worst first
	NotChecked []string  `json:"not_checked"`
	Notes      []string  `json:"notes"`
	DurationMs int64     `json:"duration_ms"`
}

// Severe are the findings that are not minor.
func (a *Audit) Severe() []Finding {
	var out []Finding
	for _, f := range a.Findings {
		if f.Severity != Minor {
			out = append(out, f)
		}
	}
	return out
}

// Bounds on what an audit may make others wait for, and how long it may take.
const (
	auditLockTimeout = "2s"
	auditTimeout     = "60s"
)

// Audit compares the control tables and editions with freshly made ones, and holds roles, settings and whatever else of
// the database bears on them against what refold needs. It changes nothing and keeps nobody waiting. An error means that
// it could not be done.
func (d *DB) Audit(ctx context.Context, editions ...int64) (*Audit, error) {
	pool, err := d.Owner(ctx)
	if err != nil {
		return nil, err
	}
	begun := time.Now()
	a := &Audit{At: begun.UTC(), Editions: append([]int64{}, editions...), Findings: []Finding{}, NotChecked: []string{}, Notes: []string{}}
	tx, err := pool.Begin(ctx)
	if err == nil {
		err = d.audit(ctx, tx, a)
		err = cmp.Or(err, tx.Rollback(context.WithoutCancel(ctx)))
	}
	if err != nil {
		return nil, fmt.Errorf("audit of the database: %w", err)
	}
	order := []Severity{Unsafe, Broken, Minor}
	slices.SortFunc(a.Findings, func(x, y Finding) int {
		return cmp.Or(cmp.Compare(slices.Index(order, x.Severity), slices.Index(order, y.Severity)), cmp.Compare(x.Text, y.Text))
	})
	a.Findings = slices.CompactFunc(a.Findings, func(x, y Finding) bool { return x.Severity == y.Severity && x.Text == y.Text })
	a.Clean = len(a.Findings) == 0 && len(a.NotChecked) == 0
	a.Safe = len(a.Severe()) == 0 && len(a.NotChecked) == 0
	a.DurationMs = time.Since(begun).Milliseconds()
	return a, nil
}

func (d *DB) audit(ctx context.Context, tx pgx.Tx, a *Audit) error {
	for name, value := range map[string]string{"lock_timeout": auditLockTimeout, "statement_timeout": auditTimeout, "search_path": "pg_catalog"} {
		if _, err := tx.Exec(ctx, "SELECT set_config($1, $2, true)", name, value); err != nil {
			return err
		}
	}
	at, err := d.controlAt(ctx)
	if err != nil {
		return err
	}
	ours, err := ourVersions()
	if err != nil {
		return err
	}
	if len(at.applied) == 0 {
		return ErrNoControl
	}
	missing, err := missingRoles(ctx, tx)
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		a.Findings = append(a.Findings, missing...)
		a.NotChecked = append(a.NotChecked, "everything else: it rests on these roles")
		return nil
	}
	interference, err := a.database(ctx, tx)
	if err != nil {
		return err
	}
	made, err := d.freshObjects(ctx, tx, at, interference)
	if errors.Is(err, errInterference) {
		a.NotChecked = append(a.NotChecked, err.Error())
		return nil
	}
	if err != nil {
		return err
	}
	there, err := readObjects(ctx, tx, "control")
	if err != nil {
		return err
	}
	differences := compare("control", made.as(made.controlObjects, ""), there)
	if at.last() > ours[len(ours)-1] {
		differences = slices.DeleteFunc(differences, mayBeNewer)
		a.Notes = append(a.Notes, "a newer version of refold has migrated the control tables: what it added is not judged")
	}
	a.Findings = append(a.Findings, differences...)
	if made.edition == "" {
		a.Editions, a.NotChecked = []int64{}, append(a.NotChecked, "editions: the control tables are older than this version of refold, which migrates them when it starts")
	}
	for _, edition := range a.Editions {
		name := SchemaName(edition)
		for _, s := range []struct {
			name string
			want []object
		}{{name, made.editionObjects}, {viewsOf(name), made.viewObjects}} {
			there, err := readObjects(ctx, tx, s.name)
			if err != nil {
				return err
			}
			a.Findings = append(a.Findings, compare(s.name, made.as(s.want, name), there)...)
		}
	}
	return nil
}

// errInterference: schemas that are made to compare with would not be as refold makes them.
var errInterference = errors.New("the control tables and editions, because something acts on every schema that is made: put that right and audit again")

// freshObjects returns what to compare with. It is made once: neither the files nor the server change under a process.
// What interferes is undone before, in the transaction that is rolled back.
func (d *DB) freshObjects(ctx context.Context, tx pgx.Tx, at standing, interference []Finding) (*fresh, error) {
	key := fmt.Sprint(at.applied)
	d.freshMu.Lock()
	defer d.freshMu.Unlock()
	if d.fresh != nil && d.freshOf == key {
		return d.fresh, nil
	}
	err := pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error {
		for _, f := range interference {
			if f.Severity == Minor {
				continue // it does not yet
			}
			for _, statement := range f.Fix {
				if _, err := tx.Exec(ctx, statement); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if isCode(err, "42501") {
		return nil, fmt.Errorf("%w (%w)", errInterference, err)
	}
	if err != nil {
		return nil, err
	}
	made, err := makeFresh(ctx, tx, at)
	if err == nil {
		d.fresh, d.freshOf = made, key
	}
	return made, err
}

// ErrNoControl: the database has no control tables, or lost the list of their migrations. `refold serve` makes them in an
// empty one.
var ErrNoControl = errors.New("the database names no migration of control tables: it is empty, or control.goose_db_version was lost")

func ourVersions() ([]int64, error) {
	set, err := ourControl()
	if err != nil {
		return nil, err
	}
	return set.versions()
}

// mayBeNewer: what a newer binary's migrations add, and grant to roles of refold, this one cannot know. The protection of
// tenants' data is not for them to change, and neither is what this binary's own tables are.
func mayBeNewer(f Finding) bool {
	if strings.Contains(f.Text, " control.access") {
		return false
	}
	switch f.kind {
	case kindRight:
		return strings.HasPrefix(f.Object, "role refold_") && !strings.HasPrefix(f.Object, "role refold_sql ")
	case kindFunction:
		return f.Object != "function control.sql_tenant()"
	case kindRelation, kindColumn, "constraint", "index", "default", "identity", "option", "object":
		return f.Expected == ""
	}
	return false
}

// objectKey names an object within its schema.
type objectKey struct{ kind, of, name string }

type objectSet map[objectKey]object

func setOf(objects []object) objectSet {
	s := objectSet{}
	for _, o := range objects {
		s[objectKey{o.Kind, o.Of, o.Name}] = o
	}
	return s
}

func (s objectSet) has(kind, of, name string) bool {
	_, ok := s[objectKey{kind, of, name}]
	return ok
}

// compare returns how the objects of a schema differ from what they must be.
func compare(name string, want, there []object) []Finding {
	wanted, found := setOf(want), setOf(there)
	if len(found) == 0 {
		return []Finding{{Severity: Broken, Object: "schema " + name, Text: "schema " + name + " is missing", Expected: isThere, Fix: []string{}, Advice: rebuild(name)}}
	}
	var out []Finding
	for key, o := range wanted {
		is, ok := found[key]
		switch {
		case !comparable(o, wanted, found):
		case !ok:
			out = append(out, missing(name, o))
		case is.Def != o.Def:
			out = append(out, different(name, o, is))
		}
	}
	for key, o := range found {
		if _, ok := wanted[key]; !ok && comparable(o, wanted, found) {
			out = append(out, extra(o))
		}
	}
	return out
}

// comparable: of a relation or a column that is missing or not refold's, nothing more is said than who may do what with it.
func comparable(o object, wanted, found objectSet) bool {
	if o.Kind == kindRight && o.Note == noteOwner && !wanted.has(o.Kind, o.Of, o.Name) {
		return false // an owner may have more
	}
	if o.Of != "" && !(wanted.has(kindRelation, "", o.Of) && found.has(kindRelation, "", o.Of)) {
		return o.Kind == kindRight && found.has(kindRelation, "", o.Of)
	}
	switch o.Kind {
	case "not null", "default", "generation", "identity":
		return wanted.has(kindColumn, o.Of, o.Name) && found.has(kindColumn, o.Of, o.Name)
	}
	return true
}
