# What the server's configuration means for workers.
#
# Claims:
#  1. Without preload CREATE EXTENSION warns, osa_status says what to set, and
#     everything but execution works.
#  2. Without a free worker process: one message, osa_status says so, the worker
#     starts by itself once there is one.
#  3. CREATE EXTENSION in a prepared transaction starts a worker after COMMIT
#     PREPARED, also when the server was restarted in between; after ROLLBACK
#     PREPARED none.
#  4. A standby has no launcher and no worker; a promoted one has.
#  5. Invalid settings are refused.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use OsaTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $workers = "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_locks l JOIN pg_database d ON d.oid = l.database"
  . " WHERE l.locktype = 'advisory' AND l.objsubid = 3";

sub count_in_log
{
	my ($node, $pattern, $offset) = @_;
	my @found = slurp_file($node->logfile, $offset // 0) =~ /$pattern/g;
	return scalar @found;
}

# 1
my $node = new_node('server', fsync => 0, preload => '', extension => 0, conf => "wal_level = replica\nmax_wal_senders = 4\n");
my ($out, $err);
is($node->psql('postgres', 'CREATE EXTENSION osa_validation', stdout => \$out, stderr => \$err), 0,
	'without preload CREATE EXTENSION works');
like($err, qr/WARNING:.*not preloaded.*HINT:.*shared_preload_libraries/s, 'and warns');
like(sql($node, 'SELECT preloaded, worker_pid, advice FROM osa_status'), qr/^f\|\|Add osa_validation to shared_preload_libraries/,
	'osa_status says what to set');
sql($node, q{SELECT osa_define_pipeline('empty', '{}')});
my $run = sql($node, q{SELECT osa_start_validation('d', '[{"id": "r", "metadata": {}}]', 'empty')});
my $event = sql($node, q{SELECT osa_submit_deposition('e', '[{"id": "r", "metadata": {}}]', 'empty')});
is($node->psql('postgres', 'SELECT osa_library_version()', stdout => \$out, stderr => \$err), 0, 'the library answers');
is($err, '', 'without warning again');
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'osa_validation'");
$node->restart;
ok(wait_for($node, $workers, 'postgres'), 'with preload the worker is there');
is(wait_run($node, $run), 'completed', 'and executes what was submitted');
ok(wait_for($node, "SELECT count(*) FROM osa_validation_run WHERE deposition = 'e' AND status = 'completed'", '1'),
	'all of it');

# 2: the launcher, logical replication's, and one more
$node->append_conf('postgresql.conf', 'max_worker_processes = 3');
sql($node, 'CREATE DATABASE two');
$node->restart;
ok(wait_for($node, $workers, 'postgres'), 'the last worker process is taken');
my $offset = -s $node->logfile;
sql($node, 'CREATE EXTENSION osa_validation', db => 'two');
ok(wait_for($node, "SELECT advice ~ 'max_worker_processes' FROM osa_status", 't', 60, db => 'two'),
	'osa_status says that there is none for the next database');
sql($node, 'CREATE DATABASE three');
sql($node, 'CREATE EXTENSION osa_validation', db => 'three');
ok(wait_for($node, "SELECT advice ~ 'max_worker_processes' FROM osa_status", 't', 60, db => 'three'), 'and for another one');
is(count_in_log($node, qr/LOG:.*all worker processes are in use/, $offset), 1, 'the log does so once');
sql($node, 'DROP DATABASE three');
sql($node, 'DROP EXTENSION osa_validation CASCADE');
ok(wait_for($node, $workers, 'two', 30), 'it gets the one that becomes free');
is(sql($node, "SELECT coalesce(advice, '') ~ 'max_worker_processes' FROM osa_status", db => 'two'), 'f', 'and osa_status forgets it');
is(count_in_log($node, qr/LOG:.*all worker processes are in use/, $offset), 1, 'still once');
$node->append_conf('postgresql.conf', 'max_worker_processes = 16');
$node->restart;

# 3
sql($node, "BEGIN; CREATE EXTENSION osa_validation; PREPARE TRANSACTION 'create'");
ok(wait_for($node, $workers, 'two'), 'a prepared CREATE EXTENSION starts nothing');
sql($node, "COMMIT PREPARED 'create'");
ok(wait_for($node, $workers, 'postgres two', 5), 'its COMMIT PREPARED does');
sql($node, 'DROP EXTENSION osa_validation');
sql($node, "BEGIN; CREATE EXTENSION osa_validation; PREPARE TRANSACTION 'create'");
$node->restart;
ok(wait_for($node, $workers, 'two'), 'after a restart it still does nothing');
sql($node, "COMMIT PREPARED 'create'");
ok(wait_for($node, $workers, 'postgres two', 5), 'and its COMMIT PREPARED starts a worker');
my $pid = worker_pid($node);
sql($node, "BEGIN; DROP EXTENSION osa_validation; PREPARE TRANSACTION 'drop'");
sql($node, "ROLLBACK PREPARED 'drop'");
is(worker_pid($node), $pid, 'a prepared DROP that is rolled back ends none');
sql($node, "BEGIN; DROP EXTENSION osa_validation; PREPARE TRANSACTION 'drop'");
sql($node, "COMMIT PREPARED 'drop'");
ok(wait_for($node, $workers, 'two', 5), 'and one that is committed does');

# 4
$node->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'copy', has_streaming => 1);
$standby->start;
is(sql($standby, "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'osa_validation%'"), 0,
	'a standby has neither launcher nor worker');
like(sql($standby, 'SELECT advice FROM osa_status', db => 'two'), qr/standby/, 'and osa_status says why');
sql($node, 'CREATE EXTENSION osa_validation');
$node->wait_for_catchup($standby);
isnt($standby->psql('postgres', q{SELECT osa_define_pipeline('empty', '{}')}, stdout => \$out, stderr => \$err), 0,
	'nothing can be written there');
like($err, qr/recovery|read-only/, 'which is said');
$standby->promote;
ok(wait_for($standby, $workers, 'postgres two'), 'promotion starts the workers');
$standby->stop;

# 5
my %refused = (
	engine_socket => [ "'tcp://localhost:2375'", "'docker.sock'", "''", "'" . '/x' x 60 . "'" ],
	files_root => ["'data'"],
	allowed_images => [ "'a,,b'", "'a b'", "'a,'", "'x;y'" ],
	max_in_flight => [ 0, 100000 ],
	max_memory => ["'4 apples'"],
	worker_log_level => ["'loud'"],
	no_such_setting => ["'x'"]);
for my $name (sort keys %refused)
{
	for my $value (@{ $refused{$name} })
	{
		isnt($node->psql('postgres', "ALTER SYSTEM SET osa_validation.$name = $value", stdout => \$out, stderr => \$err), 0,
			"osa_validation.$name = $value is refused");
	}
}
sql($node, "ALTER SYSTEM SET osa_validation.$_") for "engine_socket = 'unix:///run/docker.sock'", "engine_socket = '/run/x.sock'",
  "files_root = '/srv/files'", "files_root = ''", "allowed_images = 'localhost/*, quay.io/a/b:1.2\@sha256:*'",
  "allowed_images = ''", "max_input_bytes = '1GB'", "max_memory = '2GB'", "progress_retention = '30d'";
sql($node, 'SELECT pg_reload_conf()');
ok(wait_for($node, 'SHOW osa_validation.max_input_bytes', '1GB'), 'settings reload');

$node->stop;
done_testing();
