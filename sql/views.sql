-- What anybody may look at: views with the owner's rights over the tables and
-- over the worker's shared memory. They only read, so they work without
-- preload and on a standby too.

-- From here on operators and functions are pg_catalog's, whatever the schema
-- of the extension has: views keep what they were resolved to.
SET LOCAL search_path = pg_catalog, pg_temp;

-- ---- this moment, from shared memory ----
-- A view's functions need EXECUTE of whoever reads the view, so PUBLIC has it
-- (privileges.sql); each function itself asks for SELECT on a view of its.

CREATE FUNCTION @extschema@.osa_worker_now(
    OUT preloaded boolean, OUT enabled boolean, OUT known boolean, OUT pid integer,
    OUT started_at timestamptz, OUT last_turn_at timestamptz, OUT no_free_worker boolean,
    OUT turns bigint, OUT slow_turns bigint, OUT worst_turn_us bigint, OUT claims bigint,
    OUT steps bigint, OUT containers bigint, OUT adopted bigint, OUT errors bigint, OUT leftovers bigint)
LANGUAGE c VOLATILE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'osa_worker_now';
COMMENT ON FUNCTION @extschema@.osa_worker_now() IS
'State of this database''s worker, one row. For whoever may read osa_worker, osa_status or osa_queue. Source: shared memory.';

CREATE FUNCTION @extschema@.osa_flights_now(
    OUT run_id bigint, OUT hook_index integer, OUT attempt integer, OUT hook text, OUT runner text,
    OUT phase text, OUT container_name text, OUT adopted boolean, OUT claimed_at timestamptz,
    OUT started_at timestamptz, OUT progress_bytes bigint)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL SAFE ROWS 20
AS 'MODULE_PATHNAME', 'osa_flights_now';
COMMENT ON FUNCTION @extschema@.osa_flights_now() IS
'Attempts that this database''s worker has in flight. For whoever may read osa_in_flight. Source: shared memory.';

CREATE FUNCTION @extschema@.osa_runners_now(
    OUT name text, OUT kind text, OUT endpoint text, OUT state text, OUT version text,
    OUT last_error text, OUT unenforced text, OUT since timestamptz, OUT in_flight integer)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL SAFE ROWS 3
AS 'MODULE_PATHNAME', 'osa_runners_now';
COMMENT ON FUNCTION @extschema@.osa_runners_now() IS
'Runners as this database''s worker sees them. For whoever may read osa_status or osa_queue. Source: shared memory.';

CREATE VIEW @extschema@.osa_in_flight AS
SELECT f.run_id, f.hook_index, f.hook, f.attempt, f.runner, f.phase, f.container_name, f.adopted,
       f.claimed_at, f.started_at, f.progress_bytes
FROM @extschema@.osa_flights_now() f;
COMMENT ON VIEW @extschema@.osa_in_flight IS
'Attempts in the worker''s hands at this moment. Source: shared memory; empty when no worker runs.';
COMMENT ON COLUMN @extschema@.osa_in_flight.run_id IS 'Run.';
COMMENT ON COLUMN @extschema@.osa_in_flight.hook_index IS 'Step.';
COMMENT ON COLUMN @extschema@.osa_in_flight.hook IS 'Hook.';
COMMENT ON COLUMN @extschema@.osa_in_flight.attempt IS 'Attempt number.';
COMMENT ON COLUMN @extschema@.osa_in_flight.runner IS 'Runner.';
COMMENT ON COLUMN @extschema@.osa_in_flight.phase IS 'What is being done: image, create, put, start, running, collect, ...';
COMMENT ON COLUMN @extschema@.osa_in_flight.container_name IS 'Name of the container; NULL: there is none yet.';
COMMENT ON COLUMN @extschema@.osa_in_flight.adopted IS 'True: the container was found after a restart.';
COMMENT ON COLUMN @extschema@.osa_in_flight.claimed_at IS 'When the worker claimed the step.';
COMMENT ON COLUMN @extschema@.osa_in_flight.started_at IS 'When the container started; NULL: not yet.';
COMMENT ON COLUMN @extschema@.osa_in_flight.progress_bytes IS 'Bytes of progress.jsonl read so far.';

