package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// object is a thing that the catalogue knows of a schema, or one property of it. Two schemas are equal when they have
// the same objects, names of the schemas aside.
type object struct {
	Kind string   // see catalogueSQL
	Of   string   // the relation that it belongs to, with its schema; empty for none
	Name string   // unique within kind and relation
	Def  string   // everything that is compared
	Make []string // statements that make it, or set the property to this value; none: nothing but a rebuild does
	Drop string   // statement that removes it without touching rows; empty: there is none
	Note string   // more about it, for whoever reads a finding
}

// The kinds of objects that the comparison treats apart.
const (
	kindRelation = "relation"
	kindColumn   = "column"
	kindFunction = "function"
	kindRight    = "right"

	noteOwner = "owner" // of a right that the owner has
)

// readObjects lists everything in a schema, save what belongs to an extension. The session must have pg_catalog alone as
// its search_path, so that every name comes with its schema.
func readObjects(ctx context.Context, tx pgx.Tx, name string) ([]object, error) {
	batch := &pgx.Batch{}
	var all []object
	for _, sql := range catalogueSQL {
		batch.Queue(inSchema+sql, name).Query(func(rows pgx.Rows) error {
			found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[object])
			all = append(all, found...)
			return err
		})
	}
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return nil, fmt.Errorf("read the catalogue of schema %s: %w", name, err)
	}
	return all, nil
}

// inSchema comes before each of catalogueSQL.
const inSchema = `
WITH ns AS (SELECT oid, nspname, nspowner, nspacl FROM pg_namespace WHERE nspname = $1),
brought (class, id) AS (SELECT classid, objid FROM pg_depend WHERE deptype = 'e'),
rel AS (
	SELECT c.*, format('%I.%I', ns.nspname, c.relname) AS name FROM pg_class c JOIN ns ON ns.oid = c.relnamespace
	WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND NOT EXISTS (SELECT FROM brought b WHERE b.class = 'pg_class'::regclass AND b.id = c.oid)
),
proc AS (
	SELECT p.*, format('%I.%I(%s)', ns.nspname, p.proname, pg_get_function_identity_arguments(p.oid)) AS name FROM pg_proc p JOIN ns ON ns.oid = p.pronamespace
	WHERE NOT EXISTS (SELECT FROM brought b WHERE b.class = 'pg_proc'::regclass AND b.id = p.oid)
)
`

