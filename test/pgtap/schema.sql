-- Tables and views with their columns and types, keys, checks, and the
-- functions whose signatures other people's code relies on.
\ir begin.psql
SELECT plan(41);

-- name type, ... in order; "!": not null
CREATE FUNCTION pg_temp.columns_of(relation name) RETURNS text LANGUAGE sql AS $$
SELECT replace(string_agg(format('%s %s%s', a.attname, format_type(a.atttypid, a.atttypmod),
                                 CASE WHEN a.attnotnull THEN '!' END), ', ' ORDER BY a.attnum),
               'timestamp with time zone', 'timestamptz')
FROM our_relation r
JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE r.relname = relation
$$;

SELECT set_eq(
    $$SELECT relname FROM our_relation WHERE relkind = 'r'$$,
    ARRAY['osa_delivery', 'osa_deposition', 'osa_deposition_record', 'osa_event', 'osa_file',
        'osa_hook', 'osa_hook_attempt', 'osa_hook_live', 'osa_hook_release', 'osa_install',
        'osa_outcome', 'osa_partial_outcome', 'osa_pipeline', 'osa_progress_entry', 'osa_record',
        'osa_run_hook', 'osa_runner', 'osa_validation_run'],
    'the tables');
SELECT set_eq(
    $$SELECT relname FROM our_relation WHERE relkind = 'v'$$,
    ARRAY['osa_failures', 'osa_in_flight', 'osa_progress', 'osa_queue', 'osa_run_timeline', 'osa_status', 'osa_worker'],
    'the views');
SELECT is(pg_temp.columns_of('osa_delivery'),
     'delivery_id bigint!, install_id uuid!, event_id bigint!, run_id bigint, status text!, claims integer!, '
     'priority integer!, deliver_after timestamptz!, token uuid, claimed_by text, claimed_at timestamptz, '
     'last_error text',
    'osa_delivery');
SELECT is(pg_temp.columns_of('osa_deposition'),
     'id text!, metadata jsonb!, owner text!, created_at timestamptz!',
    'osa_deposition');
SELECT is(pg_temp.columns_of('osa_deposition_record'),
     'deposition text!, record_id text!, ordinal integer!, metadata jsonb, size_hint_mb numeric, files_from '
     'text, files jsonb!',
    'osa_deposition_record');
SELECT is(pg_temp.columns_of('osa_event'),
     'id bigint!, install_id uuid!, type text!, run_id bigint, round integer, deposition text!, payload '
     'jsonb!, xact_id xid8!, occurred_at timestamptz!, traceparent text',
    'osa_event');
SELECT is(pg_temp.columns_of('osa_file'),
     'hash text!, size_bytes bigint!, content bytea!, created_at timestamptz!',
    'osa_file');
SELECT is(pg_temp.columns_of('osa_hook'),
     'name text!, title text, columns jsonb!, cardinality text!, created_at timestamptz!',
    'osa_hook');
SELECT is(pg_temp.columns_of('osa_hook_attempt'),
     'run_id bigint!, hook_index integer!, round integer!, attempt integer!, launch_id uuid!, runner text!, '
     'container_name text, container_id text, image_id text, started_at timestamptz, finished_at timestamptz, '
     'exit_code integer, oom boolean, memory bigint, failure_kind text, message text, log_tail text, adopted '
     'boolean!, config jsonb, recorded_at timestamptz!',
    'osa_hook_attempt');
SELECT is(pg_temp.columns_of('osa_hook_live'),
     'id bigint!, hook text!, release_id bigint!, previous_id bigint, is_current boolean!, set_by text!, '
     'set_at timestamptz!',
    'osa_hook_live');
SELECT is(pg_temp.columns_of('osa_hook_release'),
     'id bigint!, hook text!, version text!, image text!, image_id text, config jsonb!, limits jsonb!, '
     'source_ref text, built_by text, created_at timestamptz!',
    'osa_hook_release');
