# A hook's container outlives whatever ends the worker.
#
# Each hook of a pipeline is in the middle of its work when one of these comes:
# kill -9 of the worker, a fast and an immediate restart of the server,
# pg_terminate_backend of the worker, kill -9 of the postmaster.
#
# Claims:
#  1. The container goes on and is adopted: osa_in_flight and osa_hook_attempt
#     say so, and name the container that was there before.
#  2. The hook is not run a second time, by the engine's own count of starts.
#  3. No attempt, free re-run or strike is counted; what it had told of its
#     progress is not told twice.
#  4. The step's result is committed and the run completes, every step by one
#     transaction; the steps committed before the crash are not run again.
#  5. All this for several containers at once.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use OsaContainer;
use OsaTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('adoption', fsync => 0);

my @events = (
	[ worker_killed => sub { kill 'KILL', worker_pid($node) } ],
	[ fast_restart => sub { $node->restart } ],
	[ immediate_restart => sub { $node->stop('immediate'); $node->start } ],
	[ terminated => sub { sql($node, 'SELECT pg_terminate_backend(' . worker_pid($node) . ')') } ],
	[ postmaster_killed => sub {
		my @pids = split /\n/, sql($node, 'SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()');
		$node->kill9;
		# its children need a moment to notice
		ok((wait_until { !kill 0, @pids } 'its processes are gone'), 'kill -9 of the postmaster ends all');
		$node->start;
	} ]);

# What is asked of the long form is ten seconds of a hook that nobody holds.
my $work = $ENV{OSA_FULL} ? 'progress held here; sleep 10; ' : hold();
for (@events)
{
	register_script_hook($node, $_->[0], columns => [ { name => 'n', type => 'int4' } ], cardinality => 'one',
		sh => $work . q(for id in $(ids); do feature $id '{"n":7}'; done));
}
define_pipeline($node, 'default', [ map { $_->[0] } @events ]);
my @runs = map { start_run($node, "deposition $_", [ 'r1', 'r2' ]) } 1 .. 2;
my $runs = join ', ', @runs;

for my $i (0 .. $#events)
{
	my ($name, $event) = @{ $events[$i] };
	my $worker = worker_pid($node);
	my %container = map { wait_held($node, $_, $i) => $_ } @runs;
	my %id = map { $_ => container($_)->{Id} } keys %container;
	$event->();
	ok(wait_for($node, "SELECT count(*) FROM osa_in_flight WHERE hook_index = $i AND adopted AND phase = 'running'", '2'),
		"$name: another worker has adopted both containers");
	isnt(worker_pid($node), $worker, "$name: it is another one");
	is(sql($node, "SELECT DISTINCT hook_index FROM osa_outcome WHERE run_id IN ($runs) ORDER BY 1"), join("\n", 0 .. $i - 1),
		"$name: the steps before are there, this one is not");
	ok(container($_)->{State}{Running}, "$name: the container goes on") for keys %container;
	let_go(keys %container) unless $ENV{OSA_FULL};
	ok(wait_for($node, "SELECT count(*) FROM osa_run_hook WHERE run_id IN ($runs) AND hook_index = $i AND status = 'passed'", '2'),
		"$name: the result is taken from them");
	is(sql($node, "SELECT string_agg(container_id, ' ' ORDER BY container_id) FROM osa_hook_attempt"
			. " WHERE run_id IN ($runs) AND hook_index = $i AND adopted AND attempt = 1 AND exit_code = 0"),
		join(' ', sort values %id), "$name: by the attempt that was under way before");
}

for my $run (@runs)
{
	is(wait_run($node, $run), 'completed', 'the run completes');
	is(starts_by_hook($node, $run), '0:1 1:1 2:1 3:1 4:1', 'no hook was run a second time');
	is(sql($node, "SELECT count(*) FROM osa_hook_attempt WHERE run_id = $run"), 5, 'one attempt a step');
	is(sql($node, "SELECT sum(attempt), sum(free_reruns), sum(strikes) FROM osa_run_hook WHERE run_id = $run"), '5|0|0',
		'nothing else was counted');
	is(sql($node, "SELECT count(*) FROM osa_progress_entry WHERE run_id = $run"), 5, 'nothing was told twice');
	is(sql($node, "SELECT count(*), count(DISTINCT xmin::text) FROM osa_run_hook WHERE run_id = $run"), '5|5',
		'a transaction a step');
	is(sql($node, "SELECT count(*) FROM osa_outcome WHERE run_id = $run AND status = 'passed' AND features = '[{\"n\": 7}]'"), 10,
		'with all that it said');
}

check_sound($node);
no_containers($node);
$node->stop;
done_testing();
