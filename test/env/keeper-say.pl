#!/usr/bin/perl
# keeper-say.pl SOCKET COMMAND [NAME]: says one command to an engine's keeper,
# prints what follows "ok"; exit 1 and the reason on stderr if it is an error.
use strict;
use warnings;
use IO::Socket::UNIX;

my ($path, @words) = @ARGV;
my $sock = IO::Socket::UNIX->new(Peer => $path) or die "no keeper at $path: $!\n";
print $sock "@words\n";
$sock->flush;
my $answer = <$sock> // die "the keeper ended without an answer\n";
$answer =~ s/^ok ?// or die $answer;
print $answer;
