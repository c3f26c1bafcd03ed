#!/bin/bash
# The demo: real sequence entries (Debian's emboss-test) through a pipeline of
# three hooks in containers, watched as an application would watch them.
# `make demo` runs it; by hand, after `make up`:
#   . .dev/env && examples/demo/run.sh
# It needs psql in PATH, the PG… variables, the images of ../hooks loaded, and a
# superuser (it sets osa_validation.files_root for the time it runs).
set -eu
export LC_ALL=C.UTF-8
data=${OSA_DEMO_DATA:-/usr/share/EMBOSS/test}
stamp=$(date +%H%M%S)-$$
export PGOPTIONS="${PGOPTIONS-} -c client_min_messages=warning" PGAPPNAME=osa_demo

die() { printf '%s\n' "$*" >&2; exit 1; }
sql() { psql -XqAt -v ON_ERROR_STOP=1 "$@"; }
table() { psql -Xq -P pager=off -P footer=off -v ON_ERROR_STOP=1 -v runs="$runs" "$@"; }
title() { printf '%s%s%s\n' "$bold" "$1" "$plain"; }

if [ -t 1 ] && [ "${TERM:-dumb}" != dumb ]; then
	terminal=1 bold=$'\e[1m' plain=$'\e[0m'
else
	terminal= bold= plain=
fi

[ -f "$data/embl/hum1.dat" ] || die "no sequence files in $data: apt-get install emboss-test"

# The server reads one deposition's files from this folder.
work=$(mktemp -d "${TMPDIR:-/var/tmp}/osa-demo.XXXXXX")
chmod 755 "$work"
finish() {
	rm -rf "$work"
	sql -c 'ALTER SYSTEM RESET osa_validation.files_root' -c 'SELECT pg_reload_conf()' >/dev/null 2>&1 || true
}
trap finish EXIT
trap 'exit 130' INT TERM

