-- Functions that administrators and applications call.  They run as the
-- caller, note who that is, and act with the rights of the extension's owner,
-- with search_path pinned in C.

-- Administrators.

CREATE FUNCTION @extschema@.osa_register_hook(name text, columns jsonb DEFAULT '[]', cardinality text DEFAULT 'none',
    title text DEFAULT NULL) RETURNS text
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'osa_register_hook';
COMMENT ON FUNCTION @extschema@.osa_register_hook(text, jsonb, text, text) IS
'Registers a hook, or changes it for runs that start later. columns: the features it gives, [{"name", "type", "unit", "nullable"}, ...]; cardinality: features a record, none, one (0 or 1) or many. Returns the name.';

CREATE FUNCTION @extschema@.osa_add_release(hook text, image text, version text DEFAULT NULL, config jsonb DEFAULT '{}',
    limits jsonb DEFAULT '{}', live boolean DEFAULT true, source_ref text DEFAULT NULL, built_by text DEFAULT NULL) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'osa_add_release';
COMMENT ON FUNCTION @extschema@.osa_add_release(text, text, text, jsonb, jsonb, boolean, text, text) IS
'Adds an immutable release of a hook, live at once unless told otherwise. version NULL: the next number. limits: timeout, memory, cpu, pids, tmpfs, output, retries, retry_delay, retry_delay_max; sizes as "1GiB", times as "5 min" or seconds. Returns the release''s id.';

CREATE FUNCTION @extschema@.osa_set_live_release(hook text, version text) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'osa_set_live_release';
COMMENT ON FUNCTION @extschema@.osa_set_live_release(text, text) IS
'Makes a release the one that runs started from now on use.';

CREATE FUNCTION @extschema@.osa_rollback_release(hook text) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'osa_rollback_release';
COMMENT ON FUNCTION @extschema@.osa_rollback_release(text) IS
'Makes the release live again that was live before the current one; called again, one further back.';

CREATE FUNCTION @extschema@.osa_define_pipeline(name text, hooks text[], on_rejection text DEFAULT 'drop',
    on_record_error text DEFAULT 'fail_run', runner text DEFAULT 'local') RETURNS text
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'osa_define_pipeline';
COMMENT ON FUNCTION @extschema@.osa_define_pipeline(text, text[], text, text, text) IS
'Defines a pipeline, or replaces it for runs that start later. on_rejection: drop the record, or reject_run; on_record_error: fail_run, or drop the record. Returns the name.';

CREATE FUNCTION @extschema@.osa_add_runner(name text, kind text, endpoint text, max_in_flight integer DEFAULT NULL,
    max_memory text DEFAULT NULL, max_cpu numeric DEFAULT NULL, accept_unenforced boolean DEFAULT false,
    enabled boolean DEFAULT true) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'osa_add_runner';
COMMENT ON FUNCTION @extschema@.osa_add_runner(text, text, text, integer, text, numeric, boolean, boolean) IS
'Adds a runner, or changes it: every argument is set anew. kind: docker (endpoint unix:///path, NULL: osa_validation.engine_socket) or noop (no endpoint). max_memory and max_cpu: ceilings of one hook.';

CREATE FUNCTION @extschema@.osa_pause(reason text DEFAULT NULL, stop_running boolean DEFAULT false) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'osa_pause';
COMMENT ON FUNCTION @extschema@.osa_pause(text, boolean) IS
'Pauses this database: nothing new is claimed. stop_running: running containers are stopped too, and their steps run again after osa_resume().';

CREATE FUNCTION @extschema@.osa_resume(take_over boolean DEFAULT false) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'osa_resume';
COMMENT ON FUNCTION @extschema@.osa_resume(boolean) IS
'Ends a pause. take_over: this database is a copy, and is to run the open validations it came with.';

CREATE FUNCTION @extschema@.osa_maintain() RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'osa_maintain';
COMMENT ON FUNCTION @extschema@.osa_maintain() IS
'Upkeep, to be called every few minutes: ends expired runs, makes missing deliveries again, prunes old progress entries, wakes the worker. Returns counts: expired, requeued, progress_pruned, woken.';

-- Applications.

CREATE FUNCTION @extschema@.osa_attach_file(deposition text, record text, path text, content bytea) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'osa_attach_file';
COMMENT ON FUNCTION @extschema@.osa_attach_file(text, text, text, bytea) IS
'Attaches a file to a record of a deposition, before or after the record is submitted; hooks find it as /osa/files/<record>/<path>. The same path again replaces it.';

CREATE FUNCTION @extschema@.osa_submit_deposition(deposition text, records jsonb, pipeline text DEFAULT 'default',
    metadata jsonb DEFAULT '{}') RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'osa_submit_deposition';
COMMENT ON FUNCTION @extschema@.osa_submit_deposition(text, jsonb, text, jsonb) IS
'Submits a deposition''s records; the worker then starts a validation run of them. Returns the id of the DepositionSubmitted event.';

CREATE FUNCTION @extschema@.osa_start_validation(deposition text, records jsonb DEFAULT NULL, pipeline text DEFAULT NULL,
    config jsonb DEFAULT '{}', priority integer DEFAULT 0, idempotency_key text DEFAULT NULL,
    expires_in interval DEFAULT NULL, traceparent text DEFAULT NULL) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'osa_start_validation';
COMMENT ON FUNCTION @extschema@.osa_start_validation(text, jsonb, text, jsonb, integer, text, interval, text) IS
'Starts a validation run and returns its id; it begins when the caller commits. records: [{"id", "metadata", "size_hint_mb", "files_from"}, ...], NULL: those submitted. pipeline NULL: default. The same idempotency_key with the same content returns the first run.';

CREATE FUNCTION @extschema@.osa_cancel_validation(run bigint, reason text DEFAULT NULL) RETURNS boolean
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'osa_cancel_validation';
COMMENT ON FUNCTION @extschema@.osa_cancel_validation(bigint, text) IS
'Cancels a run in the caller''s transaction; its container is removed afterwards. False: the run had already ended.';

CREATE FUNCTION @extschema@.osa_retry_validation(run bigint, use_live boolean DEFAULT false) RETURNS boolean
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'osa_retry_validation';
COMMENT ON FUNCTION @extschema@.osa_retry_validation(bigint, boolean) IS
'Starts a new round of a failed or cancelled run, from the hook that failed. use_live: with the releases that are live now. False: the run is neither failed nor cancelled.';

CREATE FUNCTION @extschema@.osa_wait_validation(run bigint, timeout interval DEFAULT '5 min') RETURNS text
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'osa_wait_validation';
COMMENT ON FUNCTION @extschema@.osa_wait_validation(bigint, interval) IS
'Waits until a run has ended, and returns its status; at the timeout, its status as it is then. Not in the transaction that started the run, nor under REPEATABLE READ. While it waits, its transaction stays open.';
