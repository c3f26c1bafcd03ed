# Crashes at any moment, while many runs are under way.
#
# The worker is killed or terminated, the server restarted at once, the engine
# killed and started again, at random moments; the seed is told and can be set
# by OSA_SEED.
#
# Claims:
#  1. Every run completes, with one outcome of each hook and record and one
#     terminal event; osa_check() finds nothing at any moment.
#  2. The engine started each hook once: no crash makes a hook run again.
#  3. No attempt is spent, no container left.  A free re-run is counted where a
#     claim was lost before its container was there.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use OsaContainer;
use OsaTest;
use Test::More;
use Time::HiRes qw(sleep);

plan skip_all => 'long form: make check-full, or OSA_SEED' unless $ENV{OSA_FULL} || $ENV{OSA_SEED};
my $seed = $ENV{OSA_SEED} || time;
srand $seed;
diag "OSA_SEED=$seed";
my ($n_runs, $n_crashes) = $ENV{OSA_FULL} ? (60, 40) : (12, 6);

my $node = new_node('random', fsync => 0);
sql($node, "SELECT osa_add_runner('local', 'docker', NULL, max_in_flight => 8)");
my @columns = (columns => [ { name => 'n', type => 'int4' } ], cardinality => 'one');
register_script_hook($node, "hook$_", @columns, sh => 'sleep 0.' . 2 * $_ . q(; for id in $(ids); do feature $id '{"n":1}'; done))
  for 0 .. 2;
define_pipeline($node, 'default', [ map { "hook$_" } 0 .. 2 ]);
my @runs = map { start_run($node, "run $_", [ 'r1', 'r2' ]) } 1 .. $n_runs;

my @crashes = (
	sub { kill 'KILL', worker_pid($node) || return },
	sub { sql($node, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'osa_validation worker'") },
	sub { $node->stop('immediate'); $node->start },
	sub { $node->restart },
	sub { keeper('kill'); sleep rand; keeper('start') });
for my $i (1 .. $n_crashes)
{
	# somewhere in the middle of what a worker does in a second or two
	sleep rand 1.5;
	my $which = int rand @crashes;
	$crashes[$which]->();
	ok(wait_for($node, 'SELECT count(*) FROM osa_check()', '0'), "crash $i, kind $which: all is sound");
	ok(wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'osa_validation worker'", '1'), 'there is a worker again');
}

is(join(' ', map { wait_run($node, $_, 120) } @runs), join(' ', ('completed') x @runs), 'every run completes')
  or diag sql($node, 'SELECT * FROM osa_failures', psql => ['-x']);
is(join(', ', map { starts_by_hook($node, $_) } @runs), join(', ', ('0:1 1:1 2:1') x @runs), 'every hook ran once');
is(sql($node, "SELECT count(*) FROM osa_outcome WHERE status = 'passed'"), 6 * @runs, 'with its outcomes');
is(sql($node, "SELECT count(*) FROM osa_event WHERE type = 'ValidationCompleted'"), scalar @runs, 'one terminal event a run');
is(sql($node, 'SELECT max(attempt), (SELECT count(*) FROM osa_hook_attempt) - sum(free_reruns) FROM osa_run_hook'),
	'1|' . 3 * @runs, 'no attempt was spent');

check_sound($node);
no_containers($node);
$node->stop;
done_testing();
