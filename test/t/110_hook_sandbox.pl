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
use IO::Select;
use IO::Socket::UNIX;
use OsaTest;
use POSIX ();
use PostgreSQL::Test::Utils;
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
register_script_hook($node, 'idle', sh => 'while [ ! -e go ]; do usleep 20000; done',
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
my ($weak, $proxy) = start_proxy("\"Memory\":" . 96 * $MIB, '"Memory":0');
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
ok(wait_until(sub { !containers($node) }), 'no container of ours is left');
ok(wait_until(sub { volumes() eq $volumes_before }), 'no volume either');
$node->stop;
kill 'TERM', $proxy;
waitpid $proxy, 0;
done_testing();

sub wait_until
{
	my ($condition) = @_;
	for (1 .. 400)
	{
		return 1 if $condition->();
		select undef, undef, undef, 0.05;
	}
	return 0;
}

# A socket that leads to the engine, where its answers say $to instead of $from:
# padded with blanks, since lengths were told already.  Returns the path and
# the process.
sub start_proxy
{
	my ($from, $to) = @_;
	my $path = PostgreSQL::Test::Utils::tempdir_short() . '/engine.sock';
	my $listener = IO::Socket::UNIX->new(Local => $path, Listen => 64) or die "$path: $!";
	my $parent = $$;
	my $pid = fork // die "fork: $!";
	return ($path, $pid) if $pid;

	$SIG{TERM} = 'DEFAULT';
	$SIG{PIPE} = 'IGNORE';
	$to .= ' ' x (length($from) - length $to);
	my $select = IO::Select->new($listener);
	my (%peer, %is_engine, %held);
	while (getppid() == $parent)
	{
		for my $from_sock ($select->can_read(1))
		{
			if ($from_sock == $listener)
			{
				my $client = $listener->accept or next;
				my $engine = IO::Socket::UNIX->new(Peer => $ENV{OSA_ENGINE_SOCKET}) or next;
				$peer{$client} = $engine;
				$peer{$engine} = $client;
				$is_engine{$engine} = 1;
				$select->add($client, $engine);
				next;
			}
			my $to_sock = $peer{$from_sock} or next;
			my $data = '';
			my $n = sysread $from_sock, $data, 65536;
			if (!$n)
			{
				$select->remove($from_sock, $to_sock);
				syswrite $to_sock, delete $held{$from_sock} if defined $held{$from_sock};
				delete @peer{ $from_sock, $to_sock };
				close $_ for $from_sock, $to_sock;
				next;
			}
			if ($is_engine{$from_sock})
			{
				# what may be the beginning of $from waits for the rest
				$data = (delete $held{$from_sock} // '') . $data;
				$data =~ s/\Q$from\E(?!\d)/$to/g;
				for (my $len = length($from) - 1; $len > 0; $len--)
				{
					next if length $data < $len || substr($data, -$len) ne substr($from, 0, $len);
					$held{$from_sock} = substr $data, -$len, $len, '';
					last;
				}
			}
			for (my $at = 0; $at < length $data;)
			{
				my $done = syswrite $to_sock, $data, length($data) - $at, $at;
				last unless $done;
				$at += $done;
			}
		}
	}
	POSIX::_exit(0);
}
