-- Large objects put aside as rows of tables, and brought back: they have numbers, and no names.

-- name: foreign
SELECT pg_catalog.pg_get_userbyid(m.lomowner) FROM pg_catalog.pg_largeobject_metadata AS m
WHERE NOT pg_catalog.pg_has_role(m.lomowner, 'USAGE') LIMIT 1

-- name: some
SELECT m.oid FROM pg_catalog.pg_largeobject_metadata AS m ORDER BY m.oid LIMIT %s

-- name: tables
CREATE TABLE {store}.objects (
    oid oid PRIMARY KEY, owner text NOT NULL, comment text, acl text[]
);
CREATE TABLE {store}.pieces (
    oid oid, number bigint, data bytea NOT NULL, PRIMARY KEY (oid, number)
);
ALTER TABLE {store}.pieces ALTER COLUMN data SET STORAGE EXTERNAL

-- name: keep
INSERT INTO {store}.objects (oid, owner, comment, acl)
SELECT m.oid, pg_catalog.pg_get_userbyid(m.lomowner),
    pg_catalog.obj_description(m.oid, 'pg_largeobject'),
    (SELECT pg_catalog.array_agg(a.privilege_type || CASE WHEN a.is_grantable THEN '*' ELSE '' END || ' '
            || CASE WHEN a.grantee = 0 THEN '' ELSE pg_catalog.pg_get_userbyid(a.grantee) END)
     FROM pg_catalog.aclexplode(m.lomacl) AS a)
FROM pg_catalog.pg_largeobject_metadata AS m WHERE m.oid = ANY (%s::oid[])

-- name: keep_pieces
INSERT INTO {store}.pieces (oid, number, data)
SELECT o.oid, n.n, pg_catalog.lo_get(o.oid, n.n * %s, %s)
FROM pg_catalog.unnest(%s::oid[]) AS o (oid)
CROSS JOIN LATERAL pg_catalog.generate_series(0::bigint,
    (pg_catalog.lo_lseek64(pg_catalog.lo_open(o.oid, 262144), 0, 2) - 1) / %s) AS n (n)

-- name: unlink
SELECT pg_catalog.lo_unlink(o.oid) FROM pg_catalog.unnest(%s::oid[]) AS o (oid)

-- name: kept
SELECT o.oid, o.owner, o.owner = current_user AS ours, o.comment, o.acl
FROM {store}.objects AS o ORDER BY o.oid LIMIT %s

-- name: create
SELECT pg_catalog.lo_create(o.oid) FROM pg_catalog.unnest(%s::oid[]) AS o (oid)

-- name: fill
SELECT pg_catalog.lo_put(p.oid, p.number * %s, p.data)
FROM {store}.pieces AS p WHERE p.oid = ANY (%s::oid[])

-- name: forget
WITH gone AS (DELETE FROM {store}.pieces AS p WHERE p.oid = ANY (%s::oid[]))
DELETE FROM {store}.objects AS o WHERE o.oid = ANY (%s::oid[])
