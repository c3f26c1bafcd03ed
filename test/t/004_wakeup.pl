# A commit wakes the worker.
#
# The safety scan is set to an hour here: what is executed was told to the worker.
#
# Claims:
#  1. COMMIT starts what was submitted; ROLLBACK and ROLLBACK TO SAVEPOINT start
#     nothing; what a rolled back savepoint leaves does not disturb the rest.
#  2. COMMIT PREPARED starts it, whichever session runs it and whether or not
#     another database's or a foreign prepared transaction is about; ROLLBACK
#     PREPARED does not; also when the server was restarted in between.
#  3. More at once than the feed holds is executed all the same.
#  4. It is the caller's COMMIT that decides, whatever synchronous_commit is.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use OsaTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('wakeup', fsync => 0, conf => "osa_validation.poll_interval = '1h'\nosa_validation.claim_timeout = '1d'\n");
my $record = literal('[{"id": "r", "metadata": {}}]');
sql($node, q{SELECT osa_define_pipeline('empty', '{}'), osa_define_pipeline('default', '{}')});

sub worker_is_idle
{
	return wait_for($node, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 3", '1');
}

# The statement that submits; the worker's part is to make a run of it.
sub submit
{
	my ($name) = @_;
	return "SELECT osa_submit_deposition('$name', $record)";
}

sub ended
{
	my ($name, $timeout) = @_;
	return wait_for($node, "SELECT status FROM osa_validation_run WHERE deposition = '$name'", 'completed', $timeout // 5);
}

sub runs
{
	return sql($node, "SELECT count(*) FROM osa_validation_run WHERE deposition LIKE '$_[0]'");
}

ok(worker_is_idle(), 'the worker is there');
sql($node, submit('warm'));
ok(ended('warm', 60), 'and at work');

# 1
sql($node, submit("plain"));
ok(ended('plain'), 'COMMIT starts it');
sql($node, 'BEGIN;' . submit('rolled_back') . '; ROLLBACK');
sql($node, 'BEGIN; SAVEPOINT s;' . submit('savepoint_back') . '; ROLLBACK TO s; SAVEPOINT t;' . submit('savepoint_kept') . '; RELEASE t; COMMIT');
ok(ended('savepoint_kept'), 'so does that of a transaction with a rolled back savepoint');
is(runs('%back'), 0, 'ROLLBACK and ROLLBACK TO start nothing');

# 4
sql($node, 'SET synchronous_commit = off;' . submit('asynchronous'));
ok(ended('asynchronous'), 'an asynchronous COMMIT starts it');

# 2
sql($node, 'BEGIN;' . submit('prepared') . "; PREPARE TRANSACTION 'p'");
sql($node, submit('beside'));
ok(ended('beside'), 'others go on beside a prepared one');
is(runs('prepared'), 0, 'which is not started');
sql($node, "COMMIT PREPARED 'p'");
ok(ended('prepared'), 'until its COMMIT PREPARED');

sql($node, 'BEGIN;' . submit('prepared_back') . "; PREPARE TRANSACTION 'p'");
sql($node, "ROLLBACK PREPARED 'p'");
sql($node, 'CREATE TABLE foreign_one (); CREATE TABLE foreign_two ()');
sql($node, "BEGIN; INSERT INTO foreign_one DEFAULT VALUES; PREPARE TRANSACTION 'foreign'");
sql($node, 'BEGIN;' . submit('prepared_second') . "; PREPARE TRANSACTION 'p'");
sql($node, "BEGIN; INSERT INTO foreign_two DEFAULT VALUES; PREPARE TRANSACTION 'foreign too'");
my $steps = sql($node, 'SELECT turns FROM osa_worker');
ok(wait_for($node, "SELECT turns > $steps + 2 FROM osa_worker"), 'the worker has looked at them');
sql($node, "COMMIT PREPARED 'p'");
ok(ended('prepared_second'), 'it is started though foreign ones are about');
sql($node, 'BEGIN;' . submit('prepared_third') . "; PREPARE TRANSACTION 'p'");
$node->restart;
ok(worker_is_idle(), 'the server was restarted');
sql($node, submit('after_restart'));
ok(ended('after_restart', 60), 'and the worker has looked around');
is(runs('prepared_third'), 0, 'the prepared one is not started');
sql($node, "COMMIT PREPARED 'p'");
ok(ended('prepared_third'), 'it is once it is committed');
is(runs('prepared_back'), 0, 'ROLLBACK PREPARED starts nothing');
sql($node, "COMMIT PREPARED 'foreign'; ");
sql($node, "ROLLBACK PREPARED 'foreign too'");

# 3
sql($node, "SELECT count(osa_submit_deposition('many' || i, $record)) FROM generate_series(1, 1500) i");
ok(wait_for($node, "SELECT count(*) FROM osa_validation_run WHERE deposition LIKE 'many%' AND status = 'completed'", '1500', 60),
	'1500 at once');

check_sound($node);
$node->stop;
done_testing();
