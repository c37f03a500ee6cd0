-- Loading the data of an archive.

-- name: settle
-- As an archive of pg_dump sets them for itself. A load that is lost with the server starts anew,
-- so nothing need be durable before its end.
SET synchronous_commit = off;
SET xmloption = content;
SET row_security = off;
SET check_function_bodies = off;
SET client_min_messages = warning;

-- name: parameters
SELECT s.name, s.setting, s.enumvals
FROM pg_catalog.pg_settings AS s
WHERE s.name IN ('maintenance_work_mem', 'max_parallel_maintenance_workers', 'max_parallel_workers',
    'synchronous_commit', 'wal_compression')

-- name: end_sessions
-- Those of this role: a worker of autovacuum may not be ended by everybody, and ends by itself.
SELECT pg_catalog.pg_terminate_backend(pid)
FROM pg_catalog.pg_stat_activity
WHERE datname = pg_catalog.current_database() AND pid <> pg_catalog.pg_backend_pid()
    AND usename = current_user AND backend_type = 'client backend';

-- name: end_sessions_in
-- From another database.
SELECT pg_catalog.pg_terminate_backend(pid)
FROM pg_catalog.pg_stat_activity
WHERE datname = %s AND usename = current_user AND backend_type = 'client backend';

-- name: sessions_left
SELECT pg_catalog.count(*)
FROM pg_catalog.pg_stat_activity
WHERE datname = pg_catalog.current_database() AND pid <> pg_catalog.pg_backend_pid()
    AND usename = current_user AND backend_type = 'client backend';

-- name: is_kept
SELECT pg_catalog.to_regclass('alexandria_backup_load.notes')::text;

-- name: keep
CREATE SCHEMA alexandria_backup_load;
CREATE TABLE alexandria_backup_load.notes (
    note text PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);

-- name: note
INSERT INTO alexandria_backup_load.notes (note) VALUES (%s)

-- name: notes
SELECT note FROM alexandria_backup_load.notes

-- name: built
SELECT n.nspname, c.relname
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
UNION
SELECT n.nspname, c.conname
FROM pg_catalog.pg_constraint AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.connamespace

-- name: forget
DROP SCHEMA alexandria_backup_load CASCADE
