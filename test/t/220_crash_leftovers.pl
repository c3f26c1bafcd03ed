# Containers that nothing needs any more are removed; others' are not.
#
# Containers with labels as ours are made by hand while the server is down, or
# left by a worker that was killed; then the worker comes and sorts what it
# finds on the engine.
#
# Claims:
#  1. Removed, in whatever state: of this installation without a step that wants
#     it (no such run, a run that ended, another launch of an open step); of
#     another installation of this database; of a database that is gone.
#  2. Kept: another node's, even with all else as ours; of a database that is
#     there; with labels that are not whole; with another kind of name; the one
#     that a step still needs.
#  3. A container whose step was committed, but not yet its removal, when the
#     worker was killed; and those that DROP EXTENSION or DROP DATABASE left
#     running, are removed.
#  4. Nothing is removed while paused; after osa_resume() it is.
#  5. It is done at the start and after the engine was away, and osa_worker
#     counts it.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use OsaContainer;
use OsaProxy;
use OsaTest;
use Test::More;

my $proxy = OsaProxy->new;
my $node = new_node('leftovers', fsync => 0, conf => "osa_validation.engine_socket = 'unix://" . $proxy->path . "'\n");
register_script_hook($node, 'held', sh => hold());
define_pipeline($node, 'default', ['held']);
ok(wait_for($node, "SELECT state = 'up' FROM osa_status, jsonb_to_recordset(runners) r(state text)"), 'the engine is up');

my ($install, $node_id, $database) = split /\|/, sql($node, 'SELECT install_id, node_id, database_oid FROM osa_install');
my $other = sql($node, "SELECT oid FROM pg_database WHERE datname = 'template1'");
my $ended = start_run($node, 'ended', ['r']);
let_go(wait_held($node, $ended));
is(wait_run($node, $ended), 'completed', 'a run has ended');
my $open = start_run($node, 'open', ['r']);
my $needed = wait_held($node, $open);

my %made;

# by_hand('what', label => value, …): as the worker makes one, but for these.
sub by_hand
{
	my ($what, %differs) = @_;
	my $launch = sprintf '%08x-0000-4000-8000-%012x', $$, 1 + keys %made;
	my %label = (install => $install, node => $node_id, database => $database, run => 1000, hook_index => 0,
		attempt => 1, launch => $launch, %differs);
	(my $name = "osa-$launch") =~ s/-//g;
	$name =~ s/^osa/osa-/;
	$name = delete $label{name} if $label{name};
	make_container($name, { map { defined $label{$_} ? ("osa.$_" => "$label{$_}") : () } keys %label }, run => $what =~ /running/);
	$made{$what} = $name;
	return;
}

sub there { return join ', ', grep { container($made{$_}) } sort keys %made }

$node->stop('immediate');
by_hand('no such run');
by_hand('no such run, running');
by_hand('ended run', run => $ended);
by_hand('another launch of an open step', run => $open);
by_hand('no such step', run => $open, hook_index => 7);
by_hand('another installation', install => '00000000-0000-4000-8000-000000000001');
by_hand('another installation, running', install => '00000000-0000-4000-8000-000000000001', run => $open);
by_hand('a database that is gone', database => 4000000000);
my @unwanted = sort keys %made;
by_hand('kept: another node', node => '00000000-0000-0000-0000-000000000002');
by_hand('kept: another node of the same installation, running', node => '00000000-0000-0000-0000-000000000002', run => $ended);
by_hand('kept: a database that is there', database => $other);
by_hand('kept: no launch', launch => undef);
by_hand('kept: no installation', install => undef);
by_hand('kept: launch is none', launch => 'x');
by_hand('kept: another name', name => "osa-test-$$");
my $kept = join ', ', grep { /kept/ } sort keys %made;
$node->start;
ok(wait_for($node, "SELECT adopted FROM osa_in_flight WHERE run_id = $open"), 'another worker is at work');
ok((wait_until { there() eq $kept } 'what nobody needs is gone'), 'what nobody needs is removed, all else is kept')
  or diag there();
ok(container($needed)->{State}{Running}, 'what a step needs runs on');
ok(wait_for($node, 'SELECT leftovers FROM osa_worker', scalar @unwanted), 'osa_worker counts them');

# 4, 5
sql($node, "SELECT osa_pause('a look around')");
my $lists = 'GET .*/containers/json.*osa.node%3D';
by_hand('paused');
my $before = $proxy->requests($lists);
$proxy->cut;
ok((wait_until { $proxy->requests($lists) > $before } 'list'), 'the engine was away, and is listed again');
ok(wait_for($node, "SELECT state = 'up' FROM osa_status, jsonb_to_recordset(runners) r(state text)"), 'it is up again');
is(there(), "$kept, paused", 'while paused nothing is removed');
sql($node, 'SELECT osa_resume()');
$proxy->cut;
ok((wait_until { there() eq $kept } 'the last is gone'), 'after osa_resume() it is');
let_go($needed);
is(wait_run($node, $open), 'completed', 'the run that was under way completes');

# 3: committed, but not yet removed
$proxy->rule(removal => method => 'DELETE', hang => 1);
my $run = start_run($node, 'to be removed', ['r']);
$made{'its container'} = wait_held($node, $run);
let_go($made{'its container'});
is(wait_run($node, $run), 'completed', 'a step is committed');
ok($proxy->wait_hits('removal', 1), 'its container is about to be removed');
kill 'KILL', worker_pid($node);
$proxy->drop('removal');
ok((wait_until { there() eq $kept } 'it is gone'), 'the next worker removes it');

# 3: the extension goes, then a database
$run = start_run($node, 'dropped', ['r']);
$made{'of the extension before'} = wait_held($node, $run);
sql($node, 'DROP EXTENSION osa_validation; CREATE EXTENSION osa_validation');
ok((wait_until { there() eq $kept } 'it is gone'), 'what ran for an extension that was dropped is removed');
sql($node, 'CREATE DATABASE two');
sql($node, 'CREATE EXTENSION osa_validation', db => 'two');
register_script_hook($node, 'held', sh => hold(), db => 'two');
define_pipeline($node, 'default', ['held'], db => 'two');
$run = start_run($node, 'dropped', ['r'], db => 'two');
ok(wait_for($node, "SELECT phase FROM osa_in_flight WHERE run_id = $run", 'running', 60, db => 'two'), 'a hook runs for another database');
$made{'of the database'} = sql($node, 'SELECT container_name FROM osa_in_flight', db => 'two');
$proxy->cut;
ok(wait_for($node, "SELECT state = 'up' FROM osa_status, jsonb_to_recordset(runners) r(state text)"), 'this worker lists it too');
is(there(), $kept . ', of the database', "and leaves it alone");
sql($node, 'DROP DATABASE two');
$proxy->cut;
ok((wait_until { there() eq $kept } 'it is gone'), 'until its database is dropped');

check_sound($node);
remove_container($_) for values %made;
no_containers($node);
$node->stop;
done_testing();
