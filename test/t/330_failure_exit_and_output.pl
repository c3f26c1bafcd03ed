# A hook that ends badly, or writes what the contract does not allow.
#
# Claims:
#  1. Exit code other than 0: hook_exit, at once; exit code and the end of the
#     log are recorded, the last 64 KiB of it; outcomes it wrote don't count.
#  2. The exit codes a shell gives to signals are exit codes too: only 137 can
#     be a kill.
#  3. Bad output: hook_output, at once, naming file and line; also when other
#     lines were good.
#  4. More output than its limit, or a file that stopped there, whatever the
#     exit code: hook_output.
#  5. Each ends the run at index i with the later steps skipped, and the worker
#     goes on with the runs beside it.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use OsaContainer;
use OsaTest;
use Test::More;

my $node = new_node('bad_ends', fsync => 0);
register_script_hook($node, $_, sh => 'true') for qw(first last);
register_script_hook($node, 'script', columns => [ { name => 'n', type => 'int4' } ], cardinality => 'one',
	limits => { output => '1MiB', tmpfs => '64KiB', retry_delay => 0.1 });
define_pipeline($node, 'default', [ 'first', 'script', 'last' ]);
my $good = q(feature r1 '{"n":1}'; feature r2 '{"n":2}'; );

# what => [script, failure kind, exit code, pattern of the message]
my %case = (
	exit_3 => [ $good . 'echo out; echo err >&2; exit 3', 'hook_exit', 3, qr/exited with code 3/ ],
	exit_143 => [ $good . 'exit 143', 'hook_exit', 143, qr/exited with code 143/ ],
	exit_255 => [ $good . 'exit 255', 'hook_exit', 255, qr/exited with code 255/ ],
	segfault => [ $good . 'kill -SEGV $$', 'hook_exit', 139, qr/exited with code 139/ ],
	bad_and_exit => [ 'echo nonsense >features.jsonl; exit 4', 'hook_exit', 4, qr/exited with code 4/ ],
	long_log => [ 'i=0; while [ $i -lt 3000 ]; do echo line $i of a log that is longer than what is kept; i=$((i+1)); done; exit 5',
		'hook_exit', 5, qr/exited with code 5/ ],
	not_json => [ $good . 'echo nonsense >>features.jsonl', 'hook_output', 0, qr/features\.jsonl line 3/ ],
	unknown_id => [ $good . 'reject r9 why', 'hook_output', 0, qr/rejections\.jsonl line 1.*r9/ ],
	bad_error => [ $good . q(echo '{"id":"r1","error":7}' >errors.jsonl), 'hook_output', 0, qr/errors\.jsonl line 1/ ],
	wrong_column => [ q(feature r1 '{"n":1}'; feature r2 '{"n":"x"}'), 'hook_output', 0, qr/features\.jsonl line 2/ ],
	a_link => [ 'ln -s /osa/in/records.jsonl features.jsonl', 'hook_output', 0, qr/features\.jsonl is a symbolic link/ ],
	too_much => [ 'head -c 700000 /dev/zero >a; head -c 700000 /dev/zero >b', 'hook_output', 0, qr/larger than/ ],
	full_file => [ $good . 'head -c 2000000 /dev/zero >big', 'hook_output', undef, qr/"\S*big" stopped at the limit of 1048576/ ]);
my %run = map { $_ => start_run($node, $_, [ 'r1', 'r2' ], config => { sh_script => $case{$_}[0] }) } sort keys %case;
my $fine = start_run($node, 'fine', [ 'r1', 'r2' ], config => { sh_script => $good });
is(wait_run($node, $fine), 'completed', 'a good one beside them completes');
for my $name (sort keys %case)
{
	my (undef, $kind, $code, $message) = @{ $case{$name} };
	my $run = $run{$name};
	is(wait_run($node, $run), 'failed', "$name: the run has failed");
	my ($is, $attempt, $attempt_kind, $exit_code, $says) = split /\|/, sql($node,
		"SELECT h.failure_kind, h.attempt, a.failure_kind, a.exit_code, h.message FROM osa_run_hook h"
		  . " JOIN osa_hook_attempt a USING (run_id, hook_index) WHERE run_id = $run AND hook_index = 1"), 5;
	$code //= $exit_code;
	is("$is $attempt $attempt_kind $exit_code", "$kind 1 $kind $code", "$name: as $kind at once, exit code $code");
	like($says, $message, "$name: for a reason that is told");
	is(sql($node, "SELECT (SELECT count(*) FROM osa_outcome WHERE run_id = $run AND hook_index = 1),"
			. " (SELECT current_hook_index FROM osa_validation_run WHERE id = $run),"
			. " (SELECT status FROM osa_run_hook WHERE run_id = $run AND hook_index = 2)"), '0|1|skipped', "$name: and no outcome");
	is(starts_by_hook($node, $run), '0:1 1:1', "$name: run once");
}
is(join(' ', sort split /\n/, sql($node, "SELECT log_tail FROM osa_hook_attempt WHERE run_id = $run{exit_3} AND hook_index = 1")),
	'err out', 'its log holds both streams');
my $log = sql($node, "SELECT log_tail FROM osa_hook_attempt WHERE run_id = $run{long_log} AND hook_index = 1");
cmp_ok(length $log, '>', 60000, 'of a long log the end is kept');
cmp_ok(length $log, '<=', 65536, 'no more than 64 KiB');
like($log, qr/line 2999 of a log that is longer than what is kept$/, 'to its last line');
is(sql($node, "SELECT payload ->> 'status' FROM osa_event WHERE run_id = $run{exit_3} AND type = 'ValidationFailed'"), 'failed',
	'ValidationFailed tells the application');
is(sql($node, 'SELECT errors FROM osa_worker'), 0, 'none of it was an error of the worker');

check_sound($node);
no_containers($node);
$node->stop;
done_testing();
