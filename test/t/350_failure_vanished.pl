# A container that somebody else takes away, or that nobody can vouch for.
#
# Claims:
#  1. Removed by someone else while it runs and the engine stays connected:
#     runtime; tried again in a new attempt with a new launch, when its delay is
#     over.
#  2. When the budget is spent it fails as runtime.
#  3. An exit that can't be trusted, without the time of its end: runtime.
#  4. Absent after a reconnect: run again for free, with the same launch; from
#     the fourth time on it spends an attempt as runtime.
#  5. Stopped by someone else (SIGTERM, SIGKILL by the engine's API) it is what
#     its exit code says.
#  6. A container whose guardian died with it ends by its timeout at the latest.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use OsaContainer;
use OsaProxy;
use OsaTest;
use Test::More;

my $proxy = OsaProxy->new;
my $node = new_node('vanished', fsync => 0, conf => "osa_validation.engine_socket = 'unix://" . $proxy->path . "'\n");
my $up = "SELECT state = 'up' FROM osa_status, jsonb_to_recordset(runners) r(state text)";
register_script_hook($node, 'held', sh => hold(), limits => { retries => 2, retry_delay => '0.2 s' });
register_script_hook($node, 'quick', sh => 'true', limits => { retry_delay => '0.2 s' });
register_script_hook($node, 'once', sh => hold(), limits => { retries => 0 });
register_script_hook($node, 'short', sh => hold(), limits => { retries => 0, timeout => '3 s' });
define_pipeline($node, $_, [$_]) for qw(held quick once short);

sub attempts
{
	my ($run) = @_;
	return sql($node, "SELECT string_agg(concat_ws(' ', attempt, failure_kind), ', ' ORDER BY recorded_at)"
		. " FROM osa_hook_attempt WHERE run_id = $run");
}

# Its end is not looked at until it is gone: a kill alone is another matter.
sub take_away
{
	my ($name) = @_;
	$proxy->rule(slow => path => $name, delay => 1);
	remove_container($name);
	$proxy->wait_hits('slow', 1);
	$proxy->drop('slow');
	return;
}

# 1
my $run = start_run($node, 'removed', ['r'], pipeline => 'held');
my $first = wait_held($node, $run);
take_away($first);
my $second = wait_held($node, $run, 0, 2);
isnt($second, $first, 'a removed container: the next attempt has a launch of its own');
like(sql($node, "SELECT failure_kind, message FROM osa_run_hook WHERE run_id = $run"), qr/^runtime\|container vanished/,
	'while it runs the step says why');
let_go($second);
is(wait_run($node, $run), 'completed', 'the run completes');
is(attempts($run), '1 runtime, 2', 'in a second attempt');
is(sql($node, "SELECT free_reruns, failure_kind FROM osa_run_hook WHERE run_id = $run"), '0|', 'that was no free re-run');

# 2
$run = start_run($node, 'removed each time', ['r'], pipeline => 'held');
take_away(wait_held($node, $run, 0, $_)) for 1 .. 3;
is(wait_run($node, $run), 'failed', 'removed each time it fails');
is(attempts($run), '1 runtime, 2 runtime, 3 runtime', 'when its attempts are spent');
is(sql($node, "SELECT failure_kind FROM osa_run_hook WHERE run_id = $run"), 'runtime', 'as runtime');

# Seen between its kill and its removal it may look as killed for memory.
$run = start_run($node, 'removed in sight', ['r'], pipeline => 'held');
remove_container(wait_held($node, $run, 0, $_)) for 1 .. 3;
is(wait_run($node, $run), 'failed', 'removed in sight of the worker');
like(attempts($run), qr/^1 (?:runtime|oom), 2 (?:runtime|oom), 3 (?:runtime|oom)$/, 'each time spends an attempt, none is free');

# 3
$proxy->rule(end => method => 'GET', path => '/containers/osa-[^/]*/json', edit => [ '("FinishedAt":\s*")[^"]*"', '"FinishedAt":"0001-01-01T00:00:00Z"' ]);
$run = start_run($node, 'no end', ['r'], pipeline => 'quick');
ok(wait_for($node, "SELECT attempt > 1 FROM osa_run_hook WHERE run_id = $run"), 'an exit without a time is not trusted');
$proxy->drop('end');
is(wait_run($node, $run), 'completed', 'one that can be is');
like(attempts($run), qr/^1 runtime, (?:\d runtime, )?\d$/, 'the other was runtime');

# 4
$run = start_run($node, 'absent', ['r'], pipeline => 'held');
my $launch = sql($node, "SELECT launch_id FROM osa_run_hook WHERE run_id = $run");
for my $time (1 .. 4)
{
	$first = wait_held($node, $run, 0, $time);
	$proxy->rule(away => path => '.', reset => 1);
	$proxy->cut;
	ok(wait_for($node, "SELECT phase FROM osa_in_flight WHERE run_id = $run", 'engine down'), "time $time: the engine is away");
	remove_container($first);
	$proxy->drop('away');
}
$second = wait_held($node, $run, 0, 5);
is(sql($node, "SELECT attempt, free_reruns, launch_id = '$launch' FROM osa_run_hook WHERE run_id = $run"), '2|3|f',
	'three times for free, the fourth spent an attempt');
let_go($second);
is(wait_run($node, $run), 'completed', 'the run completes');
is(attempts($run), '1 runtime, 1 runtime, 1 runtime, 1 runtime, 2', 'which its attempts tell');
is(sql($node, "SELECT count(*) FROM osa_hook_attempt WHERE run_id = $run AND launch_id = '$launch'"), 4, 'the free ones are of one launch');

# 5
my %killed = (
	TERM => start_run($node, 'term', ['r'], pipeline => 'once'),
	KILL => start_run($node, 'kill', ['r'], pipeline => 'once'));
my %expected = (TERM => 'hook_exit|143', KILL => 'oom|137');
for my $signal (sort keys %killed)
{
	my $name = wait_held($node, $killed{$signal});
	is((engine_call('POST', "/containers/$name/kill?signal=SIG$signal"))[0], 204, "$signal: sent");
	is(wait_run($node, $killed{$signal}), 'failed', "$signal: the run has failed");
	is(sql($node, "SELECT failure_kind, exit_code FROM osa_hook_attempt WHERE run_id = $killed{$signal}"), $expected{$signal},
		"$signal: by what the engine says");
}

# 6
$run = start_run($node, 'shim', ['r'], pipeline => 'short');
keeper('kill-shim', wait_held($node, $run));
is(wait_run($node, $run), 'failed', 'a container without a guardian ends');
like(attempts($run), qr/^1 (?:timeout|oom|hook_exit|runtime)$/, 'for a reason that is told');

check_sound($node);
no_containers($node);
$node->stop;
done_testing();