CREATE VIEW @extschema@.osa_worker AS
SELECT w.pid, w.started_at, w.last_turn_at, w.turns, w.slow_turns,
       CASE WHEN w.turns > 0 THEN round(w.slow_turns::numeric / w.turns, 6) END AS slow_share,
       round(w.worst_turn_us / 1000.0, 3) AS worst_turn_ms,
       w.claims, w.steps, w.containers, w.adopted, w.errors, w.leftovers
FROM @extschema@.osa_worker_now() w
WHERE w.known;
COMMENT ON VIEW @extschema@.osa_worker IS
'The worker of this database and its counters. Source: shared memory; no row where there never was one.';
COMMENT ON COLUMN @extschema@.osa_worker.pid IS 'Process id; NULL: none runs now.';
COMMENT ON COLUMN @extschema@.osa_worker.started_at IS 'When it started.';
COMMENT ON COLUMN @extschema@.osa_worker.last_turn_at IS 'When its loop last turned.';
COMMENT ON COLUMN @extschema@.osa_worker.turns IS 'Turns of its loop.';
COMMENT ON COLUMN @extschema@.osa_worker.slow_turns IS 'Turns that took over 100 ms.';
COMMENT ON COLUMN @extschema@.osa_worker.slow_share IS 'slow_turns / turns; NULL: no turn yet.';
COMMENT ON COLUMN @extschema@.osa_worker.worst_turn_ms IS 'The longest turn, in milliseconds.';
COMMENT ON COLUMN @extschema@.osa_worker.claims IS 'Deliveries claimed.';
COMMENT ON COLUMN @extschema@.osa_worker.steps IS 'Steps committed.';
COMMENT ON COLUMN @extschema@.osa_worker.containers IS 'Containers started.';
COMMENT ON COLUMN @extschema@.osa_worker.adopted IS 'Containers adopted.';
COMMENT ON COLUMN @extschema@.osa_worker.errors IS 'Internal errors caught; the server log has them.';
COMMENT ON COLUMN @extschema@.osa_worker.leftovers IS 'Containers removed that no step needed.';

-- ---- runs ----

-- Joins and scalar subqueries by primary key only, so that the view is pulled
-- up: a run, or the last twenty, costs the same with ten million behind them.
CREATE VIEW @extschema@.osa_progress AS
SELECT r.id AS run_id,
       r.deposition,
       r.pipeline,
       r.status,
       r.current_hook_index,
       r.hook_count,
       here.hook AS current_hook,
       (SELECT count(*) FROM @extschema@.osa_record rec WHERE rec.run_id = r.id) AS records_in,
       CASE
           WHEN r.current_hook_index > 0 THEN coalesce(done.records_passed, 0)::bigint
           WHEN r.status = 'completed'
               THEN (SELECT count(*) FROM @extschema@.osa_record rec WHERE rec.run_id = r.id)
           ELSE 0
       END AS records_passed,
       (SELECT coalesce(sum(h.records_rejected), 0)
        FROM @extschema@.osa_run_hook h
        WHERE h.run_id = r.id AND h.hook_index < r.current_hook_index) AS records_rejected,
       (SELECT p.message
        FROM @extschema@.osa_progress_entry p
        WHERE p.run_id = r.id AND p.message IS NOT NULL
        ORDER BY p.id DESC LIMIT 1) AS last_message,
       r.started_at,
       r.finished_at,
       -- The medians of what is left, less what the current step has run. The
       -- history is the last 200 attempts that ended, of any run.
       CASE WHEN r.finished_at IS NULL THEN (
           SELECT CASE WHEN bool_and(past.seconds IS NOT NULL) THEN
                      statement_timestamp() + make_interval(secs => sum(greatest(0, past.seconds
                          - CASE WHEN h.status = 'running' AND h.started_at IS NOT NULL
                                THEN extract(epoch FROM statement_timestamp() - h.started_at)::float8
                                ELSE 0 END)))
                  END
           FROM @extschema@.osa_run_hook h
           LEFT JOIN (
               SELECT s.hook,
                      percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM
                          coalesce(a.finished_at - a.started_at, s.finished_at - s.started_at))::float8) AS seconds
               FROM (SELECT * FROM @extschema@.osa_hook_attempt
                     ORDER BY run_id DESC, hook_index DESC, attempt DESC LIMIT 200) a
               CROSS JOIN LATERAL (
                   SELECT x.hook, x.started_at, x.finished_at FROM @extschema@.osa_run_hook x
                   WHERE x.run_id = a.run_id AND x.hook_index = a.hook_index LIMIT 1) s
               WHERE a.failure_kind IS NULL
               GROUP BY s.hook) past ON past.hook = h.hook
           WHERE h.run_id = r.id AND h.hook_index >= r.current_hook_index)
       END AS eta,
       CASE
           WHEN r.hook_count > 0 THEN round(100.0 * r.current_hook_index / r.hook_count, 1)
           WHEN r.status = 'completed' THEN 100.0
           ELSE 0.0
       END AS percent,
       (SELECT coalesce(sum(h.records_errored), 0)
        FROM @extschema@.osa_run_hook h
        WHERE h.run_id = r.id AND h.hook_index < r.current_hook_index) AS records_errored,
       r.reason,
       r.owner,
       r.round,
       r.created_at
