# One transaction a hook, visible at once, and nothing open meanwhile.
#
# Claims:
#  1. Outcomes, step, attempt, the run's index and the next event of a hook carry
#     one xmin; different hooks different ones.
#  2. Another session reads hook i's outcomes while hook i+1's container runs.
#  3. No transaction of the worker is open while a container runs.
#  4. Progress is seen while the hook runs, within about progress_interval.
#  5. A run keeps the releases, the pipeline and the columns of its start.
#  6. Zero hooks: completed at once, without a container.
#  7. Each attempt leaves its provenance, with the end of its log.
#  8. The events of a run come in order, and one of them is terminal.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use OsaTest;
use Test::More;
use Time::HiRes qw(time);

my $node = new_node('saga');
my @len = ({ name => 'len', type => 'int4' });

register_script_hook($node, 'first', columns => \@len, cardinality => 'one',
	sh => 'for i in $(ids); do feature $i "{\"len\":${#i}}"; done; echo to the log');
register_script_hook($node, 'second',
	sh => 'progress working started; while [ ! -e /osa/out/go ]; do usleep 20000; done; progress working ended');
register_script_hook($node, 'third', sh => 'reject r2 "too short"');
define_pipeline($node, 'default', [ 'first', 'second', 'third' ]);

# 3: asks until the second hook's container runs, then all the while
my $run = start_run($node, 'd1', [ 'r1', 'r2', 'r3' ]);
ok(wait_for($node, "SELECT current_hook_index FROM osa_validation_run WHERE id = $run", 1), 'the second hook is due');
ok(wait_for($node, "SELECT phase FROM osa_in_flight WHERE run_id = $run", 'running'), 'and its container runs');

# 1, first hook; 2
sub xmins
{
	my ($index) = @_;
	return sql($node, <<"SQL");
SELECT DISTINCT x FROM (
	SELECT xmin::text AS x FROM osa_outcome WHERE run_id = $run AND hook_index = $index
	UNION ALL SELECT xmin::text FROM osa_run_hook WHERE run_id = $run AND hook_index = $index
	UNION ALL SELECT xmin::text FROM osa_hook_attempt WHERE run_id = $run AND hook_index = $index
	UNION ALL SELECT xmin::text FROM osa_validation_run WHERE id = $run AND current_hook_index = $index + 1
	UNION ALL (SELECT xmin::text FROM osa_event WHERE run_id = $run ORDER BY id OFFSET $index + 1 LIMIT 1)) AS all_of_it
SQL
}
my $first = xmins(0);
like($first, qr/^\d+$/, 'one xmin for all that the first hook left');
is(sql($node, "SELECT record_id, status, features FROM osa_outcome WHERE run_id = $run ORDER BY 1"),
	qq(r1|passed|[{"len": 2}]\nr2|passed|[{"len": 2}]\nr3|passed|[{"len": 2}]),
	"the first hook's outcomes are there while the second one runs");
is(sql($node, "SELECT status FROM osa_run_hook WHERE run_id = $run ORDER BY hook_index"),
	"passed\nrunning\npending", 'the steps say so');

# 4
ok(wait_for($node, "SELECT last_message FROM osa_progress WHERE run_id = $run", 'started', 5),
	'progress is seen while the hook runs');

# 3
my ($worst, $until) = (0, time + 2);
while (time < $until)
{
	my $age = sql($node, "SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)"
		. " FROM pg_stat_activity WHERE backend_type LIKE 'osa_validation worker%'");
	$worst = $age if $age > $worst;
}
cmp_ok($worst, '<', 0.5, 'no transaction of the worker is open while a container runs');

# 5
register_script_hook($node, 'third', version => '2', sh => 'exit 1',
	columns => [ { name => 'other', type => 'text' } ], cardinality => 'many');
define_pipeline($node, 'default', ['first']);

my ($container) = containers($node, run => $run);
my ($status) = engine_call('PUT', "/containers/$container->{Name}/archive?path=/osa/out", tar_with('go'));
is($status, 200, 'the second hook is let go');
is(wait_run($node, $run), 'completed', 'the run completes as it was started');
is(xmins(0), $first, 'what the first hook left was not touched again');
my %seen = map { $_ => 1 } $first, sql($node, "SELECT xmin FROM osa_run_hook WHERE run_id = $run AND hook_index = 1"),
  xmins(2);
is(scalar(keys %seen), 3, 'each hook has its own transaction');
is(sql($node, "SELECT record_id, status, hook_index FROM osa_record WHERE run_id = $run ORDER BY 1"),
	"r1|passed|2\nr2|rejected|2\nr3|passed|2", 'the records say how they ended');
is(starts_by_hook($node, $run), '0:1 1:1 2:1', 'each hook was run once');

# 8
is(sql($node, "SELECT type, payload -> 'hook_index' FROM osa_event WHERE run_id = $run ORDER BY id"),
	"RunNextHook|0\nRunNextHook|1\nRunNextHook|2\nValidationCompleted|", 'the events are in order');
is(sql($node, "SELECT payload -> 'rejections' FROM osa_event WHERE run_id = $run AND type = 'ValidationCompleted'"),
	'[{"hook": "third", "reason": "too short", "record": "r2"}]', 'the terminal one lists the rejections');

# 7
is(sql($node, <<"SQL"), "1|0|t|t|t|t|to the log|t|f", 'the attempt is recorded');
SELECT attempt, exit_code, finished_at >= started_at, container_id ~ '^[0-9a-f]{64}\$', image_id ~ '^sha256:',
	container_name = 'osa-' || replace(launch_id::text, '-', ''), rtrim(log_tail, E'\\n'), config ? 'sh', adopted
  FROM osa_hook_attempt WHERE run_id = $run AND hook_index = 0
SQL
$run = start_run($node, 'log', ['r1'], pipeline => 'default', config => { sh => 'i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; feature r1 \'{"len":1}\'' });
is(wait_run($node, $run), 'completed', 'a hook may log much');
is(sql($node, "SELECT octet_length(log_tail) <= 65536, log_tail LIKE E'%line 19999\\n' FROM osa_hook_attempt WHERE run_id = $run"),
	't|t', 'its last 64 KiB are kept');

# 6
define_pipeline($node, 'empty', []);
$run = start_run($node, 'nothing', ['r1'], pipeline => 'empty');
is(sql($node, "SELECT status, current_hook_index, hook_count FROM osa_validation_run WHERE id = $run"), 'completed|0|0',
	'zero hooks complete at once');
is(sql($node, "SELECT type FROM osa_event WHERE run_id = $run"), 'ValidationCompleted', 'with one event');
is(scalar(containers($node, run => $run)), 0, 'without a container');

check_sound($node);
ok(wait_for_none(), 'no container of ours is left');
$node->stop;
done_testing();

# A tar archive with one empty file.
sub tar_with
{
	my ($name) = @_;
	my $head = pack('a100 a8 a8 a8 a12 a12 A8 a1 a100 a6 a2 a32 a32 a8 a8 a155 x12',
		$name, '0000644', '0177776', '0177776', '00000000000', '14000000000', '', '0', '', 'ustar', '00', '', '', '', '', '');
	substr($head, 148, 8) = sprintf("%06o\0 ", unpack('%32C*', $head));
	return $head . "\0" x 1024;
}

sub wait_for_none
{
	for (1 .. 200)
	{
		return 1 unless containers($node);
		select(undef, undef, undef, 0.05);
	}
	return 0;
}
