-- What a database has besides its contents. All of it stands in shared catalogues, so that it can be
-- asked from any database of the server: a fenced one lets nobody in.

-- name: database
-- Columns that not every version has are read from the row as JSON: missing ones are NULL.
SELECT
    d.datname AS name, d.oid, pg_catalog.pg_get_userbyid(d.datdba) AS owner,
    pg_catalog.pg_encoding_to_char(d.encoding) AS encoding,
    coalesce(j.row ->> 'datlocprovider', 'c') AS locale_provider,
    d.datcollate AS collate, d.datctype AS ctype,
    coalesce(j.row ->> 'datlocale', j.row ->> 'daticulocale') AS locale,
    j.row ->> 'daticurules' AS icu_rules, j.row ->> 'datcollversion' AS collation_version,
    d.datconnlimit AS connection_limit, d.datallowconn AS allow_connections,
    d.datistemplate AS is_template, t.spcname AS tablespace,
    pg_catalog.shobj_description(d.oid, 'pg_database') AS comment,
    CASE WHEN pg_catalog.has_database_privilege(d.oid, 'CONNECT')
           OR pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE')
         THEN pg_catalog.pg_database_size(d.oid) END AS size_bytes
FROM pg_catalog.pg_database AS d
JOIN pg_catalog.pg_tablespace AS t ON t.oid = d.dattablespace
CROSS JOIN LATERAL (SELECT pg_catalog.to_jsonb(d) AS row) AS j
WHERE d.datname = %s

-- name: grants
-- A database without an ACL has the default one, which is spelled out here.
SELECT
    CASE WHEN a.grantee = 0 THEN NULL ELSE pg_catalog.pg_get_userbyid(a.grantee) END AS grantee,
    a.privilege_type AS privilege, a.is_grantable AS grantable
FROM pg_catalog.pg_database AS d
CROSS JOIN LATERAL pg_catalog.aclexplode(
    coalesce(d.datacl, pg_catalog.acldefault('d', d.datdba))) AS a
WHERE d.oid = %s
ORDER BY 1 NULLS FIRST, 2

-- name: settings
-- A name has no equals sign; a value may.
SELECT r.rolname AS role, pg_catalog.split_part(c.setting, '=', 1) AS name,
    pg_catalog.substr(c.setting, pg_catalog.strpos(c.setting, '=') + 1) AS value
FROM pg_catalog.pg_db_role_setting AS s
LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = s.setrole
CROSS JOIN LATERAL pg_catalog.unnest(s.setconfig) WITH ORDINALITY AS c (setting, number)
WHERE s.setdatabase = %s AND (s.setrole = 0 OR r.oid IS NOT NULL)
ORDER BY r.rolname NULLS FIRST, c.number

-- name: oid_of
SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = %s

-- name: name_of
SELECT d.datname FROM pg_catalog.pg_database AS d WHERE d.oid = %s

-- name: connection_limit_of
SELECT d.datconnlimit FROM pg_catalog.pg_database AS d WHERE d.datname = %s

-- name: comment_of
SELECT pg_catalog.shobj_description(d.oid, 'pg_database')
FROM pg_catalog.pg_database AS d WHERE d.datname = %s