FROM @extschema@.osa_validation_run r
LEFT JOIN @extschema@.osa_run_hook here
    ON here.run_id = r.id
    AND here.hook_index = CASE r.status WHEN 'rejected' THEN r.current_hook_index - 1 ELSE r.current_hook_index END
LEFT JOIN @extschema@.osa_run_hook done
    ON done.run_id = r.id AND done.hook_index = r.current_hook_index - 1;
COMMENT ON VIEW @extschema@.osa_progress IS 'A row a run: how far it is. Made for polling by run_id.';
COMMENT ON COLUMN @extschema@.osa_progress.run_id IS 'Run.';
COMMENT ON COLUMN @extschema@.osa_progress.deposition IS 'Deposition.';
COMMENT ON COLUMN @extschema@.osa_progress.pipeline IS 'Pipeline.';
COMMENT ON COLUMN @extschema@.osa_progress.status IS 'pending, running, completed, rejected, failed or cancelled.';
COMMENT ON COLUMN @extschema@.osa_progress.current_hook_index IS 'Hooks committed so far.';
COMMENT ON COLUMN @extschema@.osa_progress.hook_count IS 'Number of hooks.';
COMMENT ON COLUMN @extschema@.osa_progress.current_hook IS 'The hook that runs or is next, or that ended the run; NULL: completed.';
COMMENT ON COLUMN @extschema@.osa_progress.records_in IS 'Records of the run.';
COMMENT ON COLUMN @extschema@.osa_progress.records_passed IS 'Records that passed every committed hook; 0 before the first.';
COMMENT ON COLUMN @extschema@.osa_progress.records_rejected IS 'Records rejected by a committed hook.';
COMMENT ON COLUMN @extschema@.osa_progress.last_message IS 'The newest message any of its hooks gave.';
COMMENT ON COLUMN @extschema@.osa_progress.started_at IS 'When its first hook was claimed.';
COMMENT ON COLUMN @extschema@.osa_progress.finished_at IS 'When it ended.';
COMMENT ON COLUMN @extschema@.osa_progress.eta IS 'When it will probably end, by each hook''s recent median duration; NULL: ended, or a hook without history.';
COMMENT ON COLUMN @extschema@.osa_progress.percent IS 'Share of its hooks that are committed, in percent.';
COMMENT ON COLUMN @extschema@.osa_progress.records_errored IS 'Records that a committed hook could not judge.';
COMMENT ON COLUMN @extschema@.osa_progress.reason IS 'Why it was rejected, failed or cancelled.';
COMMENT ON COLUMN @extschema@.osa_progress.owner IS 'Role that started it.';
COMMENT ON COLUMN @extschema@.osa_progress.round IS 'From 1, +1 each retry.';
COMMENT ON COLUMN @extschema@.osa_progress.created_at IS 'When it was submitted.';

CREATE VIEW @extschema@.osa_run_timeline AS
SELECT h.run_id, h.hook_index, h.hook, v.version, t.round, t.attempt, t.status,
       t.started_at, t.finished_at, t.finished_at - t.started_at AS duration,
       t.failure_kind, t.message, t.exit_code, t.container_name, t.adopted, t.recorded_at,
       CASE WHEN t.is_result THEN h.records_in END AS records_in,
       CASE WHEN t.is_result THEN h.records_passed END AS records_passed,
       CASE WHEN t.is_result THEN h.records_rejected END AS records_rejected,
       CASE WHEN t.is_result THEN h.records_errored END AS records_errored
