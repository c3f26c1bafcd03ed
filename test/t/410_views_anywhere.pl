# The views only read, so they work wherever the extension is:
#  1. without the library in shared_preload_libraries, where osa_status says
#     what to set
#  2. with a worker, whose process osa_status and osa_worker show
#  3. on a standby, where osa_status says why nothing runs
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../perl";
use OsaTest;
use PostgreSQL::Test::Cluster;
use Test::More;

my @views = split /\n/, <<'VIEWS';
osa_failures
osa_in_flight
osa_progress
osa_queue
osa_run_timeline
osa_status
osa_worker
VIEWS

# Reads every column of every view: what fails is in the answer.
sub unreadable
{
	my ($node) = @_;
	return join ' ', grep { $node->psql('postgres', "SELECT count(*) FROM (SELECT v::text FROM $_ v) x") != 0 } @views;
}

my $node = new_node('views', preload => '', fsync => 0, conf => <<'CONF');
wal_level = replica
max_wal_senders = 5
CONF
sql($node, q{SELECT osa_define_pipeline('default', '{}'); SELECT osa_start_validation('d1', '[{"id": "r1", "metadata": {}}]')});

# ---- 1
is(unreadable($node), '', 'without preload every view can be read');
is(sql($node, 'SELECT preloaded, worker_pid IS NULL FROM osa_status'), 'f|t', 'osa_status says that it is not preloaded');
like(sql($node, 'SELECT advice FROM osa_status'), qr/shared_preload_libraries and restart/, 'and what to do');
is(sql($node, 'SELECT count(*) FROM osa_worker'), '0', 'there never was a worker');

# ---- 2
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'osa_validation'");
$node->restart;
ok(wait_for($node, 'SELECT worker_pid IS NOT NULL FROM osa_status'), 'with preload osa_status shows a worker');
is(sql($node, 'SELECT pid FROM osa_worker'), worker_pid($node), 'osa_worker its process');
ok(wait_for($node, 'SELECT turns > 0 AND last_turn_at >= started_at FROM osa_worker'), 'and its turns');
is(unreadable($node), '', 'every view can be read');
ok(wait_for($node, q{SELECT advice IS NULL OR advice LIKE 'Runner%' FROM osa_status}), 'there is nothing to do but for engines');
is(sql($node, 'SELECT status FROM osa_progress'), 'completed', 'osa_progress has the run');

# ---- 3
$node->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('views_standby');
$standby->init_from_backup($node, 'copy', has_streaming => 1);
$standby->start;
ok(wait_for($standby, 'SELECT pg_is_in_recovery()'), 'a standby runs');
is(unreadable($standby), '', 'on a standby every view can be read');
like(sql($standby, 'SELECT advice FROM osa_status'), qr/This is a standby/, 'osa_status says what it is');
is(sql($standby, 'SELECT status FROM osa_progress'), 'completed', 'osa_progress has the run there too');
check_sound($standby);
check_sound($node);
$standby->stop;
$node->stop;
done_testing();
