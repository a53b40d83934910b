package schema_test

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/refold-dev/refold/schema"
)

// Control tables are altered under running processes, older ones among them. So a migration only adds, in a way that
// neither rewrites a table nor locks it for long. One that cannot be written so says that older binaries do not work
// beside it: it states its own number as the oldest, and everything is allowed.

// linter judges one file.
type linter struct {
	made        map[string]bool // tables made by this file: nobody uses them yet
	constraints map[string]bool // constraints added by this file
	touched     map[string]bool // live tables that are locked against others
	transaction bool
	before      string // the statement before
}

// lint returns what is wrong with a control migration.
func lint(name, body string) []error {
	version, err := schema.Version(name)
	if err != nil {
		return []error{err}
	}
	floor, err := schema.Floor(name, []byte(body))
	if err != nil {
		return []error{err}
	}
	var faults []error
	if !strings.Contains(body, "\n-- refold: works with binaries from ") && !strings.HasPrefix(body, "-- refold: works with binaries from ") {
		faults = append(faults, fmt.Errorf("say beside which binaries it works, in a line such as: -- refold: works with binaries from %05d", version))
	}
	if strings.Contains(body, "+goose Down") {
		faults = append(faults, errors.New("control tables are never migrated down: the older binary works beside them"))
	}
	statements, err := split(body)
	if err != nil {
		return append(faults, err)
	}
	if version == 1 || floor == version {
		return faults
	}
	l := &linter{made: map[string]bool{}, constraints: map[string]bool{}, touched: map[string]bool{}, transaction: !strings.Contains(body, "+goose NO TRANSACTION")}
	for _, s := range statements {
		if err := l.statement(s); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", s, err))
		}
		l.before = s.String()
	}
	if len(l.touched) > 1 {
		faults = append(faults, fmt.Errorf("it locks %d tables that are in use: take a file for each, or whoever waits for one waits for all", len(l.touched)))
	}
	return faults
}

// String is the statement with single blanks, and none around dots.
func (s statement) String() string {
	return strings.ReplaceAll(strings.Join(s, " "), " . ", ".")
}

const otherwise = "; or state this file's own number as the oldest binary"

var (
	createTable  = regexp.MustCompile(`^create table (if not exists )?(\S+) \(`)
	createIndex  = regexp.MustCompile(`^create (unique )?index (concurrently )?(if not exists )?(\S+) on (only )?(\S+) `)
	alterTable   = regexp.MustCompile(`^alter table (if exists )?(only )?(\S+) (.*)$`)
	dropIndex    = regexp.MustCompile(`^drop index concurrently if exists (\S+)$`)
	createPolicy = regexp.MustCompile(`^create policy \S+ on (\S+) `)
	insertValues = regexp.MustCompile(`^insert into (\S+) .*\bvalues \(`)
	change       = regexp.MustCompile(`^(update|delete from) (only )?(\S+)`)
	reference    = regexp.MustCompile(`\breferences (\S+)`)
	onlyAdds     = regexp.MustCompile(`^(comment on|grant|revoke|create (or replace )?function|create extension) `)
)

func (l *linter) statement(s statement) error {
	sql := s.String()
	if !l.transaction {
		return l.alone(sql)
	}
	switch {
	case onlyAdds.MatchString(sql):
		return nil
	case createTable.MatchString(sql):
		return l.create(sql)
	case createIndex.MatchString(sql):
		return l.index(sql)
	case alterTable.MatchString(sql):
		return l.alter(s, sql)
	case createPolicy.MatchString(sql):
		l.touch(createPolicy.FindStringSubmatch(sql)[1])
		return nil
	case insertValues.MatchString(sql):
		return nil
	case change.MatchString(sql):
		return l.change(sql)
	}
	for word, why := range map[string]string{
		"drop":     "older binaries still use it" + otherwise,
		"truncate": "older binaries still use the rows" + otherwise,
		"do":       "a DO block cannot be judged" + otherwise,
		"insert":   "INSERT ... SELECT is not bounded: fill in from the program, in parts" + otherwise,
		"alter":    "only ALTER TABLE is known here" + otherwise,
		"set":      "the settings of the session are not a file's business",
		"lock":     "a lock of its own is not bounded" + otherwise,
	} {
		if s[0] == word {
			return errors.New(why)
		}
	}
	return errors.New("it is not on the list of what only adds" + otherwise)
}

