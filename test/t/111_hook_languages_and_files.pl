# Hooks of any language, and what they are given.
#
# Claims:
#  1. A hook in C and one in shell run in one pipeline.
#  2. Files attached by osa_attach_file arrive byte for byte: binary, empty,
#     5 MB, in folders, long names, names with blanks, quotes and any script.
#  3. So do those of a folder under files_root, together with attached ones.
#  4. They lie in /osa/files/<record id>/, read-only.
#  5. records.jsonl has id and metadata a line; in ascending size_hint_mb when
#     any record has one, else as submitted.
#  6. config.json is the release's config overlaid by the run's; the attempt
#     keeps what was used.
#  7. A folder with a symbolic link, a FIFO, or more than the input limit, or
#     that is gone or became a link since it was submitted, fails the run with
#     kind config, naming the file; nothing is started.
use strict;
use warnings;
use utf8;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use Digest::SHA qw(sha256_hex);
use Encode qw(decode encode);
use File::Path qw(make_path);
use OsaContainer qw(no_containers);
use OsaTest;
use POSIX qw(mkfifo);
use PostgreSQL::Test::Utils;
use Test::More;

my $root = PostgreSQL::Test::Utils::tempdir() . '/files_root';
make_path($root);
my $node = new_node('files', fsync => 0, conf => <<"CONF");
osa_validation.files_root = '$root'
osa_validation.max_input_bytes = '32MB'
CONF