SELECT is(pg_temp.columns_of('osa_install'),
     'singleton boolean!, install_id uuid!, node_id text, node_mark text, database_oid oid, timeline integer, '
     'epoch integer!, paused boolean!, stop_running boolean!, mismatch text, reason text, changed_at '
     'timestamptz!',
    'osa_install');
SELECT is(pg_temp.columns_of('osa_outcome'),
     'run_id bigint!, hook_index integer!, record_id text!, status text!, features jsonb, reason text, error '
     'text, retryable boolean',
    'osa_outcome');
SELECT is(pg_temp.columns_of('osa_partial_outcome'),
     'run_id bigint!, hook_index integer!, record_id text!, status text!, features jsonb, reason text, error '
     'text, retryable boolean',
    'osa_partial_outcome');
SELECT is(pg_temp.columns_of('osa_pipeline'),
     'name text!, hooks text[]!, on_rejection text!, on_record_error text!, runner text!, changed_at '
     'timestamptz!',
    'osa_pipeline');
SELECT is(pg_temp.columns_of('osa_progress_entry'),
     'id bigint!, run_id bigint!, hook_index integer!, record_id text, step text, status text!, message text, '
     'created_at timestamptz!',
    'osa_progress_entry');
SELECT is(pg_temp.columns_of('osa_record'),
     'run_id bigint!, record_id text!, ordinal integer!, metadata jsonb!, size_hint_mb numeric, files_from '
     'text, files jsonb!, content_hash text!, status text!, hook_index integer',
    'osa_record');
SELECT is(pg_temp.columns_of('osa_run_hook'),
     'run_id bigint!, hook_index integer!, hook text!, release_id bigint!, columns jsonb!, cardinality text!, '
     'status text!, attempt integer!, first_attempt integer!, launch_id uuid!, memory bigint, free_reruns '
     'integer!, strikes integer!, records_in integer, records_passed integer, records_rejected integer, '
     'records_errored integer, started_at timestamptz, finished_at timestamptz, failure_kind text, message '
     'text',
    'osa_run_hook');
SELECT is(pg_temp.columns_of('osa_runner'),
     'name text!, kind text!, endpoint text, max_in_flight integer, max_memory bigint, max_cpu numeric, '
     'accept_unenforced boolean!, enabled boolean!, created_at timestamptz!',
    'osa_runner');
SELECT is(pg_temp.columns_of('osa_validation_run'),
     'id bigint!, install_id uuid!, deposition text!, pipeline text!, on_rejection text!, on_record_error '
     'text!, runner text!, status text!, current_hook_index integer!, hook_count integer!, round integer!, '
     'priority integer!, config jsonb!, idempotency_key text, content_hash text, owner text!, created_at '
     'timestamptz!, started_at timestamptz, finished_at timestamptz, expires_at timestamptz, reason text, '
     'traceparent text',
    'osa_validation_run');
SELECT is(pg_temp.columns_of('osa_failures'),
     'run_id bigint, what text, deposition text, pipeline text, hook_index integer, hook text, round integer, '
     'attempt integer, failure_kind text, message text, exit_code integer, log_tail text, failed_at '
     'timestamptz',
    'osa_failures');
SELECT is(pg_temp.columns_of('osa_in_flight'),
     'run_id bigint, hook_index integer, hook text, attempt integer, runner text, phase text, container_name '
     'text, adopted boolean, claimed_at timestamptz, started_at timestamptz, progress_bytes bigint',
    'osa_in_flight');
SELECT is(pg_temp.columns_of('osa_progress'),
     'run_id bigint, deposition text, pipeline text, status text, current_hook_index integer, hook_count '
     'integer, current_hook text, records_in bigint, records_passed bigint, records_rejected bigint, '
     'last_message text, started_at timestamptz, finished_at timestamptz, eta timestamptz, percent numeric, '
     'records_errored bigint, reason text, owner text, round integer, created_at timestamptz',
    'osa_progress');
