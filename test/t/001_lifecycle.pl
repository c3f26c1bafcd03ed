# A database's worker comes and goes with its extension.
#
# Claims:
#  1. CREATE EXTENSION starts a worker within a second, without any setting; each
#     database gets its own; a rolled back CREATE EXTENSION starts none.
#  2. DROP EXTENSION, and DROP SCHEMA or DROP OWNED that takes it along, ends it
#     within a second.
#  3. CREATE, DROP, CREATE in quick succession, and DROP and CREATE in one
#     transaction, end with one worker, that of the last extension.
#  4. Nothing of the above needs a connection, a lock or a transaction of the
#     worker's between its turns; one worker a database, by a lock.
#  5. A cancel does not end it; a terminated worker is started again; one that
#     was killed takes the server through recovery and is there again.
#  6. A launcher that ends leaves the workers alone and is started again.
#  7. A restart, fast or immediate, brings every worker back.
#  8. ALTER DATABASE … SET can't make it read-only, or change what it reads.
#  9. ALLOW_CONNECTIONS false keeps workers away.
# 10. A worker that fails at once is started again, less and less often; a new
#     extension in its database is not made to wait for that.
# 11. A worker that has nothing to do uses less than 1 % of a processor.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use OsaTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $node = new_node('lifecycle', fsync => 0, extension => 0, conf => "max_worker_processes = 20\n");

sub workers
{
	return "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_stat_activity"
	  . " WHERE backend_type = 'osa_validation worker'";
}

# Its pid once it is past its first look: a probe is gone again at once.
sub settled_pid
{
	my ($db) = @_;
	wait_for($node, "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database"
		. " WHERE d.datname = " . literal($db) . " AND l.locktype = 'advisory' AND l.objsubid = 3 AND l.granted", '1')
	  or return 0;
	return worker_pid($node, db => $db);
}

# Runs it; true if the database's worker was started less than a second later.
sub starts_in_time
{
	my ($db, $command) = @_;
	my $asked = sql($node, "$command; SELECT clock_timestamp()", db => $db);
	wait_for($node, workers_in($db), '1', 10) or return 0;
	return sql($node, "SELECT backend_start < " . literal($asked) . "::timestamptz + interval '1 s'"
		. " FROM pg_stat_activity WHERE datname = " . literal($db) . " AND backend_type = 'osa_validation worker'") eq 't';
}

sub workers_in
{
	my ($db) = @_;
	return "SELECT count(*) FROM pg_stat_activity WHERE datname = " . literal($db)
	  . " AND backend_type = 'osa_validation worker'";
}

# Runs it; true if the database has no worker a second later.
sub ends_in_time
{
	my ($db, $command) = @_;
	sql($node, $command, db => $db);
	my $until = time + 1;
	my $there;
	do { $there = sql($node, workers_in($db)) } while ($there ne '0' && time < $until);
	return $there eq '0';
}

# 1
ok(starts_in_time('postgres', 'CREATE EXTENSION osa_validation'), 'CREATE EXTENSION starts a worker within a second');
sql($node, 'CREATE DATABASE two');
ok(starts_in_time('two', 'CREATE SCHEMA archive; CREATE EXTENSION osa_validation SCHEMA archive'),
	'another database gets its own, with the extension in another schema');
sql($node, 'CREATE DATABASE three');
sql($node, 'BEGIN; CREATE EXTENSION osa_validation; ROLLBACK', db => 'three');
sql($node, 'BEGIN; SAVEPOINT s; DROP EXTENSION osa_validation; ROLLBACK TO s; COMMIT');
is(settled_pid('postgres') > 0 && sql($node, workers()), 'postgres two', 'a rolled back CREATE or DROP changes nothing');

# 4
is(sql($node, "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
		. " WHERE a.backend_type = 'osa_validation worker' AND l.locktype = 'advisory' AND l.objsubid = 3"),
	2, 'each holds the lock that only one a database can have');
is(sql($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'osa_validation worker'"
		. " AND wait_event = 'Extension' AND xact_start IS NOT NULL"), 0, 'none waits in a transaction');
my $pid = settled_pid('postgres');
sql($node, 'ALTER TABLE osa_install ADD scratch int; ALTER TABLE osa_install DROP scratch; CREATE TABLE scratch (); DROP TABLE scratch');
is(settled_pid('postgres'), $pid, 'DDL passes it by');

# 2
ok(ends_in_time('postgres', 'DROP EXTENSION osa_validation'), 'DROP EXTENSION ends the worker within a second');
ok(ends_in_time('two', 'DROP SCHEMA archive CASCADE'), 'DROP SCHEMA CASCADE ends it too');
sql($node, 'CREATE ROLE boss SUPERUSER LOGIN');
ok(starts_in_time('two', 'SET ROLE boss; CREATE EXTENSION osa_validation; RESET ROLE'), 'it comes back');
ok(ends_in_time('two', 'DROP OWNED BY boss CASCADE'), 'DROP OWNED ends it too');

# 3
for my $i (1 .. 10)
{
	sql($node, 'CREATE EXTENSION osa_validation');
	sql($node, 'DROP EXTENSION osa_validation; CREATE EXTENSION osa_validation') if $i % 2;
	sql($node, 'DROP EXTENSION osa_validation');
}
ok(starts_in_time('postgres', 'CREATE EXTENSION osa_validation'), 'after ten rounds of CREATE and DROP it is there at once');
$pid = settled_pid('postgres');
sql($node, 'BEGIN; DROP EXTENSION osa_validation; CREATE EXTENSION osa_validation; COMMIT');
ok(wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE pid = $pid", '0'),
	'DROP and CREATE in one transaction end the old one');
