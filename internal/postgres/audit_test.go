package postgres_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/refold-dev/refold/internal/postgres"
)

// damage is something that somebody does to the database, and what an audit says of it.
type damage struct {
	do       string
	severity postgres.Severity
	says     string // text of a finding
	undo     string // where no statement of the audit puts it right
}

const (
	copies = "CREATE TABLE public.copies (content text)"
	copier = "CREATE FUNCTION public.copy() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$BEGIN INSERT INTO public.copies VALUES (NEW.content); RETURN NULL; END$$"
)

var damages = []damage{
	// What acts on rows, or copies them.
	{copies + ";" + copier + "; CREATE TRIGGER copy AFTER INSERT OR UPDATE ON edition_1.memory FOR EACH ROW EXECUTE FUNCTION public.copy()", postgres.Unsafe,
		"trigger copy of table edition_1.memory is not refold's: it runs public.copy(), which is SECURITY DEFINER", ""},
	{"CREATE TRIGGER quiet BEFORE UPDATE ON control.checkpoint FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()", postgres.Unsafe,
		"trigger quiet of table control.checkpoint is not refold's", ""},
	{"CREATE RULE copy AS ON INSERT TO edition_1.memory DO ALSO INSERT INTO public.copies VALUES (NEW.content)", postgres.Unsafe, "rule copy of table edition_1.memory is not refold's", ""},
	{"CREATE RULE none AS ON DELETE TO control.access DO INSTEAD NOTHING", postgres.Unsafe, "rule none of table control.access is not refold's", ""},
	{"CREATE FUNCTION public.watch() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN END$$; CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION public.watch()", postgres.Unsafe,
		"event trigger watch runs public.watch() on ddl_command_end", ""},
	{"CREATE EVENT TRIGGER sleeper ON sql_drop EXECUTE FUNCTION public.watch(); ALTER EVENT TRIGGER sleeper DISABLE", postgres.Minor, "event trigger sleeper runs public.watch() on sql_drop, once it is enabled", ""},
	{"CREATE PUBLICATION one FOR TABLE edition_1.memory", postgres.Unsafe, "publication one of table edition_1.memory sends its rows elsewhere", ""},
	{"CREATE PUBLICATION part FOR TABLES IN SCHEMA control", postgres.Unsafe, "publication part sends the rows of schema control elsewhere", ""},
	{"CREATE PUBLICATION everything FOR ALL TABLES", postgres.Unsafe, "publication everything sends the rows of all tables elsewhere", ""},
	{"CREATE MATERIALIZED VIEW public.shown AS SELECT content FROM edition_1.memory; GRANT SELECT ON public.shown TO PUBLIC", postgres.Unsafe,
		"materialized view public.shown stands outside of refold and depends on edition_1.memory", ""},
	{"CREATE VIEW public.keys AS SELECT id_key FROM control.tenant", postgres.Unsafe, "view public.keys stands outside of refold and depends on control.tenant", ""},
	{"CREATE FUNCTION public.contents() RETURNS SETOF text LANGUAGE sql BEGIN ATOMIC SELECT content FROM edition_1.memory; END", postgres.Unsafe,
		"function public.contents() stands outside of refold and depends on edition_1.memory", ""},
	{"CREATE FUNCTION public.secrets() RETURNS SETOF bytea LANGUAGE sql SECURITY DEFINER AS 'SELECT key FROM control.kept_key'", postgres.Unsafe,
		"function public.secrets() is SECURITY DEFINER, and its text names a schema of refold", ""},
	{"CREATE TABLE public.heir () INHERITS (edition_1.memory)", postgres.Unsafe, "child public.heir of table edition_1.memory is not refold's", ""},
	{"CREATE TABLE public.other (id bigint); ALTER TABLE public.other ADD FOREIGN KEY (id) REFERENCES control.edition (number)", postgres.Broken,
		"reference other_id_fkey of table public.other of table control.edition is not refold's", ""},

	// Keys, checks, indexes.
	{"ALTER TABLE edition_1.memory DROP CONSTRAINT memory_pkey", postgres.Broken, "constraint memory_pkey of table edition_1.memory is missing", ""},
	{"ALTER TABLE edition_1.memory DROP CONSTRAINT memory_state_check", postgres.Broken, "constraint memory_state_check of table edition_1.memory is missing", ""},
	{"ALTER TABLE edition_1.memory DROP CONSTRAINT memory_state_check; ALTER TABLE edition_1.memory ADD CONSTRAINT memory_state_check CHECK (true)", postgres.Broken,
		"constraint memory_state_check of table edition_1.memory is not as refold made it", ""},
	{"ALTER TABLE edition_1.app_access_rule DROP CONSTRAINT app_access_rule_effect_check; ALTER TABLE edition_1.app_access_rule ADD CONSTRAINT app_access_rule_effect_check CHECK (effect IN ('allow', 'deny')) NOT VALID",
		postgres.Broken, "constraint app_access_rule_effect_check of table edition_1.app_access_rule is not validated", ""},
	{"ALTER TABLE edition_1.memory ADD CONSTRAINT short CHECK (length(content) < 100)", postgres.Broken, "constraint short of table edition_1.memory is not refold's", ""},
	{"ALTER TABLE control.edition_shard DROP CONSTRAINT edition_shard_edition_fkey", postgres.Broken, "constraint edition_shard_edition_fkey of table control.edition_shard is missing", ""},
	{"ALTER TABLE control.edition_shard DROP CONSTRAINT edition_shard_edition_fkey; ALTER TABLE control.edition_shard ADD CONSTRAINT edition_shard_edition_fkey FOREIGN KEY (edition) REFERENCES control.edition (number) ON DELETE CASCADE",
		postgres.Broken, "constraint edition_shard_edition_fkey of table control.edition_shard is not as refold made it", ""},
	{"ALTER TABLE control.edition_shard DISABLE TRIGGER ALL", postgres.Broken, "is disabled", ""},
	{"DROP INDEX edition_1.memory_by_user", postgres.Minor, "index edition_1.memory_by_user is missing", ""},
	{"DROP INDEX control.access_by_age", postgres.Minor, "index control.access_by_age is missing", ""},
	{"DROP INDEX edition_1.memory_by_app; CREATE INDEX memory_by_app ON edition_1.memory (tenant_id)", postgres.Minor, "index edition_1.memory_by_app is not as refold made it", ""},
	{"CREATE INDEX mine ON edition_1.memory (tenant_id, updated_at)", postgres.Minor, "index edition_1.mine is not refold's", ""},
	{"CREATE UNIQUE INDEX oracle ON edition_1.category (id)", postgres.Unsafe, "index edition_1.oracle is not refold's", ""},
	{"CREATE INDEX runs ON edition_1.memory (lower(content))", postgres.Unsafe, "index edition_1.runs is not refold's", ""},
	{"UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'edition_1.memory_pkey'::regclass", postgres.Broken, "index of a key edition_1.memory_pkey of table edition_1.memory is not valid", ""},

	// Tables and columns.
	{"ALTER TABLE edition_1.memory SET UNLOGGED", postgres.Broken, "persistence of table edition_1.memory is unlogged, not logged", ""},
	{"ALTER TABLE control.report SET UNLOGGED", postgres.Broken, "persistence of table control.report is unlogged, not logged", ""},
	{"ALTER TABLE edition_1.memory ALTER COLUMN metadata SET DEFAULT '{}'", postgres.Broken, "default of column edition_1.memory.metadata is not refold's", ""},
	{"ALTER TABLE control.tenant ALTER COLUMN standing SET DEFAULT 'removed'", postgres.Broken, "default of column control.tenant.standing is 'removed'::text, not 'active'::text", ""},
	{"ALTER TABLE control.tenant ALTER COLUMN standing DROP DEFAULT", postgres.Broken, "default of column control.tenant.standing is missing", ""},
	{"ALTER TABLE edition_1.memory ALTER COLUMN content DROP NOT NULL", postgres.Broken, "not null of column edition_1.memory.content is may be null, not not null", ""},
	{"ALTER TABLE edition_1.memory ADD COLUMN extra text", postgres.Broken, "column edition_1.memory.extra is not refold's", "ALTER TABLE edition_1.memory DROP COLUMN extra"},
	{"ALTER TABLE edition_1.memory ADD COLUMN twice text GENERATED ALWAYS AS (content || content) STORED", postgres.Broken, "column edition_1.memory.twice is not refold's", "ALTER TABLE edition_1.memory DROP COLUMN twice"},
	{"DROP VIEW edition_1_sql.held_event; ALTER TABLE edition_1.held_event ALTER COLUMN version TYPE integer", postgres.Broken, "column edition_1.held_event.version is integer, not bigint", "ALTER TABLE edition_1.held_event ALTER COLUMN version TYPE bigint"},
	{`DROP VIEW edition_1_sql.held_event; ALTER TABLE edition_1.held_event ALTER COLUMN kind TYPE text COLLATE "C"`, postgres.Broken, "column edition_1.held_event.kind is text COLLATE \"C\", not text", "ALTER TABLE edition_1.held_event ALTER COLUMN kind TYPE text"},
	{"ALTER TABLE edition_1.memory_status RENAME COLUMN ordinal TO place", postgres.Broken, "column edition_1.memory_status.ordinal is missing", "ALTER TABLE edition_1.memory_status RENAME COLUMN place TO ordinal"},
	{"ALTER TABLE edition_1.config RENAME TO settings", postgres.Broken, "table edition_1.config is missing", "ALTER TABLE edition_1.settings RENAME TO config"},
	{"ALTER SCHEMA edition_1 RENAME TO hidden", postgres.Broken, "schema edition_1 is missing", "ALTER SCHEMA hidden RENAME TO edition_1"},
	{"ALTER TABLE control.flip ALTER COLUMN id DROP IDENTITY", postgres.Broken, "identity of column control.flip.id is missing", "ALTER TABLE control.flip ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY"},
	{"ALTER SEQUENCE control.flip_id_seq MAXVALUE 100 CYCLE", postgres.Broken, "sequence of table control.flip_id_seq is", ""},
	{"ALTER TABLE edition_1.memory SET (autovacuum_enabled = off)", postgres.Minor, "option autovacuum_enabled of table edition_1.memory is not refold's", ""},
	{"ALTER TABLE control.kept_digest RESET (fillfactor)", postgres.Minor, "option fillfactor of table control.kept_digest is missing", ""},
	{"ALTER TABLE edition_1.memory REPLICA IDENTITY NOTHING", postgres.Minor, "replica identity of table edition_1.memory is not as refold made it", ""},

	// What else stands in refold's schemas.
	{"CREATE TABLE edition_1.mine (id bigint)", postgres.Unsafe, "table edition_1.mine is not refold's", "DROP TABLE edition_1.mine"},
	{"CREATE TABLE control.mine (id bigint)", postgres.Unsafe, "table control.mine is not refold's", "DROP TABLE control.mine"},
	{"CREATE VIEW control.shown AS SELECT id_key FROM control.tenant", postgres.Unsafe, "view control.shown is not refold's", ""},
	{"CREATE FUNCTION edition_1.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'", postgres.Unsafe, "function edition_1.mine() is not refold's", ""},
	{"CREATE OR REPLACE FUNCTION control.likeness(query text, content text) RETURNS real LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS 'SELECT 1::real'", postgres.Unsafe,
		"function control.likeness(query text, content text) is not as refold made it", ""},
	{"ALTER FUNCTION control.sql_follow_live() SET search_path = public", postgres.Unsafe, "function control.sql_follow_live() is not as refold made it", ""},
	{"DROP FUNCTION edition_1.memory_matching", postgres.Broken, "is missing", ""},
	{"CREATE TYPE edition_1.mood AS ENUM ('good')", postgres.Unsafe, "type edition_1.mood is not refold's", ""},
	{"CREATE FUNCTION public.same(uuid, text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true'; CREATE OPERATOR edition_1.= (LEFTARG = uuid, RIGHTARG = text, FUNCTION = public.same)", postgres.Unsafe,
		"operator edition_1.=(pg_catalog.uuid,pg_catalog.text) is not refold's", ""},
	{"CREATE STATISTICS edition_1.seen ON tenant_id, state FROM edition_1.memory", postgres.Unsafe, "statistics object edition_1.seen is not refold's", ""},
	{"ALTER EXTENSION pg_trgm SET SCHEMA public", postgres.Broken, "extension pg_trgm is missing", ""},

	// Policies.
	{"ALTER POLICY reader ON edition_1.memory USING (true)", postgres.Unsafe, "policy reader of table edition_1.memory is not as refold made it", ""},
	{"DROP POLICY reader ON edition_1.memory", postgres.Unsafe, "policy reader of table edition_1.memory is missing", ""},
	{"CREATE POLICY wide ON edition_1.memory FOR SELECT TO refold_reader USING (true)", postgres.Unsafe, "policy wide of table edition_1.memory is not refold's", ""},
	{"CREATE POLICY narrow ON edition_1.memory AS RESTRICTIVE TO refold_projector USING (false)", postgres.Unsafe, "policy narrow of table edition_1.memory is not refold's", ""},
	{"DROP POLICY operator ON control.access", postgres.Unsafe, "policy operator of table control.access is missing", ""},
	{"ALTER TABLE edition_1.memory DISABLE ROW LEVEL SECURITY", postgres.Unsafe, "row level security of table edition_1.memory is off, not on", ""},
	{"ALTER TABLE control.access NO FORCE ROW LEVEL SECURITY", postgres.Unsafe, "forced row level security of table control.access is off, not on", ""},
	{"ALTER TABLE control.tenant ENABLE ROW LEVEL SECURITY", postgres.Unsafe, "row level security of table control.tenant is on, not off", ""},

	// What SQL readers see.
	{"CREATE OR REPLACE VIEW edition_1_sql.category AS SELECT * FROM edition_1.category", postgres.Unsafe, "view edition_1_sql.category is not as refold made it", ""},
	{"DROP VIEW edition_1_sql.category", postgres.Broken, "view edition_1_sql.category is missing", ""},
	{"DROP FUNCTION edition_1_sql.category() CASCADE", postgres.Broken, "function edition_1_sql.category() is missing", ""},
	{"ALTER FUNCTION edition_1_sql.memory() RESET client_min_messages", postgres.Unsafe, "function edition_1_sql.memory() is not as refold made it", ""},
	{"ALTER FUNCTION edition_1_sql.memory() ROWS 5", postgres.Unsafe, "function edition_1_sql.memory() is not as refold made it", ""},
	{"ALTER FUNCTION edition_1_sql.memory() SECURITY INVOKER", postgres.Unsafe, "function edition_1_sql.memory() is not as refold made it", ""},
	{"GRANT EXECUTE ON FUNCTION edition_1_sql.memory() TO PUBLIC", postgres.Unsafe, "every role may EXECUTE function edition_1_sql.memory", ""},
	{"GRANT SELECT ON edition_1_sql.memory TO refold_reader", postgres.Unsafe, "role refold_reader may SELECT edition_1_sql.memory", ""},
	{"GRANT USAGE ON SCHEMA edition_1 TO refold_sql", postgres.Unsafe, "role refold_sql may USAGE schema edition_1", ""},
	{"GRANT SELECT ON edition_1.memory TO refold_sql", postgres.Unsafe, "role refold_sql may SELECT edition_1.memory", ""},
	{"REVOKE SELECT ON edition_1_sql.memory FROM refold_sql", postgres.Broken, "role refold_sql may not SELECT edition_1_sql.memory", ""},
	{"REVOKE USAGE ON SCHEMA edition_1_sql FROM refold_sql", postgres.Broken, "role refold_sql may not USAGE schema edition_1_sql", ""},
	{"CREATE VIEW edition_1_sql.more AS SELECT * FROM edition_1.memory; GRANT SELECT ON edition_1_sql.more TO refold_sql", postgres.Unsafe, "view edition_1_sql.more is not refold's", ""},
	{"ALTER POLICY sql_reader ON edition_1.app TO PUBLIC", postgres.Unsafe, "policy sql_reader of table edition_1.app is not as refold made it", ""},

	// Rights that are missing.
	{"REVOKE SELECT ON edition_1.memory FROM refold_reader", postgres.Broken, "role refold_reader may not SELECT edition_1.memory", ""},
	{"REVOKE UPDATE ON edition_1.memory FROM refold_projector", postgres.Broken, "role refold_projector may not UPDATE edition_1.memory", ""},
	{"REVOKE USAGE ON SCHEMA edition_1 FROM refold_reader", postgres.Broken, "role refold_reader may not USAGE schema edition_1", ""},
	{"REVOKE USAGE ON SCHEMA control FROM refold_projector", postgres.Broken, "role refold_projector may not USAGE schema control", ""},
	{"REVOKE EXECUTE ON FUNCTION control.likeness(text, text) FROM refold_reader", postgres.Broken, "role refold_reader may not EXECUTE function control.likeness", ""},
	{"REVOKE EXECUTE ON FUNCTION edition_1.memory_readable(text, uuid, uuid) FROM PUBLIC", postgres.Broken, "every role may not EXECUTE function edition_1.memory_readable", ""},
	{"REVOKE SELECT (tenant_id) ON control.tenant FROM refold_verifier", postgres.Broken, "role refold_verifier may not SELECT column control.tenant.tenant_id", ""},
	{"REVOKE SELECT ON control.checkpoint FROM refold_reader", postgres.Broken, "role refold_reader may not SELECT control.checkpoint", ""},
	{"REVOKE DELETE ON edition_1.memory FROM owner", postgres.Broken, "the owner may not DELETE edition_1.memory", ""},
	{"REVOKE refold_reader FROM owner", postgres.Broken, "role owner may not become refold_reader", ""},

	// Settings, and what the next schema would come with.
	{"ALTER ROLE owner SET search_path = public", postgres.Minor, "role owner has search_path=public", ""},
	{"ALTER ROLE refold_reader SET search_path = public", postgres.Minor, "role refold_reader has search_path=public", ""},
	{"ALTER DATABASE owned SET search_path = public", postgres.Minor, "database owned has search_path=public", ""},
	{"ALTER DATABASE owned SET session_replication_role = replica", postgres.Unsafe, "database owned has session_replication_role=replica", ""},
	{"ALTER ROLE owner IN DATABASE owned SET row_security = off", postgres.Unsafe, "role owner has row_security=off", ""},
	{"GRANT CREATE ON SCHEMA public TO PUBLIC", postgres.Minor, "every role may CREATE schema public", ""},
	{"GRANT CREATE ON SCHEMA public TO refold_reader", postgres.Unsafe, "role refold_reader may CREATE schema public", ""},
	{"GRANT CREATE ON DATABASE owned TO refold_projector", postgres.Unsafe, "role refold_projector may CREATE schemas in database owned", ""},
	{"ALTER DEFAULT PRIVILEGES FOR ROLE owner GRANT SELECT ON TABLES TO PUBLIC", postgres.Unsafe, "default privileges of role owner give SELECT on new tables to PUBLIC", ""},
	{"ALTER DEFAULT PRIVILEGES FOR ROLE owner IN SCHEMA control GRANT SELECT ON TABLES TO refold_reader", postgres.Unsafe, "default privileges of role owner give SELECT on new tables to refold_reader", ""},
	{"ALTER DEFAULT PRIVILEGES FOR ROLE owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC", postgres.Broken, "default privileges of role owner take EXECUTE on new functions from PUBLIC", ""},
	{"SET ROLE refold_sql; SELECT lo_create(0); RESET ROLE", postgres.Minor, "role refold_sql has 1 large objects", ""},
}

