# What a hook writes is judged, and whatever it writes, the worker is unharmed.
#
# Claims:
#  1. Each of these ends as run failed, kind hook_output, at the first attempt,
#     naming file and line: not JSON, not an object, no id, an unknown id, an id
#     that is no text, contradictions, wrong types, features that do not fit
#     the declared columns, invalid UTF-8, \u0000, lone surrogates.
#  2. So do a 100 MB line, a 10 GB file (it stops at its cap), a million lines,
#     sparse files, more output than the limit in all, and an output file that
#     is a symbolic or hard link, a folder or a FIFO; a file that stopped at its
#     cap also when the hook exits with another code than 0.
#  3. A record without a line passes where the hook has no features, else it is
#     errored: no outcome.
#  4. A rejection wins over features and over an error; a null is no feature;
#     features.json is taken for an only record; progress can reject; blank
#     lines, other files and strange names do not matter.
#  5. The worker is the same process all along, its memory bounded, without
#     internal errors.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use OsaContainer qw(no_containers);
use OsaTest;
use Test::More;

my $node = new_node('output', fsync => 0);
sql($node, "SELECT osa_add_runner('local', 'docker', NULL, max_in_flight => 8)");
my @columns = (
	{ name => 'x', type => 'float8' }, { name => 'n', type => 'int4', nullable => JSON::PP::true },
	{ name => 'd', type => 'date', nullable => JSON::PP::true });
my %limits = (output => '2MiB', tmpfs => '1MiB', memory => '256MiB');

# A hook for each cardinality; one with columns; one whose outputs may be large.
register_script_hook($node, $_, cardinality => $_, limits => \%limits) for qw(none one many);
register_script_hook($node, 'typed', cardinality => 'many', columns => \@columns, limits => \%limits);
register_script_hook($node, 'large', cardinality => 'one', limits => { %limits, output => '150MiB' });
define_pipeline($node, $_, [$_]) for qw(none one many typed large);
define_pipeline($node, 'dropping', ['one'], on_record_error => 'drop');

my (@cases, %by_name);

# bad('name', 'hook', 'script', qr/message/): one record r1, and r2
sub bad
{
	my ($name, $hook, $script, $message) = @_;
	push @cases, { name => $name, hook => $hook, sh => $script, records => [ 'r1', 'r2' ], message => $message };
}

# good('name', 'hook', 'script', ['r1', …], 'status', "outcomes"): with the outcomes
sub good
{
	my ($name, $hook, $script, $records, $status, $outcomes) = @_;
	push @cases, { name => $name, hook => $hook, sh => $script, records => $records, status => $status, outcomes => $outcomes };
}

# Lines of a file, as they are.
sub lines
{
	my ($file, @lines) = @_;
	return join '', map { (my $line = $_) =~ s/'/'\\''/g; "printf '%s\\n' '$line' >>$file\n" } @lines;
}

# ---- 1

