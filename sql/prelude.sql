-- Guard: this file is joined by make into the extension script.
\echo Use "CREATE EXTENSION osa_validation" to load this file. \quit

DO $$
BEGIN
    IF pg_catalog.current_setting('server_encoding') <> 'UTF8' THEN
        RAISE EXCEPTION 'extension "osa_validation" needs a database with encoding UTF8'
            USING ERRCODE = 'feature_not_supported',
                  DETAIL = pg_catalog.format('This database has %s.', pg_catalog.current_setting('server_encoding')),
                  HINT = 'Hooks read and write UTF-8: create the database with ENCODING ''UTF8'' TEMPLATE template0.';
    END IF;
END
$$;

-- Called first: warns when the library is not preloaded.
CREATE FUNCTION @extschema@.osa_library_version() RETURNS text
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'osa_library_version';
COMMENT ON FUNCTION @extschema@.osa_library_version() IS
'Version of the loaded C library (text). Source: the library itself.';
SELECT @extschema@.osa_library_version();
