-- osa_wait_validation: returns at the end, or at the timeout; refuses what can't end.
SET client_min_messages = error;
DROP EXTENSION IF EXISTS osa_validation CASCADE;
BEGIN;
CREATE EXTENSION osa_validation;
SELECT osa_pause('pg_regress');
COMMIT;
CREATE EXTENSION IF NOT EXISTS dblink;
RESET client_min_messages;

SELECT osa_register_hook('checksum'), osa_add_release('checksum', 'localhost/checksum:1') > 0;
SELECT osa_define_pipeline('default', ARRAY['checksum']);
SELECT osa_start_validation('d1', '[{"id":"r1"}]') AS run \gset

SELECT osa_wait_validation(:run, '0');
SELECT clock_timestamp() AS began \gset
SELECT osa_wait_validation(:run, timeout => '0.3 s');
SELECT clock_timestamp() - :'began' BETWEEN interval '0.3 s' AND interval '30 s' AS waited;

-- it ends while we wait
SELECT dblink_connect('waiting', format('host=%s port=%s dbname=%s user=%s', split_part(current_setting('unix_socket_directories'), ',', 1),
    current_setting('port'), current_database(), current_user));
SELECT dblink_exec('waiting', 'SET application_name = regress_osa_waiting');
SELECT dblink_send_query('waiting', format('SELECT osa_wait_validation(%s, ''60 s'')', :run));
DO $$
DECLARE
    deadline timestamptz := clock_timestamp() + interval '60 s';
BEGIN
    LOOP
        PERFORM pg_stat_clear_snapshot();
        EXIT WHEN EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'regress_osa_waiting' AND wait_event_type = 'Extension');
        IF clock_timestamp() > deadline THEN
            RAISE 'it does not wait';
        END IF;
        PERFORM pg_sleep(0.01);
    END LOOP;
END $$;
SELECT osa_cancel_validation(:run);
SELECT t.status, clock_timestamp() - r.finished_at < interval '30 s' AS soon
    FROM dblink_get_result('waiting') AS t(status text), osa_validation_run r WHERE r.id = :run;
SELECT count(*) FROM dblink_get_result('waiting') AS t(status text);
-- it had ended
SELECT osa_wait_validation(:run);

-- an asynchronous end is told only once it is on disk
SELECT osa_start_validation('d1', '[{"id":"r1"}]') AS run \gset
SELECT dblink_exec('waiting', 'SET synchronous_commit = off');
SELECT ended FROM dblink('waiting', format('SELECT osa_cancel_validation(%s)', :run)) AS t(ended boolean);
SELECT lsn FROM dblink('waiting', 'SELECT pg_current_wal_insert_lsn()') AS t(lsn pg_lsn) \gset
SELECT osa_wait_validation(:run, '60 s');
-- but for a page's header or a stray record behind it
SELECT pg_current_wal_flush_lsn() >= :'lsn'::pg_lsn - 200 AS on_disk;
SELECT dblink_disconnect('waiting');

-- it can be interrupted, and read-only transactions may wait
SELECT osa_start_validation('d1', '[{"id":"r1"}]') AS run \gset
SET statement_timeout = '200 ms';
SELECT osa_wait_validation(:run, '60 s');
RESET statement_timeout;
BEGIN READ ONLY;
SELECT osa_wait_validation(:run, '0');
ROLLBACK;

-- what can never end
BEGIN;
SELECT osa_start_validation('d2', '[{"id":"r1"}]') AS own \gset
SELECT osa_wait_validation(:own);
ROLLBACK;
BEGIN;
SAVEPOINT s;
SELECT osa_start_validation('d2', '[{"id":"r1"}]') AS own \gset
RELEASE s;
SELECT osa_wait_validation(:own);
ROLLBACK;
SELECT osa_cancel_validation(:run);
BEGIN;
SELECT osa_retry_validation(:run);
SELECT osa_wait_validation(:run);
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT osa_wait_validation(:run);
ROLLBACK;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT osa_wait_validation(:run);
ROLLBACK;
-- a run that this transaction ended has an end
BEGIN;
SELECT osa_start_validation('d2', '[{"id":"r1"}]') AS own \gset
SELECT osa_cancel_validation(:own);
SELECT osa_wait_validation(:own);
COMMIT;

SELECT osa_wait_validation(999999999);
SELECT osa_wait_validation(NULL);
SELECT osa_wait_validation(:run, NULL);
SELECT osa_wait_validation(:run, '-1 s');
SELECT * FROM osa_check();
DROP EXTENSION osa_validation;