ok(settled_pid('postgres') > 0, 'and start a new one');
is(sql($node, workers_in('postgres')), 1, 'only one');

# 5
$pid = settled_pid('postgres');
sql($node, "SELECT pg_cancel_backend($pid) FROM generate_series(1, 20)");
sql($node, "SELECT pg_reload_conf()");
sql($node, 'CREATE EXTENSION osa_validation', db => 'two');
settled_pid('two');
is(settled_pid('postgres'), $pid, 'a cancel does not end it');
sql($node, "SELECT pg_terminate_backend($pid)");
ok(wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE pid = $pid", '0'), 'a terminated worker ends');
ok(wait_for($node, workers_in('postgres'), '1', 10), 'and is started again');

# 6
my %before = map { $_ => settled_pid($_) } qw(postgres two);
my $launcher = sql($node, "SELECT pg_terminate_backend(pid), pid FROM pg_stat_activity WHERE backend_type = 'osa_validation launcher'");
$launcher =~ s/^t\|// or BAIL_OUT('no launcher');
ok(wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'osa_validation launcher' AND pid <> $launcher", '1'),
	'a terminated launcher is started again');
ok(starts_in_time('three', 'CREATE EXTENSION osa_validation'), 'and does its work');
is_deeply({ map { $_ => settled_pid($_) } qw(postgres two) }, \%before, 'the workers went on');
is(sql($node, workers()), 'postgres three two', 'one in each');

# 8
sql($node, <<'SQL', db => 'three');
CREATE SCHEMA evil;
CREATE FUNCTION evil.now() RETURNS timestamptz LANGUAGE sql AS $$ SELECT 1/0; SELECT pg_catalog.now() $$;
ALTER DATABASE three SET search_path = evil, public;
ALTER DATABASE three SET default_transaction_read_only = on;
ALTER DATABASE three SET default_transaction_isolation = serializable;
ALTER DATABASE three SET statement_timeout = 1;
ALTER DATABASE three SET row_security = off;
ALTER DATABASE three SET session_replication_role = replica;
SQL

# 7
my $offset = -s $node->logfile;
$node->restart;
ok(wait_for($node, workers(), 'postgres three two'), 'a restart brings every worker back');
$node->stop('immediate');
$node->start;
ok(wait_for($node, workers(), 'postgres three two'), 'an immediate one too');
$pid = settled_pid('three');
unlike(slurp_file($node->logfile, $offset), qr/read-only transaction|division by zero|ERROR/, 'no setting of its database harms a worker');

# 5
kill 'KILL', settled_pid('two');
my $until = time + 60;
# psql itself may die while the server goes down
sleep 0.05 until eval { sql($node, "SELECT count(*) FROM pg_stat_activity WHERE pid = $pid") eq '0' } || time > $until;
cmp_ok(time, '<=', $until, 'killing one restarts the server');
ok(wait_for($node, workers(), 'postgres three two'), 'and the workers are back');

# 9
settled_pid($_) for qw(postgres three two);
sql($node, 'ALTER DATABASE two ALLOW_CONNECTIONS false');
sql($node, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname IN ('two', 'three') AND backend_type = 'osa_validation worker'");
ok(wait_for($node, workers(), 'postgres three'), 'where connections are not allowed no worker is started');
sql($node, 'ALTER DATABASE two ALLOW_CONNECTIONS true');
ok(wait_for($node, workers(), 'postgres three two'), 'but once they are');

# 10
sql($node, 'CREATE DATABASE four');
sql($node, 'CREATE EXTENSION osa_validation', db => 'four');
$pid = settled_pid('four');
sql($node, 'ALTER TABLE osa_install RENAME TO hidden', db => 'four');
$offset = -s $node->logfile;
my $start = time;
sql($node, "SELECT pg_terminate_backend($pid)");
my $oid = sql($node, "SELECT oid FROM pg_database WHERE datname = 'four'");
ok(wait_for($node, "SELECT count(*) FROM regexp_matches(pg_read_file(" . literal($node->logfile)
		. ", $offset, 1000000), 'worker started in database $oid', 'g')", '2', 30), 'a worker that fails is started again');
cmp_ok(time - $start, '>', 2.9, 'not at once, and then later still');
ok(starts_in_time('four', 'DROP EXTENSION osa_validation; CREATE EXTENSION osa_validation'),
	'a new extension gets its worker at once');
ok(settled_pid('four') > 0, 'which works');

# 11
sub ticks
{
	my ($of) = @_;
	my @fields = split / /, slurp_file("/proc/$of/stat") =~ s/.*\) //sr;
	return $fields[11] + $fields[12];
}
my $idle = settled_pid('four');
my $turns = sql($node, 'SELECT turns FROM osa_worker', db => 'four');
my ($ticks, $since) = (ticks($idle), time);
ok(wait_for($node, "SELECT turns >= $turns + 4 FROM osa_worker", 't', 30, db => 'four'), 'an idle worker turns now and then');
cmp_ok((ticks($idle) - $ticks) / (time - $since), '<=', 1, 'and uses less than 1 % of a processor');

$node->stop;
done_testing();
