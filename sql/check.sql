-- The saga's invariants, checked against all rows.

CREATE FUNCTION @extschema@.osa_check()
RETURNS TABLE (invariant text, run_id bigint, detail text)
LANGUAGE sql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $check$
WITH run AS (
    SELECT r.*, r.status IN ('pending', 'running') AS is_open,
           EXISTS (SELECT FROM @extschema@.osa_install i WHERE i.install_id = r.install_id) AS is_ours
    FROM @extschema@.osa_validation_run r),
step AS (
    SELECT h.*, h.status IN ('passed', 'rejected') AS is_committed
    FROM @extschema@.osa_run_hook h),
event AS (
    SELECT e.id, e.type, e.run_id, e.round, e.payload, x.hook_index,
           e.type IN ('ValidationCompleted', 'ValidationFailed') AS is_terminal,
           row_number() OVER (PARTITION BY e.run_id ORDER BY e.id DESC) = 1 AS is_newest,
           lag(e.type) OVER of_run AS prev_type,
           lag(e.round) OVER of_run AS prev_round,
           lag(x.hook_index) OVER of_run AS prev_hook_index
    FROM @extschema@.osa_event e
    CROSS JOIN LATERAL (
        SELECT CASE jsonb_typeof(e.payload -> 'hook_index')
                   WHEN 'number' THEN (e.payload ->> 'hook_index')::numeric END AS hook_index) x
    WINDOW of_run AS (PARTITION BY e.run_id ORDER BY e.id)),
-- where the current round began
round_start AS (
    SELECT r.id AS run_id, min(e.hook_index) AS hook_index
    FROM run r
    JOIN event e ON e.run_id = r.id AND e.round = r.round AND e.type = 'RunNextHook'
    GROUP BY r.id),
-- the records that each committed hook was given: all that no earlier one ended
given AS (
    SELECT s.run_id, s.hook_index, rec.record_id
    FROM step s
    JOIN @extschema@.osa_record rec ON rec.run_id = s.run_id
    WHERE s.is_committed AND (rec.status IN ('pending', 'passed') OR rec.hook_index >= s.hook_index)),
counted AS (
    SELECT o.run_id, o.hook_index, count(*) AS n,
           count(*) FILTER (WHERE o.status = 'passed') AS passed,
           count(*) FILTER (WHERE o.status = 'rejected') AS rejected,
           count(*) FILTER (WHERE o.status = 'errored') AS errored
    FROM @extschema@.osa_outcome o
    GROUP BY o.run_id, o.hook_index)

-- Exactly one terminal event in every round that has ended, none in an open one.
SELECT 'one terminal event', r.id,
       format('round %s of %s (%s) has %s', g.round, r.round, r.status, count(e.id))
FROM run r
CROSS JOIN LATERAL generate_series(1, r.round) g(round)
LEFT JOIN event e ON e.run_id = r.id AND e.round = g.round AND e.is_terminal
GROUP BY r.id, r.round, r.status, r.is_open, g.round
HAVING count(e.id) <> CASE WHEN g.round = r.round AND r.is_open THEN 0 ELSE 1 END

-- It says how the run ended; a round before the current one has failed.
UNION ALL
SELECT 'terminal event and status', r.id,
       format('event %s of round %s is %s %s, the run %s', e.id, e.round, e.type, e.payload ->> 'status', r.status)
FROM run r
JOIN event e ON e.run_id = r.id AND e.is_terminal
WHERE (e.type = 'ValidationCompleted') <> (e.round = r.round AND r.status = 'completed')
    OR (e.round = r.round AND NOT r.is_open AND e.payload ->> 'status' <> r.status)

-- A run's events: RunNextHook 0, 1, 2, ..., then the terminal one; a retry adds
-- 1 to the round and begins where the one before ended.
UNION ALL
SELECT 'events in order', e.run_id,
       format('event %s, %s %s of round %s, follows %s %s of round %s', e.id, e.type, e.hook_index, e.round,
              coalesce(e.prev_type, 'nothing'), e.prev_hook_index, e.prev_round)
FROM event e
WHERE e.run_id IS NOT NULL
    AND CASE
            WHEN e.prev_type IS NULL THEN e.round = 1 AND (e.is_terminal OR e.hook_index = 0)
            WHEN e.prev_type <> 'RunNextHook' THEN e.round = e.prev_round + 1 AND e.type = 'RunNextHook'
            ELSE e.round = e.prev_round AND (e.is_terminal OR e.hook_index = e.prev_hook_index + 1)
        END IS NOT TRUE

