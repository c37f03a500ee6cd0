-- Queries that every session of ours begins with.

-- name: backend_pid
SELECT pg_catalog.pg_backend_pid()

-- name: settle
-- What libpq sends of PGTZ and PGDATESTYLE comes after our start-up options and would win; and the
-- limits exist on newer servers only, where naming them at start-up would fail on the others.
-- Messages are read, and so in English where the role may choose that.
SELECT pg_catalog.set_config(s.name, v.value, false)
FROM (VALUES ('TimeZone', 'UTC'), ('DateStyle', 'ISO, MDY'),
             ('idle_session_timeout', '0'), ('transaction_timeout', '0'),
             ('lc_messages', 'C')) AS v (name, value)
JOIN pg_catalog.pg_settings AS s ON s.name = v.name
WHERE s.context <> 'superuser'
   OR (SELECT r.rolsuper FROM pg_catalog.pg_roles AS r WHERE r.rolname = current_user)
