# What rejections and errors do to a run.
#
# Claims:
#  1. drop: a rejected record goes to no later hook; the others do.
#  2. No record left with any rejected: run rejected, at hook i index i+1, later
#     steps skipped, ValidationFailed with the reasons.
#  3. reject_run: one rejection ends the run so.
#  4. fail_run: an errored record fails the run at index i; its outcomes stay.
#  5. on_record_error = drop: it goes to no later hook; none left and none
#     rejected: failed.
#  6. A record without any line: errored "no outcome" where the hook has features.
#  7. osa_submit_deposition always starts a run; a pipeline that cannot be run
#     leaves a failed one with the reason.
#  8. Runner kind noop passes every record without a container.
#  9. Config of a run overlays the release's.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use OsaTest;
use Test::More;

my $node = new_node('policies');
my @columns = ({ name => 'n', type => 'int4' });
register_script_hook($node, 'check');
register_script_hook($node, 'extract', columns => \@columns, cardinality => 'one', config => { sh => 'for i in $(ids); do feature $i "{\"n\":1}"; done' });
define_pipeline($node, 'default', [ 'check', 'extract' ]);
define_pipeline($node, 'strict', [ 'check', 'extract' ], on_rejection => 'reject_run');
define_pipeline($node, 'lenient', [ 'check', 'extract' ], on_record_error => 'drop');

sub outcome
{
	my ($run) = @_;
	wait_run($node, $run);
	return sql($node, "SELECT status, current_hook_index, reason FROM osa_validation_run WHERE id = $run");
}
sub steps { return sql($node, "SELECT status FROM osa_run_hook WHERE run_id = $_[0] ORDER BY hook_index") }
sub records { return sql($node, "SELECT record_id, status, hook_index FROM osa_record WHERE run_id = $_[0] ORDER BY 1") }
sub started { return start_run($node, shift, [ 'r1', 'r2' ], @_) }

# 1, 9
my $run = started('drop', config => { sh_check => 'reject r1 "no good"', sh_extract => 'for i in $(ids); do feature $i "{\"n\":2}"; done' });
is(outcome($run), 'completed|2|', 'drop: the run goes on without the rejected record');
is(records($run), "r1|rejected|0\nr2|passed|1", 'the records say so');
is(sql($node, "SELECT hook_index, record_id, status, features FROM osa_outcome WHERE run_id = $run ORDER BY 1, 2"),
	qq(0|r1|rejected|\n0|r2|passed|\n1|r2|passed|[{"n": 2}]), "and the run's config overlaid the release's");

# 2
$run = started('all', config => { sh_check => 'for i in $(ids); do reject $i "$i is bad"; done' });
is(outcome($run), 'rejected|1|hook "check" rejected 2 records', 'none left: rejected');
is(steps($run), "rejected\nskipped", 'the later step is skipped');
is(sql($node, "SELECT type, payload -> 'rejections' FROM osa_event WHERE run_id = $run ORDER BY id DESC LIMIT 1"),
	'ValidationFailed|[{"hook": "check", "reason": "r1 is bad", "record": "r1"}, {"hook": "check", "reason": "r2 is bad", "record": "r2"}]',
	'with the reasons');

# 3
$run = started('strict', pipeline => 'strict', config => { sh_check => 'reject r2 bad' });
is(outcome($run), 'rejected|1|hook "check" rejected 1 record', 'reject_run: one is enough');

# 4
$run = started('errored', config => { sh_check => 'error r1 "cannot read" false' });
is(outcome($run), 'failed|0|1 record could not be judged', 'fail_run: an errored record fails the run');
is(steps($run), "failed\nskipped", 'at its step');
is(sql($node, "SELECT record_id, status, error FROM osa_outcome WHERE run_id = $run ORDER BY 1"),
	"r1|errored|cannot read\nr2|passed|", 'and what was said of each record stays');

# 5
$run = started('lenient', pipeline => 'lenient', config => { sh_check => 'error r1 "cannot read" false' });
is(outcome($run), 'completed|2|', 'drop: it goes on without it');
is(records($run), "r1|errored|0\nr2|passed|1", 'the records say so');
$run = started('nothing_left', pipeline => 'lenient', config => { sh_check => 'for i in $(ids); do error $i x false; done' });
like(outcome($run), qr/^failed\|0\|/, 'none left and none rejected: failed');

# 6
$run = started('silent', config => { sh_check => 'true', sh_extract => 'feature r1 "{\"n\":1}"' });
like(outcome($run), qr/^failed\|1\|/, 'no line for a record');
is(sql($node, "SELECT error FROM osa_outcome WHERE run_id = $run AND record_id = 'r2' AND hook_index = 1"), 'no outcome', 'is an error');

# 7
define_pipeline($node, 'quick', []);
sql($node, q{SELECT osa_submit_deposition('submitted', '[{"id": "r1"}]', 'quick', '{"by": "me"}')});
ok(wait_for($node, q{SELECT status FROM osa_validation_run WHERE deposition = 'submitted'}, 'completed'), 'a submission starts a run');
sql($node, q{SELECT osa_register_hook('unreleased');
BEGIN; SELECT osa_submit_deposition('hopeless', '[{"id": "r1"}]', 'quick'); SELECT osa_define_pipeline('quick', '{unreleased}'); COMMIT});
ok(wait_for($node, q{SELECT status FROM osa_validation_run WHERE deposition = 'hopeless'}, 'failed'), 'also one that cannot be run');
like(sql($node, q{SELECT reason FROM osa_validation_run WHERE deposition = 'hopeless'}), qr/unreleased/, 'with the reason');

# 8
sql($node, q{SELECT osa_add_runner('rehearsal', 'noop', NULL)});
define_pipeline($node, 'rehearsed', [ 'check', 'extract' ], runner => 'rehearsal');
$run = started('noop', pipeline => 'rehearsed');
is(outcome($run), 'completed|2|', 'noop passes every record');
is(starts_by_hook($node, $run), '', 'without a container');
is(sql($node, "SELECT count(*) FROM osa_outcome WHERE run_id = $run AND status = 'passed'"), 4, 'with an outcome each');

check_sound($node);
$node->stop;
done_testing();
