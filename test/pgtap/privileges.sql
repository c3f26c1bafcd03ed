-- PUBLIC has nothing; an application's role with the documented grants can
-- submit, wait, read, cancel and retry, under a hostile search_path, and can
-- neither choose images nor pause.
\ir begin.psql
SELECT plan(36);

CREATE FUNCTION pg_temp.public_may(acl aclitem[], kind "char", owner oid) RETURNS text LANGUAGE sql AS $$
SELECT string_agg(x.privilege_type, ', ') FROM aclexplode(coalesce(acl, acldefault(kind, owner))) x WHERE x.grantee = 0
$$;
SELECT results_eq(
    $$SELECT proname FROM our_function WHERE pg_temp.public_may(proacl, 'f', proowner) IS NOT NULL ORDER BY 1$$,
    $$VALUES ('osa_flights_now'), ('osa_require_cron'), ('osa_runners_now'), ('osa_worker_now')$$,
    'PUBLIC may execute only the helpers that ask for themselves');
SELECT is_empty(
    $$SELECT r.relname FROM our_relation r JOIN pg_class c USING (oid)
      WHERE pg_temp.public_may(c.relacl, CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner) IS NOT NULL$$,
    'PUBLIC may do nothing with tables, views and sequences');
SELECT is_empty(
    $$SELECT r.relname FROM our_relation r JOIN pg_class c USING (oid), aclexplode(c.relacl) x WHERE x.grantee <> c.relowner
      UNION ALL
      SELECT f.proname FROM our_function f, aclexplode(f.proacl) x WHERE x.grantee NOT IN (0, f.proowner)$$,
    'nor has anybody else been granted anything');

-- ---- an application's role, and one without any grant ----
CREATE ROLE tap_app;
CREATE ROLE tap_stranger;
GRANT USAGE ON SCHEMA :osa TO tap_app, tap_stranger;
GRANT EXECUTE ON FUNCTION :osa.osa_attach_file, :osa.osa_submit_deposition, :osa.osa_start_validation,
    :osa.osa_wait_validation, :osa.osa_cancel_validation, :osa.osa_retry_validation TO tap_app;
GRANT SELECT ON :osa.osa_deposition, :osa.osa_deposition_record, :osa.osa_pipeline, :osa.osa_hook,
    :osa.osa_validation_run, :osa.osa_run_hook, :osa.osa_record, :osa.osa_outcome, :osa.osa_progress_entry,
    :osa.osa_event, :osa.osa_progress, :osa.osa_run_timeline, :osa.osa_queue, :osa.osa_in_flight, :osa.osa_failures,
    :osa.osa_status TO tap_app;
SELECT osa_define_pipeline('tap_empty', '{}');

-- what names could be caught by
CREATE SCHEMA hostile;
GRANT USAGE ON SCHEMA hostile TO PUBLIC;
CREATE TABLE hostile.osa_deposition (id text, owner text);
CREATE TABLE hostile.osa_validation_run (id bigint);
CREATE TABLE hostile.pg_extension (extname name);
CREATE FUNCTION hostile.trap() RETURNS boolean LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'trapped'; END$$;
CREATE FUNCTION hostile.trap(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT hostile.trap()';
CREATE FUNCTION hostile.trap(bigint, bigint) RETURNS boolean LANGUAGE sql AS 'SELECT hostile.trap()';
CREATE FUNCTION hostile.trap(jsonb, jsonb) RETURNS boolean LANGUAGE sql AS 'SELECT hostile.trap()';
CREATE OPERATOR hostile.= (LEFTARG = text, RIGHTARG = text, FUNCTION = hostile.trap);
CREATE OPERATOR hostile.<> (LEFTARG = text, RIGHTARG = text, FUNCTION = hostile.trap);
CREATE OPERATOR hostile.= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = hostile.trap);
CREATE OPERATOR hostile.-> (LEFTARG = jsonb, RIGHTARG = jsonb, FUNCTION = hostile.trap);
CREATE OPERATOR hostile.->> (LEFTARG = jsonb, RIGHTARG = jsonb, FUNCTION = hostile.trap);
CREATE FUNCTION hostile.now() RETURNS timestamptz LANGUAGE sql AS 'SELECT NULL::timestamptz WHERE hostile.trap()';
CREATE FUNCTION hostile.jsonb_typeof(jsonb) RETURNS text LANGUAGE sql AS 'SELECT NULL::text WHERE hostile.trap()';
CREATE FUNCTION hostile.format(text, text, text) RETURNS text LANGUAGE sql AS 'SELECT NULL::text WHERE hostile.trap()';
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA hostile TO PUBLIC;

