-- What roles may do, in any schema, with a hostile search_path.
SET client_min_messages = error;
DROP EXTENSION IF EXISTS osa_validation CASCADE;
DROP SCHEMA IF EXISTS archive CASCADE;
DROP ROLE IF EXISTS regress_osa_app;
DROP ROLE IF EXISTS regress_osa_other;
CREATE SCHEMA archive;
BEGIN;
CREATE EXTENSION osa_validation SCHEMA archive;
SELECT archive.osa_pause('pg_regress');
COMMIT;
RESET client_min_messages;

CREATE ROLE regress_osa_app;
CREATE ROLE regress_osa_other;
GRANT USAGE ON SCHEMA archive TO regress_osa_app, regress_osa_other;

-- nothing for everybody
SET ROLE regress_osa_app;
SELECT archive.osa_start_validation('d1', '[{"id":"r1"}]');
SELECT * FROM archive.osa_validation_run;
RESET ROLE;

GRANT EXECUTE ON FUNCTION archive.osa_attach_file, archive.osa_submit_deposition, archive.osa_start_validation,
    archive.osa_wait_validation, archive.osa_cancel_validation, archive.osa_retry_validation
    TO regress_osa_app, regress_osa_other;
GRANT SELECT ON archive.osa_validation_run, archive.osa_progress TO regress_osa_app, regress_osa_other;
SELECT archive.osa_register_hook('checksum'), archive.osa_add_release('checksum', 'localhost/checksum:1') > 0,
    archive.osa_define_pipeline('default', ARRAY['checksum']);

-- EXECUTE and SELECT are enough to submit, wait and read, whatever stands in the way
SET ROLE regress_osa_app;
CREATE TEMP TABLE osa_install AS SELECT 'trap' AS install_id;
CREATE TEMP TABLE osa_delivery (delivery_id int);
CREATE FUNCTION pg_temp.now() RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN RAISE 'trap'; END $$;
CREATE FUNCTION pg_temp.count(anyelement) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RAISE 'trap'; END $$;
CREATE FUNCTION pg_temp.trap(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'trap'; END $$;
CREATE OPERATOR pg_temp.= (LEFTARG = text, RIGHTARG = text, FUNCTION = pg_temp.trap);
SET search_path = pg_temp, pg_catalog;
SELECT archive.osa_attach_file('d1', 'r1', 'a.txt', 'x');
SELECT archive.osa_start_validation('d1', '[{"id":"r1"}]', idempotency_key => 'k') AS run \gset
SELECT archive.osa_start_validation('d1', '[{"id":"r1"}]', idempotency_key => 'k') OPERATOR(pg_catalog.=) :run AS same;
SELECT archive.osa_submit_deposition('d2', '[{"id":"r1"}]') OPERATOR(pg_catalog.>) 0 AS submitted;
SELECT archive.osa_wait_validation(:run, '0');
SELECT status, owner FROM archive.osa_validation_run;
SELECT status FROM archive.osa_progress WHERE run_id OPERATOR(pg_catalog.=) :run;
SELECT current_user, session_user OPERATOR(pg_catalog.<>) current_user AS set_role;
RESET search_path;
DISCARD TEMP;

-- but not to choose images, to pause, or to read more
SELECT archive.osa_register_hook('x');
SELECT archive.osa_add_release('checksum', 'evil');
SELECT archive.osa_set_live_release('checksum', '1');
SELECT archive.osa_rollback_release('checksum');
SELECT archive.osa_define_pipeline('default', '{}');
SELECT archive.osa_add_runner('r', 'noop', NULL);
SELECT archive.osa_pause();
SELECT archive.osa_resume();
SELECT archive.osa_maintain();
SELECT * FROM archive.osa_install;
UPDATE archive.osa_validation_run SET status = 'completed';

-- another role's deposition and run
SET ROLE regress_osa_other;
SELECT archive.osa_start_validation('d1', '[{"id":"r1"}]');
SELECT archive.osa_start_validation('d1');
SELECT archive.osa_submit_deposition('d1', '[{"id":"r1"}]');
SELECT archive.osa_attach_file('d1', 'r1', 'b.txt', 'x');
SELECT archive.osa_cancel_validation(:run);
SELECT archive.osa_retry_validation(:run);
RESET ROLE;
SELECT archive.osa_start_validation('d1');
-- the owner's, and whoever has the rights of the extension's owner
SET ROLE regress_osa_app;
SELECT archive.osa_cancel_validation(:run);
RESET ROLE;
SELECT archive.osa_retry_validation(:run);
SELECT archive.osa_cancel_validation(:run);
-- inside a SECURITY DEFINER function it is the function's owner who counts
CREATE FUNCTION archive.submit_for_app() RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$ SELECT archive.osa_start_validation('d1') $$;
ALTER FUNCTION archive.submit_for_app() OWNER TO regress_osa_app;
GRANT EXECUTE ON FUNCTION archive.submit_for_app() TO regress_osa_other;
SET ROLE regress_osa_other;
SELECT archive.submit_for_app() > 0 AS started;
RESET ROLE;
SELECT owner, count(*) FROM archive.osa_validation_run GROUP BY 1;
-- the caller's rights are back after an error
SET ROLE regress_osa_app;
DO $$
BEGIN
    PERFORM archive.osa_start_validation('d1', pipeline => 'none');
EXCEPTION WHEN undefined_object THEN
    RAISE NOTICE '% %', SQLERRM, current_user;
END $$;
SELECT count(*) FROM archive.osa_install;
RESET ROLE;

-- read-only transactions
BEGIN READ ONLY;
SELECT archive.osa_start_validation('d9', '[{"id":"r1"}]');
ROLLBACK;
\set VERBOSITY sqlstate
BEGIN READ ONLY;
SELECT archive.osa_submit_deposition('d9', '[{"id":"r1"}]');
ROLLBACK;
BEGIN READ ONLY;
SELECT archive.osa_attach_file('d9', 'r1', 'x', 'y');
ROLLBACK;
BEGIN READ ONLY;
SELECT archive.osa_cancel_validation(:run);
ROLLBACK;
BEGIN READ ONLY;
SELECT archive.osa_retry_validation(:run);
ROLLBACK;
BEGIN READ ONLY;
SELECT archive.osa_maintain();
ROLLBACK;
BEGIN READ ONLY;
SELECT archive.osa_register_hook('x');
ROLLBACK;
BEGIN READ ONLY;
SELECT archive.osa_pause();
ROLLBACK;
\set VERBOSITY default

SELECT * FROM archive.osa_check();
DROP FUNCTION archive.submit_for_app();
SET client_min_messages = error;
DROP EXTENSION osa_validation CASCADE;
DROP SCHEMA archive CASCADE;
RESET client_min_messages;
DROP ROLE regress_osa_app;
DROP ROLE regress_osa_other;
