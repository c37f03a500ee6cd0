-- Reading every page of a database, with extension `amcheck`.

-- name: schema
SELECT n.nspname
FROM pg_catalog.pg_extension AS e JOIN pg_catalog.pg_namespace AS n ON n.oid = e.extnamespace
WHERE e.extname = 'amcheck'

-- name: has_heap_check
SELECT pg_catalog.count(*) > 0
FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
WHERE n.nspname = %s AND p.proname = 'verify_heapam'

-- name: indexes
-- Those of system catalogues, too: they are as new as everything else.
SELECT c.oid, n.nspname, c.relname
FROM pg_catalog.pg_index AS i
JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_am AS a ON a.oid = c.relam
WHERE a.amname = 'btree' AND c.relkind = 'i' AND c.relpersistence <> 't'
    AND i.indisvalid AND i.indisready
ORDER BY n.nspname, c.relname

-- name: tables
-- TOAST tables are read with the tables that they belong to.
SELECT c.oid, n.nspname, c.relname
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_am AS a ON a.oid = c.relam
WHERE a.amname = 'heap' AND c.relkind IN ('r', 'm') AND c.relpersistence <> 't'
ORDER BY n.nspname, c.relname
