-- name: columns
-- Columns of the tables of some names, in some schemas or in all where none is given; a partition
-- is read through its table, and what an extension or a temporary schema holds is nobody's chain.
SELECT n.nspname, c.relname, c.relkind::text, a.attname,
    pg_catalog.format_type(a.atttypid, a.atttypmod)
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relname = ANY (%s::text[])
  AND (pg_catalog.cardinality(%s::text[]) = 0 OR n.nspname = ANY (%s::text[]))
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT pg_catalog.starts_with(
      coalesce(pg_catalog.obj_description(n.oid, 'pg_namespace'), ''), '{"alexandria-backup"')
ORDER BY n.nspname, c.relname, a.attnum

-- name: look_alikes
-- Tables of other names with a column of each of the two names that make a chain.
SELECT n.nspname, c.relname
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'alexandria_backup')
  AND NOT pg_catalog.starts_with(
      coalesce(pg_catalog.obj_description(n.oid, 'pg_namespace'), ''), '{"alexandria-backup"')
GROUP BY n.nspname, c.relname
HAVING pg_catalog.bool_or(a.attname = ANY (%s::text[]))
   AND pg_catalog.bool_or(a.attname = ANY (%s::text[]))
   AND c.relname <> ALL (%s::text[])
ORDER BY n.nspname, c.relname

-- name: pages
SELECT pg_catalog.pg_relation_size(c.oid) / pg_catalog.current_setting('block_size')::bigint
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s

-- name: on_pages_only
-- Whether no value of a table lies outside its own pages, as large ones do.
SELECT am.amname = 'heap' AND coalesce(pg_catalog.pg_relation_size(nullif(c.reltoastrelid, 0)), 0) = 0
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_am AS am ON am.oid = c.relam
WHERE n.nspname = %s AND c.relname = %s

-- name: export_snapshot
SELECT pg_catalog.pg_export_snapshot()

-- name: has_incarnations
-- Whether it is there, and this role may read it.
SELECT EXISTS (
    SELECT FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = 'alexandria_backup' AND c.relname = 'incarnations'
      AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
      AND pg_catalog.has_table_privilege(c.oid, 'SELECT')
)

-- name: incarnations
SELECT number, id, parent, declared_at, source, chain, rows_kept
FROM alexandria_backup.incarnations ORDER BY number

-- name: make_incarnations
CREATE SCHEMA IF NOT EXISTS alexandria_backup;
CREATE TABLE IF NOT EXISTS alexandria_backup.incarnations (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id text NOT NULL,
    parent text,
    declared_at timestamptz NOT NULL,
    source text NOT NULL,
    chain text NOT NULL,
    rows_kept bigint,
    UNIQUE (id, chain)
);
GRANT USAGE ON SCHEMA alexandria_backup TO PUBLIC;
GRANT SELECT ON alexandria_backup.incarnations TO PUBLIC;
COMMENT ON TABLE alexandria_backup.incarnations IS
    'Each restore of this database: how many rows the audit chain had when it began anew'

-- name: declare_incarnation
INSERT INTO alexandria_backup.incarnations (id, parent, declared_at, source, chain, rows_kept)
VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (id, chain) DO NOTHING

-- name: has_retirements
-- Whether it is there, and this role may read it.
SELECT EXISTS (
    SELECT FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = 'alexandria_backup' AND c.relname = 'retirements'
      AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
      AND pg_catalog.has_table_privilege(c.oid, 'SELECT')
)

-- name: retirements
SELECT capture_sha256, entry FROM alexandria_backup.retirements
WHERE audit_table = %s ORDER BY number

-- name: make_retirements
CREATE SCHEMA IF NOT EXISTS alexandria_backup;
CREATE TABLE IF NOT EXISTS alexandria_backup.retirements (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    audit_table text NOT NULL,
    capture_sha256 text NOT NULL UNIQUE,
    entry text NOT NULL,
    retired_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    retired_by text NOT NULL,
    reason text NOT NULL
);
GRANT USAGE ON SCHEMA alexandria_backup TO PUBLIC;
GRANT SELECT ON alexandria_backup.retirements TO PUBLIC;
COMMENT ON TABLE alexandria_backup.retirements IS
    'Audit rows that were moved away: by which capture, and which audit row says so'

-- name: record_retirement
INSERT INTO alexandria_backup.retirements (audit_table, capture_sha256, entry, retired_by, reason)
VALUES (%s, %s, %s, %s, %s)