# Every file of a record as a feature.
my @columns = map { { name => $_, type => 'text' } } qw(path sha256 mode);
register_script_hook($node, 'digests', columns => \@columns, cardinality => 'many', sh => <<'SH');
ids | while IFS= read -r id; do
	printf '{"id":"%s","features":[' "$id"
	if cd "$OSA_FILES/$id" 2>/dev/null; then
		comma=
		find . -type f | while IFS= read -r file; do
			printf '%s{"path":"%s","sha256":"%s","mode":"%s"}' "$comma" \
				"$(printf %s "${file#./}" | sed 's/[\\"]/\\&/g')" \
				"$(sha256sum <"$file" | cut -c1-64)" "$(stat -c '%u %g %a' "$file")"
			comma=,
			if (: >>"$file") 2>/dev/null; then echo "$file is writable" >&2; fi
		done
	fi
	echo ']}'
done >features.jsonl
SH
register_script_hook($node, 'gc', image => 'localhost/osa-fasta:1', cardinality => 'many', columns => [
	{ name => 'file', type => 'text' }, { name => 'length', type => 'int8' },
	{ name => 'gc', type => 'float8', nullable => JSON::PP::true } ]);
register_script_hook($node, 'show', config => { a => 1, over => 'release', deep => { x => 1, y => 2 } },
	sh => 'echo "$(cat "$OSA_IN/records.jsonl")"; echo --; echo "$(cat "$OSA_IN/config.json")"; echo --; env | grep ^OSA_ | sort');
define_pipeline($node, 'default', ['digests']);
define_pipeline($node, 'languages', [ 'digests', 'gc' ]);
define_pipeline($node, 'show', ['show']);

# ---- 2: attached

sub bytes { return encode('UTF-8', $_[0]) }
sub attach { sql($node, bytes(sprintf 'SELECT osa_attach_file(%s, %s, %s, %s)', map({ literal($_) } @_[ 0 .. 2 ]), $_[3])); }
sub start { return start_run($node, @_) }

my %attached = (
	'r1' => {
		'all bytes.bin' => "(SELECT string_agg(set_byte('\\x00', 0, i % 256), '') FROM generate_series(0, 1023) i)",
		'empty' => "''",
		'a/deeper/folder/with.txt' => "'\\x746578740a'::bytea",
		'it\'s "quoted" \\ back.txt' => "'quotes'::bytea",
		'Überblick/ελληνικά 数据 🧬.txt' => "'names'::bytea",
		('long' x 50) . '/' . ('path' x 60) => "'long'::bytea",
		'-rf' => "'dash'::bytea",
	},
	'r é 数' => {
		'5MB' => "(SELECT string_agg(sha256(i::text::bytea), '') FROM generate_series(1, 163840) i)",
	});
for my $record (sort keys %attached)
{
	attach('attached', $record, $_, $attached{$record}{$_}) for sort keys %{ $attached{$record} };
}
my $attached = start('attached', [ 'r1', 'r é 数', 'without' ]);

# ---- 3: from a folder

my %on_disk = (
	'plain.txt' => "plain\n",
	'deep/Ünïcode 数据.bin' => join('', map { chr } 0 .. 255) x 7,
	'deep/er/empty' => '',
	'3MB' => join('', map { pack 'N', $_ * 2654435761 % 2**32 } 1 .. 786432));
make_path("$root/study/nothing in here");
put_file("study/$_", $on_disk{$_}) for keys %on_disk;
attach('from', 'r1', 'attached.txt', "'attached beside'::bytea");
my $from = start('from', [ { id => 'r1', metadata => {}, files_from => 'study' },
		{ id => 'r2', metadata => {}, files_from => 'study/deep' } ]);

# ---- 1: C and shell in one pipeline

attach('languages', 'r1', 'a.fa', "E'>s1 test\\nACGTACGT\\nGGCC\\n>s2\\nnnNN\\n'::bytea");
attach('languages', 'r1', 'b.fa', "E'>only\\nNNN\\n'::bytea");
attach('languages', 'r1', 'c.txt', "'no sequence'::bytea");
attach('languages', 'r2', 'c.txt', "'no sequence'::bytea");
my $languages = start('languages', [ 'r1', 'r2' ], pipeline => 'languages');

# ---- 5, 6

my $ordered = start('ordered', [
		{ id => 'big', metadata => { n => 1 }, size_hint_mb => 30.5 }, { id => 'none', metadata => {} },
		{ id => 'small', metadata => { text => "two\nlines \"é\" \\ 数", list => [ 1, { x => undef } ] }, size_hint_mb => 0.25 },
		{ id => 'middle', metadata => {}, size_hint_mb => 4 } ],
	pipeline => 'show', config => { over => 'run', new => [1], deep => { z => 3 } });
my $unordered = start('unordered', [ 'z', 'a', 'm' ], pipeline => 'show');

# ---- 7

make_path("$root/$_") for qw(link fifo large);
put_file("$_/a.txt", 'a') for qw(link fifo large);
symlink '/etc/passwd', "$root/link/z.txt" or die $!;
mkfifo("$root/fifo/z.txt", 0644) or die $!;
truncate_to("$root/large/z.txt", 40 * 1024 * 1024);
my %refused = map { $_ => start($_, [ { id => 'r1', metadata => {}, files_from => $_ } ]) } qw(link fifo large);

# ---- what came of it

is(ended($attached), 'completed', 'attached files: the run completes');
my %expected;
for my $record (keys %attached)
{
	$expected{$record}{$_} = sql($node, bytes("SELECT encode(sha256($attached{$record}{$_}), 'hex')"))
	  for keys %{ $attached{$record} };
}
is_deeply(found($attached), { %expected, without => {} }, 'they arrive byte for byte');
is(modes($attached), '0 0 444', "root's and read-only");
is(sql($node, "SELECT log_tail FROM osa_hook_attempt WHERE run_id = $attached"), '', 'the hook cannot write to them');
is(sql($node, <<"SQL"), 't', 'the database says the same of them');
SELECT NOT EXISTS (
	SELECT record_id, f ->> 'path', f ->> 'sha256' FROM osa_outcome, jsonb_array_elements(features) AS f WHERE run_id = $attached
	EXCEPT SELECT record_id, key, encode(sha256(content), 'hex')
	  FROM osa_record, jsonb_each_text(files) JOIN osa_file ON hash = value WHERE run_id = $attached)
SQL

is(ended($from), 'completed', 'files of a folder: the run completes');
my %digests = map { $_ => sha256_hex($on_disk{$_}) } keys %on_disk;
is_deeply(found($from), {
		r1 => { %digests, 'attached.txt' => sha256_hex('attached beside') },
		r2 => { map { m{^deep/(.*)} ? ($1 => $digests{$_}) : () } keys %digests } },
	'they arrive byte for byte, beside attached ones');
is(modes($from), '0 0 444', 'read-only for the hook');

is(ended($languages), 'completed', 'a shell hook and a C hook: the run completes');
is(sql($node, "SELECT record_id, status, features, reason FROM osa_outcome WHERE run_id = $languages AND hook_index = 1 ORDER BY 1"),
	'r1|passed|[{"gc": 0.666667, "file": "a.fa", "length": 16}, {"gc": null, "file": "b.fa", "length": 3}]|' . "\n"
	  . 'r2|rejected||no FASTA file', 'the C hook read the files');
is(sql($node, "SELECT count(*) FROM osa_outcome WHERE run_id = $languages AND hook_index = 0 AND status = 'passed'"), 2,
	'after the shell hook');

is(ended($ordered), 'completed', 'the run with size hints completes');
my ($records, $config, $environment) = shown($ordered);
my @lines = map { JSON::PP->new->utf8->decode($_) } split /\n/, $records;
is(join(' ', map { $_->{id} } @lines[ 0 .. 2 ]), 'small middle big', 'records come in ascending size_hint_mb');
is($lines[3]{id}, 'none', 'the one without comes last');
is_deeply($lines[0], { id => 'small', size_hint_mb => 0.25,
		metadata => { text => "two\nlines \"é\" \\ 数", list => [ 1, { x => undef } ] } }, 'a line has id, metadata and hint');
is_deeply($lines[3], { id => 'none', metadata => {} }, 'or id and metadata alone');
$config = JSON::PP->new->utf8->decode($config);
delete $config->{sh};
is_deeply($config, { a => 1, over => 'run', new => [1], deep => { z => 3 } },
	"the release's config is overlaid by the run's");
is(sql($node, "SELECT config - 'sh' FROM osa_hook_attempt WHERE run_id = $ordered"),
	'{"a": 1, "new": [1], "deep": {"z": 3}, "over": "run"}', 'the attempt keeps the config that was used');
is($environment, "OSA_FILES=/osa/files\nOSA_HOOK_NAME=show\nOSA_IN=/osa/in\nOSA_OUT=/osa/out", 'the environment says where all is');

is(ended($unordered), 'completed', 'the run without size hints completes');
($records) = shown($unordered);
is(join(' ', map { JSON::PP->new->decode($_)->{id} } split /\n/, $records), 'z a m', 'records come as they were submitted');

for my $kind (sort keys %refused)
{
	is(wait_run($node, $refused{$kind}), 'failed', "$kind: the run fails");
	like(sql($node, "SELECT failure_kind, message, attempt FROM osa_run_hook WHERE run_id = $refused{$kind}"),
		qr{^config\|.*z\.txt.*\|1$}, "$kind: as a matter of configuration, naming the file");
	is(starts($node, run => $refused{$kind}), 0, "$kind: no container was started");
}

# ---- 7, changed after it was submitted

make_path("$root/$_"), put_file("$_/a.txt", 'a') for qw(swapped gone);
sql($node, 'SELECT osa_pause()');
%refused = map { $_ => start($_, [ { id => 'r1', metadata => {}, files_from => $_ } ]) } qw(swapped gone);
rename "$root/$_", "$root/$_.old" or die $! for qw(swapped gone);
symlink '/etc', "$root/swapped" or die $!;
sql($node, 'SELECT osa_resume()');
for my $kind (sort keys %refused)
{
	is(wait_run($node, $refused{$kind}), 'failed', "$kind: the run fails");
	like(sql($node, "SELECT failure_kind, message, attempt FROM osa_run_hook WHERE run_id = $refused{$kind}"),
		qr{^config\|.*$kind.*\|1$}, "$kind: as a matter of configuration, naming the folder");
	is(starts($node, run => $refused{$kind}), 0, "$kind: no container was started");
}

check_sound($node);
no_containers($node);
$node->stop;
done_testing();

# How the run ended; of one that did not complete, why.
sub ended
{
	my ($run) = @_;
	my $status = wait_run($node, $run);
	return $status if $status eq 'completed';
	return "$status: " . sql($node, "SELECT hook, failure_kind, message FROM osa_run_hook WHERE run_id = $run");
}

# {record => {path => sha256}} as the hook saw it.
sub found
{
	my ($run) = @_;
	my $json = sql($node, <<"SQL");
SELECT json_object_agg(record_id, (SELECT coalesce(json_object_agg(f ->> 'path', f ->> 'sha256'), '{}') FROM jsonb_array_elements(features) AS f))
  FROM osa_outcome WHERE run_id = $run
SQL
	return JSON::PP->new->utf8(utf8::is_utf8($json) ? 0 : 1)->decode($json);
}

sub modes
{
	my ($run) = @_;
	return sql($node, "SELECT DISTINCT f ->> 'mode' FROM osa_outcome, jsonb_array_elements(features) AS f WHERE run_id = $run");
}

# The log of hook "show": records, config, environment.
sub shown
{
	my ($run) = @_;
	return split /\n--\n/, sql($node, "SELECT rtrim(log_tail, E'\\n') FROM osa_hook_attempt WHERE run_id = $run");
}

sub put_file
{
	my ($path, $content) = @_;
	my $name = bytes("$root/$path");
	(my $folder = $name) =~ s{/[^/]*$}{};
	make_path($folder);
	open my $file, '>:raw', $name or die "$name: $!";
	print $file $content;
	close $file or die "$name: $!";
}

sub truncate_to
{
	my ($path, $size) = @_;
	open my $file, '>', $path or die "$path: $!";
	truncate $file, $size or die "$path: $!";
}