// alone judges a statement of a file without transaction. It may be interrupted in the middle and is repeated then.
func (l *linter) alone(sql string) error {
	if dropIndex.MatchString(sql) {
		return nil
	}
	index := createIndex.FindStringSubmatch(sql)
	if index == nil || index[2] == "" {
		return errors.New("a file without transaction has only DROP INDEX CONCURRENTLY IF EXISTS and CREATE INDEX CONCURRENTLY" + otherwise)
	}
	schemaName, _, _ := strings.Cut(index[6], ".")
	if l.before != "drop index concurrently if exists "+schemaName+"."+index[4] {
		return fmt.Errorf("a build that breaks off leaves an invalid index: DROP INDEX CONCURRENTLY IF EXISTS %s.%s goes before it", schemaName, index[4])
	}
	return nil
}

func (l *linter) touch(table string) {
	if !l.made[table] {
		l.touched[table] = true
	}
}

func (l *linter) create(sql string) error {
	table := createTable.FindStringSubmatch(sql)[2]
	if !strings.HasPrefix(table, "control.") {
		return errors.New("control tables are named with their schema")
	}
	l.made[table] = true
	for _, r := range reference.FindAllStringSubmatch(sql, -1) {
		l.touch(r[1])
	}
	return nil
}

func (l *linter) index(sql string) error {
	index := createIndex.FindStringSubmatch(sql)
	switch {
	case index[2] != "":
		return errors.New("CONCURRENTLY needs a file of its own, with -- +goose NO TRANSACTION")
	case !l.made[index[6]]:
		return errors.New("an index on a table in use keeps writers out: CREATE INDEX CONCURRENTLY in a file with -- +goose NO TRANSACTION")
	}
	return nil
}

func (l *linter) change(sql string) error {
	table := change.FindStringSubmatch(sql)[3]
	if !l.made[table] && !strings.Contains(sql, " limit ") {
		return errors.New("without a bound (a LIMIT) it holds the locks of all rows: fill in from the program, in parts" + otherwise)
	}
	return nil
}

func (l *linter) alter(s statement, sql string) error {
	found := alterTable.FindStringSubmatch(sql)
	if l.made[found[3]] {
		return nil
	}
	l.touch(found[3])
	for _, action := range actions(found[4]) {
		if err := l.action(action); err != nil {
			return err
		}
	}
	return nil
}

// actions takes the list of an ALTER TABLE apart at its outer commas.
func actions(list string) []string {
	var out []string
	depth, from := 0, 0
	for i, c := range list {
		switch c {
		case '(':
			depth++
		case ')':
			depth--
		case ',':
			if depth == 0 {
				out = append(out, strings.TrimSpace(list[from:i]))
				from = i + 1
			}
		}
	}
	return append(out, strings.TrimSpace(list[from:]))
}

var (
	addConstraint = regexp.MustCompile(`^add constraint (\S+) (.*)$`)
	addColumn     = regexp.MustCompile(`^add (?:column )?(?:if not exists )?(\S+) (.*)$`)
	validate      = regexp.MustCompile(`^validate constraint (\S+)$`)
	constant      = regexp.MustCompile(`^(?:- )?('x'|[0-9]+(?: \. [0-9]+|\.[0-9]+)?|true|false|null)(?: : : [a-z ]+(?: \[ \])?)?$`)
)