FROM @extschema@.osa_run_hook h
LEFT JOIN @extschema@.osa_hook_release v ON v.id = h.release_id
CROSS JOIN LATERAL (
    -- attempts that ended; the newest of an ended step is the step's result
    SELECT e.round, e.attempt,
           CASE
               WHEN e.is_result THEN h.status
               WHEN e.failure_kind IS NULL THEN 'repeated'
               ELSE 'failed'
           END AS status,
           -- without a container (a noop runner, an image refused): the step's times
           coalesce(e.started_at, CASE WHEN e.is_result THEN h.started_at END) AS started_at,
           coalesce(e.finished_at, CASE WHEN e.is_result THEN h.finished_at END) AS finished_at,
           e.failure_kind,
           coalesce(e.message, CASE WHEN e.is_result THEN h.message END) AS message,
           e.exit_code, e.container_name, e.adopted, e.recorded_at, e.is_result
    FROM (
        SELECT a.*,
               h.status IN ('passed', 'rejected', 'failed', 'cancelled') AND a.attempt = h.attempt
               AND row_number() OVER (ORDER BY a.attempt DESC, a.recorded_at DESC) = 1 AS is_result
        FROM @extschema@.osa_hook_attempt a
        WHERE a.run_id = h.run_id AND a.hook_index = h.hook_index) e
    UNION ALL
    -- the step itself, while no attempt has given its result
    SELECT r.round, h.attempt, h.status, h.started_at, h.finished_at, h.failure_kind, h.message,
           NULL, NULL, NULL, NULL, true
    FROM @extschema@.osa_validation_run r
    WHERE r.id = h.run_id
        AND (h.status IN ('pending', 'running', 'skipped')
             OR NOT EXISTS (SELECT FROM @extschema@.osa_hook_attempt a
                            WHERE a.run_id = h.run_id AND a.hook_index = h.hook_index
                                AND a.attempt = h.attempt))) t
ORDER BY h.run_id, h.hook_index, t.attempt, t.recorded_at NULLS LAST;
COMMENT ON VIEW @extschema@.osa_run_timeline IS
'A run''s steps in order, a row an attempt. Made for reading by run_id.';
COMMENT ON COLUMN @extschema@.osa_run_timeline.run_id IS 'Run.';
COMMENT ON COLUMN @extschema@.osa_run_timeline.hook_index IS 'Step.';
COMMENT ON COLUMN @extschema@.osa_run_timeline.hook IS 'Hook.';
COMMENT ON COLUMN @extschema@.osa_run_timeline.version IS 'Version of its release.';
COMMENT ON COLUMN @extschema@.osa_run_timeline.round IS 'Round of the run.';
COMMENT ON COLUMN @extschema@.osa_run_timeline.attempt IS 'Attempt number; a free re-run repeats it.';
COMMENT ON COLUMN @extschema@.osa_run_timeline.status IS
'The step''s status in the row of its result; else failed or repeated, for an attempt that was followed by another.';
COMMENT ON COLUMN @extschema@.osa_run_timeline.started_at IS 'When the container started, or the step became current.';
COMMENT ON COLUMN @extschema@.osa_run_timeline.finished_at IS 'When it ended.';
COMMENT ON COLUMN @extschema@.osa_run_timeline.duration IS 'finished_at - started_at.';
COMMENT ON COLUMN @extschema@.osa_run_timeline.failure_kind IS 'Why it failed or is tried again; NULL: it did not fail.';
COMMENT ON COLUMN @extschema@.osa_run_timeline.message IS 'Why, for people.';
COMMENT ON COLUMN @extschema@.osa_run_timeline.exit_code IS 'Exit code of the container.';
COMMENT ON COLUMN @extschema@.osa_run_timeline.container_name IS 'Name of the container; NULL: there was none, or it has not ended.';
COMMENT ON COLUMN @extschema@.osa_run_timeline.adopted IS 'True: a worker found the container after a restart.';
COMMENT ON COLUMN @extschema@.osa_run_timeline.recorded_at IS 'When the attempt was recorded; NULL: it has not ended.';
COMMENT ON COLUMN @extschema@.osa_run_timeline.records_in IS 'Records given to the hook, in the row of its result.';
COMMENT ON COLUMN @extschema@.osa_run_timeline.records_passed IS 'Records it passed.';
COMMENT ON COLUMN @extschema@.osa_run_timeline.records_rejected IS 'Records it rejected.';
COMMENT ON COLUMN @extschema@.osa_run_timeline.records_errored IS 'Records it could not judge.';