SELECT is(pg_temp.columns_of('osa_queue'),
     'delivery_id bigint, run_id bigint, deposition text, pipeline text, hook_index integer, hook text, runner '
     'text, status text, priority integer, deliver_after timestamptz, claims integer, waiting_for text, '
     'last_error text, since timestamptz',
    'osa_queue');
SELECT is(pg_temp.columns_of('osa_run_timeline'),
     'run_id bigint, hook_index integer, hook text, version text, round integer, attempt integer, status text, '
     'started_at timestamptz, finished_at timestamptz, duration interval, failure_kind text, message text, '
     'exit_code integer, container_name text, adopted boolean, recorded_at timestamptz, records_in integer, '
     'records_passed integer, records_rejected integer, records_errored integer',
    'osa_run_timeline');
SELECT is(pg_temp.columns_of('osa_status'),
     'preloaded boolean, worker_pid integer, worker_started_at timestamptz, enabled boolean, paused boolean, '
     'paused_reason text, mismatch text, runners jsonb, oldest_pending timestamptz, pending bigint, claimed '
     'bigint, parked bigint, foreign_deliveries bigint, advice text',
    'osa_status');
SELECT is(pg_temp.columns_of('osa_worker'),
     'pid integer, started_at timestamptz, last_turn_at timestamptz, turns bigint, slow_turns bigint, '
     'slow_share numeric, worst_turn_ms numeric, claims bigint, steps bigint, containers bigint, adopted '
     'bigint, errors bigint, leftovers bigint',
    'osa_worker');

-- keys and other unique indexes
SELECT results_eq(
    $$SELECT format('%s %s', r.relname, substring(pg_get_indexdef(i.indexrelid) FROM '\(.*$'))
      FROM our_relation r JOIN pg_index i ON i.indrelid = r.oid
      WHERE i.indisunique AND r.relkind = 'r' ORDER BY 1$$,
    $$VALUES
      ('osa_delivery (delivery_id)'),
      ('osa_delivery (run_id)'),
      ('osa_deposition (id)'),
      ('osa_deposition_record (deposition, record_id)'),
      ('osa_event (id)'),
      ('osa_event (run_id, round) WHERE (type = ANY (ARRAY[''ValidationCompleted''::text, ''ValidationFailed''::text]))'),
      ('osa_file (hash)'),
      ('osa_hook (name)'),
      ('osa_hook_live (hook) WHERE is_current'),
      ('osa_hook_live (id)'),
      ('osa_hook_release (hook, version)'),
      ('osa_hook_release (id)'),
      ('osa_install (singleton)'),
      ('osa_outcome (run_id, hook_index, record_id)'),
      ('osa_partial_outcome (run_id, hook_index, record_id)'),
      ('osa_pipeline (name)'),
      ('osa_progress_entry (id)'),
      ('osa_record (run_id, record_id)'),
      ('osa_run_hook (run_id, hook_index)'),
      ('osa_runner (name)'),
      ('osa_validation_run (id)'),
      ('osa_validation_run (owner, idempotency_key) WHERE (idempotency_key IS NOT NULL)')$$,
    'keys and unique indexes');

-- Moving a delivery on is a HOT update: its indexes have none of the columns it changes.
SELECT is_empty(
    $$SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
      WHERE i.indrelid = 'osa_delivery'::regclass
          AND a.attname NOT IN ('delivery_id', 'run_id', 'priority')
      UNION ALL
      SELECT pg_get_indexdef(i.indexrelid) FROM pg_index i
      WHERE i.indrelid = 'osa_delivery'::regclass AND (i.indpred IS NOT NULL OR i.indexprs IS NOT NULL)$$,
    'no index of osa_delivery hinders HOT updates');
