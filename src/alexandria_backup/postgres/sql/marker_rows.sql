-- The schema `alexandria_backup`: what this program keeps in a database of its user's.

-- name: exists
SELECT pg_catalog.to_regclass('alexandria_backup.markers') IS NOT NULL

-- name: may_write
SELECT NOT pg_catalog.pg_is_in_recovery()
   AND pg_catalog.to_regclass('alexandria_backup.markers') IS NOT NULL
   AND pg_catalog.has_schema_privilege('alexandria_backup', 'USAGE')
   AND pg_catalog.has_table_privilege('alexandria_backup.markers', 'INSERT, SELECT, DELETE')

-- name: create
CREATE SCHEMA IF NOT EXISTS alexandria_backup;
COMMENT ON SCHEMA alexandria_backup IS
    'Kept by Alexandria Backup; everything works without it, slower. DROP SCHEMA … CASCADE is safe.';
CREATE TABLE IF NOT EXISTS alexandria_backup.markers (
    nonce text PRIMARY KEY,
    written timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
COMMENT ON TABLE alexandria_backup.markers IS
    'One row per snapshot, committed after it was taken: a later snapshot that sees it shares its history.'

-- name: write
INSERT INTO alexandria_backup.markers (nonce) VALUES (%s)

-- name: is_seen
SELECT EXISTS (SELECT FROM alexandria_backup.markers AS m WHERE m.nonce = %s)

-- name: forget_old
-- The newest thousand are more than any repository's references.
DELETE FROM alexandria_backup.markers AS m
WHERE m.written < (SELECT k.written FROM alexandria_backup.markers AS k
                   ORDER BY k.written DESC OFFSET 999 LIMIT 1)
