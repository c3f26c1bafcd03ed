-- Submitting and starting: what is written, and that it is the caller's transaction.
SET client_min_messages = error;
DROP EXTENSION IF EXISTS osa_validation CASCADE;
BEGIN;
CREATE EXTENSION osa_validation;
SELECT osa_pause('pg_regress');
COMMIT;
RESET client_min_messages;

SELECT osa_register_hook('checksum'), osa_register_hook('gc', '[{"name":"gc","type":"float8"}]', 'one');
SELECT osa_add_release('checksum', 'localhost/checksum:1') > 0, osa_add_release('gc', 'localhost/gc:1') > 0;
SELECT osa_define_pipeline('default', ARRAY['checksum', 'gc'], 'reject_run', 'drop');
SELECT osa_define_pipeline('empty', '{}');

-- files may come before the records
SELECT osa_attach_file('d1', 'r1', 'reads/a.fastq', 'ACGT');
SELECT osa_attach_file('d1', 'r1', 'reads/b.fastq', 'TTTT');
SELECT osa_attach_file('d1', 'r1', 'reads/b.fastq', 'ACGT');
SELECT osa_attach_file('d1', 'other', 'x', '');
SELECT record_id, metadata, files FROM osa_deposition_record ORDER BY 1;
SELECT hash, size_bytes, convert_from(content, 'UTF8') AS content FROM osa_file ORDER BY size_bytes, hash;
SELECT osa_start_validation('d1');

-- a run and all that it will need, in one transaction
SELECT osa_start_validation('d1', '[{"id":"r2","metadata":{"n": 2},"size_hint_mb":1.5}, {"id":"r1"}]', config => '{"gc":{"min":0.3}}',
    priority => 7, expires_in => '1 hour', traceparent => '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01') AS run \gset
SELECT deposition, pipeline, on_rejection, on_record_error, runner, status, current_hook_index, hook_count, round, priority, config,
    owner = current_user AS own, expires_at - created_at BETWEEN '59 min' AND '61 min' AS expires, started_at, finished_at, traceparent,
    install_id = (SELECT install_id FROM osa_install) AS ours
    FROM osa_validation_run WHERE id = :run;
SELECT hook_index, h.hook, version, h.columns, h.cardinality, h.status, attempt, first_attempt, free_reruns, strikes
    FROM osa_run_hook h JOIN osa_hook_release r ON r.id = h.release_id WHERE run_id = :run ORDER BY 1;
SELECT record_id, ordinal, metadata, size_hint_mb, files, status, hook_index, length(content_hash) AS hash
    FROM osa_record WHERE run_id = :run ORDER BY ordinal;
SELECT type, round, deposition, payload, traceparent IS NOT NULL AS traced FROM osa_event WHERE run_id = :run;
SELECT e.type, d.status, d.claims, d.priority, d.token, d.deliver_after <= now() AS due
    FROM osa_delivery d JOIN osa_event e ON e.id = d.event_id WHERE d.run_id = :run;
-- files of records that were not submitted again are gone from the deposition
SELECT record_id, ordinal, metadata, files FROM osa_deposition_record ORDER BY 1;
SELECT * FROM osa_check();

-- later changes reach later runs only
SELECT osa_register_hook('gc', '[{"name":"other","type":"text"}]', 'many'), osa_add_release('gc', 'localhost/gc:2') > 0,
    osa_define_pipeline('default', ARRAY['gc']);
SELECT osa_start_validation('d1', '[{"id":"r1","metadata":{"n":1}}]') AS later \gset
SELECT run_id = :run AS first, hook_index, h.hook, version, h.columns, h.cardinality
    FROM osa_run_hook h JOIN osa_hook_release r ON r.id = h.release_id ORDER BY run_id, hook_index;
SELECT run_id = :run AS first, record_id, metadata FROM osa_record ORDER BY run_id, ordinal;
-- the submitted records again; equal contents have equal hashes
SELECT osa_start_validation('d1') AS again \gset
SELECT a.record_id, a.metadata, a.content_hash = b.content_hash AS same_content
    FROM osa_record a JOIN osa_record b USING (record_id) WHERE a.run_id = :again AND b.run_id = :later;

-- no hooks: completed at once, no delivery
SELECT osa_start_validation('d2', '[{"id":"r1"}]', pipeline => 'empty') AS run \gset
SELECT status, current_hook_index, hook_count, started_at IS NOT NULL AND finished_at IS NOT NULL AS times FROM osa_validation_run WHERE id = :run;
SELECT type, round, payload FROM osa_event WHERE run_id = :run;
SELECT count(*) FROM osa_delivery WHERE run_id = :run;
SELECT record_id, status, hook_index FROM osa_record WHERE run_id = :run;
SELECT osa_wait_validation(:run);
SELECT * FROM osa_check();

-- a submission is an event with a delivery that has no run yet
SELECT osa_submit_deposition('d3', '[{"id":"r1"}]', metadata => '{"title":"t"}') AS event \gset
SELECT e.type, e.run_id, e.round, e.deposition, e.payload = jsonb_build_object('pipeline', 'default', 'owner', current_user) AS payload,
    d.status, d.run_id AS delivery_run, d.install_id = e.install_id AS ours
    FROM osa_event e JOIN osa_delivery d ON d.event_id = e.id WHERE e.id = :event;
SELECT metadata, owner = current_user AS own FROM osa_deposition WHERE id = 'd3';
SELECT count(*) FROM osa_validation_run WHERE deposition = 'd3';
SELECT osa_attach_file('d3', 'r1', 'x', 'y');
SELECT * FROM osa_check();

-- the caller's ROLLBACK and SAVEPOINT decide
SELECT count(*) AS runs FROM osa_validation_run;
BEGIN;
SELECT osa_start_validation('d4', '[{"id":"r1"}]') > 0 AS started;
ROLLBACK;
BEGIN;
SAVEPOINT s;
SELECT osa_start_validation('d4', '[{"id":"r1"}]') > 0 AS started;
ROLLBACK TO s;
COMMIT;
SELECT count(*) AS runs FROM osa_validation_run;
SELECT count(*) FROM osa_deposition WHERE id = 'd4';

-- from a trigger, and from a function that sets its own search_path
CREATE TABLE inbox (id text, run bigint);
CREATE FUNCTION start_it() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_temp AS $$
BEGIN
    NEW.run := public.osa_start_validation('inbox-' || NEW.id, '[{"id":"r1"}]');
    RETURN NEW;
END $$;
CREATE TRIGGER start_it BEFORE INSERT ON inbox FOR EACH ROW EXECUTE FUNCTION start_it();
INSERT INTO inbox VALUES ('a'), ('b');
SELECT i.id, r.deposition, r.status FROM inbox i JOIN osa_validation_run r ON r.id = i.run ORDER BY 1;
DROP TABLE inbox;
DROP FUNCTION start_it;

-- a thousand records keep their order and number
SELECT osa_start_validation('big', (SELECT jsonb_agg(jsonb_build_object('id', 'r' || g) ORDER BY g) FROM generate_series(1000, 1, -1) g)) AS run \gset
SELECT count(*), min(ordinal), max(ordinal), bool_and(record_id = 'r' || ordinal + 1) AS in_order FROM osa_record WHERE run_id = :run;
SELECT * FROM osa_check();
DROP EXTENSION osa_validation;