-- Runs a query as a role, search_path hostile; its value, or its SQLSTATE.
-- What it did stays.
CREATE FUNCTION pg_temp.as_role(role name, query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    path text := current_setting('search_path');
    answer text;
BEGIN
    EXECUTE format('SET LOCAL ROLE %I', role);
    SET LOCAL search_path = hostile, pg_catalog;
    EXECUTE query INTO answer;
    RESET ROLE;
    PERFORM set_config('search_path', path, true);
    RETURN answer;
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END
$$;
CREATE FUNCTION pg_temp.app(call text) RETURNS text LANGUAGE sql AS
$$SELECT pg_temp.as_role('tap_app', replace(call, '@', (SELECT extnamespace::regnamespace::text FROM pg_extension
    WHERE extname = 'osa_validation')))$$;
CREATE FUNCTION pg_temp.stranger(call text) RETURNS text LANGUAGE sql AS
$$SELECT pg_temp.as_role('tap_stranger', replace(call, '@', (SELECT extnamespace::regnamespace::text FROM pg_extension
    WHERE extname = 'osa_validation')))$$;
SELECT is(pg_temp.app($$SELECT 'a'::text = 'b'::text$$), 'P0001', 'the traps are armed');

-- submit, read, wait
SELECT is(pg_temp.app($$SELECT @.osa_attach_file('tap-app', 'r1', 'a.fa', 'ACGT')$$), '', 'the role may attach a file');
SELECT matches(pg_temp.app($$SELECT @.osa_start_validation('tap-app', '[{"id": "r1", "metadata": {"x": 1}}]', 'tap_empty')$$),
    '^[0-9]+$', 'the role may start a validation');
SELECT matches(pg_temp.app($$SELECT @.osa_submit_deposition('tap-app-2', '[{"id": "r1", "metadata": {}}]', 'tap_empty')$$),
    '^[0-9]+$', 'the role may submit a deposition');
SELECT is(pg_temp.app($$SELECT d.owner FROM @.osa_deposition d WHERE d.id OPERATOR(pg_catalog.=) 'tap-app'$$), 'tap_app',
    'which is its own then');
SELECT is(pg_temp.app($$SELECT status FROM @.osa_progress WHERE deposition OPERATOR(pg_catalog.=) 'tap-app'$$),
    'completed', 'the role may read osa_progress');
SELECT is(pg_temp.app($$SELECT count(*) FROM @.osa_event WHERE deposition OPERATOR(pg_catalog.=) 'tap-app'$$),
    '1', 'and osa_event');
SELECT matches(pg_temp.app('SELECT count(*) FROM @.' || name), '^[0-9]+$', 'and ' || name)
FROM unnest(ARRAY['osa_run_timeline', 'osa_queue', 'osa_in_flight', 'osa_failures', 'osa_status']) name;
SELECT isnt(pg_temp.app('SELECT @.osa_cancel_validation(-1)'), '42501', 'the role may cancel');
SELECT isnt(pg_temp.app('SELECT @.osa_retry_validation(-1)'), '42501', 'the role may retry');
SELECT isnt(pg_temp.app('SELECT @.osa_wait_validation(-1)'), '42501', 'the role may wait');

-- and no more
SELECT is(pg_temp.app(call), '42501', call)
FROM unnest(ARRAY[
    $$SELECT @.osa_register_hook('h')$$,
    $$SELECT @.osa_add_release('h', 'evil:1')$$,
    $$SELECT @.osa_set_live_release('h', '1')$$,
    $$SELECT @.osa_define_pipeline('p', '{}')$$,
    $$SELECT @.osa_add_runner('r', 'noop', NULL)$$,
    $$SELECT @.osa_pause()$$,
    $$SELECT @.osa_resume()$$,
    $$SELECT @.osa_maintain()$$,
    $$SELECT @.osa_schedule_maintenance()$$,
    $$SELECT @.osa_check()$$,
    $$UPDATE @.osa_hook_release SET image = 'evil:1' RETURNING image$$,
    $$UPDATE @.osa_install SET paused = true RETURNING paused$$,
    $$DELETE FROM @.osa_event RETURNING 1$$,
    $$SELECT count(*) FROM @.osa_worker$$]) call;

-- the open helpers
SELECT is(pg_temp.app('SELECT count(*) FROM @.osa_flights_now()') ~ '^[0-9]+$', true, 'whoever reads the view may call its function');
SELECT is(pg_temp.stranger('SELECT count(*) FROM @.' || name || '()'), '42501', 'nobody else may call ' || name)
FROM unnest(ARRAY['osa_worker_now', 'osa_flights_now', 'osa_runners_now']) name;
SELECT * FROM finish();
ROLLBACK;
