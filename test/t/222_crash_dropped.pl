# DROP EXTENSION in mid-run leaves no container behind.
#
# Claims:
#  1. The worker leaves within two seconds, and the containers of its hooks are
#     gone within five; another database's hooks run on.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use OsaTest;
use Test::More;
use Time::HiRes qw(time);

my $node = new_node('dropped', fsync => 0);
sql($node, 'CREATE DATABASE other');
sql($node, 'CREATE EXTENSION osa_validation', db => 'other');
for my $db ('postgres', 'other')
{
	register_script_hook($node, 'hook', sh => 'sleep 60', db => $db);
	define_pipeline($node, 'default', ['hook'], db => $db);
	start_run($node, "d$_", ['r'], db => $db) for 1 .. 2;
	ok(wait_for($node, q{SELECT count(*) FROM osa_in_flight WHERE phase = 'running'}, 2, 60, db => $db), "two hooks run in $db");
}
my $install = sql($node, 'SELECT install_id FROM osa_install');

my $began = time;
sql($node, 'DROP EXTENSION osa_validation');
ok(wait_for($node, q{SELECT count(*) FROM pg_stat_activity WHERE datname = 'postgres' AND backend_type LIKE 'osa_validation worker%'}, 0, 2),
	'the worker leaves');
my $left = 2;
while ($left > 0 && time < $began + 5)
{
	$left = () = containers(undef, install => $install);
}
is($left, 0, 'and its containers are gone');
is(scalar(containers($node, db => 'other')), 2, "another database's are not");
is(sql($node, 'SELECT count(osa_cancel_validation(id)) FROM osa_validation_run', db => 'other'), 2, 'which are cancelled now');
ok(wait_for($node, 'SELECT count(*) FROM osa_in_flight', 0, 30, db => 'other'), 'and gone');
check_sound($node, db => 'other');
$node->stop;
done_testing();
