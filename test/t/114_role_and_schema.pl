# In any schema, amid hostile names and settings, for a role with no more than
# the grants that are documented.
#
# Claims:
#  1. CREATE EXTENSION … SCHEMA archive, in a session whose search_path finds
#     another role's functions, operators and tables before the system's and the
#     extension's, works; and so do the functions, views and the worker after it.
#     Nothing of that role's is ever called or touched.
#  2. A role with the GRANTs of sql/privileges.sql, nothing else, attaches files,
#     submits, starts, waits, reads, cancels and retries, on real containers.
#  3. It cannot choose images, pipelines or runners, nor pause, nor write to a
#     table, nor read files' contents; nor choose an image by its config.
#  4. The worker of a database with hostile settings (read-only, 1 ms timeouts,
#     another isolation level, styles, role and search_path) works; also one
#     that starts with them.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use OsaContainer qw(no_containers);
use OsaTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('role', fsync => 0, extension => 0);
sql($node, <<'SQL');
CREATE SCHEMA archive;
CREATE ROLE mallory LOGIN;
CREATE ROLE app LOGIN;
CREATE ROLE stranger LOGIN;
GRANT CREATE ON SCHEMA public TO mallory;
SQL

# ---- a trap under every name that SQL of ours could look up

my @traps = (
	'now() timestamptz', 'clock_timestamp() timestamptz', 'statement_timestamp() timestamptz', 'gen_random_uuid() uuid',
	'current_database() name', 'current_setting(text) text', 'jsonb_array_elements(jsonb) jsonb', 'jsonb_typeof(jsonb) text',
	'encode(bytea, text) text', 'sha256(bytea) bytea', 'length(text) int', 'octet_length(text) int', 'octet_length(bytea) int',
	'pg_notify(text, text) void', 'to_regclass(text) regclass', 'quote_ident(text) text', 'lower(text) text', 'round(numeric) numeric',
	'pg_advisory_xact_lock(bigint) void', 'pg_try_advisory_lock(bigint) bool', 'jsonb_build_object(VARIADIC text[]) jsonb',
	'format(text, VARIADIC text[]) text', 'make_interval(int) interval', 'abs(numeric) numeric', 'replace(text, text, text) text',
	'osa_library_version() text', 'osa_check() text', 'osa_worker_now() int', 'osa_flights_now() int', 'osa_runners_now() int',
	'osa_maintain() jsonb', 'osa_wait_validation(bigint) text', 'osa_start_validation(text, jsonb) bigint');
my @operators = (
	[ '=', 'bigint' ], [ '=', 'int' ], [ '=', 'text' ], [ '=', 'uuid' ], [ '=', 'oid' ], [ '=', 'bool' ], [ '=', 'name' ],
	[ '<>', 'text' ], [ '<>', 'bigint' ], [ '<', 'int' ], [ '<', 'bigint' ], [ '<', 'timestamptz' ], [ '<=', 'timestamptz' ],
	[ '>', 'int' ], [ '>', 'bigint' ], [ '>=', 'timestamptz' ], [ '~', 'text' ], [ '||', 'jsonb' ], [ '||', 'text' ],
	[ '+', 'int' ], [ '+', 'bigint' ], [ '-', 'int' ], [ '-', 'timestamptz' ], [ '*', 'float8' ], [ '/', 'numeric' ]);
my @tables = qw(osa_install osa_runner osa_hook osa_hook_release osa_hook_live osa_pipeline osa_deposition osa_deposition_record
  osa_file osa_validation_run osa_run_hook osa_hook_attempt osa_record osa_outcome osa_partial_outcome osa_progress_entry
  osa_event osa_delivery pg_class pg_extension pg_database pg_proc);