-- Every event but DepositionSubmitted is of a run, and of one of its rounds.
UNION ALL
SELECT 'events belong to runs', e.run_id, format('event %s is %s of round %s', e.id, e.type, e.round)
FROM event e
LEFT JOIN run r ON r.id = e.run_id
WHERE CASE e.type
          WHEN 'DepositionSubmitted' THEN e.run_id IS NULL
          ELSE e.round BETWEEN 1 AND r.round
      END IS NOT TRUE

-- A run's last RunNextHook is of the hook it stands at, or of the last it did.
UNION ALL
SELECT 'last RunNextHook and index', r.id,
       format('last RunNextHook is %s, index %s, status %s', max(e.hook_index), r.current_hook_index, r.status)
FROM run r
JOIN event e ON e.run_id = r.id AND e.round = r.round AND e.type = 'RunNextHook'
GROUP BY r.id, r.current_hook_index, r.status
HAVING max(e.hook_index) IS DISTINCT FROM
    r.current_hook_index - CASE WHEN r.status IN ('completed', 'rejected') THEN 1 ELSE 0 END

-- Each record given to a committed hook has an outcome of it, and only one.
UNION ALL
SELECT 'one outcome per hook and record', g.run_id,
       format('hook %s gave record "%s" %s', g.hook_index, g.record_id, count(o.record_id))
FROM given g
LEFT JOIN @extschema@.osa_outcome o
    ON o.run_id = g.run_id AND o.hook_index = g.hook_index AND o.record_id = g.record_id
GROUP BY g.run_id, g.hook_index, g.record_id
HAVING count(o.record_id) <> 1

-- No outcome of a record that the hook was not given, nor before its result.
UNION ALL
SELECT 'no outcome too many', o.run_id,
       format('hook %s (%s), record "%s"', o.hook_index, coalesce(s.status, 'none'), o.record_id)
FROM @extschema@.osa_outcome o
LEFT JOIN step s ON s.run_id = o.run_id AND s.hook_index = o.hook_index
LEFT JOIN @extschema@.osa_record rec ON rec.run_id = o.run_id AND rec.record_id = o.record_id
WHERE ((s.is_committed OR s.status = 'failed')
       AND (rec.status IN ('pending', 'passed') OR rec.hook_index >= o.hook_index)) IS NOT TRUE

-- The committed hooks are those below current_hook_index, all hooks are there.
UNION ALL
SELECT 'index equals committed hooks', r.id,
       format('index %s of %s; %s steps, %s committed', r.current_hook_index, r.hook_count, count(s.hook_index),
              count(*) FILTER (WHERE s.is_committed))
FROM run r
LEFT JOIN step s ON s.run_id = r.id
GROUP BY r.id, r.current_hook_index, r.hook_count
HAVING count(s.hook_index) <> r.hook_count
    OR coalesce(max(s.hook_index), -1) <> r.hook_count - 1
    OR bool_or(s.is_committed <> (s.hook_index < r.current_hook_index))

-- At the end: completed n; rejected at hook i: i+1; failed or cancelled at i: i.
UNION ALL
SELECT 'index and status', r.id, format('%s at index %s of %s', r.status, r.current_hook_index, r.hook_count)
FROM run r
WHERE NOT CASE r.status
              WHEN 'completed' THEN r.current_hook_index = r.hook_count
              WHEN 'rejected' THEN r.current_hook_index > 0
              WHEN 'failed' THEN r.current_hook_index < r.hook_count OR r.hook_count = 0
              ELSE r.current_hook_index < r.hook_count
          END

-- Each step's status is what the run's status and index make it.
UNION ALL
SELECT 'steps and status', s.run_id,
       format('step %s is %s, the run %s at index %s', s.hook_index, s.status, coalesce(r.status, 'missing'),
              r.current_hook_index)
FROM step s
LEFT JOIN run r ON r.id = s.run_id
WHERE CASE
          WHEN r.status = 'rejected' AND s.hook_index = r.current_hook_index - 1 THEN s.status = 'rejected'
          WHEN s.hook_index < r.current_hook_index THEN s.status = 'passed'
          WHEN r.status = 'pending' THEN s.status = 'pending'
          WHEN r.status = 'running' AND s.hook_index = r.current_hook_index THEN s.status IN ('pending', 'running')
          WHEN r.status = 'running' THEN s.status = 'pending'
          WHEN s.hook_index = r.current_hook_index AND r.status IN ('failed', 'cancelled') THEN s.status = r.status
          WHEN r.status = 'cancelled' THEN s.status IN ('skipped', 'cancelled')
          ELSE s.status = 'skipped'
      END IS NOT TRUE

