# People intervene: cancel, expiry, retry, pause, priorities, keys.
#
# Claims:
#  1. Cancel ends a run at once in the table; its container is gone within 2 s;
#     what the attempt was is recorded; false for a run that has ended.
#  2. Cancel of a run that waits starts nothing.
#  3. A run that has not ended by expires_at is cancelled.
#  4. Retry goes on from the hook that failed, in a new round, also with the live
#     release; hooks that had passed are not run again.
#  5. osa_pause drains: running hooks end, the next ones wait; osa_resume goes on.
#  6. osa_pause(stop_running) stops containers and spends no attempt.
#  7. Of what waits, the higher priority is run first, also before the next
#     hook of a run under way.
#  8. The same idempotency key returns the first run, also when both come at once.
#  9. One terminal event a round.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use OsaTest;
use IPC::Run;
use Test::More;
use Time::HiRes qw(time);

my $node = new_node('people', conf => "osa_validation.poll_interval = '1h'");
register_script_hook($node, $_) for qw(one two);
define_pipeline($node, 'default', [ 'one', 'two' ]);
sql($node, q{SELECT osa_add_runner('local', 'docker', NULL, 1)});

sub is_running
{
	my ($run) = @_;
	return wait_for($node, "SELECT phase FROM osa_in_flight WHERE run_id = $run", 'running');
}

sub gone_within
{
	my ($run, $seconds) = @_;
	my $until = time + $seconds;
	while (1)
	{
		return 1 unless containers($node, run => $run);
		return 0 if time > $until;
		select(undef, undef, undef, 0.02);
	}
}

# 1
my $run = start_run($node, 'd1', ['r1'], config => { sh_one => 'true', sh_two => 'echo here; sleep 60' });
ok(wait_for($node, "SELECT current_hook_index FROM osa_validation_run WHERE id = $run", 1), 'the second hook is under way');
ok(is_running($run), 'and running');
is(sql($node, "SELECT osa_cancel_validation($run, 'changed my mind')"), 't', 'it is cancelled');
is(sql($node, "SELECT status, current_hook_index, reason FROM osa_validation_run WHERE id = $run"),
	'cancelled|1|changed my mind', 'at once');
ok(gone_within($run, 2), 'its container is gone within 2 s');
ok(wait_for($node, "SELECT failure_kind, log_tail FROM osa_hook_attempt WHERE run_id = $run AND hook_index = 1",
	"cancelled|here\n"), 'what it was is recorded');
is(sql($node, "SELECT osa_cancel_validation($run)"), 'f', 'it has ended');
is(sql($node, "SELECT status FROM osa_run_hook WHERE run_id = $run ORDER BY hook_index"), "passed\ncancelled", 'the steps say so');

# 2, 7
my $busy = start_run($node, 'busy', ['r1'], config => { sh_one => 'sleep 2', sh_two => 'true' });
ok(is_running($busy), 'the only place is taken');
my $never = start_run($node, 'never', ['r1'], config => { sh => 'true' });
my $low = start_run($node, 'low', ['r1'], config => { sh => 'true' });
my $high = start_run($node, 'high', ['r1'], config => { sh => 'true' }, priority => 5);
is(sql($node, "SELECT osa_cancel_validation($never)"), 't', 'one that waits is cancelled');
is(wait_run($node, $_), 'completed', 'the others complete') for $busy, $low, $high;
is(starts_by_hook($node, $never), '', 'it was never started');
is(sql($node, <<"SQL"), "$busy|0\n$high|0\n$high|1\n$busy|1\n$low|0\n$low|1", 'the higher priority came first, also before the next hook');
SELECT run_id, hook_index FROM osa_hook_attempt WHERE run_id IN ($busy, $low, $high) ORDER BY started_at
SQL

# 3
$run = start_run($node, 'late', ['r1'], config => { sh => 'sleep 60' }, expires_in => '1.5 s');
is(wait_run($node, $run, 10), 'cancelled', 'a run that expired is cancelled');
like(sql($node, "SELECT reason FROM osa_validation_run WHERE id = $run"), qr/expire/, 'with the reason');
ok(gone_within($run, 2), 'its container is gone');