SELECT is_empty(
    $$SELECT conname FROM pg_constraint
      WHERE contype = 'f' AND (confrelid = 'osa_install'::regclass OR conrelid IN ('osa_delivery'::regclass,
          'osa_validation_run'::regclass, 'osa_run_hook'::regclass, 'osa_outcome'::regclass, 'osa_event'::regclass,
          'osa_hook_attempt'::regclass, 'osa_record'::regclass, 'osa_partial_outcome'::regclass,
          'osa_progress_entry'::regclass))$$,
    'the worker''s tables have no foreign keys, and none refers to osa_install');

-- what no row may be
PREPARE bad_status AS INSERT INTO osa_validation_run (install_id, deposition, pipeline, status, hook_count, owner)
VALUES (gen_random_uuid(), 'd', 'p', 'done', 0, 'o');
SELECT throws_ok('bad_status', '23514', NULL, 'a run of an unrecognized status');
PREPARE bad_index AS INSERT INTO osa_validation_run (install_id, deposition, pipeline, current_hook_index, hook_count, owner)
VALUES (gen_random_uuid(), 'd', 'p', 2, 1, 'o');
SELECT throws_ok('bad_index', '23514', NULL, 'a run beyond its hooks');
PREPARE bad_step AS INSERT INTO osa_run_hook (run_id, hook_index, hook, release_id, status) VALUES (1, 0, 'h', 1, 'completed');
SELECT throws_ok('bad_step', '23514', NULL, 'a step of an unrecognized status');
PREPARE bad_outcome AS INSERT INTO osa_outcome (run_id, hook_index, record_id, status) VALUES (1, 0, 'r', 'skipped');
SELECT throws_ok('bad_outcome', '23514', NULL, 'an outcome of an unrecognized status');
PREPARE bad_event AS INSERT INTO osa_event (install_id, type, deposition) VALUES (gen_random_uuid(), 'Other', 'd');
SELECT throws_ok('bad_event', '23514', NULL, 'an event of an unrecognized type');
PREPARE bad_delivery AS INSERT INTO osa_delivery (install_id, event_id, status) VALUES (gen_random_uuid(), 1, 'done');
SELECT throws_ok('bad_delivery', '23514', NULL, 'a delivery of an unrecognized status');
PREPARE bad_name AS INSERT INTO osa_hook (name) VALUES ('Bad name');
SELECT throws_ok('bad_name', '23514', NULL, 'a hook whose name could not be a label');
PREPARE second_install AS INSERT INTO osa_install (singleton) VALUES (true);
SELECT throws_ok('second_install', '23505', NULL, 'a second installation');

