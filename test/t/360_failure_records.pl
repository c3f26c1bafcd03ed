# Records that a hook could not judge, but may the next time.
#
# Claims:
#  1. Errored records that are retryable are run again, and only those; what the
#     others were told is kept meanwhile as partial and is final in the end.
#  2. The delay is a delivery's: deliver_after lies min(retry_delay_max,
#     retry_delay * 2^n) ahead, less a quarter at most; no flight, no container
#     and no claim meanwhile; a restart of the server does not shorten it.
#  3. An errored record that is not retryable is not run again.
#  4. When the budget is spent on_record_error decides: fail_run fails the run at
#     this hook, drop lets the others go on.
#  5. osa_retry_validation begins a new budget.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use OsaContainer;
use OsaTest;
use Test::More;

my $node = new_node('records', fsync => 0);
my @columns = (columns => [ { name => 'n', type => 'int4' } ], cardinality => 'one');
# n: how many records it was given with this one
my $judge = <<'SH';
n=$(ids | wc -l)
for id in $(ids); do
	case $id in
	ok*) feature $id "{\"n\":$n}" ;;
	no*) reject $id so ;;
	bad*) error $id never false ;;
	until1) if [ $n = 1 ]; then feature $id "{\"n\":$n}"; else error $id later true; fi ;;
	*) error $id later true ;;
	esac
done
SH
register_script_hook($node, 'judge', @columns, sh => $judge,
	limits => { retries => 2, retry_delay => '0.4 s', retry_delay_max => '0.5 s' });
register_script_hook($node, 'patient', @columns, sh => $judge, limits => { retries => 2, retry_delay => '8 s', retry_delay_max => '16 s' });
register_script_hook($node, 'after', sh => 'echo $(ids)');
define_pipeline($node, 'fail', [ 'judge', 'after' ]);
define_pipeline($node, 'drop', [ 'judge', 'after' ], on_record_error => 'drop');
define_pipeline($node, 'patient', [ 'patient', 'after' ]);

sub delays
{
	my ($run) = @_;
	# what comes between two attempts, by the engine's clock
	return split /\n/, sql($node, "SELECT extract(epoch FROM lead(started_at) OVER w - finished_at) FROM osa_hook_attempt"
		. " WHERE run_id = $run AND hook_index = 0 WINDOW w AS (ORDER BY attempt) ORDER BY attempt");
}

# 2, begun first, for it takes longest
my $patient = start_run($node, 'patient', [ 'ok1', 'until1', 'no1' ], pipeline => 'patient');
ok(wait_for($node, "SELECT attempt FROM osa_run_hook WHERE run_id = $patient AND hook_index = 0", '2'), 'an attempt leaves a record to the next');
is(sql($node, "SELECT status, token IS NULL, claimed_by IS NULL FROM osa_delivery WHERE run_id = $patient"), 'pending|t|t',
	'the delivery waits, unclaimed');
my $after = sql($node, "SELECT extract(epoch FROM d.deliver_after - a.recorded_at) FROM osa_delivery d JOIN osa_hook_attempt a USING (run_id)"
	  . " WHERE run_id = $patient");
cmp_ok($after, '>=', 5.9, 'until its delay is over');
cmp_ok($after, '<=', 8.1, 'and no longer');
ok(wait_for($node, "SELECT waiting_for FROM osa_queue WHERE run_id = $patient", 'not yet due'), 'as osa_queue says');
is(sql($node, "SELECT count(*) FROM osa_in_flight WHERE run_id = $patient"), 0, 'nothing is in flight');
ok((wait_until { !containers($node, run => $patient) } 'gone'), 'no container is kept');
is(sql($node, "SELECT string_agg(record_id || ' ' || status, ', ' ORDER BY record_id) FROM osa_partial_outcome WHERE run_id = $patient"),
	'no1 rejected, ok1 passed', 'the outcomes so far are partial ones');
is(sql($node, "SELECT count(*) FROM osa_outcome WHERE run_id = $patient"), 0, 'none is final');
check_sound($node);
my $due = sql($node, "SELECT deliver_after FROM osa_delivery WHERE run_id = $patient");
$node->restart;
is(sql($node, "SELECT deliver_after FROM osa_delivery WHERE run_id = $patient"), $due, 'a restart does not change that');