# 4
$run = start_run($node, 'again', ['r1'], config => { sh_one => 'true', sh_two => '[ ! -e /osa/in/nothing ] && exit 7' });
is(wait_run($node, $run), 'failed', 'a run fails');
is(sql($node, "SELECT osa_retry_validation($run)"), 't', 'it is tried again');
is(wait_run($node, $run), 'failed', 'and fails again');
is(starts_by_hook($node, $run), '0:1 1:2', 'the hook that had passed was not run again');
register_script_hook($node, 'mended', sh => 'true');
sql($node, q{SELECT osa_add_release('two', 'localhost/osa-script:1', 'mended', '{"sh_two": "true"}')});
$run = start_run($node, 'live', ['r1'], config => { sh_one => 'true' });
sql($node, q{SELECT osa_add_release('two', 'localhost/osa-script:1', 'broken', '{"sh_two": "exit 9"}')});
is(wait_run($node, $run), 'completed', 'a release that comes later is not used');
$run = start_run($node, 'live2', ['r1'], config => { sh_one => 'true' });
is(wait_run($node, $run), 'failed', 'by a run that starts later it is');
sql($node, q{SELECT osa_rollback_release('two')});
is(sql($node, "SELECT osa_retry_validation($run, use_live => true)"), 't', 'with the live release');
is(wait_run($node, $run), 'completed', 'it completes');
is(sql($node, "SELECT round, type FROM osa_event WHERE run_id = $run AND type LIKE 'Validation%' ORDER BY id"),
	"1|ValidationFailed\n2|ValidationCompleted", 'one terminal event a round');

# 5
$run = start_run($node, 'drained', ['r1'], config => { sh_one => 'sleep 1', sh_two => 'true' });
ok(is_running($run), 'a hook runs');
sql($node, q{SELECT osa_pause('tea')});
ok(wait_for($node, "SELECT current_hook_index, status FROM osa_validation_run WHERE id = $run", '1|running'), 'paused: it ends');
ok(wait_for($node, "SELECT status FROM osa_delivery WHERE run_id = $run", 'pending'), 'the next one waits');
is(sql($node, 'SELECT paused, paused_reason FROM osa_status'), 't|tea', 'osa_status says so');
is(starts_by_hook($node, $run), '0:1', 'and is not started');
sql($node, 'SELECT osa_resume()');
is(wait_run($node, $run), 'completed', 'resumed: it goes on');

# 6
$run = start_run($node, 'stopped', ['r1'], config => { sh_one => 'true', sh_two => 'sleep 3' });
ok(wait_for($node, "SELECT current_hook_index FROM osa_validation_run WHERE id = $run", 1), 'the second hook is due');
ok(is_running($run), 'and runs');
sql($node, q{SELECT osa_pause('now', stop_running => true)});
ok(gone_within($run, 3), 'stopped: its container is gone');
ok(wait_for($node, "SELECT status FROM osa_delivery WHERE run_id = $run", 'pending'), 'the step waits');
sql($node, 'SELECT osa_resume()');
is(wait_run($node, $run), 'completed', 'resumed: it is run again');
is(sql($node, "SELECT attempt, free_reruns FROM osa_run_hook WHERE run_id = $run AND hook_index = 1"), '1|0',
	'no attempt was spent');

# 8
my $call = q{SELECT osa_start_validation('keyed', '[{"id": "r1"}]', config => '{"sh": "true"}', idempotency_key => 'k')};
my @out = ('') x 4;
my @psql = map {
	my $i = $_;
	IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', $call ], '<', \undef, '>', \$out[$i])
} 0 .. 3;
$_->finish for @psql;
my %ids = map { $_ => 1 } @out;
is(scalar(keys %ids), 1, 'four calls with one key at once return one run');
($run) = $out[0] =~ /(\d+)/;
is(wait_run($node, $run), 'completed', 'which completes');
is(sql($node, $call), $run, 'and is returned later too');

check_sound($node);
ok(gone_within($_, 5), 'no container is left') for $run;
is(scalar(containers($node)), 0, 'of any run');
$node->stop;
done_testing();