my $trap = 'LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION \'hijacked as %\', current_user; END$$';
my $hostile = "SET search_path = pg_catalog, public; SET check_function_bodies = off;\n";
for my $function (@traps)
{
	my ($head, $type) = $function =~ /^(.*\)) (.*)$/;
	$hostile .= "CREATE FUNCTION public.$head RETURNS $type $trap;\n";
}
for (@operators)
{
	my ($name, $type) = @$_;
	my $returns = $name =~ /[=<>~]/ ? 'bool' : "$name $type" eq '- timestamptz' ? 'interval' : $type;
	my $function = 'public.op_' . join('', map { sprintf '%02x', ord } split //, $name) . "($type, $type)";
	$hostile .= "CREATE FUNCTION $function RETURNS $returns $trap;\n";
	(my $procedure = $function) =~ s/\(.*//;
	$hostile .= "CREATE OPERATOR public.$name (PROCEDURE = $procedure, LEFTARG = $type, RIGHTARG = $type);\n";
}
$hostile .= <<"SQL" for @tables;
CREATE TABLE public.$_ (id int);
CREATE FUNCTION public.touched_$_() RETURNS trigger $trap;
CREATE TRIGGER touched BEFORE INSERT OR UPDATE OR DELETE ON public.$_ EXECUTE FUNCTION public.touched_$_();
SQL
sql($node, $hostile, psql => [ '-U', 'mallory' ]);
my $path = 'SET search_path = public, pg_catalog, archive;';
my ($out, $err);
isnt($node->psql('postgres', "$path SELECT now()", stderr => \$err), 0, 'the trap works: for functions');
isnt($node->psql('postgres', "$path SELECT 1 + 1", stderr => \$err), 0, 'for operators');
like($err, qr/hijacked as postgres/, 'by the trap');

# ---- 1

$node->safe_psql('postgres', "$path CREATE EXTENSION osa_validation SCHEMA archive;");
is(sql($node, "SELECT nspname FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace WHERE extname = 'osa_validation'"),
	'archive', 'the extension is in its schema');
is(sql($node, <<'SQL'), '', 'all that is in it is in that schema');
SELECT classid::regclass, objid FROM pg_depend d JOIN pg_extension e ON refobjid = e.oid AND extname = 'osa_validation'
 WHERE deptype = 'e' AND classid IN ('pg_class'::regclass, 'pg_proc'::regclass, 'pg_type'::regclass)
   AND (pg_identify_object(classid, objid, 0)).schema <> 'archive'
SQL

# Every session of this database from now on; what the tests ask says otherwise.
sql($node, 'ALTER DATABASE postgres SET search_path = public, pg_catalog, archive');
my $friendly = '-c search_path=archive,pg_catalog';
$ENV{PGOPTIONS} = $friendly;

# The worker begins anew with that too.
my $before = worker_pid($node);
sql($node, 'SELECT pg_terminate_backend(' . $before . ')');
ok(wait_for($node, "SELECT count(*) = 1 AND min(pid) <> $before FROM pg_stat_activity WHERE backend_type LIKE 'osa_validation worker%'"),
	'the worker came back');

# as('role', 'SQL'): in a session with the database's settings; (status, rows, errors)
sub as
{
	my ($role, $text) = @_;
	local $ENV{PGOPTIONS} = '';
	my ($rows, $errors) = ('', '');
	my $status = $node->psql('postgres', $text, stdout => \$rows, stderr => \$errors, on_error_stop => 1,
		extra_params => [ '-U', $role ]);
	return ($status, $rows, $errors);
}

sub as_ok
{
	my ($role, $text, $name) = @_;
	my ($status, $rows, $errors) = as($role, $text);
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($status, 0, $name) or diag "$text\n$errors";
	return $rows;
}

sub refused
{
	my ($role, $text, $name) = @_;
	my ($status, $rows, $errors) = as($role, $text);
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	like($errors, qr/permission denied/, $name);
}

# An administrator, too, works with the hostile path.
as_ok('postgres', <<'SQL', 'an administrator defines hooks and pipelines');
SELECT archive.osa_register_hook('first', columns => '[{"name": "size", "type": "int8"}]', cardinality => 'one');
SELECT archive.osa_add_release('first', 'localhost/osa-script:1',
	config => '{"sh": "progress working begun; for i in $(ids); do feature $i \"{\\\"size\\\":$(cat $OSA_FILES/$i/* 2>/dev/null | wc -c)}\"; done"}');
SELECT archive.osa_register_hook('second');
SELECT archive.osa_add_release('second', 'localhost/osa-script:1', config => '{"sh": "reject r2 \"not wanted\""}');
SELECT archive.osa_define_pipeline('default', ARRAY['first', 'second']);
SELECT archive.osa_register_hook('stuck');
SELECT archive.osa_add_release('stuck', 'localhost/osa-script:1', config => '{"sh": "while :; do usleep 100000; done"}');
SELECT archive.osa_define_pipeline('stuck', ARRAY['stuck']);
SELECT archive.osa_add_runner('quick', 'noop', NULL);
SELECT archive.osa_add_release('first', 'localhost/osa-alloc:1', version => 'other', live => false);
SELECT archive.osa_set_live_release('first', 'other');
SELECT archive.osa_rollback_release('first');
SELECT archive.osa_pause('a moment');
SELECT archive.osa_resume();
SQL

# ---- 2

my $granted = 0;
for my $statement (slurp_file("$ENV{OSA_ROOT}/sql/privileges.sql") =~ /^--   (GRANT (?:[^;](?!cron))*?;)/msg)
{
	$statement =~ s/\n--\s+/ /g;
	next if $statement =~ /osa_schedule_validation|cron/;
	sql($node, $statement);
	$granted++;
}
is($granted, 3, 'an application is granted what the documentation says');

as_ok('app', "SELECT archive.osa_attach_file('d1', 'r1', 'a.txt', 'twelve bytes')", 'it attaches a file');
my $event = as_ok('app', "SELECT archive.osa_submit_deposition('d1', '[{\"id\": \"r1\"}, {\"id\": \"r2\"}]')", 'it submits');
my $run = as_ok('app', "SELECT archive.osa_start_validation('d2', '[{\"id\": \"r1\"}, {\"id\": \"r2\"}]', idempotency_key => 'k')", 'it starts');
like($run, qr/^\d+$/, 'and is given the run');
is(as_ok('app', "SELECT archive.osa_start_validation('d2', '[{\"id\": \"r1\"}, {\"id\": \"r2\"}]', idempotency_key => 'k')", 'it starts again'),
	$run, 'and is given the same');
is(as_ok('app', "SELECT archive.osa_wait_validation($run, '1 min')", 'it waits'), 'completed', 'until the run has ended');
ok(wait_for($node, "SELECT status FROM osa_validation_run WHERE deposition = 'd1'", 'completed'), 'the submitted one completes too');
my $reads = 'SELECT record_id, o.status, features, o.reason FROM archive.osa_outcome o'
  . ' JOIN archive.osa_validation_run r ON r.id OPERATOR(pg_catalog.=) o.run_id'
  . " WHERE r.deposition OPERATOR(pg_catalog.~) '^d[12]\$' ORDER BY r.deposition, hook_index, record_id";
is(as_ok('app', $reads, 'it reads outcomes'), <<'ROWS' =~ s/\n$//r, 'of both');
r1|passed|[{"size": 12}]|
r2|passed|[{"size": 0}]|
r1|passed||
r2|rejected||not wanted
r1|passed|[{"size": 0}]|
r2|passed|[{"size": 0}]|
r1|passed||
r2|rejected||not wanted
ROWS
for my $relation (
	qw(osa_deposition osa_deposition_record osa_pipeline osa_hook osa_validation_run osa_run_hook osa_record
	osa_outcome osa_progress_entry osa_event osa_progress osa_run_timeline))
{
	isnt(as_ok('app', "SELECT * FROM archive.$relation LIMIT 1", "it reads $relation"), '', "there is something in $relation");
}
as_ok('app', "SELECT * FROM archive.$_", "it reads $_") for qw(osa_queue osa_in_flight osa_failures osa_status);

my $stuck = as_ok('app', "SELECT archive.osa_start_validation('d3', '[{\"id\": \"r1\"}]', pipeline => 'stuck')", 'it starts what takes long');
ok(wait_for($node, "SELECT phase FROM osa_in_flight WHERE run_id = $stuck", 'running'), 'the container runs');
is(as_ok('app', "SELECT run_id, phase FROM archive.osa_in_flight", 'it sees that'), "$stuck|running", 'in osa_in_flight');
is(as_ok('app', "SELECT archive.osa_cancel_validation($stuck, 'enough')", 'it cancels'), 't', 'a run of its own');
is(as_ok('app', "SELECT archive.osa_retry_validation($stuck)", 'it retries'), 't', 'that run');
is(as_ok('app', "SELECT archive.osa_cancel_validation($stuck)", 'it cancels again'), 't', 'the next round');

# ---- 3

refused('app', "SELECT archive.$_", "it cannot call $_") for
  "osa_register_hook('mine')", "osa_add_release('first', 'localhost/osa-alloc:1')", "osa_set_live_release('first', 'other')",
  "osa_rollback_release('first')", "osa_define_pipeline('default', ARRAY['first'])", "osa_add_runner('mine', 'noop', NULL)",
  'osa_pause()', 'osa_resume()', 'osa_maintain()';
refused('app', $_, "it cannot say: $_") for
  "UPDATE archive.osa_hook_release SET image = 'localhost/osa-alloc:1'",
  'SELECT content FROM archive.osa_file', 'SELECT image FROM archive.osa_hook_release', 'SELECT install_id FROM archive.osa_install',
  "UPDATE archive.osa_pipeline SET runner = 'quick'", "INSERT INTO archive.osa_event SELECT * FROM archive.osa_event LIMIT 0",
  "UPDATE archive.osa_validation_run SET status = 'completed'", 'DELETE FROM archive.osa_outcome', 'TRUNCATE archive.osa_delivery',
  'CREATE TABLE archive.mine ()';
refused('stranger', "SELECT $_", "who has no grants cannot say: $_") for
  "archive.osa_start_validation('x', '[{}]')", "archive.osa_wait_validation($run)", '* FROM archive.osa_status', '* FROM archive.osa_outcome';
my $config = literal(json({ image => 'localhost/osa-alloc:1', Image => 'localhost/osa-alloc:1', HostConfig => { Privileged => 1 },
			limits => { memory => '1GiB' }, sh_second => 'reject r1 "from its config"' }));
my $chosen = as_ok('app', "SELECT archive.osa_start_validation('d4', '[{\"id\": \"r1\"}]', config => $config)", 'it gives a config');
is(wait_run($node, $chosen), 'rejected', 'which the hook sees');
is(sql($node, "SELECT DISTINCT a.image_id = l.image_id, l.image, a.memory FROM osa_hook_attempt a JOIN osa_run_hook h USING (run_id, hook_index)"
		. " JOIN osa_hook_release l ON l.id = release_id WHERE run_id = $chosen"),
	't|localhost/osa-script:1|536870912', 'and which chooses neither image nor limits');

# ---- 4

$ENV{PGOPTIONS} = "$friendly -c default_transaction_read_only=off -c statement_timeout=0 -c lock_timeout=0"
  . ' -c idle_in_transaction_session_timeout=0 -c default_transaction_isolation=read\ committed -c role=none'
  . ' -c standard_conforming_strings=on -c session_replication_role=origin -c DateStyle=ISO -c bytea_output=hex'
  . ' -c client_min_messages=notice -c transform_null_equals=off -c default_transaction_deferrable=off -c extra_float_digits=1';
sql($node, "ALTER DATABASE postgres SET $_") for
  'default_transaction_read_only = on', "statement_timeout = '1ms'", "lock_timeout = '1ms'", "idle_in_transaction_session_timeout = '1ms'",
  "default_transaction_isolation = 'serializable'", 'default_transaction_deferrable = on', 'row_security = off',
  "\"DateStyle\" = 'German'", "\"IntervalStyle\" = 'sql_standard'", "bytea_output = 'escape'", 'extra_float_digits = -15',
  'standard_conforming_strings = off', 'transform_null_equals = on', 'quote_all_identifiers = on', "timezone = 'Asia/Kathmandu'",
  "xmloption = 'document'", "session_replication_role = 'replica'", 'jit_above_cost = 0', 'synchronous_commit = off', 'role = stranger',
  "client_min_messages = 'error'", "work_mem = '64kB'", 'array_nulls = off', 'zero_damaged_pages = on';
my $settled = worker_pid($node);
sql($node, "SELECT osa_attach_file('$_', 'r1', 'file', decode(repeat('00ff', 300000), 'hex'))") for qw(running begun);
$run = start_run($node, 'running', [ 'r1', 'r2' ]);
is(wait_run($node, $run), 'completed', 'the worker that runs goes on');
is(worker_pid($node), $settled, 'as the same process');
$stuck = start_run($node, 'stuck', ['r1'], pipeline => 'stuck');
ok(wait_for($node, "SELECT phase FROM osa_in_flight WHERE run_id = $stuck", 'running'), 'a hook runs');
sql($node, "SELECT pg_terminate_backend($settled)");
ok(wait_for($node, "SELECT count(*) = 1 AND min(pid) <> $settled FROM pg_stat_activity WHERE backend_type LIKE 'osa_validation worker%'"),
	'a worker begins with these settings');
ok(wait_for($node, "SELECT phase, adopted FROM osa_in_flight WHERE run_id = $stuck", 'running|t'), 'it adopts what runs');
is(sql($node, "SELECT osa_cancel_validation($stuck)"), 't', 'that is not needed any more');
$run = start_run($node, 'begun', [ 'r1', 'r2' ]);
is(wait_run($node, $run), 'completed', 'it takes a run through its hooks');
is(sql($node, "SELECT record_id, features, reason FROM osa_outcome WHERE run_id = $run ORDER BY hook_index, record_id"),
	"r1|[{\"size\": 600000}]|\nr2|[{\"size\": 0}]|\nr1||\nr2||not wanted", 'with what was attached');
is(sql($node, "SELECT message, created_at > now() - interval '1 min' FROM osa_progress_entry WHERE run_id = $run"), 'begun|t', 'and their progress');
is(sql($node, 'SELECT errors FROM osa_worker'), 0, 'it caught no error');

# 1: not once, by anybody
unlike(slurp_file($node->logfile), qr/hijacked as (?!postgres\b)/, 'nobody stepped into a trap');
my @stepped = slurp_file($node->logfile) =~ /(hijacked as [^\n]*)/g;
is(scalar @stepped, 2, 'but the two that tried them');

check_sound($node);
is(as_ok('postgres', "SET statement_timeout = 0; SET lock_timeout = 0; SET role = none; SELECT * FROM archive.osa_check()", 'osa_check() can be asked with the hostile path'),
	'', 'and finds nothing');
no_containers($node, schema => 'archive');
$node->stop;
done_testing();
