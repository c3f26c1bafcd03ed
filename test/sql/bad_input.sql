-- Bad input: each with its own SQLSTATE, what is wrong, and a hint; nothing written.
SET client_min_messages = error;
DROP EXTENSION IF EXISTS osa_validation CASCADE;
BEGIN;
CREATE EXTENSION osa_validation;
SELECT osa_pause('pg_regress');
COMMIT;
CREATE EXTENSION IF NOT EXISTS dblink;
RESET client_min_messages;

-- Settings that only the configuration file can change; seen by a new
-- connection, then by every later one.
CREATE FUNCTION wait_for_setting(name text, value text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    deadline timestamptz := clock_timestamp() + interval '60 s';
    conninfo text := format('host=%s port=%s dbname=%s user=%s', split_part(current_setting('unix_socket_directories'), ',', 1),
        current_setting('port'), current_database(), current_user);
BEGIN
    LOOP
        IF (SELECT setting FROM dblink(conninfo, format('SELECT osa_library_version(), current_setting(%L)', name)) AS t(version text, setting text)) = value THEN
            RETURN true;
        ELSIF clock_timestamp() > deadline THEN
            RETURN false;
        END IF;
        PERFORM pg_sleep(0.01);
    END LOOP;
END $$;
COPY (SELECT) TO PROGRAM 'rm -rf regress_files && mkdir -p regress_files/root/batch/one regress_files/outside && touch regress_files/root/batch/file && ln -s ../outside regress_files/root/link && ln -s one regress_files/root/batch/link';
SELECT current_setting('data_directory') || '/regress_files/root' AS root \gset
ALTER SYSTEM SET osa_validation.files_root = :'root';
ALTER SYSTEM SET osa_validation.max_input_bytes = '1MB';
ALTER SYSTEM SET osa_validation.max_records = 1000;
ALTER SYSTEM SET osa_validation.allowed_images = 'localhost/*, registry.example.org/checks/*:1.*,exact:1';
SELECT pg_reload_conf();
SELECT wait_for_setting('osa_validation.allowed_images', 'localhost/*, registry.example.org/checks/*:1.*,exact:1');
\c -

CREATE FUNCTION refused(command text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    code text;
    message text;
    detail text;
    hint text;
BEGIN
    BEGIN
        EXECUTE command;
    EXCEPTION WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
        RETURN NEXT code || ' ' || message;
        RETURN QUERY SELECT '      ' || detail WHERE detail <> '';
        RETURN NEXT '      ' || CASE WHEN hint <> '' THEN hint ELSE 'NO HINT' END;
        RETURN;
    END;
    RETURN NEXT 'ACCEPTED: ' || command;
END $$;
CREATE FUNCTION refused_records(records text) RETURNS SETOF text LANGUAGE sql
AS $$ SELECT refused(format('SELECT osa_start_validation(%L, %L)', 'd1', records)) $$;
CREATE FUNCTION refused_limits(limits text) RETURNS SETOF text LANGUAGE sql
AS $$ SELECT refused(format('SELECT osa_add_release(%L, %L, limits => %L)', 'checksum', 'localhost/x', limits)) $$;
CREATE FUNCTION refused_image(image text) RETURNS SETOF text LANGUAGE sql
AS $$ SELECT refused(format('SELECT osa_add_release(%L, %L)', 'checksum', image)) $$;
CREATE FUNCTION refused_path(path text) RETURNS SETOF text LANGUAGE sql
AS $$ SELECT refused(format('SELECT osa_attach_file(%L, %L, %L, %L)', 'd1', 'r1', path, 'x')) $$;
CREATE FUNCTION refused_folder(folder text) RETURNS SETOF text LANGUAGE sql
AS $$ SELECT refused_records(jsonb_build_array(jsonb_build_object('id', 'r1', 'files_from', folder))::text) $$;

SELECT osa_register_hook('checksum'), osa_register_hook('idle'), osa_add_release('checksum', 'localhost/checksum:1') > 0;
SELECT osa_define_pipeline('default', ARRAY['checksum']), osa_define_pipeline('waiting', ARRAY['checksum', 'idle']);
\pset format unaligned
\pset tuples_only on

-- the records document
SELECT refused_records('{}');
SELECT refused_records('"r1"');
SELECT refused_records('null');
SELECT refused_records('[]');
SELECT refused_records('[1]');
SELECT refused_records('[{"id":"r1"}, ["r2"]]');
SELECT refused_records('[{"id":"r1"}, {"metadata":{}}]');
SELECT refused_records('[{"id":1}]');
SELECT refused_records('[{"id":"r1"}, {"id":"r2"}, {"id":"r1"}]');
SELECT refused_records('[{"id":""}]');
SELECT refused_records('[{"id":"."}]');
SELECT refused_records('[{"id":".."}]');
SELECT refused_records('[{"id":"a/b"}]');
SELECT refused_records('[{"id":"/"}]');
SELECT refused_records('[{"id":"a\u0000b"}]');
SELECT refused_records('[{"id":"a\nb"}]');
SELECT refused_records('[{"id":"a\u007fb"}]');
SELECT refused_records('[{"id":"a\u0085b"}]');
SELECT refused_records(jsonb_build_array(jsonb_build_object('id', repeat('x', 201)))::text);
SELECT refused_records(jsonb_build_array(jsonb_build_object('id', repeat('é', 101)))::text);
SELECT refused_records('[{"id":"r1","metadata":[]}]');
SELECT refused_records('[{"id":"r1","metadata":null}]');
SELECT refused_records('[{"id":"r1","metadata":"x"}]');
SELECT refused_records('[{"id":"r1","size_hint_mb":"1"}]');
SELECT refused_records('[{"id":"r1","size_hint_mb":-1}]');
SELECT refused_records('[{"id":"r1","size_hint_mb":1e400}]');
SELECT refused_records('[{"id":"r1","files_from":1}]');
SELECT refused_records('[{"id":"r1","meta":{}}]');
SELECT refused_records((SELECT jsonb_agg(jsonb_build_object('id', 'r' || g)) FROM generate_series(1, 1001) g)::text);
SELECT refused_records(jsonb_build_array(jsonb_build_object('id', 'r1', 'metadata', jsonb_build_object('x', repeat('x', 1024 * 1024))))::text);

-- files_from
SELECT refused_folder('/etc');
SELECT refused_folder('../outside');
SELECT refused_folder('batch/../../outside');
SELECT refused_folder('');
SELECT refused_folder('nowhere');
SELECT refused_folder('batch/file');
SELECT refused_folder('link');
SELECT refused_folder('batch/link');
SELECT refused_folder('link/x');

-- attached files
SELECT refused_path('');
SELECT refused_path('/etc/passwd');
SELECT refused_path('../x');
SELECT refused_path('a/../../x');
SELECT refused_path('./x');
SELECT refused_path('a//b');
SELECT refused_path('a/');
SELECT refused_path(E'a\nb');
SELECT refused_path(repeat('x', 256));
SELECT refused_path(repeat('x/', 600) || 'x');
SELECT refused($$SELECT osa_attach_file('d1', '../r1', 'x', 'y')$$);
SELECT refused($$SELECT osa_attach_file('d1', 'r1', 'x', convert_to(repeat('x', 1024 * 1024 + 1), 'UTF8'))$$);
SELECT refused($$SELECT osa_attach_file('d1', NULL, 'x', 'y')$$);
SELECT refused($$SELECT osa_attach_file('d1', 'r1', NULL, 'y')$$);
SELECT refused($$SELECT osa_attach_file('d1', 'r1', 'x', NULL)$$);
-- together too large: each alone would do
BEGIN;
SELECT osa_attach_file('sum', 'r1', 'a', convert_to(repeat('a', 600 * 1024), 'UTF8'));
SELECT osa_attach_file('sum', 'r1', 'b', convert_to(repeat('b', 600 * 1024), 'UTF8'));
SELECT refused($$SELECT osa_start_validation('sum', '[{"id":"r1"}]')$$);
-- a file where a folder is, and the other way round
SELECT osa_attach_file('sum', 'r2', 'a/b', 'x');
SELECT refused($$SELECT osa_attach_file('sum', 'r2', 'a', 'x')$$);
SELECT refused($$SELECT osa_attach_file('sum', 'r2', 'a/b/c', 'x')$$);
ROLLBACK;

-- starting and submitting
SELECT refused($$SELECT osa_start_validation(NULL, '[{"id":"r1"}]')$$);
SELECT refused($$SELECT osa_start_validation('', '[{"id":"r1"}]')$$);
SELECT refused($$SELECT osa_start_validation(E'a\tb', '[{"id":"r1"}]')$$);
SELECT refused($$SELECT osa_start_validation(repeat('x', 501), '[{"id":"r1"}]')$$);
SELECT refused($$SELECT osa_start_validation('never submitted')$$);
SELECT refused($$SELECT osa_start_validation('d1', '[{"id":"r1"}]', 'unknown')$$);
SELECT refused($$SELECT osa_start_validation('d1', '[{"id":"r1"}]', 'Not a name')$$);
SELECT refused($$SELECT osa_start_validation('d1', '[{"id":"r1"}]', 'waiting')$$);
SELECT refused($$SELECT osa_start_validation('d1', '[{"id":"r1"}]', config => '[]')$$);
SELECT refused($$SELECT osa_start_validation('d1', '[{"id":"r1"}]', config => NULL)$$);
SELECT refused($$SELECT osa_start_validation('d1', '[{"id":"r1"}]', config => jsonb_build_object('x', repeat('x', 1024 * 1024)))$$);
SELECT refused($$SELECT osa_start_validation('d1', '[{"id":"r1"}]', priority => NULL)$$);
SELECT refused($$SELECT osa_start_validation('d1', '[{"id":"r1"}]', idempotency_key => '')$$);
SELECT refused($$SELECT osa_start_validation('d1', '[{"id":"r1"}]', expires_in => '0')$$);
SELECT refused($$SELECT osa_start_validation('d1', '[{"id":"r1"}]', expires_in => '-1 h')$$);
SELECT refused($$SELECT osa_start_validation('d1', '[{"id":"r1"}]', traceparent => 'x')$$);
SELECT refused($$SELECT osa_start_validation('d1', '[{"id":"r1"}]', traceparent => '00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01')$$);
SELECT refused($$SELECT osa_start_validation('d1', '[{"id":"r1"}]', traceparent => '00-00000000000000000000000000000000-b7ad6b7169203331-01')$$);
SELECT refused($$SELECT osa_start_validation('d1', '[{"id":"r1"}]', traceparent => 'ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01')$$);
SELECT refused($$SELECT osa_submit_deposition(NULL, '[{"id":"r1"}]')$$);
SELECT refused($$SELECT osa_submit_deposition('d1', NULL)$$);
SELECT refused($$SELECT osa_submit_deposition('d1', '[]')$$);
SELECT refused($$SELECT osa_submit_deposition('d1', '[{"id":"r1"}]', 'unknown')$$);
SELECT refused($$SELECT osa_submit_deposition('d1', '[{"id":"r1"}]', 'waiting')$$);
SELECT refused($$SELECT osa_submit_deposition('d1', '[{"id":"r1"}]', metadata => '[]')$$);
SELECT refused($$SELECT osa_submit_deposition('d1', '[{"id":"r1"}]', metadata => NULL)$$);
SELECT refused(format('SELECT osa_submit_deposition(%L, %L)', 'd1', jsonb_build_array(jsonb_build_object('id', 'r1', 'metadata', jsonb_build_object('x', repeat('x', 1024 * 1024))))));
-- a run under way
BEGIN;
SELECT osa_start_validation('busy', '[{"id":"r1"}]') > 0;
SELECT refused($$SELECT osa_attach_file('busy', 'r1', 'x', 'y')$$);
SELECT osa_submit_deposition('soon busy', '[{"id":"r1"}]') > 0;
SELECT refused($$SELECT osa_attach_file('soon busy', 'r1', 'x', 'y')$$);
-- the same key with other content
SELECT osa_start_validation('keyed', '[{"id":"r1"}]', idempotency_key => 'k') > 0;
SELECT regexp_replace(refused($$SELECT osa_start_validation('keyed', '[{"id":"r2"}]', idempotency_key => 'k')$$), 'run \d+', 'run N');
ROLLBACK;

-- hooks
SELECT refused($$SELECT osa_register_hook(NULL)$$);
SELECT refused($$SELECT osa_register_hook('')$$);
SELECT refused($$SELECT osa_register_hook('1st')$$);
SELECT refused($$SELECT osa_register_hook('Upper')$$);
SELECT refused($$SELECT osa_register_hook(repeat('x', 41))$$);
SELECT refused($$SELECT osa_register_hook('h', NULL)$$);
SELECT refused($$SELECT osa_register_hook('h', '{}', 'one')$$);
SELECT refused($$SELECT osa_register_hook('h', '[{"name":"gc"}]', 'one')$$);
SELECT refused($$SELECT osa_register_hook('h', '[{"name":"gc","type":"money"}]', 'one')$$);
SELECT refused($$SELECT osa_register_hook('h', '[{"name":"gc","type":"float8"},{"name":"gc","type":"int4"}]', 'one')$$);
SELECT refused($$SELECT osa_register_hook('h', '[{"name":"gc","type":"float8"}]')$$);
SELECT refused($$SELECT osa_register_hook('h', cardinality => 'some')$$);
SELECT refused($$SELECT osa_register_hook('h', cardinality => NULL)$$);
SELECT refused($$SELECT osa_register_hook('h', title => repeat('x', 1001))$$);

-- releases
SELECT refused($$SELECT osa_add_release('unknown', 'localhost/x')$$);
SELECT refused($$SELECT osa_add_release(NULL, 'localhost/x')$$);
SELECT refused($$SELECT osa_add_release('checksum', NULL)$$);
SELECT refused($$SELECT osa_add_release('checksum', 'localhost/x', '1')$$);
SELECT refused($$SELECT osa_add_release('checksum', 'localhost/x', '')$$);
SELECT refused($$SELECT osa_add_release('checksum', 'localhost/x', E'1\n2')$$);
SELECT refused($$SELECT osa_add_release('checksum', 'localhost/x', config => '[]')$$);
SELECT refused($$SELECT osa_add_release('checksum', 'localhost/x', config => 'null')$$);
SELECT refused($$SELECT osa_add_release('checksum', 'localhost/x', config => NULL)$$);
SELECT refused($$SELECT osa_add_release('checksum', 'localhost/x', limits => NULL)$$);
SELECT refused($$SELECT osa_add_release('checksum', 'localhost/x', live => NULL)$$);
SELECT refused_image('');
SELECT refused_image('localhost/a b');
SELECT refused_image('localhost/a;reboot');
SELECT refused_image('localhost/a$(reboot)');
SELECT refused_image('localhost/`reboot`');
SELECT refused_image('-v/:/host');
SELECT refused_image('localhost/UPPER');
SELECT refused_image('localhost/a:');
SELECT refused_image('localhost/a@sha256:12');
SELECT refused_image('localhost/' || repeat('x', 600));
SELECT refused_image('docker.io/library/busybox');
SELECT refused_image('registry.example.org/checks/gc:2.0');
SELECT refused_image('exact:11');
SELECT refused_image('registry.example.org/checks/gc:1.0');
SELECT refused_image('exact:1');
SELECT refused_limits('[]');
SELECT refused_limits('{"ram":"1GiB"}');
SELECT refused_limits('{"memory":"1 parsec"}');
SELECT refused_limits('{"memory":"0"}');
SELECT refused_limits('{"memory":"-1GiB"}');
SELECT refused_limits('{"memory":true}');
SELECT refused_limits('{"memory":"5 min"}');
SELECT refused_limits('{"timeout":"1GiB"}');
SELECT refused_limits('{"timeout":0}');
SELECT refused_limits('{"timeout":"-5 min"}');
SELECT refused_limits('{"timeout":"forever"}');
SELECT refused_limits('{"cpu":0}');
SELECT refused_limits('{"cpu":"many"}');
SELECT refused_limits('{"pids":0}');
SELECT refused_limits('{"pids":1.5}');
SELECT refused_limits('{"retries":-1}');
SELECT refused_limits('{"tmpfs":"0"}');
SELECT refused_limits('{"output":"-1"}');
SELECT refused_limits('{"retry_delay":"10 min"}');
SELECT refused_limits('{"memory":"5GiB"}');
SELECT regexp_replace(refused_limits('{"cpu":1000}'), 'ceiling [0-9.]+\.', 'ceiling N.');
SELECT refused($$SELECT osa_set_live_release('checksum', '9')$$);
SELECT refused($$SELECT osa_set_live_release('unknown', '1')$$);
SELECT refused($$SELECT osa_set_live_release('checksum', NULL)$$);
SELECT refused($$SELECT osa_set_live_release(NULL, '1')$$);
SELECT refused($$SELECT osa_rollback_release('idle')$$);
SELECT refused($$SELECT osa_rollback_release('unknown')$$);
SELECT refused($$SELECT osa_rollback_release(NULL)$$);

-- pipelines
SELECT refused($$SELECT osa_define_pipeline(NULL, '{}')$$);
SELECT refused($$SELECT osa_define_pipeline('Bad Name', '{}')$$);
SELECT refused($$SELECT osa_define_pipeline('p', NULL)$$);
SELECT refused($$SELECT osa_define_pipeline('p', ARRAY['checksum', NULL])$$);
SELECT refused($$SELECT osa_define_pipeline('p', ARRAY[['checksum'], ['idle']])$$);
SELECT refused($$SELECT osa_define_pipeline('p', ARRAY['checksum', 'idle', 'checksum'])$$);
SELECT refused($$SELECT osa_define_pipeline('p', ARRAY['checksum', 'unknown'])$$);
SELECT refused($$SELECT osa_define_pipeline('p', '{checksum}', 'skip')$$);
SELECT refused($$SELECT osa_define_pipeline('p', '{checksum}', NULL)$$);
SELECT refused($$SELECT osa_define_pipeline('p', '{checksum}', on_record_error => 'skip')$$);
SELECT refused($$SELECT osa_define_pipeline('p', '{checksum}', runner => 'unknown')$$);
SELECT refused($$SELECT osa_define_pipeline('p', '{checksum}', runner => NULL)$$);
-- above the ceiling of the pipeline's runner, not of the largest
BEGIN;
SELECT osa_add_runner('small', 'docker', NULL, max_memory => '100MiB');
SELECT refused($$SELECT osa_define_pipeline('p', '{checksum}', runner => 'small')$$);
SELECT osa_add_runner('slow', 'docker', NULL, max_cpu => 0.25);
SELECT refused($$SELECT osa_define_pipeline('p', '{checksum}', runner => 'slow')$$);
SELECT osa_add_runner('local', 'docker', NULL, max_memory => '100MiB');
SELECT refused($$SELECT osa_start_validation('d1', '[{"id":"r1"}]')$$);
ROLLBACK;

-- runners
SELECT refused($$SELECT osa_add_runner(NULL, 'noop', NULL)$$);
SELECT refused($$SELECT osa_add_runner('r', NULL, NULL)$$);
SELECT refused($$SELECT osa_add_runner('r', 'kubernetes', NULL)$$);
SELECT refused($$SELECT osa_add_runner('r', 'docker', 'tcp://example.org:2375')$$);
SELECT refused($$SELECT osa_add_runner('r', 'docker', 'unix://relative.sock')$$);
SELECT refused($$SELECT osa_add_runner('r', 'docker', 'unix:///' || repeat('x', 108))$$);
SELECT refused($$SELECT osa_add_runner('r', 'noop', 'unix:///run/x.sock')$$);
SELECT refused($$SELECT osa_add_runner('r', 'noop', NULL, 0)$$);
SELECT refused($$SELECT osa_add_runner('r', 'noop', NULL, max_memory => 'lots')$$);
SELECT refused($$SELECT osa_add_runner('r', 'noop', NULL, max_cpu => 0)$$);
SELECT refused($$SELECT osa_add_runner('r', 'noop', NULL, max_cpu => 'NaN')$$);
SELECT refused($$SELECT osa_add_runner('r', 'noop', NULL, enabled => NULL)$$);
SELECT refused($$SELECT osa_pause(stop_running => NULL)$$);
SELECT refused($$SELECT osa_resume(NULL)$$);
SELECT refused($$SELECT osa_resume(true)$$);

-- what may look bad and is not
BEGIN;
SELECT osa_start_validation('ok', jsonb_build_array(
    '{"id":"..."}'::jsonb, '{"id":".hidden","size_hint_mb":null,"files_from":null}'::jsonb, '{"id":"a b","metadata":{}}'::jsonb,
    jsonb_build_object('id', repeat('é', 100)), '{"id":"-rf"}'::jsonb, '{"id":"r1","files_from":"batch/one","size_hint_mb":0}'::jsonb)) > 0;
SELECT count(*) FROM osa_record;
SELECT * FROM osa_check();
ROLLBACK;

-- nothing was written but what was accepted
SELECT 'hooks ' || (SELECT count(*) FROM osa_hook) || ', releases ' || (SELECT string_agg(image, ' ' ORDER BY id) FROM osa_hook_release)
    || ', pipelines ' || (SELECT count(*) FROM osa_pipeline) || ', runners ' || (SELECT count(*) FROM osa_runner)
    || ', depositions ' || (SELECT count(*) FROM osa_deposition) || ', files ' || (SELECT count(*) FROM osa_file)
    || ', runs ' || (SELECT count(*) FROM osa_validation_run) || ', events ' || (SELECT count(*) FROM osa_event)
    || ', deliveries ' || (SELECT count(*) FROM osa_delivery);

-- without files_root nothing of the server can be read
ALTER SYSTEM RESET osa_validation.files_root;
ALTER SYSTEM RESET osa_validation.max_input_bytes;
ALTER SYSTEM RESET osa_validation.max_records;
ALTER SYSTEM RESET osa_validation.allowed_images;
SELECT pg_reload_conf();
SELECT wait_for_setting('osa_validation.allowed_images', '');
\c -
SELECT refused_folder('batch/one');

COPY (SELECT) TO PROGRAM 'rm -rf regress_files';
DROP FUNCTION refused_records, refused_limits, refused_image, refused_path, refused_folder;
DROP FUNCTION refused;
DROP FUNCTION wait_for_setting;
DROP EXTENSION osa_validation;
