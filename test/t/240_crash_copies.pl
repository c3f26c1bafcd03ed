# Copies of a database with runs under way don't touch the original's containers.
#
# Claims:
#  1. CREATE DATABASE … TEMPLATE: the copy is paused, says so in a WARNING and in
#     osa_status; the original's hook is adopted and runs on, once.
#  2. osa_resume() refuses; osa_resume(take_over => true) lets the copy run its
#     own container, under an installation of its own.
#  3. A copied data directory and a promoted standby are paused, and go on after
#     osa_resume(take_over => true).
#  4. The original does not pause: not after a restart, nor when its directory
#     was moved.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use OsaTest;
use Test::More;

my $node = new_node('original', conf => "wal_level = replica\nmax_wal_senders = 4\n");
register_script_hook($node, 'hook', sh => 'progress working here; while [ ! -e /osa/out/go ]; do usleep 50000; done',
	limits => { timeout => '30 s' });
register_script_hook($node, 'short', sh => 'sleep 2');
define_pipeline($node, 'default', ['hook']);
define_pipeline($node, 'short', ['short']);

sub state_of
{
	my ($server, $db) = @_;
	return wait_for($server, 'SELECT worker_pid IS NOT NULL FROM osa_status', 't', 30, db => $db)
	  && sql($server, 'SELECT paused, mismatch FROM osa_status', db => $db);
}

# 1
my $run = start_run($node, 'd1', ['r'], pipeline => 'short');
ok(wait_for($node, "SELECT phase FROM osa_in_flight WHERE run_id = $run", 'running'), 'a hook runs');
my $log = -s $node->logfile;
sql($node, 'CREATE DATABASE copy TEMPLATE postgres', db => 'template1');
is(state_of($node, 'copy'), 't|fork', 'a copy by TEMPLATE is paused');
like(PostgreSQL::Test::Utils::slurp_file($node->logfile, $log), qr/WARNING:  osa_validation is paused/, 'with a WARNING');
is(wait_run($node, $run), 'completed', "the original's run completes");
is(starts($node, run => $run), 1, 'its container ran once');
is(sql($node, "SELECT status FROM osa_validation_run WHERE id = $run", db => 'copy'), 'running', 'the copy waits');

# 2
my ($ok, $out, $err) = (0, '', '');
$node->psql('copy', 'SELECT osa_resume()', stdout => \$out, stderr => \$err);
like($err, qr/cannot resume: this database is a copy/, 'osa_resume() alone refuses');
sql($node, 'SELECT osa_resume(take_over => true)', db => 'copy');
is(wait_run($node, $run, 60, db => 'copy'), 'completed', 'taken over, it runs its own');
is(starts($node, run => $run, db => 'copy'), 1, 'once');
is(sql($node, "SELECT free_reruns FROM osa_run_hook WHERE run_id = $run", db => 'copy'), 0, 'as if it had never been started');
isnt(sql($node, 'SELECT install_id FROM osa_install', db => 'copy'), sql($node, 'SELECT install_id FROM osa_install'),
	'under an installation of its own');
check_sound($node, db => 'copy');
sql($node, 'DROP DATABASE copy', db => 'template1');

# 3: a base backup started as a server of its own, and a standby that is promoted
$node->backup('b');
my $clone = PostgreSQL::Test::Cluster->new('clone');
$clone->init_from_backup($node, 'b');
$clone->start;
is(state_of($clone, 'postgres'), 't|succession', 'a copied data directory is paused');
sql($clone, 'SELECT osa_resume(take_over => true)');
$run = start_run($clone, 'd2', ['r'], pipeline => 'short');
is(wait_run($clone, $run), 'completed', 'taken over, it works');
$clone->restart;
is(state_of($clone, 'postgres'), 'f|', 'and is at home from now on');
$clone->stop;

my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'b', has_streaming => 1);
$standby->start;
$run = start_run($node, 'd3', ['r']);
ok(wait_for($node, "SELECT last_message FROM osa_progress WHERE run_id = $run", 'here'), 'a hook runs on the primary');
$node->wait_for_catchup($standby);
my ($container) = containers($node, run => $run);
$node->stop('immediate');
$standby->promote;
is(state_of($standby, 'postgres'), 't|succession', 'a promoted standby is paused');
is((containers(undef, run => $run, install => sql($standby, 'SELECT install_id FROM osa_install')))[0]{Id}, $container->{Id},
	'the container is left alone');
sql($standby, 'SELECT osa_resume(take_over => true)');
ok(wait_for($standby, "SELECT adopted FROM osa_in_flight WHERE run_id = $run", 't'), 'taken over, it is adopted');
sql($standby, "SELECT osa_cancel_validation($run)");
ok(wait_for($standby, "SELECT count(*) FROM osa_in_flight", 0), 'and can be cancelled');
is(starts(undef, launch => sql($standby, "SELECT launch_id FROM osa_run_hook WHERE run_id = $run")), 1, 'it ran once');
check_sound($standby);
$standby->stop;

# 4
$node->start;
is(state_of($node, 'postgres'), 'f|', 'the original does not pause after a crash');
$node->stop;
rename($node->data_dir, $node->data_dir . '.moved') or die $!;
rename($node->data_dir . '.moved', $node->data_dir) or die $!;
$node->start;
is(state_of($node, 'postgres'), 'f|', 'nor when its directory was moved');
sql($node, "SELECT osa_cancel_validation($run)");
check_sound($node);
$node->stop;
done_testing();
