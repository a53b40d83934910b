package postgres

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/pressly/goose/v3/database"
	"github.com/refold-dev/refold/schema"
)

// fresh is the objects of a control schema and of an edition that were made a moment ago, in this database and by the
// files of this binary. The schemas have names that nobody else uses.
type fresh struct {
	control, edition string // names of the schemas; there is no edition where control is too old for one

	controlObjects, editionObjects, viewObjects []object
}

// makeFresh makes both schemas within a transaction, which the caller rolls back: nothing of them stays, nobody sees them,
// and no lock is taken on a relation that there is. Made on the server that is audited, they need no knowledge of its
// version. Of the control migrations those are made that are applied.
func makeFresh(ctx context.Context, tx pgx.Tx, at standing) (*fresh, error) {
	id := strings.ToLower(rand.Text())[:16]
	f := &fresh{control: "fresh_c_" + id}
	set, err := ourControl()
	if err != nil {
		return nil, err
	}
	ours, err := set.versions()
	if err != nil {
		return nil, err
	}
	var control []string
	for _, version := range ours {
		if slices.Contains(at.applied, version) {
			control = append(control, set.name(version))
		}
	}
	wanted := extensions(set.files, control)
	names, err := f.names(ctx, tx, wanted)
	if err != nil {
		return nil, err
	}
	projection, err := fs.Sub(schema.Projection, "projection")
	if err != nil {
		return nil, err
	}
	edition, err := fs.Glob(projection, "*.sql")
	if err != nil {
		return nil, err
	}
	if err := makeSchema(ctx, tx, f.control, "pg_catalog", set.files, control, names); err != nil {
		return nil, err
	}
	if f.controlObjects, err = readObjects(ctx, tx, f.control); err != nil {
		return nil, err
	}
	f.controlObjects = append(f.controlObjects, wanted...)
	if at.lacks(ours) {
		return f, nil
	}
	f.edition = "fresh_e_" + id
	if err := makeSchema(ctx, tx, f.edition, f.edition, projection, edition, names); err != nil {
		return nil, err
	}
	if f.editionObjects, err = readObjects(ctx, tx, f.edition); err == nil {
		f.viewObjects, err = readObjects(ctx, tx, viewsOf(f.edition))
	}
	return f, err
}

func makeSchema(ctx context.Context, tx pgx.Tx, name, searchPath string, files fs.FS, order []string, names renamer) error {
	if _, err := tx.Exec(ctx, "CREATE SCHEMA "+name); err != nil {
		return fmt.Errorf("make a schema to compare with: %w", err)
	}
	store, err := database.NewStore(database.DialectPostgres, name+".goose_db_version")
	if err != nil {
		return err
	}
	if err := store.CreateVersionTable(ctx, executor{tx: tx}); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "SET LOCAL search_path = "+searchPath); err != nil {
		return err
	}
	for _, file := range order {
		body, err := fs.ReadFile(files, file)
		if err != nil {
			return err
		}
		// Annotations of goose are comments, and no file of ours has a Down: the text is what there is to be done.
		if _, err := tx.Conn().PgConn().Exec(ctx, names.rename(string(body))).ReadAll(); err != nil {
			return fmt.Errorf("make a schema to compare with: %s: %w", file, err)
		}
	}
	_, err = tx.Exec(ctx, "SET LOCAL search_path = pg_catalog")
	return err
}

// renamer puts another schema in the place of control in the text of a migration.
type renamer struct {
	control string
	// brought says where the functions of extensions are, which are nowhere else.
	brought map[string]string
}

var (
	controlName  = regexp.MustCompile(`\bcontrol\b(?:\.(\w+))?`)
	concurrently = regexp.MustCompile(`(?i)\bCONCURRENTLY\b`)
)

func (r renamer) rename(body string) string {
	if strings.Contains(body, "+goose NO TRANSACTION") {
		body = concurrently.ReplaceAllString(body, "") // nobody else sees these tables
	}
	return controlName.ReplaceAllStringFunc(body, func(found string) string {
		_, member, dotted := strings.Cut(found, ".")
		switch at := r.brought[member]; {
		case !dotted:
			return r.control
		case at != "":
			return at + "." + member
		}
		return r.control + "." + member
	})
}

func (f *fresh) names(ctx context.Context, tx pgx.Tx, extensions []object) (renamer, error) {
	r := renamer{control: f.control, brought: map[string]string{}}
	var of []string
	for _, e := range extensions {
		of = append(of, e.Name)
	}
	rows, err := tx.Query(ctx, `
		SELECT p.proname::text, quote_ident(n.nspname) FROM pg_extension e JOIN pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
		JOIN pg_proc p ON p.oid = d.objid JOIN pg_namespace n ON n.oid = p.pronamespace
		WHERE d.classid = 'pg_proc'::regclass AND d.deptype = 'e' AND e.extname = ANY ($1)`, of)
	if err != nil {
		return r, err
	}
	var name, at string
	_, err = pgx.ForEachRow(rows, []any{&name, &at}, func() error {
		r.brought[name] = at
		return nil
	})
	return r, err
}

var createExtension = regexp.MustCompile(`(?im)^CREATE EXTENSION IF NOT EXISTS (\w+) WITH SCHEMA control;`)

// extensions are those that migrations put into the control schema. A database has each only once, so that no second
// schema can show them.
func extensions(files fs.FS, order []string) (out []object) {
	for _, file := range order {
		body, err := fs.ReadFile(files, file)
		if err != nil {
			continue // it was read a moment ago
		}
		for _, found := range createExtension.FindAllStringSubmatch(string(body), -1) {
			out = append(out, object{Kind: "extension", Name: found[1], Make: []string{
				"CREATE EXTENSION IF NOT EXISTS " + found[1] + " WITH SCHEMA control", "ALTER EXTENSION " + found[1] + " SET SCHEMA control",
			}})
		}
	}
	return out
}

// as returns objects with another name for their schemas.
func (f *fresh) as(objects []object, edition string) []object {
	names := strings.NewReplacer(f.control, "control", cmp.Or(f.edition, f.control), edition)
	out := make([]object, len(objects))
	for i, o := range objects {
		o.Of, o.Name, o.Def, o.Drop, o.Note = names.Replace(o.Of), names.Replace(o.Name), names.Replace(o.Def), names.Replace(o.Drop), names.Replace(o.Note)
		o.Make = slices.Clone(o.Make)
		for j := range o.Make {
			o.Make[j] = names.Replace(o.Make[j])
		}
		out[i] = o
	}
	return out
}

// executor lets goose make its table within a transaction of pgx. It does nothing else there.
type executor struct {
	database.DBTxConn
	tx pgx.Tx
}

func (e executor) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	tag, err := e.tx.Exec(ctx, query, args...)
	return driver.RowsAffected(tag.RowsAffected()), err
}
