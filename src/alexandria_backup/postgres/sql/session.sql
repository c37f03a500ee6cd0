-- Queries that every session of ours begins with.

-- name: backend_pid
SELECT pg_catalog.pg_backend_pid()

-- name: settle
-- What libpq sends of PGTZ and PGDATESTYLE comes after our start-up options and would win; and the
-- last two exist on newer servers only, where naming them at start-up would fail on the others.
SELECT pg_catalog.set_config(s.name, v.value, false)
FROM (VALUES ('TimeZone', 'UTC'), ('DateStyle', 'ISO, MDY'),
             ('idle_session_timeout', '0'), ('transaction_timeout', '0')) AS v (name, value)
JOIN pg_catalog.pg_settings AS s ON s.name = v.name
