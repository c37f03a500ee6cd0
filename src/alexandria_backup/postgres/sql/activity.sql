-- Who and what else is bound to a database.

-- name: other_sessions
-- Workers of a parallel query go with their leader. The rule for ending a session is the server's
-- own: same rights, or pg_signal_backend; a superuser's, or one without a role, only by a superuser.
SELECT
    a.pid, a.usename AS user, coalesce(a.application_name, '') AS application_name,
    CASE WHEN a.client_addr IS NULL THEN 'local' ELSE pg_catalog.host(a.client_addr) END AS client,
    a.state, coalesce(a.state_change, a.backend_start) AS since,
    coalesce(a.backend_type, 'unknown') AS backend_type,
    me.rolsuper OR coalesce(
        NOT them.rolsuper AND (pg_catalog.pg_has_role(them.oid, 'USAGE')
                               OR pg_catalog.pg_has_role('pg_signal_backend', 'USAGE')), false)
        AS may_terminate
FROM pg_catalog.pg_stat_activity AS a
JOIN pg_catalog.pg_roles AS me ON me.rolname = current_user
LEFT JOIN pg_catalog.pg_roles AS them ON them.oid = a.usesysid
WHERE a.datname = %s AND a.pid <> pg_catalog.pg_backend_pid() AND a.leader_pid IS NULL
ORDER BY a.backend_start, a.pid

-- name: prepared_transactions
SELECT p.gid, p.owner, p.prepared
FROM pg_catalog.pg_prepared_xacts AS p WHERE p.database = %s ORDER BY p.prepared, p.gid

-- name: replication_slots
SELECT s.slot_name AS name, s.plugin, s.active, s.temporary
FROM pg_catalog.pg_replication_slots AS s WHERE s.database = %s ORDER BY s.slot_name

-- name: subscriptions
SELECT s.subname AS name, pg_catalog.pg_get_userbyid(s.subowner) AS owner,
    s.subenabled AS enabled, s.subslotname AS slot
FROM pg_catalog.pg_subscription AS s
JOIN pg_catalog.pg_database AS d ON d.oid = s.subdbid
WHERE d.datname = %s ORDER BY s.subname

-- name: terminate
SELECT pg_catalog.pg_terminate_backend(%s)