my $features = 'features.jsonl';
my $fine = '{"id":"r1","features":[]}';
bad('half an object', 'many', lines($features, $fine, '{"id":"r2","features":[1]'), qr/^features\.jsonl line 2 /);
bad('plain text', 'many', lines($features, 'all is well'), qr/^features\.jsonl line 1 /);
bad('two values in a line', 'many', lines($features, "$fine $fine"), qr/^features\.jsonl line 1 /);
bad('an array', 'many', lines($features, '', $fine, '[]'), qr/^features\.jsonl line 3 is not a JSON object/);
bad('null', 'none', lines('errors.jsonl', 'null'), qr/^errors\.jsonl line 1 is not a JSON object/);
bad('no id', 'many', lines($features, '{"features":[]}'), qr/^features\.jsonl line 1 has no "id"/);
bad('an id that is a number', 'many', lines($features, '{"id":1,"features":[]}'), qr/^features\.jsonl line 1 has "id" that is not text/);
bad('an unknown id', 'none', lines('rejections.jsonl', '{"id":"r3","reason":"x"}'), qr/^rejections\.jsonl line 1 names record "r3", which was not given/);
bad('an id twice', 'many', lines($features, '{"id":"r1","id":"r2","features":[]}'), qr/^features\.jsonl line 1 has "id" twice/);
bad('no features', 'many', lines($features, '{"id":"r1"}'), qr/^features\.jsonl line 1 has no "features"/);
bad('no reason', 'none', lines('rejections.jsonl', '{"id":"r1"}'), qr/^rejections\.jsonl line 1 has no "reason"/);
bad('no error', 'none', lines('errors.jsonl', '{"id":"r1","retryable":true}'), qr/^errors\.jsonl line 1 has no "error"/);
bad('features that are no array', 'many', lines($features, '{"id":"r1","features":{}}'), qr/^features\.jsonl line 1 has "features" that are not an array/);
bad('a reason that is no text', 'none', lines('rejections.jsonl', '{"id":"r1","reason":["x"]}'), qr/^rejections\.jsonl line 1 has "reason" that is not text/);
bad('an error that is no text', 'none', lines('errors.jsonl', '{"id":"r1","error":5}'), qr/^errors\.jsonl line 1 has "error" that is not text/);
bad('retryable that is no boolean', 'none', lines('errors.jsonl', '{"id":"r1","error":"x","retryable":"yes"}'), qr/^errors\.jsonl line 1 has a "retryable" that is neither true nor false/);
bad('features of a record twice', 'many', lines($features, $fine, '{"id":"r2","features":[]}', $fine), qr/^features\.jsonl line 3 is the second one of record "r1", after line 1/);
bad('a feature for cardinality none', 'none', lines($features, '{"id":"r1","features":[1]}'), qr/^features\.jsonl line 1 has a feature, but the hook declares cardinality "none"/);
bad('two features for cardinality one', 'one', lines($features, '{"id":"r1","features":[1,2]}'), qr/^features\.jsonl line 1 has 2 features of one record/);
bad('an error with features', 'many', lines($features, '{"id":"r2","features":[1]}') . lines('errors.jsonl', '{"id":"r2","error":"x"}'), qr/^errors\.jsonl line 1 has an error of record "r2", but features\.jsonl line 1 has features of it/);
bad('a column is missing', 'typed', lines($features, '{"id":"r1","features":[{"x":1},{"n":1}]}'), qr/^features\.jsonl line 1 .*feature 2 has no value for column "x"/);
bad('an undeclared column', 'typed', lines($features, '{"id":"r1","features":[{"x":1,"y":2}]}'), qr/^features\.jsonl line 1 .*"y", which is not a declared column/);
bad('a column of the wrong type', 'typed', lines($features, '{"id":"r1","features":[{"x":1,"n":1.5}]}'), qr/^features\.jsonl line 1 .*column "n" is not of type int4/);
bad('a day that does not exist', 'typed', lines($features, '{"id":"r1","features":[{"x":1,"d":"2025-02-29"}]}'), qr/^features\.jsonl line 1 .*column "d" is not of type date/);
bad('NaN', 'typed', lines($features, '{"id":"r1","features":[{"x":NaN}]}'), qr/^features\.jsonl line 1 /);
bad('NaN as text', 'typed', lines($features, '{"id":"r1","features":[{"x":"NaN"}]}'), qr/^features\.jsonl line 1 .*column "x" is not of type float8/);
bad('beyond float8', 'typed', lines($features, '{"id":"r1","features":[{"x":1e999}]}'), qr/^features\.jsonl line 1 .*column "x" is not of type float8/);
bad('a feature that is no object', 'typed', lines($features, '{"id":"r1","features":[7]}'), qr/^features\.jsonl line 1 .*must be an object/);
bad('invalid UTF-8', 'many', q(printf '{"id":"r1","features":["\377\376"]}\n' >features.jsonl), qr/^features\.jsonl line 1 /);
bad('a zero byte', 'many', q(printf '{"id":"r1","features":["\000"]}\n' >features.jsonl), qr/^features\.jsonl line 1 /);
bad('\u0000', 'many', lines($features, '{"id":"r1","features":["\\u0000"]}'), qr/^features\.jsonl line 1 /);
bad('\u0000 in a reason', 'none', lines('rejections.jsonl', '{"id":"r1","reason":"a\\u0000b"}'), qr/^rejections\.jsonl line 1 /);
bad('half a surrogate pair', 'many', lines($features, '{"id":"r1","features":["\\ud800"]}'), qr/^features\.jsonl line 1 /);
bad('ten thousand brackets', 'many', q(printf '{"id":"r1","features":%s' "$(yes '[' | head -n 10000 | tr -d '\n')" >features.jsonl), qr/^features\.jsonl line 1 /);
bad('a number of megabytes', 'many', lines($features, '{"id":"r1","features":[1e999999999]}'), qr/^features\.jsonl line 1 /);
bad('progress rejects an unknown id', 'none', lines('progress.jsonl', '{"status":"rejected","id":"r9"}'), qr/^progress\.jsonl line 1 rejects record "r9", which was not given/);

