-- Loading the data of an archive.

-- name: settle
-- As an archive of pg_dump sets them for itself. A load that is lost with the server starts anew,
-- so nothing need be durable before its end.
SET synchronous_commit = off;
SET xmloption = content;
SET row_security = off;
SET check_function_bodies = off;
SET client_min_messages = warning;

-- name: end_sessions
-- Those of this role: a worker of autovacuum may not be ended by everybody, and ends by itself.
SELECT pg_catalog.pg_terminate_backend(pid)
FROM pg_catalog.pg_stat_activity
WHERE datname = pg_catalog.current_database() AND pid <> pg_catalog.pg_backend_pid()
    AND usename = current_user AND backend_type = 'client backend';
