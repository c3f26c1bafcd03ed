# Crashes at any moment, while many runs are under way.
#
# The worker is killed or terminated, the server restarted at once, the engine
# killed and started again, at random moments; the seed is told and can be set
# by OSA_SEED.
#
# Claims:
#  1. Every run completes, with one outcome of each hook and record and one
#     terminal event; osa_check() finds nothing at any moment; no container is
#     left.
#  2. Without a crash of the engine each hook is started once, by the engine's
#     own count, and no attempt is spent.
#  3. An engine that is killed may lose what it just did (a start, the storage of
#     a container): then, and only then, a hook may run again, as runtime.
#  4. A free re-run is counted where a claim was lost before its container was
#     there.
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
my ($n_runs, $n_crashes) = $ENV{OSA_FULL} ? (40, 30) : (8, 4);

my $node = new_node('random', fsync => 0);
sql($node, "SELECT osa_add_runner('local', 'docker', NULL, max_in_flight => 8)");
my @columns = (columns => [ { name => 'n', type => 'int4' } ], cardinality => 'one');
register_script_hook($node, "hook$_", @columns, sh => 'sleep 0.' . 2 * $_ . q(; for id in $(ids); do feature $id '{"n":1}'; done),
	limits => { retry_delay => '0.2 s' })
  for 0 .. 2;
define_pipeline($node, 'default', [ map { "hook$_" } 0 .. 2 ]);

my @crashes = (
	[ 'worker killed', sub { kill 'KILL', worker_pid($node) || return } ],
	[ 'worker terminated', sub {
		sql($node, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'osa_validation worker'") } ],
	[ 'immediate restart', sub { $node->stop('immediate'); $node->start } ],
	[ 'fast restart', sub { $node->restart } ],
	[ 'engine killed', sub { keeper('kill'); sleep rand; keeper('start') } ]);

# First without the engine, then with it.
for my $kinds (4, 5)
{
	my @runs = map { start_run($node, "run $_ of $kinds", [ 'r1', 'r2' ]) } 1 .. $n_runs;
	my $ids = join ', ', @runs;
	for my $i (1 .. $n_crashes)
	{
		# somewhere in the middle of what a worker does in a second or two
		sleep rand 1.5;
		my ($what, $crash) = @{ $crashes[ $i == $n_crashes ? $kinds - 1 : int rand $kinds ] };
		$crash->();
		ok(wait_for($node, 'SELECT count(*) FROM osa_check()', '0'), "crash $i, $what: all is sound");
		ok(wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'osa_validation worker'", '1'),
			'there is a worker again');
	}

	is(join(' ', map { wait_run($node, $_, 120) } @runs), join(' ', ('completed') x @runs), 'every run completes')
	  or diag sql($node, 'SELECT * FROM osa_failures; SELECT * FROM osa_in_flight', psql => ['-x']);
	is(sql($node, "SELECT count(*) FROM osa_outcome WHERE run_id IN ($ids) AND status = 'passed'"), 6 * @runs, 'with its outcomes');
	is(sql($node, "SELECT count(*) FROM osa_event WHERE run_id IN ($ids) AND type = 'ValidationCompleted'"), scalar @runs,
		'one terminal event a run');
	is(sql($node, "SELECT count(*) FROM osa_hook_attempt WHERE run_id IN ($ids) AND failure_kind <> 'runtime'"), 0,
		'nothing failed but for the engine');
	next if $kinds == 5;
	is(join(', ', map { starts_by_hook($node, $_) } @runs), join(', ', ('0:1 1:1 2:1') x @runs), 'every hook ran once');
	is(sql($node, "SELECT max(attempt), (SELECT count(*) FROM osa_hook_attempt WHERE run_id IN ($ids)) - sum(free_reruns)"
			. " FROM osa_run_hook WHERE run_id IN ($ids)"), '1|' . 3 * @runs, 'no attempt was spent');
}

check_sound($node);
no_containers($node);
$node->stop;
done_testing();