# split NAME FILE…: one folder an entry, $work/NAME/<accession>/entry.dat, and
# $work/NAME.json, the records as osa_start_validation takes them.
split() {
	local name=$1
	shift
	awk -v folder="$work/$name" -v name="$name" '
	function flush() {
		if (id == "")
			return
		gsub(/[\\"]/, "\\\\&", about)
		printf "%s{\"id\":\"%s\",\"metadata\":{\"about\":\"%s\"}%s}", separator, id, about, \
			name == "human" ? ",\"files_from\":\"" name "/" id "\"" : ""
		separator = ","
	}
	BEGIN { printf "[" }
	/^ID / {
		flush()
		id = $2
		sub(/;/, "", id)
		about = ""
		system("mkdir -p " folder "/" id)
		file = folder "/" id "/entry.dat"
	}
	/^DE / && about == "" { about = substr($0, 6) }
	{ print > file }
	/^\/\// { close(file) }
	END { flush(); print "]" }' "$@" >"$work/$name.json"
}

# attach NAME: the entries' files into the database.
attach() {
	local folder
	{
		echo "BEGIN;"
		for folder in "$work/$1"/*/; do
			folder=${folder%/}
			echo "\\set content \`base64 -w0 '$folder/entry.dat'\`"
			echo "SELECT osa_attach_file('$1-$stamp', '${folder##*/}', 'entry.dat', decode(:'content', 'base64'));"
		done
		echo "COMMIT;"
	} | sql >/dev/null
}

# start NAME: prints the run's id.
start() {
	sql -v records="$(cat "$work/$1.json")" -v deposition="$1-$stamp" <<-'SQL'
	SELECT osa_start_validation(:'deposition', :'records'::jsonb, 'demo');
	SQL
}

define_pipeline() {
	sql >/dev/null <<-'SQL'
	SELECT osa_register_hook('flatfile', title => 'One whole flat-file entry that agrees with itself');
	SELECT osa_add_release('flatfile', 'localhost/osa-flatfile:1', limits => '{"memory":"128MiB","timeout":"1 min"}');

	SELECT osa_register_hook('composition', cardinality => 'one', title => 'What the sequence is made of', columns => '[
	    {"name":"molecule",  "type":"text"},
	    {"name":"length",    "type":"int8",   "unit":"residues"},
	    {"name":"gc",        "type":"float8", "unit":"fraction", "nullable":true},
	    {"name":"ambiguous", "type":"float8", "unit":"fraction"},
	    {"name":"entropy",   "type":"float8", "unit":"bits"}]');
	SELECT osa_add_release('composition', 'localhost/osa-composition:1',
	    config => '{"max_ambiguous":0.05}', limits => '{"memory":"128MiB","timeout":"1 min"}');

	SELECT osa_register_hook('redundancy', cardinality => 'many', title => 'Close relatives in the deposition', columns => '[
	    {"name":"other",    "type":"text"},
	    {"name":"strand",   "type":"text",   "nullable":true},
	    {"name":"identity", "type":"float8", "unit":"fraction"},
	    {"name":"coverage", "type":"float8", "unit":"fraction"}]');
	SELECT osa_add_release('redundancy', 'localhost/osa-redundancy:1',
	    config => '{"max_length":20000,"duplicate":0.995}', limits => '{"memory":"256MiB","timeout":"5 min","cpu":1}');

	SELECT osa_define_pipeline('demo', ARRAY['flatfile', 'composition', 'redundancy']);
	SQL
}

# A line a run: deposition|status|index|count|hook|in|rejected|message
poll() {
	sql -F '|' -v runs="$runs" <<-'SQL'
	SELECT regexp_replace(deposition, '-[0-9]+-[0-9]+$', ''), status, current_hook_index, hook_count,
	       coalesce(current_hook, ''), coalesce(records_in, 0), coalesce(records_rejected, 0),
	       translate(coalesce(last_message, ''), E'|\n', '  ')
	FROM osa_progress WHERE run_id = ANY (:'runs'::bigint[]) ORDER BY run_id;
	SQL
}

# bar DONE OF
bar() {
	local width=24 full
	full=$((width * $1 / ($2 > 0 ? $2 : 1)))
	printf '%.*s%.*s' $full '########################' $((width - full)) '........................'
}

watch() {
	local began=$SECONDS lines line width drawn=0 shown= open name status index count hook records rejected message where
	while :; do
		lines=$(poll)
		width=$( [ -z "$terminal" ] || tput cols 2>/dev/null || true)
		[ $drawn = 0 ] || printf '\e[%dA' $drawn
		drawn=0 open=0
		while IFS='|' read -r name status index count hook records rejected message; do
			case $status in
			pending | running) open=1 where="$index/$count ${hook:-waiting}: $message" ;;
			*) where=$status ;;
			esac
			line=$(printf '%-12s [%s] %3d records %2d rejected  %s' "$name" "$(bar "$index" "$count")" "$records" "$rejected" "$where")
			if [ -n "$terminal" ]; then
				printf '\e[2K%s\n' "${line:0:${width:-100}}"
				drawn=$((drawn + 1))
			elif ! grep -qxF -- "$line" <<<"$shown"; then
				printf '%3ds  %s\n' $((SECONDS - began)) "$line"
			fi
			shown=$shown$'\n'$line
		done <<<"$lines"
		[ $open = 1 ] || break
		[ $((SECONDS - began)) -lt 120 ] || die "not done after two minutes; see: SELECT * FROM osa_status; SELECT * FROM osa_failures"
		sleep 0.25
	done
}

split proteins "$data"/swiss/seq.dat
split bacteria "$data"/embl/pro.dat
split human "$data"/embl/hum1.dat
split vertebrates "$data"/embl/{vrt,rod}.dat
split others "$data"/embl/{fun,inv,pln,sts,syn,vrl,est}.dat
split marine "$data"/embl/{wgs,condiv}.dat
split example "$data"/data/emblfeat.embl
sql -c "ALTER SYSTEM SET osa_validation.files_root = '$work'" -c 'SELECT pg_reload_conf()' >/dev/null
define_pipeline

title "Seven depositions, $(grep -o '"id":' "$work"/*.json | wc -l) records, through flatfile, composition and redundancy"
runs=
for name in proteins human bacteria vertebrates others example; do
	[ $name = human ] || attach $name # human: read by the server from files_root
	runs=$runs,$(start $name)
done
# An application may submit and leave the rest to the saga.
attach marine
sql -v records="$(cat "$work/marine.json")" -v deposition="marine-$stamp" >/dev/null <<'SQL'
SELECT osa_submit_deposition(:'deposition', :'records'::jsonb, 'demo', '{"source":"emboss-test"}');
SQL
run=
for _ in $(seq 100); do
	run=$(sql -c "SELECT run_id FROM osa_progress WHERE deposition = 'marine-$stamp'")
	[ -z "$run" ] || break
	sleep 0.1