CREATE VIEW @extschema@.osa_failures AS
SELECT r.id AS run_id, 'run'::text AS what, r.deposition, r.pipeline, h.hook_index, h.hook, r.round,
       h.attempt, h.failure_kind, r.reason AS message, a.exit_code, a.log_tail, r.finished_at AS failed_at
FROM @extschema@.osa_validation_run r
LEFT JOIN @extschema@.osa_run_hook h
    ON h.run_id = r.id AND h.hook_index = r.current_hook_index AND h.status = 'failed'
LEFT JOIN LATERAL (
    SELECT x.exit_code, x.log_tail
    FROM @extschema@.osa_hook_attempt x
    WHERE x.run_id = h.run_id AND x.hook_index = h.hook_index AND x.round = r.round
    ORDER BY x.attempt DESC, x.recorded_at DESC LIMIT 1) a ON true
WHERE r.status = 'failed'
UNION ALL
SELECT a.run_id, 'attempt'::text, r.deposition, r.pipeline, a.hook_index, h.hook, a.round,
       a.attempt, a.failure_kind, a.message, a.exit_code, a.log_tail, coalesce(a.finished_at, a.recorded_at)
FROM @extschema@.osa_hook_attempt a
JOIN @extschema@.osa_validation_run r ON r.id = a.run_id
LEFT JOIN @extschema@.osa_run_hook h ON h.run_id = a.run_id AND h.hook_index = a.hook_index
WHERE a.failure_kind IS NOT NULL;
COMMENT ON VIEW @extschema@.osa_failures IS 'Failed runs, and every failed attempt also of runs that went on.';
COMMENT ON COLUMN @extschema@.osa_failures.run_id IS 'Run.';
COMMENT ON COLUMN @extschema@.osa_failures.what IS 'run or attempt: what failed.';
COMMENT ON COLUMN @extschema@.osa_failures.deposition IS 'Deposition.';
COMMENT ON COLUMN @extschema@.osa_failures.pipeline IS 'Pipeline.';
COMMENT ON COLUMN @extschema@.osa_failures.hook_index IS 'Step; NULL: the run failed before its first one.';
COMMENT ON COLUMN @extschema@.osa_failures.hook IS 'Hook.';
COMMENT ON COLUMN @extschema@.osa_failures.round IS 'Round of the run.';
COMMENT ON COLUMN @extschema@.osa_failures.attempt IS 'Attempt number.';
COMMENT ON COLUMN @extschema@.osa_failures.failure_kind IS 'Kind of failure.';
COMMENT ON COLUMN @extschema@.osa_failures.message IS 'Why, for people.';
COMMENT ON COLUMN @extschema@.osa_failures.exit_code IS 'Exit code of the container.';
COMMENT ON COLUMN @extschema@.osa_failures.log_tail IS 'End of what the hook wrote to stdout and stderr.';
COMMENT ON COLUMN @extschema@.osa_failures.failed_at IS 'When.';

-- ---- health ----

CREATE VIEW @extschema@.osa_queue AS
SELECT d.delivery_id, d.run_id, e.deposition, r.pipeline, h.hook_index, h.hook,
       r.runner, d.status, d.priority, d.deliver_after, d.claims,
       CASE
           WHEN d.status = 'failed' THEN 'parked after an internal error'
           WHEN i.install_id IS DISTINCT FROM d.install_id THEN 'belongs to another installation'
           WHEN i.paused THEN 'paused'
           WHEN NOT w.preloaded THEN 'the library is not preloaded'
           WHEN pg_is_in_recovery() THEN 'standby'
           WHEN NOT w.enabled THEN 'osa_validation.enabled is off'
           WHEN w.pid IS NULL THEN 'no worker'
           WHEN d.deliver_after > clock_timestamp() THEN 'not yet due'
           WHEN NOT coalesce(n.enabled, true) THEN 'runner disabled'
           WHEN s.state = 'down' THEN 'runner down'
           ELSE 'waiting for a free place'
       END AS waiting_for,
       d.last_error,
       e.occurred_at AS since