# ---- 2

my $cap = 2 * 1024 * 1024;
my $dd = 'dd if=/dev/zero of=features.jsonl bs=1M count=10240 2>/dev/null; stat -c %s features.jsonl';
bad('a line of 100 MB', 'large', q(head -c 100000000 /dev/zero | tr '\0' x >features.jsonl), qr/^features\.jsonl line 1 is longer than 16777216 bytes/);
bad('a million lines', 'large', q(yes '{"id":"r1","reason":"again"}' | head -n 1000000 >rejections.jsonl), qr/^rejections\.jsonl line \d+ is one too many/);
bad('10 GB', 'one', $dd, qr/"(out\/)?features\.jsonl" stopped at the limit of $cap bytes/);
bad('10 GB, and an exit code', 'one', "$dd; exit 3", qr/"(out\/)?features\.jsonl" stopped at the limit of $cap bytes/);
bad('another file at its cap', 'none', 'yes >other.txt', qr/"(out\/)?other\.txt" stopped at the limit of $cap bytes/);
bad('more in all', 'none', 'for i in 1 2 3 4; do head -c 900000 /dev/zero >$i.bin; done', qr/^outputs? (are|is) larger than/);
bad('a sparse file', 'one', "truncate -s 1M features.jsonl", qr/^features\.jsonl line 1 /);
bad('a sparse file of its cap', 'one', "truncate -s $cap features.jsonl", qr/stopped at the limit of $cap bytes/);
bad('a symbolic link', 'none', 'ln -s /etc/passwd features.jsonl', qr/^features\.jsonl is a symbolic link, not a regular file/);
bad('a link to an input', 'none', 'ln -s /osa/in/records.jsonl rejections.jsonl', qr/^rejections\.jsonl is a symbolic link, not a regular file/);
bad('a hard link', 'one', lines('a', $fine) . 'ln a features.jsonl', qr/^features\.jsonl is a hard link, not a regular file/);
bad('a folder', 'none', 'mkdir errors.jsonl', qr/^errors\.jsonl is a folder, not a regular file/);
bad('a FIFO', 'one', 'mkfifo features.jsonl', qr/^features\.jsonl is a FIFO, not a regular file/);
bad('a FIFO of progress', 'none', 'mkfifo progress.jsonl', qr/^progress\.jsonl is a FIFO, not a regular file/);

# The limit of a file's size ends what makes a sparse giant: it stays empty.
good('a sparse giant', 'dropping', 'truncate -s 100G features.jsonl; stat -c "$? %s" features.jsonl', ['r1'],
	'failed', 'r1|errored|||no outcome');

# ---- 3, 4

