-- Which tables may be kept as frames, and what their rows depend on.

-- name: candidates
-- Left out is what a run has put aside; left to pg_dump are tables of extensions (it dumps marked rows only) and of schemas that belong
-- to one (planner hooks may change what a SELECT returns), and partitions that must be loaded
-- through their root, since an enum's labels have other hashes in another database; which these
-- are is asked as getPartitioningInfo of pg_dump.c asks it.
WITH RECURSIVE through_root (oid) AS (
    SELECT p.partrelid FROM pg_catalog.pg_partitioned_table AS p
    WHERE (SELECT c.oid FROM pg_catalog.pg_opclass AS c JOIN pg_catalog.pg_am AS a ON a.oid = c.opcmethod
           WHERE c.opcname = 'enum_ops' AND a.amname = 'hash'
             AND c.opcnamespace = 'pg_catalog'::regnamespace) = ANY (p.partclass)
    UNION
    SELECT i.inhrelid FROM through_root AS t
    JOIN pg_catalog.pg_inherits AS i ON i.inhparent = t.oid
)
SELECT
    c.oid, n.nspname AS schema, c.relname AS name,
    pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname) AS quoted,
    c.relpersistence::text AS persistence, coalesce(am.amname, 'heap') = 'heap' AS heap,
    pg_catalog.pg_relation_filenode(c.oid) AS filenode,
    coalesce(pg_catalog.pg_relation_size(c.oid), 0) AS heap_bytes,
    coalesce(pg_catalog.pg_total_relation_size(nullif(c.reltoastrelid, 0)), 0) AS toast_bytes
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_am AS am ON am.oid = c.relam
WHERE c.relkind = 'r' AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT pg_catalog.starts_with(
      coalesce(pg_catalog.obj_description(n.oid, 'pg_namespace'), ''), '{"alexandria-backup"')
  AND NOT EXISTS (
      SELECT FROM pg_catalog.pg_depend AS d
      WHERE d.deptype = 'e' AND d.refclassid = 'pg_catalog.pg_extension'::regclass
        AND ((d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid)
          OR (d.classid = 'pg_catalog.pg_namespace'::regclass AND d.objid = n.oid)))
  AND c.oid NOT IN (SELECT t.oid FROM through_root AS t)
ORDER BY n.nspname, c.relname

-- name: columns
-- Dropped columns are part of what rows look like; missing values are what rows show that were
-- there before a column was added.
SELECT
    a.attrelid AS relation, a.attnum, a.attname AS name,
    pg_catalog.quote_ident(a.attname) AS quoted, a.atttypid, a.atttypmod, a.attcollation,
    a.attisdropped AS dropped, a.attgenerated <> '' AS generated,
    a.atthasmissing AS has_missing, a.attmissingval::text AS missing
FROM pg_catalog.pg_attribute AS a
WHERE a.attrelid = ANY (%s::oid[]) AND a.attnum > 0
ORDER BY a.attrelid, a.attnum

-- name: types
-- The types of each table's columns, and what they are made of.
WITH RECURSIVE used (relation, type) AS (
    SELECT a.attrelid, a.atttypid FROM pg_catalog.pg_attribute AS a
    WHERE a.attrelid = ANY (%s::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
    UNION
    SELECT u.relation, m.type
    FROM used AS u JOIN pg_catalog.pg_type AS t ON t.oid = u.type
    CROSS JOIN LATERAL (
        SELECT t.typelem WHERE t.typelem <> 0
        UNION ALL SELECT t.typbasetype WHERE t.typbasetype <> 0
        UNION ALL SELECT a.atttypid FROM pg_catalog.pg_attribute AS a
            WHERE t.typrelid <> 0 AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
        UNION ALL SELECT r.rngsubtype FROM pg_catalog.pg_range AS r WHERE r.rngtypid = t.oid
        UNION ALL SELECT r.rngtypid FROM pg_catalog.pg_range AS r
            WHERE t.oid = (pg_catalog.to_jsonb(r) ->> 'rngmultitypid')::oid
    ) AS m (type)
)
SELECT
    u.relation, t.oid, n.nspname AS schema, t.typname AS name, t.typtype::text AS kind,
    p.oid AS output, p.prosrc AS output_source, p.probin AS output_file,
    e.extname AS extension, e.extversion AS extension_version,
    ARRAY(SELECT l.oid || ' ' || l.enumlabel FROM pg_catalog.pg_enum AS l
          WHERE l.enumtypid = t.oid ORDER BY l.oid) AS labels,
    ARRAY(SELECT concat_ws(' ', a.attnum, a.atttypid, a.atttypmod, a.attisdropped)
          FROM pg_catalog.pg_attribute AS a
          WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0
          ORDER BY a.attnum) AS attributes
FROM used AS u
JOIN pg_catalog.pg_type AS t ON t.oid = u.type
JOIN pg_catalog.pg_namespace AS n ON n.oid = t.typnamespace
LEFT JOIN pg_catalog.pg_proc AS p ON p.oid = t.typoutput
LEFT JOIN pg_catalog.pg_depend AS d
  ON d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
 AND d.refclassid = 'pg_catalog.pg_extension'::regclass
LEFT JOIN pg_catalog.pg_extension AS e ON e.oid = d.refobjid
ORDER BY u.relation, t.oid
