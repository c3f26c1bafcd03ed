-- Guard: this file is joined by make into the extension script.
\echo Use "CREATE EXTENSION osa_validation" to load this file. \quit

-- Called first: warns when the library is not preloaded.
CREATE FUNCTION @extschema@.osa_library_version() RETURNS text
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'osa_library_version';
COMMENT ON FUNCTION @extschema@.osa_library_version() IS
'Version of the loaded C library (text). Source: the library itself.';
SELECT @extschema@.osa_library_version();
