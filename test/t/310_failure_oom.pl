# Killed for want of memory.
#
# The hook writes a record's outcome, then takes memory and keeps it, record
# after record.
#
# Claims:
#  1. It runs again at once with twice the memory, up to the runner's ceiling,
#     and then has passed; each attempt says what it was given and that it was
#     killed for memory.
#  2. The outcomes already written are kept, except that of the file's last
#     line; only the rest run again; every record has one outcome in the end.
#  3. At the ceiling it fails as oom: no outcome is left, no partial one either.
#  4. The budget of attempts holds for it.
#  5. A hook that the kernel killed from outside counts as that; one that exits 0
#     though a child of its was killed has passed.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use OsaContainer;
use OsaTest;
use Test::More;

my $mib = 1024 * 1024;
my $node = new_node('oom', fsync => 0);
sql($node, "SELECT osa_add_runner('local', 'docker', NULL, max_memory => '80MiB')");
my @columns = (columns => [ { name => 'mib', type => 'int4' } ], cardinality => 'one');
for ([ grows => memory => '16MiB' ], [ once => memory => '16MiB', retries => 0 ])
{
	my ($name, %limits) = @$_;
	register_script_hook($node, $name, @columns, image => 'localhost/osa-alloc:1',
		limits => { retry_delay => '1 h', retry_delay_max => '1 h', %limits });
	define_pipeline($node, $name, [$name]);
}

# 1, 2: seven records of 6 MiB: 16 MiB hold about two of them, 32 MiB five
my @records = map { "r$_" } 1 .. 7;
my $run = start_run($node, 'grows', \@records, pipeline => 'grows', config => { mib => 6 });
is(wait_run($node, $run), 'completed', 'with more memory it has passed');
my @attempts = map { [ split /\|/ ] } split /\n/, sql($node,
	"SELECT attempt, memory / $mib, failure_kind, oom, exit_code, finished_at - started_at > '0' FROM osa_hook_attempt"
	  . " WHERE run_id = $run ORDER BY attempt");
cmp_ok(scalar @attempts, '>=', 2, 'in more than one attempt');
my $memory = 16;
for my $attempt (@attempts)
{
	my $last = $attempt == $attempts[-1];
	is(join('|', @$attempt[ 0 .. 4 ]), join('|', 1 + ($memory > 16) + ($memory > 32), $memory,
			$last ? ('', 'f', 0) : ('oom', 't', 137)), "attempt with $memory MiB");
	$memory *= 2;
}
is(starts_by_hook($node, $run), '0:' . @attempts, 'a container each');
is(sql($node, "SELECT count(*), count(DISTINCT record_id) FROM osa_outcome WHERE run_id = $run AND status = 'passed'"), '7|7',
	'each record has one outcome');
# held memory when its outcome was written: it begins at 0 in each attempt
my @held = split /\n/, sql($node, "SELECT features -> 0 ->> 'mib' FROM osa_outcome WHERE run_id = $run ORDER BY record_id");
is($held[0], 0, 'the first outcome was kept from the first attempt');
is(scalar(grep { $_ == 0 } @held), scalar @attempts, 'each attempt went on where the one before was killed')
  or diag "@held";
is(sql($node, "SELECT attempt, free_reruns, records_in, records_passed FROM osa_run_hook WHERE run_id = $run"),
	scalar(@attempts) . '|0|7|7', 'the step counts all of them');
cmp_ok(sql($node, "SELECT extract(epoch FROM finished_at - started_at) FROM osa_validation_run WHERE id = $run"), '<', 60,
	'no retry_delay was waited for');

# 3
$run = start_run($node, 'never', [ 'small', 'hog', 'rest' ], pipeline => 'grows', config => { mib => 200, hog => 'hog' });
is(wait_run($node, $run), 'failed', 'at the ceiling it fails');
is(sql($node, "SELECT failure_kind, attempt FROM osa_run_hook WHERE run_id = $run"), 'oom|4', 'as oom');
is(sql($node, "SELECT string_agg((memory / $mib)::text, ' ' ORDER BY attempt) FROM osa_hook_attempt WHERE run_id = $run"),
	'16 32 64 80', 'doubled, the ceiling last');
is(sql($node, "SELECT (SELECT count(*) FROM osa_outcome WHERE run_id = $run), (SELECT count(*) FROM osa_partial_outcome)"), '0|0',
	'nothing of it is kept');

# 4
$run = start_run($node, 'once', ['hog'], pipeline => 'once', config => { mib => 40, hog => 'hog' });
is(wait_run($node, $run), 'failed', 'without retries it fails below the ceiling');
is(sql($node, "SELECT failure_kind, attempt FROM osa_run_hook WHERE run_id = $run"), 'oom|1', 'as oom, at once');

# 5
register_script_hook($node, 'killed', sh => hold(), limits => { memory => '32MiB' });
define_pipeline($node, 'killed', ['killed']);
$run = start_run($node, 'killed', ['r'], pipeline => 'killed');
keeper('kill-container', wait_held($node, $run));
let_go(wait_held($node, $run, 0, 2));
is(wait_run($node, $run), 'completed', 'killed from outside it runs again');
is(sql($node, "SELECT string_agg(concat_ws(' ', memory / $mib, exit_code, failure_kind), ', ' ORDER BY attempt)"
		. " FROM osa_hook_attempt WHERE run_id = $run"), '32 137 oom, 64 0', 'as if it had been memory');
register_script_hook($node, 'child', sh => 'tail /dev/zero; echo tail: $?; true', limits => { memory => '16MiB' });
define_pipeline($node, 'child', ['child']);
$run = start_run($node, 'child', ['r'], pipeline => 'child');
is(wait_run($node, $run), 'completed', 'a hook that survives its child has passed');
is(sql($node, "SELECT exit_code, log_tail ~ 'tail: 137' FROM osa_hook_attempt WHERE run_id = $run"), '0|t', 'for the child was killed');

check_sound($node);
no_containers($node);
$node->stop;
done_testing();
