# The worker's own transaction fails: a user's trigger raises, a lock is held.
#
# Claims:
#  1. An ERROR while a step is committed: tried five times with back-off, then
#     the step fails as internal, with the error; its container is removed.
#  2. Conflicts (class 40), want of resources (53), a cancel by others (57014)
#     and a lock that is not free (55P03) don't count: the step is committed when
#     they are over, its hook not run again.
#  3. Where not even the failure can be written the delivery is parked, with its
#     error, shown in osa_status and osa_queue; once it can be written the run
#     goes on from its container.
#  4. The runs beside them go on all the while; the worker stays the same one.
#  5. A run that failed so can be retried.
#  6. A statement of a trigger's that takes too long counts (long form only).
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use OsaContainer;
use OsaTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('internal', fsync => 0);
# record id => what its outcome meets, how often; sequences count, for they
# keep what a rolled back transaction took
my %error = (
	raises => [ 'P0001', 1000 ], conflict => [ '40001', 8 ], deadlock => [ '40P01', 8 ], resources => [ '53100', 6 ],
	cancelled => [ '57014', 7 ], locked => [ '55P03', 7 ]);
sql($node, <<'SQL');
CREATE TABLE meets (record_id text PRIMARY KEY, code text, times int);
CREATE FUNCTION meet() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
	m public.meets;
BEGIN
	SELECT * INTO m FROM public.meets s WHERE s.record_id = NEW.record_id;
	IF FOUND AND nextval(('public.count_' || m.record_id)::regclass) <= m.times THEN
		RAISE EXCEPTION 'the trigger says no to %', m.record_id USING ERRCODE = m.code;
	END IF;
	RETURN NEW;
END $$;
CREATE TRIGGER meet BEFORE INSERT ON osa_outcome FOR EACH ROW EXECUTE FUNCTION meet();
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION 'not even that';
END $$;
CREATE TRIGGER refuse BEFORE UPDATE ON osa_run_hook FOR EACH ROW
	WHEN (NEW.hook = 'unwritable' AND NEW.status IN ('passed', 'failed')) EXECUTE FUNCTION refuse();
SQL
for my $id (sort keys %error)
{
	sql($node, "CREATE SEQUENCE count_$id; INSERT INTO meets VALUES ('$id', '$error{$id}[0]', $error{$id}[1])");
}
register_script_hook($node, $_, sh => 'true') for qw(fine unwritable);
define_pipeline($node, 'default', ['fine']);
define_pipeline($node, 'unwritable', ['unwritable']);
sql($node, "SELECT osa_add_runner('local', 'docker', NULL, max_in_flight => 20)");

my $worker = worker_pid($node);
my $unwritable = start_run($node, 'unwritable', ['r'], pipeline => 'unwritable');
my %run = map { $_ => start_run($node, $_, [$_]) } sort keys %error;
my $count = sub { return sql($node, "SELECT last_value FROM count_$_[0]") };
ok(wait_for($node, 'SELECT last_value >= 2 FROM count_raises'), 'the trigger raises');
is(wait_run($node, start_run($node, 'beside', ['r']), 20), 'completed', 'a run beside it completes meanwhile');
is(sql($node, "SELECT status FROM osa_run_hook WHERE run_id = $run{raises}"), 'running', 'this one is tried again');
like(sql($node, "SELECT string_agg(phase, ' ') FROM osa_in_flight WHERE run_id = $run{raises}"), qr/^(?:wait|commit)$/, 'later');

# 1
is(wait_run($node, $run{raises}), 'failed', 'it fails in the end');
is($count->('raises'), 5, 'after five times');
is(sql($node, "SELECT failure_kind, message FROM osa_run_hook WHERE run_id = $run{raises}"),
	'internal|internal error, 5 times: the trigger says no to raises', 'as internal, with the error');
cmp_ok(sql($node, "SELECT extract(epoch FROM finished_at - (SELECT finished_at FROM osa_hook_attempt WHERE run_id = $run{raises}))"
		. " FROM osa_run_hook WHERE run_id = $run{raises}"), '>', 10, 'the tries were apart');
is(sql($node, "SELECT exit_code, failure_kind FROM osa_hook_attempt WHERE run_id = $run{raises}"), '0|internal', 'its attempt is recorded');

# 2
for my $id (grep { $_ ne 'raises' } sort keys %error)
{
	is(wait_run($node, $run{$id}), 'completed', "$id ($error{$id}[0]): it is committed in the end");
	is($count->($id), $error{$id}[1] + 1, "$id: after more than five times");
	is(sql($node, "SELECT attempt, free_reruns, strikes FROM osa_run_hook WHERE run_id = $run{$id}"), '1|0|0', "$id: nothing was counted");
}
is(starts_by_hook($node, $_), '0:1', 'the hook ran once') for values %run;

# 3
ok(wait_for($node, 'SELECT parked FROM osa_status', '1'), 'osa_status shows a parked delivery');
like(sql($node, 'SELECT advice FROM osa_status'), qr/parked after internal errors/, 'and says where to look');
is(sql($node, "SELECT status, waiting_for, last_error FROM osa_queue WHERE run_id = $unwritable"),
	'failed|parked after an internal error|not even that', 'osa_queue shows it with its error');
is(sql($node, "SELECT deliver_after > now() FROM osa_delivery WHERE run_id = $unwritable"), 't', 'it is tried again later');
is(sql($node, "SELECT status FROM osa_validation_run WHERE id = $unwritable"), 'running', 'its run is not ended');
check_sound($node);
sql($node, 'DROP TRIGGER refuse ON osa_run_hook');
is(wait_run($node, start_run($node, 'beside too', ['r']), 20), 'completed', 'runs beside it complete');
# not in a minute, but now
sql($node, "UPDATE osa_delivery SET deliver_after = now() WHERE run_id = $unwritable; SELECT osa_maintain()");
is(wait_run($node, $unwritable), 'completed', 'once it can be written the run completes');
is(starts_by_hook($node, $unwritable), '0:1', 'from the container that was there');
is(sql($node, 'SELECT parked FROM osa_status'), '0', 'nothing is parked any more');

# 4, 5
is(worker_pid($node), $worker, 'it is the same worker');
sql($node, "DELETE FROM meets WHERE record_id = 'raises'; SELECT osa_retry_validation($run{raises})");
is(wait_run($node, $run{raises}), 'completed', 'the failed run can be retried');

# 6
SKIP:
{
	skip 'takes three minutes: set OSA_FULL', 2 unless $ENV{OSA_FULL};
	sql($node, 'CREATE SEQUENCE count_slow; CREATE FUNCTION sleep() RETURNS trigger LANGUAGE plpgsql AS'
		  . q( $$ BEGIN PERFORM nextval('public.count_slow'), pg_sleep(100); RETURN NEW; END $$;)
		  . q( CREATE TRIGGER sleep BEFORE INSERT ON osa_outcome FOR EACH ROW WHEN (NEW.record_id = 'slow') EXECUTE FUNCTION sleep()));
	my $slow = start_run($node, 'slow', ['slow']);
	is(wait_run($node, $slow, 240), 'failed', 'a trigger that sleeps fails the step');
	is(sql($node, "SELECT failure_kind FROM osa_run_hook WHERE run_id = $slow") . $count->('slow'), 'internal5', 'as internal, after five times');
}

check_sound($node);
no_containers($node);
$node->stop;
done_testing();
