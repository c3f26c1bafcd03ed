# OsaContainer: hooks that run until the test lets them go, and containers that
# the test looks at, waits for, removes or makes by its own hand.
package OsaContainer;
use strict;
use warnings;

use Carp;
use Exporter 'import';
use JSON::PP ();
use OsaTest;
use Test::More;
use Time::HiRes qw(sleep time);

our @EXPORT = qw(hold tar_of put_file let_go wait_until container_name container wait_container remove_container
  make_container wait_held no_containers);

# A hook's script that waits to be let go, having said so in its progress: no
# test has to guess how long anything takes.
sub hold { return 'progress held here; while [ ! -e go ]; do sleep 0.05; done; ' }

# An archive of one file.
sub tar_of
{
	my ($path, $mode, $content) = @_;
	my $header = pack 'a100 a8 a8 a8 a12 a12 a8 a1 a100 a6 a2 a32 a32 a8 a8 a155 x12',
	  $path, sprintf('%07o', $mode), '0000000', '0000000', sprintf('%011o', length $content), '0' x 11, ' ' x 8,
	  '0', '', "ustar\0", '00', '', '', '0000000', '0000000', '';
	substr $header, 148, 8, sprintf "%06o\0 ", unpack '%32C*', $header;
	# not a byte more at its end: Podman may choke on that
	return $header . $content . "\0" x (-length($content) % 512) . "\0" x 1024;
}

# Puts a file into a container, whatever state it is in.
sub put_file
{
	my ($name, $folder, $path, $content) = @_;
	my ($status, $body) = engine_call('PUT', "/containers/$name/archive?path=$folder", tar_of($path, 0644, $content));
	croak "could not put $path into $name: $status $body" if $status != 200;
	return;
}

sub let_go
{
	put_file($_, '/osa/out', 'go', '') for @_;
	return;
}

# wait_until { … } 'what it waits for', $timeout: true once the block is.
sub wait_until(&$;$)
{
	my ($block, $what, $timeout) = @_;
	my $until = time + ($timeout // 60);
	my $pause = 0.02;
	until ($block->())
	{
		if (time > $until)
		{
			diag "waited in vain: $what";
			return 0;
		}
		sleep $pause;
		$pause *= 1.5 if $pause < 0.2;
	}
	return 1;
}

# The name of the container of a step's current attempt.
sub container_name
{
	my ($node, $run, $hook_index) = @_;
	return sql($node, "SELECT 'osa-' || replace(launch_id::text, '-', '') FROM osa_run_hook"
		. " WHERE run_id = $run AND hook_index = " . ($hook_index // 0));
}

# What the engine says of a container; undef if it is not there.  Podman says
# 500 while it removes it.
sub container
{
	my ($name) = @_;
	my ($status, $body) = engine_call('GET', "/containers/$name/json");
	return undef if $status == 404 || ($status == 500 && $body =~ /no such container/);
	croak "inspect of $name: $status $body" if $status != 200;
	return JSON::PP::decode_json($body);
}

# wait_container($name, 'running'), 'exited', 'created' or 'gone'
sub wait_container
{
	my ($name, $state, $timeout) = @_;
	return wait_until
	{
		my $is = container($name);
		my $status = $is ? $is->{State}{Running} ? 'running' : $is->{State}{Status} : 'gone';
		# Podman says stopped first
		($status eq 'stopped' ? 'exited' : $status) eq $state;
	} "container $name is $state", $timeout;
}

sub remove_container
{
	my ($name) = @_;
	my ($status, $body);
	# right after its start Podman may refuse once
	wait_until
	{
		($status, $body) = engine_call('DELETE', "/containers/$name?force=1&v=1");
		$status == 204 || $status == 404;
	} "container $name is removed", 10 or croak "could not remove $name: $status $body";
	return;
}

# make_container($name, {label => …}, run => 1): by hand, with our volume; it
# sleeps if it is run.
sub make_container
{
	my ($name, $labels, %opt) = @_;
	my ($status, $body) = engine_call('POST', "/containers/create?name=$name", json({
		Image => $opt{image} // 'localhost/osa-script:1', Entrypoint => ['/bin/sleep'], Cmd => ['600'],
		Labels => $labels, Volumes => { '/osa' => {} }, HostConfig => { NetworkMode => 'none', Ulimits => [
			map { { Name => $_->[0], Soft => $_->[1], Hard => $_->[1] } } [ nofile => 256 ], [ nproc => 16384 ]] } }));
	croak "could not create $name: $status $body" if $status != 201;
	return $name unless $opt{run};
	($status, $body) = engine_call('POST', "/containers/$name/start");
	croak "could not start $name: $status $body" if $status != 204;
	return $name;
}

# Waits until the current attempt of a step is held in its container; its name.
# A second attempt leaves the progress of the first: $times says which it is.
sub wait_held
{
	my ($node, $run, $hook_index, $times) = @_;
	$hook_index //= 0;
	wait_for($node, 'SELECT count(*) >= ' . ($times // 1) . " FROM osa_progress_entry WHERE run_id = $run"
		. " AND hook_index = $hook_index AND status = 'held'")
	  or croak "hook $hook_index of run $run does not come to be held: "
	  . sql($node, 'SELECT f FROM osa_in_flight f') . "\n" . sql($node, 'SELECT q FROM osa_queue q')
	  . "\n" . sql($node, 'SELECT runners FROM osa_status');
	return container_name($node, $run, $hook_index);
}

# One test: nothing of this server's is left on the engine.
sub no_containers
{
	my ($node, %opt) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return ok((wait_until { !containers($node, %opt) } 'its containers are gone', 20), 'no container of its is left');
}

1;