-- What has ended has a time of its end, what has not has none.
UNION ALL
SELECT 'end times', r.id, format('the run is %s and finished at %s', r.status, r.finished_at)
FROM run r
WHERE r.is_open <> (r.finished_at IS NULL)
UNION ALL
SELECT 'end times', s.run_id, format('step %s is %s and finished at %s', s.hook_index, s.status, s.finished_at)
FROM step s
WHERE (s.status IN ('passed', 'rejected', 'failed') AND s.finished_at IS NULL)
    OR (s.status IN ('pending', 'running') AND s.finished_at IS NOT NULL)

-- No delivery for a run that has ended or is not there.
UNION ALL
SELECT 'no delivery for an ended run', d.run_id,
       format('delivery %s, the run %s', d.delivery_id, coalesce(r.status, 'missing'))
FROM @extschema@.osa_delivery d
LEFT JOIN run r ON r.id = d.run_id
WHERE d.run_id IS NOT NULL AND r.is_open IS NOT TRUE

-- Exactly one for each open run of this installation.
UNION ALL
SELECT 'one delivery for an open run', r.id, format('%s deliveries', count(d.delivery_id))
FROM run r
LEFT JOIN @extschema@.osa_delivery d ON d.run_id = r.id
WHERE r.is_open AND r.is_ours
GROUP BY r.id
HAVING count(d.delivery_id) <> 1

-- It owes the run's newest event: RunNextHook of the current round and index.
UNION ALL
SELECT 'delivery owes the newest event', r.id,
       format('delivery %s owes event %s (%s %s of round %s); round %s, index %s', d.delivery_id, d.event_id,
              coalesce(e.type, 'missing'), e.hook_index, e.round, r.round, r.current_hook_index)
FROM run r
JOIN @extschema@.osa_delivery d ON d.run_id = r.id
LEFT JOIN event e ON e.id = d.event_id
WHERE r.is_open
    AND (e.run_id = r.id AND e.is_newest AND e.type = 'RunNextHook' AND e.round = r.round
         AND e.hook_index = r.current_hook_index) IS NOT TRUE
UNION ALL
SELECT 'delivery owes the newest event', NULL,
       format('delivery %s without a run owes event %s (%s)', d.delivery_id, d.event_id, coalesce(e.type, 'missing'))
FROM @extschema@.osa_delivery d
LEFT JOIN event e ON e.id = d.event_id
WHERE d.run_id IS NULL AND e.type IS DISTINCT FROM 'DepositionSubmitted'

-- A claimed delivery can be fenced: it has a token and a holder.
UNION ALL
SELECT 'claims have tokens', d.run_id, format('delivery %s', d.delivery_id)
FROM @extschema@.osa_delivery d
WHERE d.status = 'claimed' AND (d.token IS NULL OR d.claimed_by IS NULL OR d.claimed_at IS NULL)

-- Partial outcomes: of the step that an open or failed run stands at only.
UNION ALL
SELECT 'no partial outcomes left', p.run_id,
       format('hook %s, record "%s", the run %s', p.hook_index, p.record_id, coalesce(r.status, 'missing'))
FROM @extschema@.osa_partial_outcome p
LEFT JOIN run r ON r.id = p.run_id
LEFT JOIN @extschema@.osa_record rec ON rec.run_id = p.run_id AND rec.record_id = p.record_id
WHERE ((r.is_open OR r.status = 'failed') AND p.hook_index = r.current_hook_index
       AND rec.status IS NOT NULL) IS NOT TRUE

-- The counts of a committed step are those of its outcomes.
UNION ALL
SELECT 'counts equal outcomes', s.run_id,
       format('step %s says %s = %s + %s + %s, its outcomes %s = %s + %s + %s', s.hook_index, s.records_in,
              s.records_passed, s.records_rejected, s.records_errored, coalesce(c.n, 0), coalesce(c.passed, 0),
              coalesce(c.rejected, 0), coalesce(c.errored, 0))
FROM step s
LEFT JOIN counted c ON c.run_id = s.run_id AND c.hook_index = s.hook_index
WHERE s.is_committed
    AND (s.records_in = coalesce(c.n, 0) AND s.records_passed = coalesce(c.passed, 0)
         AND s.records_rejected = coalesce(c.rejected, 0) AND s.records_errored = coalesce(c.errored, 0)) IS NOT TRUE