// TestAuditFindsAndMends does one thing after another that refold does not do. Each is named, by the owner's login; the
// statements that come with it put it right, and nothing else is left.
func TestAuditFindsAndMends(t *testing.T) {
	d, super, _ := ownCluster(t)
	mustBeClean(t, d, "at first")
	for _, c := range damages {
		exec(t, super, c.do)
		a, err := d.Audit(t.Context(), 1, 2)
		if err != nil {
			t.Fatalf("after %s: %v", c.do, err)
		}
		i := slices.IndexFunc(a.Findings, func(f postgres.Finding) bool { return strings.Contains(f.Text, c.says) })
		if i < 0 {
			t.Errorf("after %s: got %q, want %q", c.do, a.Findings, c.says)
		} else if f := a.Findings[i]; f.Severity != c.severity || f.Object == "" || f.Expected+f.Found == "" || len(f.Fix) == 0 && f.Advice == "" {
			t.Errorf("after %s: got %+v, want severity %s", c.do, f, c.severity)
		}
		if a.Clean || a.Safe == (c.severity != postgres.Minor) {
			t.Errorf("after %s: clean %t, safe %t", c.do, a.Clean, a.Safe)
		}
		if c.undo != "" {
			exec(t, super, c.undo)
		}
		mended, err := d.Mend(t.Context(), a)
		must(t, err)
		if len(mended.Failed) > 0 && c.undo == "" { // what takes more than an owner
			a, err = d.Audit(t.Context(), 1, 2)
			must(t, err)
			mended, err = super.Mend(t.Context(), a)
			must(t, err)
		}
		if len(mended.Failed) > 0 && c.undo == "" {
			t.Errorf("after %s: refused: %+v", c.do, mended.Failed)
		}
		if !mustBeClean(t, d, "after "+c.do+" and its mending") {
			return
		}
	}
}

