# Commands that need a database for themselves work while its worker is there.
#
# Claims:
#  1. DROP DATABASE, ALTER DATABASE RENAME, ALTER DATABASE SET TABLESPACE and
#     CREATE DATABASE … TEMPLATE work at once; the worker of a database that
#     stays comes back, a copy gets its own.
#  2. A worker comes back as well when such a command fails, or when its
#     transaction is rolled back; after a RENAME in a transaction only when that
#     has ended.
#  3. Who may not run the command does not disturb the worker.
#  4. Creating and dropping databases in quick succession works, and leaves
#     neither errors nor workers behind; in other databases nothing happens.
#  5. A server with many databases gets a worker in each that has the extension
#     and none in any other; after a restart too.
#  6. More databases than osa_validation.max_databases: said once, and the
#     others are served.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use OsaTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = new_node('databases', fsync => 0, conf => "max_worker_processes = 30\n");

# The pid of the database's worker once it has its lock, else 0.
sub settled_pid
{
	my ($db) = @_;
	wait_for($node, "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database"
		. " WHERE d.datname = " . literal($db) . " AND l.locktype = 'advisory' AND l.objsubid = 3 AND l.granted", '1')
	  or return 0;
	return worker_pid($node, db => $db);
}

# Runs it; how long it took.
sub seconds
{
	my ($text, %opt) = @_;
	my $start = time;
	sql($node, $text, %opt);
	return time - $start;
}

sub fails
{
	my ($text, $like, $name, @params) = @_;
	my ($out, $err);
	my $status = $node->psql('postgres', $text, stdout => \$out, stderr => \$err, on_error_stop => 1,
		extra_params => [@params]);
	isnt($status, 0, "$name fails");
	like($err, $like, "$name says why");
}

sub gone
{
	my ($pid) = @_;
	return wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE pid = $pid", '0');
}

my $own = settled_pid('postgres');

# 1
sql($node, 'CREATE DATABASE one');
sql($node, 'CREATE EXTENSION osa_validation', db => 'one');
my $pid = settled_pid('one');
cmp_ok(seconds('CREATE DATABASE copy TEMPLATE one'), '<', 4, 'CREATE DATABASE … TEMPLATE works at once');
ok(gone($pid), 'the worker had left');
ok(settled_pid('one') > 0, 'and came back');
ok(settled_pid('copy') > 0, 'the copy has its own');

cmp_ok(seconds('ALTER DATABASE one RENAME TO uno'), '<', 2, 'RENAME works at once');
$pid = settled_pid('uno');
ok($pid > 0, 'its worker came back');

my $space = PostgreSQL::Test::Utils::tempdir();
sql($node, "CREATE TABLESPACE elsewhere LOCATION '$space'");
cmp_ok(seconds('ALTER DATABASE uno SET TABLESPACE elsewhere'), '<', 4, 'SET TABLESPACE works at once');
ok(settled_pid('uno') > 0, 'its worker came back');

cmp_ok(seconds('DROP DATABASE copy'), '<', 2, 'DROP DATABASE works at once');
sql($node, 'CREATE DATABASE copy TEMPLATE uno');
settled_pid('copy');
cmp_ok(seconds('DROP DATABASE copy WITH (FORCE)'), '<', 2, 'by force, too');

# 2
$pid = settled_pid('uno');
my $holder = $node->background_psql('uno');
fails('DROP DATABASE uno', qr/is being accessed by other users/, 'DROP DATABASE while somebody is connected');
$holder->quit;
ok(gone($pid) && settled_pid('uno') > 0, 'its worker came back');

$pid = settled_pid('uno');
my $session = $node->background_psql('postgres');
$session->query('BEGIN; ALTER DATABASE uno RENAME TO one');
ok(gone($pid), 'RENAME in a transaction makes the worker leave');
$session->query('ROLLBACK');
ok(settled_pid('uno') > 0, 'until it is rolled back');
$session->quit;
$pid = settled_pid('uno');
fails('BEGIN; DROP DATABASE uno', qr/cannot run inside a transaction block/, 'DROP DATABASE in a transaction');
is(settled_pid('uno'), $pid, 'which the worker does not notice');

# 3
sql($node, 'CREATE ROLE visitor LOGIN; CREATE ROLE maker LOGIN CREATEDB');
for my $command ('DROP DATABASE uno', 'ALTER DATABASE uno RENAME TO mine', 'CREATE DATABASE mine TEMPLATE uno',
	'ALTER DATABASE uno SET TABLESPACE pg_default')
{
	fails($command, qr/must be owner|permission denied/, "a visitor's $command", '-U', 'visitor');
}
fails('CREATE DATABASE mine TEMPLATE uno', qr/permission denied to copy/, "a stranger's copy", '-U', 'maker');
fails('DROP DATABASE IF EXISTS nowhere, uno', qr/syntax error/, 'nonsense');
is(settled_pid('uno'), $pid, 'the worker did not notice');

# 4
my $offset = -s $node->logfile;
my $slowest = 0;
for my $i (1 .. 12)
{
	sql($node, 'CREATE DATABASE brief');
	sql($node, 'CREATE EXTENSION osa_validation', db => 'brief') if $i % 3;
	my $took = seconds('DROP DATABASE brief');
	$slowest = $took if $took > $slowest;
}
cmp_ok($slowest, '<', 3, 'DROP DATABASE right after CREATE EXTENSION works, twelve times');
unlike(slurp_file($node->logfile, $offset), qr/ERROR|FATAL|WARNING/, 'and says nothing');
is(settled_pid('postgres'), $own, 'the worker next door did not notice');
is(sql($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'osa_validation worker' AND datname NOT IN ('postgres', 'uno')"),
	0, 'no worker is left over');

# 5
my @many = map { "m$_" } 1 .. 8;
sql($node, "CREATE DATABASE $_") for @many, 'p1' .. 'p9';
sql($node, 'CREATE EXTENSION osa_validation', db => $_) for @many;
my $all = join ' ', sort @many, 'postgres', 'uno';
my $with_lock = "SELECT string_agg(datname, ' ' ORDER BY datname COLLATE \"C\") FROM pg_locks l JOIN pg_database d ON d.oid = l.database"
  . " WHERE l.locktype = 'advisory' AND l.objsubid = 3";
ok(wait_for($node, $with_lock, $all), 'each of many databases has a worker');
$node->restart;
ok(wait_for($node, $with_lock, $all), 'after a restart too');

# 6
$node->append_conf('postgresql.conf', 'osa_validation.max_databases = 4');
$offset = -s $node->logfile;
$node->restart;
ok(wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'osa_validation worker'", '4'),
	'as many workers as max_databases allows');
ok(wait_for($node, "SELECT pg_read_file(" . literal($node->logfile) . ", $offset, 1000000) ~ 'no further one is looked into'"),
	'and a message about the others');
my ($served) = split / /, sql($node, $with_lock);
$served = 'uno' if $served eq 'postgres';
sql($node, 'DROP EXTENSION osa_validation', db => $served);
ok(wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'osa_validation worker'", '4', 90),
	'one that was waiting takes the place that becomes free');

$node->stop;
done_testing();