// catalogueSQL are the queries of readObjects, each with the columns of an object.
var catalogueSQL = []string{
	// Rows are never removed by a statement of ours: a table more is for a human to look at.
	`SELECT 'relation', '', name, CASE relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'partitioned table' WHEN 'f' THEN 'foreign table' WHEN 'S' THEN 'sequence'
		WHEN 'v' THEN 'view: ' || pg_get_viewdef(oid) ELSE 'materialized view: ' || pg_get_viewdef(oid) END,
	CASE relkind WHEN 'v' THEN ARRAY['CREATE OR REPLACE VIEW ' || name || ' AS ' || pg_get_viewdef(oid)] || ARRAY(
		SELECT format('GRANT %s ON %s TO %s', a.privilege_type, name, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END)
		FROM aclexplode(relacl) a WHERE a.grantee <> relowner) ELSE '{}'::text[] END, CASE relkind WHEN 'v' THEN 'DROP VIEW ' || name WHEN 'm' THEN 'DROP MATERIALIZED VIEW ' || name WHEN 'f' THEN 'DROP FOREIGN TABLE ' || name ELSE '' END, ''
	FROM rel`,

	`SELECT 'persistence', name, '', CASE relpersistence WHEN 'p' THEN 'logged' WHEN 'u' THEN 'unlogged' ELSE 'temporary' END,
		ARRAY[format('ALTER TABLE %s SET %s', name, CASE relpersistence WHEN 'u' THEN 'UNLOGGED' ELSE 'LOGGED' END)], '', ''
	FROM rel WHERE relkind IN ('r', 'p')
	UNION ALL
	SELECT 'row level security', name, '', CASE WHEN relrowsecurity THEN 'on' ELSE 'off' END,
		ARRAY[format('ALTER TABLE %s %s ROW LEVEL SECURITY', name, CASE WHEN relrowsecurity THEN 'ENABLE' ELSE 'DISABLE' END)], '', ''
	FROM rel WHERE relkind IN ('r', 'p')
	UNION ALL
	SELECT 'forced row level security', name, '', CASE WHEN relforcerowsecurity THEN 'on' ELSE 'off' END,
		ARRAY[format('ALTER TABLE %s %s ROW LEVEL SECURITY', name, CASE WHEN relforcerowsecurity THEN 'FORCE' ELSE 'NO FORCE' END)], '', ''
	FROM rel WHERE relkind IN ('r', 'p')
	UNION ALL
	SELECT 'replica identity', name, '', CASE relreplident WHEN 'd' THEN 'default' WHEN 'f' THEN 'full' WHEN 'i' THEN 'an index' ELSE 'nothing' END,
		CASE relreplident WHEN 'i' THEN '{}' ELSE ARRAY[format('ALTER TABLE %s REPLICA IDENTITY %s', name, CASE relreplident WHEN 'd' THEN 'DEFAULT' WHEN 'f' THEN 'FULL' ELSE 'NOTHING' END)] END, '', ''
	FROM rel WHERE relkind IN ('r', 'p')
	UNION ALL
	SELECT 'option', name, o.option_name, o.option_value, ARRAY[format('ALTER TABLE %s SET (%s = %L)', name, o.option_name, o.option_value)],
		format('ALTER TABLE %s RESET (%s)', name, o.option_name), CASE WHEN relkind = 'v' THEN 'view' ELSE '' END
	FROM rel, pg_options_to_table(reloptions) o
	UNION ALL
	SELECT 'parent', rel.name, i.inhparent::regclass::text, '', '{}', format('ALTER TABLE %s NO INHERIT %s', rel.name, i.inhparent::regclass), ''
	FROM rel JOIN pg_inherits i ON i.inhrelid = rel.oid
	UNION ALL
	SELECT 'child', rel.name, i.inhrelid::regclass::text, '', '{}', format('ALTER TABLE %s NO INHERIT %s', i.inhrelid::regclass, rel.name), ''
	FROM rel JOIN pg_inherits i ON i.inhparent = rel.oid`,

	`, col AS (SELECT rel.name AS rel, a.*, format('ALTER TABLE %s ALTER COLUMN %I ', rel.name, a.attname) AS alter FROM rel JOIN pg_attribute a ON a.attrelid = rel.oid
		WHERE rel.relkind IN ('r', 'p', 'f') AND a.attnum > 0 AND NOT a.attisdropped)
	SELECT 'column', rel, attname::text, format_type(atttypid, atttypmod)
		|| CASE WHEN attcollation <> (SELECT t.typcollation FROM pg_type t WHERE t.oid = atttypid) THEN ' COLLATE ' || attcollation::regcollation ELSE '' END, '{}'::text[], '', ''
	FROM col
	UNION ALL
	SELECT 'not null', rel, attname::text, CASE WHEN attnotnull THEN 'not null' ELSE 'may be null' END,
		ARRAY[alter || CASE WHEN attnotnull THEN 'SET' ELSE 'DROP' END || ' NOT NULL'], '', '' FROM col
	UNION ALL
	SELECT 'default', rel, attname::text, pg_get_expr(d.adbin, d.adrelid), ARRAY[alter || 'SET DEFAULT ' || pg_get_expr(d.adbin, d.adrelid)], alter || 'DROP DEFAULT', ''
	FROM col JOIN pg_attrdef d ON d.adrelid = attrelid AND d.adnum = attnum WHERE attgenerated = ''
	UNION ALL
	SELECT 'generation', rel, attname::text, pg_get_expr(d.adbin, d.adrelid), '{}', alter || 'DROP EXPRESSION', ''
	FROM col JOIN pg_attrdef d ON d.adrelid = attrelid AND d.adnum = attnum WHERE attgenerated <> ''
	UNION ALL
	SELECT 'identity', rel, attname::text, CASE attidentity WHEN 'a' THEN 'always' ELSE 'by default' END, '{}', alter || 'DROP IDENTITY', '' FROM col WHERE attidentity <> ''`,

	// Since PostgreSQL 18 NOT NULL is a constraint; those that hold are seen above.
	`SELECT 'constraint', rel.name, c.conname::text, pg_get_constraintdef(c.oid), ARRAY[format('ALTER TABLE %s ADD CONSTRAINT %I %s', rel.name, c.conname, pg_get_constraintdef(c.oid))],
		format('ALTER TABLE %s DROP CONSTRAINT %I', rel.name, c.conname), CASE c.contype WHEN 'f' THEN 'foreign key' WHEN 'c' THEN 'check' ELSE 'key' END
	FROM rel JOIN pg_constraint c ON c.conrelid = rel.oid WHERE c.contype <> 't' AND (c.contype <> 'n' OR NOT c.convalidated)
	UNION ALL
	SELECT 'reference', rel.name, format('%I of table %s', c.conname, c.conrelid::regclass), pg_get_constraintdef(c.oid), '{}',
		format('ALTER TABLE %s DROP CONSTRAINT %I', c.conrelid::regclass, c.conname), ''
	FROM rel JOIN pg_constraint c ON c.confrelid = rel.oid JOIN pg_class o ON o.oid = c.conrelid WHERE o.relnamespace <> rel.relnamespace`,

	// What backs a constraint is seen there, unless it is not valid.
	`SELECT CASE WHEN backs THEN 'index of a key' ELSE 'index' END, rel, name, def || CASE WHEN valid THEN '' ELSE ' INVALID' END, CASE WHEN backs THEN '{}' ELSE ARRAY[def] END,
		CASE WHEN backs THEN 'REINDEX INDEX ' || name ELSE 'DROP INDEX ' || name END, uses
	FROM (
		SELECT rel.name AS rel, format('%I.%I', ns.nspname, i.relname) AS name, pg_get_indexdef(i.oid) AS def, x.indisvalid AND x.indisready AND x.indislive AS valid,
			EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.oid AND c.contype IN ('p', 'u', 'x')) AS backs,
			CASE WHEN x.indisunique THEN 'unique' WHEN x.indexprs IS NOT NULL OR x.indpred IS NOT NULL THEN 'expression' ELSE '' END AS uses
		FROM ns, rel JOIN pg_index x ON x.indrelid = rel.oid JOIN pg_class i ON i.oid = x.indexrelid
	) all_of_them WHERE NOT (backs AND valid)`,

	`, policy AS (
		SELECT rel.name AS rel, p.polname, format('AS %s FOR %s TO %s%s%s', CASE WHEN p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
			CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
			(SELECT string_agg(CASE r WHEN 0 THEN 'PUBLIC' WHEN rel.relowner THEN 'CURRENT_USER' ELSE quote_ident(pg_get_userbyid(r)) END, ', ' ORDER BY pg_get_userbyid(r)) FROM unnest(p.polroles) r),
			' USING (' || pg_get_expr(p.polqual, p.polrelid) || ')', ' WITH CHECK (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')') AS def
		FROM rel JOIN pg_policy p ON p.polrelid = rel.oid)
	SELECT 'policy', rel, polname::text, def, ARRAY[format('CREATE POLICY %I ON %s %s', polname, rel, def)], format('DROP POLICY %I ON %s', polname, rel), '' FROM policy`,

	// Triggers of constraints have numbers for names: they are equal unless somebody switched one off.
	`SELECT 'trigger', rel.name, t.tgname::text, pg_get_triggerdef(t.oid) || CASE t.tgenabled WHEN 'O' THEN '' WHEN 'D' THEN ', disabled' WHEN 'R' THEN ', on replicas' ELSE ', always' END,
		ARRAY[pg_get_triggerdef(t.oid)], format('DROP TRIGGER %I ON %s', t.tgname, rel.name),
		t.tgfoid::regprocedure || CASE WHEN p.prosecdef THEN ', which is SECURITY DEFINER' ELSE '' END
	FROM rel JOIN pg_trigger t ON t.tgrelid = rel.oid JOIN pg_proc p ON p.oid = t.tgfoid WHERE NOT t.tgisinternal
	UNION ALL
	SELECT 'trigger of a constraint', rel.name, t.tgname::text, CASE t.tgenabled WHEN 'D' THEN 'disabled' WHEN 'R' THEN 'on replicas' ELSE 'always' END, '{}',
		format('ALTER TABLE %s ENABLE TRIGGER %I', rel.name, t.tgname), ''
	FROM rel JOIN pg_trigger t ON t.tgrelid = rel.oid WHERE t.tgisinternal AND t.tgenabled <> 'O'
	UNION ALL
	SELECT 'rule', rel.name, r.rulename::text, pg_get_ruledef(r.oid) || CASE r.ev_enabled WHEN 'O' THEN '' WHEN 'D' THEN ' disabled' ELSE ' ' || r.ev_enabled::text END,
		ARRAY[pg_get_ruledef(r.oid)], format('DROP RULE %I ON %s', r.rulename, rel.name), ''
	FROM rel JOIN pg_rewrite r ON r.ev_class = rel.oid WHERE NOT (rel.relkind IN ('v', 'm') AND r.rulename = '_RETURN')`,

	`SELECT 'function', '', name, def, CASE WHEN prokind = 'a' THEN '{}' ELSE ARRAY[def] || CASE WHEN everybody THEN '{}' ELSE ARRAY[format('REVOKE ALL ON ROUTINE %s FROM PUBLIC', name)] END END,
		'DROP ROUTINE ' || name, CASE WHEN prosecdef THEN 'SECURITY DEFINER' ELSE '' END
	FROM (
		SELECT name, prokind, prosecdef, CASE prokind WHEN 'a' THEN 'aggregate' ELSE pg_get_functiondef(oid) END AS def,
			EXISTS (SELECT FROM aclexplode(coalesce(proacl, acldefault('f', proowner))) a WHERE a.grantee = 0) AS everybody
		FROM proc
	) all_of_them`,

	`, counter AS (SELECT rel.name, format('AS %s INCREMENT BY %s MINVALUE %s MAXVALUE %s START WITH %s %s', format_type(s.seqtypid, NULL), s.seqincrement, s.seqmin, s.seqmax, s.seqstart,
		CASE WHEN s.seqcycle THEN 'CYCLE' ELSE 'NO CYCLE' END) AS def FROM rel JOIN pg_sequence s ON s.seqrelid = rel.oid)
	SELECT 'sequence', name, '', def, ARRAY[format('ALTER SEQUENCE %s %s', name, def)], '', '' FROM counter`,

	// Whatever else can stand in a schema: types, operators, collations, statistics, and what is not thought of here.
	`SELECT 'object', '', i.type || ' ' || i.identity, '', '{}'::text[],
		format('DROP %s %s', CASE i.type WHEN 'statistics object' THEN 'STATISTICS' ELSE upper(i.type) END, i.identity), ''
	FROM ns JOIN pg_depend d ON d.refclassid = 'pg_namespace'::regclass AND d.refobjid = ns.oid CROSS JOIN pg_identify_object(d.classid, d.objid, d.objsubid) i
	WHERE d.deptype = 'n' AND d.classid NOT IN ('pg_class'::regclass, 'pg_proc'::regclass, 'pg_extension'::regclass, 'pg_publication_namespace'::regclass)
	  AND NOT EXISTS (SELECT FROM brought b WHERE b.class = d.classid AND b.id = d.objid)
	UNION ALL
	SELECT 'extension', '', e.extname::text, '', ARRAY[format('CREATE EXTENSION %I WITH SCHEMA %I', e.extname, ns.nspname)], '', '' FROM ns JOIN pg_extension e ON e.extnamespace = ns.oid`,

	// Owners may be the login and whoever has more: the owner of the database, superusers, and roles that the login is a
	// member of.
	`, thing (kind, name, alter, owner) AS (
		SELECT 'schema ', quote_ident(nspname), 'SCHEMA', nspowner FROM ns
		UNION ALL
		SELECT '', name, CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'f' THEN 'FOREIGN TABLE' WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, relowner FROM rel
		UNION ALL
		SELECT 'function ', name, 'ROUTINE', proowner FROM proc)
	SELECT 'owner', '', 'role ' || r.rolname || ' owns ' || t.kind || t.name, '', '{}'::text[], format('ALTER %s %s OWNER TO %I', t.alter, t.name, current_user), ''
	FROM thing t JOIN pg_roles r ON r.oid = t.owner
	WHERE r.rolname IN ('refold_operator', 'refold_projector', 'refold_reader', 'refold_verifier', 'refold_sql')
	   OR NOT r.rolsuper AND r.rolname <> current_user AND r.oid <> (SELECT b.datdba FROM pg_database b WHERE b.datname = current_database())
	  AND NOT (pg_has_role(r.oid, 'MEMBER') AND NOT (SELECT u.rolsuper FROM pg_roles u WHERE u.rolname = current_user))`,

	`, thing (kind, name, called, of, syntax, owner, acl) AS (
		SELECT 'schema ', quote_ident(nspname), nspname::text, '', 'SCHEMA ', nspowner, coalesce(nspacl, acldefault('n', nspowner)) FROM ns
		UNION ALL
		SELECT '', name, name, name, CASE relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END, relowner, coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner)) FROM rel
		UNION ALL
		SELECT 'column ', format('%s.%I', rel.name, a.attname), format('%s.%I', rel.name, a.attname), rel.name, format(' (%I) ON TABLE ', a.attname), relowner, a.attacl
		FROM rel JOIN pg_attribute a ON a.attrelid = rel.oid WHERE a.attacl IS NOT NULL AND NOT a.attisdropped
		UNION ALL
		SELECT 'function ', name, format('%I.%I', ns.nspname, proname), '', 'ROUTINE ', proowner, coalesce(proacl, acldefault('f', proowner)) FROM ns, proc
		UNION ALL
		SELECT 'type ', format('%I.%I', ns.nspname, t.typname), format('%I.%I', ns.nspname, t.typname), '', 'TYPE ', t.typowner, t.typacl
		FROM ns JOIN pg_type t ON t.typnamespace = ns.oid WHERE t.typacl IS NOT NULL AND NOT EXISTS (SELECT FROM brought b WHERE b.class = 'pg_type'::regclass AND b.id = t.oid)
	), may AS (
		SELECT t.*, a.privilege_type AS right, a.is_grantable AND a.grantee <> t.owner AS grantable, a.grantee = t.owner AS own,
			CASE WHEN a.grantee = t.owner THEN quote_ident(current_user) WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END AS grantee,
			CASE WHEN a.grantee = t.owner THEN 'the owner' WHEN a.grantee = 0 THEN 'every role' ELSE 'role ' || pg_get_userbyid(a.grantee) END || ' may ' || a.privilege_type || ' ' || t.kind || t.called AS says,
			CASE t.kind WHEN 'column ' THEN a.privilege_type || t.syntax || t.of ELSE a.privilege_type || ' ON ' || t.syntax || t.name END AS grant
		FROM thing t CROSS JOIN LATERAL aclexplode(t.acl) a WHERE NOT (t.kind = 'type ' AND a.grantee = 0)
	)
	SELECT DISTINCT 'right', of, says, '', ARRAY[format('GRANT %s TO %s', may.grant, grantee)], format('REVOKE %s FROM %s CASCADE', may.grant, grantee), CASE WHEN own THEN 'owner' ELSE kind || name END FROM may
	UNION ALL
	SELECT DISTINCT 'right', of, says || ' and grant that', '', ARRAY[format('GRANT %s TO %s WITH GRANT OPTION', may.grant, grantee)],
		format('REVOKE GRANT OPTION FOR %s FROM %s CASCADE', may.grant, grantee), kind || name FROM may WHERE grantable`,

	`SELECT 'publication', rel.name, p.pubname::text, '', '{}'::text[], format('ALTER PUBLICATION %I DROP TABLE %s', p.pubname, rel.name), ''
	FROM rel JOIN pg_publication_rel r ON r.prrelid = rel.oid JOIN pg_publication p ON p.oid = r.prpubid
	UNION ALL
	SELECT 'publication', '', p.pubname::text, '', '{}', format('ALTER PUBLICATION %I DROP TABLES IN SCHEMA %I', p.pubname, ns.nspname), 'schema ' || ns.nspname
	FROM ns JOIN pg_publication_namespace n ON n.pnnspid = ns.oid JOIN pg_publication p ON p.oid = n.pnpubid
	UNION ALL
	SELECT 'subscription', rel.name, s.subname::text, '', '{}', '', ''
	FROM rel JOIN pg_subscription_rel r ON r.srrelid = rel.oid JOIN pg_subscription s ON s.oid = r.srsubid`,

	// What stands elsewhere and depends on a relation of the schema shows what is in it, or acts on it. The views of SQL
	// readers are compared by themselves.
	`, found AS (
		SELECT DISTINCT rel.name AS rel, d.classid, d.objid, coalesce(
			(SELECT c.relnamespace FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class WHERE d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid),
			(SELECT c.relnamespace FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid WHERE d.classid = 'pg_trigger'::regclass AND t.oid = d.objid),
			(SELECT c.relnamespace FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid WHERE d.classid = 'pg_policy'::regclass AND p.oid = d.objid),
			(SELECT c.relnamespace FROM pg_attrdef a JOIN pg_class c ON c.oid = a.adrelid WHERE d.classid = 'pg_attrdef'::regclass AND a.oid = d.objid),
			(SELECT c.relnamespace FROM pg_class c WHERE d.classid = 'pg_class'::regclass AND c.oid = d.objid),
			(SELECT t.typnamespace FROM pg_type t WHERE d.classid = 'pg_type'::regclass AND t.oid = d.objid),
			(SELECT p.pronamespace FROM pg_proc p WHERE d.classid = 'pg_proc'::regclass AND p.oid = d.objid)) AS at,
			(SELECT r.ev_class FROM pg_rewrite r WHERE d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid AND r.rulename = '_RETURN') AS view
		FROM rel JOIN pg_depend d ON (d.refclassid = 'pg_class'::regclass AND d.refobjid = rel.oid OR d.refclassid = 'pg_type'::regclass AND d.refobjid IN (rel.reltype,
			(SELECT t.typarray FROM pg_type t WHERE t.oid = rel.reltype)))
		WHERE d.deptype IN ('n', 'a') AND d.classid IN ('pg_rewrite'::regclass, 'pg_trigger'::regclass, 'pg_policy'::regclass, 'pg_attrdef'::regclass, 'pg_class'::regclass,
			'pg_type'::regclass, 'pg_proc'::regclass)
	)
	SELECT 'dependent', found.rel, i.type || ' ' || i.identity, '', '{}'::text[],
		CASE WHEN i.type IN ('view', 'materialized view', 'function', 'procedure', 'rule', 'trigger', 'policy') THEN format('DROP %s %s', upper(i.type), i.identity) ELSE '' END, ''
	FROM ns, found CROSS JOIN LATERAL pg_identify_object(CASE WHEN view IS NULL THEN classid ELSE 'pg_class'::regclass END, coalesce(view, objid), 0) i
	WHERE found.at <> ns.oid AND NOT EXISTS (SELECT FROM pg_namespace t WHERE t.oid = found.at AND (t.nspname LIKE 'pg\_toast%' OR t.nspname = ns.nspname || '_sql'))`,
}
