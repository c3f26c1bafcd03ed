# With whose rights the worker acts, and that nobody's settings or triggers
# change what it does.
#
# Claims:
#  1. SQL of the worker's runs with the rights of the extension's owner, triggers
#     and deferred triggers on its tables included; also when the owner is no
#     superuser any more.
#  2. A trigger can neither take the server's rights back nor leave a setting
#     behind.
#  3. A database's search path is not looked into, even while the worker still
#     looks whether the extension is there.
#  4. The SQL functions switch to the owner for what they write, give the caller's
#     rights and settings back, also after an error, and know who called.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use OsaTest;
use Test::More;

my $node = new_node('rights', fsync => 0, extension => 0);
my $record = literal('[{"id": "r", "metadata": {}}]');

sub worker_is_there
{
	return wait_for($node, "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database"
		. " WHERE d.datname = 'postgres' AND locktype = 'advisory' AND objsubid = 3", '1');
}

sql($node, 'CREATE ROLE boss SUPERUSER LOGIN; CREATE ROLE app LOGIN; CREATE SCHEMA osa AUTHORIZATION boss');
sql($node, 'SET ROLE boss; CREATE EXTENSION osa_validation SCHEMA osa');
sql($node, 'ALTER ROLE boss NOSUPERUSER');
sql($node, <<'SQL');
SELECT osa.osa_define_pipeline('default', '{}');
GRANT USAGE ON SCHEMA osa TO app;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA osa TO app;
CREATE SCHEMA spy AUTHORIZATION boss;
CREATE TABLE spy.seen (n serial, op text, who text, session text, path text, backend text, outcome text);
GRANT ALL ON ALL TABLES IN SCHEMA spy TO boss;
GRANT ALL ON ALL SEQUENCES IN SCHEMA spy TO boss;
CREATE FUNCTION spy.look() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    attempt text;
    result text;
    outcomes text := '';
BEGIN
    FOREACH attempt IN ARRAY ARRAY['SET ROLE postgres', 'RESET ROLE', 'SET SESSION AUTHORIZATION postgres',
        'RESET SESSION AUTHORIZATION', 'ALTER ROLE boss SUPERUSER'] LOOP
        BEGIN
            EXECUTE attempt;
            outcomes := outcomes || attempt || ' worked;';
        EXCEPTION WHEN OTHERS THEN
            NULL;
        END;
    END LOOP;
    INSERT INTO spy.seen (op, who, session, path, backend, outcome)
    SELECT TG_OP || ' ' || TG_TABLE_NAME || ' ' || TG_NAME, current_user, session_user, current_setting('search_path'),
           (SELECT a.backend_type FROM pg_catalog.pg_stat_get_activity(pg_backend_pid()) a), outcomes;
    SET search_path = spy, pg_catalog;
    SET DateStyle = 'German';
    SET standard_conforming_strings = off;
    RETURN NULL;
END $$;
CREATE TRIGGER now AFTER INSERT ON osa.osa_validation_run FOR EACH ROW EXECUTE FUNCTION spy.look();
CREATE CONSTRAINT TRIGGER deferred AFTER INSERT OR UPDATE ON osa.osa_validation_run
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION spy.look();
SQL

# 1, 2
ok(worker_is_there(), 'the worker is there');
for my $i (1 .. 3)
{
	sql($node, "SELECT osa.osa_submit_deposition('d$i', $record)");
	ok(wait_for($node, "SELECT status FROM osa.osa_validation_run WHERE deposition = 'd$i'", 'completed'), "run $i is executed");
}
cmp_ok(sql($node, "SELECT count(*) FROM spy.seen WHERE op = 'INSERT osa_validation_run now'"), '>=', 3, 'the trigger ran');
cmp_ok(sql($node, "SELECT count(*) FROM spy.seen WHERE op LIKE '% deferred'"), '>=', 3, 'the deferred one, too');
is(sql($node, 'SELECT DISTINCT who FROM spy.seen'), 'boss', 'with the rights of the owner');
is(sql($node, 'SELECT DISTINCT outcome FROM spy.seen'), '', 'and could not get others');
is(sql($node, "SELECT DISTINCT path FROM spy.seen WHERE op LIKE '% now'"), 'pg_catalog, pg_temp',
	'the path is pinned in each transaction, whatever the one before left');