# 1
my $run = start_run($node, 'again', [ 'ok1', 'until1', 'ok2', 'no1' ], pipeline => 'fail');
is(wait_run($node, $run), 'completed', 'what could not be judged at first is judged then');
is(sql($node, "SELECT string_agg(concat_ws(' ', record_id, status, features -> 0 ->> 'n'), ', ' ORDER BY record_id)"
		. " FROM osa_outcome WHERE run_id = $run AND hook_index = 0"), 'no1 rejected, ok1 passed 4, ok2 passed 4, until1 passed 1',
	'alone, the others keep their first outcome');
is(sql($node, "SELECT string_agg(concat_ws(' ', attempt, status, exit_code, message), ', ' ORDER BY attempt)"
		. " FROM osa_run_timeline WHERE run_id = $run AND hook_index = 0"), '1 repeated 0 1 record could not be judged, 2 passed 0',
	'in two attempts, of which none failed');
is(sql($node, "SELECT records_in, records_passed, records_rejected, records_errored FROM osa_run_hook WHERE run_id = $run AND hook_index = 0"),
	'4|3|1|0', 'the step counts all');
is(sql($node, "SELECT log_tail FROM osa_hook_attempt WHERE run_id = $run AND hook_index = 1"), "ok1 until1 ok2\n", 'the next hook gets what passed');

# 3, 4
my $fail = start_run($node, 'fail', [ 'ok1', 'later', 'bad1' ], pipeline => 'fail');
my $drop = start_run($node, 'drop', [ 'ok1', 'later', 'bad1' ], pipeline => 'drop');
is(wait_run($node, $fail), 'failed', 'fail_run: when the budget is spent the run fails');
is(wait_run($node, $drop), 'completed', 'drop: the others go on');
for my $spent ($fail, $drop)
{
	my $policy = $spent == $fail ? 'fail_run' : 'drop';
	is(starts($node, run => $spent, hook_index => 0), 3, "$policy: one attempt and two retries");
	is(sql($node, "SELECT string_agg(concat_ws(' ', record_id, status, error, features -> 0 ->> 'n'), ', ' ORDER BY record_id)"
			. " FROM osa_outcome WHERE run_id = $spent AND hook_index = 0"), 'bad1 errored never, later errored later, ok1 passed 3',
		"$policy: every record has its outcome; one that is not retryable was not run again");
	my @delays = grep { length } delays($spent);
	cmp_ok($delays[0], '>=', 0.29, "$policy: the first retry waited");
	cmp_ok($delays[1], '>=', 0.37, "$policy: the second longer, up to retry_delay_max");
}
is(sql($node, "SELECT failure_kind, status FROM osa_run_hook WHERE run_id = $fail AND hook_index = 0"), 'record_error|failed', 'fail_run: as record_error');
is(sql($node, "SELECT current_hook_index FROM osa_validation_run WHERE id = $fail"), 0, 'fail_run: at this hook');
is(sql($node, "SELECT log_tail FROM osa_hook_attempt WHERE run_id = $drop AND hook_index = 1"), "ok1\n", 'drop: the next hook gets the others');

# 5
is(sql($node, "SELECT osa_retry_validation($fail)"), 't', 'a failed run can be retried');
is(wait_run($node, $fail), 'failed', 'it fails again');
is(starts($node, run => $fail, hook_index => 0), 6, 'after as many attempts as before');
is(sql($node, "SELECT first_attempt, attempt, records_in FROM osa_run_hook WHERE run_id = $fail AND hook_index = 0"), '4|6|3',
	'counted on from the round before, with all its records');

# 2
is(wait_run($node, $patient), 'completed', 'the patient one has passed');
my ($waited) = delays($patient);
cmp_ok($waited, '>=', 5.9, 'not before its delay was over');
cmp_ok($waited, '<', 20, 'and not long after');
is(sql($node, "SELECT string_agg(concat_ws(' ', record_id, status, features -> 0 ->> 'n'), ', ' ORDER BY record_id)"
		. " FROM osa_outcome WHERE run_id = $patient AND hook_index = 0"), 'no1 rejected, ok1 passed 3, until1 passed 1',
	'what was partial is final');
is(sql($node, 'SELECT count(*) FROM osa_partial_outcome'), 0, 'nothing partial is left');

check_sound($node);
no_containers($node);
$node->stop;
done_testing();
