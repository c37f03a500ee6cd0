-- Reading every page of a database, with extension `amcheck`.

-- name: schema
SELECT n.nspname
FROM pg_catalog.pg_extension AS e JOIN pg_catalog.pg_namespace AS n ON n.oid = e.extnamespace
WHERE e.extname = 'amcheck'

-- name: mark
-- What the COMMENT of a schema of ours says. An archive may hold such a comment, but of another database.
SELECT 'made by alexandria-backup to check database ' || d.oid
FROM pg_catalog.pg_database AS d
WHERE d.datname = pg_catalog.current_database()

-- name: left_by_a_killed_check
SELECT n.nspname
FROM pg_catalog.pg_namespace AS n
WHERE pg_catalog.obj_description(n.oid, 'pg_namespace') = %s

-- name: has_heap_check
SELECT pg_catalog.count(*) > 0
FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
WHERE n.nspname = %s AND p.proname = 'verify_heapam'

-- name: indexes
-- Those of system catalogues, too: they are as new as everything else. What a run has put aside is not.
SELECT c.oid, n.nspname, c.relname
FROM pg_catalog.pg_index AS i
JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_am AS a ON a.oid = c.relam
WHERE a.amname = 'btree' AND c.relkind = 'i' AND c.relpersistence <> 't'
    AND i.indisvalid AND i.indisready
    AND NOT pg_catalog.starts_with(
      coalesce(pg_catalog.obj_description(n.oid, 'pg_namespace'), ''), '{"alexandria-backup"')
ORDER BY n.nspname, c.relname

-- name: other_indexes
-- A method of the server's own stands in its short form, such as `gin`.
SELECT n.nspname, c.relname, a.amname
FROM pg_catalog.pg_index AS i
JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_am AS a ON a.oid = c.relam
WHERE a.amname <> 'btree' AND c.relkind = 'i' AND c.relpersistence <> 't'
ORDER BY n.nspname, c.relname

-- name: tables
-- TOAST tables are read with the tables that they belong to.
SELECT c.oid, n.nspname, c.relname
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_am AS a ON a.oid = c.relam
WHERE a.amname = 'heap' AND c.relkind IN ('r', 'm') AND c.relpersistence <> 't'
    AND NOT pg_catalog.starts_with(
      coalesce(pg_catalog.obj_description(n.oid, 'pg_namespace'), ''), '{"alexandria-backup"')
ORDER BY n.nspname, c.relname
