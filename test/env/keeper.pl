#!/usr/bin/perl
# keeper.pl: owns one container engine (podman or dockerd), as root, and obeys
# one-line commands on a Unix socket that user postgres may use: so tests, which
# run as postgres, can kill and start an engine of root's.  It can do nothing
# else for them: no command names a process, a path or an option.
#
#   keeper.pl DIR KIND serve     runs until told to stop
#
# DIR is the instance's folder (see lib.sh).  Commands and answers ("ok …" or
# "error …"):
#   status             ok up PID | ok down
#   start              starts the engine if it is down; returns when it answers
#   kill               SIGKILL to the engine itself; containers go on
#   term               SIGTERM to it, and waits until it has ended
#   restart            term and start
#   freeze, thaw       SIGSTOP, SIGCONT
#   pid NAME           ok PID PARENT of a running container; remembered
#   kill-container NAME   SIGKILL to its main process, from outside
#   kill-shim NAME     SIGKILL to its conmon or shim, then to the container
#   reboot             what a reboot of the engine's host does: everything dies
#                      at once, its run folder is empty; engine started again
#   stop               removes all containers, ends everything, keeper too
use strict;
use warnings;

use Fcntl qw(O_WRONLY O_CREAT O_APPEND);
use File::Path qw(make_path remove_tree);
use IO::Select;
use IO::Socket::UNIX;
use POSIX qw(:sys_wait_h setsid);
use Time::HiRes qw(sleep time);

my ($dir, $kind, $mode) = @ARGV;
die "usage: keeper.pl DIR podman|docker serve\n"
  unless @ARGV == 3 && $dir =~ m{^/} && $kind =~ /^(?:podman|docker)$/ && $mode eq 'serve';

my $sockets = "$dir/s";
my $store = "$dir/$kind";
my $engine_socket = "$sockets/engine.sock";
my $control_socket = "$sockets/control.sock";
my $gid = getgrnam('postgres') // die "there is no group postgres\n";
my %seen;    # container name => [pid, parent, start time of each]
my $engine_pid;
my $events_pid;
my $stopping;

$SIG{PIPE} = 'IGNORE';
$SIG{TERM} = $SIG{INT} = $SIG{HUP} = sub { $stopping = 1 };

sub note { printf STDERR "%s %s\n", POSIX::strftime('%H:%M:%S', localtime), "@_"; return }

sub slurp
{
	my ($path) = @_;
	open my $fh, '<', $path or return;
	local $/;
	return scalar <$fh>;
}

sub spew
{
	my ($path, $text) = @_;
	open my $fh, '>', "$path.new" or die "$path.new: $!\n";
	print $fh $text;
	close $fh or die "$path.new: $!\n";
	rename "$path.new", $path or die "$path: $!\n";
	return;
}

# ---- HTTP over the engine's socket, small: (status, body), or () if no answer

