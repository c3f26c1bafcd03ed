#!/usr/bin/perl
# An engine that says anything: what, by the container's or image's name.
#   fake_engine.pl SOCKET
# Ends when its standard input does.
use strict;
use warnings;
use IO::Select;
use IO::Socket::UNIX;
use MIME::Base64;

my $path = shift;
my $server = IO::Socket::UNIX->new(Local => $path, Listen => 500) or die "$path: $!";
chmod 0777, $path;
$SIG{CHLD} = 'IGNORE';
$SIG{PIPE} = 'IGNORE';
my $count = "$path.count";
print "ready\n";
STDOUT->flush;

my $select = IO::Select->new($server, \*STDIN);
while (1)
{
	my @ready = $select->can_read;
	exit 0 if grep { $_ == \*STDIN } @ready;
	my $client = $server->accept or next;
	my $pid = fork;
	next if !defined $pid || $pid;
	alarm 40;
	serve($client);
	exit 0;
}

sub reply
{
	my ($c, $status, $body, @headers) = @_;
	print $c join("\r\n", "HTTP/1.1 $status X", "Server: Docker/9.9+x (linux)", @headers,
		"Content-Length: " . length($body), '', $body);
}

sub stream { my ($c) = @_; print $c "HTTP/1.1 200 OK\r\nServer: x\r\n\r\n"; }

sub chunk { my ($c, $text) = @_; printf $c "%x\r\n%s\r\n", length $text, $text; $c->flush; }

sub event { return qq({"Actor":{"Attributes":{"name":"$_[0]"}}}\n); }

sub header
{
	my ($type, $size) = @_;
	my $block = pack 'a100 a24 a12 a20 a1 a100 a6 a249', 'progress.jsonl', '', sprintf('%011o', $size), '', $type, '', 'ustar', '';
	return $block;
}

sub serve
{
	my ($c) = @_;
	my $head = '';
	$c->autoflush(1);
	while ($head !~ /\r\n\r\n/) { sysread $c, $head, 65536, length $head or return; }
	my ($method, $uri) = $head =~ m{^(\S+) (\S+)} or return;
	$uri =~ s/%([0-9A-F]{2})/chr hex $1/ge;
	return reply($c, 200, 'OK') if $uri eq '/_ping';
	return images($c, $method, $uri) if $uri =~ m{^/v1.41/images/};
	return events($c, $uri) if $uri =~ m{^/v1.41/events};
	return reply($c, 200, $uri =~ /limit=1/ ? '[]' : 'no list') if $uri =~ m{^/v1.41/containers/json};
	my $name = $uri =~ m{/containers/create\?name=(\w+)} ? $1 : $uri =~ m{/containers/(\w+)} ? $1 : '';
	if ($name eq 'garbage') { print $c "hello\r\n\r\n" }
	elsif ($name eq 'empty') { }
	elsif ($name eq 'headers') { print $c "HTTP/1.1 200 OK\r\n"; 1 while print $c 'X-A: ' . 'b' x 1000 . "\r\n" }
	elsif ($name eq 'body') { stream($c); 1 while print $c '[' x 65536 }
	elsif ($name eq 'short') { print $c "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"Id\":" }
	elsif ($name eq 'text') { reply($c, 200, 'hello') }
	elsif ($name eq 'redirect') { reply($c, 302, '', 'Location: http://localhost/x') }
	elsif ($name eq 'e500') { reply($c, 500, '{"message":"oh \"no\""}') }
	elsif ($name eq 'plain500') { reply($c, 500, "plain \xff words") }
	elsif ($name eq 'e404') { reply($c, 404, '') }
	elsif ($name eq 'e304') { print $c "HTTP/1.1 304 Not Modified\r\n\r\n" }
	elsif ($name eq 'hang') { 1 while sysread $c, $head, 65536 }
	elsif ($name eq 'early') { reply($c, 404, '{"message":"early"}', 'Connection: close'); 1 while sysread $c, $head, 65536 }
	elsif ($name eq 'eats')
	{
		my ($left) = $head =~ /Content-Length: (\d+)/i;
		$left -= length($head) - index($head, "\r\n\r\n") - 4;
		while ($left > 0) { $left -= sysread($c, my $data, 65536) || return }
		reply($c, 200, '');
	}
	elsif ($name eq 'closes') { }
	elsif ($name eq 'notrunning') { reply($c, 409, '{"message":"Container x is not running"}') }
	elsif ($name eq 'twice')
	{
		if (-e $count) { unlink $count; print $c "HTTP/1.1 204 No Content\r\n\r\n" }
		else { open my $f, '>', $count; reply($c, 409, '{"message":"removal is already in progress"}') }
	}
	elsif ($name eq 'never') { reply($c, 500, '{"message":"never"}') }
	elsif ($name eq 'endless') { stream($c); 1 while print $c 'x' x 65536 }
	elsif ($name eq 'frames')
	{
		stream($c);
		for my $i (0 .. 2999) { my $line = 'x' x 100 . " line $i\n"; print $c pack('C x3 N', 1 + $i % 2, length $line), $line }
	}
	elsif ($method eq 'HEAD')
	{
		my $size = $name eq 'growing' ? 1 << 60 : 10;
		my $stat = $name eq 'badstat' ? '!' : encode_base64(qq({"name":"p","size":$size,"mode":420}), '');
		reply($c, 200, '', "X-Docker-Container-Path-Stat: $stat");
	}
	elsif ($name eq 'file') { reply($c, 200, header('0', 10) . '0123456789' . "\0" x 502 . "\0" x 1024) }
	elsif ($name eq 'growing') { stream($c); print $c header('0', 8589934591); 1 while print $c "line\n" x 10000 }
	else { reply($c, 200, '{}') }
}

sub images
{
	my ($c, $method, $uri) = @_;
	return reply($c, -e $count && $uri =~ /good/ ? 200 : 404, '{"Id":"sha256:good"}') if $method eq 'GET';
	return reply($c, 404, '{"message":"pull access denied for it"}') if $uri =~ m{/denied&tag=latest$};
	print $c "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
	chunk($c, qq({"status":"Pulling"}\n{"sta));
	return if $uri =~ /broken/;
	chunk($c, qq(tus":"Downloading"}\n));
	if ($uri =~ /good&tag=5$/) { open my $f, '>', $count }
	else { chunk($c, '{"errorDetail":{"message":"x"},"error":"dial tcp: connection refused"}') }
	print $c "0\r\n\r\n";
}

sub events
{
	my ($c, $uri) = @_;
	print $c "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
	chunk($c, event('a1'));
	if ($uri =~ /stop/) { chunk($c, event('stop') . event('late')); 1 while sysread $c, my $data, 4096; return }
	my $torn = event('a2');
	chunk($c, substr $torn, 0, 10);
	chunk($c, substr $torn, 10);
	chunk($c, "not json\n{}\n[]\n\n");
	chunk($c, 'y' x 500000) for 1 .. 20;
	chunk($c, "\n" . event('a3'));
	chunk($c, '{"Actor":{"Attributes":{"name":"torn"');
}
