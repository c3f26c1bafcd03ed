-- pg_dump takes the rows of every table but osa_install, and where the
-- sequences are.
\ir begin.psql
SELECT plan(4);

CREATE TEMPORARY VIEW dumped AS
SELECT c.oid::regclass AS relation, c.condition
FROM pg_extension e, unnest(e.extconfig, e.extcondition) c(oid, condition)
WHERE e.extname = 'osa_validation';
SELECT set_eq(
    'SELECT relation::oid FROM dumped',
    $$SELECT oid FROM our_relation WHERE relkind IN ('r', 'S') AND relname <> 'osa_install'$$,
    'every table and sequence but osa_install is dumped');
SELECT is_empty($$SELECT * FROM dumped WHERE condition <> ''$$, 'with all rows');
SELECT is_empty(
    $$SELECT a.attrelid::regclass, a.attname FROM pg_attribute a
      JOIN our_relation r ON r.oid = a.attrelid AND r.relkind = 'r'
      WHERE a.attidentity = 'a'$$,
    'ids can be restored as they were: no identity column is GENERATED ALWAYS');
SELECT is_empty(
    $$SELECT r.relname FROM our_relation r
      WHERE r.relkind = 'S' AND NOT EXISTS (
          SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = r.oid AND d.deptype = 'i')$$,
    'every sequence is an identity column''s');
SELECT * FROM finish();
ROLLBACK;
