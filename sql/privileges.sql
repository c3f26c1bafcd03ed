-- Nothing is PUBLIC's, whatever default privileges the installing role has.
-- The last piece of the extension script: it sees every object of ours.
--
-- What an application's role needs, to submit, wait and read (here "app", with
-- the extension in schema "archive"; an administrator runs it once):
--
--   GRANT USAGE ON SCHEMA archive TO app;
--   GRANT EXECUTE ON FUNCTION archive.osa_attach_file, archive.osa_submit_deposition,
--       archive.osa_start_validation, archive.osa_wait_validation,
--       archive.osa_cancel_validation, archive.osa_retry_validation TO app;
--   GRANT SELECT ON archive.osa_deposition, archive.osa_deposition_record,
--       archive.osa_pipeline, archive.osa_hook, archive.osa_validation_run,
--       archive.osa_run_hook, archive.osa_record, archive.osa_outcome,
--       archive.osa_progress_entry, archive.osa_event, archive.osa_progress,
--       archive.osa_run_timeline, archive.osa_queue, archive.osa_in_flight,
--       archive.osa_failures, archive.osa_status TO app;
--
-- To schedule by pg_cron as well, in the database that has it:
--
--   GRANT EXECUTE ON FUNCTION archive.osa_schedule_validation, archive.osa_unschedule TO app;
--   GRANT USAGE ON SCHEMA cron TO app;
--
-- Everything else (hooks, releases and so images, pipelines, runners, pausing,
-- maintenance) is for administrators: grant it to no application.

DO $$
DECLARE
    object record;
BEGIN
    FOR object IN
        SELECT CASE d.classid WHEN 'pg_proc'::regclass THEN 'FUNCTION' ELSE 'TABLE' END AS kind,
               CASE d.classid WHEN 'pg_proc'::regclass THEN d.objid::regprocedure::text
                   ELSE d.objid::regclass::text END AS name
        FROM pg_depend d
        JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'osa_validation'
        WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
            AND d.classid IN ('pg_proc'::regclass, 'pg_class'::regclass)
    LOOP
        EXECUTE format('REVOKE ALL ON %s %s FROM PUBLIC', object.kind, object.name);
    END LOOP;
END
$$;

-- These ask for themselves: the first three stand beneath views and want
-- SELECT on one, the last tells nothing that pg_extension does not.
GRANT EXECUTE ON FUNCTION @extschema@.osa_worker_now(), @extschema@.osa_flights_now(),
    @extschema@.osa_runners_now(), @extschema@.osa_require_cron(text) TO PUBLIC;
