-- What stands in the database that the session is connected to. What a run has put aside there, or
-- holds as its lock, is nothing of the application's; the comment of its schema tells.

-- name: tables
WITH RECURSIVE elsewhere AS (
    SELECT c.oid FROM pg_catalog.pg_class AS c WHERE c.relkind = 'f'
    UNION
    SELECT i.inhparent FROM pg_catalog.pg_inherits AS i JOIN elsewhere ON elsewhere.oid = i.inhrelid
)
SELECT
    c.oid, n.nspname AS schema, c.relname AS name,
    pg_catalog.pg_get_userbyid(c.relowner) AS owner,
    c.relkind::text AS kind, c.relpersistence::text AS persistence,
    c.oid IN (SELECT e.oid FROM elsewhere AS e) AS reads_elsewhere,
    c.relispartition AS partition,
    CASE WHEN c.reltuples >= 0 THEN c.reltuples::bigint END AS estimated_rows,
    coalesce(pg_catalog.pg_total_relation_size(c.oid), 0) AS total_bytes,
    (SELECT e.extname FROM pg_catalog.pg_depend AS p
     JOIN pg_catalog.pg_extension AS e ON e.oid = p.refobjid
     WHERE p.classid = 'pg_catalog.pg_class'::regclass AND p.objid = c.oid
       AND p.refclassid = 'pg_catalog.pg_extension'::regclass AND p.deptype = 'e') AS extension
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'm', 'f')
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT pg_catalog.starts_with(
      coalesce(pg_catalog.obj_description(n.oid, 'pg_namespace'), ''), '{"alexandria-backup"')
ORDER BY n.nspname, c.relname

-- name: table_kind
SELECT c.relkind::text FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s

-- name: unreadable
SELECT n.nspname AS schema, c.relname AS name,
    CASE WHEN NOT s.schema_usage THEN 'no USAGE on its schema'
         WHEN NOT s.readable THEN 'no SELECT'
         ELSE 'its row security applies to this role' END AS reason
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (SELECT
    pg_catalog.has_schema_privilege(n.oid, 'USAGE') AS schema_usage,
    CASE WHEN c.relkind = 'S' THEN pg_catalog.has_sequence_privilege(c.oid, 'SELECT')
         ELSE pg_catalog.has_table_privilege(c.oid, 'SELECT') END AS readable) AS s
WHERE c.relkind IN ('r', 'p', 'm', 'S')
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT pg_catalog.starts_with(
      coalesce(pg_catalog.obj_description(n.oid, 'pg_namespace'), ''), '{"alexandria-backup"')
  AND (NOT s.schema_usage OR NOT s.readable OR pg_catalog.row_security_active(c.oid))
ORDER BY n.nspname, c.relname

-- name: installed_extensions
SELECT e.extname, e.extversion FROM pg_catalog.pg_extension AS e ORDER BY e.extname

-- name: available_extensions
SELECT v.name, pg_catalog.array_agg(v.version ORDER BY v.version)
FROM pg_catalog.pg_available_extension_versions AS v GROUP BY v.name ORDER BY v.name

-- name: default_versions
SELECT e.name, e.default_version FROM pg_catalog.pg_available_extensions AS e

-- name: publications
SELECT p.pubname FROM pg_catalog.pg_publication AS p
WHERE NOT pg_catalog.starts_with(
    coalesce(pg_catalog.obj_description(p.oid, 'pg_publication'), ''), '{"alexandria-backup"')
ORDER BY p.pubname

-- name: event_triggers
SELECT t.evtname AS name, t.evtevent AS event, t.evtenabled <> 'D' AS enabled
FROM pg_catalog.pg_event_trigger AS t ORDER BY t.evtname

-- name: large_object_count
SELECT count(*) FROM pg_catalog.pg_largeobject_metadata

-- name: invalid_indexes
-- The index of a partitioned table is invalid until each partition has its own; it counts too.
SELECT n.nspname || '.' || c.relname
FROM pg_catalog.pg_index AS i
JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE NOT (i.indisvalid AND i.indisready AND i.indislive)
  AND n.nspname !~ '^pg_(catalog$|toast|temp)'
  AND NOT pg_catalog.starts_with(
      coalesce(pg_catalog.obj_description(n.oid, 'pg_namespace'), ''), '{"alexandria-backup"')
ORDER BY 1

-- name: unvalidated_constraints
-- Constraints declared NOT ENFORCED (18 and later) are never validated, and need not be.
-- What is inherited is declared, and validated, where it comes from.
SELECT n.nspname || '.' || coalesce(c.relname, t.typname) || ' ' || k.conname
FROM pg_catalog.pg_constraint AS k
JOIN pg_catalog.pg_namespace AS n ON n.oid = k.connamespace
LEFT JOIN pg_catalog.pg_class AS c ON c.oid = k.conrelid
LEFT JOIN pg_catalog.pg_type AS t ON t.oid = k.contypid
WHERE NOT k.convalidated AND k.conislocal AND k.conparentid = 0
  AND coalesce(pg_catalog.to_jsonb(k) ->> 'conenforced', 'true') = 'true'
  AND NOT pg_catalog.starts_with(
      coalesce(pg_catalog.obj_description(n.oid, 'pg_namespace'), ''), '{"alexandria-backup"')
ORDER BY 1

-- name: owned_sequences
-- Sequences that belong to a column of a whole or decimal number; 'i' is an identity column's.
-- Not of what reads a foreign table: no other server is asked.
WITH RECURSIVE elsewhere AS (
    SELECT c.oid FROM pg_catalog.pg_class AS c WHERE c.relkind = 'f'
    UNION
    SELECT i.inhparent FROM pg_catalog.pg_inherits AS i JOIN elsewhere ON elsewhere.oid = i.inhrelid
)
SELECT sn.nspname AS schema, sc.relname AS name, tn.nspname AS table_schema,
    tc.relname AS "table", a.attname AS "column", q.seqincrement AS step
FROM pg_catalog.pg_sequence AS q
JOIN pg_catalog.pg_class AS sc ON sc.oid = q.seqrelid
JOIN pg_catalog.pg_namespace AS sn ON sn.oid = sc.relnamespace
JOIN pg_catalog.pg_depend AS p
  ON p.classid = 'pg_catalog.pg_class'::regclass AND p.objid = q.seqrelid AND p.objsubid = 0
 AND p.refclassid = 'pg_catalog.pg_class'::regclass AND p.refobjsubid > 0
 AND p.deptype IN ('a', 'i')
JOIN pg_catalog.pg_class AS tc ON tc.oid = p.refobjid
JOIN pg_catalog.pg_namespace AS tn ON tn.oid = tc.relnamespace
JOIN pg_catalog.pg_attribute AS a ON a.attrelid = tc.oid AND a.attnum = p.refobjsubid
JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid
WHERE NOT q.seqcycle AND sn.nspname !~ '^pg_'
  AND NOT pg_catalog.starts_with(
      coalesce(pg_catalog.obj_description(sn.oid, 'pg_namespace'), ''), '{"alexandria-backup"')
  AND tc.oid NOT IN (SELECT e.oid FROM elsewhere AS e)
  AND coalesce(nullif(t.typbasetype, 0), t.oid) IN
      ('pg_catalog.int2'::regtype, 'pg_catalog.int4'::regtype, 'pg_catalog.int8'::regtype,
       'pg_catalog.numeric'::regtype)
ORDER BY sn.nspname, sc.relname
