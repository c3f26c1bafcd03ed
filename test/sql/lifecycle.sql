-- Cancel, retry, expiry, upkeep: a run's life from outside, without a worker.
SET client_min_messages = error;
DROP EXTENSION IF EXISTS osa_validation CASCADE;
BEGIN;
CREATE EXTENSION osa_validation;
SELECT osa_pause('pg_regress');
COMMIT;
RESET client_min_messages;

SELECT osa_register_hook(h), osa_add_release(h, 'localhost/' || h || ':1') > 0 FROM unnest(ARRAY['a', 'b', 'c']) h;
SELECT osa_define_pipeline('default', ARRAY['a', 'b', 'c']);
CREATE VIEW state AS SELECT r.id, r.status, r.current_hook_index AS index, r.round, r.reason, r.finished_at IS NOT NULL AS ended,
    r.expires_at IS NOT NULL AS expires,
    (SELECT string_agg(h.hook || ' ' || h.status || ' ' || h.first_attempt || '/' || h.attempt || coalesce(' ' || h.failure_kind, ''), ', ' ORDER BY hook_index)
       FROM osa_run_hook h WHERE h.run_id = r.id) AS hooks,
    (SELECT string_agg(e.type || ' ' || e.round || coalesce(' ' || (e.payload ->> 'hook_index'), ''), ', ' ORDER BY e.id) FROM osa_event e WHERE e.run_id = r.id) AS events,
    (SELECT count(*) FROM osa_delivery d WHERE d.run_id = r.id) AS deliveries
    FROM osa_validation_run r;

-- What the worker's commit of a passed hook 0 leaves, with hook 1 claimed and a
-- partial outcome of its first attempt.
CREATE PROCEDURE pass_first_hook(run bigint) LANGUAGE plpgsql AS $$
DECLARE
    event bigint;
BEGIN
    INSERT INTO osa_hook_attempt (run_id, hook_index, round, attempt, launch_id, runner)
        SELECT run, 0, 1, attempt, launch_id, 'local' FROM osa_run_hook WHERE run_id = run AND hook_index = 0;
    INSERT INTO osa_outcome (run_id, hook_index, record_id, status, reason)
        VALUES (run, 0, 'r1', 'passed', NULL), (run, 0, 'r2', 'rejected', 'too short');
    UPDATE osa_record SET status = 'rejected', hook_index = 0 WHERE run_id = run AND record_id = 'r2';
    UPDATE osa_run_hook SET status = 'passed', started_at = clock_timestamp(), finished_at = clock_timestamp(),
        records_in = 2, records_passed = 1, records_rejected = 1, records_errored = 0 WHERE run_id = run AND hook_index = 0;
    UPDATE osa_run_hook SET status = 'running', started_at = clock_timestamp(), strikes = 2, free_reruns = 1, memory = 1 WHERE run_id = run AND hook_index = 1;
    UPDATE osa_validation_run SET status = 'running', started_at = clock_timestamp(), current_hook_index = 1 WHERE id = run;
    INSERT INTO osa_event (install_id, type, run_id, round, deposition, payload)
        SELECT install_id, 'RunNextHook', id, round, deposition, '{"hook_index":1,"hook":"b"}' FROM osa_validation_run WHERE id = run
        RETURNING id INTO event;
    UPDATE osa_delivery SET event_id = event, status = 'claimed', token = gen_random_uuid(), claimed_by = 'w', claimed_at = now() WHERE run_id = run;
    INSERT INTO osa_partial_outcome (run_id, hook_index, record_id, status) VALUES (run, 1, 'r1', 'passed');
END $$;

-- cancelled before any hook was claimed
SELECT osa_start_validation('d1', '[{"id":"r1"}]', expires_in => '1 hour') AS run \gset
SELECT osa_cancel_validation(:run, 'not wanted any more');
SELECT * FROM state WHERE id = :run \gx
SELECT payload FROM osa_event WHERE run_id = :run AND type = 'ValidationFailed';
SELECT osa_cancel_validation(:run);
SELECT * FROM osa_check();
-- tried again: the attempt that never was keeps its number
SELECT osa_retry_validation(:run);
SELECT * FROM state WHERE id = :run \gx
SELECT osa_retry_validation(:run);
SELECT * FROM osa_check();
SELECT osa_cancel_validation(:run);

