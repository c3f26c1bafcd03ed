# A step over which the worker crashes, again and again, ends by itself.
#
# Each worker is killed while it waits for the engine's word on one container:
# as a worker would end that crashes over what this container says.
#
# Claims:
#  1. Each crash is a strike of the step that was being handled, committed before
#     it was; the steps beside it gain none.
#  2. After five the step fails as internal, its container is removed, and the
#     steps beside it complete, their hooks not run a second time.
#  3. A worker that was ended in order (a fast restart) strikes nobody.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use OsaContainer;
use OsaProxy;
use OsaTest;
use Test::More;

my $proxy = OsaProxy->new;
my $node = new_node('strikes', fsync => 0, conf => "osa_validation.engine_socket = 'unix://" . $proxy->path . "'\n");
register_script_hook($node, 'held', sh => hold());
define_pipeline($node, 'default', ['held']);
my @runs = map { start_run($node, $_, ['r']) } qw(before poison after);
my ($before, $poison, $after) = map { wait_held($node, $_) } @runs;
my $strikes = 'SELECT string_agg(strikes::text, \' \' ORDER BY run_id) FROM osa_run_hook';

sub await_strike
{
	my ($n) = @_;
	$proxy->rule(poison => path => "$poison/json", hang => 1);
	return $proxy->wait_hits('poison', 1) && wait_for($node, "SELECT strikes FROM osa_run_hook WHERE run_id = $runs[1]", $n);
}

# 3
$proxy->rule(poison => path => "$poison/json", hang => 1);
$node->restart;
ok($proxy->wait_hits('poison', 1), 'after a fast restart the container is looked at');
ok(wait_for($node, 'SELECT count(*) FROM osa_in_flight WHERE adopted', '2'), 'and those beside it at the same time');
is(sql($node, $strikes), '0 0 0', 'without a strike');

# 1
my $worker = worker_pid($node);
for my $n (1 .. 5)
{
	kill 'KILL', $worker;
	ok(await_strike($n), "crash $n: the next worker strikes the step before it looks");
	$worker = worker_pid($node);
}
like(sql($node, $strikes), qr/^0 5 [01]$/, 'the others have none');

# 2
kill 'KILL', $worker;
$proxy->drop('poison');
is(wait_run($node, $runs[1]), 'failed', 'after five the run has failed');
like(sql($node, "SELECT failure_kind, message FROM osa_run_hook WHERE run_id = $runs[1]"), qr/^internal\|.*uncleanly 5 times/,
	'as internal, which is said');
let_go($before, $after);
is(wait_run($node, $_), 'completed', 'those beside it complete') for @runs[0, 2];
is(join(' ', map { starts_by_hook($node, $_) } @runs), '0:1 0:1 0:1', 'each hook ran once');
like(sql($node, $strikes), qr/^0 [56] 0$/, 'and no strike is left with them');

check_sound($node);
no_containers($node);
$node->stop;
done_testing();
