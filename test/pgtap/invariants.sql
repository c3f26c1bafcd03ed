-- osa_check() is silent on sound rows and names each invariant broken by hand.
\ir begin.psql
\ir fixture.psql
SELECT plan(46);

-- What osa_check says once the statements have run; they are undone.
CREATE FUNCTION pg_temp.broken_by(VARIADIC statements text[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    statement text;
    said text;
BEGIN
    FOREACH statement IN ARRAY statements LOOP
        EXECUTE statement;
    END LOOP;
    SELECT string_agg(DISTINCT format('%s: %s', coalesce(c.run_id - 9000000, 0), c.invariant), ', ') INTO said
    FROM osa_check() c;
    RAISE EXCEPTION USING ERRCODE = 'TP001', MESSAGE = coalesce(said, 'sound');
EXCEPTION WHEN SQLSTATE 'TP001' THEN
    RETURN SQLERRM;
END
$$;

SELECT is_empty('SELECT * FROM osa_check()', 'runs in every state are sound');
SELECT is(pg_temp.broken_by('SELECT 1'), 'sound', 'and so the helper says');

-- terminal events
SELECT is(pg_temp.broken_by($$DELETE FROM osa_event WHERE run_id = 9000003 AND type = 'ValidationCompleted'$$),
    '3: one terminal event', 'an ended run without its terminal event');
SELECT is(pg_temp.broken_by('DROP INDEX osa_event_terminal',
    $$INSERT INTO osa_event (install_id, type, run_id, round, deposition)
      SELECT install_id, type, run_id, round, deposition FROM osa_event WHERE run_id = 9000004 AND type = 'ValidationFailed'$$),
    '4: events in order, 4: one terminal event', 'two terminal events');
SELECT is(pg_temp.broken_by($$INSERT INTO osa_event (install_id, type, run_id, round, deposition)
      SELECT install_id, 'ValidationCompleted', id, 1, deposition FROM osa_validation_run WHERE id = 9000001$$,
    $$UPDATE osa_event SET id = -id - 9000000 WHERE run_id = 9000001 AND type = 'ValidationCompleted'$$),
    '1: events in order, 1: one terminal event, 1: terminal event and status', 'a terminal event of an open run');
SELECT is(pg_temp.broken_by($$DELETE FROM osa_event WHERE run_id = 9000006 AND type = 'ValidationFailed'$$),
    '6: events in order, 6: one terminal event', 'an earlier round without its terminal event');
SELECT is(pg_temp.broken_by($$UPDATE osa_event SET type = 'ValidationFailed' WHERE run_id = 9000008$$),
    '8: terminal event and status', 'a completed run with ValidationFailed');
SELECT is(pg_temp.broken_by($$UPDATE osa_event SET payload = '{"status": "cancelled"}' WHERE run_id = 9000009$$),
    '9: terminal event and status', 'a terminal event of another status');

-- events
SELECT is(pg_temp.broken_by($$UPDATE osa_event SET payload = '{"hook_index": 2}' WHERE run_id = 9000002
      AND payload ->> 'hook_index' = '1'$$),
    '2: delivery owes the newest event, 2: events in order, 2: last RunNextHook and index', 'an index left out');
SELECT is(pg_temp.broken_by($$UPDATE osa_event SET payload = '{"hook_index": "0"}' WHERE run_id = 9000004
      AND type = 'RunNextHook'$$),
    '4: attempts numbered, 4: events in order, 4: last RunNextHook and index', 'an index that is no number');
SELECT is(pg_temp.broken_by($$DELETE FROM osa_event WHERE run_id = 9000005 AND payload ->> 'hook_index' = '0'$$),
    '5: attempts numbered, 5: events in order', 'a first event that is not of index 0');
SELECT is(pg_temp.broken_by($$UPDATE osa_event SET run_id = 9000099 WHERE run_id = 9000010$$),
    '99: events belong to runs', 'an event of no run');
SELECT is(pg_temp.broken_by($$UPDATE osa_event SET run_id = 9000008, round = 1 WHERE type = 'DepositionSubmitted'$$),
    '8: events belong to runs, 8: events in order', 'DepositionSubmitted with a run');
SELECT is(pg_temp.broken_by($$UPDATE osa_event SET round = 2 WHERE run_id = 9000010$$),
    '10: events belong to runs, 10: events in order', 'an event of a round to come');

-- outcomes
SELECT is(pg_temp.broken_by($$DELETE FROM osa_outcome WHERE run_id = 9000003 AND hook_index = 1$$),
    '3: counts equal outcomes, 3: one outcome per hook and record', 'a record without an outcome');
SELECT is(pg_temp.broken_by('ALTER TABLE osa_outcome DROP CONSTRAINT osa_outcome_pkey',
    $$INSERT INTO osa_outcome SELECT * FROM osa_outcome WHERE run_id = 9000003 AND hook_index = 1$$),
    '3: counts equal outcomes, 3: one outcome per hook and record', 'a record with two outcomes of a hook');
SELECT is(pg_temp.broken_by($$INSERT INTO osa_outcome VALUES (9000003, 1, 'b', 'passed')$$),
    '3: counts equal outcomes, 3: no outcome too many', 'an outcome of a record that had left');
SELECT is(pg_temp.broken_by($$INSERT INTO osa_outcome VALUES (9000002, 1, 'a', 'passed')$$),
    '2: no outcome too many', 'an outcome of a step that has not committed');
SELECT is(pg_temp.broken_by($$INSERT INTO osa_outcome VALUES (9000005, 1, 'z', 'passed')$$),
    '5: no outcome too many', 'an outcome of no record');
SELECT is(pg_temp.broken_by($$INSERT INTO osa_outcome VALUES (9000005, 1, 'a', 'errored')$$),
    'sound', 'a failed step may keep outcomes');
SELECT is(pg_temp.broken_by($$UPDATE osa_run_hook SET records_passed = 2 WHERE run_id = 9000002 AND hook_index = 0$$),
    '2: counts equal outcomes', 'counts that are not the outcomes''');

-- index and statuses
SELECT is(pg_temp.broken_by($$UPDATE osa_validation_run SET current_hook_index = 1 WHERE id = 9000003$$),
    '3: index and status, 3: index equals committed hooks, 3: last RunNextHook and index, 3: records and outcomes, '
    '3: steps and status', 'a completed run short of its last hook');
SELECT is(pg_temp.broken_by($$UPDATE osa_validation_run SET current_hook_index = 0 WHERE id = 9000004$$),
    '4: index and status, 4: index equals committed hooks, 4: last RunNextHook and index, 4: steps and status',
    'a rejected run at the index of its hook');
SELECT is(pg_temp.broken_by($$UPDATE osa_validation_run SET current_hook_index = 2 WHERE id = 9000005$$),
    '5: index and status, 5: index equals committed hooks, 5: last RunNextHook and index, 5: steps and status',
    'a failed run behind its hook');
SELECT is(pg_temp.broken_by($$DELETE FROM osa_run_hook WHERE run_id = 9000001 AND hook_index = 1$$),
    '1: index equals committed hooks', 'a step that is missing');
SELECT is(pg_temp.broken_by($$UPDATE osa_run_hook SET status = 'skipped' WHERE run_id = 9000001 AND hook_index = 0$$),
    '1: steps and status', 'a skipped step of an open run');
SELECT is(pg_temp.broken_by($$UPDATE osa_run_hook SET status = 'pending' WHERE run_id = 9000007 AND hook_index = 1$$),
    '7: steps and status', 'a pending step of an ended run');
SELECT is(pg_temp.broken_by($$UPDATE osa_validation_run SET finished_at = NULL WHERE id = 9000007$$),
    '7: end times', 'an ended run without a time of its end');

SELECT is(pg_temp.broken_by($$UPDATE osa_run_hook SET finished_at = NULL WHERE run_id = 9000003 AND hook_index = 0$$),
    '3: end times', 'a committed step without one');

-- deliveries
SELECT is(pg_temp.broken_by($$INSERT INTO osa_delivery (install_id, run_id, event_id)
      SELECT install_id, run_id, id FROM osa_event WHERE run_id = 9000008$$),
    '8: no delivery for an ended run', 'a delivery of an ended run');
SELECT is(pg_temp.broken_by($$DELETE FROM osa_delivery WHERE run_id = 9000001$$),
    '1: one delivery for an open run', 'an open run without a delivery');
SELECT is(pg_temp.broken_by('ALTER TABLE osa_delivery DROP CONSTRAINT osa_delivery_run_id_key',
    $$INSERT INTO osa_delivery (install_id, run_id, event_id)
      SELECT install_id, run_id, event_id FROM osa_delivery WHERE run_id = 9000001$$),
    '1: one delivery for an open run', 'an open run with two');
SELECT is(pg_temp.broken_by($$UPDATE osa_delivery SET event_id =
      (SELECT min(id) FROM osa_event WHERE run_id = 9000002) WHERE run_id = 9000002$$),
    '2: delivery owes the newest event', 'a delivery of an older event');
SELECT is(pg_temp.broken_by($$DELETE FROM osa_event WHERE type = 'DepositionSubmitted'$$),
    '0: delivery owes the newest event', 'a delivery of no event');
SELECT is(pg_temp.broken_by($$UPDATE osa_delivery SET token = NULL WHERE run_id = 9000002$$),
    '2: claims have tokens', 'a claim without a token');
SELECT is(pg_temp.broken_by($$UPDATE osa_delivery SET install_id = gen_random_uuid() WHERE run_id = 9000001$$),
    '1: one installation', 'a delivery of another installation than its run');

-- partial outcomes
SELECT is(pg_temp.broken_by($$INSERT INTO osa_partial_outcome VALUES (9000003, 1, 'a', 'passed')$$),
    '3: no partial outcomes left', 'a partial outcome of a completed run');
SELECT is(pg_temp.broken_by($$UPDATE osa_partial_outcome SET hook_index = 1 WHERE run_id = 9000011$$),
    '11: no partial outcomes left', 'a partial outcome of another step than the current one');

-- attempts
SELECT is(pg_temp.broken_by($$DELETE FROM osa_hook_attempt WHERE run_id = 9000011$$),
    '11: attempts recorded', 'an ended attempt that is not recorded');
SELECT is(pg_temp.broken_by($$UPDATE osa_hook_attempt SET launch_id = gen_random_uuid()
      WHERE run_id = 9000003 AND hook_index = 0$$),
    '3: attempts recorded', 'a result by another launch than the recorded one');
SELECT is(pg_temp.broken_by($$DELETE FROM osa_hook_attempt WHERE run_id = 9000005 AND hook_index = 1$$,
    $$UPDATE osa_run_hook SET attempt = 1 WHERE run_id = 9000005 AND hook_index = 1$$),
    '5: attempts recorded', 'a failed step without an attempt');
SELECT is(pg_temp.broken_by($$UPDATE osa_hook_attempt SET round = 2 WHERE run_id = 9000006 AND attempt = 2$$),
    '6: attempts numbered', 'an attempt of a round that it was not made in');
SELECT is(pg_temp.broken_by($$UPDATE osa_hook_attempt SET attempt = 3 WHERE run_id = 9000005 AND hook_index = 1
      AND attempt = 2$$),
    '5: attempts numbered', 'an attempt ahead of its step');

-- records
SELECT is(pg_temp.broken_by($$UPDATE osa_record SET status = 'pending' WHERE run_id = 9000008 AND record_id = 'a'$$),
    '8: records and outcomes', 'a pending record of a completed run');
SELECT is(pg_temp.broken_by($$UPDATE osa_record SET status = 'errored' WHERE run_id = 9000002 AND record_id = 'b'$$),
    '2: records and outcomes', 'a record with another status than its outcome');

SELECT is(pg_temp.broken_by('DELETE FROM osa_install') LIKE '%0: one installation%', true, 'no installation');
SELECT * FROM finish();
ROLLBACK;
