-- What the views say of runs in every state.
\ir begin.psql
\ir fixture.psql
-- the history of the two hooks in this database is the fixture's alone
DELETE FROM osa_hook_attempt WHERE run_id < 9000001;
SELECT plan(25);

-- osa_progress
SELECT is(
    (SELECT string_agg(attname, ', ' ORDER BY attnum) FROM pg_attribute
     WHERE attrelid = 'osa_progress'::regclass AND attnum BETWEEN 1 AND 14),
    'run_id, deposition, pipeline, status, current_hook_index, hook_count, current_hook, records_in, records_passed, '
    'records_rejected, last_message, started_at, finished_at, eta',
    'osa_progress begins with the promised columns');
SELECT results_eq(
    $$SELECT run_id - 9000000, status, current_hook_index, hook_count, current_hook, records_in, records_passed,
             records_rejected::bigint, records_errored::bigint, percent
      FROM osa_progress WHERE run_id > 9000000 ORDER BY 1$$,
    $$VALUES
      (1::bigint, 'pending', 0, 2, 'tap_first', 2::bigint, 0::bigint, 0::bigint, 0::bigint, 0.0),
      (2, 'running', 1, 2, 'tap_second', 2, 1, 1, 0, 50.0),
      (3, 'completed', 2, 2, NULL, 2, 1, 0, 1, 100.0),
      (4, 'rejected', 1, 2, 'tap_first', 2, 0, 2, 0, 50.0),
      (5, 'failed', 1, 2, 'tap_second', 2, 2, 0, 0, 50.0),
      (6, 'pending', 1, 2, 'tap_second', 2, 2, 0, 0, 50.0),
      (7, 'cancelled', 0, 2, 'tap_first', 2, 0, 0, 0, 0.0),
      (8, 'completed', 0, 0, NULL, 2, 2, 0, 0, 100.0),
      (9, 'failed', 0, 0, NULL, 0, 0, 0, 0, 0.0),
      (10, 'running', 0, 2, 'tap_first', 2, 0, 0, 0, 0.0),
      (11, 'running', 0, 2, 'tap_first', 2, 0, 0, 0, 0.0)$$,
    'where each run is, and its counts');
SELECT results_eq('SELECT last_message FROM osa_progress WHERE run_id IN (9000001, 9000002) ORDER BY run_id',
    $$VALUES (NULL), ('half way')$$, 'the newest message, if there is one');
SELECT results_eq('SELECT eta FROM osa_progress WHERE run_id = 9000001',
    $$SELECT statement_timestamp() + interval '30 s'$$, 'eta: the medians of both hooks');
SELECT results_eq('SELECT eta FROM osa_progress WHERE run_id = 9000002',
    'SELECT statement_timestamp()', 'eta: now, when the last hook already takes longer than it used to');
UPDATE osa_run_hook SET started_at = statement_timestamp() - interval '5 s' WHERE run_id = 9000002 AND hook_index = 1;
SELECT ok((SELECT eta - statement_timestamp() BETWEEN interval '10 s' AND interval '15 s'
           FROM osa_progress WHERE run_id = 9000002), 'eta: less what the current hook has run');
SELECT is_empty('SELECT run_id FROM osa_progress WHERE finished_at IS NOT NULL AND eta IS NOT NULL',
    'no eta for what has ended');
UPDATE osa_run_hook SET hook = 'tap_third' WHERE run_id = 9000001 AND hook_index = 1;
SELECT is(eta, NULL, 'no eta with a hook that never ran') FROM osa_progress WHERE run_id = 9000001;
UPDATE osa_run_hook SET hook = 'tap_second' WHERE run_id = 9000001 AND hook_index = 1;

