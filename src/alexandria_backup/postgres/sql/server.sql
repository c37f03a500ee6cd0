-- What a server is, and what the role may do on it.

-- name: server
SELECT
    pg_catalog.current_setting('server_version_num')::int AS version_num,
    pg_catalog.current_setting('server_version') AS version,
    pg_catalog.pg_is_in_recovery() AS in_recovery,
    coalesce((SELECT s.ssl FROM pg_catalog.pg_stat_ssl AS s
              WHERE s.pid = pg_catalog.pg_backend_pid()), false) AS tls,
    pg_catalog.clock_timestamp() AS now,
    -- Through the view, which hides the row from those who may not see it, rather than failing.
    (SELECT s.setting FROM pg_catalog.pg_settings AS s WHERE s.name = 'data_directory')
        AS data_directory,
    coalesce(pg_catalog.inet_client_addr() <<= '127.0.0.0/8'
             OR pg_catalog.inet_client_addr() = '::1', true) AS local

-- name: may_ask_control
SELECT pg_catalog.has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE')

-- name: system_identifier
SELECT system_identifier FROM pg_catalog.pg_control_system()

-- name: messages_language
-- What a session begins with, whatever it is in this one.
SELECT s.reset_val FROM pg_catalog.pg_settings AS s WHERE s.name = 'lc_messages'

-- name: role
SELECT
    r.rolname AS name, r.rolsuper AS superuser,
    r.rolcreatedb OR r.rolsuper AS create_database,
    r.rolcreaterole OR r.rolsuper AS create_role,
    ARRAY(SELECT g.rolname::text FROM pg_catalog.pg_roles AS g
          WHERE g.oid <> r.oid AND pg_catalog.pg_has_role(r.oid, g.oid, 'USAGE')
          ORDER BY g.rolname) AS member_of,
    -- Before 16, whoever is a member may become the role.
    ARRAY(SELECT g.rolname::text FROM pg_catalog.pg_roles AS g
          WHERE g.oid <> r.oid AND pg_catalog.pg_has_role(r.oid, g.oid, CASE
              WHEN pg_catalog.current_setting('server_version_num')::int >= 160000
              THEN 'SET' ELSE 'MEMBER' END)
          ORDER BY g.rolname) AS may_become
FROM pg_catalog.pg_roles AS r
WHERE r.rolname = current_user

-- name: strangers
-- Of pairs of roles, those whose first one has not the rights of the second.
SELECT p.member, p.role
FROM (SELECT pg_catalog.unnest(%s::text[]) AS member, pg_catalog.unnest(%s::text[]) AS role) AS p
JOIN pg_catalog.pg_roles AS m ON m.rolname = p.member
JOIN pg_catalog.pg_roles AS r ON r.rolname = p.role
WHERE NOT pg_catalog.pg_has_role(m.oid, r.oid, 'USAGE')
ORDER BY p.member, p.role

-- name: database_size
SELECT pg_catalog.pg_database_size(%s)

-- name: may_list_wal
SELECT pg_catalog.has_function_privilege('pg_catalog.pg_ls_waldir()', 'EXECUTE')

-- name: wal_size
SELECT coalesce(pg_catalog.sum(w.size), 0)::int8 FROM pg_catalog.pg_ls_waldir() AS w

-- name: location_of
SELECT pg_catalog.pg_tablespace_location(d.dattablespace)
FROM pg_catalog.pg_database AS d WHERE d.datname = %s

-- name: databases
SELECT d.datname FROM pg_catalog.pg_database AS d ORDER BY d.datname

-- name: roles
SELECT r.rolname FROM pg_catalog.pg_roles AS r

-- name: comment_of_role
SELECT pg_catalog.shobj_description(r.oid, 'pg_authid')
FROM pg_catalog.pg_roles AS r WHERE r.rolname = %s