func mustBeClean(t testing.TB, d *postgres.DB, when string) bool {
	t.Helper()
	a, err := d.Audit(t.Context(), 1, 2)
	must(t, err)
	if !a.Clean || !a.Safe {
		t.Errorf("%s: %q, not checked %q", when, a.Findings, a.NotChecked)
	}
	return a.Clean
}

// TestAuditIsNotFooledByWhatActsOnNewSchemas: what interferes with every schema that is made would make the damage and what
// it is compared with equal, or have the audit propose to do more of it.
func TestAuditIsNotFooledByWhatActsOnNewSchemas(t *testing.T) {
	_, super, address := ownCluster(t)
	exec(t, super, "ALTER DEFAULT PRIVILEGES FOR ROLE owner GRANT SELECT ON TABLES TO PUBLIC; GRANT SELECT ON edition_1.memory TO PUBLIC")
	want := []string{"default privileges of role owner give SELECT on new tables to PUBLIC", "every role may SELECT edition_1.memory", "role refold_sql may read edition_1.memory"}
	if faults := audited(t, openURL(t, address), 1); !sameTexts(faults, want) {
		t.Errorf("got %q, want %q", faults, want)
	}
	exec(t, super, `CREATE FUNCTION public.open() RETURNS event_trigger LANGUAGE plpgsql AS $$ DECLARE made record; BEGIN
		FOR made IN SELECT * FROM pg_event_trigger_ddl_commands() WHERE object_type = 'table' AND command_tag = 'CREATE TABLE' LOOP
			EXECUTE 'CREATE TRIGGER quiet BEFORE UPDATE ON ' || made.object_identity || ' FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()';
		END LOOP; END $$;
		CREATE EVENT TRIGGER open ON ddl_command_end EXECUTE FUNCTION public.open()`)
	d := openURL(t, address)
	a, err := d.Audit(t.Context(), 1)
	must(t, err)
	if len(a.NotChecked) != 1 || !strings.Contains(a.NotChecked[0], "something acts on every schema that is made") || a.Safe || len(a.Severe()) != 3 {
		t.Errorf("the owner cannot undo an event trigger: %+v", a)
	}
	exec(t, super, "DROP EVENT TRIGGER open")
	a, err = d.Audit(t.Context(), 1)
	must(t, err)
	if _, err := d.Mend(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	mustBeClean(t, d, "in the end")
}
