-- Hooks, releases, the live pointer, pipelines, runners, pause.
SET client_min_messages = error;
DROP EXTENSION IF EXISTS osa_validation CASCADE;
BEGIN;
CREATE EXTENSION osa_validation;
SELECT osa_pause('pg_regress');
COMMIT;
RESET client_min_messages;

-- registering again changes the hook
SELECT osa_register_hook('gc');
SELECT osa_register_hook('gc', '[{"name":"gc","type":"float8","unit":"fraction","nullable":false}]', 'one', title => 'GC content');
SELECT osa_register_hook(name => 'checksum');
SELECT name, title, columns, cardinality FROM osa_hook ORDER BY name;

-- releases are numbered unless they have a version, and live unless told otherwise
CREATE FUNCTION pg_temp.live() RETURNS TABLE (hook text, version text, by_us boolean) LANGUAGE sql
AS $$ SELECT l.hook, r.version, l.set_by = current_user FROM osa_hook_live l JOIN osa_hook_release r ON r.id = l.release_id
      WHERE l.is_current ORDER BY 1 $$;
SELECT osa_add_release('gc', 'localhost/gc:1') > 0 AS added;
SELECT osa_add_release('gc', 'localhost/gc:2', config => '{"window": 100}',
    limits => '{"timeout":"5 min","memory":"1GiB","cpu":0.5,"pids":64,"tmpfs":"100 MiB","output":"64m","retries":1,"retry_delay":"1 s"}',
    source_ref => 'commit 1f2e', built_by => 'ci') > 0 AS added;
SELECT osa_add_release('gc', 'registry.example.org:5000/a/gc@sha256:' || repeat('0f', 32), '2.0-rc1', live => false) > 0 AS added;
SELECT osa_add_release('gc', 'sha256:' || repeat('ab', 32)) > 0 AS added;
SELECT osa_add_release('checksum', 'checksum', '10') > 0 AS added;
SELECT osa_add_release('checksum', 'checksum') > 0 AS added;
SELECT hook, version, image, image_id, config, limits, source_ref, built_by FROM osa_hook_release ORDER BY id;
SELECT * FROM pg_temp.live();

-- moving the live pointer keeps its history; setting what is live already adds none
SELECT osa_set_live_release('gc', '2.0-rc1');
SELECT osa_set_live_release('gc', '2.0-rc1');
SELECT * FROM pg_temp.live();
SELECT osa_rollback_release('gc');
SELECT * FROM pg_temp.live();
SELECT osa_rollback_release('gc');
SELECT * FROM pg_temp.live();
SELECT osa_set_live_release('gc', '3');
SELECT osa_rollback_release('gc');
SELECT osa_rollback_release('gc');
SELECT * FROM pg_temp.live();
SELECT osa_rollback_release('gc');
SELECT count(*), count(*) FILTER (WHERE is_current) AS current FROM osa_hook_live WHERE hook = 'gc';

-- defining again replaces
SELECT osa_define_pipeline('default', ARRAY['checksum', 'gc']);
SELECT osa_define_pipeline('empty', '{}', 'reject_run', 'drop');
SELECT osa_define_pipeline('default', ARRAY['gc', 'checksum'], on_rejection => 'reject_run');
SELECT name, hooks, on_rejection, on_record_error, runner FROM osa_pipeline ORDER BY name;

-- a runner's ceilings count for the pipelines that use it
SELECT osa_add_runner('small', 'docker', 'unix:///run/small.sock', 4, max_memory => '600 MiB', max_cpu => 1);
SELECT osa_add_runner('rehearsal', 'noop', NULL);
SELECT name, kind, endpoint, max_in_flight, max_memory, max_cpu, accept_unenforced, enabled FROM osa_runner ORDER BY name;
SELECT osa_add_release('gc', 'localhost/gc:3', limits => '{"memory":"1GiB"}') > 0 AS added;
SELECT osa_define_pipeline('default', ARRAY['gc', 'checksum'], runner => 'small');
SELECT osa_define_pipeline('default', ARRAY['gc', 'checksum'], runner => 'rehearsal');
SELECT osa_add_runner('small', 'docker', 'unix:///run/small.sock', max_memory => '2GiB', accept_unenforced => true, enabled => false);
SELECT name, kind, endpoint, max_in_flight, max_memory, max_cpu, accept_unenforced, enabled FROM osa_runner ORDER BY name;
SELECT osa_define_pipeline('default', ARRAY['gc', 'checksum'], runner => 'small');
SELECT runner FROM osa_pipeline WHERE name = 'default';

-- pause and resume
SELECT paused, stop_running, reason FROM osa_install;
SELECT osa_pause('maintenance of the engine', stop_running => true);
SELECT paused, stop_running, reason FROM osa_install;
SELECT osa_resume(take_over => true);
BEGIN;
SELECT osa_resume();
SELECT paused, stop_running, reason FROM osa_install;
ROLLBACK;

-- a copy resumes only when it is told to take over; all of it in one
-- transaction, so that a worker here never sees the copy
SELECT osa_start_validation('d1', '[{"id":"r1"}]', 'default') > 0 AS started;
CREATE TEMP TABLE before AS SELECT install_id, epoch, launch_id
    FROM osa_install, osa_run_hook WHERE hook_index = 0;
CREATE TEMP VIEW taken AS
    SELECT i.install_id = b.install_id AS same_identity, i.epoch - b.epoch AS epochs, i.paused, i.mismatch, i.node_id,
        i.database_oid = (SELECT oid FROM pg_database WHERE datname = current_database()) AS this_database,
        r.install_id = i.install_id AND d.install_id = i.install_id AS rows_are_ours, d.status, d.claimed_by,
        h.launch_id = b.launch_id AS same_launch
    FROM osa_install i, pg_temp.before b, osa_validation_run r, osa_delivery d, osa_run_hook h WHERE h.hook_index = 0;
BEGIN;
UPDATE osa_install SET paused = true, mismatch = 'fork', reason = 'copied from a template', database_oid = 1, node_id = 'n';
UPDATE osa_delivery SET status = 'claimed', token = gen_random_uuid(), claimed_by = 'the original', claimed_at = now();
SELECT osa_pause('does not hide the reason');
SAVEPOINT copy;
SELECT osa_resume();
ROLLBACK TO copy;
-- a fork: a new identity, and nothing of the original's is adopted
SELECT osa_resume(take_over => true);
SELECT * FROM taken \gx
SELECT * FROM osa_check();
ROLLBACK TO copy;
-- a succession: the same identity, and everything is
UPDATE osa_install SET mismatch = 'succession';
SELECT osa_resume(take_over => true);
SELECT * FROM taken \gx
ROLLBACK;
-- a restored dump: this installation's identity, another's rows
BEGIN;
UPDATE osa_validation_run SET install_id = '00000000-0000-4000-8000-000000000000';
UPDATE osa_delivery SET install_id = '00000000-0000-4000-8000-000000000000';
SELECT osa_maintain() - 'woken' AS nothing_of_ours;
SELECT osa_resume(take_over => true);
SELECT * FROM taken \gx
ROLLBACK;
DROP VIEW taken;
DROP EXTENSION osa_validation;