FROM @extschema@.osa_delivery d
CROSS JOIN @extschema@.osa_worker_now() w
LEFT JOIN @extschema@.osa_install i ON true
LEFT JOIN @extschema@.osa_event e ON e.id = d.event_id
LEFT JOIN @extschema@.osa_validation_run r ON r.id = d.run_id
LEFT JOIN @extschema@.osa_run_hook h ON h.run_id = r.id AND h.hook_index = r.current_hook_index
LEFT JOIN @extschema@.osa_runner n ON n.name = r.runner
LEFT JOIN @extschema@.osa_runners_now() s ON s.name = r.runner
WHERE d.status <> 'claimed';
COMMENT ON VIEW @extschema@.osa_queue IS 'Deliveries that wait, and for what. Taken in the order of priority DESC, delivery_id.';
COMMENT ON COLUMN @extschema@.osa_queue.delivery_id IS 'Delivery.';
COMMENT ON COLUMN @extschema@.osa_queue.run_id IS 'Run; NULL: a submitted deposition whose run is not made yet.';
COMMENT ON COLUMN @extschema@.osa_queue.deposition IS 'Deposition.';
COMMENT ON COLUMN @extschema@.osa_queue.pipeline IS 'Pipeline.';
COMMENT ON COLUMN @extschema@.osa_queue.hook_index IS 'Step that is next.';
COMMENT ON COLUMN @extschema@.osa_queue.hook IS 'Hook that is next.';
COMMENT ON COLUMN @extschema@.osa_queue.runner IS 'Runner it waits for.';
COMMENT ON COLUMN @extschema@.osa_queue.status IS 'pending, or failed (parked, tried again later).';
COMMENT ON COLUMN @extschema@.osa_queue.priority IS 'Higher first.';
COMMENT ON COLUMN @extschema@.osa_queue.deliver_after IS 'Not before.';
COMMENT ON COLUMN @extschema@.osa_queue.claims IS 'Times it was claimed.';
COMMENT ON COLUMN @extschema@.osa_queue.waiting_for IS 'Why it waits.';
COMMENT ON COLUMN @extschema@.osa_queue.last_error IS 'Last internal error while handling it.';
COMMENT ON COLUMN @extschema@.osa_queue.since IS 'When the event that is owed happened.';

CREATE VIEW @extschema@.osa_status AS
SELECT w.preloaded, w.pid AS worker_pid, w.started_at AS worker_started_at, w.enabled,
       coalesce(i.paused, false) AS paused, i.reason AS paused_reason, i.mismatch,
       n.runners, q.oldest_pending, q.pending, q.claimed, q.parked, q.foreign_deliveries,
       (SELECT string_agg(a.advice, E'\n' ORDER BY a.rank, a.advice)
        FROM (
            SELECT 1, 'Add osa_validation to shared_preload_libraries and restart the server.'
            WHERE NOT w.preloaded
            UNION ALL
            SELECT 2, 'This is a standby: validations go on after its promotion.'
            WHERE w.preloaded AND pg_is_in_recovery()
            UNION ALL
            SELECT 3, 'Raise max_worker_processes and restart the server: the worker got no free slot.'
            WHERE w.preloaded AND w.no_free_worker
            UNION ALL
            SELECT 4, 'Set osa_validation.enabled to on and reload the configuration.'
            WHERE w.preloaded AND NOT w.enabled
            UNION ALL
            SELECT 5, 'No worker runs in this database; it is started by itself. If not within seconds, see the server log.'
            WHERE w.preloaded AND w.pid IS NULL AND NOT w.no_free_worker AND NOT pg_is_in_recovery()
            UNION ALL
            SELECT 6, CASE i.mismatch
                WHEN 'fork' THEN 'This database is a copy. osa_resume(take_over => true) gives it an identity of its own'
                    ' and runs its open runs here; the original is not touched.'
                ELSE 'This server took the place of another one. Once that one is off for good,'
                    ' osa_resume(take_over => true) goes on with its runs and containers.' END
            WHERE i.mismatch IS NOT NULL
            UNION ALL
            SELECT 7, 'Paused: osa_resume() goes on.'
            WHERE i.paused AND i.mismatch IS NULL
            UNION ALL
            SELECT 8, format('Runner "%s" is down; it goes on by itself once its engine answers at %s.', x.name,
                             coalesce(x.endpoint, 'its socket'))
            FROM jsonb_to_recordset(n.runners) x(name text, state text, endpoint text)
            WHERE x.state = 'down'
            UNION ALL
            SELECT 9, format('The engine of runner "%s" does not enforce: %s.', x.name, x.unenforced)
            FROM jsonb_to_recordset(n.runners) x(name text, unenforced text)
            WHERE x.unenforced IS NOT NULL
            UNION ALL
            SELECT 10, 'Deliveries are parked after internal errors: see osa_queue.last_error and the server log.'
            WHERE q.parked > 0
            UNION ALL
            SELECT 11, 'Open runs belong to another installation, so nothing runs them here:'
                ' osa_resume(take_over => true) takes them over.'
            WHERE q.foreign_deliveries > 0 AND i.mismatch IS NULL) a(rank, advice)) AS advice
