# A step's next container is created once the one before is gone.
#
# A run is cancelled and tried again while the engine refuses to remove the
# cancelled container, and the server is restarted in between: so that the
# worker that claims the new attempt knows nothing of the old one.
#
# Claims:
#  1. While the old container is there, no new one is created; when it is gone,
#     the new attempt runs and the run completes.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use OsaContainer;
use OsaProxy;
use OsaTest;
use Test::More;

my $proxy = OsaProxy->new;
my $node = new_node('earlier', fsync => 0, conf => "osa_validation.engine_socket = 'unix://" . $proxy->path . "'\n");
register_script_hook($node, 'hook', sh => hold());
define_pipeline($node, 'default', ['hook']);

my $run = start_run($node, 'd1', ['r']);
my $old = wait_held($node, $run);
$proxy->rule(removal => method => 'DELETE', path => '/containers/', status => 500, message => 'device or resource busy');
sql($node, "SELECT osa_cancel_validation($run)");
ok($proxy->wait_hits('removal', 1), 'the cancelled container cannot be removed');
is(sql($node, "SELECT osa_retry_validation($run)"), 't', 'the run is tried again');
$node->restart('immediate');

ok(wait_for($node, "SELECT count(*) FROM osa_in_flight WHERE run_id = $run AND attempt = 2", 1), 'the new attempt is claimed');
my $creates = $proxy->requests('POST .*/containers/create');
my $hits = $proxy->hits('removal');
ok($proxy->wait_hits('removal', $hits + 3), 'the removal is tried again and again');
is($proxy->requests('POST .*/containers/create'), $creates, 'no other container is created meanwhile');
is(scalar(containers($node, run => $run)), 1, 'there is one');

$proxy->drop('removal');
my $new = wait_held($node, $run, 0, 2);
isnt($new, $old, 'when it is gone, the new attempt has a container of its own');
let_go($new);
is(wait_run($node, $run), 'completed', 'and completes');
is(starts($node, run => $run), 2, 'two attempts, two containers');
ok(wait_for($node, 'SELECT count(*) FROM osa_in_flight', 0), 'nothing is left in flight');
check_sound($node);
$node->stop;
done_testing();