good('nothing at all', 'one', ':', [ 'r1', 'r2' ], 'failed', undef);
good('nothing, dropped', 'dropping', 'feature r1 1', [ 'r1', 'r2' ], 'completed', "r1|passed|[1]||\nr2|errored|||no outcome");
good('nothing to say', 'none', ':', [ 'r1', 'r2' ], 'completed', "r1|passed|||\nr2|passed|||");
good('rejected with features', 'many', 'feature r1 1; reject r1 bad; feature r2 2', [ 'r1', 'r2' ], 'completed', "r1|rejected||bad|\nr2|passed|[2]||");
good('rejected with an error', 'many', 'error r1 oops; reject r1 bad; feature r2 2', [ 'r1', 'r2' ], 'completed', "r1|rejected||bad|\nr2|passed|[2]||");
good('rejected with both', 'many', 'feature r1 1; error r1 oops; reject r1 bad', ['r1'], 'rejected', 'r1|rejected||bad|');
good('[null]', 'one', 'feature r1 null; feature r2 "null,7"', [ 'r1', 'r2' ], 'completed', "r1|passed|||\nr2|passed|[7]||");
good('[null] for none', 'none', 'feature r1 null', ['r1'], 'completed', 'r1|passed|||');
good('a features.json with a value', 'one', lines('features.json', '{"a":', '1}'), ['r1'], 'completed', 'r1|passed|[{"a": 1}]||');
good('a features.json with a list', 'many', lines('features.json', '[1,', '{"a":2}, null]'), ['r1'], 'completed', 'r1|passed|[1, {"a": 2}]||');
good('a features.json beside lines', 'one', 'echo 1 >features.json; feature r1 2', ['r1'], 'completed', 'r1|passed|[2]||');
good('a features.json for two', 'dropping', 'echo 1 >features.json; feature r1 2; mv features.jsonl x', [ 'r1', 'r2' ], 'failed',
	"r1|errored|||no outcome\nr2|errored|||no outcome");
good('rejected by progress', 'one', 'progress working x; progress rejected first; progress rejected "too short"', ['r1'], 'rejected', 'r1|rejected||too short|');
good('one of two rejected by progress', 'none', lines('progress.jsonl', '{"status":"rejected","id":"r2"}', '{"status":"rejected","message":"nobody"}', 'not JSON'),
	[ 'r1', 'r2' ], 'completed', "r1|passed|||\nr2|rejected||rejected|");
good('blank lines', 'one', q(printf '\n \t\r\n{"id":"r1","features":[1],"more":{"x":[]}}\r\n\n' >features.jsonl), ['r1'], 'completed', 'r1|passed|[1]||');
good('no last newline', 'one', q(printf '{"id":"r1","features":[1]}' >features.jsonl), ['r1'], 'completed', 'r1|passed|[1]||');
good('strange files', 'one', <<'SH', ['r1'], 'completed', 'r1|passed|[1]||');
feature r1 1
mkdir -p sub/features.jsonl out/out; echo x >out/features.jsonl; echo x >'new
line'; echo x >"$(printf '\377\376')"; echo x >"$(printf '%0250d' 0)"; mkfifo pipe; ln -s /proc/self/mem link; ln -s .. up
i=0; while [ $i -lt 1000 ]; do : >many$i; i=$((i+1)); done
deep=.; for i in $(seq 60); do deep=$deep/folder$i; done; mkdir -p $deep; echo x >$deep/features.jsonl
chmod 0 features.jsonl sub .
SH

# Another code than 0: no outcome counts, whatever stands there.
push @cases, { name => 'bad output and an exit code', hook => 'one', sh => 'echo nonsense >features.jsonl; exit 4', records => ['r1'],
	kind => 'hook_exit', message => qr/^hook exited with code 4/ };
push @cases, { name => 'features and an exit code', hook => 'one', sh => 'feature r1 1; exit 5', records => ['r1'],
	kind => 'hook_exit', message => qr/^hook exited with code 5/ };
push @cases, { name => 'a bad features.json', hook => 'one', sh => lines('features.json', '{', '"a": nonsense}'), records => ['r1'],
	message => qr/^features\.json line 2 / };
