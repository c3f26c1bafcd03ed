# Sourced by the benchmarks: the instance they run against, SQL, and results.
# Its environment is set by `make bench`, or by hand after `make up`: . .dev/env
set -euo pipefail
export LC_ALL=C.UTF-8

die() { printf '%s\n' "$*" >&2; exit 1; }
say() { printf '%s\n' "$*"; }

: "${PGHOST:?is not set: run make bench, or make up and . .dev/env}" "${DOCKER_HOST:?is not set}"
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
instance=${DOCKER_HOST#unix://}
instance=${instance%/s/engine.sock}
[ -f "$instance/engine.kind" ] || die "no engine of test/env at $DOCKER_HOST"
export OSA_STATE=${instance%/*} OSA_INSTANCE=${instance##*/}
ENGINE=$(cat "$instance/engine.kind")
export ENGINE PATH="$OSA_STATE/pg/lib/postgresql/15/bin:$PATH"
export PGOPTIONS="-c client_min_messages=warning" PGAPPNAME=osa_bench
results=${OSA_BENCH_RESULTS:-$root/bench/results}
bench=${0##*/}

sql() { psql -XqAt -v ON_ERROR_STOP=1 "$@"; }

# setup: what every benchmark needs; replaces what an earlier one left
setup() {
	sql >/dev/null <<-'SQL'
	DROP SCHEMA IF EXISTS osa_bench CASCADE;
	CREATE SCHEMA osa_bench;

	-- A hook with a new live release.
	CREATE FUNCTION osa_bench.hook(name text, image text, config jsonb DEFAULT '{}', limits jsonb DEFAULT '{}',
	    columns jsonb DEFAULT '[]', cardinality text DEFAULT 'none') RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
	    PERFORM osa_register_hook(name, columns, cardinality);
	    PERFORM osa_add_release(name, image, config => config, limits => limits);
	END $$;

	-- The pipeline of the benchmarks that measure the saga alone: no container.
	CREATE FUNCTION osa_bench.noop_pipeline(hooks int) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
	    IF NOT EXISTS (SELECT FROM osa_runner WHERE name = 'bench_noop') THEN
	        PERFORM osa_add_runner('bench_noop', 'noop', NULL);
	    END IF;
	    FOR i IN 1 .. hooks LOOP
	        PERFORM osa_bench.hook('bench_' || i, 'localhost/osa-gc:1');
	    END LOOP;
	    PERFORM osa_define_pipeline('bench_noop', ARRAY(SELECT 'bench_' || i FROM generate_series(1, hooks) i),
	                                runner => 'bench_noop');
	END $$;

	-- Waits until no run is open.
	CREATE PROCEDURE osa_bench.drain(seconds float8) LANGUAGE plpgsql AS $$
	DECLARE
	    until timestamptz := clock_timestamp() + make_interval(secs => seconds);
	BEGIN
	    WHILE EXISTS (SELECT FROM osa_delivery) LOOP
	        IF clock_timestamp() > until THEN
	            RAISE EXCEPTION 'runs are still open after % s', seconds;
	        END IF;
	        COMMIT;
	        PERFORM pg_sleep(0.01);
	    END LOOP;
	END $$;
	SQL
	sql -c 'CALL osa_bench.drain(60)'
	load_before=$(cut -d' ' -f1 /proc/loadavg)
	turns_before=$(sql -c "SELECT turns, slow_turns FROM osa_worker")
}

# finish FIGURES TARGETS: prints and writes the JSON; TARGETS is a JSON object
# {"text": met}; exit code 1 if one is not met.  Slow turns are a target of all.
finish() {
	local file=$results/$bench-$ENGINE.json
	mkdir -p "$results"
	sql -v figures="$1" -v targets="$2" -v bench="$bench" -v engine="$ENGINE" -v cores="$(nproc)" \
		-v before="$turns_before" -v load="$load_before" -v model="$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)" >"$file" <<-'SQL'
	SELECT jsonb_pretty(jsonb_build_object(
	    'bench', :'bench', 'at', date_trunc('second', now()),
	    'engine', (SELECT x.value ->> 'version' FROM osa_status, jsonb_array_elements(runners) x
	               WHERE x.value ->> 'kind' = 'docker' AND x.value ->> 'version' IS NOT NULL LIMIT 1),
	    'machine', jsonb_build_object('cores', :cores, 'load_before', :load, 'model', :'model', 'server', current_setting('server_version')),
	    'figures', :'figures'::jsonb || loop,
	    'targets', :'targets'::jsonb || jsonb_build_object('slow turns of the worker under 0.1 %',
	               (loop ->> 'slow_share')::numeric < 0.001)))
	FROM (SELECT jsonb_build_object('turns', t.turns, 'slow_turns', t.slow,
	             'slow_share', round(t.slow::numeric / greatest(t.turns, 1), 6), 'worst_turn_ms', t.worst_turn_ms) AS loop
	      FROM (SELECT turns - split_part(:'before', '|', 1)::bigint AS turns,
	                   slow_turns - split_part(:'before', '|', 2)::bigint AS slow, worst_turn_ms
	            FROM osa_worker) t) x;
	SQL
	sql -v file="$(cat "$file")" <<-'SQL'
	SELECT format('  %-28s %s', key, value) FROM jsonb_each_text(:'file'::jsonb -> 'figures');
	SELECT format('  %-4s %s', CASE WHEN value::boolean THEN 'met:' ELSE 'NOT:' END, key)
	FROM jsonb_each(:'file'::jsonb -> 'targets');
	SQL
	say "  load before: $load_before, written: $file"
	! grep -A 100 '"targets"' "$file" | grep -q ': false'
}
