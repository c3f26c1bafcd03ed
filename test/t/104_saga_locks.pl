# Locks of others delay what they lock, and never stall the worker.
#
# Claims:
#  1. A row of a run that somebody locks delays that run alone, whether it waits
#     or its hook has ended; no attempt is spent on it.
#  2. A table of ours locked ACCESS EXCLUSIVE when many hooks end: the worker's
#     turns stay short, nothing is lost, all complete once it is free again.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use OsaTest;
use Test::More;

my $node = new_node('locks');
register_script_hook($node, 'hook', sh => 'true');
define_pipeline($node, 'default', ['hook']);
sql($node, q{SELECT osa_add_runner('rehearsal', 'noop', NULL)});
define_pipeline($node, 'quick', [ 'hook' ], runner => 'rehearsal');

# 1: the hook ends while the run is locked; another run is locked before its claim
my $other = $node->background_psql('postgres');
my $held = start_run($node, 'held', ['r'], config => { sh => 'sleep 1' });
ok(wait_for($node, "SELECT phase FROM osa_in_flight WHERE run_id = $held", 'running'), 'a hook runs');
$other->query_safe("BEGIN; SELECT FROM osa_validation_run WHERE id = $held FOR UPDATE");
ok(wait_for($node, "SELECT phase FROM osa_in_flight WHERE run_id = $held", 'wait'), 'its end cannot be committed while the run is locked');
my @free = map { start_run($node, "free$_", ['r']) } 1 .. 3;
is(wait_run($node, $_, 20), 'completed', 'another run is not delayed') for @free;
is(sql($node, "SELECT status FROM osa_validation_run WHERE id = $held"), 'running', 'the locked one is');
$other->query_safe('COMMIT');
is(wait_run($node, $held), 'completed', 'it completes when the lock is gone');
is(sql($node, "SELECT attempt, failure_kind FROM osa_run_hook WHERE run_id = $held"), '1|', 'without another attempt');
is(starts_by_hook($node, $held), '0:1', 'its hook ran once');

# 2
my @many = map { start_run($node, "many$_", ['r'], pipeline => 'quick') } 1 .. 3;
is(wait_run($node, $_), 'completed', 'warm') for @many;
my $slow = 'SELECT slow_turns FROM osa_worker';
my $before = sql($node, $slow);
$other->query_safe('BEGIN; LOCK TABLE osa_outcome IN ACCESS EXCLUSIVE MODE');
sql($node, q{SELECT count(osa_start_validation('crowd' || i, '[{"id": "r"}]', 'quick')) FROM generate_series(1, 200) i});
ok(wait_for($node, q{SELECT count(*) >= 20 FROM osa_delivery WHERE status = 'claimed'}), 'many steps wait for a locked table');
ok(wait_for($node, q{SELECT count(*) > 0 FROM pg_stat_activity WHERE backend_type LIKE 'osa_validation worker%' AND state = 'idle'}),
	'the worker is not caught in it');
my $turns = sql($node, 'SELECT turns FROM osa_worker');
ok(wait_for($node, "SELECT turns > $turns + 5 FROM osa_worker"), 'and goes on turning');
is(sql($node, q{SELECT count(*) FROM osa_validation_run WHERE deposition LIKE 'crowd%' AND finished_at IS NOT NULL}), 0,
	'nothing ends meanwhile');
$other->query_safe('COMMIT');
ok(wait_for($node, q{SELECT count(*) FROM osa_validation_run WHERE deposition LIKE 'crowd%' AND status = 'completed'}, 200),
	'all complete when it is free');
cmp_ok(sql($node, $slow), '<=', $before + 2, 'its turns stay short');
is(sql($node, q{SELECT count(*) FROM osa_run_hook WHERE attempt > 1 OR strikes > 0}), 0, 'nobody paid for it');

$other->quit;
check_sound($node);
$node->stop;
done_testing();
