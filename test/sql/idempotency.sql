-- A repeated request under one key is one run, also when both come at once.
SET client_min_messages = error;
DROP EXTENSION IF EXISTS osa_validation CASCADE;
BEGIN;
CREATE EXTENSION osa_validation;
SELECT osa_pause('pg_regress');
COMMIT;
CREATE EXTENSION IF NOT EXISTS dblink;
DROP ROLE IF EXISTS regress_osa_key;
RESET client_min_messages;

SELECT osa_register_hook('checksum'), osa_add_release('checksum', 'localhost/checksum:1') > 0;
SELECT osa_define_pipeline('default', ARRAY['checksum']), osa_define_pipeline('other', ARRAY['checksum']);

SELECT osa_start_validation('d1', '[{"id":"r1","metadata":{"a":1,"b":2}}]', idempotency_key => 'k1') AS run \gset
-- the same content, however it is written, whatever has happened since
SELECT osa_start_validation('d1', '[{"metadata":{"b":2,"a":1}, "id":"r1"}]', 'default', '{}', 0, 'k1', '1 hour') = :run AS same;
SELECT osa_start_validation('d1', '[{"id":"r2"}]') > :run AS another;
SELECT osa_start_validation('d1', '[{"id":"r1","metadata":{"a":1,"b":2}}]', idempotency_key => 'k1') = :run AS same;
SELECT record_id FROM osa_deposition_record WHERE deposition = 'd1';
SELECT osa_cancel_validation(:run);
SELECT osa_start_validation('d1', '[{"id":"r1","metadata":{"a":1,"b":2}}]', idempotency_key => 'k1') = :run AS same;

-- other content
\set VERBOSITY sqlstate
SELECT osa_start_validation('d2', '[{"id":"r1","metadata":{"a":1,"b":2}}]', idempotency_key => 'k1');
SELECT osa_start_validation('d1', '[{"id":"r1","metadata":{"a":1,"b":3}}]', idempotency_key => 'k1');
SELECT osa_start_validation('d1', idempotency_key => 'k1');
SELECT osa_start_validation('d1', '[{"id":"r1","metadata":{"a":1,"b":2}}]', 'other', idempotency_key => 'k1');
SELECT osa_start_validation('d1', '[{"id":"r1","metadata":{"a":1,"b":2}}]', config => '{"a":1}', idempotency_key => 'k1');
SELECT osa_start_validation('d1', '[{"id":"r1","metadata":{"a":1,"b":2}}]', priority => 1, idempotency_key => 'k1');
\set VERBOSITY default
SELECT record_id FROM osa_deposition_record WHERE deposition = 'd1';
SELECT count(*) FROM osa_deposition WHERE id = 'd2';

-- another owner's keys are other keys
CREATE ROLE regress_osa_key;
GRANT EXECUTE ON FUNCTION osa_start_validation TO regress_osa_key;
SET ROLE regress_osa_key;
SELECT osa_start_validation('d3', '[{"id":"r1"}]', idempotency_key => 'k1') <> :run AS another;
RESET ROLE;

-- two at once: the second waits for the first, then returns its run
CREATE FUNCTION connect(name text) RETURNS text LANGUAGE sql AS $$
    SELECT dblink_connect(name, format('host=%s port=%s dbname=%s user=%s',
        split_part(current_setting('unix_socket_directories'), ',', 1), current_setting('port'), current_database(), current_user)) $$;
CREATE FUNCTION wait_until_blocked(name text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    deadline timestamptz := clock_timestamp() + interval '60 s';
BEGIN
    LOOP
        PERFORM pg_stat_clear_snapshot();
        IF EXISTS (SELECT FROM pg_stat_activity WHERE application_name = name AND wait_event_type = 'Lock') THEN
            RETURN true;
        ELSIF clock_timestamp() > deadline THEN
            RETURN false;
        END IF;
        PERFORM pg_sleep(0.01);
    END LOOP;
END $$;
SELECT connect('first'), connect('second'), dblink_exec('second', 'SET application_name = regress_osa_second');
CREATE VIEW twice AS SELECT $$SELECT osa_start_validation('d5', '[{"id":"r1"}]', idempotency_key => 'at once')$$::text AS call;

SELECT dblink_exec('first', 'BEGIN');
SELECT run AS first_run FROM dblink('first', (SELECT call FROM twice)) AS t(run bigint) \gset
SELECT dblink_send_query('second', (SELECT call FROM twice));
SELECT wait_until_blocked('regress_osa_second');
SELECT dblink_exec('first', 'COMMIT');
SELECT run = :first_run AS same FROM dblink_get_result('second') AS t(run bigint);
SELECT count(*) FROM dblink_get_result('second') AS t(run bigint);
SELECT count(*) FROM osa_validation_run WHERE idempotency_key = 'at once';

-- the same for a new key and other content: the second is refused
SELECT dblink_exec('first', 'BEGIN');
SELECT run > 0 AS started FROM dblink('first', $$SELECT osa_start_validation('d6', '[{"id":"r1"}]', idempotency_key => 'other')$$) AS t(run bigint);
SELECT dblink_send_query('second', $$SELECT osa_start_validation('d7', '[{"id":"r1"}]', idempotency_key => 'other')$$);
SELECT wait_until_blocked('regress_osa_second');
SELECT dblink_exec('first', 'COMMIT');
SELECT * FROM dblink_get_result('second', false) AS t(run bigint);
SELECT dblink_error_message('second') LIKE '%idempotency key "other" was used for another request%' AS refused;
SELECT count(*) FROM dblink_get_result('second', false) AS t(run bigint);
SELECT deposition FROM osa_validation_run WHERE idempotency_key = 'other';
SELECT count(*) FROM osa_deposition WHERE id = 'd7';

-- the first rolls back: the second's run is the one
SELECT dblink_exec('first', 'BEGIN');
SELECT run AS first_run FROM dblink('first', $$SELECT osa_start_validation('d8', '[{"id":"r1"}]', idempotency_key => 'undone')$$) AS t(run bigint) \gset
SELECT dblink_send_query('second', $$SELECT osa_start_validation('d8', '[{"id":"r1"}]', idempotency_key => 'undone')$$);
SELECT wait_until_blocked('regress_osa_second');
SELECT dblink_exec('first', 'ROLLBACK');
SELECT run <> :first_run AS another FROM dblink_get_result('second') AS t(run bigint);
SELECT count(*) FROM dblink_get_result('second') AS t(run bigint);
SELECT count(*) FROM osa_validation_run WHERE idempotency_key = 'undone';

SELECT dblink_disconnect('first'), dblink_disconnect('second');
SELECT * FROM osa_check();
DROP VIEW twice;
DROP FUNCTION connect;
DROP FUNCTION wait_until_blocked;
DROP EXTENSION osa_validation;
DROP ROLE regress_osa_key;