func (l *linter) action(action string) error {
	if c := addConstraint.FindStringSubmatch(action); c != nil {
		l.constraints[c[1]] = true
		return constraint(c[2])
	}
	if v := validate.FindStringSubmatch(action); v != nil {
		if l.constraints[v[1]] {
			return errors.New("VALIDATE CONSTRAINT in the file that adds it holds the lock over the scan: take a second file")
		}
		return nil
	}
	if c := addColumn.FindStringSubmatch(action); c != nil {
		return column(c[1], c[2])
	}
	for _, r := range []struct{ form, why string }{ // the first that fits
		{"drop not null", "older binaries do not expect NULL"},
		{"set not null", "it reads the whole table under a lock: ADD CONSTRAINT ... CHECK (x IS NOT NULL) NOT VALID, then VALIDATE in another file"},
		{" type ", "a change of type rewrites the table and breaks older binaries: add a column"},
		{"rename ", "older binaries use the old name: add a column"},
		{"drop ", "older binaries still use it"},
		{"row level security", "older binaries have no policy"},
	} {
		if strings.Contains(action, r.form) {
			return errors.New(r.why + otherwise)
		}
	}
	return errors.New("this form of ALTER TABLE is not on the list of what only adds" + otherwise)
}

// constraint judges one that is added to a table in use.
func constraint(definition string) error {
	switch {
	case strings.Contains(definition, "using index"), strings.HasSuffix(definition, " not valid"):
		return nil
	case strings.HasPrefix(definition, "unique"), strings.HasPrefix(definition, "primary key"):
		return errors.New("it builds an index under a lock: CREATE UNIQUE INDEX CONCURRENTLY first, then USING INDEX" + otherwise)
	}
	return errors.New("it reads the whole table under a lock: add it NOT VALID, and VALIDATE it in another file" + otherwise)
}

// column judges one that is added to a table in use: its definition comes after the name.
func column(name, definition string) error {
	if name == "constraint" || name == "check" || name == "unique" || name == "primary" || name == "foreign" || name == "exclude" {
		return errors.New("give the constraint a name" + otherwise)
	}
	words := " " + definition + " "
	for part, why := range map[string]string{
		" primary key ": "it builds an index under a lock",
		" unique ":      "it builds an index under a lock: CREATE UNIQUE INDEX CONCURRENTLY in another file",
		" references ":  "it locks both tables: ADD CONSTRAINT ... NOT VALID",
		" check ":       "it reads the whole table under a lock: ADD CONSTRAINT ... NOT VALID",
		" generated ":   "it rewrites the table",
	} {
		if strings.Contains(words, part) {
			return errors.New(why + otherwise)
		}
	}
	if strings.Contains(cmp.Or(strings.Fields(definition)...), "serial") {
		return errors.New("a serial rewrites the table" + otherwise)
	}
	notNull := strings.Contains(words, " not null ")
	_, value, found := strings.Cut(strings.ReplaceAll(words, " not null ", " "), " default ")
	if value = strings.TrimSpace(value); found && !constant.MatchString(value) {
		return errors.New("a default that is not a constant rewrites the table" + otherwise)
	}
	if notNull && (!found || strings.HasPrefix(value, "null")) {
		return errors.New("NOT NULL without a default: older binaries do not fill it in" + otherwise)
	}
	return nil
}

func TestControlMigrations(t *testing.T) {
	names, err := fs.Glob(schema.Control, "control/*.sql")
	if err != nil || len(names) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for i, name := range names {
		body, err := fs.ReadFile(schema.Control, name)
		if err != nil {
			t.Fatal(err)
		}
		for _, fault := range lint(name, string(body)) {
			t.Errorf("%s: %v", name, fault)
		}
		if version, err := schema.Version(name); err != nil || version != int64(i+1) {
			t.Errorf("%s is file %d: numbers leave no gap (%v)", name, i+1, err)
		}
	}
}

