# Longer than its timeout.
#
# Claims:
#  1. A hook that runs longer is killed, soon after its timeout, and tried again
#     when its delay is over; the attempt says timeout, exit code 137 and how
#     long it ran, and keeps the end of its log.
#  2. The outcomes already written are kept, except that of the file's last
#     line and a torn one; only the rest run again.
#  3. When the budget is spent it fails as timeout.
#  4. Whoever kills: killed by another's hand after its timeout, while no worker
#     was there, it is judged so too.
#  5. A hook that ignores SIGTERM is killed all the same.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use OsaContainer;
use OsaTest;
use Test::More;
use Time::HiRes qw(time);

my $node = new_node('timeout', fsync => 0);
my @columns = (columns => [ { name => 'n', type => 'int4' } ], cardinality => 'one');
my %hook = (
	# three outcomes and a torn line at first; the rest at once
	slow => q(n=$(ids | wc -l); echo has $n; for id in $(ids); do feature $id "{\"n\":$n}"; )
	  . q([ $n = 5 ] && [ $id = r3 ] && { printf '{"id":"r4","featu' >>features.jsonl; sleep 100; }; done; true),
	deaf => q(trap '' TERM INT; while true; do sleep 1; done),
	held => hold());
my %limits = (
	slow => { timeout => '1.5 s', retry_delay => '0.2 s' },
	deaf => { timeout => '1 s', retry_delay => '0.1 s', retries => 1 },
	held => { retries => 0 });
for my $name (sort keys %hook)
{
	register_script_hook($node, $name, $name eq 'slow' ? @columns : (), sh => $hook{$name}, limits => $limits{$name});
	define_pipeline($node, $name, [$name]);
}
my $slow = start_run($node, 'slow', [ map { "r$_" } 1 .. 5 ], pipeline => 'slow');
my $deaf = start_run($node, 'deaf', ['r'], pipeline => 'deaf');

# 1, 2
is(wait_run($node, $slow), 'completed', 'the rest of it has passed');
is(sql($node, "SELECT string_agg(concat_ws(' ', attempt, exit_code, oom, failure_kind), ', ' ORDER BY attempt)"
		. " FROM osa_hook_attempt WHERE run_id = $slow"), '1 137 f timeout, 2 0 f', 'its first attempt was killed for its time');
my $ran = sql($node, "SELECT extract(epoch FROM finished_at - started_at) FROM osa_hook_attempt WHERE run_id = $slow AND attempt = 1");
cmp_ok($ran, '>=', 1.5, 'not before its timeout');
cmp_ok($ran, '<', 6, 'and not long after');
is(sql($node, "SELECT string_agg(log_tail, '' ORDER BY attempt) FROM osa_hook_attempt WHERE run_id = $slow"), "has 5\nhas 3\n",
	'the second attempt had the records left, the log was kept');
is(sql($node, "SELECT string_agg(record_id || ' ' || (features -> 0 ->> 'n'), ', ' ORDER BY record_id) FROM osa_outcome WHERE run_id = $slow"),
	'r1 5, r2 5, r3 3, r4 3, r5 3', 'what was written whole is of the first attempt, but for its last line');
like(sql($node, "SELECT message FROM osa_hook_attempt WHERE run_id = $slow AND attempt = 1"), qr/longer than its timeout of 1\.5 s/,
	'the reason says so');
is(starts_by_hook($node, $slow), '0:2', 'two containers');

# 3, 5
is(wait_run($node, $deaf), 'failed', 'a hook that never ends has failed');
is(sql($node, "SELECT failure_kind, attempt FROM osa_run_hook WHERE run_id = $deaf"), 'timeout|2', 'as timeout, after its budget');
is(sql($node, "SELECT string_agg(concat_ws(' ', attempt, exit_code, failure_kind), ', ' ORDER BY attempt)"
		. " FROM osa_hook_attempt WHERE run_id = $deaf"), '1 137 timeout, 2 137 timeout', 'killed each time');
is(sql($node, 'SELECT count(*) FROM osa_partial_outcome'), 0, 'nothing partial is left');

# 4
my $held = start_run($node, 'held', ['r'], pipeline => 'held');
my $name = wait_held($node, $held);
my $held_at = time;
sql($node, q(UPDATE osa_hook_release SET limits = jsonb_set(limits, '{timeout}', '0.5') WHERE hook = 'held'));
$node->stop('immediate');
wait_until { time - $held_at > 1 } 'a second is over';
keeper('kill-container', $name);
wait_container($name, 'exited');
$node->start;
is(wait_run($node, $held), 'failed', 'killed by another while the server was down');
is(sql($node, "SELECT failure_kind, exit_code, adopted FROM osa_hook_attempt WHERE run_id = $held"), 'timeout|137|t',
	'it is judged by how long it ran');

check_sound($node);
no_containers($node);
$node->stop;
done_testing();
