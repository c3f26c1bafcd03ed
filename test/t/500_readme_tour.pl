# The documents say what is so:
#  1. the README's tour has ten lines, which run as they stand and end as told
#  2. its table of settings is pg_settings: names, units, defaults, contexts
#  3. its grants are enough for an application's role, and no more than that
#  4. the runners of doc/operations.md can be added as it says
#  5. doc/hooks.md shows the example hook gc as it is, and its C hook compiles
#     and judges
use strict;
use warnings;

use File::Temp qw(tempdir);
use FindBin;
use lib "$FindBin::Bin/../perl";
use OsaTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $root = $ENV{OSA_ROOT} // "$FindBin::Bin/../..";

# The fenced blocks of a language below a heading.
sub blocks
{
	my ($file, $heading, $language) = @_;
	my $text = slurp_file("$root/$file");
	$text =~ /^#+ \Q$heading\E\n(.*?)(?=^#+ |\z)/ms or die "$file has no section \"$heading\"";
	my @found = $1 =~ /^```$language\n(.*?)^```$/msg or die "\"$heading\" in $file has no $language";
	return @found;
}

my $node = new_node('readme', fsync => 0, extension => 0);

# 1
my ($tour) = blocks('README.md', 'Tour', 'sql');
is(scalar(split /\n/, $tour), 10, 'the tour has ten lines');
my ($out, $err) = ('', '');
my $status = $node->psql('postgres', $tour, stdout => \$out, stderr => \$err, on_error_stop => 1);
is($status, 0, 'the tour runs') or diag $err;
like($out, qr/^completed$/m, 'it waits for the end');
like($out, qr/^completed\|1\|1\|2\|1\|1$/m, 'it shows the progress');
like($out, qr/^r1\|passed\|\[\{"gc": 0\.7(000)?\}\]\|$/m, 'r1 passes with its feature');
like($out, qr/^r2\|rejected\|\|no residues$/m, 'r2 is rejected with a reason');
like($out, qr/^gc\|1\|passed\|[0-9:.]+\|0$/m, 'the timeline has the hook');

# 2
my %said;
my ($table) = slurp_file("$root/README.md") =~ /^## Settings\n(.*?)^## /ms;
for my $line ($table =~ /^(\| `.*)$/mg)
{
	my @cell = map { s/^\s+|\s+$//gr } split /\|/, $line;
	my ($name) = $cell[1] =~ /^`(\w+)`$/ or die "unreadable line: $line";
	my ($default) = $cell[3] eq 'empty' ? '' : $cell[3] =~ /^`([^`]*)`/;
	$said{"osa_validation.$name"} = join '|', $cell[2], $default, $cell[4];
}
my %is = map { my ($name, $rest) = split /\|/, $_, 2; ($name => $rest) } split /\n/, sql($node, <<'SQL');
SELECT name, unit, boot_val, context FROM pg_settings WHERE name LIKE 'osa\_validation.%'
SQL
is_deeply(\%said, \%is, 'the settings are as the README says');

# 3
my ($grants) = blocks('README.md', 'Grants for an application', 'sql');
sql($node, "CREATE ROLE archive_app; $grants");
my $run = sql($node, 'SET ROLE archive_app; '
	. q{SELECT osa_attach_file('app-1', 'r1', 'a.fa', 'ACGT'); SELECT osa_start_validation('app-1', '[{"id":"r1"}]')});
($run) = $run =~ /(\d+)$/;
is(sql($node, "SET ROLE archive_app; SELECT osa_wait_validation($run)"), 'completed', 'a granted role validates and waits');
is(sql($node, "SET ROLE archive_app; SELECT o.status, p.status FROM osa_outcome o JOIN osa_progress p USING (run_id) WHERE run_id = $run"),
	'passed|completed', 'and reads what came of it');
for my $call (q{osa_add_release('gc', 'localhost/osa-gc:1')}, 'osa_pause()',
	q{osa_add_runner('mine', 'noop', NULL)}, q{osa_define_pipeline('mine', '{gc}')})
{
	$node->psql('postgres', "SET ROLE archive_app; SELECT $call", stderr => \$err);
	like($err, qr/permission denied for function/, "$call is not granted with them");
}

# 4
my ($runners) = blocks('doc/operations.md', 'Runners', 'sql');
sql($node, $runners);
is(sql($node, 'SELECT string_agg(name, $$ $$ ORDER BY name) FROM osa_runner'), 'big rehearsal', 'runners are added');

# 5
my ($shell) = blocks('doc/hooks.md', 'In shell', 'sh');
my $gc = slurp_file("$root/examples/hooks/gc/hook");
$gc =~ s/^# .*\n//mg;
is($shell, $gc, 'the shell hook is the example');

my ($c) = blocks('doc/hooks.md', 'In C', 'c');
my $dir = tempdir(CLEANUP => 1);
append_to_file("$dir/hook.c", $c);
is(system('gcc', '-std=gnu11', '-Wall', '-Wextra', '-Werror', "-I$root/examples/hooks", '-o', "$dir/hook", "$dir/hook.c"),
	0, 'the C hook compiles');
mkdir "$dir/$_" for qw(in out files files/whole files/torn);
append_to_file("$dir/in/records.jsonl",
	join '', map { qq({"id":"$_","metadata":{"id":"no","list":[1,"}"]}}\n) } qw(whole torn none));
append_to_file("$dir/files/whole/entry.dat", "ID   A\n//\n");
append_to_file("$dir/files/torn/entry.dat", "ID   A\n");
{
	local @ENV{qw(OSA_IN OSA_OUT OSA_FILES)} = map { "$dir/$_" } qw(in out files);
	is(system("$dir/hook"), 0, 'the C hook runs');
}
is(slurp_file("$dir/out/rejections.jsonl"), <<'OUT', 'and judges');
{"id":"torn","reason":"truncated: no // at the end"}
{"id":"none","reason":"no entry.dat"}
OUT

check_sound($node);
$node->stop;
done_testing();
