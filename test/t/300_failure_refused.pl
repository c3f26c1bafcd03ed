# What an engine will never accept ends the run at once; what a registry can't
# give just now is waited for.
#
# Claims:
#  1. An image that its registry does not know, or refuses to give: image_pull,
#     at once, in one attempt without a container; the message names the image.
#  2. A registry that is down or broken: its image alone waits, without spending
#     an attempt; other hooks of the same runner go on; it goes on by itself.
#  3. An image that was pinned and is gone from the engine and the registry:
#     image_pull.
#  4. An image without a command, or whose command is not there or can't be
#     executed: config.
#  5. Limits that the engine refuses, or that are above the ceiling that the
#     runner has by now: config.
#  6. None of them leaves a container or spends a second attempt.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use OsaContainer;
use OsaRegistry;
use OsaTest;
use Test::More;

my $node = new_node('refused', fsync => 0);
my $registry = OsaRegistry->new;
my $fine = register_script_hook($node, 'fine', sh => 'true');
define_pipeline($node, 'fine', ['fine']);

# A run of one hook with this image and these limits.
my $count = 0;
sub run_of
{
	my ($image, %limits) = @_;
	my $name = 'h' . ++$count;
	register_script_hook($node, $name, image => $image, sh => 'true', limits => { retry_delay => 0.1, %limits });
	define_pipeline($node, $name, [$name]);
	return start_run($node, $name, ['r'], pipeline => $name);
}

sub fails_as
{
	my ($run, $kind, $message, $what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(wait_run($node, $run), 'failed', "$what: the run has failed");
	my ($is, $says) = split /\|/, sql($node, "SELECT failure_kind, message FROM osa_run_hook WHERE run_id = $run"), 2;
	is($is, $kind, "$what: as $kind");
	like($says, $message, "$what: with a reason");
	is(sql($node, "SELECT count(*), max(attempt) FROM osa_hook_attempt WHERE run_id = $run"), '1|1', "$what: in one attempt");
	is(starts_by_hook($node, $run), '', "$what: nothing ran");
	is(sql($node, "SELECT what, failure_kind FROM osa_failures WHERE run_id = $run ORDER BY what"),
		"attempt|$kind\nrun|$kind", "$what: osa_failures tells");
	return;
}

# import_image('name', mode, change, …): an image that holds /file alone, no program.
sub import_image
{
	my ($name, $mode, @changes) = @_;
	my $query = join '', map { '&changes=' . s/([^A-Za-z])/sprintf '%%%02X', ord $1/ger } @changes;
	my ($status, $body) = engine_call('POST', "/images/create?fromSrc=-$query", tar_of('file', $mode, $name));
	my ($id) = $body =~ /"status":\s*"(?:sha256:)?([0-9a-f]{64})/ or die "import: $status $body";
	($status, $body) = engine_call('POST', "/images/$id/tag?repo=localhost%2Fosa-$name&tag=1");
	die "tag: $status $body" if $status != 201;
	return "localhost/osa-$name:1";
}

# 1
$registry->mode('unknown');
my $image = $registry->image('nothing');
fails_as(run_of($image), 'image_pull', qr/image "\Q$image\E" is not available/, 'unknown image');
$registry->mode('denied');
fails_as(run_of($registry->image('denied')), 'image_pull', qr/is not available/, 'denied image');

# 2
$registry->mode('down');
engine_call('DELETE', '/images/' . $registry->image('alloc'));
my $run = run_of($registry->image('alloc'), memory => '64MiB');
ok(wait_for($node, "SELECT phase FROM osa_in_flight WHERE run_id = $run", 'wait'), 'registry down: its image waits');
$registry->mode('broken');
is(wait_run($node, start_run($node, 'fine', ['r'], pipeline => 'fine')), 'completed', 'others of the same runner go on');
is(sql($node, "SELECT status, attempt FROM osa_run_hook WHERE run_id = $run"), 'running|1', 'no attempt was spent')
  or diag sql($node, "SELECT message FROM osa_run_hook WHERE run_id = $run");
is(sql($node, "SELECT state FROM osa_status, jsonb_to_recordset(runners) r(state text)"), 'up', 'the runner is not down for that');
ok((wait_until { $registry->requests('manifests') || $registry->requests('v2') } 'asked'), 'the broken registry was asked');
$registry->mode('ok');
ok(wait_for($node, "SELECT finished_at IS NOT NULL FROM osa_run_hook WHERE run_id = $run"), 'once it answers the hook goes on by itself');
is(sql($node, "SELECT attempt, failure_kind FROM osa_hook_attempt WHERE run_id = $run"), '1|hook_output',
	'and runs in its first attempt (that the hook is another one shows in what it wrote)');
is(starts_by_hook($node, $run), '0:1', 'once');
engine_call('DELETE', '/images/' . $registry->image('alloc'));

# 3, 4
my $empty = import_image('empty', 0644);
fails_as(run_of($empty), 'config', qr/refused|could not be started/, 'no command');
like(sql($node, "SELECT image_id FROM osa_hook_release WHERE image = '$empty'"), qr/^sha256:/, 'its image was pinned all the same');
engine_call('DELETE', "/images/$empty?force=1");
$run = start_run($node, 'pinned', ['r'], pipeline => "h$count");
fails_as($run, 'image_pull', qr/not available as it was pinned/, 'pinned image gone');
my @commands = (
	[ 'nocommand', 0644, 'ENTRYPOINT ["/no/such/command"]' ],
	[ 'noexec', 0644, 'ENTRYPOINT ["/file"]' ],
	[ 'noformat', 0755, 'ENTRYPOINT ["/file"]' ]);
for (@commands)
{
	my ($name, $mode, $change) = @$_;
	my $own = import_image($name, $mode, $change);
	$run = run_of($own);
	# what can't be executed is found out by init, inside, on both engines
	wait_run($node, $run);
	is(sql($node, "SELECT failure_kind, attempt FROM osa_run_hook WHERE run_id = $run"), 'config|1', "$name: config, at once");
	engine_call('DELETE', "/images/$own?force=1");
}

# 5: less than a kernel can give
fails_as(run_of('localhost/osa-script:1', cpu => 0.001), 'config', qr/refused|could not be started/, 'limits');
is(wait_run($node, run_of('localhost/osa-script:1', memory => '256MiB')), 'completed', 'limits below the ceiling');
sql($node, 'SELECT osa_pause()');
$run = start_run($node, 'ceiling', ['r'], pipeline => "h$count");
sql($node, "SELECT osa_add_runner('local', 'docker', NULL, max_memory => '128MiB'), osa_resume()");
fails_as($run, 'config', qr/memory of 268435456 bytes is above the runner's ceiling of 134217728 bytes/, 'ceiling lowered');

check_sound($node);
no_containers($node);
$node->stop;
done_testing();
