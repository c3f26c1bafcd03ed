# Schedules by the real pg_cron:
#  1. without pg_cron on the server, or in the database, a clear error that says
#     what to do; nothing is scheduled
#  2. pg_cron runs osa_maintain() in its own database
#  3. pg_cron validates a deposition's submitted records again, as the role that
#     scheduled it, with its pipeline and config
#  4. what the error of a database without pg_cron says to run in pg_cron's
#     database makes it run in the other one
#  5. the same name again changes the schedule; unscheduling ends it; another
#     role's schedule is not touched
#  6. bad names, schedules, depositions, pipelines and configs are refused
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../perl";
use OsaTest;
use Test::More;

my $every_minute = '* * * * *';
my $node = new_node('cron', fsync => 0, extension => 0, conf => <<'CONF');
cron.database_name = 'postgres'
cron.use_background_workers = on
CONF

# The error that a statement ends with: SQLSTATE, message and hint.
sub error_of
{
	my ($text, %opt) = @_;
	my $err;
	my $role = $opt{role} ? "SET ROLE $opt{role};" : '';
	my $status = $node->psql($opt{db} // 'postgres', "\\set VERBOSITY verbose\n$role $text", stderr => \$err);
	return $status == 0 ? 'no error' : $err;
}

# A database with the extension, an application's role and a pipeline of one
# hook that passes everything.
sub set_up
{
	my ($db, $schema) = @_;
	sql($node, <<"SQL", db => $db);
CREATE SCHEMA IF NOT EXISTS $schema;
CREATE EXTENSION osa_validation SCHEMA $schema;
SET search_path = $schema;
SELECT osa_add_runner('rehearsal', 'noop', NULL);
SELECT osa_register_hook('anything');
SELECT osa_add_release('anything', 'localhost/anything:1', '1');
SELECT osa_define_pipeline('nightly', '{anything}', runner => 'rehearsal');
SELECT osa_define_pipeline('default', '{}');
GRANT USAGE ON SCHEMA $schema TO app, other;
GRANT EXECUTE ON FUNCTION osa_submit_deposition, osa_start_validation, osa_schedule_validation, osa_unschedule TO app;
GRANT SELECT ON osa_deposition, osa_pipeline TO app;
SET ROLE app;
SELECT osa_submit_deposition('it''s 1', '[{"id": "r1", "metadata": {}}, {"id": "r2", "metadata": {}}]');
SQL
}

# ---- 1: not on the server
sql($node, 'CREATE ROLE app LOGIN; CREATE ROLE other LOGIN; CREATE DATABASE archive');
set_up('postgres', 'osa');
my $validation = "osa.osa_schedule_validation('nightly', '$every_minute', 'it''s 1', 'nightly', "
  . q{'{"depth": "it''s \\\\ 3"}')};
my $error = error_of('SELECT osa.osa_schedule_maintenance()');
like($error, qr/55000: pg_cron is not installed in database "postgres"/, 'without pg_cron: a clear error');
like($error, qr/HINT: .*CREATE EXTENSION pg_cron/, 'which says what to do');
like(error_of("SELECT $validation", role => 'app'), qr/55000: pg_cron is not installed/, 'for a validation too');
like(error_of("SELECT osa.osa_unschedule('nightly')"), qr/55000: pg_cron is not installed/, 'and for unscheduling');

$node->append_conf('postgresql.conf', "shared_preload_libraries = 'osa_validation,pg_cron'");
$node->restart;
like(error_of('SELECT osa.osa_schedule_maintenance()'), qr/HINT:  Run here: CREATE EXTENSION pg_cron;/,
	'in pg_cron\'s database without it: create it');
sql($node, 'CREATE EXTENSION pg_cron');
like(error_of("SELECT $validation", role => 'app'),
	qr/42501: permission denied for schema cron\nHINT: .*GRANT USAGE ON SCHEMA cron TO app/,
	'a role that may not use pg_cron is told what it lacks');
sql($node, 'GRANT USAGE ON SCHEMA cron TO app');

# not in this database, for a superuser and for a role that sees no settings
set_up('archive', '"Archive x"');
(my $there = $validation) =~ s/^osa\./"Archive x"./;
$error = error_of("SELECT $there", role => 'app', db => 'archive');
like($error, qr/55000: pg_cron is not installed in database "archive"/, 'in another database: a clear error');
my ($remedy) = $error =~ /HINT:  An administrator can run in the database of cron\.database_name: (.*;)$/m;
ok($remedy, 'which says what to run in pg_cron\'s database') or diag $error;
$error = error_of('SELECT "Archive x".osa_schedule_maintenance($$' . $every_minute . '$$)', db => 'archive');
my ($maintenance_remedy) = $error =~ /HINT:  Run in database "postgres": (.*;)$/m;
ok($maintenance_remedy, 'and to a superuser, which database that is') or diag $error;
is(sql($node, 'SELECT count(*) FROM cron.job'), '0', 'nothing is scheduled so far');

