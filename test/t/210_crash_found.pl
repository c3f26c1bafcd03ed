# What a worker finds of the worker before, and what it makes of it.
#
# The server is stopped at once while containers stand at every point of their
# way; some change while it is down; the next worker finds them.
#
# Claims:
#  1. A container that exited meanwhile is collected, its hook not run again:
#     with its result, with its exit code and log, and also when it took longer
#     than its timeout, since nobody had killed it by then.
#  2. One that vanished is run again: same launch, same attempt, one free re-run.
#  3. One that is created with its whole input and not started is started.
#  4. One that is created without its input, or with a part of it, is replaced
#     under the same launch: removed, created, filled by one archive, started.
#  5. A create or a start whose answer was lost is not repeated: the container
#     is found and goes on from where it stands.
#  6. One that runs on is adopted.
#  7. When the engine's host rebooted, what was running is run again, for free,
#     and nothing of what it left is taken.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use OsaContainer;
use OsaProxy;
use OsaTest;
use Test::More;

my $proxy = OsaProxy->new;
my $node = new_node('found', fsync => 0, conf => "osa_validation.engine_socket = 'unix://" . $proxy->path . "'\n");
sql($node, "SELECT osa_add_runner('local', 'docker', NULL, max_in_flight => 20)");

my $pass = q(for id in $(ids); do feature $id '{"n":7}'; done);
my %script = (
	exited => hold() . $pass,
	exited_badly => hold() . 'echo this is the end; exit 3',
	too_long => hold() . $pass,
	vanished => hold() . $pass,
	whole => $pass,
	without_input => $pass,
	half_input => hold() . $pass,
	create_lost => $pass,
	start_lost => hold() . $pass,
	running => hold() . $pass);
for my $name (sort keys %script)
{
	register_script_hook($node, $name, columns => [ { name => 'n', type => 'int4' } ], cardinality => 'one',
		sh => $script{$name});
	define_pipeline($node, $name, [$name]);
}
my (%run, %name);
for my $name (qw(exited exited_badly too_long vanished half_input running))
{
	$run{$name} = start_run($node, $name, ['r'], pipeline => $name);
	$name{$name} = wait_held($node, $run{$name});
}
my $launch = sql($node, "SELECT launch_id FROM osa_run_hook WHERE run_id = $run{vanished}");

# Those that are met half way: the names of their containers are told before.
my @half_way = qw(create_lost start_lost without_input whole);
sql($node, 'SELECT osa_pause()');
for my $name (@half_way)
{
	$run{$name} = start_run($node, $name, ['r'], pipeline => $name);
	$name{$name} = container_name($node, $run{$name});
}
$proxy->rule(create_lost => method => 'POST', path => "/create\\?name=$name{create_lost}", lose => 1);
$proxy->rule(start_lost => method => 'POST', path => "$name{start_lost}/start", lose => 1);
$proxy->rule(without_input => method => 'PUT', path => $name{without_input}, hang => 1);
$proxy->rule(whole => method => 'POST', path => "$name{whole}/start", hang => 1);
sql($node, 'SELECT osa_resume()');
ok($proxy->wait_hits($_, 1), "$_: the worker waits for the engine") for @half_way;
ok(wait_container($name{$_}, $_ eq 'start_lost' ? 'running' : 'created'), "$_: the container is there") for @half_way;
my %id = map { $_ => container($name{$_})->{Id} } keys %name;

# As if it were a hook of one second.
sql($node, q(UPDATE osa_hook_release SET limits = jsonb_set(limits, '{timeout}', '1') WHERE hook = 'too_long'));
$node->stop('immediate');
$proxy->drop($_) for @half_way;
let_go(@name{qw(exited exited_badly too_long)});
ok(wait_container($name{$_}, 'exited'), "$_: it has ended while the server was down") for qw(exited exited_badly too_long);
remove_container($name{vanished});
my $labels = container($name{half_input})->{Config}{Labels};
remove_container($name{half_input});
make_container($name{half_input}, $labels);
put_file($name{half_input}, '/osa', 'in/records.jsonl', qq({"id":"r"));
$node->start;

let_go(wait_held($node, $run{$_}, 0, 2)) for qw(vanished half_input);
for my $name (qw(running start_lost))
{
	ok(wait_for($node, "SELECT adopted FROM osa_in_flight WHERE run_id = $run{$name}"), "$name: it is adopted");
	let_go(wait_held($node, $run{$name}));
}

# of each: status, starts in all, archives sent in all, attempt and free
# re-runs, the container that was there before?, adopted?
my %expected = (
	exited => 'completed 0:1 1 1|0 same t',
	exited_badly => 'failed 0:1 1 1|0 same t',
	too_long => 'completed 0:1 1 1|0 same t',
	running => 'completed 0:1 1 1|0 same t',
	start_lost => 'completed 0:1 1 1|0 same t',
	vanished => 'completed 0:2 2 1|1 other f',
	half_input => 'completed 0:2 2 1|0 other f',
	create_lost => 'completed 0:1 1 1|0 other f',
	without_input => 'completed 0:1 2 1|0 other f',
	whole => 'completed 0:1 1 1|0 same f');
for my $name (sort keys %expected)
{
	my $run = $run{$name};
	my $status = wait_run($node, $run);
	my ($id, $adopted) = split /\|/,
	  sql($node, "SELECT container_id, adopted FROM osa_hook_attempt WHERE run_id = $run ORDER BY recorded_at DESC LIMIT 1");
	is(join(' ', $status, starts_by_hook($node, $run), $proxy->requests("PUT .*$name{$name}"),
			sql($node, "SELECT attempt, free_reruns FROM osa_run_hook WHERE run_id = $run"),
			$id eq $id{$name} ? 'same' : 'other', $adopted),
		$expected{$name}, "$name: as it should");
}
is(sql($node, "SELECT failure_kind, exit_code, log_tail FROM osa_hook_attempt WHERE run_id = $run{exited_badly}"),
	"hook_exit|3|this is the end\n", 'exited_badly: its code and log');
is(sql($node, "SELECT count(*) FROM osa_outcome WHERE features = '[{\"n\": 7}]'"), 9, 'the outcomes of all others are there');
is(sql($node, "SELECT string_agg(concat_ws(' ', launch_id = '$launch', attempt, failure_kind), ', ' ORDER BY recorded_at)"
		. " FROM osa_hook_attempt WHERE run_id = $run{vanished}"), 't 1 runtime, t 1',
	'vanished: both are of one launch and attempt');
is(sql($node, 'SELECT sum(strikes) FROM osa_run_hook'), 0, 'no strike is left');

# 7
my $rebooted = start_run($node, 'rebooted', ['r'], pipeline => 'running');
wait_held($node, $rebooted);
keeper('reboot');
let_go(wait_held($node, $rebooted, 0, 2));
is(wait_run($node, $rebooted), 'completed', 'after a reboot of the host the run completes');
is(starts_by_hook($node, $rebooted), '0:2', 'by a second start');
is(sql($node, "SELECT attempt, free_reruns FROM osa_run_hook WHERE run_id = $rebooted"), '1|1', 'that cost no attempt');

check_sound($node);
no_containers($node);
$node->stop;
done_testing();
