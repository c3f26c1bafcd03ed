# A release that the engine can't run, for a reason of its own, fails alone.
#
# Claims:
#  1. A create or a start that gets a 5xx while the engine is well is tried again
#     with a growing pause, without spending an attempt or a free re-run, and
#     goes on by itself once the engine takes it; a container that is not
#     started twice is replaced.
#  2. Other hooks of the same runner go on meanwhile, however many runs wait so;
#     the runner is not down, there is no WARNING.
#  3. One that is refused for good can be cancelled meanwhile.
#  4. A 5xx of any other call (inspect, put, collect, log, remove) does
#     not fail a run either; its hook runs once.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use OsaContainer;
use OsaProxy;
use OsaTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $proxy = OsaProxy->new;
my $node = new_node('alone', fsync => 0, conf => "osa_validation.engine_socket = 'unix://" . $proxy->path . "'\n");
register_script_hook($node, $_, sh => 'true') for qw(good bad_create bad_start never);
define_pipeline($node, $_, [$_]) for qw(good bad_create bad_start never);
# fewer places than runs that can't go on
sql($node, "SELECT osa_add_runner('local', 'docker', NULL, max_in_flight => 4)");
ok(wait_for($node, "SELECT state FROM osa_status, jsonb_to_recordset(runners) r(state text)", 'up'), 'the engine is up');
my $offset = -s $node->logfile;
my $says = 'something went wrong in here';

# 1, 2, 3
$proxy->rule(never => method => 'POST', path => '/create', body => '"OSA_HOOK_NAME=never"', status => 500, message => $says);
$proxy->rule(bad_create => method => 'POST', path => '/create', body => '"OSA_HOOK_NAME=bad_create"', times => 3, status => 503, message => $says);
sql($node, 'SELECT osa_pause()');
my $bad_start = start_run($node, 'bad_start', ['r'], pipeline => 'bad_start');
my $name = container_name($node, $bad_start);
$proxy->rule(bad_start => method => 'POST', path => "$name/start", times => 3, status => 500, message => $says);
my $bad_create = start_run($node, 'bad_create', ['r'], pipeline => 'bad_create');
my @never = map { start_run($node, "never $_", ['r'], pipeline => 'never') } 1 .. 6;
sql($node, 'SELECT osa_resume()');
ok($proxy->wait_hits('never', 6), 'six runs are refused with a 5xx');
ok($proxy->wait_hits('bad_start', 1), 'a start too');
my $id = container($name)->{Id};
my @good = map { start_run($node, "good $_", ['r'], pipeline => 'good') } 1 .. 3;
is(wait_run($node, $_, 30), 'completed', 'another hook of the same runner goes on') for @good;
is(sql($node, "SELECT string_agg(DISTINCT status, ' ') FROM osa_validation_run WHERE id IN (" . join(', ', @never) . ')'), 'running', 'those wait on');
is(wait_run($node, $bad_create), 'completed', 'one that is taken later completes');
is(wait_run($node, $bad_start), 'completed', 'so does one whose start is');
is(join(' ', $proxy->hits('bad_create'), $proxy->hits('bad_start')), '3 3', 'after as many refusals');
isnt(sql($node, "SELECT container_id FROM osa_hook_attempt WHERE run_id = $bad_start"), $id, 'by another container');
for my $run ($bad_create, $bad_start)
{
	is(sql($node, "SELECT attempt, free_reruns FROM osa_run_hook WHERE run_id = $run"), '1|0', 'no attempt was spent');
	is(starts_by_hook($node, $run), '0:1', 'its hook ran once');
	cmp_ok(sql($node, "SELECT extract(epoch FROM finished_at - started_at) FROM osa_run_hook WHERE run_id = $run"), '>', 6,
		'the pauses grew: 1, 2, 4 s');
}
is(sql($node, "SELECT state FROM osa_status, jsonb_to_recordset(runners) r(state text)"), 'up', 'the runner is up');
unlike(slurp_file($node->logfile, $offset), qr/WARNING:  runner/, 'and was all the time');
is(sql($node, "SELECT osa_cancel_validation($_)"), 't', 'one that waits can be cancelled') for @never;
is(sql($node, "SELECT string_agg(DISTINCT status, ' ') FROM osa_validation_run WHERE id IN (" . join(', ', @never) . ')'), 'cancelled', 'and is');

# 4
my %calls = (
	inspect => [ 'GET', '/containers/osa-[^/]*/json' ], put => [ 'PUT', '/archive' ],
	collect => [ 'GET', '/archive.path=/osa/out$' ], log => [ 'GET', '/logs' ], remove => [ 'DELETE', '' ]);
my %run;
for my $call (sort keys %calls)
{
	$proxy->rule($call => method => $calls{$call}[0], path => $calls{$call}[1], times => 1, status => 500, message => $says);
	$run{$call} = start_run($node, $call, ['r'], pipeline => 'good');
	ok($proxy->wait_hits($call, 1), "$call: a 5xx");
	is(wait_run($node, $run{$call}), 'completed', "$call: the run completes");
	is(sql($node, "SELECT attempt, free_reruns FROM osa_run_hook WHERE run_id = $run{$call}"), '1|0', "$call: no attempt was spent");
	is(starts_by_hook($node, $run{$call}), '0:1', "$call: its hook ran once");
	$proxy->drop($call);
}

ok(wait_for($node, "SELECT in_flight FROM osa_status, jsonb_to_recordset(runners) r(in_flight int)", '0'), 'no place is lost');

check_sound($node);
no_containers($node);
$node->stop;
done_testing();
