# OsaProxy: stands before the real engine's socket and, for requests that a
# test chooses, fails as engines do: refuses, errs, hangs, breaks off, loses
# its answer, or changes it.  All else goes through untouched.
#
#   my $proxy = OsaProxy->new;                    # listens at $proxy->path
#   $proxy->rule(refuse => method => 'POST', path => '/containers/create',
#       body => 'OSA_HOOK_NAME=bad', times => 3, status => 500, message => 'so');
#   $proxy->hits('refuse');                       # requests that it met so far
#   $proxy->drop('refuse');                       # the rule; hung ones are freed
#   $proxy->requests('POST .*/start');            # how often that was asked
#   $proxy->cut;                                  # breaks off every connection
#
# A rule meets requests by method, path and body (patterns; of the body only
# where a rule asks for it) until it has met `times` of them.  The first one
# that meets decides.  What it does is one of:
#   status => N, message => '…'   answers so, as an engine would
#   hang => 1                     answers nothing until the rule is dropped, then
#                                 breaks off; the engine never sees the request
#   reset => 1                    breaks off; the engine never sees the request
#   lose => 1                     the engine does it, its answer is lost: hangs
#   delay => SECONDS              goes through, later
#   edit => ['from', 'to']        goes through; the answer's body is changed
#
# Each request has a connection of its own, so that no request is read for a
# part of another's body.
package OsaProxy;
use strict;
use warnings;

use Carp;
use IO::Select;
use IO::Socket::UNIX;
use JSON::PP ();
use POSIX ();
use PostgreSQL::Test::Utils;
use Socket;
use Time::HiRes qw(sleep time);

my $json = JSON::PP->new->utf8->canonical->allow_nonref;
my $count = 0;

sub new
{
	my ($class) = @_;
	# a socket's path is short; the test's folder need not be
	my $path = PostgreSQL::Test::Utils::tempdir_short() . '/proxy' . ++$count . '.sock';
	my $listen = IO::Socket::UNIX->new(Local => $path, Listen => 128) or croak "$path: $!";
	socketpair(my $here, my $there, AF_UNIX, SOCK_STREAM, PF_UNSPEC) or croak "socketpair: $!";
	$_->autoflush(1) for $here, $there;
	my $pid = fork // croak "fork: $!";
	if (!$pid)
	{
		close $here;
		$SIG{$_} = 'DEFAULT' for qw(TERM INT HUP ALRM);
		$SIG{PIPE} = 'IGNORE';
		eval { serve($listen, $there, $ENV{OSA_ENGINE_SOCKET}) };
		warn $@ if $@;
		# nothing of the test's own END blocks
		POSIX::_exit(0);
	}
	close $there;
	close $listen;
	return bless { path => $path, pid => $pid, owner => $$, control => $here }, $class;
}

sub path { return $_[0]{path} }

sub rule
{
	my ($self, $name, %rule) = @_;
	return $self->say({ say => 'rule', name => $name, rule => \%rule });
}

sub drop { return $_[0]->say({ say => 'drop', name => $_[1] }) }
sub hits { return $_[0]->say({ say => 'hits', name => $_[1] }) }
sub cut { return $_[0]->say({ say => 'cut' }) }
sub requests { return $_[0]->say({ say => 'requests', pattern => $_[1] }) }