is(sql($node, "SELECT rolsuper FROM pg_roles WHERE rolname = 'boss'"), 'f', 'nobody became superuser');

# 4
my $as_app = { psql => [ '-U', 'app' ] };
sql($node, "SET DateStyle = 'SQL, DMY'; SELECT osa.osa_submit_deposition('of_app', $record)", %$as_app);
ok(wait_for($node, "SELECT owner || status FROM osa.osa_validation_run WHERE deposition = 'of_app'", 'appcompleted'),
	'a run belongs to who submitted it');
is(sql($node, <<"SQL", %$as_app), "app|app|\"\$user\", public|SQL, DMY|off", 'the caller gets everything back');
SET DateStyle = 'SQL, DMY'; SET row_security = off;
BEGIN;
SAVEPOINT s;
\\set ON_ERROR_STOP 0
SELECT FROM osa.osa_submit_deposition('bad', '{}');
\\set ON_ERROR_STOP 1
ROLLBACK TO s;
SELECT FROM osa.osa_submit_deposition('good', $record);
SELECT current_user, session_user, current_setting('search_path'), current_setting('DateStyle'), current_setting('row_security');
COMMIT;
SQL

# 3
sql($node, <<'SQL');
CREATE SCHEMA evil;
CREATE TABLE evil.caught (who text);
GRANT ALL ON SCHEMA evil TO PUBLIC;
GRANT ALL ON evil.caught TO PUBLIC;
CREATE FUNCTION evil.le(timestamptz, timestamptz) RETURNS boolean LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO evil.caught SELECT a.backend_type FROM pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid()) a; RETURN $1 OPERATOR(pg_catalog.<=) $2; END $$;
CREATE OPERATOR evil.<= (LEFTARG = timestamptz, RIGHTARG = timestamptz, FUNCTION = evil.le);
CREATE OPERATOR evil.< (LEFTARG = timestamptz, RIGHTARG = timestamptz, FUNCTION = evil.le);
CREATE FUNCTION evil.eq(text, text) RETURNS boolean LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO evil.caught SELECT a.backend_type FROM pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid()) a; RETURN $1 OPERATOR(pg_catalog.=) $2; END $$;
CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.eq);
CREATE FUNCTION evil.now() RETURNS timestamptz LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO evil.caught SELECT a.backend_type FROM pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid()) a; RETURN pg_catalog.now(); END $$;
CREATE TABLE evil.scratch ();
ALTER DATABASE postgres SET search_path = evil, pg_catalog, public;
BEGIN;
INSERT INTO evil.scratch DEFAULT VALUES;
PREPARE TRANSACTION 'somebody''s';
SQL
$node->restart;
ok(worker_is_there(), 'the worker is there again');
sql($node, "SELECT FROM osa.osa_submit_deposition('hostile', $record)");
ok(wait_for($node, "SELECT status FROM osa.osa_validation_run WHERE deposition OPERATOR(pg_catalog.=) 'hostile'", 'completed'),
	'and at work');
is(sql($node, q{SELECT count(*) FROM evil.caught WHERE who OPERATOR(pg_catalog.~) 'osa_validation'}), 0, 'without having called anything of the search path\'s');
sql($node, "ROLLBACK PREPARED 'somebody''s'");
sql($node, 'ALTER DATABASE postgres RESET search_path; DROP TRIGGER now ON osa.osa_validation_run; DROP TRIGGER deferred ON osa.osa_validation_run');
check_sound($node, schema => 'osa');

$node->stop;
done_testing();
