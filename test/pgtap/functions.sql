-- Properties of functions.
\ir begin.psql
SELECT plan(9);

SELECT set_eq($$SELECT DISTINCT lanname::text FROM our_function$$, ARRAY['c', 'sql', 'plpgsql'], 'languages');
SELECT is_empty(
    $$SELECT oid::regprocedure FROM our_function
      WHERE lanname <> 'c' AND proconfig IS DISTINCT FROM ARRAY['search_path=pg_catalog, pg_temp']$$,
    'every function in SQL or PL/pgSQL has its own search_path');
SELECT results_eq(
    $$SELECT proname FROM our_function WHERE prosecdef ORDER BY 1$$,
    $$VALUES ('osa_check')$$,
    'only osa_check is SECURITY DEFINER');
SELECT results_eq(
    $$SELECT proname FROM our_function WHERE provolatile <> 'v' ORDER BY 1$$,
    $$VALUES ('osa_check'), ('osa_library_version'), ('osa_require_cron')$$,
    'only these are STABLE, and none is IMMUTABLE');
SELECT is_empty(
    $$SELECT proname FROM our_function
      WHERE proparallel <> 'u' AND proname NOT IN ('osa_check', 'osa_library_version', 'osa_require_cron',
          'osa_worker_now', 'osa_flights_now', 'osa_runners_now')$$,
    'functions that write are PARALLEL UNSAFE');
SELECT is_empty(
    $$SELECT proname FROM our_function WHERE proisstrict AND pronargs > 0$$,
    'none returns NULL for a NULL parameter without saying why');
SELECT is_empty($$SELECT proname FROM our_function WHERE NOT starts_with(proname, 'osa_')$$, 'all begin with osa_');
SELECT is_empty(
    $$SELECT proname FROM our_function GROUP BY proname HAVING count(*) > 1$$,
    'none is overloaded: calls by name are never ambiguous');
SELECT is_empty(
    $$SELECT proname FROM our_function WHERE proargnames IS NULL AND pronargs > 0
          OR '' = ANY (proargnames)$$,
    'every parameter has a name');
SELECT * FROM finish();
ROLLBACK;
