-- Schedules by pg_cron, which is in one database of a server at most. Nothing
-- here depends on it when the extension is created.

-- A helper of the functions below, open to PUBLIC: it only says where pg_cron
-- is missing, and what to run where it is.
CREATE FUNCTION @extschema@.osa_require_cron(remedy text) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    here CONSTANT name := current_database();
    visible CONSTANT boolean := pg_has_role('pg_read_all_settings', 'USAGE');
    cron_database text;
BEGIN
    IF EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_cron') THEN
        IF NOT has_schema_privilege('cron', 'USAGE') THEN
            RAISE EXCEPTION 'permission denied for schema cron'
                USING ERRCODE = 'insufficient_privilege',
                    HINT = format('An administrator can run: GRANT USAGE ON SCHEMA cron TO %I;', current_user);
        END IF;
        RETURN;
    END IF;

    IF visible THEN
        cron_database := current_setting('cron.database_name', true);
    END IF;
    RAISE EXCEPTION 'pg_cron is not installed in database "%"', here
        USING ERRCODE = 'object_not_in_prerequisite_state',
            DETAIL = 'pg_cron is in one database of a server, the one of the setting cron.database_name.',
            HINT = CASE
                WHEN cron_database = here THEN 'Run here: CREATE EXTENSION pg_cron;'
                WHEN cron_database <> '' THEN format('Run in database "%s": %s;', cron_database, remedy)
                WHEN visible THEN format('Add pg_cron to shared_preload_libraries, set cron.database_name to ''%s'','
                    ' restart the server and run here: CREATE EXTENSION pg_cron;', here)
                ELSE format('An administrator can run in the database of cron.database_name: %s;', remedy)
            END;
END
$$;
COMMENT ON FUNCTION @extschema@.osa_require_cron(text) IS
'Raises an error unless pg_cron is in this database and the caller may use it (remedy: what to run in its database instead). Source: pg_extension.';

CREATE FUNCTION @extschema@.osa_schedule_maintenance(schedule text DEFAULT '*/5 * * * *') RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    job CONSTANT text := format('osa_validation:%s:maintenance', current_database());
    command CONSTANT text := 'SELECT @extschema@.osa_maintain()';
BEGIN
    IF schedule IS NULL THEN
        RAISE EXCEPTION 'schedule must not be null' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    PERFORM @extschema@.osa_require_cron(format(
        'SELECT cron.schedule_in_database(%L, %L, %L, %L, username => %L)',
        job, schedule, command, current_database(), current_user));
    RETURN cron.schedule(job, schedule, command);
END
$$;
COMMENT ON FUNCTION @extschema@.osa_schedule_maintenance(text) IS
'Has pg_cron call osa_maintain() on a schedule (cron syntax) as the caller; again: changes it. Returns the job''s id. Source: pg_cron.';

CREATE FUNCTION @extschema@.osa_schedule_validation(
    name text, schedule text, deposition text, pipeline text DEFAULT NULL, config jsonb DEFAULT '{}')
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    job CONSTANT text := format('osa_validation:%s:%s', current_database(), name);
    command CONSTANT text := format(
        'SELECT @extschema@.osa_start_validation(deposition => %L, pipeline => %L, config => %L)',
        deposition, pipeline, config);
    deposition_owner text;
BEGIN
    IF name IS NULL OR schedule IS NULL OR deposition IS NULL OR config IS NULL THEN
        RAISE EXCEPTION 'name, schedule, deposition and config must not be null'
            USING ERRCODE = 'null_value_not_allowed';
    END IF;
    IF name !~ '^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$' OR name = 'maintenance' THEN
        RAISE EXCEPTION 'invalid name of a schedule: "%"', name
            USING ERRCODE = 'invalid_parameter_value',
                HINT = 'Use up to 100 letters, digits, "_", "." and "-"; "maintenance" is taken.';
    END IF;
    IF jsonb_typeof(config) <> 'object' THEN
        RAISE EXCEPTION 'config is not a JSON object'
            USING ERRCODE = 'OS002', HINT = 'Use for example {"min_length": 100}, or {}.';
    END IF;

    SELECT d.owner INTO deposition_owner
    FROM @extschema@.osa_deposition d
    WHERE d.id = osa_schedule_validation.deposition;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'deposition "%" does not exist', deposition
            USING ERRCODE = 'undefined_object', HINT = 'Submit it first, with osa_submit_deposition().';
    ELSIF deposition_owner <> current_user THEN
        RAISE EXCEPTION 'deposition "%" belongs to another role', deposition
            USING ERRCODE = 'insufficient_privilege',
                HINT = 'A schedule runs as the role that made it: let the deposition''s owner make it.';
    END IF;
    IF pipeline IS NOT NULL AND NOT EXISTS (
        SELECT FROM @extschema@.osa_pipeline p WHERE p.name = osa_schedule_validation.pipeline) THEN
        RAISE EXCEPTION 'pipeline "%" does not exist', pipeline
            USING ERRCODE = 'undefined_object', HINT = 'See osa_pipeline for those that are defined.';
    END IF;

    PERFORM @extschema@.osa_require_cron(format(
        'SELECT cron.schedule_in_database(%L, %L, %L, %L, username => %L)',
        job, schedule, command, current_database(), current_user));
    RETURN cron.schedule(job, schedule, command);
END
$$;
COMMENT ON FUNCTION @extschema@.osa_schedule_validation(text, text, text, text, jsonb) IS
'Has pg_cron validate a deposition''s submitted records again on a schedule (name, schedule in cron syntax, deposition, pipeline, config) as the caller; the same name again: changes it. Returns the job''s id. Source: pg_cron.';

CREATE FUNCTION @extschema@.osa_unschedule(name text) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    job CONSTANT text := format('osa_validation:%s:%s', current_database(), name);
    job_id bigint;
BEGIN
    IF name IS NULL THEN
        RAISE EXCEPTION 'name must not be null' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    PERFORM @extschema@.osa_require_cron(format(
        'SELECT cron.unschedule(jobid) FROM cron.job WHERE jobname = %L AND username = %L', job, current_user));
    SELECT j.jobid INTO job_id
    FROM cron.job j
    WHERE j.jobname = job AND j.username = current_user;
    RETURN FOUND AND cron.unschedule(job_id);
END
$$;
COMMENT ON FUNCTION @extschema@.osa_unschedule(text) IS
'Ends a schedule of the caller''s by its name ("maintenance": the one of osa_schedule_maintenance). False: there is none. Source: pg_cron.';
