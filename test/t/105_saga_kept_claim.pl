# A claim that a step's commit kept survives a look at the claims.
#
# An out-of-memory kill is tried again at once, under the claim that the commit
# kept, once the container before is gone.  Here its removal hangs, and a cancel
# of another run makes the worker look at its claims meanwhile.
#
# Claims:
#  1. The retry goes on by itself when the container is gone: the claim is not
#     given up, no free re-run is spent, each attempt has one container.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use OsaProxy;
use OsaTest;
use Test::More;

my $proxy = OsaProxy->new;
my $node = new_node('kept', fsync => 0, conf => "osa_validation.engine_socket = 'unix://" . $proxy->path . "'\n"
	. "osa_validation.poll_interval = '1h'\nosa_validation.claim_timeout = '1h'\n");
register_script_hook($node, 'hook', limits => { memory => '16MiB' });
define_pipeline($node, 'default', ['hook']);

$proxy->rule(removal => method => 'DELETE', path => '/containers/', hang => 1);
my $run = start_run($node, 'hungry', ['r'], config => { sh =>
	'm=$(cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null); [ "$m" -gt 20000000 ] || exit 137' });
ok($proxy->wait_hits('removal', 1), 'the container of a killed attempt is being removed');
is(sql($node, "SELECT attempt FROM osa_run_hook WHERE run_id = $run"), 2, 'the next attempt is due');

my $other = start_run($node, 'other', ['r'], config => { sh => 'sleep 60' });
ok(wait_for($node, "SELECT phase FROM osa_in_flight WHERE run_id = $other", 'running'), 'another hook runs');
sql($node, "SELECT osa_cancel_validation($other)");
ok(wait_for($node, "SELECT phase FROM osa_in_flight WHERE run_id = $other AND phase <> 'running'", 'remove'),
	'it was cancelled: the worker has looked at its claims');

$proxy->drop('removal');
is(wait_run($node, $run, 30), 'completed', 'the retry goes on');
is(sql($node, "SELECT attempt, free_reruns, strikes FROM osa_run_hook WHERE run_id = $run"), '2|0|0', 'without a free re-run');
is(starts($node, run => $run), 2, 'each attempt had one container');
ok(wait_for($node, 'SELECT count(*) FROM osa_in_flight', 0), 'nothing is left in flight');
check_sound($node);
$node->stop;
done_testing();
