-- Rows of an extension that can be created in one database only, kept aside until it is there.

-- name: database_name
-- NULL where the library is not loaded.
SELECT pg_catalog.current_setting('cron.database_name', true)

-- name: is_kept
-- A schema of this name that belongs to no extension holds rows that were kept aside.
SELECT pg_catalog.count(*) > 0 AND NOT EXISTS (
    SELECT FROM pg_catalog.pg_extension AS e WHERE e.extname = 'pg_cron')
FROM pg_catalog.pg_namespace AS n
WHERE n.nspname = 'cron'

-- name: columns
SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod)
FROM pg_catalog.pg_attribute AS a
WHERE a.attrelid = pg_catalog.to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