-- cancelled in the second hook, which may be running: later hooks are skipped, its partial outcomes go
SELECT osa_start_validation('d2', '[{"id":"r1"},{"id":"r2"}]', priority => 3) AS run \gset
CALL pass_first_hook(:run);
SELECT * FROM osa_check();
SELECT launch_id AS old_launch FROM osa_run_hook WHERE run_id = :run AND hook_index = 1 \gset
SELECT osa_cancel_validation(:run);
SELECT * FROM state WHERE id = :run \gx
SELECT payload FROM osa_event WHERE run_id = :run AND type = 'ValidationFailed';
SELECT count(*) FROM osa_partial_outcome;
SELECT record_id, status, hook_index FROM osa_record WHERE run_id = :run ORDER BY 1;
SELECT * FROM osa_check();
-- tried again from that hook, as a new attempt with a launch of its own; what the first hook said stays
SELECT osa_retry_validation(run => :run);
SELECT * FROM state WHERE id = :run \gx
SELECT launch_id <> :'old_launch' AS new_launch, memory, free_reruns, strikes, records_in, started_at, message FROM osa_run_hook WHERE run_id = :run AND hook_index = 1;
SELECT hook_index, record_id, status FROM osa_outcome WHERE run_id = :run ORDER BY 1, 2;
SELECT record_id, status, hook_index FROM osa_record WHERE run_id = :run ORDER BY 1;
SELECT priority, status, token, claims FROM osa_delivery WHERE run_id = :run;
SELECT * FROM osa_check();

-- failed in the second hook with outcomes: the retry deletes those, and takes the live releases if told to
CREATE PROCEDURE fail_second_hook(run bigint) LANGUAGE sql AS $$
    INSERT INTO osa_outcome (run_id, hook_index, record_id, status, error) VALUES (run, 1, 'r1', 'errored', 'no checksum');
    UPDATE osa_record SET status = 'errored', hook_index = 1 WHERE run_id = run AND record_id = 'r1';
    INSERT INTO osa_hook_attempt (run_id, hook_index, round, attempt, launch_id, runner, failure_kind)
        SELECT run, 1, r.round, h.attempt, h.launch_id, 'local', 'record_error' FROM osa_run_hook h, osa_validation_run r WHERE h.run_id = run AND hook_index = 1 AND r.id = run;
    UPDATE osa_run_hook SET status = 'failed', failure_kind = 'record_error', message = 'no checksum', finished_at = clock_timestamp(),
        started_at = coalesce(started_at, clock_timestamp()) WHERE run_id = run AND hook_index = 1;
    UPDATE osa_run_hook SET status = 'skipped' WHERE run_id = run AND hook_index > 1;
    UPDATE osa_validation_run SET status = 'failed', finished_at = clock_timestamp(), reason = 'no checksum' WHERE id = run;
    DELETE FROM osa_partial_outcome WHERE run_id = run;
    DELETE FROM osa_delivery WHERE run_id = run;
    INSERT INTO osa_event (install_id, type, run_id, round, deposition, payload)
        SELECT install_id, 'ValidationFailed', id, round, deposition, jsonb_build_object('status', 'failed') FROM osa_validation_run WHERE id = run;
