# Progress while a hook runs: in time, in order, once, and within bounds.
#
# Claims:
#  1. With 16 hooks running, what each writes is seen within progress_interval
#     (1 s): the median; 95 % within three of them, as the machine is busy.
#  2. Each line comes once and in order, with step, status, message and record;
#     a line is read when it is whole.
#  3. osa_progress shows the last message while the hook runs.
#  4. A message is cut at 1 KiB, status and step at 200 bytes, between two
#     characters.
#  5. Bad lines, a line of 10 MB, links, a FIFO, a file made anew: skipped,
#     without harm to the run.
#  6. Of 100,000 lines at most 1,000 are kept.
use strict;
use warnings;
use utf8;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use OsaContainer qw(no_containers);
use OsaTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = new_node('progress', fsync => 0);
sql($node, "SELECT osa_add_runner('local', 'docker', NULL, max_in_flight => 16)");
register_script_hook($node, 'hook', limits => { cpu => 0.5, memory => '64MiB', tmpfs => '1MiB' });
define_pipeline($node, 'default', ['hook']);
my %run;

sub start
{
	my ($name, $script, @records) = @_;
	return $run{$name} = start_run($node, $name, [ @records ? @records : 'r1' ], config => { sh => $script });
}

sub uptime { return (split / /, PostgreSQL::Test::Utils::slurp_file('/proc/uptime'))[0] }

# ---- 1: a container's uptime is its host's

my @crowd = map { start("crowd$_", 'while read up rest </proc/uptime; do progress working $up; usleep 300000; done') } 1 .. 16;
ok(wait_for($node, "SELECT count(*) FROM osa_in_flight WHERE phase = 'running'", 16), '16 hooks run');
my $from = uptime();
my $to = $from + 5;
my $booted = time - $from;
ok(wait_for($node, "SELECT count(DISTINCT run_id) FROM osa_progress_entry WHERE message::numeric > $to", 16),
	'all of them are heard of');
my @late = split /\n/, sql($node, <<"SQL");
SELECT round(extract(epoch FROM created_at) - $booted - message::numeric, 3) AS late
  FROM osa_progress_entry WHERE message::numeric BETWEEN $from AND $to ORDER BY late
SQL
is(sql($node, "SELECT count(*) FROM osa_in_flight WHERE phase = 'running'"), 16, 'while they run');
is(sql($node, 'SELECT bool_and(osa_cancel_validation(id)) FROM osa_validation_run'), 't', 'they are not needed any more');
cmp_ok(scalar @late, '>', 100, 'they told of much');
note sprintf 'seen after: median %.3f, 95 %% %.3f, worst %.3f s', map { $late[ int($_ * $#late) ] } 0.5, 0.95, 1;
cmp_ok($late[ $#late / 2 ], '<', 1, 'half of it was seen within the interval');
cmp_ok($late[ int(0.95 * $#late) ], '<', 3, 'and nearly all soon after');

# ---- the others at once

# 3
start('last', q(progress working one; progress working two; while :; do usleep 100000; done));
# 2
start('order', <<'SH', 'r1', 'r2');
for i in $(seq 40); do printf '{"step":"s%s","status":"working","message":"m%s","id":"r2"}\n' $i $i >>progress.jsonl; usleep 50000; done
SH
start('torn', q(printf '{"status":"working","message":"ha' >progress.jsonl; sleep 2; printf 'lf"}\n' >>progress.jsonl; sleep 2; echo '{"status":"done"}' >>progress.jsonl));
# 4
start('long', <<'SH');
text=$(yes é | head -n 2000 | tr -d '\n')
for message in $text a$text; do printf '{"status":"s%s","step":"%s","message":"%s"}\n' "$text" "$text" "$message" >>progress.jsonl; done
SH
# 5
start('bad', <<'SH');
printf '%s\n' nonsense '[]' '{"message":"no status"}' '{"status":1}' '{"status":"torn"' '' '{"status":"bad \u0000"}' >progress.jsonl
printf '{"status":"\377"}\n' >>progress.jsonl
progress working good
SH
start('giant', <<'SH');
progress working before
{ printf '{"status":"giant","message":"'; head -c 10000000 /dev/zero | tr '\0' x; printf '"}\n'; } >>progress.jsonl
progress working after
sleep 2
SH
start('links', 'ln -s /etc/passwd progress.jsonl; sleep 2; rm progress.jsonl; mkfifo progress.jsonl; sleep 2; rm progress.jsonl; progress working end');
start('anew', 'progress working "a longer message"; sleep 2; echo >progress.jsonl; sleep 2');
# 6
start('many', q(seq 100000 | sed 's/.*/{"status":"working","message":"&"}/' >progress.jsonl; sleep 2));

ok(wait_for($node, "SELECT status, last_message FROM osa_progress WHERE run_id = $run{last}", 'running|two'),
	'the last message is seen while the hook runs');
is(sql($node, "SELECT osa_cancel_validation($run{last})"), 't', 'that hook is not needed any more');
is(wait_run($node, $run{$_}), 'completed', "$_: the run completes") for qw(order torn long bad giant links anew many);

sub entries
{
	my ($name, $columns) = @_;
	return sql($node, "SELECT $columns FROM osa_progress_entry WHERE run_id = $run{$name} ORDER BY id");
}

is(entries('order', 'step, status, message, record_id, hook_index'), join("\n", map { "s$_|working|m$_|r2|0" } 1 .. 40),
	'each line comes once, in order, with all it says');
is(sql($node, "SELECT count(DISTINCT date_trunc('milliseconds', created_at)) > 1 FROM osa_progress_entry WHERE run_id = $run{order}"),
	't', 'not all at the end');
is(entries('torn', 'status, message'), "working|half\ndone|", 'a line is read when it is whole');
is(entries('long', "octet_length(message), octet_length(status), octet_length(step), message ~ '^a?\\u00E9+\$'"),
	"1024|199|200|t\n1023|199|200|t", 'long texts are cut between characters');
is(entries('bad', 'status, message'), 'working|good', 'bad lines are skipped');
is(entries('giant', 'status, message'), "working|before\nworking|after", 'so is a line of 10 MB');
is(entries('links', 'status, message'), 'working|end', 'what is no regular file is not read');
is(entries('anew', 'message'), 'a longer message', 'a file that was made anew does no harm');
my $kept = sql($node, "SELECT count(*) FROM osa_progress_entry WHERE run_id = $run{many}");
cmp_ok($kept, '>=', 100, 'many lines: some are kept');
cmp_ok($kept, '<=', 1000, 'many lines: not more than 1,000');
is(sql($node, "SELECT bool_and(message::int > before) FROM (SELECT message, lag(message::int, 1, 0) OVER (ORDER BY id) AS before FROM osa_progress_entry WHERE run_id = $run{many}) AS all_of_it"),
	't', 'many lines: in order');
is(sql($node, 'SELECT max(octet_length(message)) FROM osa_progress_entry'), 1024, 'no message is longer than 1 KiB');
is(sql($node, 'SELECT errors FROM osa_worker'), 0, 'the worker caught no internal error');

check_sound($node);
no_containers($node);
$node->stop;
done_testing();