-- Every attempt that has ended is recorded: all below the current one, and the
-- current one of a step with a result.
UNION ALL
SELECT 'attempts recorded', s.run_id, format('step %s (%s) has no attempt %s', s.hook_index, s.status, g.attempt)
FROM step s
CROSS JOIN LATERAL generate_series(s.first_attempt,
    s.attempt - CASE WHEN s.is_committed THEN 0 ELSE 1 END) g(attempt)
WHERE NOT EXISTS (
    SELECT FROM @extschema@.osa_hook_attempt a
    WHERE a.run_id = s.run_id AND a.hook_index = s.hook_index AND a.attempt = g.attempt)
UNION ALL
SELECT 'attempts recorded', s.run_id,
       format('step %s passed by attempt %s without a good one of its launch', s.hook_index, s.attempt)
FROM step s
WHERE s.is_committed AND NOT EXISTS (
    SELECT FROM @extschema@.osa_hook_attempt a
    WHERE a.run_id = s.run_id AND a.hook_index = s.hook_index AND a.attempt = s.attempt
        AND a.launch_id = s.launch_id AND a.failure_kind IS NULL)
UNION ALL
SELECT 'attempts recorded', s.run_id, format('step %s failed without an attempt in round %s', s.hook_index, r.round)
FROM step s
JOIN run r ON r.id = s.run_id
WHERE s.status = 'failed' AND NOT EXISTS (
    SELECT FROM @extschema@.osa_hook_attempt a
    WHERE a.run_id = s.run_id AND a.hook_index = s.hook_index AND a.round = r.round)

-- Attempts are numbered on over the rounds, none ahead of its step.
UNION ALL
SELECT 'attempts numbered', a.run_id,
       format('hook %s, attempt %s of round %s; step: attempts %s to %s, round %s', a.hook_index, a.attempt, a.round,
              s.first_attempt, s.attempt, r.round)
FROM @extschema@.osa_hook_attempt a
LEFT JOIN step s ON s.run_id = a.run_id AND s.hook_index = a.hook_index
LEFT JOIN run r ON r.id = a.run_id
LEFT JOIN round_start b ON b.run_id = a.run_id
WHERE (a.attempt BETWEEN 1 AND s.attempt AND a.round BETWEEN 1 AND r.round
       AND CASE
               WHEN a.hook_index >= b.hook_index THEN (a.round = r.round) = (a.attempt >= s.first_attempt)
               ELSE a.round < r.round
           END) IS NOT TRUE

-- A record that left has the outcome that made it leave; one that passed went
-- through all hooks; none is pending in a completed run.
UNION ALL
SELECT 'records and outcomes', rec.run_id,
       format('record "%s" is %s by hook %s, the run %s', rec.record_id, rec.status, rec.hook_index,
              coalesce(r.status, 'missing'))
FROM @extschema@.osa_record rec
LEFT JOIN run r ON r.id = rec.run_id
WHERE CASE rec.status
          WHEN 'pending' THEN r.status <> 'completed'
          WHEN 'passed' THEN r.current_hook_index = r.hook_count
          ELSE EXISTS (
              SELECT FROM @extschema@.osa_outcome o
              WHERE o.run_id = rec.run_id AND o.hook_index = rec.hook_index AND o.record_id = rec.record_id
                  AND o.status = rec.status)
      END IS NOT TRUE
UNION ALL
SELECT 'records and outcomes', o.run_id,
       format('hook %s: %s, but record "%s" is %s by hook %s', o.hook_index, o.status, o.record_id,
              coalesce(rec.status, 'missing'), rec.hook_index)
FROM @extschema@.osa_outcome o
JOIN step s ON s.run_id = o.run_id AND s.hook_index = o.hook_index AND s.is_committed
LEFT JOIN @extschema@.osa_record rec ON rec.run_id = o.run_id AND rec.record_id = o.record_id
WHERE o.status <> 'passed'
    AND (rec.status = o.status AND rec.hook_index = o.hook_index) IS NOT TRUE

-- A run and its delivery are of one installation, and there is one here.
UNION ALL
SELECT 'one installation', d.run_id, format('delivery %s is of another installation than its run', d.delivery_id)
FROM @extschema@.osa_delivery d
JOIN run r ON r.id = d.run_id
WHERE d.install_id <> r.install_id
UNION ALL
SELECT 'one installation', NULL, format('osa_install has %s rows', count(*))
FROM @extschema@.osa_install
HAVING count(*) <> 1
$check$;
COMMENT ON FUNCTION @extschema@.osa_check() IS
'A row for every broken invariant of the saga: which, the run, and what is wrong (invariant, run_id, detail). Empty: all is sound. Reads all rows, in one snapshot. Source: all tables.';
