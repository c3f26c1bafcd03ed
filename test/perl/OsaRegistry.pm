# OsaRegistry: an image registry on a port of this machine, for tests of pulls.
# It serves the archives that test/env/image.sh built, each with a label more,
# so that it is another image than the one loaded; or it misbehaves as told.
#
#   my $registry = OsaRegistry->new;        # serves
#   $registry->mode('broken');
#   image reference: $registry->image('script') = 127.0.0.1:PORT/osa-script:1
#   $registry->requests('manifests')        how many were asked for
#
# Modes: ok; unknown (no such image), denied, broken (500), silent (accepts
# connections and says nothing), down (nobody listens).
package OsaRegistry;
use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use File::Temp ();
use IO::Compress::Gzip qw(gzip);
use IO::Select;
use IO::Socket::INET;
use JSON::PP ();

my $json = JSON::PP->new->utf8->canonical;

sub new
{
	my ($class) = @_;
	my $self = bless { dir => File::Temp->newdir, address => $ENV{OSA_REGISTRY}, owner => $$ }, $class;
	$self->mode('ok');
	return $self;
}

sub image
{
	my ($self, $name) = @_;
	return "$self->{address}/osa-$name:1";
}

sub mode
{
	my ($self, $mode) = @_;
	$self->stop;
	return if $mode eq 'down';
	my $listen = IO::Socket::INET->new(LocalAddr => $self->{address}, Listen => 64, ReuseAddr => 1)
	  or die "$self->{address}: $!\n";
	my $pid = fork // die "fork: $!\n";
	if ($pid == 0)
	{
		$SIG{CHLD} = 'IGNORE';
		$SIG{TERM} = 'DEFAULT';
		eval { $self->serve($listen, $mode) };
		warn $@ if $@;
		require POSIX;
		POSIX::_exit(0);
	}
	close $listen;
	$self->{pid} = $pid;
	return;
}

sub stop
{
	my ($self) = @_;
	my $pid = delete $self->{pid} or return;
	kill KILL => $pid;
	waitpid $pid, 0;
	return;
}

sub requests
{
	my ($self, $what) = @_;
	open my $log, '<', "$self->{dir}/log" or return 0;
	return scalar grep { m{/\Q$what\E/} } <$log>;
}

sub DESTROY
{
	my ($self) = @_;
	$self->stop if $self->{owner} == $$;
	return;
}

# One connection after the other; one request each.
sub serve
{
	my ($self, $listen, $mode) = @_;
	my @kept;
	while (my $client = $listen->accept)
	{
		push @kept, $client if $mode eq 'silent';
		next if $mode eq 'silent';
		my $head = '';
		while (IO::Select->new($client)->can_read(5) && sysread $client, $head, 4096, length $head)
		{
			# an engine tries TLS first, which is not a word in capitals
			last if $head =~ /\r\n\r\n/ || $head !~ /^[A-Z]/;
		}
		my ($method, $path) = $head =~ m{^(\S+) (\S+)} or next;
		open my $log, '>>', "$self->{dir}/log" or die "$self->{dir}/log: $!\n";
		print $log "$method $path\n";
		close $log;
		my ($status, $type, $body) = $self->answer($mode, $path);
		print $client "HTTP/1.1 $status\r\nContent-Type: $type\r\nContent-Length: "
		  . length($body) . "\r\nDocker-Distribution-Api-Version: registry/2.0\r\n"
		  . ($status =~ /^200/ ? 'Docker-Content-Digest: sha256:' . sha256_hex($body) . "\r\n" : '')
		  . "Connection: close\r\n\r\n" . ($method eq 'HEAD' ? '' : $body);
		close $client;
	}
	return;
}

sub refusal
{
	my ($status, $code) = @_;
	return ($status, 'application/json', $json->encode({ errors => [ { code => $code, message => lc $code =~ tr/_/ /r } ] }));
}

sub answer
{
	my ($self, $mode, $path) = @_;
	return refusal('500 Internal Server Error', 'UNKNOWN') if $mode eq 'broken';
	return ('200 OK', 'application/json', '{}') if $path =~ m{^/v2/?$};
	return refusal('403 Forbidden', 'DENIED') if $mode eq 'denied';
	if ($mode eq 'ok' && $path =~ m{^/v2/osa-([a-z0-9_]+)/manifests/})
	{
		my $manifest = $self->manifest($1);
		return ('200 OK', 'application/vnd.docker.distribution.manifest.v2+json', $manifest) if $manifest;
	}
	if ($mode eq 'ok' && $path =~ m{^/v2/[^/]+/blobs/(sha256:[0-9a-f]{64})$})
	{
		my $blob = $self->{blobs}{$1};
		return ('200 OK', 'application/octet-stream', $blob) if defined $blob;
	}
	return refusal('404 Not Found', 'MANIFEST_UNKNOWN');
}

sub blob
{
	my ($self, $type, $bytes) = @_;
	my $digest = 'sha256:' . sha256_hex($bytes);
	$self->{blobs}{$digest} = $bytes;
	return { mediaType => $type, size => length $bytes, digest => $digest };
}

# Made of the archive at first, then kept with its blobs in this process.
sub manifest
{
	my ($self, $name) = @_;
	my $archive = "$ENV{OSA_STATE}/images/$name.tar";
	return unless -f $archive;
	return $self->{manifests}{$name} //= do
	{
		my $read = sub { return scalar qx{tar -xOf '$archive' '$_[0]'} };
		my $is = $json->decode($read->('manifest.json'))->[0];
		my $config = $json->decode($read->($is->{Config}));
		$config->{config}{Labels}{registry} = 'test';
		my @layers;
		for my $layer (@{ $is->{Layers} })
		{
			my $tar = $read->($layer);
			gzip(\$tar, \my $packed, -Minimal => 1) or die "gzip\n";
			push @layers, $self->blob('application/vnd.docker.image.rootfs.diff.tar.gzip', $packed);
		}
		$json->encode({
				schemaVersion => 2,
				mediaType => 'application/vnd.docker.distribution.manifest.v2+json',
				config => $self->blob('application/vnd.docker.container.image.v1+json', $json->encode($config)),
				layers => \@layers,
			});
	};
}

1;