-- the plan of a poll, and of a list of the newest, reads no table as a whole
CREATE FUNCTION pg_temp.plan_of(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    line text;
    lines text := '';
BEGIN
    FOR line IN EXECUTE 'EXPLAIN ' || query LOOP
        lines := lines || line || E'\n';
    END LOOP;
    RETURN lines;
END
$$;
INSERT INTO osa_validation_run (id, install_id, deposition, pipeline, status, current_hook_index, hook_count, owner, finished_at)
SELECT 9100000 + g, gen_random_uuid(), 'tap-d', 'tap', 'completed', 2, 2, current_user, now() FROM generate_series(1, 3000) g;
INSERT INTO osa_run_hook (run_id, hook_index, hook, release_id, status)
SELECT 9100000 + g, i, 'tap_first', 9000001, 'passed' FROM generate_series(1, 3000) g, generate_series(0, 1) i;
INSERT INTO osa_record (run_id, record_id, content_hash) SELECT 9100000 + g, 'a', 'x' FROM generate_series(1, 3000) g;
INSERT INTO osa_progress_entry (run_id, hook_index, status, message)
SELECT 9100000 + g, 0, 'running', 'x' FROM generate_series(1, 3000) g;
INSERT INTO osa_hook_attempt (run_id, hook_index, round, attempt, launch_id, runner)
SELECT 9100000 + g, i, 1, 1, gen_random_uuid(), 'local' FROM generate_series(1, 3000) g, generate_series(0, 1) i;
ANALYZE osa_validation_run, osa_run_hook, osa_record, osa_progress_entry, osa_hook_attempt;
SELECT unalike(pg_temp.plan_of('SELECT * FROM osa_progress WHERE run_id = 9000001'), '%Seq Scan%',
    'osa_progress of a run reads indexes only');
SELECT unalike(pg_temp.plan_of('SELECT * FROM osa_progress ORDER BY run_id DESC LIMIT 20'), '%Seq Scan%',
    'osa_progress of the newest runs reads indexes only');
SELECT unalike(pg_temp.plan_of('SELECT * FROM osa_run_timeline WHERE run_id = 9000005'),
    '%Seq Scan on osa_%(run|run_hook|attempt)%', 'osa_run_timeline of a run reads indexes only');
DELETE FROM osa_hook_attempt WHERE run_id > 9100000;

-- osa_run_timeline
PREPARE timeline(bigint) AS
SELECT hook_index, hook, version, round, attempt, status, duration, failure_kind, message, records_in
FROM osa_run_timeline WHERE run_id = 9000000 + $1;
SELECT results_eq('EXECUTE timeline(5)', $$VALUES
    (0, 'tap_first', '1.0', 1, 1, 'passed', interval '10 s', NULL, NULL, 2),
    (1, 'tap_second', '2.0', 1, 1, 'failed', interval '20 s', 'timeout', 'took too long', NULL),
    (1, 'tap_second', '2.0', 1, 2, 'failed', interval '20 s', 'hook_exit', 'exit code 3', 2)$$,
    'the timeline of a failed run has a row an attempt');
SELECT results_eq('EXECUTE timeline(6)', $$VALUES
    (0, 'tap_first', '1.0', 1, 1, 'passed', interval '10 s', NULL, NULL, 2),
    (1, 'tap_second', '2.0', 1, 1, 'failed', interval '20 s', 'timeout', 'took too long', NULL),
    (1, 'tap_second', '2.0', 1, 2, 'failed', interval '20 s', 'hook_exit', 'exit code 3', NULL),
    (1, 'tap_second', '2.0', 2, 3, 'pending', NULL, NULL, NULL, NULL)$$,
    'that of a retried run goes on with the next attempt');
SELECT results_eq('EXECUTE timeline(4)', $$VALUES
    (0, 'tap_first', '1.0', 1, 1, 'rejected', interval '10 s', NULL, 'nothing left', 2),
    (1, 'tap_second', '2.0', 1, 1, 'skipped', NULL, NULL, NULL, NULL)$$,
    'that of a rejected run ends with the skipped steps');
SELECT results_eq('EXECUTE timeline(7)', $$VALUES
    (0, 'tap_first', '1.0', 1, 1, 'cancelled', NULL::interval, 'cancelled', NULL, NULL::int),
    (1, 'tap_second', '2.0', 1, 1, 'skipped', NULL, NULL, NULL, NULL)$$,
    'that of a run cancelled before it ran has its steps');

UPDATE osa_hook_attempt SET started_at = NULL, finished_at = NULL WHERE run_id = 9000003;
SELECT results_eq('EXECUTE timeline(3)', $$VALUES
    (0, 'tap_first', '1.0', 1, 1, 'passed', interval '29 min', NULL, NULL, 2),
    (1, 'tap_second', '2.0', 1, 1, 'passed', interval '29 min', NULL, NULL, 1)$$,
    'without a container a result has the times of its step');

-- osa_failures
SELECT results_eq(
    $$SELECT run_id - 9000000, what, hook_index, hook, attempt, failure_kind, message, exit_code, log_tail
      FROM osa_failures WHERE run_id > 9000000 ORDER BY 1, 2 DESC, 3, 5$$,
    $$VALUES
      (5::bigint, 'run', 1, 'tap_second', 2, 'hook_exit', 'because failed', 3, 'oh no'),
      (5, 'attempt', 1, 'tap_second', 1, 'timeout', 'took too long', 137, NULL),
      (5, 'attempt', 1, 'tap_second', 2, 'hook_exit', 'exit code 3', 3, 'oh no'),
      (6, 'attempt', 1, 'tap_second', 1, 'timeout', 'took too long', 137, NULL),
      (6, 'attempt', 1, 'tap_second', 2, 'hook_exit', 'exit code 3', 3, 'oh no'),
      (9, 'run', NULL, NULL, NULL, NULL, 'because failed', NULL, NULL),
      (11, 'attempt', 0, 'tap_first', 1, 'timeout', 'took too long', 137, NULL)$$,
    'osa_failures has failed runs and failed attempts');

-- osa_queue and osa_status
UPDATE osa_install SET paused = true, reason = 'because';
SELECT results_eq(
    $$SELECT run_id - 9000000, hook_index, hook, runner, status, waiting_for FROM osa_queue
      WHERE deposition = 'tap-d' ORDER BY 1 NULLS LAST$$,
    $$VALUES
      (1::bigint, 0, 'tap_first', 'local', 'pending', 'paused'), (6, 1, 'tap_second', 'local', 'pending', 'paused'),
      (11, 0, 'tap_first', 'local', 'pending', 'paused'), (NULL, NULL, NULL, NULL, 'pending', 'paused')$$,
    'osa_queue has what is not claimed, with the next step and why it waits');
SELECT results_eq('SELECT paused, paused_reason FROM osa_status', $$VALUES (true, 'because')$$, 'osa_status: why paused');
SELECT matches((SELECT advice FROM osa_status), 'osa_resume\(\)', 'and what to do');
SELECT ok((SELECT pending >= 4 AND claimed >= 1 AND parked = 0 AND foreign_deliveries = 0 FROM osa_status),
    'osa_status counts deliveries');
SELECT cmp_ok((SELECT oldest_pending FROM osa_status), '<=', clock_timestamp(), 'the oldest that is due is not to come');

UPDATE osa_install SET mismatch = 'fork';
UPDATE osa_delivery SET status = 'failed' WHERE run_id = 9000001;
UPDATE osa_delivery SET install_id = gen_random_uuid() WHERE run_id = 9000006;
SELECT results_eq(
    $$SELECT waiting_for FROM osa_queue WHERE run_id IN (9000001, 9000006) ORDER BY run_id$$,
    $$VALUES ('parked after an internal error'), ('belongs to another installation')$$,
    'parked deliveries, and those of another installation, are said to be');
SELECT matches((SELECT advice FROM osa_status),
    '(?s)This database is a copy.*take_over => true.*parked', 'advice has a line each');
SELECT is((SELECT parked + foreign_deliveries FROM osa_status), 2::bigint, 'and they are counted');
SELECT * FROM finish();
ROLLBACK;