# ---- 6
like(error_of(q{SELECT osa.osa_schedule_validation('x', '61 * * * *', 'it''s 1')}, role => 'app'),
	qr/invalid schedule: 61/, 'pg_cron refuses a bad schedule');
for my $case (
	[ 'a name with a colon', q{'a:b', '* * * * *', 'it''s 1'}, '22023' ],
	[ 'the name of maintenance', q{'maintenance', '* * * * *', 'it''s 1'}, '22023' ],
	[ 'no deposition', q{'x', '* * * * *', NULL}, '22004' ],
	[ 'an unknown deposition', q{'x', '* * * * *', 'd2'}, '42704' ],
	[ 'an unknown pipeline', q{'x', '* * * * *', 'it''s 1', 'weekly'}, '42704' ],
	[ 'a config that is no object', q{'x', '* * * * *', 'it''s 1', NULL, '[]'}, 'OS002' ])
{
	my ($what, $arguments, $state) = @$case;
	like(error_of("SELECT osa.osa_schedule_validation($arguments)", role => 'app'), qr/ERROR:  $state: .*\nHINT|22004: /,
		"$what is refused: $state");
}
like(error_of("SELECT $validation"), qr/42501: deposition "it's 1" belongs to another role/,
	'another role\'s deposition is refused');
like(error_of("SELECT $validation", role => 'other'), qr/42501: permission denied for function osa_schedule_validation/, 'and a role without the grant');
is(sql($node, 'SELECT count(*) FROM cron.job'), '0', 'nothing is scheduled by what was refused');

# ---- 5, and what 2 to 4 wait for
sql($node, q{SET ROLE app; SELECT osa.osa_schedule_validation('nightly', '0 3 1 1 *', 'it''s 1')});
sql($node, "SET ROLE app; SELECT $validation");
is(sql($node, 'SELECT jobname, schedule, username FROM cron.job'), "osa_validation:postgres:nightly|$every_minute|app",
	'the same name again changes the schedule');
sql($node, "SELECT osa.osa_schedule_maintenance('0 3 1 1 *')");
sql($node, "SELECT osa.osa_schedule_maintenance('$every_minute')");
is(sql($node, q{SELECT osa.osa_unschedule('nightly')}), 'f', 'a role has no hold of another\'s schedule');
sql($node, $remedy);
sql($node, $maintenance_remedy);
is(sql($node, 'SELECT count(*) FROM cron.job'), '4', 'there are four schedules');

# ---- 2, 3, 4: pg_cron begins with the minute
my %schema = (postgres => 'osa', archive => '"Archive x"');
for my $db ('postgres', 'archive')
{
	ok(wait_for($node, "SELECT EXISTS (SELECT FROM cron.job_run_details WHERE status = 'succeeded' AND database = '$db'"
			. " AND command LIKE '%osa_maintain%')", 't', 130), "$db: pg_cron has run osa_maintain()");
	my $runs = "$schema{$db}.osa_validation_run WHERE pipeline = 'nightly'";
	ok(wait_for($node, "SELECT EXISTS (SELECT FROM $runs AND finished_at IS NOT NULL)", 't', 130, db => $db),
		"$db: a validation that pg_cron started has ended");
	is(sql($node, "SELECT deposition, status, owner, config ->> 'depth' FROM $runs ORDER BY id LIMIT 1", db => $db),
		q{it's 1|completed|app|it's \\ 3}, "$db: of that deposition, by its owner, with its config");
	is(sql($node, "SELECT string_agg(record_id, ' ' ORDER BY record_id) FROM $schema{$db}.osa_record"
			. " WHERE run_id = (SELECT min(id) FROM $runs)", db => $db), 'r1 r2', "$db: with its submitted records");
}

# ---- 5
is(sql($node, q{SET ROLE app; SELECT osa.osa_unschedule('nightly')}), 't', 'a schedule is ended');
is(sql($node, q{SET ROLE app; SELECT osa.osa_unschedule('nightly')}), 'f', 'and is gone then');
is(sql($node, q{SELECT osa.osa_unschedule('maintenance')}), 't', 'maintenance too');
$error = error_of(q{SELECT "Archive x".osa_unschedule('nightly')}, role => 'app', db => 'archive');
($remedy) = $error =~ /HINT:  An administrator can run in the database of cron\.database_name: (.*;)$/m;
is(sql($node, $remedy // 'SELECT NULL'), 't', 'from another database: by what the error says');
is(sql($node, 'SELECT string_agg(jobname, $$ $$) FROM cron.job'), 'osa_validation:archive:maintenance', 'no other is touched');

check_sound($node, schema => $schema{$_}, db => $_) for 'postgres', 'archive';
$node->stop;
done_testing();