$$;
CALL fail_second_hook(:run);
SELECT * FROM osa_check();
SELECT osa_add_release('b', 'localhost/b:2') > 0, osa_register_hook('b', '[{"name":"n","type":"int8"}]', 'many'), osa_add_release('a', 'localhost/a:2') > 0;
BEGIN;
SELECT osa_retry_validation(:run);
SELECT h.hook, version, h.columns FROM osa_run_hook h JOIN osa_hook_release r ON r.id = h.release_id WHERE run_id = :run ORDER BY hook_index;
ROLLBACK;
SELECT osa_retry_validation(:run, use_live => true);
SELECT h.hook, version, h.columns, h.cardinality FROM osa_run_hook h JOIN osa_hook_release r ON r.id = h.release_id WHERE run_id = :run ORDER BY hook_index;
SELECT * FROM state WHERE id = :run \gx
SELECT hook_index, record_id, status FROM osa_outcome WHERE run_id = :run ORDER BY 1, 2;
SELECT record_id, status, hook_index FROM osa_record WHERE run_id = :run ORDER BY 1;
SELECT * FROM osa_check();

-- the live release may be above the runner's ceiling by now
SELECT osa_cancel_validation(:run);
SELECT osa_add_release('b', 'localhost/b:3', limits => '{"memory":"1 GiB"}') > 0;
SELECT osa_add_runner('local', 'docker', NULL, max_memory => '800 MiB');
SELECT osa_retry_validation(:run, use_live => true);
SELECT osa_retry_validation(:run);
SELECT osa_add_runner('local', 'docker', NULL);

-- completed and rejected runs are not tried again
SELECT osa_define_pipeline('empty', '{}');
SELECT osa_retry_validation(osa_start_validation('d3', '[{"id":"r1"}]', 'empty'));

-- unknown runs
SELECT osa_cancel_validation(999999999);
SELECT osa_retry_validation(999999999);
SELECT osa_cancel_validation(NULL);
SELECT osa_retry_validation(:run, NULL);

-- upkeep: expired runs end, open runs get a delivery back, old progress goes;
-- in one transaction, since a worker here does its own
BEGIN;
SELECT osa_start_validation('d4', '[{"id":"r1"}]', expires_in => '1 ms') AS expired \gset
SELECT osa_start_validation('d4', '[{"id":"r1"}]', expires_in => '1 h') AS open \gset
SELECT osa_start_validation('d5', '[{"id":"r1"},{"id":"r2"}]') AS missing \gset
CALL pass_first_hook(:missing);
SELECT osa_start_validation('d5', '[{"id":"r1"}]') AS eventless \gset
DELETE FROM osa_delivery WHERE run_id IN (:missing, :eventless);
DELETE FROM osa_event WHERE run_id = :eventless;
SELECT DISTINCT invariant FROM osa_check() ORDER BY 1;
INSERT INTO osa_progress_entry (run_id, hook_index, status, created_at)
    SELECT :missing, 1, 'old', now() - interval '30 days' FROM generate_series(1, 12000)
    UNION ALL SELECT :missing, 1, 'new', now() FROM generate_series(1, 3);
SELECT osa_maintain() - 'woken' AS done;
SELECT status, count(*) FROM osa_progress_entry GROUP BY 1;
SELECT status, reason, events, deliveries FROM state WHERE id = :expired;
SELECT status, events, deliveries FROM state WHERE id IN (:open, :missing, :eventless) ORDER BY id;
SELECT d.run_id = :missing AS missing, e.payload, d.status FROM osa_delivery d JOIN osa_event e ON e.id = d.event_id
    WHERE d.run_id IN (:missing, :eventless) ORDER BY d.run_id;
SELECT * FROM osa_check();
SELECT osa_maintain() - 'woken' AS nothing_left;
COMMIT;

-- another installation's rows are left alone
BEGIN;
SELECT osa_start_validation('d6', '[{"id":"r1"}]', expires_in => '1 ms') AS foreign \gset
UPDATE osa_validation_run SET install_id = gen_random_uuid() WHERE id = :foreign;
DELETE FROM osa_delivery WHERE run_id = :foreign;
SELECT osa_maintain() - 'woken' AS nothing_of_ours;
SELECT status, deliveries FROM state WHERE id = :foreign;
ROLLBACK;
DROP PROCEDURE pass_first_hook;
DROP PROCEDURE fail_second_hook;
DROP VIEW state;
DROP EXTENSION osa_validation;