sub http
{
	my ($method, $path, $timeout) = @_;
	my $sock = IO::Socket::UNIX->new(Peer => $engine_socket) or return;
	print $sock "$method $path HTTP/1.0\r\nHost: engine\r\n\r\n";
	my $answer = '';
	my $until = time + ($timeout // 10);
	my $select = IO::Select->new($sock);
	while ((my $left = $until - time) > 0)
	{
		next unless $select->can_read($left);
		my $n = sysread $sock, $answer, 65536, length $answer;
		last unless $n;
	}
	return unless $answer =~ m{^HTTP/1\.\d (\d+)[^\r\n]*\r\n.*?\r\n\r\n(.*)}s;
	return ($1, $2);
}

sub answers
{
	my ($status) = http('GET', '/_ping', 2);
	return defined $status && $status == 200;
}

# ---- processes, found by what they were started with: our folder's path

sub processes
{
	my %all;
	for my $path (glob '/proc/[0-9]*')
	{
		my ($pid) = $path =~ /(\d+)$/;
		my $stat = slurp("$path/stat") // next;
		$stat =~ /\((.*)\) \S (\d+) (.*)$/s or next;
		my ($comm, $parent, $rest) = ($1, $2, $3);
		my $args = slurp("$path/cmdline") // '';
		$args =~ tr/\0/ /;
		$all{$pid} = { comm => $comm, parent => $parent, args => $args,
			born => (split ' ', $rest)[17] };
	}
	return \%all;
}

# Those that watch over a container, and the engine's own helpers.
sub ours
{
	my ($all, $comm) = @_;
	return grep { $all->{$_}{comm} =~ $comm && $all->{$_}{args} =~ m{\Q$store\E/|\Q$engine_socket\E} }
	  sort { $a <=> $b } keys %$all;
}

sub children_of
{
	my ($all, @parents) = @_;
	my @found;
	while (@parents)
	{
		my %is = map { $_ => 1 } @parents;
		@parents = grep { $is{ $all->{$_}{parent} } } keys %$all;
		push @found, @parents;
	}
	return @found;
}

my $shims = qr/^(?:conmon|containerd-shim.*)$/;
my $helpers = qr/^(?:podman|dockerd|containerd|runc|crun|runc:.*|curl)$/;

# Kills what is left of the engine and its containers, and waits.
# Shims first: one that saw its container die would still write that down.
sub kill_all
{
	for (1 .. 50)
	{
		my $all = processes();
		my @shims = ours($all, $shims);
		my @pids = (@shims, children_of($all, @shims), grep { $_ != $$ } ours($all, $helpers));
		@pids = grep { $_ > 1 } @pids;
		last unless @pids;
		kill KILL => @pids;
		sleep 0.1;
		1 while waitpid(-1, WNOHANG) > 0;
	}
	undef $engine_pid;
	undef $events_pid;
	unlink "$dir/engine.pid";
	return;
}

sub unmount_all
{
	for (1 .. 3)
	{
		my @points;
		for (split /\n/, slurp('/proc/self/mountinfo') // '')
		{
			my $point = (split ' ')[4];
			$point =~ s/\\(\d{3})/chr oct $1/ge;
			push @points, $point if index($point, "$store/") == 0;
		}
		last unless @points;
		system('umount', '-l', $_) for reverse @points;
	}
	return;
}

# What a container killed from outside leaves in folders that all share.
sub forget_containers
{
	my @ids = map { m{/([0-9a-f]{64})$} ? $1 : () }
	  glob("$store/root/overlay-containers/* $store/data/containers/*");
	for my $id (@ids)
	{
		remove_tree("/run/runc/$id", "/run/crun/$id", { error => \my $ignored });
		for my $group (glob "/sys/fs/cgroup/*/libpod_parent/libpod-$id /sys/fs/cgroup/libpod_parent/libpod-$id"
			. " /sys/fs/cgroup/*/docker/$id /sys/fs/cgroup/docker/$id")
		{
			rmdir $_ for reverse sort glob "$group/*";
			rmdir $group;
		}
	}
	return;
}

sub wipe_run_folders
{
	remove_tree("$store/run", "$store/tmp", "$store/exec", { error => \my $ignored });
	return;
}

sub boot_id { return slurp('/proc/sys/kernel/random/boot_id') // '' }

# ---- the engine

sub engine_command
{
	if ($kind eq 'podman')
	{
		return ({
				CONTAINERS_CONF => "$store/containers.conf",
				CONTAINERS_STORAGE_CONF => "$store/storage.conf",
				CONTAINERS_REGISTRIES_CONF => "$store/registries.conf",
				TMPDIR => "$store/scratch",
				HOME => '/root',
			},
			'podman', '--log-level=warn', 'system', 'service', '--time=0', "unix://$engine_socket");
	}
	return ({ TMPDIR => "$store/scratch", DOCKER_TMPDIR => "$store/scratch", HOME => '/root' },
		'dockerd', '--iptables=false', '--ip6tables=false', '--bridge=none', '--live-restore',
		'--log-level=warn', '--data-root', "$store/data", '--exec-root', "$store/exec",
		'--pidfile', "$store/dockerd.pid", '--group', 'postgres', '-H', "unix://$engine_socket");
}

sub spawn
{
	my ($log, $env, @command) = @_;
	my $pid = fork // die "fork: $!\n";
	return $pid if $pid;
	$SIG{$_} = 'DEFAULT' for qw(PIPE TERM INT HUP);
	setsid();
	open STDIN, '<', '/dev/null';
	open STDOUT, '>>', $log;
	open STDERR, '>&', \*STDOUT;
	delete @ENV{qw(XDG_RUNTIME_DIR DBUS_SESSION_BUS_ADDRESS NOTIFY_SOCKET CONTAINER_HOST DOCKER_HOST)};
	@ENV{ keys %$env } = values %$env;
	exec { $command[0] } @command or POSIX::_exit(127);
}

# Has the engine ended?  Reaps it then.
sub ended
{
	return 1 unless $engine_pid;
	return 0 if kill(0, $engine_pid) && (slurp("/proc/$engine_pid/stat") // '') !~ /\) Z /;
	waitpid $engine_pid, WNOHANG;
	note("engine $engine_pid has ended");
	undef $engine_pid;
	unlink "$dir/engine.pid";
	return 1;
}

sub wait_end
{
	my ($seconds) = @_;
	my $until = time + $seconds;
	while (time < $until)
	{
		return 1 if ended();
		sleep 0.01;
	}
	return ended();
}

# dockerd forgets its events when it ends: keep them for those who count them.
sub follow_events
{
	my ($since) = @_;
	return unless $kind eq 'docker';
	my $out = "$dir/events.jsonl";
	$events_pid = spawn($out, {}, 'curl', '-sN', '--unix-socket', $engine_socket,
		sprintf('http://engine/v1.41/events?since=%.6f&filters=%%7B%%22type%%22%%3A%%5B%%22container%%22%%5D%%7D', $since));
	return;
}

sub start
{
	return "ok up $engine_pid" if !ended() && answers();
	return 'error the engine runs but does not answer' if $engine_pid;

	# An engine that outlived its keeper, or a reboot since then.
	my $old = slurp("$dir/engine.pid");
	if ($old && $old =~ /^(\d+)$/)
	{
		my $args = slurp("/proc/$old/cmdline") // '';
		kill KILL => $old if index($args, $engine_socket) >= 0;
	}
	if ((slurp("$store/boot_id") // '') ne boot_id())
	{
		wipe_run_folders();
		spew("$store/boot_id", boot_id());
	}
	# dockerd waits for a containerd that it finds written down, even a dead one.
	if ($kind eq 'docker')
	{
		my $all = processes();
		kill KILL => $_ for ours($all, qr/^containerd$/);
	}
	unlink $engine_socket, "$store/dockerd.pid", "$store/exec/containerd/containerd.pid";
	make_path("$store/scratch", "$store/tmp", "$store/run");

	my $since = time;
	my ($env, @command) = engine_command();
	$engine_pid = spawn("$dir/log/engine.log", $env, @command);
	spew("$dir/engine.pid", $engine_pid);
	my $until = time + 60;
	while (time < $until)
	{
		return 'error the engine ended at once; see engine.log' if ended();
		if (-S $engine_socket && answers())
		{
			chown 0, $gid, $engine_socket;
			chmod 0660, $engine_socket;
			follow_events($since);
			note("engine $engine_pid answers");
			return "ok up $engine_pid";
		}
		sleep 0.02;
	}
	return 'error the engine does not answer; see engine.log';
}

sub signal_engine
{
	my ($signal, $seconds) = @_;
	return 'error the engine is down' if ended();
	kill $signal => $engine_pid;
	return 'ok' unless $seconds;
	return wait_end($seconds) ? 'ok' : "error the engine goes on after SIG$signal";
}

sub find_container
{
	my ($name) = @_;
	my ($status, $body) = http('GET', "/v1.41/containers/$name/json", 10);
	return unless defined $status && $status == 200 && $body =~ /"Pid":\s*([1-9]\d*)/;
	my ($pid, $all) = ($1, processes());
	my $parent = $all->{$pid} && $all->{$pid}{parent};
	return unless $parent && $all->{$parent} && $all->{$parent}{comm} =~ $shims;
	$seen{$name} = [ $pid, $parent, $all->{$pid}{born}, $all->{$parent}{born} ];
	return $seen{$name};
}

# A remembered process, unless its number belongs to another one by now.
sub kill_seen
{
	my ($name, @which) = @_;
	my $is = find_container($name) // $seen{$name} // return 'error no such running container';
	my $all = processes();
	for my $i (@which)
	{
		my $process = $all->{ $is->[$i] };
		kill KILL => $is->[$i] if $process && $process->{born} eq $is->[ $i + 2 ];
	}
	return 'ok';
}

sub remove_containers
{
	for (1 .. 5)
	{
		my ($status, $body) = http('GET', '/v1.41/containers/json?all=1', 30);
		return unless defined $status && $status == 200;
		my @ids = $body =~ /"Id":\s*"([0-9a-f]{64})"/g or return;
		http('DELETE', "/v1.41/containers/$_?force=1&v=1", 30) for @ids;
	}
	return;
}

# Leaves images, so that the next start is quick; takes all else away.
sub shut_down
{
	kill CONT => $engine_pid if $engine_pid;
	remove_containers() if start() =~ /^ok/;
	kill TERM => $engine_pid if $engine_pid;
	wait_end(15);
	kill_all();
	unmount_all();
	forget_containers();
	unlink $engine_socket, "$dir/events.jsonl";
	return;
}

sub reboot
{
	kill_all();
	unmount_all();
	forget_containers();
	wipe_run_folders();
	return start();
}

my %command = (
	status => sub { return ended() ? 'ok down' : "ok up $engine_pid" },
	start => \&start,
	kill => sub { return signal_engine(KILL => 10) },
	term => sub { return signal_engine(TERM => 30) },
	restart => sub { my $answer = signal_engine(TERM => 30); return $answer eq 'ok' ? start() : $answer },
	freeze => sub { return signal_engine('STOP') },
	thaw => sub { return signal_engine('CONT') },
	pid => sub {
		my $is = find_container($_[0]) // return 'error no such running container';
		return "ok $is->[0] $is->[1]";
	},
	'kill-container' => sub { return kill_seen($_[0], 0) },
	'kill-shim' => sub { return kill_seen($_[0], 1, 0) },
	reboot => \&reboot,
	stop => sub { $stopping = 1; return 'ok' },
);
my %takes_name = map { $_ => 1 } qw(pid kill-container kill-shim);

sub obey
{
	my ($line) = @_;
	my ($word, $name) = $line =~ /^([a-z-]+)(?: ([A-Za-z0-9][A-Za-z0-9_.-]*))?$/
	  or return 'error malformed command';
	my $code = $command{$word} // return "error unrecognized command: $word";
	return 'error a name is missing, or one too many' if !!$takes_name{$word} != defined $name;
	my $answer = eval { $code->($name) } // "error $@";
	$answer =~ s/\s*\n\s*/ /g;
	note("$line: $answer");
	return $answer;
}

sub serve
{
	unlink $control_socket;
	my $listen = IO::Socket::UNIX->new(Local => $control_socket, Listen => 16)
	  or die "$control_socket: $!\n";
	chown 0, $gid, $control_socket;
	chmod 0660, $control_socket;
	spew("$dir/keeper.pid", $$);
	my $select = IO::Select->new($listen);
	my $client;
	until ($stopping)
	{
		undef $client;
		ended();
		next unless $select->can_read(1);
		$client = $listen->accept or next;
		my $line = IO::Select->new($client)->can_read(5) ? <$client> : undef;
		next unless defined $line;
		$line =~ s/\s+$//;
		my $answer = obey($line);
		print $client "$answer\n" unless $stopping;
	}
	shut_down();
	unlink "$dir/keeper.pid", $control_socket;
	print $client "ok\n" if $client;
	return;
}

serve();