func TestLint(t *testing.T) {
	const floor = "-- refold: works with binaries from 00001\n"
	const own = "-- refold: works with binaries from 00007\n"
	const noTx = floor + "-- +goose NO TRANSACTION\n"
	for _, c := range []struct{ head, sql, fault string }{
		{floor, "CREATE TABLE control.a (id bigint PRIMARY KEY, b text NOT NULL UNIQUE);", ""},
		{floor, "CREATE TABLE control.a (id bigint REFERENCES control.b (id));", ""},
		{floor, "CREATE TABLE control.a (id bigint); CREATE INDEX i ON control.a (id); ALTER TABLE control.a ALTER COLUMN id SET NOT NULL;", ""},
		{floor, "CREATE TABLE control.a (id bigint); INSERT INTO control.a (id) VALUES (1); UPDATE control.a SET id = 2;", ""},
		{floor, "ALTER TABLE control.a ADD COLUMN b text;", ""},
		{floor, "ALTER TABLE control.a ADD b text, ADD COLUMN IF NOT EXISTS c numeric(10, 2);", ""},
		{floor, "ALTER TABLE control.a ADD COLUMN b text NOT NULL DEFAULT 'it''s; fine';", ""},
		{floor, "ALTER TABLE control.a ADD COLUMN b bigint DEFAULT -1 NOT NULL;", ""},
		{floor, "ALTER TABLE control.a ADD COLUMN b jsonb NOT NULL DEFAULT '{}'::jsonb;", ""},
		{floor, "ALTER TABLE control.a ADD COLUMN b text[] NOT NULL DEFAULT '{}'::text[];", ""},
		{floor, "ALTER TABLE control.a ADD COLUMN b boolean DEFAULT false;", ""},
		{floor, "ALTER TABLE control.a ADD CONSTRAINT c CHECK (id > 0) NOT VALID;", ""},
		{floor, "ALTER TABLE control.a ADD CONSTRAINT c FOREIGN KEY (id) REFERENCES control.b (id) NOT VALID;", ""},
		{floor, "ALTER TABLE control.a VALIDATE CONSTRAINT c;", ""},
		{floor, "ALTER TABLE control.a ADD CONSTRAINT c UNIQUE USING INDEX i;", ""},
		{floor, "ALTER TABLE control.a ADD CONSTRAINT c PRIMARY KEY USING INDEX i;", ""},
		{floor, "COMMENT ON TABLE control.a IS 'DROP TABLE control.a; DROP';", ""},
		{floor, "GRANT SELECT ON control.a TO r; REVOKE ALL ON control.a FROM PUBLIC;", ""},
		{floor, "CREATE OR REPLACE FUNCTION control.f() RETURNS int LANGUAGE plpgsql AS $b$ BEGIN DROP TABLE x; RETURN $$1$$; END $b$;", ""},
		{floor, "CREATE POLICY p ON control.a USING (true);", ""},
		{floor, "CREATE EXTENSION IF NOT EXISTS pg_trgm WITH SCHEMA control;", ""},
		{floor, "-- DROP TABLE control.a;\n/* DROP /* nested; */ TABLE control.b; */\nCOMMENT ON TABLE control.a IS E'it\\'s; \"';", ""},
		{floor, "UPDATE control.a SET b = 1 WHERE id IN (SELECT id FROM control.a WHERE b IS NULL LIMIT 100);", ""},
		{noTx, "DROP INDEX CONCURRENTLY IF EXISTS control.i; CREATE UNIQUE INDEX CONCURRENTLY i ON control.a (id);", ""},
		{own, "DROP TABLE control.a; ALTER TABLE control.b RENAME COLUMN a TO b; UPDATE control.c SET a = 1;", ""},

		{"", "COMMENT ON TABLE control.a IS 'x';", "say beside which binaries"},
		{floor + floor, "COMMENT ON TABLE control.a IS 'x';", "2 times"},
		{"-- refold: works with binaries from 00008\n", "COMMENT ON TABLE control.a IS 'x';", "want 00001 to 00007"},
		{floor, "COMMENT ON TABLE control.a IS 'x'; -- +goose Down\n", "never migrated down"},
		{floor, "CREATE TABLE a (id bigint);", "named with their schema"},
		{floor, "CREATE TABLE control.a AS SELECT 1;", "not on the list"},
		{floor, "DROP TABLE control.a;", "still use it"},
		{floor, "drop\n/* x */ function control.f();", "still use it"},
		{floor, "ALTER TABLE control.a DROP COLUMN b;", "still use it"},
		{floor, "ALTER TABLE control.a ADD COLUMN c text, DROP COLUMN b;", "still use it"},
		{floor, "ALTER TABLE control.a DROP CONSTRAINT c;", "still use it"},
		{floor, "ALTER TABLE control.a RENAME TO b;", "old name"},
		{floor, "ALTER TABLE control.a RENAME COLUMN b TO c;", "old name"},
		{floor, "ALTER TABLE control.a ALTER COLUMN b TYPE bigint;", "rewrites the table"},
		{floor, "ALTER TABLE control.a ALTER b SET DATA TYPE bigint;", "rewrites the table"},
		{floor, "ALTER TABLE control.a ALTER COLUMN b SET NOT NULL;", "under a lock"},
		{floor, "ALTER TABLE control.a ALTER COLUMN b DROP NOT NULL;", "do not expect NULL"},
		{floor, "ALTER TABLE control.a ALTER COLUMN b SET DEFAULT 1;", "not on the list"},
		{floor, "ALTER TABLE control.a ENABLE ROW LEVEL SECURITY;", "no policy"},
		{floor, "ALTER TABLE control.a SET SCHEMA public;", "not on the list"},
		{floor, "ALTER TABLE control.a ADD COLUMN b text NOT NULL;", "without a default"},
		{floor, "ALTER TABLE control.a ADD COLUMN b text DEFAULT NULL NOT NULL;", "without a default"},
		{floor, "ALTER TABLE control.a ADD COLUMN b timestamptz DEFAULT now();", "not a constant"},
		{floor, "ALTER TABLE control.a ADD COLUMN b timestamptz NOT NULL DEFAULT clock_timestamp();", "not a constant"},
		{floor, "ALTER TABLE control.a ADD COLUMN b uuid DEFAULT gen_random_uuid();", "not a constant"},
		{floor, "ALTER TABLE control.a ADD COLUMN b date DEFAULT CURRENT_DATE;", "not a constant"},
		{floor, "ALTER TABLE control.a ADD COLUMN b int DEFAULT 1 + random()::int;", "not a constant"},
		{floor, "ALTER TABLE control.a ADD COLUMN b bigserial;", "serial"},
		{floor, "ALTER TABLE control.a ADD COLUMN b bigint GENERATED ALWAYS AS IDENTITY;", "rewrites"},
		{floor, "ALTER TABLE control.a ADD COLUMN b bigint UNIQUE;", "index under a lock"},
		{floor, "ALTER TABLE control.a ADD COLUMN b bigint PRIMARY KEY;", "index under a lock"},
		{floor, "ALTER TABLE control.a ADD COLUMN b bigint REFERENCES control.b (id);", "locks both"},
		{floor, "ALTER TABLE control.a ADD COLUMN b bigint CHECK (b > 0);", "under a lock"},
		{floor, "ALTER TABLE control.a ADD CONSTRAINT c UNIQUE (b);", "USING INDEX"},
		{floor, "ALTER TABLE control.a ADD CONSTRAINT c PRIMARY KEY (b);", "USING INDEX"},
		{floor, "ALTER TABLE control.a ADD UNIQUE (b);", "a name"},
		{floor, "ALTER TABLE control.a ADD PRIMARY KEY (b);", "a name"},
		{floor, "ALTER TABLE control.a ADD CHECK (b > 0);", "a name"},
		{floor, "ALTER TABLE control.a ADD CONSTRAINT c CHECK (id > 0);", "NOT VALID"},
		{floor, "ALTER TABLE control.a ADD CONSTRAINT c FOREIGN KEY (id) REFERENCES control.b (id);", "NOT VALID"},
		{floor, "ALTER TABLE control.a ADD CONSTRAINT c CHECK (id > 0) NOT VALID; ALTER TABLE control.a VALIDATE CONSTRAINT c;", "second file"},
		{floor, "CREATE INDEX i ON control.a (id);", "keeps writers out"},
		{floor, "CREATE INDEX CONCURRENTLY i ON control.a (id);", "NO TRANSACTION"},
		{noTx, "CREATE INDEX CONCURRENTLY i ON control.a (id);", "invalid index"},
		{noTx, "CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON control.a (id);", "invalid index"},
		{noTx, "DROP INDEX CONCURRENTLY IF EXISTS control.j; CREATE INDEX CONCURRENTLY i ON control.a (id);", "invalid index"},
		{noTx, "ALTER TABLE control.a ADD COLUMN b text;", "without transaction"},
		{floor, "UPDATE control.a SET b = 1;", "without a bound"},
		{floor, "UPDATE control.a SET b = 1 WHERE c IS NULL;", "without a bound"},
		{floor, "DELETE FROM control.a;", "without a bound"},
		{floor, "WITH x AS (SELECT 1) DELETE FROM control.a;", "not on the list"},
		{floor, "INSERT INTO control.a (id) SELECT id FROM control.b;", "not bounded"},
		{floor, "TRUNCATE control.a;", "still use the rows"},
		{floor, "DO $$ BEGIN DROP TABLE control.a; END $$;", "cannot be judged"},
		{floor, "CREATE VIEW control.v AS SELECT 1;", "not on the list"},
		{floor, "CREATE TRIGGER t BEFORE INSERT ON control.a EXECUTE FUNCTION control.f();", "not on the list"},
		{floor, "ALTER TYPE control.t ADD VALUE 'x';", "only ALTER TABLE"},
		{floor, "ALTER FUNCTION control.f() OWNER TO x;", "only ALTER TABLE"},
		{floor, "SET lock_timeout = 0;", "settings of the session"},
		{floor, "LOCK TABLE control.a;", "not bounded"},
		{floor, "ALTER TABLE control.a ADD COLUMN b text; ALTER TABLE control.c ADD COLUMN b text;", "locks 2 tables"},
		{floor, "ALTER TABLE control.a ADD COLUMN b text; CREATE TABLE control.d (id bigint REFERENCES control.c (id));", "locks 2 tables"},
		{floor, "COMMENT ON TABLE control.a IS 'x'", "no semicolon"},
		{floor, "COMMENT ON TABLE control.a IS 'x;", "not closed"},
		{floor, "CREATE FUNCTION control.f() RETURNS int LANGUAGE sql AS $f$ SELECT 1; $g$;", "not closed"},
		{floor, "/* /* */ COMMENT ON TABLE control.a IS 'x';", "not closed"},
		{floor, "CREATE FUNCTION control.f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; END;", "quoted text"},
	} {
		faults := errors.Join(lint("control/00007_x.sql", c.head+"\n-- +goose Up\n"+c.sql+"\n")...)
		switch {
		case c.fault == "" && faults != nil:
			t.Errorf("%s\nis refused: %v", c.sql, faults)
		case c.fault != "" && (faults == nil || !strings.Contains(faults.Error(), c.fault)):
			t.Errorf("%s\ngot %v, want %q", c.sql, faults, c.fault)
		}
	}
}

func TestSplit(t *testing.T) {
	got, err := split("A 'b;c' \"D;e\" $x$;$y$;$x$ E'\\';' -- ;\n; $1 f/*;*/G;;")
	want := []statement{{"a", "'x'", `"D;e"`, "'x'", "'x'"}, {"$", "1", "f", "g"}}
	if err != nil || !slices.EqualFunc(got, want, slices.Equal[statement]) {
		t.Fatalf("got %q %v, want %q", got, err, want)
	}
}