FROM @extschema@.osa_worker_now() w
LEFT JOIN @extschema@.osa_install i ON true
CROSS JOIN (
    SELECT jsonb_agg(jsonb_build_object(
               'name', name, 'kind', coalesce(c.kind, s.kind), 'enabled', c.enabled,
               'endpoint', coalesce(s.endpoint, c.endpoint),
               'state', CASE WHEN NOT c.enabled THEN 'disabled' ELSE coalesce(s.state, 'unknown') END,
               'since', s.since, 'version', s.version, 'last_error', s.last_error,
               'unenforced', s.unenforced, 'in_flight', coalesce(s.in_flight, 0),
               'max_in_flight', c.max_in_flight) ORDER BY name) AS runners
    FROM (
        SELECT r.name, r.kind, r.endpoint, r.enabled, r.max_in_flight
        FROM @extschema@.osa_runner r
        UNION ALL
        SELECT 'local', 'docker', NULL, true, NULL
        WHERE NOT EXISTS (SELECT FROM @extschema@.osa_runner r WHERE r.name = 'local')) c
    LEFT JOIN @extschema@.osa_runners_now() s USING (name)) n
CROSS JOIN (
    SELECT min(greatest(d.deliver_after, e.occurred_at)) FILTER (
               WHERE own.install_id IS NOT NULL AND d.status = 'pending'
                   AND d.deliver_after <= clock_timestamp()) AS oldest_pending,
           count(own.install_id) FILTER (WHERE d.status = 'pending') AS pending,
           count(own.install_id) FILTER (WHERE d.status = 'claimed') AS claimed,
           count(own.install_id) FILTER (WHERE d.status = 'failed') AS parked,
           count(*) FILTER (WHERE own.install_id IS NULL) AS foreign_deliveries
    FROM @extschema@.osa_delivery d
    LEFT JOIN @extschema@.osa_install own ON own.install_id = d.install_id
    LEFT JOIN @extschema@.osa_event e ON e.id = d.event_id) q;
COMMENT ON VIEW @extschema@.osa_status IS 'One row of health, and what to do when something is wrong.';
COMMENT ON COLUMN @extschema@.osa_status.preloaded IS 'Whether the library is in shared_preload_libraries; false: nothing is executed.';
COMMENT ON COLUMN @extschema@.osa_status.worker_pid IS 'Process id of this database''s worker; NULL: none runs.';
COMMENT ON COLUMN @extschema@.osa_status.worker_started_at IS 'When it started.';
COMMENT ON COLUMN @extschema@.osa_status.enabled IS 'The setting osa_validation.enabled.';
COMMENT ON COLUMN @extschema@.osa_status.paused IS 'True: nothing is claimed.';
COMMENT ON COLUMN @extschema@.osa_status.paused_reason IS 'Why it is paused.';
COMMENT ON COLUMN @extschema@.osa_status.mismatch IS
'fork or succession: this is a copy, and how osa_resume(take_over => true) would take it over; NULL: it is the original.';
COMMENT ON COLUMN @extschema@.osa_status.runners IS
'Array, an object a runner: name, kind, enabled, endpoint, state (unknown, up, down, disabled), since, version, last_error, unenforced (limits its engine does not enforce), in_flight, max_in_flight.';
COMMENT ON COLUMN @extschema@.osa_status.oldest_pending IS 'Since when the oldest delivery that is due has been waiting.';
COMMENT ON COLUMN @extschema@.osa_status.pending IS 'Deliveries that wait, also for their time.';
COMMENT ON COLUMN @extschema@.osa_status.claimed IS 'Deliveries in the worker''s hands.';
COMMENT ON COLUMN @extschema@.osa_status.parked IS 'Deliveries parked after internal errors.';
COMMENT ON COLUMN @extschema@.osa_status.foreign_deliveries IS 'Deliveries of another installation (restored from its dump): nothing runs them.';
COMMENT ON COLUMN @extschema@.osa_status.advice IS 'What to do, a line each; NULL: all is well.';
