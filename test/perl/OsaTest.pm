# OsaTest: what the TAP tests share: a server with the extension, waiting for a
# condition, hooks written inline, and the real engine beside it.
#
# Tests run as user postgres; test/env/check.sh sets OSA_ENGINE (podman or
# docker), OSA_ENGINE_SOCKET, OSA_CONTROL_SOCKET (the engine's keeper, see
# test/env/keeper.pl), OSA_REGISTRY, OSA_ROOT and OSA_FULL.
#
# Every function that asks the server takes db => 'name' (default postgres).
package OsaTest;
use strict;
use warnings;

use Carp;
use Exporter 'import';
use IO::Select;
use IO::Socket::UNIX;
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

our @EXPORT = qw(new_node wait_for wait_run worker_pid check_sound sql literal json
  register_script_hook define_pipeline start_run
  engine engine_get engine_call containers starts starts_by_hook labels keeper);

my $json = JSON::PP->new->utf8->canonical->allow_nonref;

# ---- server

# new_node($name, conf => 'lines', preload => '…', fsync => 0, extension => 0,
#          schema => '…', start => 0): a running server of its own, with the
# extension in database postgres.  fsync is on unless told otherwise.
sub new_node
{
	my ($name, %opt) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init;
	my $preload = $opt{preload} // 'osa_validation';
	my $fsync = ($opt{fsync} // 1) ? 'on' : 'off';
	$node->append_conf('postgresql.conf', <<"CONF" . ($opt{conf} // '') . "\n");
shared_preload_libraries = '$preload'
fsync = $fsync
restart_after_crash = on
log_statement = none
max_connections = 40
max_worker_processes = 16
max_prepared_transactions = 10
CONF
	$node->append_conf('postgresql.conf', "osa_validation.engine_socket = '$ENV{OSA_ENGINE_SOCKET}'\n")
	  if $preload =~ /osa_validation/ && ($opt{conf} // '') !~ /engine_socket/;
	return $node if exists $opt{start} && !$opt{start};
	$node->start;
	if ($opt{extension} // 1)
	{
		my $schema = $opt{schema} ? " SCHEMA $opt{schema}" : '';
		sql($node, "CREATE SCHEMA IF NOT EXISTS $opt{schema}") if $opt{schema};
		sql($node, "CREATE EXTENSION osa_validation$schema");
	}
	return $node;
}

# Runs it; dies with the server's words if it fails.  Rows as psql -At.
sub sql
{
	my ($node, $text, %opt) = @_;
	my ($out, $err);
	my $status = $node->psql($opt{db} // 'postgres', $text, stdout => \$out, stderr => \$err,
		on_error_stop => 1, extra_params => $opt{psql} // []);
	croak "this failed: $text\n$err" if $status != 0;
	return $out;
}

sub literal
{
	my ($text) = @_;
	return 'NULL' unless defined $text;
	(my $quoted = $text) =~ s/'/''/g;
	return $quoted =~ s/\\/\\\\/g ? "E'$quoted'" : "'$quoted'";
}

sub json { return $json->encode($_[0]) }

# wait_for($node, $sql, $expected = 't', $timeout = 60, db => …): asks until the
# answer is $expected; true, or false with a diagnosis when the time is up.
# A server that does not answer just now (it may be restarting) is asked again.
sub wait_for
{
	my ($node, $query, $expected, $timeout, %opt) = @_;
	$expected //= 't';
	my $until = time + ($timeout // 60);
	my ($out, $err, $pause) = ('', '', 0.02);
	while (1)
	{
		my $status = $node->psql($opt{db} // 'postgres', $query, stdout => \$out, stderr => \$err,
			timeout => 30);
		return 1 if defined $status && $status == 0 && $out eq $expected;
		last if time > $until;
		sleep $pause;
		$pause *= 1.5 if $pause < 0.2;
	}
	diag "waited in vain for: $query\nexpected: $expected\nlast answer: $out\n$err";
	return 0;
}

# The status in which the run ended, or the one it is in when the time is up.
sub wait_run
{
	my ($node, $run, $timeout, %opt) = @_;
	my $schema = $opt{schema} ? "$opt{schema}." : '';
	wait_for($node, "SELECT finished_at IS NOT NULL FROM ${schema}osa_validation_run WHERE id = $run",
		't', $timeout, %opt)
	  or diag sql($node, "SELECT * FROM ${schema}osa_run_hook WHERE run_id = $run ORDER BY hook_index", %opt, psql => ['-x']);
	return sql($node, "SELECT status FROM ${schema}osa_validation_run WHERE id = $run", %opt);
}

sub worker_pid
{
	my ($node, %opt) = @_;
	my $db = $opt{db} // 'postgres';
	return sql($node, "SELECT pid FROM pg_stat_activity WHERE backend_type LIKE 'osa_validation worker%'"
		. " AND datname = " . literal($db));
}

# One test: every invariant holds.
sub check_sound
{
	my ($node, %opt) = @_;
	my $schema = $opt{schema} ? "$opt{schema}." : '';
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is(sql($node, "SELECT * FROM ${schema}osa_check()", %opt), '', 'osa_check() finds nothing');
}

# ---- hooks and runs

# A hook whose behaviour is a script for busybox sh (see test/hooks/script):
# register_script_hook($node, 'name', sh => '…', columns => […], cardinality =>
# '…', limits => {…}, config => {…}, image => '…', version => '…').  Without sh
# the run's config says what to do, by key sh or sh_<hook's name>.
sub register_script_hook
{
	my ($node, $name, %opt) = @_;
	my %config = (%{ $opt{config} // {} }, defined $opt{sh} ? (sh => $opt{sh}) : ());
	sql($node, sprintf(<<'SQL', map { literal($_) }
SELECT osa_register_hook(%s, columns => %s, cardinality => %s);
SELECT osa_add_release(%s, image => %s, version => %s, config => %s, limits => %s);
SQL
			$name, json($opt{columns} // []), $opt{cardinality} // 'none',
			$name, $opt{image} // 'localhost/osa-script:1', $opt{version},
			json(\%config), json($opt{limits} // {})), %opt);
	return $name;
}

# define_pipeline($node, 'name', ['hook', …], on_rejection => '…', …)
sub define_pipeline
{
	my ($node, $name, $hooks, %opt) = @_;
	my $more = join '', map { defined $opt{$_} ? ", $_ => " . literal($opt{$_}) : '' }
	  qw(on_rejection on_record_error runner);
	sql($node, sprintf('SELECT osa_define_pipeline(%s, %s%s)', literal($name),
			'ARRAY[' . join(',', map { literal($_) } @$hooks) . ']::text[]', $more), %opt);
	return $name;
}

# start_run($node, 'deposition', ['r1', {id => 'r2', metadata => {…}}, …],
#           pipeline => '…', config => {…}, priority => …, …): the run's id.
sub start_run
{
	my ($node, $deposition, $records, %opt) = @_;
	my @records = map { ref $_ ? $_ : { id => $_, metadata => {} } } @{ $records // [] };
	my $more = join '', map { defined $opt{$_} ? ", $_ => " . literal($opt{$_}) : '' }
	  qw(pipeline priority idempotency_key expires_in traceparent);
	$more .= ', config => ' . literal(json($opt{config})) if $opt{config};
	return sql($node, sprintf('SELECT osa_start_validation(%s, %s%s)', literal($deposition),
			$records ? literal(json(\@records)) : 'NULL', $more), %opt);
}

# ---- the engine

sub engine { return $ENV{OSA_ENGINE} }

sub unix_socket
{
	my ($path) = @_;
	return IO::Socket::UNIX->new(Peer => $path);
}

# engine_call('DELETE', '/containers/x?force=1'): (status, body); status 0 if
# the engine does not answer.
sub engine_call
{
	my ($method, $path, $body, $timeout) = @_;
	my $sock = unix_socket($ENV{OSA_ENGINE_SOCKET}) or return (0, $!);
	my $head = "$method /v1.41$path HTTP/1.0\r\nHost: engine\r\n";
	$head .= "Content-Type: application/json\r\nContent-Length: " . length($body) . "\r\n" if defined $body;
	print $sock "$head\r\n" . ($body // '');
	$sock->flush;
	my ($answer, $until) = ('', time + ($timeout // 60));
	my $select = IO::Select->new($sock);
	while (1)
	{
		my $left = $until - time;
		croak "the engine did not answer $method $path in time" if $left <= 0;
		next unless $select->can_read($left);
		sysread($sock, $answer, 65536, length $answer) or last;
	}
	return ($1, $2) if $answer =~ m{^HTTP/1\.\d (\d+)[^\n]*\n.*?\r?\n\r?\n(.*)}s;
	return (0, $answer);
}

# The decoded answer to a GET; undef for 404, dies on anything but 200.
sub engine_get
{
	my ($path) = @_;
	my ($status, $body) = engine_call('GET', $path);
	return undef if $status == 404;
	croak "GET $path: $status $body" if $status != 200;
	return $json->decode($body);
}

sub url_json
{
	my ($value) = @_;
	my $text = json($value);
	$text =~ s/([^A-Za-z0-9_.-])/sprintf '%%%02X', ord $1/ge;
	return $text;
}

# labels($node, run => 5, hook_index => 0): those that the worker sets, and
# the installation's, since run ids come again in every cluster.
sub labels
{
	my ($node, %want) = @_;
	my $db = delete $want{db} // 'postgres';
	my $schema = delete $want{schema} // 'public';
	$want{install} //= sql($node, "SELECT install_id FROM $schema.osa_install", db => $db) if $node;
	return map { "osa.$_=$want{$_}" } sort keys %want;
}

# containers($node, run => 5, …): those with these labels, in any state, as the
# engine lists them; Name without its slash.  $node undef: of any installation.
sub containers
{
	my $list = engine_get('/containers/json?all=1&filters=' . url_json({ label => [ labels(@_) ] }));
	for my $container (@$list)
	{
		($container->{Name} = $container->{Names}[0]) =~ s{^/}{};
	}
	return @$list;
}

# The engine's own events, of all its lives.
sub events
{
	my ($action, @labels) = @_;
	my $filters = url_json({ type => ['container'], event => [$action], label => \@labels });
	my $query = engine() eq 'podman' ? 'stream=false&since=1' : 'since=1&until=' . sprintf('%.6f', time);
	my ($status, $body) = engine_call('GET', "/events?$query&filters=$filters");
	croak "GET /events: $status $body" if $status != 200;

	# dockerd forgets its events when it ends: its keeper wrote them down.
	(my $kept = $ENV{OSA_CONTROL_SOCKET}) =~ s{s/control\.sock$}{events.jsonl};
	$body .= PostgreSQL::Test::Utils::slurp_file($kept) if engine() eq 'docker' && -f $kept;

	my %found;
	# most lines are of other tests, and decoding is slow
	my @words = map { (split /=/, $_, 2)[1] } @labels;
	for my $line (split /\n/, $body)
	{
		next if grep { index($line, $_) < 0 } $action, @words;
		my $event = eval { $json->decode($line) } or next;
		next unless ($event->{Action} // '') eq $action;
		my $has = $event->{Actor}{Attributes};
		next if grep { my ($key, $value) = split /=/, $_, 2; ($has->{$key} // '') ne $value } @labels;
		$found{"$event->{Actor}{ID} $event->{timeNano}"} = $event;
	}
	return values %found;
}

# starts($node, run => 5, hook_index => 1): how often the engine started a
# container with these labels, by the engine's own count.
sub starts
{
	my @found = events('start', labels(@_));
	return scalar @found;
}

# All starts of a run: "0:1 1:1" = hook index : starts, for one glance.
sub starts_by_hook
{
	my ($node, $run, %opt) = @_;
	my %count;
	$count{ $_->{Actor}{Attributes}{'osa.hook_index'} }++ for events('start', labels($node, run => $run, %opt));
	return join ' ', map { "$_:$count{$_}" } sort { $a <=> $b } keys %count;
}

# keeper('kill'), keeper('start'), keeper('kill-container', $name) …: see
# test/env/keeper.pl.  Dies if it answers with an error.
sub keeper
{
	my (@words) = @_;
	my $sock = unix_socket($ENV{OSA_CONTROL_SOCKET}) or croak "no keeper: $!";
	print $sock "@words\n";
	$sock->flush;
	my $answer = <$sock> // croak "keeper @words: no answer";
	chomp $answer;
	$answer =~ s/^ok ?// or croak "keeper @words: $answer";
	return $answer;
}

# A test that killed or froze the engine leaves it running for the next one.
END
{
	my $status = $?;
	if ($ENV{OSA_CONTROL_SOCKET} && -S $ENV{OSA_CONTROL_SOCKET})
	{
		eval { keeper('thaw') };
		eval { keeper('start') };
	}
	$? = $status;
}

1;