# True once the rule has met so many requests; false after the timeout.
sub wait_hits
{
	my ($self, $name, $hits, $timeout) = @_;
	my $until = time + ($timeout // 30);
	while ((my $so_far = $self->hits($name)) < $hits)
	{
		if (time > $until)
		{
			Test::More::diag("rule $name met $so_far of $hits requests");
			return 0;
		}
		sleep 0.02;
	}
	return 1;
}

sub say
{
	my ($self, $words) = @_;
	my $control = $self->{control};
	print $control $json->encode($words), "\n" or croak "the proxy is gone: $!";
	my $answer = <$control> // croak 'the proxy is gone';
	return $json->decode($answer);
}

sub DESTROY
{
	my ($self) = @_;
	return if $self->{owner} != $$;
	local ($?, $!);
	close $self->{control};
	waitpid $self->{pid}, 0;
	unlink $self->{path};
	return;
}

# ---- in the process of its own

# A connection: {client, upstream, head, rest, out => {fd => bytes}, …}.
my (@rules, %hits, @requests, %connections, $select, $engine);

sub serve
{
	my ($listen, $control, $socket) = @_;
	$engine = $socket;
	$select = IO::Select->new($listen, $control);
	while (1)
	{
		my $due = due();
		for my $fh ($select->can_read($due))
		{
			# its connection may have ended with the one before
			if ($fh == $listen) { open_connection($listen) }
			elsif ($fh == $control)
			{
				my $line = <$control> // return;
				print $control $json->encode(obey($json->decode($line))), "\n";
			}
			elsif (defined fileno $fh && (my $connection = $connections{ fileno $fh })) { readable($connection, $fh) }
		}
		for my $connection (unique())
		{
			pass_on($connection) if $connection->{pass_at} && $connection->{pass_at} <= time;
		}
	}
	return;
}

sub unique
{
	my %seen;
	return grep { !$seen{$_}++ } values %connections;
}

sub due
{
	my $due = 5;
	for my $connection (unique())
	{
		my $left = ($connection->{pass_at} // next) - time;
		$due = $left < 0 ? 0 : $left if $left < $due;
	}
	return $due;
}

sub obey
{
	my ($words) = @_;
	my $say = $words->{say};
	if ($say eq 'rule')
	{
		@rules = grep { $_->{name} ne $words->{name} } @rules;
		push @rules, { %{ $words->{rule} }, name => $words->{name} };
		$hits{ $words->{name} } = 0;
	}
	elsif ($say eq 'drop')
	{
		@rules = grep { $_->{name} ne $words->{name} } @rules;
		for my $connection (unique())
		{
			end($connection) if ($connection->{hung} // '') eq $words->{name};
		}
	}
	elsif ($say eq 'cut') { end($_) for unique() }
	elsif ($say eq 'hits') { return $hits{ $words->{name} } // 0 }
	else { return scalar grep { /$words->{pattern}/ } @requests }
	return 1;
}

sub open_connection
{
	my ($listen) = @_;
	my $client = $listen->accept or return;
	$connections{ fileno $client } = { client => $client, head => '', rest => '' };
	$select->add($client);
	return;
}

sub end
{
	my ($connection) = @_;
	end_side($connection, $_) for qw(client upstream);
	delete $connection->{pass_at};
	return;
}

sub end_side
{
	my ($connection, $side) = @_;
	my $fh = delete $connection->{$side} // return;
	delete $connections{ fileno $fh };
	$select->remove($fh);
	close $fh;
	return;
}

# Bytes or the end came from one side.
sub readable
{
	my ($connection, $fh) = @_;
	my $from_client = $fh == $connection->{client};
	my $n = sysread $fh, my $bytes, 65536;
	if (!$n)
	{
		# the engine has answered what the client is not told
		return end_side($connection, 'upstream') if !$from_client && $connection->{hung};
		# what was edited is told when it is whole
		answer_edited($connection) if !$from_client && $connection->{edit};
		end($connection);
	}
	elsif (!$from_client)
	{
		return if $connection->{hung};
		if ($connection->{edit}) { $connection->{answer} .= $bytes }
		else { put($connection->{client}, $bytes) or end($connection) }
	}
	elsif ($connection->{upstream}) { put($connection->{upstream}, $bytes) or end($connection) }
	elsif ($connection->{asked}) { $connection->{rest} .= $bytes }
	else
	{
		$connection->{head} .= $bytes;
		decide($connection);
	}
	return;
}

sub put
{
	my ($fh, $bytes) = @_;
	my $done = 0;
	while ($done < length $bytes)
	{
		my $n = syswrite $fh, $bytes, length($bytes) - $done, $done;
		return 0 unless $n;
		$done += $n;
	}
	return 1;
}

# Is the request whole enough to choose a rule?  Then do what it says.
sub decide
{
	my ($connection) = @_;
	$connection->{head} =~ /^(\S+) (\S+) HTTP.*?\r\n\r\n(.*)/s or return;
	my ($method, $path, $body) = ($1, $2, $3);
	my $length = $connection->{head} =~ /^Content-Length:\s*(\d+)/mi ? $1 : 0;
	my $rule;
	for my $candidate (@rules)
	{
		next if defined $candidate->{times} && $hits{ $candidate->{name} } >= $candidate->{times};
		next if $candidate->{method} && $method !~ /^(?:$candidate->{method})$/;
		next if $candidate->{path} && $path !~ /$candidate->{path}/;
		if ($candidate->{body})
		{
			return if length $body < $length;
			next if $body !~ /$candidate->{body}/;
		}
		# an answer that comes before the request is whole would be lost
		return if defined $candidate->{status} && length $body < $length;
		$rule = $candidate;
		last;
	}
	push @requests, "$method $path";
	$connection->{asked} = 1;
	$hits{ $rule->{name} }++ if $rule;
	return pass_on($connection) unless $rule;

	if (defined $rule->{status})
	{
		my $text = $json->encode({ message => $rule->{message} // 'the proxy says so' });
		put($connection->{client}, "HTTP/1.1 $rule->{status} By Proxy\r\nContent-Type: application/json\r\n"
			  . 'Content-Length: ' . length($text) . "\r\nConnection: close\r\n\r\n"
			  . ($method eq 'HEAD' ? '' : $text));
		return end($connection);
	}
	return end($connection) if $rule->{reset};
	$connection->{hung} = $rule->{name} if $rule->{hang} || $rule->{lose};
	return if $rule->{hang};
	return $connection->{pass_at} = time + $rule->{delay} if $rule->{delay};
	@$connection{qw(edit answer)} = ($rule->{edit}, '') if $rule->{edit};
	return pass_on($connection);
}

# To the engine, whose answer ends with the connection.
sub pass_on
{
	my ($connection) = @_;
	delete $connection->{pass_at};
	my $upstream = IO::Socket::UNIX->new(Peer => $engine) or return end($connection);
	$connection->{upstream} = $upstream;
	$connections{ fileno $upstream } = $connection;
	$select->add($upstream);
	# an answer to HTTP/1.0 has no chunks that an edit would have to know
	$connection->{head} =~ s{ HTTP/1\.1\r\n}{ HTTP/1.0\r\n} if $connection->{edit};
	$connection->{head} =~ s/\r\nConnection:[^\r]*//i;
	$connection->{head} =~ s/\r\n/\r\nConnection: close\r\n/;
	put($upstream, $connection->{head} . $connection->{rest}) or end($connection);
	return;
}

sub answer_edited
{
	my ($connection) = @_;
	my ($head, $body) = $connection->{answer} =~ /^(.*?\r\n)\r\n(.*)$/s or return;
	$head =~ s/^Content-Length:[^\r]*\r\n//mig;
	my ($from, $to) = @{ $connection->{edit} };
	$body =~ s/$from/$to/g;
	put($connection->{client}, "$head\r\n$body");
	return;
}

1;