-- Signatures: more parameters may follow at the end, with defaults.
SELECT results_eq(
    $$SELECT f.proname, left(pg_get_function_identity_arguments(f.oid), length(s.arguments))
      FROM our_function f
      JOIN (VALUES
          ('osa_register_hook', 'name text, columns jsonb, cardinality text, title text'),
          ('osa_add_release', 'hook text, image text, version text, config jsonb, limits jsonb, live boolean'),
          ('osa_set_live_release', 'hook text, version text'),
          ('osa_rollback_release', 'hook text'),
          ('osa_define_pipeline', 'name text, hooks text[], on_rejection text, on_record_error text, runner text'),
          ('osa_attach_file', 'deposition text, record text, path text, content bytea'),
          ('osa_submit_deposition', 'deposition text, records jsonb, pipeline text, metadata jsonb'),
          ('osa_start_validation', 'deposition text, records jsonb, pipeline text, config jsonb, priority integer, '
              'idempotency_key text, expires_in interval, traceparent text'),
          ('osa_cancel_validation', 'run bigint, reason text'),
          ('osa_retry_validation', 'run bigint, use_live boolean'),
          ('osa_wait_validation', 'run bigint, timeout interval'),
          ('osa_pause', 'reason text, stop_running boolean'),
          ('osa_resume', 'take_over boolean'),
          ('osa_add_runner', 'name text, kind text, endpoint text, max_in_flight integer'),
          ('osa_maintain', ''),
          ('osa_schedule_maintenance', 'schedule text'),
          ('osa_schedule_validation', 'name text, schedule text, deposition text, pipeline text, config jsonb'),
          ('osa_unschedule', 'name text')) s(name, arguments) ON s.name = f.proname
      ORDER BY 1$$,
    $$VALUES
      ('osa_add_release', 'hook text, image text, version text, config jsonb, limits jsonb, live boolean'),
      ('osa_add_runner', 'name text, kind text, endpoint text, max_in_flight integer'),
      ('osa_attach_file', 'deposition text, record text, path text, content bytea'),
      ('osa_cancel_validation', 'run bigint, reason text'),
      ('osa_define_pipeline', 'name text, hooks text[], on_rejection text, on_record_error text, runner text'),
      ('osa_maintain', ''),
      ('osa_pause', 'reason text, stop_running boolean'),
      ('osa_register_hook', 'name text, columns jsonb, cardinality text, title text'),
      ('osa_resume', 'take_over boolean'),
      ('osa_retry_validation', 'run bigint, use_live boolean'),
      ('osa_rollback_release', 'hook text'),
      ('osa_schedule_maintenance', 'schedule text'),
      ('osa_schedule_validation', 'name text, schedule text, deposition text, pipeline text, config jsonb'),
      ('osa_set_live_release', 'hook text, version text'),
      ('osa_start_validation', 'deposition text, records jsonb, pipeline text, config jsonb, priority integer, '
          'idempotency_key text, expires_in interval, traceparent text'),
      ('osa_submit_deposition', 'deposition text, records jsonb, pipeline text, metadata jsonb'),
      ('osa_unschedule', 'name text'),
      ('osa_wait_validation', 'run bigint, timeout interval')$$,
    'the promised signatures');
SELECT results_eq(
    $$SELECT proname, format_type(prorettype, NULL) FROM our_function
      WHERE proname IN ('osa_register_hook', 'osa_add_release', 'osa_define_pipeline', 'osa_submit_deposition',
          'osa_start_validation', 'osa_cancel_validation', 'osa_retry_validation', 'osa_wait_validation', 'osa_maintain',
          'osa_schedule_maintenance', 'osa_schedule_validation', 'osa_unschedule') ORDER BY 1$$,
    $$VALUES
      ('osa_add_release', 'bigint'), ('osa_cancel_validation', 'boolean'), ('osa_define_pipeline', 'text'),
      ('osa_maintain', 'jsonb'), ('osa_register_hook', 'text'), ('osa_retry_validation', 'boolean'),
      ('osa_schedule_maintenance', 'bigint'), ('osa_schedule_validation', 'bigint'), ('osa_start_validation', 'bigint'),
      ('osa_submit_deposition', 'bigint'), ('osa_unschedule', 'boolean'), ('osa_wait_validation', 'text')$$,
    'and what they return');
-- what a call may leave out
SELECT results_eq(
    $$SELECT proname, (pronargs - pronargdefaults)::int FROM our_function
      WHERE proname IN ('osa_register_hook', 'osa_add_release', 'osa_define_pipeline', 'osa_submit_deposition',
          'osa_start_validation', 'osa_cancel_validation', 'osa_retry_validation', 'osa_wait_validation', 'osa_pause',
          'osa_resume', 'osa_add_runner', 'osa_schedule_maintenance', 'osa_schedule_validation') ORDER BY 1$$,
    $$VALUES
      ('osa_add_release', 2), ('osa_add_runner', 3), ('osa_cancel_validation', 1), ('osa_define_pipeline', 2),
      ('osa_pause', 0), ('osa_register_hook', 1), ('osa_resume', 0), ('osa_retry_validation', 1),
      ('osa_schedule_maintenance', 0), ('osa_schedule_validation', 3), ('osa_start_validation', 1),
      ('osa_submit_deposition', 2), ('osa_wait_validation', 1)$$,
    'and how many parameters have no default');
SELECT * FROM finish();
ROLLBACK;