done
[ -n "$run" ] || die "the submitted deposition has no run; see: SELECT * FROM osa_status"
runs="{${runs#,},$run}"
watch
echo

title "Features: composition (the first of each deposition)"
table <<'SQL'
SELECT deposition, record_id AS record, molecule, length, gc, ambiguous, entropy
FROM (SELECT regexp_replace(r.deposition, '-[0-9]+-[0-9]+$', '') AS deposition, o.record_id, f.*,
             row_number() OVER (PARTITION BY o.run_id ORDER BY c.ordinal) AS n, o.run_id
      FROM osa_outcome o
      JOIN osa_run_hook h USING (run_id, hook_index)
      JOIN osa_validation_run r ON r.id = o.run_id
      JOIN osa_record c USING (run_id, record_id)
      CROSS JOIN jsonb_to_recordset(o.features)
           AS f (molecule text, length bigint, gc numeric, ambiguous numeric, entropy numeric)
      WHERE h.hook = 'composition' AND o.run_id = ANY (:'runs'::bigint[])) x
WHERE n <= 4 ORDER BY run_id, n;
SQL

title "Features: redundancy (close relatives that both stay)"
table <<'SQL'
SELECT regexp_replace(r.deposition, '-[0-9]+-[0-9]+$', '') AS deposition, o.record_id AS record,
       f.other, f.strand, f.identity, f.coverage
FROM osa_outcome o
JOIN osa_run_hook h USING (run_id, hook_index)
JOIN osa_validation_run r ON r.id = o.run_id
CROSS JOIN jsonb_to_recordset(o.features) AS f (other text, strand text, identity numeric, coverage numeric)
WHERE h.hook = 'redundancy' AND o.run_id = ANY (:'runs'::bigint[])
  AND o.record_id < f.other
  AND EXISTS (SELECT FROM osa_outcome other WHERE other.run_id = o.run_id AND other.hook_index = o.hook_index
                AND other.record_id = f.other AND other.status = 'passed')
ORDER BY o.run_id, f.identity DESC, o.record_id COLLATE "C", f.other COLLATE "C" LIMIT 12;
SQL

title "Rejections"
table <<'SQL'
SELECT regexp_replace(r.deposition, '-[0-9]+-[0-9]+$', '') AS deposition, o.record_id AS record, h.hook, o.reason
FROM osa_outcome o
JOIN osa_run_hook h USING (run_id, hook_index)
JOIN osa_validation_run r ON r.id = o.run_id
WHERE o.status = 'rejected' AND o.run_id = ANY (:'runs'::bigint[])
ORDER BY o.run_id, o.hook_index, o.record_id COLLATE "C";
SQL

title "Timeline of the human deposition"
table -v run="$(sql -c "SELECT run_id FROM osa_progress WHERE deposition = 'human-$stamp'")" <<'SQL'
SELECT hook_index AS step, hook, version, attempt, status, to_char(started_at, 'HH24:MI:SS.MS') AS started,
       round(extract(epoch FROM duration), 2) AS seconds, exit_code AS exit,
       records_in AS "in", records_passed AS passed, records_rejected AS rejected
FROM osa_run_timeline WHERE run_id = :run;
SQL

# What this data must come to, whatever the machine.
sql -v runs="$runs" -v bad= >"$work/verdict" <<'SQL'
SELECT 'deposition ' || deposition || ' is ' || status || coalesce(': ' || reason, '')
FROM osa_validation_run
WHERE id = ANY (:'runs'::bigint[])
  AND status <> CASE WHEN deposition LIKE 'example-%' THEN 'rejected' ELSE 'completed' END
UNION ALL
SELECT 'record ' || record || ' was not rejected by ' || hook
FROM (VALUES ('Z12345', 'flatfile'), ('EM498477', 'flatfile'), ('BA000025', 'flatfile'), ('V00451', 'composition'),
             ('AB009071', 'composition'), ('V00296', 'redundancy'), ('ARF3_RAT', 'redundancy')) AS x (record, hook)
WHERE NOT EXISTS (SELECT FROM osa_outcome o JOIN osa_run_hook h USING (run_id, hook_index)
                  WHERE o.run_id = ANY (:'runs'::bigint[]) AND o.record_id = x.record
                    AND h.hook = x.hook AND o.status = 'rejected')
UNION ALL
SELECT 'osa_check: ' || c::text FROM osa_check() c;
SQL
[ ! -s "$work/verdict" ] || die "$(cat "$work/verdict")"
title "Done in $SECONDS s."