push @cases, { name => 'two in features.json', hook => 'one', sh => 'echo "[1,2]" >features.json', records => ['r1'],
	message => qr/^features\.json line 1 has 2 features/ };
push @cases, { name => 'nothing at all, no policy', hook => 'one', sh => 'feature r1 1', records => [ 'r1', 'r2' ],
	kind => 'record_error', message => qr/^1 record could not be judged/ };

# ---- all of them at once

ok(wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'osa_validation worker%'", 1), 'the worker runs');
my $pid = worker_pid($node);
for my $case (@cases)
{
	$case->{sql} = sprintf 'SELECT osa_start_validation(%s, %s, pipeline => %s, config => %s);', map { literal($_) }
	  $case->{name}, json([ map { { id => $_, metadata => {} } } @{ $case->{records} } ]), $case->{hook}, json({ sh => $case->{sh} });
}
my @runs = split /\n/, sql($node, join "\n", map { $_->{sql} } @cases);
is(scalar @runs, scalar @cases, 'all are started');
ok(wait_for($node, 'SELECT count(*) FROM osa_validation_run WHERE finished_at IS NULL', 0, 180), 'all have ended');

for my $case (@cases)
{
	my $run = $case->{run} = shift @runs;
	$by_name{ $case->{name} } = $case;
	my ($status, $kind, $attempt, $message) = split /\|/, sql($node, <<"SQL"), 4;
SELECT r.status, h.failure_kind, h.attempt, h.message
  FROM osa_validation_run r JOIN osa_run_hook h ON h.run_id = r.id WHERE r.id = $run
SQL
	if ($case->{message})
	{
		my $expected = 'failed ' . ($case->{kind} // 'hook_output') . ' 1';
		is("$status $kind $attempt", $expected, "$case->{name}: $expected");
		like($message, $case->{message}, "$case->{name}: says where");
		is(sql($node, "SELECT count(*) FROM osa_outcome WHERE run_id = $run"), 0, "$case->{name}: no outcome counts")
		  unless ($case->{kind} // '') eq 'record_error';
		next;
	}
	is($status, $case->{status}, "$case->{name}: $case->{status}") or diag "$kind: $message";
	is(sql($node, "SELECT record_id, status, features, reason, error FROM osa_outcome WHERE run_id = $run ORDER BY 1"),
		$case->{outcomes}, "$case->{name}: the outcomes") if defined $case->{outcomes};
}
is(sql($node, "SELECT failure_kind FROM osa_run_hook WHERE run_id = $by_name{'nothing at all'}{run}"), 'record_error',
	'records without an outcome are an error of records');
for my $name ('10 GB', '10 GB, and an exit code')
{
	like(sql($node, "SELECT log_tail FROM osa_hook_attempt WHERE run_id = $by_name{$name}{run}"), qr/^$cap$/m,
		"$name: it grew to its cap and no further");
}
like(sql($node, "SELECT log_tail FROM osa_hook_attempt WHERE run_id = $by_name{'a sparse giant'}{run}"), qr/^[1-9]\d* 0$/m,
	'the sparse giant never was');

# ---- 5

is(worker_pid($node), $pid, 'the worker is the same process');
is(sql($node, 'SELECT errors FROM osa_worker'), 0, 'it caught no internal error');
my ($peak) = PostgreSQL::Test::Utils::slurp_file("/proc/$pid/status") =~ /^VmHWM:\s+(\d+) kB/m;
cmp_ok($peak, '<', 400 * 1024, 'its memory stayed below 400 MiB');
note "peak memory of the worker: $peak KiB";
note 'its turns: ' . sql($node, 'SELECT turns, slow_turns, worst_turn_ms FROM osa_worker');
my $run = start_run($node, 'after', ['r1'], pipeline => 'one', config => { sh => 'feature r1 1' });
is(wait_run($node, $run), 'completed', 'and it goes on working');

check_sound($node);
no_containers($node);
$node->stop;
done_testing();
