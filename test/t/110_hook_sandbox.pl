# What a hook is kept from, seen from inside, and what happens where an engine
# does not keep it.
#
# Claims:
#  1. User 65534 alone, no capabilities, no new privileges, a seccomp filter, no
#     network but lo, init as process 1; it cannot mount, make devices, become
#     root or change kernel settings.
#  2. Memory, no swap, cpu, pids, file size and /tmp are limited as its release
#     says; no core dumps.
#  3. The root is read-only, so are /osa/in and /osa/files; /osa/out is the
#     hook's own; /tmp, /run and /var/tmp are small, noexec, nosuid, nodev.
#  4. OSA_IN, OSA_OUT, OSA_FILES and OSA_HOOK_NAME are set.
#  5. No path of the host is shared: one anonymous volume at /osa, removed with
#     its container.
#  6. An engine that drops a limit: refused with kind config, nothing is started.
#  7. The same with accept_unenforced: it runs, and osa_status tells of it.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use OsaContainer;
use OsaProxy;
use OsaTest;
use Test::More;

my $node = new_node('sandbox', fsync => 0);
my $MIB = 1024 * 1024;
my @columns = (
	{ name => 'check', type => 'text' },
	{ name => 'ok', type => 'bool' },
	{ name => 'found', type => 'text' });

sub volumes { return join "\n", sort map { $_->{Name} } @{ engine_get('/volumes')->{Volumes} // [] } }
my $volumes_before = volumes();

# Two with different limits; the file size limit is the larger of output and /tmp.
register_script_hook($node, 'sandbox', image => 'localhost/osa-sandbox:1',
	columns => \@columns, cardinality => 'many',
	limits => { memory => '96MiB', cpu => 0.5, pids => 40, tmpfs => '4MiB', output => '8MiB' },
	config => { memory => 96 * $MIB, cpu => 0.5, pids => 40, tmpfs => 4 * $MIB, fsize => 8 * $MIB, hook => 'sandbox' });
register_script_hook($node, 'sandbox_two', image => 'localhost/osa-sandbox:1',
	columns => \@columns, cardinality => 'many',
	limits => { memory => '64MiB', cpu => 1.25, pids => 100, tmpfs => '6MiB', output => '2MiB' },
	config => { memory => 64 * $MIB, cpu => 1.25, pids => 100, tmpfs => 6 * $MIB, fsize => 6 * $MIB, hook => 'sandbox_two' });
define_pipeline($node, 'default', [ 'sandbox', 'sandbox_two' ]);
register_script_hook($node, 'idle', sh => hold(),
	limits => { timeout => '60 s' });
define_pipeline($node, 'idle', ['idle']);

my $run = start_run($node, 'checked', [ 'r1', 'r2' ]);
my $idle = start_run($node, 'idle', ['r1'], pipeline => 'idle');

# 5
ok(wait_for($node, "SELECT phase FROM osa_in_flight WHERE run_id = $idle", 'running'), 'a container runs');
my ($listed) = containers($node, run => $idle);
my $container = engine_get("/containers/$listed->{Name}/json");
is(json([ map { "$_->{Type} $_->{Destination}" } grep { $_->{Type} ne 'tmpfs' } @{ $container->{Mounts} } ]),
	'["volume /osa"]', 'it has one volume and no path of the host');
is(json($container->{HostConfig}{Binds} // []) =~ m{"/[^"]*:/osa}, '', 'nor any bind mount');
is(sql($node, "SELECT osa_cancel_validation($idle)"), 't', 'it is not needed any more');

# 1 to 4
is(wait_run($node, $run, 120), 'completed', 'both hooks ran in their sandboxes');
my @promised = split /\n/, <<'END';
/bin is read-only
/osa/out is the hook's own
/osa/out is writable
/run is a small tmpfs
/tmp executes nothing
/tmp has its size
/tmp is a small tmpfs
/tmp is writable
/var/tmp is a small tmpfs
CapAmb
CapBnd
CapEff
CapInh
CapPrm
OSA_FILES
OSA_HOOK_NAME
OSA_IN
OSA_OUT
becoming root
change an input's mode
cpu quota
device node
file size limit
file size limit is kept
gid
init is process 1
kernel setting
memory limit
mount
new file in /osa
new file in /osa/files
new file in /osa/in
no core dumps
no network but lo
no new privileges
no other groups
no route
no swap
pids limit
remove an input
rename /osa/files
rename /osa/in
rename an input
root is read-only
seccomp filter
uid
write to an input
END
for my $index (0, 1)
{
	my %found = map { my ($check, $rest) = split /\|/, $_, 2; $check => $rest } split /\n/,
	  sql($node, <<"SQL");
SELECT f ->> 'check', f ->> 'ok', f ->> 'found' FROM osa_outcome, jsonb_array_elements(features) AS f
 WHERE run_id = $run AND hook_index = $index AND record_id = 'r2'
SQL
	for my $check (@promised)
	{
		my $is = delete $found{$check} // 'not checked';
		like($is, qr/^true\|/, "hook $index: $check");
	}
	is(join(', ', sort keys %found), '', "hook $index: nothing was checked that is not listed here");
}
is(sql($node, "SELECT count(DISTINCT features) FROM osa_outcome WHERE run_id = $run AND hook_index = 0"), 1,
	'every record has the findings');

# 6, 7: an engine that answers Memory 0, as rootless Podman does on cgroup v1
my $proxy = OsaProxy->new;
my $weak = $proxy->path;
$proxy->rule(weak => method => 'GET', path => '/containers/osa-[0-9a-f]+/json', edit => [ '"Memory":' . 96 * $MIB, '"Memory":0' ]);
sql($node, sprintf("SELECT osa_add_runner('weak', 'docker', %s)", literal("unix://$weak")));
sql($node, sprintf("SELECT osa_add_runner('accepting', 'docker', %s, accept_unenforced => true)", literal("unix://$weak")));
register_script_hook($node, 'limited', limits => { memory => '96MiB' }, sh => 'echo ran');
define_pipeline($node, 'weak', ['limited'], runner => 'weak');
define_pipeline($node, 'accepting', ['limited'], runner => 'accepting');
my $refused = start_run($node, 'refused', ['r1'], pipeline => 'weak');
my $accepted = start_run($node, 'accepted', ['r1'], pipeline => 'accepting');
is(wait_run($node, $refused), 'failed', 'dropped limits fail the run');
like(sql($node, "SELECT failure_kind, message, attempt FROM osa_run_hook WHERE run_id = $refused"),
	qr/^config\|.*does not enforce.*memory.*\|1$/, 'as a matter of configuration, naming the limit');
is(starts($node, run => $refused), 0, 'nothing was started');
is(wait_run($node, $accepted), 'completed', 'a runner that accepts it runs the hook');
like(sql($node, "SELECT r ->> 'unenforced' FROM osa_status, jsonb_array_elements(runners) AS r WHERE r ->> 'name' = 'accepting'"),
	qr/memory/, 'osa_status tells what is not enforced');
is(sql($node, "SELECT r ->> 'unenforced' IS NULL FROM osa_status, jsonb_array_elements(runners) AS r WHERE r ->> 'name' = 'local'"),
	't', 'and nothing of an engine that enforces all');

check_sound($node);
no_containers($node);
ok((wait_until { volumes() eq $volumes_before } 'the volumes are gone', 20), 'nor a volume');
$node->stop;
done_testing();
