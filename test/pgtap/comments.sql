-- Everything says what it is.
\ir begin.psql
SELECT plan(6);

SELECT isnt(obj_description(oid, 'pg_extension'), NULL, 'the extension has a comment')
FROM pg_extension WHERE extname = 'osa_validation';
SELECT is_empty(
    $$SELECT relname FROM our_relation WHERE relkind IN ('r', 'v') AND obj_description(oid, 'pg_class') IS NULL$$,
    'every table and view has a comment');
SELECT is_empty(
    $$SELECT r.relname, a.attname FROM our_relation r
      JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
      WHERE r.relkind IN ('r', 'v') AND col_description(r.oid, a.attnum) IS NULL$$,
    'every column of a table or view has a comment');
SELECT is_empty(
    $$SELECT oid::regprocedure FROM our_function WHERE obj_description(oid, 'pg_proc') IS NULL$$,
    'every function has a comment');
SELECT is_empty(
    $$SELECT pg_describe_object(d.classid, d.objid, 0) FROM pg_depend d
      JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'osa_validation'
      WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
          AND d.classid NOT IN ('pg_class'::regclass, 'pg_proc'::regclass, 'pg_type'::regclass)$$,
    'and there are no other kinds of objects');
SELECT is_empty(
    $$SELECT description FROM pg_description
      WHERE (classoid, objoid) IN (SELECT 'pg_class'::regclass, oid FROM our_relation
                                   UNION ALL SELECT 'pg_proc'::regclass, oid FROM our_function)
          AND (description !~ '[.]$' OR description !~ '^[[:upper:][:lower:]]' OR length(description) < 3)$$,
    'comments are sentences');
SELECT * FROM finish();
ROLLBACK;
